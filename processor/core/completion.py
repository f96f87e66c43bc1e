"""A workflow, from started to its result.

Rules:
- The state key is a workflow id; at most one request holds it. Another one that claims it ends UNDETERMINED.
- A webhook is a hint: it only makes us read sooner. What the status read says is the truth, and a read that says
  "still running" refutes every hint before it. The poll is the safety net for webhooks that never come.
- A success status ends a request once its result was read; a failure status only when a second read repeats it;
  any other word means still running. A failed read never ends anything.
- The deadline ends a request EXPIRED, once. After that, as after every give-up, a real outcome is published once
  more, as revision 2; a window without one closes in silence.
- A webhook of a workflow that nobody started is kept for the grace period, for our own start may be on its way; then
  one read tells which record it belongs to, and `launch` hears of it.
- A final phase is never left, and is forgotten later than anyone keeps telling us of it.

`WorkflowState.poll_at` is when to read next, or again while a read is open, should its answer be lost;
`closes_at` is when the phase ends by itself, and waits for evidence.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from processor.core.catalogue import Catalogue, ResultShape, Workflow
from processor.core.completion_steps import (
    HEAD,
    CompletionPolicy,
    end,
    forgotten,
    kept,
    read,
    result_of,
    wait,
)
from processor.core.keys import launch_key
from processor.core.messages import (
    CustodyUnreadable,
    Observed,
    ResultRead,
    Resumed,
    Started,
    StatusRead,
    TimerFired,
    WebhookReceived,
)
from processor.core.model import Instant, Origin, Outcome, Reason, Witness
from processor.core.proof import Proof
from processor.core.result_body import NOT_CONFIGURED, UNAVAILABLE, PublishedResult, published_result, wants_result
from processor.core.results import finished, finished_started
from processor.core.schedule import next_poll_at, retry_ms
from processor.core.state import CompletionPhase, Decision, Part, WorkflowState

Fact: TypeAlias = Started | WebhookReceived | CustodyUnreadable | StatusRead | ResultRead | TimerFired | Resumed
Phase: TypeAlias = CompletionPhase

CLAIMS_MAX = 64  # Requests that are remembered for having claimed a workflow of another one.


@dataclass(frozen=True, slots=True)
class Completion:
    """Decides what becomes of one workflow."""

    catalogue: Catalogue
    policy: CompletionPolicy = field(default_factory=CompletionPolicy)

    def decide(self, state: Mapping[str, Part], fact: Fact, now: Instant) -> Decision:
        """Fold one fact into one workflow and say what must happen next."""
        head = state.get(HEAD)
        assert head is None or isinstance(head, WorkflowState), "the head of a workflow is of another decider"
        return RULES[head.phase if head else None, type(fact)](self, head, fact, now)

    def workflow_of(self, started: Started) -> Workflow:
        """Return the catalogue's entry; one that was removed meanwhile publishes no result body."""
        name = started.origin.workflow
        return self.catalogue.find(name) or Workflow(name, definition="", result_shape=ResultShape.NONE)


def _began(completion: Completion, head: WorkflowState | None, fact: Started, now: Instant) -> Decision:
    """Take custody: read at once where something says that it may have ended, else poll."""
    workflow = completion.workflow_of(fact)
    is_final = _is_in(workflow.success, fact.status) or _is_in(workflow.failure, fact.status)
    head = replace(
        head or _new(Phase.RUNNING, fact.workflow_id, None, now),
        phase=Phase.RUNNING,
        workflow_id=fact.workflow_id,
        started=fact,
        status=fact.status,
        polls=0,
        failures=0,
        closes_at=fact.origin.deadline_at if fact.revision == 1 else now + completion.policy.amendment_ms,
        seen_by=fact.told_by if is_final and fact.told_by is not Witness.OPERATOR else None,
    )
    if is_final or head.webhook_at is not None:
        return read(completion.policy, head, now)
    return wait(replace(head, polls=1), _next_poll_at(completion, head, fact, now))


def _claimed_again(_: Completion, head: WorkflowState, fact: Started, now: Instant) -> Decision:
    """End a request that claims the workflow of another one, once; a repeated start changes nothing."""
    claims = _with_claim(head, fact.origin.request_id)
    if claims is None:
        return Decision()
    head = replace(head, claimed_by=claims)
    if fact.revision != 1:
        return kept(head)  # Its request has its result; "we still do not know" is no amendment.
    message = "another request holds this workflow"
    undetermined = finished_started(
        fact, Outcome.UNDETERMINED, now, reason=Reason.WORKFLOW_CLAIMED_TWICE, message=message
    )
    candidates = (*fact.candidates, head.workflow_id)
    return kept(head, outputs=(replace(undetermined, status=None, workflow_id=None, candidates=candidates),))


def _unreadable(completion: Completion, head: WorkflowState | None, fact: CustodyUnreadable, now: Instant) -> Decision:
    """End a request whose start cannot be read, where this workflow does not know it already."""
    origin = Origin(fact.request_id, fact.workflow, fact.key, fact.results_topic, fact.at, fact.at, fact.at)
    claims = _with_claim(head, fact.request_id) if head else (fact.request_id,)
    if claims is None:
        return Decision()
    message = "the message that carried this request to its end cannot be read"
    bare = finished(origin, Outcome.UNDETERMINED, now, reason=Reason.CUSTODY_UNREADABLE, message=message)
    undetermined = replace(bare, candidates=(fact.state_key,))
    head = replace(head or _new(Phase.ENDED, fact.state_key, None, now), claimed_by=claims)
    if head.started is None:
        return end(completion.policy, head, undetermined, now)
    return kept(head, outputs=(undetermined,))


def _webhook_early(completion: Completion, _: None, fact: WebhookReceived, now: Instant) -> Decision:
    """Wait for our own start: a webhook may overtake it."""
    return kept(_new(Phase.EARLY, fact.workflow_id, fact.received_at, now + completion.policy.grace_ms))


def _webhook_came(completion: Completion, head: WorkflowState, fact: WebhookReceived, now: Instant) -> Decision:
    """Read now; while a read is open, again after it; between the two reads of a failure, not sooner."""
    head = replace(head, webhook_at=fact.received_at if head.webhook_at is None else head.webhook_at)
    if head.is_waiting:
        return kept(replace(head, has_hint=True))
    if head.ended_badly_reads:
        return kept(head)
    return read(completion.policy, replace(head, polls=0), now)


def _status_read(completion: Completion, head: WorkflowState, fact: StatusRead, now: Instant) -> Decision:
    """Follow what the provider says of a workflow that a request holds."""
    started = head.started
    if started is None or not _is_answer_to(head, fact):
        return Decision()
    if fact.proof is Proof.REFUSED:  # It may be slow to appear: ask on, as if it were running.
        return _read_in_vain(completion, head, started, now)
    if fact.proof is not Proof.DONE:
        return _read_failed(head, fact, now)
    head = replace(head, status=fact.status, failures=0)
    workflow = completion.workflow_of(started)
    if _is_in(workflow.success, fact.status):
        return _ended_well(completion, _seen(head, now), started, now)
    if _is_in(workflow.failure, fact.status):
        return _ended_badly(completion, _seen(head, now), started, now)
    refuted = replace(head, ended_badly_reads=0, ended_at=None, seen_by=None)
    return _read_in_vain(completion, refuted if head.has_hint else replace(refuted, webhook_at=None), started, now)


def _read_in_vain(completion: Completion, head: WorkflowState, started: Started, now: Instant) -> Decision:
    if head.has_hint:
        return read(completion.policy, replace(head, polls=0), now)
    poll_at = _next_poll_at(completion, head, started, now)
    return wait(replace(head, polls=head.polls + 1, failures=0), poll_at)


def _read_failed(head: WorkflowState, fact: StatusRead | ResultRead, now: Instant) -> Decision:
    failures = head.failures + 1
    wait_ms = retry_ms(failures, seed=head.workflow_id, asked_ms=fact.wait_ms)
    return wait(replace(head, failures=failures), now + wait_ms)


def _ended_well(completion: Completion, head: WorkflowState, started: Started, now: Instant) -> Decision:
    """Read the result, where anything of it is published."""
    workflow = completion.workflow_of(started)
    if not wants_result(workflow):
        return _completed(completion, head, started, PublishedResult(result_omitted=NOT_CONFIGURED), now)
    return read(completion.policy, replace(head, phase=Phase.FETCHING), now)


def _ended_badly(completion: Completion, head: WorkflowState, started: Started, now: Instant) -> Decision:
    """Believe a failure status only when it is read again: nobody has published the list of them."""
    head = replace(head, ended_badly_reads=head.ended_badly_reads + 1)
    if head.ended_badly_reads < completion.policy.ended_badly_reads:
        return wait(head, now + completion.policy.confirm_ms)
    message = "the provider says that it ended badly, read twice"
    failed = finished_started(started, Outcome.FAILED, now, reason=Reason.ENDED_BADLY, message=message)
    return end(completion.policy, head, result_of(head, failed), now)


def _result_read(completion: Completion, head: WorkflowState, fact: ResultRead, now: Instant) -> Decision:
    """Publish what the workflow found; a result that stays away does not keep the request from its end."""
    started = head.started
    if started is None or not _is_answer_to(head, fact):
        return Decision()
    if fact.proof is Proof.DONE:
        body = published_result(fact, completion.workflow_of(started), completion.policy.result_bytes_max)
        return _completed(completion, head, started, body, now)
    waited_ms = now - (now if head.ended_at is None else head.ended_at)
    if fact.proof is Proof.REFUSED and waited_ms >= completion.policy.result_wait_ms:
        return _completed(completion, head, started, PublishedResult(result_omitted=UNAVAILABLE), now)
    return _read_failed(head, fact, now)


def _completed(
    completion: Completion, head: WorkflowState, started: Started, body: PublishedResult, now: Instant
) -> Decision:
    reason = Reason.RESULT_UNAVAILABLE if body.result_omitted == UNAVAILABLE else None
    completed = replace(
        result_of(head, finished_started(started, Outcome.COMPLETED, now, reason=reason)),
        decision=body.decision,
        result=body.result,
        result_hash=body.result_hash,
        result_bytes=body.result_bytes,
        result_omitted=body.result_omitted,
    )
    return end(completion.policy, head, completed, now)


def _observed(completion: Completion, head: WorkflowState, fact: StatusRead, now: Instant) -> Decision:
    """Tell `launch` which record a workflow belongs to that nobody started here."""
    if not _is_answer_to(head, fact):
        return Decision()
    if fact.proof is Proof.REFUSED:
        head = replace(head, polls=head.polls + 1)
    if fact.proof is not Proof.DONE and head.polls < completion.policy.refusals_max:
        return _read_failed(head, fact, now)
    if fact.proof is not Proof.DONE or not (key := launch_key(fact.record_id, fact.case_id, "")):
        return _forget_later(completion, head, now)
    received_at = now if head.webhook_at is None else head.webhook_at
    observed = Observed(
        key, head.workflow_id, fact.record_id, fact.case_id, fact.status or "", received_at, observed_at=now
    )
    return replace(_forget_later(completion, head, now), outputs=(observed,))


def _forget_later(completion: Completion, head: WorkflowState, now: Instant) -> Decision:
    closes_at = now + completion.policy.forgetting_ms
    return kept(replace(head, phase=Phase.FORGETTING, poll_at=None, closes_at=closes_at, is_waiting=False))


def _woken(completion: Completion, head: WorkflowState, fact: TimerFired, now: Instant) -> Decision:
    """End the phase whose time is over, else read: a poll is due, or the answer of the open read was lost."""
    if head.timer is None or fact.due_at != head.timer.due_at:
        return Decision()
    if fact.due_at >= head.closes_at:
        return CLOSING[head.phase](completion, head, now)
    return read(completion.policy, replace(head, failures=head.failures + 1) if head.is_waiting else head, now)


def _grace_over(completion: Completion, head: WorkflowState, now: Instant) -> Decision:
    observing = replace(head, phase=Phase.OBSERVING, closes_at=now + completion.policy.observing_ms)
    return read(completion.policy, observing, now)


def _window_over(completion: Completion, head: WorkflowState, now: Instant) -> Decision:
    """End a request at its deadline, but not for ever; after its amendment window, in silence."""
    started = head.started
    if started is None:
        return forgotten()
    if started.revision == 1:
        return _expired(completion, head, started, now)
    if head.phase is Phase.FETCHING:
        # It did end well: that much is known.
        return _completed(completion, head, started, PublishedResult(result_omitted=UNAVAILABLE), now)
    return forgotten()


def _expired(completion: Completion, head: WorkflowState, started: Started, now: Instant) -> Decision:
    """Publish EXPIRED and go on asking, slowly: what is open or scheduled stays so."""
    message = "the deadline passed before the workflow's end was known"
    bare = finished_started(started, Outcome.EXPIRED, now, reason=Reason.DEADLINE_PASSED, message=message)
    expired = result_of(replace(head, seen_by=None), bare)
    head = replace(
        head,
        phase=head.phase if head.phase is Phase.FETCHING else Phase.EXPIRED,
        started=replace(started, revision=2),
        closes_at=now + completion.policy.amendment_ms,
    )
    return kept(head, outputs=(expired,))


def _forgotten(_: Completion, __: WorkflowState, ___: Instant) -> Decision:
    return forgotten()


def _resumed(completion: Completion, head: WorkflowState, _: Resumed, now: Instant) -> Decision:
    """Read again what the former owner had open."""
    return read(completion.policy, head, now) if head.is_waiting else Decision()


def _ignored(_: Completion, __: WorkflowState | None, ___: Fact, ____: Instant) -> Decision:
    """Change nothing."""
    return Decision()


# (phase, kind of fact) -> rule. A missing pair is a bug, never a silent no-op.
RULES: Mapping[tuple[Phase | None, type[Fact]], Callable[..., Decision]] = {
    (None, Started): _began,
    (None, WebhookReceived): _webhook_early,
    (None, CustodyUnreadable): _unreadable,
    (None, StatusRead): _ignored,
    (None, ResultRead): _ignored,
    (None, TimerFired): _ignored,
    (None, Resumed): _ignored,
    (Phase.EARLY, Started): _began,
    (Phase.EARLY, WebhookReceived): _ignored,
    (Phase.EARLY, CustodyUnreadable): _unreadable,
    (Phase.EARLY, StatusRead): _ignored,
    (Phase.EARLY, ResultRead): _ignored,
    (Phase.EARLY, TimerFired): _woken,
    (Phase.EARLY, Resumed): _ignored,
    (Phase.OBSERVING, Started): _began,
    (Phase.OBSERVING, WebhookReceived): _ignored,
    (Phase.OBSERVING, CustodyUnreadable): _unreadable,
    (Phase.OBSERVING, StatusRead): _observed,
    (Phase.OBSERVING, ResultRead): _ignored,
    (Phase.OBSERVING, TimerFired): _woken,
    (Phase.OBSERVING, Resumed): _resumed,
    (Phase.FORGETTING, Started): _began,
    (Phase.FORGETTING, WebhookReceived): _ignored,
    (Phase.FORGETTING, CustodyUnreadable): _unreadable,
    (Phase.FORGETTING, StatusRead): _ignored,
    (Phase.FORGETTING, ResultRead): _ignored,
    (Phase.FORGETTING, TimerFired): _woken,
    (Phase.FORGETTING, Resumed): _ignored,
    (Phase.RUNNING, Started): _claimed_again,
    (Phase.RUNNING, WebhookReceived): _webhook_came,
    (Phase.RUNNING, CustodyUnreadable): _unreadable,
    (Phase.RUNNING, StatusRead): _status_read,
    (Phase.RUNNING, ResultRead): _ignored,
    (Phase.RUNNING, TimerFired): _woken,
    (Phase.RUNNING, Resumed): _resumed,
    (Phase.FETCHING, Started): _claimed_again,
    (Phase.FETCHING, WebhookReceived): _ignored,
    (Phase.FETCHING, CustodyUnreadable): _unreadable,
    (Phase.FETCHING, StatusRead): _ignored,
    (Phase.FETCHING, ResultRead): _result_read,
    (Phase.FETCHING, TimerFired): _woken,
    (Phase.FETCHING, Resumed): _resumed,
    (Phase.EXPIRED, Started): _claimed_again,
    (Phase.EXPIRED, WebhookReceived): _webhook_came,
    (Phase.EXPIRED, CustodyUnreadable): _unreadable,
    (Phase.EXPIRED, StatusRead): _status_read,
    (Phase.EXPIRED, ResultRead): _ignored,
    (Phase.EXPIRED, TimerFired): _woken,
    (Phase.EXPIRED, Resumed): _resumed,
    (Phase.ENDED, Started): _claimed_again,
    (Phase.ENDED, WebhookReceived): _ignored,
    (Phase.ENDED, CustodyUnreadable): _unreadable,
    (Phase.ENDED, StatusRead): _ignored,
    (Phase.ENDED, ResultRead): _ignored,
    (Phase.ENDED, TimerFired): _woken,
    (Phase.ENDED, Resumed): _ignored,
}

# phase -> what happens when it closes by itself.
CLOSING: Mapping[Phase, Callable[[Completion, WorkflowState, Instant], Decision]] = {
    Phase.EARLY: _grace_over,
    Phase.OBSERVING: _forget_later,
    Phase.FORGETTING: _forgotten,
    Phase.RUNNING: _window_over,
    Phase.FETCHING: _window_over,
    Phase.EXPIRED: _window_over,
    Phase.ENDED: _forgotten,
}


def _new(phase: Phase, workflow_id: str, webhook_at: Instant | None, closes_at: Instant) -> WorkflowState:
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
    )


def _is_in(words: frozenset[str], status: str | None) -> bool:
    """Say whether a status is one of those words, whatever its case."""
    return status is not None and status.strip().upper() in {word.upper() for word in words}


def _is_answer_to(head: WorkflowState, fact: StatusRead | ResultRead) -> bool:
    return head.is_waiting and fact.attempt == head.attempt


def _with_claim(head: WorkflowState, request_id: str) -> tuple[str, ...] | None:
    """Return the claims with this one more; None where the workflow knows the request already."""
    holder = head.started.origin.request_id if head.started else None
    if request_id == holder or request_id in head.claimed_by:
        return None
    return (*head.claimed_by, request_id)[-CLAIMS_MAX:]


def _seen(head: WorkflowState, now: Instant) -> WorkflowState:
    """Note who told of the end first, and when it was first read."""
    witness = head.seen_by or (Witness.POLL if head.webhook_at is None else Witness.WEBHOOK)
    return replace(head, seen_by=witness, ended_at=now if head.ended_at is None else head.ended_at)


def _next_poll_at(completion: Completion, head: WorkflowState, started: Started, now: Instant) -> Instant:
    """Say when to poll next; after a give-up the wait may grow further."""
    poll = completion.workflow_of(started).poll
    max_ms = poll.max_ms if started.revision == 1 else max(poll.max_ms, completion.policy.amendment_poll_ms_max)
    return next_poll_at(now, head.polls, seed=head.workflow_id, first_ms=poll.first_ms, max_ms=max_ms)
