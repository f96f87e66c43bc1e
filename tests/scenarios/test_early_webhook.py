"""A webhook that overtakes the answer of our own run waits for it, and the request has one result."""

import pytest

from tests.scenarios.conftest import Stage
from tests.support.onboarding import Request

pytestmark = pytest.mark.broker

GRACE_MS = 1_000  # As the installation sets it.


@pytest.mark.parametrize("late_ms", [GRACE_MS // 2, GRACE_MS * 5 // 4])
def test_a_webhook_before_our_own_start_neither_doubles_nor_loses_anything(
    stage: Stage, request_id: str, late_ms: int
) -> None:
    """The run has ended and its webhook is here, while its answer is still on the way; also longer than the grace."""
    with stage.world.provider.faults(complete_at_once_rate=1, latency_ms=late_ms):
        stage.world.publish(Request(request_id, "k-early"))
        result = stage.world.result(request_id)
    (run,) = stage.world.provider.runs_of(request_id)
    assert (result["outcome"], result["workflowId"], result["attempts"]) == ("COMPLETED", run["workflowId"], 1)
    assert len(stage.world.results(request_id)) == 1
