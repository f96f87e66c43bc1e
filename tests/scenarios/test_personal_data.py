"""Personal data reaches no log, no metric, no header, and no topic but those that are made for it."""

import httpx
import pytest

from tests.scenarios.conftest import Stage
from tests.support.onboarding import Request

pytestmark = pytest.mark.broker

CANARY = "Canarybird"
WITHOUT_PERSONAL_DATA = ("progress", "launches", "launch-state", "control")


def test_a_name_shows_nowhere_but_where_it_belongs(stage: Stage, request_id: str) -> None:
    """The name goes to the provider and back in the result; logs, metrics, headers and custody know ids only."""
    world = stage.world
    world.publish(Request(request_id, f"k-{request_id}", last_name=CANARY))
    assert world.result(request_id)["outcome"] == "COMPLETED"
    (run,) = world.provider.runs_of(request_id)
    assert run["columns"]["fullName"] == CANARY
    exposed = httpx.get(f"http://127.0.0.1:{stage.worker.ops_port}/metrics", timeout=5).text
    logged = stage.worker.log_file.read_text(encoding="utf-8")
    assert request_id in logged
    assert [place for place, text in (("log", logged), ("metrics", exposed)) if CANARY in text] == []
    needle = CANARY.encode()
    for name in WITHOUT_PERSONAL_DATA:
        assert not any(needle in (record.value or b"") for record in world.records(name)), name
    for name in ("results", "dead-letters", "workflows", *WITHOUT_PERSONAL_DATA):
        records = world.records(name)
        assert not any(needle in value for record in records for value in record.headers.values()), name


def test_a_refused_request_names_no_value_in_its_log(stage: Stage, request_id: str) -> None:
    """The provider's message of a refusal is never kept: status, codes and fingerprint say enough."""
    world = stage.world
    marker = "simulator-refuses-record"
    world.publish(Request(request_id, f"k-{request_id}", last_name=marker))
    result = world.result(request_id, timeout_s=30)
    assert (result["outcome"], result["reason"]) == ("NOT_STARTED", "refused-by-provider")
    assert "HTTP 400" in result["message"]
    assert marker not in result["message"]
    assert marker not in stage.worker.log_file.read_text(encoding="utf-8")
