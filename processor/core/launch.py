"""The launch of a record's requests: the calls that may not be repeated, and all evidence of them.

Rules:
- A request is taken once in its life, and the requests of a key are started one at a time, in the order they came.
- The intent is written when a permit is there, and the call is made by that decision alone: one call an attempt.
- An attempt that was not executed (refused, not sent, asked to wait, our own fault) is taken back, then judged or made
  anew. A run or a mail whose outcome nobody knows is not: an observation adopts it, a late answer tells, a person
  decides, or the catalogue wants it repeated once all evidence is judged. A link or token whose answer was lost is
  issued again, for nobody holds the lost one.
- A request whose end user has a link blocks nobody. It goes on when a workflow shows itself that can only be its own.
- One more link is a launch of its own, which never ends the request that it is for.
- An answer and the proof that a former owner left of it say the same. Both count by request and attempt, also after
  the call was given up on.
- A proof that an older attempt ran wins while no newer one may have run. After that its workflow is only recorded
  and named in the result, so that nobody else adopts it.
- Whoever ends makes room for the next in the same decision. What ended without its run being known is amended once
  (revision 2) when a trace comes.

It must never run a workflow or mail a link while an earlier attempt of the same request may have been executed, unless
a person said that it was not, or the catalogue says that it is to be repeated.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias, assert_never

from processor.core.adoption import is_witnessed
from processor.core.catalogue import Catalogue, UnknownPolicy
from processor.core.launch_parts import (
    DOUBTFUL,
    ISSUED,
    LaunchPolicy,
    Run,
    deadline_of,
    oldest_doubt,
    request_of,
)
from processor.core.launch_state import LaunchState
from processor.core.launch_told import heard_idle, heard_open, heard_unknown, heard_unsent
from processor.core.messages import (
    CallAnswered,
    CallProved,
    CaseRead,
    CustodyUnreadable,
    DeadLettered,
    EvidenceJudged,
    LinkAsked,
    LinkOver,
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
from processor.core.results import finished
from processor.core.state import HEAD, Decision, Issued, Launching, LaunchPhase, Part, WaitingLaunch

_GIVEN_UP = "a person gave up on finding out whether the workflow was started"

Fact: TypeAlias = (
    Prepared
    | LinkAsked
    | LinkOver
    | Observed
    | CallProved
    | OperatorDecided
    | CustodyUnreadable
    | PermitGranted
    | CallAnswered
    | CaseRead
    | EvidenceJudged
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


def _arrived(key: LaunchState, _: Launching | None, fact: Prepared) -> None:
    """Take a request, once in its life; it waits while another one of the key is active."""
    origin = fact.origin
    if key.has_come(origin.request_id):
        return
    key.remember(origin.request_id, origin.deadline_at)
    key.line_up(fact)


def _link_asked(key: LaunchState, head: Launching | None, fact: LinkAsked) -> None:
    """Queue one more link of a request that has one; what it has keeps its claim meanwhile."""
    request_id = fact.origin.request_id
    issued = key.issued(request_id)
    if issued is None:
        if not _is_first_coming(key, head, request_id):
            key.outputs.append(Progressed(fact.origin, Step.LINK_REFUSED, key.now, attempt=fact.link_attempt))
    elif fact.link_attempt > issued.asked_attempt:
        key.put(ISSUED + request_id, replace(issued, asked_attempt=fact.link_attempt))
        key.line_up(issued.prepared, fact.link_attempt, issued.attempts)


def _link_over(key: LaunchState, _: Launching | None, fact: LinkOver) -> None:
    """Issue no further link of a request whose workflow has ended."""
    issued = key.issued(fact.request_id)
    if issued is not None and issued.workflow_id is not None:
        key.forget(ISSUED + fact.request_id, issued)


def _is_first_coming(key: LaunchState, head: Launching | None, request_id: str) -> bool:
    """Whether the first link of a request is on its way; a mail of unknown outcome may never have been sent."""
    if head is None:
        return False
    firsts = [
        *([] if head.phase in DOUBTFUL else [(head.prepared, head.link_attempt)]),
        *((part.prepared, part.link_attempt) for _, part in key.waiting(head)),
    ]
    return any(prepared.origin.request_id == request_id and number == 1 for prepared, number in firsts)


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
    if key.claimed_by(fact.workflow_id) is None:
        key.see(fact, Witness.WEBHOOK)


def _case_read(key: LaunchState, head: Launching | None, fact: CaseRead) -> None:
    """Take a workflow that a request's own case shows for one that showed itself there."""
    prepared = _prepared_of(key, head, fact.request_id)
    workflow_id = (fact.workflow_id or "").strip()
    if prepared is None or not workflow_id or key.claimed_by(workflow_id) is not None:
        return
    if is_witnessed(prepared, key.workflow_of(prepared)):
        status, at = fact.status or "", key.now
        seen = Observed(
            prepared.launch_key,
            workflow_id,
            prepared.record_id,
            prepared.case_id,
            status,
            received_at=at,
            observed_at=at,
            provider=prepared.origin.provider,
        )
        key.see(seen, Witness.POLL)


def _prepared_of(key: LaunchState, head: Launching | None, request_id: str) -> Prepared | None:
    active = head if head is not None and request_of(head) == request_id else None
    part = key.issued(request_id) or key.gave_up(request_id) or active
    return None if part is None else part.prepared


def _decided(key: LaunchState, head: Launching, fact: OperatorDecided) -> None:
    """Do what a person decided about a request whose run is unknown, if it still fits."""
    issued = key.issued(fact.request_id)
    if issued is not None:
        _decided_issued(key, issued, fact)
    elif (fact.request_id, fact.attempt) != (request_of(head), head.attempt):
        _refuse_decision(key, "the decision is about another request or attempt than the one that is open")
    elif fact.resolution is Resolution.NOT_EXECUTED:
        why = "a person found that the attempt was not executed"
        key.take_back(replace(head, why=why, failures=0, doubt_at=oldest_doubt(head)))
    elif fact.resolution is Resolution.GIVE_UP:
        key.give_up(head, Reason.GIVEN_UP, _GIVEN_UP)
    elif (run := _run_decided(key, fact)) is not None:
        key.start(head, run)


def _decided_else(key: LaunchState, _: Launching | None, fact: OperatorDecided) -> None:
    """Do what a person decided about a request whose end user has a link; no other run is unknown here."""
    issued = key.issued(fact.request_id)
    if issued is not None:
        _decided_issued(key, issued, fact)
    else:
        _refuse_decision(
            key, "no run is unknown here: the request has not been sent, its call is open, or it has ended"
        )


def _decided_issued(key: LaunchState, issued: Issued, fact: OperatorDecided) -> None:
    """Do what a person decided about a request whose end user has a link: whether it was used, or to give up."""
    head = key.head
    attempts = {issued.attempts, head.attempt} if head is not None and _is_link_of(head, fact) else {issued.attempts}
    if issued.workflow_id is not None:
        _refuse_decision(key, "the workflow of the request is known: it goes on by itself")
    elif fact.attempt not in attempts:
        _refuse_decision(key, "the decision is about another attempt than the last one of the request")
    elif fact.resolution is Resolution.NOT_EXECUTED:
        _refuse_decision(key, "the end user has a link, so nothing is called again; ask for one more link")
    elif fact.resolution is Resolution.GIVE_UP:
        key.end_issued(issued, Outcome.UNDETERMINED, Reason.GIVEN_UP, _GIVEN_UP)
    elif (run := _run_decided(key, fact)) is not None:
        key.start_issued(issued, run)


def _is_link_of(head: Launching, fact: OperatorDecided) -> bool:
    return head.link_attempt > 1 and request_of(head) == fact.request_id


def _run_decided(key: LaunchState, fact: OperatorDecided) -> Run | None:
    """Return the workflow that a person named; None, refused visibly, where it cannot be the run."""
    workflow_id = (fact.workflow_id or "").strip()
    if not workflow_id:
        _refuse_decision(key, "the decision that a workflow was started must name it")
    elif key.claimed_by(workflow_id) not in {None, fact.request_id}:
        _refuse_decision(key, "the workflow that the decision names belongs to another request")
    else:
        return Run(workflow_id, Witness.OPERATOR, None)
    return None


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
    elif isinstance(part, Issued) and part.workflow_id is None:
        _woken_issued(key, fact.part, part, part.timer)
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
            key.lose(replace(head, why="no answer came before the call's deadline"))
        case LaunchPhase.UNKNOWN | LaunchPhase.HELD if head.timer is not None and not head.timer.is_behind_evidence:
            _read_case(key, head)
        case LaunchPhase.CERTAIN if _is_unread(key, head):
            key.gather(head)
        case LaunchPhase.UNKNOWN | LaunchPhase.HELD | LaunchPhase.GATHERING | LaunchPhase.CERTAIN:
            _close_window(key, head)
        case _:
            assert_never(head.phase)


def _is_unread(key: LaunchState, head: Launching) -> bool:
    """Whether the timer of the head fired because it had waited too long, so that evidence may lie unread."""
    return head.timer is not None and key.now - head.timer.due_at >= key.policy.evidence_wait_ms


def _read_case(key: LaunchState, head: Launching) -> None:
    """Look into the case of a request whose run is unknown, and again later."""
    end = deadline_of(head.prepared)
    if head.phase is LaunchPhase.UNKNOWN and head.closes_at is not None:
        end = Timer(head.closes_at, is_behind_evidence=True)
    read = replace(head, reads=head.reads + 1)
    key.put(HEAD, replace(read, timer=key.read_case(read, end)))


def _woken_issued(key: LaunchState, name: str, issued: Issued, timer: Timer) -> None:
    """Look into the case of a request whose end user has a link; end it at its deadline."""
    if not timer.is_behind_evidence:
        read = replace(issued, reads=issued.reads + 1)
        key.put(name, replace(read, timer=key.read_case(read, deadline_of(issued.prepared))))
        return
    key.settle()
    left = key.issued(issued.prepared.origin.request_id)
    if left is not None:
        key.end_issued(left, Outcome.EXPIRED, Reason.DEADLINE_PASSED)


def _close_window(key: LaunchState, head: Launching) -> None:
    """Look at the candidates once more; then repeat the call, hold the request for a person, or give it up."""
    key.settle()
    unknown = key.head
    if unknown is None or request_of(unknown) != request_of(head) or unknown.phase not in DOUBTFUL:
        return
    if unknown.link_attempt > 1:
        key.refuse_link(unknown)
    elif key.is_past(unknown):
        message = "whether the workflow was started is not known: its call was not answered and no trace of it came"
        key.give_up(unknown, Reason.RUN_UNKNOWN, message)
    elif not _may_rerun(key, unknown):
        key.hold(unknown)
    elif unknown.phase is LaunchPhase.CERTAIN:
        key.rerun(unknown)
    else:
        key.gather(unknown)


def _may_rerun(key: LaunchState, unknown: Launching) -> bool:
    """Whether the catalogue wants it run again, and nothing shows that it ran: a candidate is for a person to judge."""
    workflow = key.workflow_of(unknown.prepared)
    is_wished = workflow is not None and workflow.unknown_policy is UnknownPolicy.RERUN
    return is_wished and unknown.reruns < key.policy.reruns_max and not key.candidates(request_of(unknown))


def _evidence_judged(key: LaunchState, head: Launching, fact: EvidenceJudged) -> None:
    """Read what completion saw, to the end that the input has after this, before the call is repeated."""
    if (fact.request_id, fact.attempt) == (request_of(head), head.attempt):
        key.enter(head, LaunchPhase.CERTAIN, Timer(key.now, is_behind_evidence=True))


def _resumed(key: LaunchState, head: Launching, fact: Resumed) -> None:
    """Ask again for the permit, the verdict or the evidence that died with the former owner."""
    if fact.part != HEAD:
        return
    if head.phase is LaunchPhase.GATHERING and not _may_rerun(key, head):
        key.hold(head)  # The catalogue has changed since: nobody may keep marks any more.
    else:
        key.ask()


def _ignored(_: LaunchState, __: Launching | None, ___: Fact) -> None:
    """Change nothing: the fact came too late to matter."""


# Kind of fact -> its rule in each phase, None for an idle key. A missing pair is a bug, never a silent no-op.
# fmt: off
_PHASES = (
    None,         LaunchPhase.READY, LaunchPhase.BACKING_OFF, LaunchPhase.SUSPECT,
    LaunchPhase.INTENT, LaunchPhase.UNKNOWN, LaunchPhase.HELD, LaunchPhase.GATHERING, LaunchPhase.CERTAIN,
)
_HEARD = (heard_idle, *(heard_unsent,) * 3, heard_open, *(heard_unknown,) * 4)
_ROWS: Mapping[type[Fact], tuple[Callable[..., None], ...]] = {
    Prepared:          (_arrived,) * 9,
    LinkAsked:         (_link_asked,) * 9,
    LinkOver:          (_link_over,) * 9,
    CustodyUnreadable: (_custody_unreadable,) * 9,
    Observed:          (_observed,) * 9,
    CaseRead:          (_case_read,) * 9,
    TimerFired:        (_woken,) * 9,
    PermitGranted:     (_ignored, _permitted, *(_ignored,) * 7),
    VerdictReached:    (*(_ignored,) * 3, _judged, *(_ignored,) * 5),
    EvidenceJudged:    (*(_ignored,) * 7, _evidence_judged, _ignored),
    Resumed:           (_ignored, _resumed, _ignored, _resumed, *(_ignored,) * 3, _resumed, _ignored),
    CallAnswered:      _HEARD,
    CallProved:        _HEARD,
    OperatorDecided:   (*(_decided_else,) * 5, *(_decided,) * 4),
}
# fmt: on
RULES: Mapping[tuple[LaunchPhase | None, type[Fact]], Callable[..., None]] = {
    (phase, fact): rule for fact, rules in _ROWS.items() for phase, rule in zip(_PHASES, rules, strict=True)
}
