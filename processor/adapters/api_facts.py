"""What the answers of the provider's API prove and say, as facts.

What a call's end proves is `core/proof.py`'s to say, from how it ended. Members that we do not know are ignored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeAlias

from processor.adapters.api_answers import (
    UNREADABLE,
    is_success,
    left_ms_until,
    life_ms_of,
    parsed,
    reference_in,
    refusal_words,
    retry_after_ms,
    secret_of,
    text_of,
)
from processor.adapters.calling import ApiCall, ApiFact, operation_of, unanswered
from processor.adapters.http import HttpAnswer, HttpFailure, Reason, Sent
from processor.core.catalogue import Catalogue
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
from processor.core.proof import Ending, Operation, Proof, proof_of
from processor.settings import ApiSettings

Answer: TypeAlias = HttpAnswer | HttpFailure
Members: TypeAlias = Mapping[str, JsonValue]

_NONE: Members = {}


@dataclass(frozen=True, slots=True)
class _Seen:
    """An answer, judged; `members` are those of a JSON object that came with a 2xx."""

    proof: Proof
    why: str
    members: Members
    wait_ms: int | None


class Facts:
    """Makes the fact of any call. `clock` gives the wall clock, for answers that name an instant."""

    def __init__(self, catalogue: Catalogue, api: ApiSettings, *, clock: Callable[[], Instant]) -> None:
        self._workflows = catalogue.workflows
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
            case Create() | StartWorkflow():
                return self._made(call, self._seen(call, answer))
            case ReadStatus():
                return self._status(call, answer)
            case ReadResult():
                return self._result(call, answer)
            case ReadCase():
                return self._case(call, self._seen(call, answer))

    def _made(self, call: Create | StartWorkflow, seen: _Seen) -> CallAnswered:
        operation, members = call.operation, seen.members
        id_path = self._id_paths.get(operation)
        link, token = secret_of(members.get("link")), secret_of(members.get("token"))
        is_start = isinstance(call, StartWorkflow)
        return CallAnswered(
            operation=operation,
            attempt=call.attempt,
            proof=seen.proof,
            made_id=text_of(value_in(members, id_path)) if id_path is not None else None,
            status=text_of(members.get("status")) if operation is Operation.RUN else None,
            wait_ms=seen.wait_ms,
            why=seen.why,
            request_id=call.request_id,
            link=link if is_start else None,
            token=token if is_start else None,
            expires_ms=self._life_ms(members) if is_start and (link or token) else None,
        )

    def _life_ms(self, members: Members) -> int | None:
        """Return how long a link or token lives: a token's duration, or when the whole run ends in version 3."""
        if "expiryDuration" in members:
            return life_ms_of(members["expiryDuration"])
        return left_ms_until(members.get("expiresAt"), self._clock())

    def _status(self, call: ReadStatus, answer: Answer) -> StatusRead:
        seen = self._seen(call, answer)
        members = seen.members
        return StatusRead(
            attempt=call.attempt,
            proof=seen.proof,
            status=text_of(members.get("status")),
            record_id=text_of(members.get("recordId")),
            case_id=text_of(members.get("caseId")),
            wait_ms=seen.wait_ms,
            why=seen.why,
            our_reference=reference_in(members.get("parameters")),
        )

    def _case(self, call: ReadCase, seen: _Seen) -> CaseRead:
        workflow = self._workflows.get(call.workflow)
        return CaseRead(
            request_id=call.request_id,
            attempt=call.attempt,
            proof=seen.proof,
            workflow_id=_text_at(seen.members, workflow.case_workflow_path if workflow else None),
            status=_text_at(seen.members, workflow.case_status_path if workflow else None),
            wait_ms=seen.wait_ms,
            why=seen.why,
        )

    def _result(self, call: ReadResult, answer: Answer) -> ResultRead:
        """Take a result of any JSON, whole; one above the limit has no hash, and its size is the least it can be."""
        seen = self._seen(call, answer)
        if seen.proof is not Proof.DONE:
            return ResultRead(call.attempt, seen.proof, None, 0, None, seen.wait_ms, seen.why)
        if isinstance(answer, HttpFailure):
            return ResultRead(call.attempt, seen.proof, None, self._answer_bytes_max + 1, None, None, seen.why)
        text, digest = answer.body.decode(), sha256(answer.body).hexdigest()
        return ResultRead(call.attempt, seen.proof, text, len(answer.body), digest, None, seen.why)

    def _seen(self, call: ApiCall, answer: Answer) -> _Seen:
        if isinstance(answer, HttpFailure):
            return _Seen(self._proof(call, _ending_of(answer), answer.status), answer.reason.value, _NONE, None)
        status = answer.status
        if not is_success(status):
            wait_ms = retry_after_ms(answer.headers.get("retry-after"), self._clock())
            return _Seen(self._proof(call, Ending.WHOLE, status), refusal_words(answer), _NONE, wait_ms)
        value = parsed(answer.body)
        missing = _missing_in(call, value)
        if missing is not None:
            return _Seen(self._proof(call, Ending.ODD, status), f"HTTP {status}, no {missing}", _NONE, None)
        members = value if isinstance(value, dict) else _NONE
        return _Seen(self._proof(call, Ending.WHOLE, status), f"HTTP {status}", members, None)

    def _proof(self, call: ApiCall, ending: Ending, status: int | None) -> Proof:
        is_named_upstream = (
            isinstance(call, StartWorkflow)
            and not call.is_own
            and (call.record_id is not None or call.case_id is not None)
        )
        return proof_of(
            operation_of(call),
            ending,
            status,
            is_named_upstream=is_named_upstream,
            is_503_not_executed=self._is_503_not_executed,
        )


def fact_of(call: ApiCall, ending: Ending, why: str) -> ApiFact:
    """Return the fact of a call without an answer that could be read."""
    return unanswered(call, proof_of(operation_of(call), ending), why)


def _ending_of(failure: HttpFailure) -> Ending:
    if failure.sent is Sent.NOT_SENT:
        return Ending.NOT_SENT
    is_answered = failure.reason is Reason.TOO_LARGE and failure.status is not None
    return Ending.TOO_LARGE if is_answered else Ending.LOST


def _missing_in(call: ApiCall, value: object) -> str | None:
    """Say what a body lacks of the shape that the operation's success has; None when it has that shape."""
    if isinstance(call, ReadResult):
        return "JSON" if value is UNREADABLE else None
    if not isinstance(value, dict):
        return "JSON object"
    if isinstance(call, ReadStatus) and text_of(value.get("status")) is None:
        return "status"
    return None


def _text_at(members: Members, path: str | None) -> str | None:
    return text_of(value_in(members, path)) if path is not None else None
