"""A webhook that comes again, at once or when all is over, changes nothing."""

import pytest

from tests.scenarios.conftest import Stage
from tests.support.onboarding import Request

pytestmark = pytest.mark.broker


def test_a_webhook_that_comes_many_times_makes_one_result(stage: Stage, request_id: str) -> None:
    """Twice at the end, three times after the result: still one."""
    provider = stage.world.provider
    with provider.faults(webhook_doubled_rate=1):
        stage.world.publish(Request(request_id, "k-doubled"))
        result = stage.world.result(request_id)
    assert (result["outcome"], result["completedBy"]) == ("COMPLETED", "WEBHOOK")
    assert [provider.send_webhook(result["workflowId"]) for _ in range(3)] == [202] * 3
    marker = f"{request_id}-after"
    stage.world.publish(Request(marker, "k-doubled"))
    stage.world.result(marker)
    assert len(stage.world.results(request_id)) == 1
