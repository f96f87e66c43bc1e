"""A workflow that nobody started here is somebody else's: read once, then left alone."""

import pytest

from tests.scenarios.conftest import Stage
from tests.support.onboarding import Request

pytestmark = pytest.mark.broker


def test_a_foreign_workflow_makes_no_result_and_changes_none(stage: Stage, request_id: str) -> None:
    """Neither one without a record nor one on the very record of a request that has ended."""
    world, provider = stage.world, stage.world.provider
    world.publish(Request(request_id, "k-foreign"))
    first = world.result(request_id)
    before, letters = len(world.results()), len(world.records("dead-letters"))
    reads = status_reads(stage)
    for record_id in (None, first["recordId"]):
        provider.run_foreign(record_id)
    world.wait_until(lambda: status_reads(stage) >= reads + 2, "both were looked at")
    marker = f"{request_id}-after"
    world.publish(Request(marker, "k-foreign"))
    world.result(marker)
    assert len(world.results()) == before + 1
    assert len(world.records("dead-letters")) == letters
    assert world.results(request_id) == [first]


def status_reads(stage: Stage) -> int:
    """Return how often the provider was asked for the status of a workflow."""
    counted = stage.world.provider.counters()["routes"]
    return sum(counted["GET /workflows/{workflowId}"].values())
