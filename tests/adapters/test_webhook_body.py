"""What a genuine body says, by configured paths."""

import json

import pytest

from processor.core.messages import WebhookReceived
from processor.core.webhook import BodyPaths, Unreadable, read_body
from processor.errors import UndecodableMessage
from tests.adapters.webhook_support import BODY, KEY_ID, RECORD_ID, WORKFLOW_ID

NOW = 1_767_225_600_000


def _read(body: bytes, paths: BodyPaths | None = None) -> WebhookReceived:
    return read_body(body, paths or BodyPaths(), key_id=KEY_ID, received_at=NOW)


def test_a_body_is_read_by_the_default_paths() -> None:
    """Ids, status, the key that signed, the time of arrival and the raw bytes are kept."""
    assert _read(BODY) == WebhookReceived(
        workflow_id=WORKFLOW_ID,
        received_at=NOW,
        status="COMPLETED",
        kind=None,
        record_id=RECORD_ID,
        case_id=None,
        definition_id=None,
        key_id=KEY_ID,
        body=BODY,
    )


@pytest.mark.parametrize(
    "said, workflow_id",
    [
        ({"id": "d", "executionId": "c", "workflowExecutionId": "b", "workflowId": "a"}, "a"),
        ({"id": "d", "executionId": "c", "workflowExecutionId": "b"}, "b"),
        ({"id": "d", "executionId": "c"}, "c"),
        ({"id": "d"}, "d"),
        ({"workflowId": None, "id": "d"}, "d"),
        ({"workflowId": 7, "id": "d"}, "d"),
        ({"workflowId": "  ", "id": "d"}, "d"),
        ({"workflowId": "x" * 257, "id": "d"}, "d"),
        ({"workflowId": "\ud800", "id": "d"}, "d"),
        ({"workflowId": "a\u0000b", "id": "d"}, "d"),
        ({"workflowId": {"id": "a"}, "id": "d"}, "d"),
        ({"workflowId": "  AbC "}, "abc"),
    ],
)
def test_the_first_path_with_a_word_gives_the_workflow_id(said: dict[str, object], workflow_id: str) -> None:
    """Paths are tried in order; what is no short printable text counts as absent; the id becomes canonical."""
    assert _read(json.dumps(said).encode()).workflow_id == workflow_id


def test_paths_lead_into_nested_bodies() -> None:
    """A provider that nests its payload needs a setting, not a release; the status keeps its spelling."""
    body = json.dumps({"event": "done", "data": {"run": {"id": "R-1"}, "state": "Completed"}}).encode()
    webhook = _read(body, BodyPaths(workflow_id=("data.run.id",), status=("data.state",)))
    assert (webhook.workflow_id, webhook.status, webhook.kind) == ("r-1", "Completed", "done")


@pytest.mark.parametrize(
    "body, reason",
    [
        (b"", Unreadable.NOT_JSON),
        (b"workflowId=1", Unreadable.NOT_JSON),
        (b"\x1f\x8b\x08\x00", Unreadable.NOT_JSON),
        (b'"text"', Unreadable.NOT_JSON),
        (b"[]", Unreadable.NOT_JSON),
        (b"[" * 200_000, Unreadable.NOT_JSON),
        (b'{"id":' + b"9" * 5_000 + b"}", Unreadable.NOT_JSON),
        (b"{}", Unreadable.NO_WORKFLOW_ID),
        (b'{"data": {"id": "a"}}', Unreadable.NO_WORKFLOW_ID),
    ],
)
def test_a_body_that_names_no_workflow_is_unreadable(body: bytes, reason: str) -> None:
    """Whatever the bytes are, the answer is one of two reasons and never a crash."""
    with pytest.raises(UndecodableMessage) as unreadable:
        _read(body)
    assert unreadable.value.reason == reason
