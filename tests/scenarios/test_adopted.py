"""A workflow that another service started is adopted: it ends like one of our own, once."""

import json

import pytest

from tests.scenarios.conftest import Stage

pytestmark = pytest.mark.broker


def test_an_adopted_workflow_has_one_result_however_often_it_is_adopted(stage: Stage, request_id: str) -> None:
    """Its result comes under its own request id and key, and a repeated list changes nothing, not even afterwards."""
    world = stage.world
    line = {
        "workflowId": world.provider.run_foreign(None),
        "requestId": request_id,
        "workflow": "person-check",
        "key": "k-adopted",
        "attributes": {"orderId": "A-17"},
    }
    file = world.directory / "running.jsonl"
    file.write_text(json.dumps(line))
    for _ in range(2):
        said = world.command("adopt", str(file))
        assert (said.returncode, said.stdout) == (0, "adopted 1 workflow (person-check 1)\n"), said.stderr
    result = world.result(request_id)
    assert (result["outcome"], result["workflowId"], result["attempts"]) == ("COMPLETED", line["workflowId"], 0)
    assert result["attributes"] == {"orderId": "A-17"}
    assert world.command("adopt", str(file)).returncode == 0
    marker = f"{request_id}-after"
    after = {**line, "workflowId": world.provider.run_foreign(None), "requestId": marker}
    file.write_text(f"{json.dumps(line)}\n{json.dumps(after)}\n")
    assert world.command("adopt", str(file)).returncode == 0
    world.result(marker)
    assert world.results(request_id) == [result]
    keys = {record.key for record in world.records("results") if request_id.encode() in (record.value or b"")}
    assert keys == {b"k-adopted"}
