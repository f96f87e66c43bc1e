"""A broker that restarts as a transaction ends may never write that end; no result is lost or doubled for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.forgetful_broker import ForgetfulBroker
from tests.support.onboarding import Request
from tests.support.world import world

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForgetfulBroker]:
    """Start one that forgets what `completion` writes."""
    made = ForgetfulBroker(
        tmp_path_factory.mktemp("forgetful") / "broker", (".completion-state", ".results"), ".completion"
    )
    made.running.start()
    yield made
    made.running.stop()


@pytest.mark.parametrize(
    "topic,is_silent", [("results", False), ("completion-state", True)], ids=["committed", "unknown"]
)
def test_a_transaction_without_its_end_is_ended_by_who_wrote_it(
    forgetful: ForgetfulBroker,
    tmp_path: Path,
    topic: str,
    is_silent: bool,  # noqa: FBT001
) -> None:
    """With nothing else to do, whether the broker said that it was committed or not; others are served as before."""
    broker = forgetful.running
    with world(broker.bootstrap_servers, tmp_path) as made:
        worker = made.started(timeout_s=60)
        with forgetful.forgetting(made.topic(topic), is_silent=is_silent):
            made.publish(Request("r-1", "k-1"))
        broker.stop()
        broker.start()
        made.wait_until(lambda: [result["requestId"] for result in made.results()] == ["r-1"], "the result", 60)
        made.publish(Request("r-2", "k-1"))
        made.wait_until(lambda: len(made.results()) > 1, "the next result")
        assert [result["requestId"] for result in made.results()] == ["r-1", "r-2"]
        assert "transaction.mended" in worker.log_file.read_text()
        assert worker.terminate(60) == 0
