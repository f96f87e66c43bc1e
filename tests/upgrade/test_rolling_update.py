"""Instances are replaced one after the other while requests and webhooks flow: nothing is lost, nothing done twice."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.upgrade.builds import CURRENT, PREVIOUS_VERSION, Build, HistoryMissing, previous
from tests.upgrade.pauses import Delay, Pause, Window, pauses, quantile
from tests.upgrade.rolling import INSTANCES, deployment

RATE = float(os.environ.get("ROLLOUT_RATE", "20"))
PAUSE_MS_MAX = 30_000  # Far above what is promised: this test shares its machine; `bench/rollout.py` measures.


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    """Give the release of before."""
    try:
        yield previous(tmp_path_factory.mktemp(f"release-{PREVIOUS_VERSION}"))
    except HistoryMissing as missing:
        pytest.skip(str(missing))  # In CI too: who clones without history can do nothing about it.


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_an_upgrade_and_the_way_back_lose_nothing(
    bootstrap_servers: str, tmp_path: Path, release: Build, protocol: str
) -> None:
    """From the release of before to this build and back, under load; what one wrote the other reads."""
    settings = {"PROCESSOR_KAFKA__GROUP_PROTOCOL": protocol}
    with deployment(bootstrap_servers, tmp_path, release, rate=RATE, settings=settings) as running:
        with running.load():
            codes = [*running.replace_all(CURRENT), *running.replace_all(release)]
        running.await_results()
        report, found = running.report(), running.pauses()
    assert codes == [0] * 2 * INSTANCES
    assert report.violations == ()
    assert (report.requests, report.runs) == (len(running.request_ids), len(running.request_ids))
    assert quantile([pause.ms for pause in found], 0.99) < PAUSE_MS_MAX
    assert {pause.decider for pause in found} == {"preparation", "launch", "completion"}


def test_the_pause_is_the_longest_wait_less_the_usual_one() -> None:
    """Only what waited during the replacement counts, also where it began to wait before."""
    usual = [Delay(at, at + 100) for at in range(0, 10_000, 100)]
    waited = [Delay(4_900, 9_000), Delay(5_500, 9_000)]
    found = {0: [*usual, *waited], 1: usual}
    assert [*pauses(found, "launch", [Window("one", 5_000, 6_000)])] == [
        Pause("one", "launch", 0, 4_000),
        Pause("one", "launch", 1, 0),
    ]


def test_a_quantile_is_a_value_that_occurred() -> None:
    """Of a hundred values the 99th, of one that one."""
    assert (quantile([*range(1, 101)], 0.99), quantile([7], 0.99), quantile([], 0.99)) == (99, 7, 0)
