"""A lost webhook costs one poll interval and nothing else."""

import pytest

from tests.scenarios.conftest import Stage
from tests.support.onboarding import Request

pytestmark = pytest.mark.broker


def test_a_workflow_whose_webhook_is_lost_is_found_by_the_poll(stage: Stage, request_id: str) -> None:
    """Every open workflow carries its own next poll, so nothing hangs on a hint."""
    with stage.world.provider.faults(webhook_lost_rate=1):
        stage.world.publish(Request(request_id, "k-lost"))
        result = stage.world.result(request_id)
    assert (result["outcome"], result["completedBy"]) == ("COMPLETED", "POLL")
