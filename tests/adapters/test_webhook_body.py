"""What a genuine body says, by configured paths."""

import json

import pytest

from processor.core.messages import WebhookReceived
from processor.core.webhook import BodyPaths, Unreadable, read_body
from processor.errors import UndecodableMessage
from tests.adapters.webhook_support import BODY, KEY_ID, RECORD_ID, WORKFLOW_ID

NOW = 1_767_225_600_000
LARGEST = 256 * 1_024  # Of a body, by default.


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
        (b"[" * LARGEST, Unreadable.NOT_JSON),
        (b'{"a":' * (LARGEST // 5), Unreadable.NOT_JSON),
        (b'{"id":' + b"9" * 5_000 + b"}", Unreadable.NOT_JSON),
        (b'{"id":"a', Unreadable.NOT_JSON),
        (b'{"id":"a"}{"id":"b"}', Unreadable.NOT_JSON),
        (b'{"id":"a"}\x00', Unreadable.NOT_JSON),
        (b'{"id":"\xff\xfe"}', Unreadable.NOT_JSON),
        (b"\xef\xbb\xbf", Unreadable.NOT_JSON),
        (b"null", Unreadable.NOT_JSON),
        (b"NaN", Unreadable.NOT_JSON),
        (b" " * LARGEST, Unreadable.NOT_JSON),
        (b"\x00" * LARGEST, Unreadable.NOT_JSON),
        (b'{"id":1e999999}', Unreadable.NO_WORKFLOW_ID),
        (b'{"id":NaN}', Unreadable.NO_WORKFLOW_ID),
        (b'{"id":"' + b"x" * (LARGEST - 9) + b'"}', Unreadable.NO_WORKFLOW_ID),
        (b'{"id":"\\ud800"}', Unreadable.NO_WORKFLOW_ID),
        (b'{"id":"\xed\xa0\x80"}', Unreadable.NO_WORKFLOW_ID),
        (b'{"id":"\\u0000"}', Unreadable.NO_WORKFLOW_ID),
        (b'{"id":"\\u202e"}', Unreadable.NO_WORKFLOW_ID),
        (b'{"id":["a"]}', Unreadable.NO_WORKFLOW_ID),
        (b'{"ID":"a"}', Unreadable.NO_WORKFLOW_ID),
        (b"{}", Unreadable.NO_WORKFLOW_ID),
        (b'{"data": {"id": "a"}}', Unreadable.NO_WORKFLOW_ID),
    ],
)
def test_a_body_that_names_no_workflow_is_unreadable(body: bytes, reason: str) -> None:
    """Whatever the bytes are, the answer is one of two reasons and never a crash."""
    with pytest.raises(UndecodableMessage) as unreadable:
        _read(body)
    assert unreadable.value.reason == reason


def test_of_a_name_that_stands_twice_the_last_counts() -> None:
    """JSON leaves it open (RFC 8259, 4); a hint about the wrong workflow costs one status read and nothing else."""
    assert _read(b'{"workflowId":"a","workflowId":"b"}').workflow_id == "b"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32-le"])
def test_other_encodings_of_unicode_are_read(encoding: str) -> None:
    """A byte order mark or wide characters do not make a genuine webhook unreadable."""
    assert _read(BODY.decode().encode(encoding)).workflow_id == WORKFLOW_ID


def test_a_large_and_deep_body_is_read() -> None:
    """What else a body holds does not matter, up to its largest size."""
    deep = b'{"a":' * 200 + b"[]" + b"}" * 200
    filler = b"9" * 4_000
    head = b'{"workflowId":"a","more":' + deep + b',"numbers":[' + b",".join([filler] * 60)
    assert _read(head + b"]}").workflow_id == "a"


KINDS = ("workflow.completed", "workflow.awaiting", "workflow.status", "something.new")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("member", ["type", "eventType", "event"])
def test_every_kind_is_read(kind: str, member: str) -> None:
    """Completed, awaiting, status update, and a kind that is new to us: the workflow id is found, the kind is kept."""
    webhook = _read(json.dumps({"workflowId": WORKFLOW_ID, member: kind, "status": "AWAITING"}).encode())
    assert (webhook.workflow_id, webhook.kind, webhook.status) == (WORKFLOW_ID, kind, "AWAITING")
