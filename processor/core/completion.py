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
  reads tell which record it belongs to, and `launch` hears of it (`completion_unknown.py`).
- A workflow gives way to a newer one of the same request, unless it has ended, which one more read tells: then custody
  passes on, and nothing of it counts any more. A replacement that comes before the start of what it replaces waits for
  it, and needs no read.
- A final phase is never left, and is forgotten later than anyone keeps telling us of it.

`WorkflowState.poll_at` is when to read next, or again while a read is open, should its answer be lost;
`closes_at` is when the phase ends by itself, and waits for evidence.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from processor.core.catalogue import has_version_3_link
from processor.core.completion_steps import (
    Terms,
    end,
    forgotten,
    is_answer_to,
    kept,
    new_state,
    read,
    read_failed,
    remembered_until,
    result_of,
    wait,
)
from processor.core.completion_unknown import grace_over, observed, observing_over, webhook_again, webhook_early
from processor.core.keys import canonical_id, launch_key
from processor.core.messages import (
    CustodyUnreadable,
    Finished,
    LinkOver,
    Replaced,
    ResultRead,
    Resumed,
    Started,
    StatusRead,
    TimerFired,
    WebhookReceived,
)
from processor.core.model import Instant, Origin, Outcome, Reason, Witness
from processor.core.polling import NOTHING, learned, next_wait_ms, told_after_all
from processor.core.proof import Proof
from processor.core.result_body import NOT_CONFIGURED, UNAVAILABLE, PublishedResult, published_result, wants_result
from processor.core.results import finished, finished_started
from processor.core.schedule import next_poll_at
from processor.core.state import HEAD, CompletionPhase, Decision, Part, WorkflowState

Fact: TypeAlias = (
    Started | Replaced | WebhookReceived | CustodyUnreadable | StatusRead | ResultRead | TimerFired | Resumed
)
Phase: TypeAlias = CompletionPhase

ENDS = frozenset({Outcome.COMPLETED, Outcome.FAILED})
CLAIMS_MAX = 64  # Requests that are remembered for having claimed a workflow of another one.


@dataclass(frozen=True, slots=True)
class Completion(Terms):
    """Decides what becomes of one workflow."""

    def decide(self, state: Mapping[str, Part], fact: Fact, now: Instant) -> Decision:
        """Fold one fact into one workflow and say what must happen next."""
        head = state.get(HEAD)
        assert head is None or isinstance(head, WorkflowState), "the head of a workflow is of another decider"
        return RULES[head.phase if head else None, type(fact)](self, head, fact, now)

    def taught(self, fact: Fact, decision: Decision) -> "Completion":
        """Return the decider that has learnt from a decision of its own when to poll; nothing else differs."""
        head = decision.changes.get(HEAD)
        if not isinstance(head, WorkflowState) or head.phase is not Phase.ENDED or not _is_witnessed(head):
            return self
        assert head.started is not None, "an end was seen of a workflow that nobody started"
        name = head.started.origin.workflow
        if isinstance(fact, WebhookReceived):
            return replace(self, lessons=told_after_all(self.lessons, name))
        if not any(isinstance(output, Finished) and output.outcome in ENDS for output in decision.outputs):
            return self
        ran_ms, took_ms = _times_ms(head, head.started)
        lessons = learned(self.lessons, name, ran_ms, took_ms, is_told=head.webhook_at is not None)
        return replace(self, lessons=lessons)


def _began(terms: Terms, head: WorkflowState | None, fact: Started, now: Instant) -> Decision:
    """Take custody: read at once where something says that it may have ended, else poll."""
    workflow = terms.workflow_of(fact)
    is_final = _is_in(workflow.success, fact.status) or _is_in(workflow.failure, fact.status)
    head = replace(
        head or new_state(Phase.RUNNING, fact.workflow_id, now),
        phase=Phase.RUNNING,
        workflow_id=fact.workflow_id,
        started=fact,
        status=fact.status,
        polls=0,
        silent=(),
        refused=(),
        is_hinted=head is not None and head.webhook_at is not None,
        failures=0,
        closes_at=fact.origin.deadline_at if fact.revision == 1 else now + terms.policy.amendment_ms,
        seen_by=fact.told_by if is_final and fact.told_by is not Witness.OPERATOR else None,
    )
    if is_final or head.webhook_at is not None:
        return read(terms, head, now)
    return wait(replace(head, polls=1), _next_poll_at(terms, head, fact, now))


def _claimed_again(_: Terms, head: WorkflowState, fact: Started, now: Instant) -> Decision:
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


def _replaced(terms: Terms, head: WorkflowState, fact: Replaced, now: Instant) -> Decision:
    """Read before it gives way, for it may have ended; that of a request that was refused here is an amendment."""
    started, request_id = head.started, fact.started.origin.request_id
    if canonical_id(fact.workflow_id) == canonical_id(fact.started.workflow_id):
        return Decision()
    if started is None or started.origin.request_id != request_id:
        is_undetermined = request_id in head.claimed_by
        return Decision(outputs=(replace(fact.started, revision=2),)) if is_undetermined else Decision()
    if head.phase in {Phase.FETCHING, Phase.ENDED} or head.newer is not None:
        return Decision()  # Its request has its result, or is about to; or it is told again.
    head = replace(head, newer=fact.started)
    if head.is_waiting:
        return kept(replace(head, has_hint=True))  # The open read may have been answered before the end.
    return kept(head) if head.ended_badly_reads else read(terms, head, now)


def _gives_way(terms: Terms, head: WorkflowState, started: Started, newer: Started, now: Instant) -> Decision:
    """Pass custody on: the request goes on with the newer workflow."""
    return end(terms.policy, head, replace(newer, revision=started.revision), now)


def _replaced_early(terms: Terms, head: WorkflowState | None, fact: Replaced, now: Instant) -> Decision:
    """Wait for the start of what gives way: it comes from another partition where that one was a replacement too.

    One that never comes was not taken, or is forgotten: then its request has its result, and needs no newer workflow.
    """
    if canonical_id(fact.workflow_id) == canonical_id(fact.started.workflow_id):
        return Decision()
    closes_at = remembered_until(terms.policy, fact.started, now)
    head = head or new_state(Phase.REPLACED, fact.workflow_id, closes_at)
    return kept(
        replace(head, phase=Phase.REPLACED, started=fact.started, poll_at=None, closes_at=closes_at, is_waiting=False)
    )


def _passed_on(terms: Terms, head: WorkflowState, fact: Started, now: Instant) -> Decision:
    """Pass custody on as soon as it comes; another request only claims a workflow that is not its own."""
    newer = head.started
    if newer is None or newer.origin.request_id != fact.origin.request_id:
        return _claimed_again(terms, head, fact, now)
    return end(terms.policy, head, replace(newer, revision=fact.revision), now)


def _passed_on_unread(terms: Terms, head: WorkflowState, fact: CustodyUnreadable, now: Instant) -> Decision:
    """Pass custody on although it cannot be read: the newer workflow's start says all of it again."""
    newer = head.started
    if newer is None or newer.origin.request_id != fact.request_id:
        return _unreadable(terms, head, fact, now)
    return end(terms.policy, head, newer, now)


def _unreadable(terms: Terms, head: WorkflowState | None, fact: CustodyUnreadable, now: Instant) -> Decision:
    """End a request whose start cannot be read, where this workflow does not know it already."""
    origin = Origin(fact.request_id, fact.workflow, fact.key, fact.results_topic, fact.at, fact.at, fact.at)
    claims = _with_claim(head, fact.request_id) if head else (fact.request_id,)
    if claims is None:
        return Decision()
    message = "the message that carried this request to its end cannot be read"
    bare = finished(origin, Outcome.UNDETERMINED, now, reason=Reason.CUSTODY_UNREADABLE, message=message)
    undetermined = replace(bare, candidates=(fact.state_key,))
    head = replace(head or new_state(Phase.ENDED, fact.state_key, now), claimed_by=claims)
    if head.started is None:
        return end(terms.policy, head, undetermined, now)
    return kept(head, outputs=(undetermined,))


def _webhook_came(terms: Terms, head: WorkflowState, fact: WebhookReceived, now: Instant) -> Decision:
    """Read now; while a read is open, again after it; between the two reads of a failure, not sooner."""
    webhook_at = fact.received_at if head.webhook_at is None else head.webhook_at
    head = replace(head, webhook_at=webhook_at, is_hinted=True)
    if head.is_waiting:
        return kept(replace(head, has_hint=True))
    if head.ended_badly_reads:
        return kept(head)
    return read(terms, replace(head, polls=0), now)


def _told_after_all(_: Terms, head: WorkflowState, fact: WebhookReceived, __: Instant) -> Decision:
    """Note that the webhook came, behind the poll that had found the end; nothing else changes."""
    if head.webhook_at is not None or not _is_witnessed(head):
        return Decision()
    return kept(replace(head, webhook_at=fact.received_at))


def _status_read(terms: Terms, head: WorkflowState, fact: StatusRead, now: Instant) -> Decision:
    """Follow what the provider says of a workflow that a request holds."""
    started = head.started
    if started is None or not is_answer_to(head, fact):
        return Decision()
    if fact.proof is Proof.REFUSED:  # It may be slow to appear: ask on, as if it were running.
        return _read_in_vain(terms, head, started, now)
    if fact.proof is not Proof.DONE:
        return read_failed(head, fact, now)
    head = replace(head, status=fact.status, failures=0)
    workflow = terms.workflow_of(started)
    if _is_in(workflow.success, fact.status):
        return _ended_well(terms, _seen(head, now), started, now)
    if _is_in(workflow.failure, fact.status):
        return _ended_badly(terms, _seen(head, now), started, now)
    refuted = replace(head, ended_badly_reads=0, ended_at=None, seen_by=None, running_at=now)
    return _read_in_vain(terms, refuted if head.has_hint else replace(refuted, webhook_at=None), started, now)


def _read_in_vain(terms: Terms, head: WorkflowState, started: Started, now: Instant) -> Decision:
    if head.has_hint:
        return read(terms, replace(head, polls=0), now)
    if head.newer is not None:
        return _gives_way(terms, head, started, head.newer, now)
    poll_at = _next_poll_at(terms, head, started, now)
    return wait(replace(head, polls=head.polls + 1, failures=0), poll_at)


def _ended_well(terms: Terms, head: WorkflowState, started: Started, now: Instant) -> Decision:
    """Read the result, where anything of it is published."""
    workflow = terms.workflow_of(started)
    if not wants_result(workflow):
        return _completed(terms, head, started, PublishedResult(result_omitted=NOT_CONFIGURED), now)
    return read(terms, replace(head, phase=Phase.FETCHING, newer=None), now)


def _ended_badly(terms: Terms, head: WorkflowState, started: Started, now: Instant) -> Decision:
    """Believe a failure status only when it is read again: nobody has published the list of them."""
    head = replace(head, ended_badly_reads=head.ended_badly_reads + 1)
    if head.ended_badly_reads < terms.policy.ended_badly_reads:
        return wait(head, now + terms.policy.confirm_ms)
    message = "the provider says that it ended badly, read twice"
    failed = finished_started(started, Outcome.FAILED, now, reason=Reason.ENDED_BADLY, message=message)
    return _ended(terms, head, result_of(head, failed), now)


def _result_read(terms: Terms, head: WorkflowState, fact: ResultRead, now: Instant) -> Decision:
    """Publish what the workflow found; a result that stays away does not keep the request from its end."""
    started = head.started
    if started is None or not is_answer_to(head, fact):
        return Decision()
    if fact.proof is Proof.DONE:
        body = published_result(fact, terms.workflow_of(started), terms.policy.result_bytes_max)
        return _completed(terms, head, started, body, now)
    waited_ms = now - (now if head.ended_at is None else head.ended_at)
    if fact.proof is Proof.REFUSED and waited_ms >= terms.policy.result_wait_ms:
        return _completed(terms, head, started, PublishedResult(result_omitted=UNAVAILABLE), now)
    return read_failed(head, fact, now)


def _completed(terms: Terms, head: WorkflowState, started: Started, body: PublishedResult, now: Instant) -> Decision:
    reason = Reason.RESULT_UNAVAILABLE if body.result_omitted == UNAVAILABLE else None
    completed = replace(
        result_of(head, finished_started(started, Outcome.COMPLETED, now, reason=reason)),
        decision=body.decision,
        result=body.result,
        result_hash=body.result_hash,
        result_bytes=body.result_bytes,
        result_omitted=body.result_omitted,
    )
    return _ended(terms, head, completed, now)


def _ended(terms: Terms, head: WorkflowState, last: Finished, now: Instant) -> Decision:
    """Publish the last result; launch, which keeps a version 3 link for the asking, hears that it is over."""
    decision, started = end(terms.policy, head, last, now), head.started
    if started is None or not has_version_3_link(terms.workflow_of(started), started.origin.api):
        return decision
    request_id = started.origin.request_id
    key = launch_key(started.record_id, started.case_id, request_id)
    return replace(decision, outputs=(*decision.outputs, LinkOver(key, request_id)))


def _woken(terms: Terms, head: WorkflowState, fact: TimerFired, now: Instant) -> Decision:
    """End the phase whose time is over, else read: a poll is due, or the answer of the open read was lost."""
    if head.timer is None or fact.due_at != head.timer.due_at:
        return Decision()
    if fact.due_at >= head.closes_at:
        return CLOSING[head.phase](terms, head, now)
    return read(terms, replace(head, failures=head.failures + 1) if head.is_waiting else head, now)


def _window_over(terms: Terms, head: WorkflowState, now: Instant) -> Decision:
    """End a request at its deadline, but not for ever; after its amendment window, in silence."""
    started = head.started
    if started is None:
        return forgotten()
    if head.newer is not None:
        return _gives_way(terms, head, started, head.newer, now)
    if started.revision == 1:
        return _expired(terms, head, started, now)
    if head.phase is Phase.FETCHING:
        # It did end well: that much is known.
        return _completed(terms, head, started, PublishedResult(result_omitted=UNAVAILABLE), now)
    return forgotten()


def _expired(terms: Terms, head: WorkflowState, started: Started, now: Instant) -> Decision:
    """Publish EXPIRED and go on asking, slowly: what is open or scheduled stays so."""
    message = "the deadline passed before the workflow's end was known"
    bare = finished_started(started, Outcome.EXPIRED, now, reason=Reason.DEADLINE_PASSED, message=message)
    expired = result_of(replace(head, seen_by=None), bare)
    head = replace(
        head,
        phase=head.phase if head.phase is Phase.FETCHING else Phase.EXPIRED,
        started=replace(started, revision=2),
        closes_at=now + terms.policy.amendment_ms,
    )
    return kept(head, outputs=(expired,))


def _forgotten(_: Terms, __: WorkflowState, ___: Instant) -> Decision:
    return forgotten()


def _resumed(terms: Terms, head: WorkflowState, _: Resumed, now: Instant) -> Decision:
    """Read again what the former owner had open."""
    return read(terms, head, now) if head.is_waiting else Decision()


def _ignored(_: Terms, __: WorkflowState | None, ___: Fact, ____: Instant) -> Decision:
    """Change nothing."""
    return Decision()


# (phase, kind of fact) -> rule. A missing pair is a bug, never a silent no-op.
RULES: Mapping[tuple[Phase | None, type[Fact]], Callable[..., Decision]] = {
    (None, Started): _began,
    (None, Replaced): _replaced_early,
    (None, WebhookReceived): webhook_early,
    (None, CustodyUnreadable): _unreadable,
    (None, StatusRead): _ignored,
    (None, ResultRead): _ignored,
    (None, TimerFired): _ignored,
    (None, Resumed): _ignored,
    (Phase.EARLY, Started): _began,
    (Phase.EARLY, Replaced): _replaced_early,
    (Phase.EARLY, WebhookReceived): _ignored,
    (Phase.EARLY, CustodyUnreadable): _unreadable,
    (Phase.EARLY, StatusRead): _ignored,
    (Phase.EARLY, ResultRead): _ignored,
    (Phase.EARLY, TimerFired): _woken,
    (Phase.EARLY, Resumed): _ignored,
    (Phase.OBSERVING, Started): _began,
    (Phase.OBSERVING, Replaced): _replaced_early,
    (Phase.OBSERVING, WebhookReceived): _ignored,
    (Phase.OBSERVING, CustodyUnreadable): _unreadable,
    (Phase.OBSERVING, StatusRead): observed,
    (Phase.OBSERVING, ResultRead): _ignored,
    (Phase.OBSERVING, TimerFired): _woken,
    (Phase.OBSERVING, Resumed): _resumed,
    (Phase.FORGETTING, Started): _began,
    (Phase.FORGETTING, Replaced): _replaced_early,
    (Phase.FORGETTING, WebhookReceived): webhook_again,
    (Phase.FORGETTING, CustodyUnreadable): _unreadable,
    (Phase.FORGETTING, StatusRead): _ignored,
    (Phase.FORGETTING, ResultRead): _ignored,
    (Phase.FORGETTING, TimerFired): _woken,
    (Phase.FORGETTING, Resumed): _ignored,
    (Phase.REPLACED, Started): _passed_on,
    (Phase.REPLACED, Replaced): _ignored,
    (Phase.REPLACED, WebhookReceived): _ignored,
    (Phase.REPLACED, CustodyUnreadable): _passed_on_unread,
    (Phase.REPLACED, StatusRead): _ignored,
    (Phase.REPLACED, ResultRead): _ignored,
    (Phase.REPLACED, TimerFired): _woken,
    (Phase.REPLACED, Resumed): _ignored,
    (Phase.RUNNING, Started): _claimed_again,
    (Phase.RUNNING, Replaced): _replaced,
    (Phase.RUNNING, WebhookReceived): _webhook_came,
    (Phase.RUNNING, CustodyUnreadable): _unreadable,
    (Phase.RUNNING, StatusRead): _status_read,
    (Phase.RUNNING, ResultRead): _ignored,
    (Phase.RUNNING, TimerFired): _woken,
    (Phase.RUNNING, Resumed): _resumed,
    (Phase.FETCHING, Started): _claimed_again,
    (Phase.FETCHING, Replaced): _replaced,
    (Phase.FETCHING, WebhookReceived): _told_after_all,
    (Phase.FETCHING, CustodyUnreadable): _unreadable,
    (Phase.FETCHING, StatusRead): _ignored,
    (Phase.FETCHING, ResultRead): _result_read,
    (Phase.FETCHING, TimerFired): _woken,
    (Phase.FETCHING, Resumed): _resumed,
    (Phase.EXPIRED, Started): _claimed_again,
    (Phase.EXPIRED, Replaced): _replaced,
    (Phase.EXPIRED, WebhookReceived): _webhook_came,
    (Phase.EXPIRED, CustodyUnreadable): _unreadable,
    (Phase.EXPIRED, StatusRead): _status_read,
    (Phase.EXPIRED, ResultRead): _ignored,
    (Phase.EXPIRED, TimerFired): _woken,
    (Phase.EXPIRED, Resumed): _resumed,
    (Phase.ENDED, Started): _claimed_again,
    (Phase.ENDED, Replaced): _replaced,
    (Phase.ENDED, WebhookReceived): _told_after_all,
    (Phase.ENDED, CustodyUnreadable): _unreadable,
    (Phase.ENDED, StatusRead): _ignored,
    (Phase.ENDED, ResultRead): _ignored,
    (Phase.ENDED, TimerFired): _woken,
    (Phase.ENDED, Resumed): _ignored,
}

# phase -> what happens when it closes by itself.
CLOSING: Mapping[Phase, Callable[[Terms, WorkflowState, Instant], Decision]] = {
    Phase.EARLY: grace_over,
    Phase.OBSERVING: observing_over,
    Phase.FORGETTING: _forgotten,
    Phase.REPLACED: _forgotten,
    Phase.RUNNING: _window_over,
    Phase.FETCHING: _window_over,
    Phase.EXPIRED: _window_over,
    Phase.ENDED: _forgotten,
}


def _is_in(words: frozenset[str], status: str | None) -> bool:
    """Say whether a status is one of those words, whatever its case."""
    return status is not None and status.strip().upper() in {word.upper() for word in words}


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


def _next_poll_at(terms: Terms, head: WorkflowState, started: Started, now: Instant) -> Instant:
    """Say when to poll next: as learnt; after a webhook by short waits anew, after a give-up by ever longer ones."""
    poll, seed = terms.workflow_of(started).poll, head.workflow_id
    if started.revision == 1 and not head.is_hinted:
        lesson = terms.lessons.get(started.origin.workflow, NOTHING)
        return now + next_wait_ms(lesson, poll, max(0, now - started.started_at), head.polls, seed=seed)
    max_ms = poll.max_ms if started.revision == 1 else max(poll.max_ms, terms.policy.amendment_poll_ms_max)
    return next_poll_at(now, head.polls, seed=seed, first_ms=poll.first_ms, max_ms=max_ms)


def _is_witnessed(head: WorkflowState) -> bool:
    """Say whether the end was seen, in time, as a run's end is: by a webhook or a poll."""
    is_in_time = head.started is not None and head.started.revision == 1
    return is_in_time and head.seen_by in {Witness.WEBHOOK, Witness.POLL}


def _times_ms(head: WorkflowState, started: Started) -> tuple[int, int]:
    """Say after which time a run still ran, and after which it had ended; of one that a webhook told, both are one."""
    begun_at = started.started_at
    if head.seen_by is Witness.WEBHOOK and head.webhook_at is not None:
        return max(0, head.webhook_at - begun_at), max(0, head.webhook_at - begun_at)
    ended_at = begun_at if head.ended_at is None else head.ended_at
    running_at = begun_at if head.running_at is None else head.running_at
    return max(0, running_at - begun_at), max(0, ended_at - begun_at)
