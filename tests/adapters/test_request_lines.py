"""Requests as people write them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from processor.adapters.avro_records import request_of
from processor.adapters.request_lines import DEFAULT_KEY, KeyPath, read_request_line
from processor.adapters.schema_files import public_schema
from processor.core.model import OnboardingRequest
from processor.errors import RequestRejected
from tests.adapters.samples import AT, DECODED, REQUEST

EXAMPLES = Path(__file__).parents[2] / "examples" / "requests.jsonl"
NOW = 1_764_000_000_000
OPTIONAL_KEY = KeyPath(DEFAULT_KEY, is_optional=True)
LEAST = {"requestId": "r-1", "workflow": "person-check"}
FULL: dict[str, Any] = {
    **REQUEST,
    "requestedAt": "2025-11-24T16:00:00.123Z",
    "deadlineAt": "2025-11-24T17:00:00.124+01:00",
    "columns": DECODED.columns,
    "parameters": DECODED.parameters,
    "linkAttempt": 2,
}


def read(given: object, key: KeyPath = OPTIONAL_KEY) -> tuple[OnboardingRequest, bytes | None]:
    """Return what a line says, and its key."""
    line = read_request_line(json.dumps(given), now=NOW, key=key)
    return request_of(line.record), line.key


def test_a_line_can_say_everything_that_a_request_can() -> None:
    """Every field of the contract is read, instants as text and JSON values as they are."""
    assert AT == 1_764_000_000_123
    assert read(FULL) == (replace(DECODED, link_attempt=2), b"C-1")
    assert set(FULL) == {field["name"] for field in json.loads(public_schema("OnboardingRequested"))["fields"]}


def test_a_request_needs_an_id_and_a_workflow_only() -> None:
    """What is left out has its default; a request without an instant is asked for now."""
    assert read(LEAST) == (OnboardingRequest("r-1", "person-check", requested_at=NOW), None)


@pytest.mark.parametrize(
    "change,complaint",
    [
        ({"requestId": ""}, "requestId is empty"),
        ({"requestId": None}, "requestId must be text"),
        ({"requestId": "r\n1"}, "the request id holds control characters"),
        ({"requestId": "r" * 257}, "the request id is longer than 256 characters"),
        ({"recordId": "a\tb"}, "recordId holds control characters"),
        ({"caseId": "a\0b"}, "caseId holds control characters"),
        ({"workflow": 5}, "workflow must be text"),
        ({"requestedAt": 1764000000}, "requestedAt must be an instant such as"),
        ({"requestedAt": "yesterday"}, "requestedAt must be an instant such as"),
        ({"deadlineAt": "2026-11-24T12:00:00"}, "with its time zone"),
        ({"requestedAt": "1905-01-01T00:00:00Z"}, "requestedAt is not between"),
        ({"workflw": "x"}, "is workflow meant?"),
        ({"subject": {"fristName": "Zzz"}}, "subject has an unknown member; is firstName meant?"),
        ({"subject": "Zzz"}, "subject must be an object"),
        ({"subject": {"kind": "DOG"}}, "subject.kind must be one of PERSON, COMPANY"),
        ({"subject": {"kind": "UNRECOGNIZED"}}, "subject.kind must be one of PERSON, COMPANY"),
        ({"subject": {"phone": {"number": 5}}}, "subject.phone.number must be text"),
        ({"subject": {"documents": {}}}, "subject.documents must be a list"),
        ({"subject": {"documents": [{"resourceId": 1}]}}, "subject.documents.0.resourceId must be text"),
        ({"subject": {"lastName": "\ud800"}}, "subject.lastName holds half a character"),
        ({"columns": {"n": 2**63}}, "columns.n is too large a number"),
        ({"attributes": {"a": 1}}, "attributes.a must be text"),
        ({"linkAttempt": "2"}, "linkAttempt must be a whole number"),
        ({"linkAttempt": True}, "linkAttempt must be a whole number"),
        ({"linkAttempt": 2**31}, "linkAttempt must be a whole number"),
        ({"linkAttempt": 0}, "linkAttempt is below 1"),
    ],
)
def test_a_bad_line_is_refused_with_field_and_remedy(change: dict[str, Any], complaint: str) -> None:
    """The complaint names the field and what it must be, and never the value."""
    with pytest.raises(RequestRejected) as caught:
        read({**LEAST, **change})
    assert complaint in str(caught.value)
    assert "Zzz" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", '"x"', '{"requestId": NaN}', "[" * 100_000])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    """A line is one object."""
    with pytest.raises(RequestRejected, match="one object a line"):
        read_request_line(text, now=NOW, key=OPTIONAL_KEY)


@pytest.mark.parametrize(
    "text",
    [
        '{"requestId": "r-1", "workflow": "a", "workflow": "b"}',
        '{"requestId": "r-1", "workflow": "a", "columns": {"Zzz": 1, "Zzz": 2}}',
    ],
)
def test_a_member_that_stands_twice_is_refused(text: str) -> None:
    """Which of the two counts is every parser's own choice; names below the top may be personal data too."""
    with pytest.raises(RequestRejected, match="a member stands twice in one object") as caught:
        read_request_line(text, now=NOW, key=OPTIONAL_KEY)
    assert "Zzz" not in str(caught.value)


def test_a_required_member_that_is_missing_is_named() -> None:
    """Nothing is made up but the instant."""
    with pytest.raises(RequestRejected, match="workflow is missing"):
        read({"requestId": "r-1"})


@pytest.mark.parametrize(
    "key,expected",
    [
        (OPTIONAL_KEY, b"C-1"),
        (KeyPath("tenant"), b"t-1"),
        (KeyPath("attributes.channel"), b"web"),
        (KeyPath(None), None),
        (KeyPath("attributes.nothing", is_optional=True), None),
    ],
)
def test_the_key_is_what_a_member_says(key: KeyPath, expected: bytes | None) -> None:
    """The message key comes from the line; a line may have none only where that is allowed."""
    assert read(FULL, key)[1] == expected


@pytest.mark.parametrize("path", ["subject.reference", "columns.age", "subject", "nothing"])
def test_a_key_that_was_asked_for_must_be_there(path: str) -> None:
    """A request in a lane of its own by accident would lose its order and its duplicates."""
    with pytest.raises(RequestRejected, match="it is the message key"):
        read({**LEAST, "columns": {"age": 1}}, KeyPath(path))


def test_the_examples_are_requests() -> None:
    """The file that we ship can be published as it is."""
    lines = EXAMPLES.read_text(encoding="utf-8").splitlines()
    requests = [read_request_line(line, now=NOW, key=KeyPath(DEFAULT_KEY)) for line in lines]
    assert len({line.record["requestId"] for line in requests}) == len(requests) == 10
