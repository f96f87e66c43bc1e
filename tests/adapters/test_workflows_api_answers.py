"""What each answer of the provider proves and says: the tables of statuses and bodies."""

from email.utils import formatdate
from hashlib import sha256

import orjson
import pytest

from processor.adapters.api_answers import Answer, Answers, fact_of, retry_after_ms, text_of
from processor.adapters.calling import ApiCall, ApiFact
from processor.adapters.http import HttpAnswer, HttpFailure, Reason
from processor.core.messages import CallAnswered, Create, ReadResult, ReadStatus, ResultRead, StartWorkflow, StatusRead
from processor.core.proof import Operation, Proof
from processor.settings import ApiSettings
from tests.adapters.fake_http import json_answer

NOW = 1_750_000_000_000
RUN = StartWorkflow("check", "r-1", 3, "record-1", None, None, NOW, NOW)
CASE = Create(Operation.CREATE_CASE, "check", "r-1", 2, b"{}")
RECORD = Create(Operation.CREATE_RECORD, "check", "r-1", 2, b"{}")
PARAMETERS = Create(Operation.SET_PARAMETERS, "check", "r-1", 2, b"{}")
STATUS = ReadStatus("check", "w-1", 4)
RESULT = ReadResult("check", "w-1", 5)
CALLS: dict[str, ApiCall] = {
    "run": RUN,
    "case": CASE,
    "record": RECORD,
    "parameters": PARAMETERS,
    "status": STATUS,
    "result": RESULT,
}

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
    return Answers(ApiSettings.model_validate(given), clock=lambda: NOW).read(call, answer)


PROOFS = {
    Proof.OUR_FAULT: (401, 403, 406, 415),
    Proof.REFUSED: (400, 405, 413, 422),
    Proof.WAIT: (429,),
    Proof.UNKNOWN: (301, 302, 307, 402, 407, 408, 409, 410, 418, 425, 451, 500, 501, 502, 503, 504, 599),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_status_without_success_proves_the_same_of_every_call(name: str) -> None:
    """Whatever the body: JSON, words, or nothing."""
    for proof, statuses in PROOFS.items():
        for status in statuses:
            for body in (orjson.dumps(REFUSAL), b"<html>", b""):
                assert read(CALLS[name], HttpAnswer(status, {}, body)).proof is proof, status


NOT_FOUND: list[tuple[ApiCall, Proof]] = [
    (RUN, Proof.OUR_FAULT),
    (StartWorkflow("check", "r-1", 1, None, None, "p-1", NOW, NOW, is_own=False), Proof.OUR_FAULT),
    (StartWorkflow("check", "r-1", 1, "record-1", None, None, NOW, NOW, is_own=False), Proof.REFUSED),
    (StartWorkflow("check", "r-1", 1, None, "case-1", None, NOW, NOW, is_own=False), Proof.REFUSED),
    (CASE, Proof.OUR_FAULT),
    (RECORD, Proof.OUR_FAULT),
    (PARAMETERS, Proof.OUR_FAULT),
    (STATUS, Proof.REFUSED),
    (RESULT, Proof.REFUSED),
]


@pytest.mark.parametrize("call, proof", NOT_FOUND)
def test_404_is_our_fault_unless_upstream_or_the_provider_named_what_is_missing(call: ApiCall, proof: Proof) -> None:
    """Of a run or creation it is the definition or the table, but for a record or case that upstream named."""
    assert read(call, json_answer(404, REFUSAL)).proof is proof


def test_503_means_not_executed_only_where_the_settings_say_so() -> None:
    """Some gateways promise it; by default nobody does."""
    answer = json_answer(503, {}, retry_after="7")
    assert read(RUN, answer).proof is Proof.UNKNOWN
    told = read(RUN, answer, is_503_not_executed=True)
    assert (told.proof, told.wait_ms) == (Proof.WAIT, 7_000)


UNSENT = (
    Reason.DNS,
    Reason.CONNECT,
    Reason.CONNECT_TIMEOUT,
    Reason.TLS,
    Reason.POOL,
    Reason.INVALID_REQUEST,
    Reason.CLOSED,
)
FAILURES = dict.fromkeys(Reason, Proof.UNKNOWN) | dict.fromkeys(UNSENT, Proof.NOT_SENT)


@pytest.mark.parametrize("reason", Reason)
def test_a_failure_proves_what_the_client_knows_of_it(reason: Reason) -> None:
    """Not sent or unknown, and the reason is told; only a result that is too large is an answer."""
    for call in CALLS.values():
        told = read(call, HttpFailure(reason))
        is_large_result = call is RESULT and reason is Reason.TOO_LARGE
        assert told.proof is (Proof.DONE if is_large_result else FAILURES[reason])
        assert told.why == reason.value


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
}


@pytest.mark.parametrize("case", STATUS_BODIES)
def test_a_status_read_tells_status_record_and_case(case: str) -> None:
    """One without a status tells nothing, so it is asked for again."""
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
    told = read(RESULT, HttpFailure(Reason.TOO_LARGE), response_bytes_max=2048)
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
    """The shape is that of an answer, with the proof given."""
    assert fact_of(RUN, Proof.NOT_SENT, "x") == CallAnswered(
        Operation.RUN, 3, Proof.NOT_SENT, None, None, None, "x", "r-1"
    )
    assert fact_of(CASE, Proof.WAIT, "x") == CallAnswered(
        Operation.CREATE_CASE, 2, Proof.WAIT, None, None, None, "x", "r-1"
    )
    assert fact_of(STATUS, Proof.UNKNOWN, "x") == StatusRead(4, Proof.UNKNOWN, None, None, None, None, "x")
    assert fact_of(RESULT, Proof.UNKNOWN, "x") == ResultRead(5, Proof.UNKNOWN, None, 0, None, None, "x")


@pytest.mark.parametrize(
    "value, text", [("x" * 200, "x" * 200), ("x" * 201, None), (0, "0"), (False, None), (1.5, None)]
)
def test_what_counts_as_an_id(value: str | float, text: str | None) -> None:
    """Text of a bounded length, and whole numbers, for a provider that may change its mind."""
    assert text_of(value) == text
