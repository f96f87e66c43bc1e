"""A broker that restarts as a transaction ends may never write that end; no result is lost or doubled for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.forgetful_broker import ForgetfulBroker
from tests.support.onboarding import Request
from tests.support.world import World, world

pytestmark = pytest.mark.broker


@pytest.fixture
def installed(forgetful: ForgetfulBroker, tmp_path: Path) -> Iterator[World]:
    """Start an installation of one process."""
    with world(forgetful.running.bootstrap_servers, tmp_path) as made:
        made.started(timeout_s=60)
        yield made
        assert made.workers[0].terminate(60) == 0


def has_results(world: World, *request_ids: str) -> None:
    """Wait for these results, and see that there are no others."""
    world.wait_until(lambda: len(world.results()) >= len(request_ids), "results", 60)
    assert [result["requestId"] for result in world.results()] == [*request_ids]


def test_what_was_committed_can_be_read_when_the_next_is(forgetful: ForgetfulBroker, installed: World) -> None:
    """The process that wrote it goes on as if nothing were, and so ends it."""
    with forgetful.forgetting(installed.topic("results")):
        installed.publish(Request("r-1", "k-1"))
    forgetful.running.stop()
    forgetful.running.start()
    installed.publish(Request("r-2", "k-1"))
    has_results(installed, "r-1", "r-2")


def test_a_commit_that_nobody_knows_of_holds_up_nothing(forgetful: ForgetfulBroker, installed: World) -> None:
    """It hangs everywhere, so it is aborted and decided again; else its partition would be restored for ever."""
    client, state = f"{installed.application_id}.completion", installed.topic("completion-state")
    with forgetful.swallowing(client), forgetful.forgetting(state, "__consumer_offsets"):
        installed.publish(Request("r-1", "k-1"))
    has_results(installed, "r-1")
    assert "transaction.mended" in installed.workers[0].log_file.read_text()
    installed.publish(Request("r-2", "k-1"))
    has_results(installed, "r-1", "r-2")
