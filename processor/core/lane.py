"""A lane of preparation while one decision is made: what is known of it, and what was decided so far.

The queue behind the active request is numbered in the head and may have holes, so that nothing is ever searched.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

from processor.core.keys import launch_key
from processor.core.messages import Call, Create, Judge, Output, Prepared
from processor.core.model import Instant, Outcome, Reason, Timer
from processor.core.proof import Operation
from processor.core.reference import with_reference
from processor.core.results import finished
from processor.core.state import (
    HEAD,
    Activity,
    Decision,
    KnownRequest,
    KnownSubject,
    Part,
    PendingRequest,
    Preparing,
    waiting_name,
)

SUBJECT_DIGITS = 32  # 128 bits.


class Lane:
    """One decision under way: what is known, and what was decided so far."""

    __slots__ = ("calls", "changes", "head", "now", "outputs", "state")

    def __init__(self, state: Mapping[str, Part], now: Instant) -> None:
        self.state = state
        self.now = now
        head = state.get(HEAD)
        assert head is None or isinstance(head, Preparing), "the head of a lane is of another decider"
        self.head = head
        self.changes: dict[str, Part | None] = {}
        self.calls: list[Call] = []
        self.outputs: list[Output] = []

    def decision(self) -> Decision:
        """Return what was decided."""
        return Decision(self.changes, tuple(self.calls), tuple(self.outputs))

    def get(self, name: str) -> Part | None:
        """Return a part as this decision leaves it so far."""
        return self.changes[name] if name in self.changes else self.state.get(name)

    def create(self, head: Preparing) -> None:
        """Call the operation of `head` as its next attempt."""
        attempt, origin = head.attempt + 1, head.request.origin
        self.changes[HEAD] = replace(
            head, activity=Activity.CREATING, attempt=attempt, timer=Timer(origin.deadline_at), is_waiting=True
        )
        body = _body(head.request, head.operation)
        self.calls.append(
            Create(head.operation, origin.workflow, origin.request_id, attempt, body, origin.provider, origin.api)
        )

    def judge(self, head: Preparing) -> None:
        """Ask whether the refusal of `head` is genuine or our own fault."""
        origin = head.request.origin
        self.changes[HEAD] = replace(head, activity=Activity.SUSPECT, timer=Timer(origin.deadline_at), is_waiting=True)
        self.calls.append(Judge(head.operation, origin.workflow, origin.request_id, head.attempt, origin.provider))

    def back_off(self, head: Preparing, wait_ms: int) -> None:
        """Repeat the call of `head` later, if its deadline leaves time for it."""
        timer = Timer(min(self.now + wait_ms, head.request.origin.deadline_at))
        self.changes[HEAD] = replace(head, activity=Activity.BACKING_OFF, timer=timer, is_waiting=False)

    def hand_over(self, request: PendingRequest, parameters_id: str | None) -> None:
        """Pass custody of a request on to `launch`."""
        origin, inputs, key = request.origin, request.inputs, _launch_key(request)
        if inputs is not None and inputs.parameters is not None:
            inputs = replace(inputs, parameters=with_reference(inputs.parameters, key, origin.request_id))
        self.outputs.append(
            Prepared(origin, key, request.record_id, request.case_id, request.is_own, parameters_id, self.now, inputs)
        )
        if request.is_for_link:
            self._remember(known_name(origin.request_id), key)

    def _remember(self, name: str, launch_key: str) -> None:
        """Keep where a request was handed over to, so that one more link of it can be asked for."""
        known = self.get(name)
        if isinstance(known, KnownRequest):  # Forgotten only of 0.1.0, which knew no id longer than 98 days.
            self.changes[name] = replace(known, launch_key=launch_key)

    def with_subject(self, request: PendingRequest) -> PendingRequest:
        """Return a request that becomes active, with the record or case that its subject has had before.

        Nothing is to be made then, and what is used again is never called the request's own.
        """
        known = None if request.subject_part is None else self.get(request.subject_part)
        if not isinstance(known, KnownSubject) or self.now >= known.made_at + request.reuse_ms:
            return request
        return replace(
            request, record_id=known.record_id, case_id=known.case_id, record_body=None, case_body=None, is_own=False
        )

    def made(self, request: PendingRequest) -> None:
        """Remember the record or case that was just made for a subject which is to have it again."""
        if request.subject_part is not None:
            timer = Timer(self.now + request.reuse_ms)
            self.changes[request.subject_part] = KnownSubject(request.record_id, request.case_id, self.now, timer)

    def finish(
        self, request: PendingRequest, outcome: Outcome, reason: Reason, message: str, attempts: int = 0
    ) -> None:
        """Publish the result of a request that never came to its run."""
        bare = finished(request.origin, outcome, self.now, reason=reason, message=message)
        self.outputs.append(replace(bare, record_id=request.record_id, case_id=request.case_id, attempts=attempts))

    def expire(self, request: PendingRequest, attempts: int = 0) -> None:
        """Publish that the deadline of a request passed."""
        self.finish(request, Outcome.EXPIRED, Reason.DEADLINE_PASSED, "the deadline passed before the run", attempts)

    def advance(self, waiting_first: int, waiting_next: int) -> None:
        """Make the next waiting request active; those that need no creation are handed over on the way."""
        for number in range(waiting_first, waiting_next):
            name = waiting_name(number)
            waiting = self.state.get(name)
            if not isinstance(waiting, PendingRequest):
                continue  # A hole: it expired while it waited.
            self.changes[name] = None
            request = self.with_subject(waiting)
            operation = needed(request)
            if self.now >= request.origin.deadline_at:
                self.expire(request)
            elif operation is None:
                self.hand_over(request, None)
            else:
                self.create(new_head(request, operation, number + 1, waiting_next))
                return
        self.changes[HEAD] = None


def needed(request: PendingRequest) -> Operation | None:
    """Say which creation a request needs next; None when it can be handed over."""
    if request.record_body is not None:
        return Operation.CREATE_RECORD
    if request.case_body is not None:
        return Operation.CREATE_CASE
    return Operation.SET_PARAMETERS if request.parameters_body is not None else None


def _body(request: PendingRequest, operation: Operation) -> bytes:
    bodies = {
        Operation.CREATE_RECORD: request.record_body,
        Operation.CREATE_CASE: request.case_body,
        Operation.SET_PARAMETERS: request.parameters_body,
    }
    body = bodies.get(operation)
    assert body is not None, "an operation was chosen that has nothing to send"
    if operation is Operation.SET_PARAMETERS:
        return with_reference(body, _launch_key(request), request.origin.request_id)
    return body


def _launch_key(request: PendingRequest) -> str:
    return launch_key(request.record_id, request.case_id, request.origin.request_id)


def new_head(request: PendingRequest, operation: Operation, waiting_first: int, waiting_next: int) -> Preparing:
    """Return the head of a lane whose active request is this one, before its first call."""
    return Preparing(
        request=replace(request, timer=None),
        operation=operation,
        activity=Activity.CREATING,
        attempt=0,
        parameters_id=None,
        why="",
        waiting_first=waiting_first,
        waiting_next=waiting_next,
        timer=None,
        is_waiting=True,
    )


def known_name(request_id: str) -> str:
    """Return the name of the part that knows a request id."""
    return f"known/{request_id}"


def subject_name(made: Sequence[str], tenant: str | None, reference: str) -> str:
    """Return the name of the part that knows what was made for a subject; `made` says what, and where.

    It is a digest, since upstream's references may be personal data.
    """
    text = json.dumps([made, tenant, reference])
    return f"subject/{sha256(text.encode()).hexdigest()[:SUBJECT_DIGITS]}"
