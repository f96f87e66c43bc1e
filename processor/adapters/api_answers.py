"""What the answers of the provider's API prove and say, as facts.

Nothing of an answer but status, ids, error codes and fingerprint leaves this module as words: its messages may name
people. Members that we do not know are ignored.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Final, NoReturn, TypeAlias

import orjson

from processor.adapters.calling import ApiCall, ApiFact, operation_of
from processor.adapters.http import HttpAnswer, HttpFailure, Reason, Sent
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
from processor.core.model import Instant, JsonValue
from processor.core.paths import value_in
from processor.core.proof import Operation, Proof, proof_in
from processor.core.schedule import ASKED_WAIT_MS_MAX
from processor.settings import ApiSettings

Answer: TypeAlias = HttpAnswer | HttpFailure

NOT_FOUND: Final = 404
TEXT_CHARS_MAX: Final = 200  # Of ids and statuses: they become keys, headers and state.
CODES_MAX: Final = 5

_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_UNREADABLE = object()
_SECONDS_DIGITS_MAX = 9


@dataclass(frozen=True, slots=True)
class _Seen:
    """An answer, judged; `members` are those of a JSON object that came with a 2xx."""

    proof: Proof
    members: Mapping[str, JsonValue] | None
    wait_ms: int | None
    why: str


class Answers:
    """Reads the answer of any call. `clock` gives the wall clock, for a `Retry-After` that names a date."""

    def __init__(self, api: ApiSettings, *, clock: Callable[[], Instant]) -> None:
        self._id_paths = {
            Operation.CREATE_RECORD: api.record_id_path,
            Operation.CREATE_CASE: api.case_id_path,
            Operation.SET_PARAMETERS: api.parameters_id_path,
            Operation.RUN: "id",
        }
        self._is_503_not_executed = api.is_503_not_executed
        self._answer_bytes_max = api.response_bytes_max
        self._clock = clock

    def read(self, call: ApiCall, answer: Answer) -> ApiFact:
        """Return what an answer, or the lack of one, says of its call."""
        match call:
            case StartWorkflow():
                return self._run(call, answer)
            case Create():
                return self._created(call, answer)
            case ReadStatus():
                return self._status(call, answer)
            case ReadResult():
                return self._result(call, answer)
            case ReadCase():
                return fact_of(call, Proof.UNKNOWN, "")

    def _run(self, call: StartWorkflow, answer: Answer) -> CallAnswered:
        seen = self._seen(answer)
        is_named_upstream = not call.is_own and (call.record_id is not None or call.case_id is not None)
        if seen.proof is Proof.REFUSED and _status_of(answer) == NOT_FOUND and not is_named_upstream:
            # What we made is there, so it is the definition that the provider does not know.
            return _answered(call, Operation.RUN, Proof.OUR_FAULT, seen)
        return _answered(call, Operation.RUN, seen.proof, seen, self._id_paths[Operation.RUN])

    def _created(self, call: Create, answer: Answer) -> CallAnswered:
        seen = self._seen(answer)
        proof = seen.proof
        if proof is Proof.REFUSED and _status_of(answer) == NOT_FOUND:
            proof = Proof.OUR_FAULT  # The table or definition is not there; no request's content can be the reason.
        return _answered(call, call.operation, proof, seen, self._id_paths[call.operation])

    def _status(self, call: ReadStatus, answer: Answer) -> StatusRead:
        seen = self._seen(answer)
        members = seen.members or {}
        status = text_of(members.get("status"))
        if seen.proof is Proof.DONE and status is None:
            return StatusRead(call.attempt, Proof.UNKNOWN, None, None, None, None, f"{seen.why}, no status")
        record_id, case_id = text_of(members.get("recordId")), text_of(members.get("caseId"))
        return StatusRead(call.attempt, seen.proof, status, record_id, case_id, seen.wait_ms, seen.why)

    def _result(self, call: ReadResult, answer: Answer) -> ResultRead:
        """Take a result of any JSON; a complete answer that is none counts as no result, so it is not waited for long.

        One above the HTTP limit was cut: its hash is unknown, and its size is the least that it can be.
        """
        if isinstance(answer, HttpFailure) and answer.reason is Reason.TOO_LARGE:
            size = self._answer_bytes_max + 1
            return ResultRead(call.attempt, Proof.DONE, None, size, None, None, answer.reason.value)
        if isinstance(answer, HttpAnswer) and is_success(answer.status):
            return _result_in(call, answer)
        seen = self._seen(answer)
        return ResultRead(call.attempt, seen.proof, None, 0, None, seen.wait_ms, seen.why)

    def _seen(self, answer: Answer) -> _Seen:
        if isinstance(answer, HttpFailure):
            is_unsent = answer.sent is Sent.NOT_SENT
            return _Seen(Proof.NOT_SENT if is_unsent else Proof.UNKNOWN, None, None, answer.reason.value)
        status = answer.status
        if is_success(status):
            value = parsed(answer.body)
            if isinstance(value, dict):
                return _Seen(proof_in(status, is_body_whole=True), value, None, f"HTTP {status}")
            return _Seen(proof_in(status, is_body_whole=False), None, None, f"HTTP {status}, no JSON object")
        proof = proof_in(status, is_body_whole=True, is_503_not_executed=self._is_503_not_executed)
        wait_ms = retry_after_ms(answer.headers.get("retry-after"), self._clock())
        return _Seen(proof, None, wait_ms, refusal_words(answer))


def fact_of(call: ApiCall, proof: Proof, why: str) -> ApiFact:
    """Return the fact of a call without an answer that could be read."""
    match call:
        case StartWorkflow() | Create():
            return _answered(call, operation_of(call), proof, _Seen(proof, None, None, why))
        case ReadStatus():
            return StatusRead(call.attempt, proof, None, None, None, None, why)
        case ReadResult():
            return ResultRead(call.attempt, proof, None, 0, None, None, why)
        case ReadCase():
            return CaseRead(call.request_id, call.attempt, proof, None, None, None, why)


def refusal_words(answer: HttpAnswer) -> str:
    """Return what may be told of a refusal: status, error codes and fingerprint, never the provider's message."""
    words = f"HTTP {answer.status}"
    value = parsed(answer.body)
    if not isinstance(value, dict):
        return words
    errors = value.get("errors")
    errors = errors if isinstance(errors, Sequence) and not isinstance(errors, str) else ()
    codes = [code for error in errors[:CODES_MAX] if isinstance(error, dict) and (code := _code(error.get("code")))]
    if codes:
        words += f", codes {', '.join(codes)}"
    fingerprint = _code(value.get("fingerprint"))
    return f"{words}, fingerprint {fingerprint}" if fingerprint else words


def retry_after_ms(text: str | None, now: Instant) -> int | None:
    """Return the wait that `Retry-After` asks for, seconds or a date (RFC 9110, 10.2.3), at most 15 minutes.

    None where it is missing or means nothing.
    """
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdecimal():
        wait_ms = int(text[:_SECONDS_DIGITS_MAX]) * 1000
    else:
        try:
            moment = parsedate_to_datetime(text)
            wait_ms = int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000) - now
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    return min(max(wait_ms, 0), ASKED_WAIT_MS_MAX)


def parsed(body: bytes) -> object:
    """Return a body's JSON value, or something that is no JSON value where it holds none."""
    try:
        value: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _parsed_slowly(body)
    return value


def text_of(value: JsonValue) -> str | None:
    """Return an id or a status as text, None where it is missing or unfit to be a key, a header or a label."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not 0 < len(value) <= TEXT_CHARS_MAX or not value.isprintable():
        return None
    return value


def is_success(status: int) -> bool:
    """Say whether a status is one of the 2xx."""
    return 200 <= status < 300  # noqa: PLR2004  # RFC 9110, 15.3


def _result_in(call: ReadResult, answer: HttpAnswer) -> ResultRead:
    if parsed(answer.body) is _UNREADABLE:
        return ResultRead(call.attempt, Proof.REFUSED, None, 0, None, None, f"HTTP {answer.status}, no JSON")
    text, digest = answer.body.decode(), sha256(answer.body).hexdigest()
    return ResultRead(call.attempt, Proof.DONE, text, len(answer.body), digest, None, f"HTTP {answer.status}")


def _answered(
    call: Create | StartWorkflow, operation: Operation, proof: Proof, seen: _Seen, id_path: str | None = None
) -> CallAnswered:
    members = seen.members
    return CallAnswered(
        operation=operation,
        attempt=call.attempt,
        proof=proof,
        made_id=text_of(value_in(members, id_path)) if members is not None and id_path is not None else None,
        status=text_of(members.get("status")) if members is not None and operation is Operation.RUN else None,
        wait_ms=seen.wait_ms,
        why=seen.why,
        request_id=call.request_id,
    )


def _status_of(answer: Answer) -> int | None:
    return answer.status if isinstance(answer, HttpAnswer) else None


def _code(value: object) -> str | None:
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None


def _parsed_slowly(body: bytes) -> object:
    """Read what orjson refuses although it is JSON: half of a surrogate pair, as upstream may have cut a name."""
    try:
        value: object = json.loads(body.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _UNREADABLE
    return value


def _refuse(word: str) -> NoReturn:
    raise ValueError(word)
