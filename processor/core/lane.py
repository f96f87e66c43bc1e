"""A lane of preparation while one decision is made: what is known of it, and what was decided so far.

The queue behind the active request is numbered in the head and may have holes, so that nothing is ever searched.
"""

from collections.abc import Mapping
from dataclasses import replace

from processor.core.keys import launch_key
from processor.core.messages import Call, Create, Judge, Output, Prepared
from processor.core.model import Instant, Outcome, Reason, Timer
from processor.core.proof import Operation
from processor.core.results import finished
from processor.core.state import Activity, Decision, Part, PendingRequest, Preparing

HEAD = "head"


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

    def create(self, head: Preparing) -> None:
        """Call the operation of `head` as its next attempt."""
        attempt, origin = head.attempt + 1, head.request.origin
        self.changes[HEAD] = replace(
            head, activity=Activity.CREATING, attempt=attempt, timer=Timer(origin.deadline_at), is_waiting=True
        )
        body = _body(head.request, head.operation)
        self.calls.append(Create(head.operation, origin.workflow, origin.request_id, attempt, body))

    def judge(self, head: Preparing) -> None:
        """Ask whether the refusal of `head` is genuine or our own fault."""
        origin = head.request.origin
        self.changes[HEAD] = replace(head, activity=Activity.SUSPECT, timer=Timer(origin.deadline_at), is_waiting=True)
        self.calls.append(Judge(head.operation, origin.workflow, origin.request_id, head.attempt))

    def back_off(self, head: Preparing, wait_ms: int) -> None:
        """Repeat the call of `head` later, if its deadline leaves time for it."""
        timer = Timer(min(self.now + wait_ms, head.request.origin.deadline_at))
        self.changes[HEAD] = replace(head, activity=Activity.BACKING_OFF, timer=timer, is_waiting=False)

    def hand_over(self, request: PendingRequest, parameters_id: str | None) -> None:
        """Pass custody of a request on to `launch`."""
        key = launch_key(request.record_id, request.case_id, request.origin.request_id)
        self.outputs.append(
            Prepared(request.origin, key, request.record_id, request.case_id, request.is_own, parameters_id, self.now)
        )

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
            request = self.state.get(name)
            if not isinstance(request, PendingRequest):
                continue  # A hole: it expired while it waited.
            self.changes[name] = None
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
    return body


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


def waiting_name(number: int) -> str:
    """Return the name of the part that holds a waiting request."""
    return f"w/{number:016x}"
