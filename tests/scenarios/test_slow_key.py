"""Requests of one key are prepared in order; other keys do not wait for them."""

import pytest

from tests.scenarios.conftest import Stage
from tests.support.onboarding import Request

pytestmark = pytest.mark.broker


def test_a_key_with_a_long_queue_does_not_hold_up_the_others(stage: Stage, request_id: str) -> None:
    """Ten requests of one key in line, then twenty of other keys on the same partitions: these overtake the line."""
    world = stage.world
    slow = [Request(f"{request_id}-slow-{number}", "k-slow") for number in range(10)]
    others = [Request(f"{request_id}-other-{number}", f"k-other-{number}") for number in range(20)]
    with world.provider.faults(latency_ms=200):
        world.publish(*slow, *others)
        for other in others:
            world.result(other.request_id)
        ended = {result["requestId"] for result in world.results()}
        assert slow[-1].request_id not in ended
        for request in slow:
            world.result(request.request_id)
    runs = [world.provider.runs_of(request.request_id)[0] for request in slow]
    made = [line["id"] for line in world.provider.lines("record")]
    positions = [made.index(run["recordId"]) for run in runs]
    assert positions == sorted(positions)
