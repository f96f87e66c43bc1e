"""The steps that `completion` is made of: read, wait, end, and how a workflow's state is written down."""

from collections import Counter
from dataclasses import dataclass, field, replace

from processor.core.catalogue import Catalogue, ResultShape, ResultSource, Workflow
from processor.core.messages import Call, Finished, Output, ReadResult, ReadStatus, ResultRead, Started, StatusRead
from processor.core.model import (
    DAY_MS,
    DEADLINE_MS_MAX,
    DEFAULT_PROVIDER,
    HOUR_MS,
    MINUTE_MS,
    SECOND_MS,
    ApiVersion,
    Instant,
    Timer,
    Witness,
)
from processor.core.polling import Lessons
from processor.core.schedule import retry_ms
from processor.core.state import HEAD, CompletionPhase, Decision, WorkflowState

LOSSES_MAX = 5  # Bounds how often the wait for a lost answer is doubled.


@dataclass(frozen=True, slots=True)
class CompletionPolicy:
    """How long we wait, ask and remember."""

    grace_ms: int = 10 * SECOND_MS  # A webhook waits that long for our own start.
    observing_ms: int = DAY_MS  # Whose a workflow is may stay unanswered that long, by some version.
    refused_ms: int = 5 * MINUTE_MS  # "No such workflow" that long, by every version: it is nobody's.
    refused_poll_ms: int = 5 * SECOND_MS  # Doubled with each refusal.
    unknown_reads_max: int = 32  # A webhook does not make us ask anew whose a workflow is after that many reads.
    forgetting_ms: int = 10 * MINUTE_MS  # Longer than the provider repeats a webhook.
    answer_lost_ms: int = 10 * MINUTE_MS  # An answer that is not there by then is asked for again.
    confirm_ms: int = 5 * SECOND_MS  # Between two reads of a failure status.
    ended_badly_reads: int = 2
    result_wait_ms: int = 5 * MINUTE_MS  # A result may be refused that long after the success status.
    result_bytes_max: int = 768 * 1024
    amendment_ms: int = 8 * DAY_MS
    amendment_poll_ms_max: int = HOUR_MS
    memory_ms: int = 8 * DAY_MS  # An ended workflow is known that long after its request's deadline.


@dataclass(frozen=True, slots=True)
class Terms:
    """What a decision depends on beside state, fact and time."""

    catalogue: Catalogue
    policy: CompletionPolicy = field(default_factory=CompletionPolicy)
    lessons: Lessons = field(default_factory=dict)  # What runs that ended taught about polling.

    def workflow_of(self, started: Started) -> Workflow:
        """Return the catalogue's entry; one that was removed meanwhile publishes no result body."""
        name = started.origin.workflow
        return self.catalogue.find(name) or Workflow(name, definition="", result_shape=ResultShape.NONE)


def new_state(
    phase: CompletionPhase,
    workflow_id: str,
    closes_at: Instant,
    *,
    webhook_at: Instant | None = None,
    provider: str = DEFAULT_PROVIDER,
) -> WorkflowState:
    """Return the state of a workflow of which nothing else is known."""
    return WorkflowState(
        phase=phase,
        workflow_id=workflow_id,
        started=None,
        webhook_at=webhook_at,
        has_hint=False,
        status=None,
        attempt=0,
        polls=0,
        failures=0,
        poll_at=None,
        closes_at=closes_at,
        ended_badly_reads=0,
        ended_at=None,
        seen_by=None,
        claimed_by=(),
        timer=None,
        is_waiting=False,
        provider=provider,
    )


def is_answer_to(head: WorkflowState, fact: StatusRead | ResultRead) -> bool:
    """Say whether a fact answers the open read."""
    return head.is_waiting and fact.attempt == head.attempt


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


def read(terms: Terms, head: WorkflowState, now: Instant) -> Decision:
    """Read what the phase needs, as the next attempt; every hint up to now is answered by it."""
    attempt = head.attempt + 1
    lost_at = now + (terms.policy.answer_lost_ms << min(head.failures, LOSSES_MAX))
    reading = replace(head, attempt=attempt, has_hint=False, poll_at=lost_at, is_waiting=True)
    return kept(reading, (_call_of(terms, reading),))


def _call_of(terms: Terms, head: WorkflowState) -> ReadStatus | ReadResult:
    """Return the open read: a request's by the profile and version that it was accepted with, wherever it is now."""
    if head.started is None:
        api = api_asked(terms.catalogue, head)
        return ReadStatus(None, head.workflow_id, head.attempt, head.provider, api)
    origin = head.started.origin
    if head.phase is not CompletionPhase.FETCHING:
        return ReadStatus(origin.workflow, head.workflow_id, head.attempt, origin.provider, origin.api)
    is_in_case = terms.workflow_of(head.started).result_source is ResultSource.CASE
    case_id = head.started.case_id if is_in_case else None
    return ReadResult(origin.workflow, head.workflow_id, head.attempt, origin.provider, origin.api, case_id)


def api_asked(catalogue: Catalogue, head: WorkflowState) -> ApiVersion:
    """Return the version by which an unknown workflow is asked for: each in turn that may still tell whose it is."""
    apis = [api for api in apis_of(catalogue, head.provider) if api not in head.silent]
    return apis[head.failures % len(apis)] if apis else ApiVersion.RECORDS


def apis_of(catalogue: Catalogue, provider: str) -> tuple[ApiVersion, ...]:
    """Return the versions that may tell whose an unknown workflow is: all, those first that the catalogue uses.

    Among these version 3 comes first, for it alone repeats our own reference, then the most used. The others follow,
    for runs of theirs may be open although every workflow has moved on.
    """
    used = Counter(workflow.api for workflow in catalogue.serving(provider))
    return tuple(sorted(ApiVersion, key=lambda api: (not (used[api] and api is ApiVersion.TABLES), -used[api], api)))


def read_failed(head: WorkflowState, fact: StatusRead | ResultRead, now: Instant) -> Decision:
    """Read again after a back-off, or when the provider asked us to."""
    failures = head.failures + 1
    wait_ms = retry_ms(failures, seed=head.workflow_id, asked_ms=fact.wait_ms)
    return wait(replace(head, failures=failures), now + wait_ms)


def wait(head: WorkflowState, poll_at: Instant) -> Decision:
    """Read again at that instant; the open read is answered."""
    return kept(replace(head, poll_at=poll_at, is_waiting=False))


def end(policy: CompletionPolicy, head: WorkflowState, output: Finished | Started, now: Instant) -> Decision:
    """Publish the last result, or pass custody on, and remember the workflow, so that nothing of it counts any more.

    Only what recognises repetitions is kept, not what the request said.
    """
    started = head.started
    if started is not None:
        started = replace(started, origin=replace(started.origin, attributes={}, subject_reference=None))
    ended = replace(
        head,
        phase=CompletionPhase.ENDED,
        started=started,
        has_hint=False,
        poll_at=None,
        closes_at=remembered_until(policy, head.started, now),
        is_waiting=False,
        newer=None,
    )
    return kept(ended, outputs=(output,))


def remembered_until(policy: CompletionPolicy, started: Started | None, now: Instant) -> Instant:
    """Say when a workflow may be forgotten of which nothing counts any more."""
    deadline_at = now if started is None else max(started.origin.deadline_at, now)
    return min(deadline_at, now + DEADLINE_MS_MAX) + policy.memory_ms  # 0.1.0 accepted later deadlines.


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
