"""SIGTERM lets an open run end: its answer is written down, and nothing becomes unknown by a rollout."""

import pytest

from tests.scenarios.conftest import Stage
from tests.support.onboarding import Request

pytestmark = pytest.mark.broker


def test_a_run_that_is_open_at_sigterm_is_waited_for(stage: Stage, request_id: str) -> None:
    """The process is told to stop while the provider works on a run: it exits 0, the next one goes on."""
    world = stage.world
    with world.provider.faults(latency_ms=800):
        world.publish(Request(request_id, "k-drain"))
        world.wait_until(lambda: bool(world.provider.runs_of(request_id)), "the run at the provider")
        assert stage.restart() == 0
        result = world.result(request_id)
    (run,) = world.provider.runs_of(request_id)
    assert (result["outcome"], result["workflowId"], result["attempts"]) == ("COMPLETED", run["workflowId"], 1)
    assert run["answered"] == "yes"
    assert "HELD" not in world.steps(request_id)
