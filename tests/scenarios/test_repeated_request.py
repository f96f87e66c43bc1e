"""A request that is published again is the same request; one that says something else is a conflict."""

from dataclasses import replace

import pytest

from tests.scenarios.conftest import Stage
from tests.support.onboarding import Request

pytestmark = pytest.mark.broker


def test_a_repeated_request_is_run_once_and_a_conflicting_one_is_set_aside(stage: Stage, request_id: str) -> None:
    """Three times the same, before and after the result, and once with another name: one run, one result."""
    world = stage.world
    request = Request(request_id, "k-repeated")
    world.publish(request, request)
    result = world.result(request_id)
    marker = Request(f"{request_id}-after", "k-repeated")
    world.publish(request, replace(request, last_name="Somebody Else"), marker)
    world.result(marker.request_id)
    assert world.results(request_id) == [result]
    assert len(world.provider.runs_of(request_id)) == 1
    reasons = [letter.headers["dlq.reason"] for letter in world.records("dead-letters") if letter.key == b"k-repeated"]
    assert reasons == [b"conflict"]


def test_a_restart_still_knows_what_came_before(stage: Stage, request_id: str) -> None:
    """Duplicates are recognised by what Kafka holds, not by what a process remembers."""
    world = stage.world
    request = Request(request_id, "k-known")
    world.publish(request)
    result = world.result(request_id)
    assert stage.restart() == 0
    marker = Request(f"{request_id}-after", "k-known")
    world.publish(request, marker)
    world.result(marker.request_id)
    assert world.results(request_id) == [result]
    assert len(world.provider.runs_of(request_id)) == 1
