"""What each answer of the provider says: the tables of bodies, in the shapes of all versions.

What it proves is the table of `test_proof_table.py`.
"""

import logging
from dataclasses import replace
from email.utils import formatdate
from hashlib import sha256

import orjson
import pytest

from processor.adapters.api_answers import SECRET_CHARS_MAX, retry_after_ms, text_of
from processor.adapters.api_facts import Answer, Facts, fact_of
from processor.adapters.calling import ApiCall, ApiFact, operation_of
from processor.adapters.http import HttpAnswer, HttpFailure, Reason
from processor.core.catalogue import Catalogue, Workflow
from processor.core.messages import (
    CallAnswered,
    CaseRead,
    Create,
    ReadCase,
    ReadResult,
    ReadStatus,
    ResultRead,
    StartWorkflow,
    StatusRead,
)
from processor.core.model import ApiVersion
from processor.core.proof import STARTS, Ending, Operation, Proof
from processor.core.reference import reference_of
from processor.settings import ApiSettings
from tests.adapters.api_calls import CALLS, Calling
from tests.adapters.fake_http import json_answer

NOW = 1_750_000_000_000
RUN = StartWorkflow("check", "r-1", 3, "record-1", None, None, NOW, NOW)
CASE = Create(Operation.CREATE_CASE, "check", "r-1", 2, b"{}")
RECORD = Create(Operation.CREATE_RECORD, "check", "r-1", 2, b"{}")
PARAMETERS = Create(Operation.SET_PARAMETERS, "check", "r-1", 2, b"{}")
STATUS = ReadStatus("check", "w-1", 4)
RESULT = ReadResult("check", "w-1", 5)
READ_CASE = ReadCase("cases", "r-1", "case-1", 6)
CATALOGUE = Catalogue(
    {
        "check": Workflow("check", "definition"),
        "cases": Workflow(
            "cases", "definition", case_workflow_path="runs.0.id", case_status_path="runs.0.state", api=ApiVersion.CASES
        ),
    }
)

REFUSAL = {
    "fingerprint": "5f3c",
    "errors": [
        {"code": "A", "message": "Ada Example"},
        {"code": "not a code: Ada"},
        {"code": 7},
        "odd",
        {"code": "B"},
        {"code": "SIXTH"},
    ],
}


def read(call: ApiCall, answer: Answer, **given: object) -> ApiFact:
    """Read an answer under settings that differ from the defaults by what is given."""
    return Facts(CATALOGUE, ApiSettings.model_validate(given), clock=lambda: NOW).read(call, answer)


def test_why_tells_status_codes_and_fingerprint_and_nothing_else() -> None:
    """Messages may name people; what does not look like a code may be anything."""
    told = read(RUN, json_answer(422, REFUSAL))
    assert isinstance(told, CallAnswered)
    assert told == CallAnswered(
        Operation.RUN, 3, Proof.REFUSED, None, None, None, "HTTP 422, codes A, B, fingerprint 5f3c", "r-1"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Ada</html>",
        b"[1]",
        b'"Ada"',
        b'{"errors":"Ada"}',
        b'{"errors":{"code":"Ada"}}',
        b'{"errors":[["Ada"]],"fingerprint":"Ada Example"}',
        b'{"errors":[{"code":null}],"fingerprint":7}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_refusal_of_any_shape_is_read(body: bytes) -> None:
    """The status alone tells enough."""
    assert read(CASE, HttpAnswer(400, {}, body)).why == "HTTP 400"


RUN_BODIES: dict[str, tuple[bytes, Proof, str | None, str | None]] = {
    "as documented": (b'{"id":"w-1","recordId":"r","status":"RUNNING"}', Proof.DONE, "w-1", "RUNNING"),
    "more than documented": (b'{"id":"w-1","status":"X","new":{"id":"no"},"z":[1]}', Proof.DONE, "w-1", "X"),
    "status missing": (b'{"id":"w-1"}', Proof.DONE, "w-1", None),
    "status kept raw": (b'{"id":"w-1","status":" Completed"}', Proof.DONE, "w-1", " Completed"),
    "a number for an id": (b'{"id":17}', Proof.DONE, "17", None),
    "half a surrogate pair elsewhere": (b'{"id":"w-1","name":"\\ud83d"}', Proof.DONE, "w-1", None),
    "id missing": (b"{}", Proof.DONE, None, None),
    "id null": (b'{"id":null,"status":"RUNNING"}', Proof.DONE, None, "RUNNING"),
    "id empty": (b'{"id":""}', Proof.DONE, None, None),
    "id an object": (b'{"id":{}}', Proof.DONE, None, None),
    "id true": (b'{"id":true}', Proof.DONE, None, None),
    "id with a line break": (b'{"id":"w\\n1"}', Proof.DONE, None, None),
    "id without end": (b'{"id":"%b"}' % (b"w" * 201), Proof.DONE, None, None),
    "id half a surrogate pair": (b'{"id":"\\ud83d"}', Proof.DONE, None, None),
    "id a number without end": (b'{"id":1%b}' % (b"0" * 300), Proof.DONE, None, None),
    "nothing": (b"", Proof.UNKNOWN, None, None),
    "cut": (b'{"id":"w-1"', Proof.UNKNOWN, None, None),
    "no JSON": (b"<html>", Proof.UNKNOWN, None, None),
    "not UTF-8": (b'{"id":"\xff"}', Proof.UNKNOWN, None, None),
    "no number": (b'{"id":NaN}', Proof.UNKNOWN, None, None),
    "a list": (b'[{"id":"w-1"}]', Proof.UNKNOWN, None, None),
    "a text": (b'"w-1"', Proof.UNKNOWN, None, None),
    "null": (b"null", Proof.UNKNOWN, None, None),
}


@pytest.mark.parametrize("case", RUN_BODIES)
def test_a_run_is_done_when_an_object_came_whole(case: str) -> None:
    """Without an id it ran all the same; of a body that cannot be read nobody knows what it said."""
    body, proof, made_id, status = RUN_BODIES[case]
    for http_status in (200, 201, 202):
        told = read(RUN, HttpAnswer(http_status, {}, body))
        assert isinstance(told, CallAnswered)
        assert (told.proof, told.made_id, told.status) == (proof, made_id, status)
        assert (told.operation, told.attempt, told.request_id, told.wait_ms) == (Operation.RUN, 3, "r-1", None)


def started(operation: Operation, body: bytes) -> CallAnswered:
    """Read the answer of a start that makes something for an end user."""
    told = read(replace(RUN, operation=operation), HttpAnswer(201, {}, body))
    assert isinstance(told, CallAnswered)
    assert (told.operation, told.request_id, told.attempt, told.why) == (operation, "r-1", 3, "HTTP 201")
    return told


LINKS: dict[str, tuple[Operation, bytes, str | None, str | None, int | None]] = {
    "link": (Operation.ISSUE_LINK, b'{"link":"https://l.test/1"}', "https://l.test/1", None, None),
    "mail": (Operation.SEND_LINK, b'{"link":"https://l.test/1"}', "https://l.test/1", None, None),
    "token": (
        Operation.ISSUE_TOKEN,
        b'{"token":"a.b.c","expiryDuration":3600,"tokenType":"Bearer"}',
        None,
        "a.b.c",
        3_600_000,
    ),
    "token of version 2": (Operation.ISSUE_TOKEN, b'{"token":"a.b.c","new":1}', None, "a.b.c", None),
    "version 3": (
        Operation.RUN,
        b'{"id":"w","link":"https://l.test/?token=t","token":"t","expiresAt":"2025-06-15T15:07:40Z"}',
        "https://l.test/?token=t",
        "t",
        60_000,
    ),
    "version 3, fractions and an offset": (
        Operation.RUN,
        b'{"id":"w","token":"t","expiresAt":"2025-06-15T17:06:40.250+02:00"}',
        None,
        "t",
        250,
    ),
    "version 3, over already": (Operation.RUN, b'{"token":"t","expiresAt":"2025-06-15T15:06:39"}', None, "t", 0),
    "version 3 without an end": (Operation.RUN, b'{"token":"t","expiresAt":null}', None, "t", None),
    "version 3 in the background": (Operation.RUN, b'{"id":"w","expiresAt":"2025-06-15T15:07:40Z"}', None, None, None),
    "nothing": (Operation.ISSUE_LINK, b"{}", None, None, None),
    "wrong types": (Operation.ISSUE_LINK, b'{"link":1,"token":{},"expiryDuration":"1"}', None, None, None),
    "empty": (Operation.ISSUE_LINK, b'{"link":"","token":""}', None, None, None),
    "in lines": (Operation.ISSUE_LINK, b'{"link":"a\\nb"}', None, None, None),
    "without end": (Operation.ISSUE_LINK, b'{"link":"%b"}' % (b"l" * (SECRET_CHARS_MAX + 1)), None, None, None),
    "life of no time": (Operation.ISSUE_TOKEN, b'{"token":"t","expiryDuration":0}', None, "t", None),
    "life that is a truth": (Operation.ISSUE_TOKEN, b'{"token":"t","expiryDuration":true}', None, "t", None),
    "life without end": (Operation.ISSUE_TOKEN, b'{"token":"t","expiryDuration":1e300}', None, "t", None),
    "half a second": (Operation.ISSUE_TOKEN, b'{"token":"t","expiryDuration":0.5}', None, "t", 500),
    "end that is no instant": (Operation.RUN, b'{"token":"t","expiresAt":"soon"}', None, "t", None),
    "end beyond the calendar": (
        Operation.RUN,
        b'{"token":"t","expiresAt":"9999-12-31T23:59:59-23:00"}',
        None,
        "t",
        None,
    ),
}


@pytest.mark.parametrize("case", LINKS)
def test_what_an_end_user_gets_is_read_with_its_life(case: str) -> None:
    """Without link and token the call is done all the same; a life that means nothing is none."""
    operation, body, link, token, expires_ms = LINKS[case]
    told = started(operation, body)
    assert (told.proof, told.link, told.token, told.expires_ms) == (Proof.DONE, link, token, expires_ms)


def test_only_a_run_tells_a_workflow() -> None:
    """No answer of a link or token is documented to hold an id, so none is taken for one."""
    body = b'{"id":"w-1","status":"RUNNING","link":"l","token":"t"}'
    told = [started(operation, body) for operation in sorted(STARTS)]
    assert [(each.operation, each.made_id, each.status) for each in told if each.made_id or each.status] == [
        (Operation.RUN, "w-1", "RUNNING")
    ]


def test_a_creation_makes_no_link() -> None:
    """Columns of those names are columns."""
    told = read(RECORD, json_answer(201, {"id": "record-1", "link": "l", "token": "t"}))
    assert isinstance(told, CallAnswered)
    assert (told.link, told.token, told.expires_ms) == (None, None, None)


CASES: list[tuple[bytes, str | None, str | None]] = [
    (b'{"caseId":"case-1","runs":[{"id":"w-1","state":"COMPLETED"}]}', "w-1", "COMPLETED"),
    (b'{"caseId":"case-1","runs":[]}', None, None),
    (b'{"caseId":"case-1","runs":[{"id":{},"state":[]}]}', None, None),
]


@pytest.mark.parametrize("body, workflow_id, status", CASES)
def test_a_case_shows_its_workflow_where_the_catalogue_says(
    body: bytes, workflow_id: str | None, status: str | None
) -> None:
    """What is not there is not shown; a catalogue without the paths reads nothing."""
    told = read(READ_CASE, HttpAnswer(200, {}, body))
    assert told == CaseRead("r-1", 6, Proof.DONE, workflow_id, status, None, "HTTP 200")
    for workflow in ("check", "gone"):
        told = read(replace(READ_CASE, workflow=workflow), HttpAnswer(200, {}, body))
        assert told == CaseRead("r-1", 6, Proof.DONE, None, None, None, "HTTP 200")


CREATIONS: list[tuple[Create, dict[str, object], dict[str, str], str | None]] = [
    (RECORD, {"id": "record-1", "version": 1, "status": "NEW"}, {}, "record-1"),
    (CASE, {"caseId": "case-1", "id": "no"}, {}, "case-1"),
    (PARAMETERS, {"id": "p-1"}, {}, "p-1"),
    (RECORD, {"data": {"ids": ["record-1"]}}, {"record_id_path": "data.ids.0"}, "record-1"),
    (CASE, {"case": {"id": "case-1"}}, {"case_id_path": "case.id"}, "case-1"),
    (PARAMETERS, {"parametersId": "p-1"}, {"parameters_id_path": "parametersId"}, "p-1"),
    (PARAMETERS, {"id": "p-1"}, {"parameters_id_path": "parametersId"}, None),
    (CASE, {"id": "case-1"}, {}, None),
]


@pytest.mark.parametrize("call, body, given, made_id", CREATIONS)
def test_the_id_that_was_made_lies_where_the_settings_say(
    call: Create, body: dict[str, object], given: dict[str, str], made_id: str | None
) -> None:
    """A creation that answers without it is done, and has made nothing that can be used."""
    told = read(call, json_answer(201, body), **given)
    assert told == CallAnswered(call.operation, 2, Proof.DONE, made_id, None, None, "HTTP 201", "r-1")


REFERENCE = reference_of("record-1", "request é")
STATUS_BODIES: dict[str, tuple[bytes, StatusRead]] = {
    "version 1": (
        b'{"id":"w-1","caseId":"case-1","status":"COMPLETED"}',
        StatusRead(4, Proof.DONE, "COMPLETED", None, "case-1", None, "HTTP 200"),
    ),
    "version 2": (
        b'{"id":"w-1","recordId":"record-1","status":"odd word"}',
        StatusRead(4, Proof.DONE, "odd word", "record-1", None, None, "HTTP 200"),
    ),
    "no record": (
        b'{"id":"w-1","recordId":null,"status":"RUNNING"}',
        StatusRead(4, Proof.DONE, "RUNNING", None, None, None, "HTTP 200"),
    ),
    "no status": (
        b'{"id":"w-1","recordId":"record-1"}',
        StatusRead(4, Proof.UNKNOWN, None, None, None, None, "HTTP 200, no status"),
    ),
    "no object": (b"[]", StatusRead(4, Proof.UNKNOWN, None, None, None, None, "HTTP 200, no JSON object")),
    "version 3": (
        b'{"id":"w-1","workspaceId":"s","parameters":{"orderId":"A-17"},"status":"RUNNING","expiresAt":null,"link":"x"}',
        StatusRead(4, Proof.DONE, "RUNNING", None, None, None, "HTTP 200"),
    ),
    "version 3 with our reference": (
        b'{"status":"RUNNING","parameters":{"n":1,"a":"onboarding-ref:x","b":"%b","c":"other"}}' % REFERENCE.encode(),
        StatusRead(4, Proof.DONE, "RUNNING", None, None, None, "HTTP 200", REFERENCE),
    ),
    "our reference twice": (
        b'{"status":"RUNNING","parameters":{"a":"%b","b":"%b"}}' % (REFERENCE.encode(), REFERENCE.encode()),
        StatusRead(4, Proof.DONE, "RUNNING", None, None, None, "HTTP 200", REFERENCE),
    ),
    "two different references": (
        b'{"status":"RUNNING","parameters":{"a":"%b","b":"%b"}}'
        % (REFERENCE.encode(), reference_of("record-2", "r-2").encode()),
        StatusRead(4, Proof.DONE, "RUNNING", None, None, None, "HTTP 200"),
    ),
    "reference elsewhere": (
        b'{"status":"RUNNING","parameters":["%b"],"name":"%b"}' % (REFERENCE.encode(), REFERENCE.encode()),
        StatusRead(4, Proof.DONE, "RUNNING", None, None, None, "HTTP 200"),
    ),
}


@pytest.mark.parametrize("case", STATUS_BODIES)
def test_a_status_read_tells_status_record_and_case(case: str) -> None:
    """One without a status tells nothing, so it is asked for again; our reference counts among parameters only."""
    body, told = STATUS_BODIES[case]
    assert read(STATUS, HttpAnswer(200, {}, body)) == told


@pytest.mark.parametrize("body", [b'{"a": 1,\n "b":"\xc3\xa9"}', b"[]", b"null", b'"text"', b'{"name":"\\ud83d"}'])
def test_a_result_is_kept_byte_by_byte(body: bytes) -> None:
    """Any JSON is a result; size and hash are those of the bytes that came."""
    told = read(RESULT, HttpAnswer(200, {}, body))
    assert told == ResultRead(5, Proof.DONE, body.decode(), len(body), sha256(body).hexdigest(), None, "HTTP 200")


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"a":', b"NaN", b'{"a":"\xff"}', b"[" * 100_000])
def test_an_answer_without_json_is_no_result(body: bytes) -> None:
    """It counts as not there, so that the wait for it is bounded."""
    told = read(RESULT, HttpAnswer(200, {}, body))
    assert told == ResultRead(5, Proof.REFUSED, None, 0, None, None, "HTTP 200, no JSON")


def test_a_result_above_the_limit_is_there_and_left_out() -> None:
    """Its size is the least that it can be, and there is no hash of what was not read."""
    told = read(RESULT, HttpFailure(Reason.TOO_LARGE, 200), response_bytes_max=2048)
    assert told == ResultRead(5, Proof.DONE, None, 2049, None, None, "too_large")


def test_a_result_that_is_not_there_yet_may_say_when() -> None:
    """A wait that the provider names is passed on, of a failing read too."""
    for status, proof in ((404, Proof.REFUSED), (503, Proof.UNKNOWN)):
        told = read(RESULT, json_answer(status, {}, retry_after="2"))
        assert told == ResultRead(5, proof, None, 0, None, 2_000, f"HTTP {status}")


WAITS: list[tuple[str | None, int | None]] = [
    (None, None),
    ("", None),
    ("soon", None),
    ("-5", None),
    ("1.5", None),
    ("²", None),
    ("0", 0),
    (" 7 ", 7_000),
    ("900", 900_000),
    ("901", 900_000),
    ("9" * 5_000, 900_000),
    (formatdate(NOW / 1000 + 90, usegmt=True), 90_000),
    (formatdate(NOW / 1000 + 90).replace("-0000", "+0100"), 0),
    ("Sun, 15 Jun 2025 15:07:30", 50_000),
    (formatdate(NOW / 1000 - 90, usegmt=True), 0),
    ("Fri, 31 Dec 9999 23:59:59 GMT", 900_000),
    ("Fri, 99 Dec 2025 23:59:59 GMT", None),
]


@pytest.mark.parametrize("text, wait_ms", WAITS)
def test_retry_after_in_both_forms(text: str | None, wait_ms: int | None) -> None:
    """Seconds or a date, never negative, never above 15 minutes, None for nonsense."""
    assert retry_after_ms(text, NOW) == wait_ms


def test_a_call_without_an_answer_has_a_fact_of_its_kind() -> None:
    """The shape is that of an answer, with what its end proves."""
    unsent, lost = Ending.NOT_SENT, Ending.LOST
    assert fact_of(RUN, unsent, "x") == CallAnswered(Operation.RUN, 3, Proof.NOT_SENT, None, None, None, "x", "r-1")
    assert fact_of(CASE, Ending.NO_TOKEN, "x") == CallAnswered(
        Operation.CREATE_CASE, 2, Proof.WAIT, None, None, None, "x", "r-1"
    )
    assert fact_of(STATUS, lost, "x") == StatusRead(4, Proof.UNKNOWN, None, None, None, None, "x")
    assert fact_of(RESULT, lost, "x") == ResultRead(5, Proof.UNKNOWN, None, 0, None, None, "x")
    assert fact_of(READ_CASE, lost, "x") == CaseRead("r-1", 6, Proof.UNKNOWN, None, None, None, "x")


@pytest.mark.parametrize(
    "value, text", [("x" * 200, "x" * 200), ("x" * 201, None), (0, "0"), (False, None), (1.5, None)]
)
def test_what_counts_as_an_id(value: str | float, text: str | None) -> None:
    """Text of a bounded length, and whole numbers, for a provider that may change its mind."""
    assert text_of(value) == text


SECRETS = ("Ada", "ada@example.test", "l.test", "t0ken", "A-17")
TELLING = orjson.dumps(
    {
        "id": "w-1",
        "caseId": "case-1",
        "status": "RUNNING",
        "link": "https://l.test/1",
        "token": "t0ken",
        "parameters": {"orderId": "A-17"},
        "partyDetails": {"personal": {"firstName": "Ada"}},
        "fingerprint": "Ada Example",
        "errors": [{"code": "ada@example.test", "message": "Ada has no order A-17 at https://l.test/1?token=t0ken"}],
    }
)


@pytest.mark.parametrize("operation", Operation)
async def test_no_secret_is_told_of_any_call(operation: Operation, caplog: pytest.LogCaptureFixture) -> None:
    """Neither what is sent nor what is answered shows in words, logs, or values that are printed."""
    caplog.set_level(logging.DEBUG)
    for call in (each for each in CALLS if operation_of(each) is operation):
        for status in (200, 400, 404, 500):
            answer = HttpAnswer(status, {}, TELLING)
            calling = Calling(answer)
            told = await calling.api.perform(call)
            words = f"{call} {told} {told.why} {answer} {calling.http.requests} {calling.told} {caplog.text}"
            assert [secret for secret in SECRETS if secret in words] == []
