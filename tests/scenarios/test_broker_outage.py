"""A broker that dies and comes back costs time and nothing else; nobody restarts a processor for it."""

from pathlib import Path

import pytest

from tests.support.broker import RunningBroker
from tests.support.onboarding import Request
from tests.support.world import world

pytestmark = pytest.mark.broker

REQUESTS, TURNS = 40, 1


@pytest.mark.parametrize("is_orderly", [False, True], ids=["killed", "restarted"])
def test_work_goes_on_after_the_broker_is_back(broker: RunningBroker, tmp_path: Path, is_orderly: bool) -> None:  # noqa: FBT001
    """Transactions, restores and offsets work again by themselves, in the process that was there before."""
    with world(broker.bootstrap_servers, tmp_path, simulator={"latency_ms": 100}) as made:
        worker = made.started(timeout_s=60)
        for turn in range(TURNS):
            made.publish(*(Request(f"t{turn}-{number}", f"k{number}") for number in range(REQUESTS)))
            (broker.stop if is_orderly else broker.kill)()
            broker.start()
            made.publish(*(Request(f"u{turn}-{number}", f"k{number}") for number in range(REQUESTS)))
            expected = 2 * REQUESTS * (turn + 1)
            made.wait_until(lambda: len(made.results()) >= expected, f"{expected} results", 90)  # noqa: B023
        outcomes = [result["outcome"] for result in made.results()]
        assert worker.terminate(60) == 0
    assert len(outcomes) == 2 * TURNS * REQUESTS
    assert set(outcomes) <= {"COMPLETED"}
