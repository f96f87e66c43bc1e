"""A run whose answer is lost is never run again: a webhook adopts it, a person resolves it, or its time is over."""

import json

import pytest

from tests.scenarios.conftest import Stage
from tests.support.onboarding import Request, milliseconds

pytestmark = pytest.mark.broker


def run_of(stage: Stage, request_id: str) -> str:
    """Return the one workflow that the provider executed for a request."""
    (run,) = stage.world.provider.runs_of(request_id)
    return str(run["workflowId"])


def test_its_webhook_adopts_it(stage: Stage, request_id: str) -> None:
    """The connection is cut after the execution; the webhook shows our record, so the run is known."""
    with stage.world.provider.faults(run_hung_up_rate=1):
        stage.world.publish(Request(request_id, "k-adopted"))
        result = stage.world.result(request_id)
    assert (result["outcome"], result["workflowId"]) == ("COMPLETED", run_of(stage, request_id))
    assert (result["attempts"], len(stage.world.results(request_id))) == (1, 1)


def test_without_a_webhook_it_is_held_until_a_person_resolves_it(stage: Stage, request_id: str) -> None:
    """Nothing tells of the run: the request is on the list, and goes on as soon as somebody names the workflow."""
    world = stage.world
    with world.provider.faults(run_hung_up_rate=1, webhook_lost_rate=1):
        world.publish(Request(request_id, "k-held"))
        world.wait_until(lambda: "HELD" in world.steps(request_id), "the request held")
    listed = world.command("held", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    assert request_id in [held["requestId"] for held in json.loads(listed.stdout)["held"]]
    assert world.results(request_id) == []
    workflow_id = run_of(stage, request_id)
    resolved = world.command("held", "resolve", request_id, "--started", workflow_id, "--yes")
    assert resolved.returncode == 0, resolved.stderr
    result = world.result(request_id)
    assert (result["outcome"], result["workflowId"]) == ("COMPLETED", workflow_id)
    assert len(world.provider.runs_of(request_id)) == 1


def test_at_its_deadline_it_is_given_up_and_a_late_webhook_amends_that(stage: Stage, request_id: str) -> None:
    """UNDETERMINED is revision 1; the real outcome, when it comes after all, is revision 2 on the same partition."""
    world = stage.world
    with world.provider.faults(run_hung_up_rate=1, webhook_lost_rate=1):
        world.publish(Request(request_id, "k-late", deadline_at=milliseconds() + 4_000))
        first = world.result(request_id)
    assert (first["outcome"], first["reason"], first["workflowId"]) == ("UNDETERMINED", "run-unknown", None)
    workflow_id = run_of(stage, request_id)
    assert world.provider.send_webhook(workflow_id) == 202
    second = world.result(request_id, revision=2)
    assert (second["outcome"], second["workflowId"]) == ("COMPLETED", workflow_id)
    assert [result["revision"] for result in world.results(request_id)] == [1, 2]


def test_a_workflow_that_outlives_its_deadline_amends_its_expiry(stage: Stage, request_id: str) -> None:
    """EXPIRED says that we stopped waiting; what the workflow came to is told once more."""
    world = stage.world
    with world.provider.faults(completion_ms=4_000):
        world.publish(Request(request_id, "k-expired", deadline_at=milliseconds() + 2_000))
        first = world.result(request_id)
        assert (first["outcome"], first["reason"]) == ("EXPIRED", "deadline-passed")
        second = world.result(request_id, revision=2)
    assert (second["outcome"], second["workflowId"]) == ("COMPLETED", run_of(stage, request_id))
    assert [result["revision"] for result in world.results(request_id)] == [1, 2]
