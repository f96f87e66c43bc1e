"""The steps that `completion` is made of: read, wait, end, and how a workflow's state is written down."""

from dataclasses import dataclass, replace

from processor.core.messages import Call, Finished, Output, ReadResult, ReadStatus
from processor.core.model import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    SECOND_MS,
    Instant,
    Timer,
    Witness,
)
from processor.core.state import CompletionPhase, Decision, WorkflowState

HEAD = "head"
LOSSES_MAX = 5  # Bounds how often the wait for a lost answer is doubled.


@dataclass(frozen=True, slots=True)
class CompletionPolicy:
    """How long we wait, ask and remember."""

    grace_ms: int = 10 * SECOND_MS  # A webhook waits that long for our own start.
    observing_ms: int = DAY_MS  # Reads about a workflow that nobody started are tried that long.
    refusals_max: int = 3  # "No such workflow" that often: it is nobody's.
    forgetting_ms: int = 10 * MINUTE_MS  # Longer than the provider repeats a webhook.
    answer_lost_ms: int = 10 * MINUTE_MS  # An answer that is not there by then is asked for again.
    confirm_ms: int = 5 * SECOND_MS  # Between two reads of a failure status.
    ended_badly_reads: int = 2
    result_wait_ms: int = 5 * MINUTE_MS  # A result may be refused that long after the success status.
    result_bytes_max: int = 768 * 1024
    amendment_ms: int = 8 * DAY_MS
    amendment_poll_ms_max: int = HOUR_MS
    memory_ms: int = 8 * DAY_MS  # An ended workflow is known that long after its request's deadline ...
    memory_deadline_ms_max: int = 90 * DAY_MS  # ... or after that, where the deadline is further away.


def kept(head: WorkflowState, calls: tuple[Call, ...] = (), outputs: tuple[Output, ...] = ()) -> Decision:
    """Return the decision that writes this state, with the timer that its instants ask for."""
    if head.poll_at is not None and head.poll_at < head.closes_at:
        timer = Timer(head.poll_at)
    else:
        timer = Timer(head.closes_at, is_behind_evidence=True)
    return Decision({HEAD: replace(head, timer=timer)}, calls, outputs)


def forgotten() -> Decision:
    """Return the decision that deletes the state."""
    return Decision({HEAD: None})


def read(policy: CompletionPolicy, head: WorkflowState, now: Instant) -> Decision:
    """Read what the phase needs, as the next attempt; every hint up to now is answered by it."""
    attempt = head.attempt + 1
    lost_at = now + (policy.answer_lost_ms << min(head.failures, LOSSES_MAX))
    name = head.started.origin.workflow if head.started else None
    call: Call
    if head.phase is CompletionPhase.FETCHING and name is not None:
        call = ReadResult(name, head.workflow_id, attempt)
    else:
        call = ReadStatus(name, head.workflow_id, attempt)
    return kept(replace(head, attempt=attempt, has_hint=False, poll_at=lost_at, is_waiting=True), (call,))


def wait(head: WorkflowState, poll_at: Instant) -> Decision:
    """Read again at that instant; the open read is answered."""
    return kept(replace(head, poll_at=poll_at, is_waiting=False))


def end(policy: CompletionPolicy, head: WorkflowState, finished: Finished, now: Instant) -> Decision:
    """Publish the last result and remember the workflow, so that nothing of it counts any more.

    Only what recognises repetitions is kept, not what the request said.
    """
    started = head.started
    deadline_at = now
    if started is not None:
        deadline_at = min(max(started.origin.deadline_at, now), now + policy.memory_deadline_ms_max)
        started = replace(started, origin=replace(started.origin, attributes={}, subject_reference=None))
    ended = replace(
        head,
        phase=CompletionPhase.ENDED,
        started=started,
        has_hint=False,
        poll_at=None,
        closes_at=deadline_at + policy.memory_ms,
        is_waiting=False,
    )
    return kept(ended, outputs=(finished,))


def result_of(head: WorkflowState, finished: Finished) -> Finished:
    """Return a result with what was seen of the workflow: its status, and who told of its end first, and when."""
    seen_at = head.ended_at
    if head.seen_by is Witness.WEBHOOK and head.webhook_at is not None:
        seen_at = head.webhook_at
    return replace(
        finished,
        status=head.status,
        workflow_id=head.workflow_id,
        seen_at=None if head.seen_by is None else seen_at,
        completed_by=head.seen_by,
    )
