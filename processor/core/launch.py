"""The launch of a record's requests: the call that may not be repeated, and all evidence of it.

Rules:
- A request is taken once in its life, and the requests of a key are run one at a time, in the order they came.
- The intent is written when a permit is there, and the run is called by that decision alone: one call an attempt.
- An attempt that was not executed (refused, not sent, asked to wait, our own fault) is taken back, then judged or made
  anew. One whose outcome nobody knows is never made again: an observation adopts it, a late answer tells, or a
  person decides.
- An answer and the proof that a former owner left of it say the same. Both count by request and attempt, also after
  the call was given up on.
- A proof that an older attempt ran wins while no newer one may have run. After that its workflow is only recorded
  and named in the result, so that nobody else adopts it.
- Whoever ends makes room for the next in the same decision. What ended without its run being known is amended once
  (revision 2) when a trace comes.

It must never call a run while an earlier attempt of the same request may have been executed, unless a person said
that it was not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias, assert_never

from processor.core.adoption import earliest
from processor.core.catalogue import Catalogue
from processor.core.launch_parts import (
    GAVE,
    HEAD,
    LaunchPolicy,
    Run,
    deadline_of,
    new_head,
    request_of,
    seen_name,
    waiting_name,
)
from processor.core.launch_state import LaunchState
from processor.core.messages import (
    CallAnswered,
    CallProved,
    CustodyUnreadable,
    DeadLettered,
    Observed,
    OperatorDecided,
    PermitGranted,
    Prepared,
    Progressed,
    Resolution,
    Resumed,
    Step,
    TimerFired,
    VerdictReached,
)
from processor.core.model import Instant, Origin, Outcome, Reason, Timer, Witness
from processor.core.proof import Operation, Proof
from processor.core.results import finished
from processor.core.schedule import retry_ms
from processor.core.state import Candidate, Decision, GaveUp, Launching, LaunchPhase, Part, WaitingLaunch

Fact: TypeAlias = (
    Prepared
    | Observed
    | CallProved
    | OperatorDecided
    | CustodyUnreadable
    | PermitGranted
    | CallAnswered
    | VerdictReached
    | TimerFired
    | Resumed
)


@dataclass(frozen=True, slots=True)
class Launch:
    """Decides what becomes of the requests of one launch key."""

    catalogue: Catalogue
    policy: LaunchPolicy = field(default_factory=LaunchPolicy)

    def decide(self, state: Mapping[str, Part], fact: Fact, now: Instant) -> Decision:
        """Fold one fact into one launch key and say what must happen next."""
        key = LaunchState(state, self.catalogue, self.policy, now)
        head = key.head
        RULES[head.phase if head else None, type(fact)](key, head, fact)
        return key.decision()


def _arrived(key: LaunchState, head: Launching | None, fact: Prepared) -> None:
    """Take a request, once in its life; it waits while another one of the key is active."""
    origin = fact.origin
    if key.has_come(origin.request_id):
        return
    key.remember(origin.request_id, origin.deadline_at)
    if head is None:
        key.ready(new_head(fact, 0, 0))
        return
    key.put(waiting_name(head.waiting_next), WaitingLaunch(fact, deadline_of(fact)))
    key.put(HEAD, replace(head, waiting_next=head.waiting_next + 1))


def _custody_unreadable(key: LaunchState, _: Launching | None, fact: CustodyUnreadable) -> None:
    """End a request of which only the id can be read, so that it does not vanish."""
    if key.has_come(fact.request_id):
        return
    key.remember(fact.request_id, fact.at)
    origin = Origin(
        request_id=fact.request_id,
        workflow=fact.workflow,
        key=fact.key,
        results_topic=fact.results_topic,
        requested_at=fact.at,
        accepted_at=fact.at,
        deadline_at=fact.at,
    )
    message = "the message that carried this request between two steps could not be read"
    reason = Reason.CUSTODY_UNREADABLE
    key.outputs.append(finished(origin, Outcome.UNDETERMINED, key.now, reason=reason, message=message))


def _permitted(key: LaunchState, head: Launching, fact: PermitGranted) -> None:
    """Write the intent and call the run; a permit that came too late is asked for again."""
    if key.is_past(head):
        key.expire(head)
    elif fact.until <= key.now:
        key.ask()
    else:
        key.intend(head, fact.until)


@dataclass(frozen=True, slots=True)
class _Told:
    """What an answer, or the proof of one, says about an attempt."""

    request_id: str
    attempt: int
    proof: Proof
    workflow_id: str | None
    status: str | None
    wait_ms: int | None
    why: str

    @property
    def leaves_doubt(self) -> bool:
        """Whether the workflow may run under an id that nobody told us."""
        return self.proof is Proof.UNKNOWN or (self.proof is Proof.DONE and self.workflow_id is None)


def _told(fact: CallAnswered | CallProved) -> _Told:
    if isinstance(fact, CallProved):
        workflow_id, wait_ms = fact.workflow_id, None
    else:
        assert fact.operation is Operation.RUN, "launch makes no call but the run"
        workflow_id, wait_ms = fact.made_id, fact.wait_ms
    workflow_id = (workflow_id or "").strip() or None
    return _Told(fact.request_id, fact.attempt, fact.proof, workflow_id, fact.status, wait_ms, fact.why)


def _heard_open(key: LaunchState, head: Launching, fact: CallAnswered | CallProved) -> None:
    """Go on as the answer says: started, taken back, or unknown."""
    told = _told(fact)
    if not _is_current(head, told):
        _use_for_other(key, head, told)
    elif told.leaves_doubt:
        key.doubt(replace(head, why=told.why))
    else:
        _conclude(key, head, told)


def _heard_unknown(key: LaunchState, head: Launching, fact: CallAnswered | CallProved) -> None:
    """Let a late answer end the doubt; one that says no more than is known changes nothing."""
    told = _told(fact)
    if not _is_current(head, told):
        _use_for_other(key, head, told)
    elif not told.leaves_doubt:
        _conclude(key, head, told)


def _heard_unsent(key: LaunchState, head: Launching, fact: CallAnswered | CallProved) -> None:
    """Start with an earlier attempt that did run, while no newer one was sent; anything else is old news."""
    told = _told(fact)
    if told.request_id != request_of(head):
        _use_for_ended(key, told)
    elif told.proof is Proof.DONE and told.workflow_id is not None:
        key.start(head, Run(told.workflow_id, Witness.RUN_ANSWER, told.status))
    elif told.proof is Proof.DONE:
        key.doubt(replace(head, why=told.why, doubt_at=_oldest_doubt(head)))


def _heard_idle(key: LaunchState, _: None, fact: CallAnswered | CallProved) -> None:
    """Use what a call says about a request that has ended."""
    _use_for_ended(key, _told(fact))


def _use_for_other(key: LaunchState, head: Launching, told: _Told) -> None:
    """Record the workflow of an older attempt: it counts only if the newer one turns out not to have run."""
    if told.request_id != request_of(head):
        _use_for_ended(key, told)
    elif told.proof is Proof.DONE and told.workflow_id is not None:
        key.know(told.workflow_id, told.request_id, head.prepared.origin.deadline_at)
        if head.doubt_at is None:
            key.put(HEAD, replace(head, doubt_at=_oldest_doubt(head)))
        key.is_unsettled = True


def _use_for_ended(key: LaunchState, told: _Told) -> None:
    """Amend the result of a request that was given up; record the workflow of one that went on without it."""
    if told.proof is not Proof.DONE or told.workflow_id is None or key.claimed_by(told.workflow_id) is not None:
        return
    gave_up = key.get(GAVE + told.request_id)
    if isinstance(gave_up, GaveUp):
        key.amend(gave_up, Run(told.workflow_id, Witness.RUN_ANSWER, told.status))
    elif key.has_come(told.request_id):
        key.know(told.workflow_id, told.request_id, key.now)
        key.is_unsettled = True


def _conclude(key: LaunchState, head: Launching, told: _Told) -> None:
    """Start, or take the attempt back and try again, later or after a verdict."""
    if told.proof is Proof.DONE and told.workflow_id is not None:
        key.start(head, Run(told.workflow_id, Witness.RUN_ANSWER, told.status))
        return
    unsent = key.take_back(replace(head, why=told.why))
    if unsent is None or told.proof is Proof.OUR_FAULT:
        return  # The gate grants no permit until our fault is mended.
    if told.proof is Proof.REFUSED:
        key.enter(unsent, LaunchPhase.SUSPECT, deadline_of(unsent.prepared))
        return
    failures = unsent.failures + 1
    seed = f"{told.request_id}/{told.attempt}"
    due_at = key.now + retry_ms(failures, seed=seed, asked_ms=told.wait_ms)
    is_in_time = due_at < unsent.prepared.origin.deadline_at
    timer = Timer(due_at) if is_in_time else deadline_of(unsent.prepared)
    key.enter(replace(unsent, failures=failures), LaunchPhase.BACKING_OFF, timer)


def _judged(key: LaunchState, head: Launching, fact: VerdictReached) -> None:
    """End a request whose refusal is genuine; one that met our own fault tries again when it is mended."""
    if (fact.request_id, fact.attempt) != (request_of(head), head.attempt):
        return
    if not fact.is_our_fault:
        key.refuse(head)
    else:
        key.ready(head)


def _observed(key: LaunchState, _: Launching | None, fact: Observed) -> None:
    """Match a workflow that showed itself with the requests whose run is unknown; kept while one may be its own."""
    if key.claimed_by(fact.workflow_id) is not None:
        return
    name = seen_name(fact.workflow_id)
    kept = key.get(name)
    observed = earliest(kept.observed, fact) if isinstance(kept, Candidate) else fact
    key.put(name, Candidate(observed, None))
    key.is_unsettled = True


def _decided(key: LaunchState, head: Launching, fact: OperatorDecided) -> None:
    """Do what a person decided about a request whose run is unknown, if it still fits."""
    workflow_id = (fact.workflow_id or "").strip()
    if (fact.request_id, fact.attempt) != (request_of(head), head.attempt):
        _refuse_decision(key, "the decision is about another request or attempt than the one that is open")
    elif fact.resolution is Resolution.NOT_EXECUTED:
        why = "a person found that the attempt was not executed"
        key.take_back(replace(head, why=why, failures=0, doubt_at=_oldest_doubt(head)))
    elif fact.resolution is Resolution.GIVE_UP:
        key.give_up(head, Reason.GIVEN_UP, "a person gave up on finding out whether the workflow was started")
    elif not workflow_id:
        _refuse_decision(key, "the decision that a workflow was started must name it")
    elif key.claimed_by(workflow_id) not in {None, fact.request_id}:
        _refuse_decision(key, "the workflow that the decision names belongs to another request")
    else:
        key.start(head, Run(workflow_id, Witness.OPERATOR, None))


def _too_late(key: LaunchState, _: Launching | None, __: OperatorDecided) -> None:
    """Refuse a decision about a request whose run is not, or no longer, unknown."""
    _refuse_decision(key, "no run is unknown here: the request has not been sent, its call is open, or it has ended")


def _refuse_decision(key: LaunchState, why: str) -> None:
    key.outputs.append(DeadLettered("decision-refused", why))


def _woken(key: LaunchState, head: Launching | None, fact: TimerFired) -> None:
    """End, try again or forget what a part waited for; a timer that was set anew has nothing to say."""
    part = key.get(fact.part)
    if part is None or part.timer is None or part.timer.due_at != fact.due_at:
        return
    key.now = max(key.now, fact.due_at)
    if fact.part == HEAD and head is not None:
        _woken_head(key, head)
    elif isinstance(part, WaitingLaunch):
        key.expire_waiting(fact.part, part)
    else:
        key.forget(fact.part, part)


def _woken_head(key: LaunchState, head: Launching) -> None:
    match head.phase:
        case LaunchPhase.READY | LaunchPhase.SUSPECT:
            key.expire(head)
        case LaunchPhase.BACKING_OFF if key.is_past(head):
            key.expire(head)
        case LaunchPhase.BACKING_OFF:
            key.ready(head)
        case LaunchPhase.INTENT:
            key.doubt(replace(head, why="no answer came before the call's deadline"))
        case LaunchPhase.UNKNOWN | LaunchPhase.HELD:
            _close_window(key, head)
        case _:
            assert_never(head.phase)


def _close_window(key: LaunchState, head: Launching) -> None:
    """Look at the candidates once more; then hold the request for a person, or give it up at its deadline."""
    key.settle()
    unknown = key.head
    if unknown is None or request_of(unknown) != request_of(head):
        return
    if key.is_past(unknown):
        message = "whether the workflow was started is not known: its call was not answered and no trace of it came"
        key.give_up(unknown, Reason.RUN_UNKNOWN, message)
        return
    key.enter(unknown, LaunchPhase.HELD, deadline_of(unknown.prepared))
    key.outputs.append(Progressed(unknown.prepared.origin, Step.HELD, key.now, attempt=unknown.attempt))


def _resumed(key: LaunchState, _: Launching, fact: Resumed) -> None:
    """Ask again for the permit or verdict that died with the former owner."""
    if fact.part == HEAD:
        key.ask()


def _ignored(_: LaunchState, __: Launching | None, ___: Fact) -> None:
    """Change nothing: the fact came too late to matter."""


def _is_current(head: Launching, told: _Told) -> bool:
    return (told.request_id, told.attempt) == (request_of(head), head.attempt)


def _oldest_doubt(head: Launching) -> Instant:
    """Return since when a run of this request may have been seen; where no intent is left, since it was prepared."""
    if head.doubt_at is not None:
        return head.doubt_at
    return head.prepared.prepared_at if head.intent_at is None else head.intent_at


# Kind of fact -> its rule in each phase, None for an idle key. A missing pair is a bug, never a silent no-op.
# fmt: off
_PHASES = (
    None,         LaunchPhase.READY, LaunchPhase.BACKING_OFF, LaunchPhase.SUSPECT,
    LaunchPhase.INTENT, LaunchPhase.UNKNOWN, LaunchPhase.HELD,
)
_HEARD = (_heard_idle, _heard_unsent, _heard_unsent, _heard_unsent, _heard_open, _heard_unknown, _heard_unknown)
_ROWS: Mapping[type[Fact], tuple[Callable[..., None], ...]] = {
    Prepared:          (_arrived,) * 7,
    CustodyUnreadable: (_custody_unreadable,) * 7,
    Observed:          (_observed,) * 7,
    TimerFired:        (_woken,) * 7,
    PermitGranted:     (_ignored, _permitted, _ignored, _ignored, _ignored, _ignored, _ignored),
    VerdictReached:    (_ignored, _ignored, _ignored, _judged, _ignored, _ignored, _ignored),
    Resumed:           (_ignored, _resumed, _ignored, _resumed, _ignored, _ignored, _ignored),
    CallAnswered:      _HEARD,
    CallProved:        _HEARD,
    OperatorDecided:   (_too_late, _too_late, _too_late, _too_late, _too_late, _decided, _decided),
}
# fmt: on
RULES: Mapping[tuple[LaunchPhase | None, type[Fact]], Callable[..., None]] = {
    (phase, fact): rule for fact, rules in _ROWS.items() for phase, rule in zip(_PHASES, rules, strict=True)
}
