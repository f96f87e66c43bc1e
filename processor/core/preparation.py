"""A request, from its arrival to prepared, not started or expired.

Rules:
- The state key is a lane: requests of one message key, one at a time, in the order in which they came.
- A request id is accepted once in a lane. The same id with the same content is a duplicate and changes nothing; with
  other content it is a conflict and goes to the dead letters, and the first one stands.
- Only creations are called here. They are harmless, so one whose outcome is unknown is repeated, slowly.
- A refusal ends a request only after the judge found it genuine; our own faults wait.
- An answer counts only for the request, operation and attempt whose call is open; every other one is late.
- The one that ends or is handed over makes room for the next in the same decision.
- A subject's record or case is made once and used again while it is young enough, where the catalogue says so. It is
  looked for when a request becomes active, so that the request before it has made it.
- The same request with a higher link attempt asks `launch` for one more link, once it was handed over.

Nothing here runs a workflow: that is `launch`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from processor.core.acceptance import bare_of, id_fault, origin_of, pending_of
from processor.core.catalogue import Catalogue, Mode
from processor.core.lane import Lane, known_name, needed, new_head
from processor.core.messages import (
    CallAnswered,
    DeadLettered,
    LinkAsked,
    Progressed,
    RequestArrived,
    Resumed,
    Step,
    TimerFired,
    VerdictReached,
)
from processor.core.model import (
    DAY_MS,
    SECOND_MS,
    Instant,
    OnboardingRequest,
    Origin,
    Outcome,
    Reason,
    Timer,
)
from processor.core.proof import Operation, Proof
from processor.core.rendering import Templates, compile_templates, content_digest
from processor.core.schedule import retry_ms
from processor.core.state import HEAD, Activity, Decision, KnownRequest, Part, PendingRequest, Preparing, waiting_name

_NO_FIRST = "one more link is asked for, and no request of this id came under this key before"

Fact: TypeAlias = RequestArrived | CallAnswered | VerdictReached | TimerFired | Resumed


@dataclass(frozen=True, slots=True)
class PreparationPolicy:
    """How long requests are known, and how patient we are."""

    deadline_ms: int = 7 * DAY_MS  # Of a request whose workflow nobody knows.
    memory_ms: int = 8 * DAY_MS  # A request id is known that long after its deadline.
    unknown_again_ms: int = 30 * SECOND_MS  # Least wait after a second unknown outcome: each may leave litter.


@dataclass(frozen=True, slots=True)
class Preparation:
    """Decides what the requests of one lane become."""

    catalogue: Catalogue
    policy: PreparationPolicy = field(default_factory=PreparationPolicy)
    templates: Mapping[str, Templates] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile the catalogue's templates; raises ValueError for a path that no request can have."""
        templates = {name: compile_templates(workflow) for name, workflow in self.catalogue.workflows.items()}
        object.__setattr__(self, "templates", templates)

    def decide(self, state: Mapping[str, Part], fact: Fact, now: Instant) -> Decision:
        """Fold one fact into one lane and say what must happen next."""
        lane = Lane(state, now)
        RULES[lane.head.activity if lane.head else None, type(fact)](self, lane, fact)
        return lane.decision()


def _arrived(preparation: Preparation, lane: Lane, fact: RequestArrived) -> None:
    """Accept a request once, and say at once what can be said of it."""
    request = fact.request
    fault = id_fault(request.request_id)
    content = content_digest(request) if fault is None else None
    if content is None:
        lane.outputs.append(DeadLettered("invalid", fault or "a value is nested too deeply"))
        return
    name = known_name(request.request_id)
    known = lane.state.get(name)
    if isinstance(known, KnownRequest):
        _repeated(preparation, lane, fact, known, content)
        return
    if request.link_attempt > 1:
        lane.outputs.append(DeadLettered("link-of-unknown-request", _NO_FIRST))
        return
    origin = origin_of(fact, preparation.catalogue, preparation.policy.deadline_ms, lane.now)
    forget_at = max(origin.deadline_at, lane.now) + preparation.policy.memory_ms
    lane.changes[name] = KnownRequest(content, Timer(forget_at))
    _accept(preparation, lane, request, origin)


def _repeated(preparation: Preparation, lane: Lane, fact: RequestArrived, known: KnownRequest, content: bytes) -> None:
    """Tell a duplicate, a conflict and the wish for one more link from each other."""
    request = fact.request
    if known.digest != content:
        lane.outputs.append(DeadLettered("conflict", "a request of this id said something else; the first stands"))
    elif request.link_attempt > 1:
        workflow = preparation.catalogue.find(request.workflow)
        if workflow is None or workflow.mode is Mode.RUN:
            lane.outputs.append(DeadLettered("no-link-mode", "the workflow issues neither links nor tokens"))
        elif known.launch_key is not None and request.link_attempt > known.link_attempt:
            name = known_name(request.request_id)
            lane.changes[name] = replace(known, link_attempt=request.link_attempt)
            origin = origin_of(fact, preparation.catalogue, preparation.policy.deadline_ms, lane.now)
            lane.outputs.append(LinkAsked(known.launch_key, origin, request.link_attempt, lane.now))


def _accept(preparation: Preparation, lane: Lane, request: OnboardingRequest, origin: Origin) -> None:
    workflow = preparation.catalogue.find(request.workflow)
    if workflow is None:
        bare = bare_of(origin, request.record_id, request.case_id)
        lane.finish(bare, Outcome.NOT_STARTED, Reason.UNKNOWN_WORKFLOW, "the catalogue has no workflow of that name")
        return
    pending, fault = pending_of(workflow, preparation.templates[request.workflow], request, origin)
    if fault is not None:
        lane.finish(pending, Outcome.NOT_STARTED, Reason.INVALID_REQUEST, fault)
    elif lane.now >= origin.deadline_at:
        lane.expire(pending)
    else:
        lane.outputs.append(Progressed(origin, Step.ACCEPTED, lane.now))
        _line_up(lane, pending)


def _line_up(lane: Lane, request: PendingRequest) -> None:
    """Begin with a request where its lane is free, else let it wait."""
    head = lane.head
    if head is not None:
        waiting = replace(request, timer=Timer(request.origin.deadline_at))
        lane.changes[waiting_name(head.waiting_next)] = waiting
        lane.changes[HEAD] = replace(head, waiting_next=head.waiting_next + 1)
        return
    request = lane.with_subject(request)
    operation = needed(request)
    if operation is None:
        lane.hand_over(request, None)
    else:
        lane.create(new_head(request, operation, 0, 0))


def _answered(preparation: Preparation, lane: Lane, fact: CallAnswered) -> None:
    """Go on with what the open call made, or do what its failure demands."""
    head = lane.head
    if head is None or not _is_answer_to(head, fact):
        return
    head = replace(head, why=fact.why)
    if fact.proof is Proof.DONE and fact.made_id:
        _made(lane, head, fact.made_id)
    elif fact.proof is Proof.REFUSED:
        lane.judge(head)
    elif fact.proof is Proof.OUR_FAULT:
        lane.create(head)  # The gate holds it until the fault is mended.
    else:
        is_unknown = fact.proof not in (Proof.NOT_SENT, Proof.WAIT)
        least_ms = preparation.policy.unknown_again_ms if is_unknown and head.attempt > 1 else 0
        seed = f"{head.request.origin.request_id}/{head.operation}"
        lane.back_off(head, retry_ms(head.attempt, seed=seed, asked_ms=fact.wait_ms, least_ms=least_ms))


def _made(lane: Lane, head: Preparing, made_id: str) -> None:
    """Keep the id that was made and go on with the next operation, or hand over."""
    request, parameters_id = head.request, head.parameters_id
    match head.operation:
        case Operation.CREATE_RECORD:
            request = replace(request, record_id=made_id, record_body=None, is_own=True)
            lane.made(request)
        case Operation.CREATE_CASE:
            request = replace(request, case_id=made_id, case_body=None, is_own=True)
            lane.made(request)
        case _:
            request, parameters_id = replace(request, parameters_body=None), made_id
    operation = needed(request)
    if operation is not None:
        lane.create(replace(head, request=request, operation=operation, parameters_id=parameters_id))
        return
    lane.hand_over(request, parameters_id)
    lane.advance(head.waiting_first, head.waiting_next)


def _judged(_: Preparation, lane: Lane, fact: VerdictReached) -> None:
    """End a request whose refusal is genuine; one that met our own fault tries again."""
    head = lane.head
    if head is None or (fact.request_id, fact.attempt) != (head.request.origin.request_id, head.attempt):
        return
    if fact.is_our_fault:
        lane.create(head)
        return
    lane.finish(head.request, Outcome.NOT_STARTED, Reason.REFUSED_BY_PROVIDER, head.why, head.attempt)
    lane.advance(head.waiting_first, head.waiting_next)


def _woken(_: Preparation, lane: Lane, fact: TimerFired) -> None:
    """Forget an id or a subject, expire a request, or repeat a call after its back-off."""
    if fact.part == HEAD:
        _woken_head(lane)
        return
    part = lane.state.get(fact.part)
    if part is None or part.timer is None or part.timer.due_at != fact.due_at:
        return  # It was made anew meanwhile, as a subject's case is when the old one is too old.
    lane.changes[fact.part] = None
    if isinstance(part, PendingRequest):
        lane.expire(part)


def _woken_head(lane: Lane) -> None:
    head = lane.head
    if head is None:
        return
    if lane.now >= head.request.origin.deadline_at:
        lane.expire(head.request, head.attempt)
        lane.advance(head.waiting_first, head.waiting_next)
    elif head.activity is Activity.BACKING_OFF:
        lane.create(head)


def _resumed(_: Preparation, lane: Lane, __: Resumed) -> None:
    """Call again what the former owner had open; its answer, should it exist, never reaches us."""
    if lane.head is not None and lane.head.activity is Activity.CREATING:
        lane.create(lane.head)
    elif lane.head is not None and lane.head.activity is Activity.SUSPECT:
        lane.judge(lane.head)


def _ignored(_: Preparation, __: Lane, ___: Fact) -> None:
    """Change nothing: the fact came too late to matter."""


# (what the head of the lane is doing, kind of fact) -> rule. A missing pair is a bug, never a silent no-op.
RULES: Mapping[tuple[Activity | None, type[Fact]], Callable[..., None]] = {
    (None, RequestArrived): _arrived,
    (None, CallAnswered): _ignored,
    (None, VerdictReached): _ignored,
    (None, TimerFired): _woken,
    (None, Resumed): _ignored,
    (Activity.CREATING, RequestArrived): _arrived,
    (Activity.CREATING, CallAnswered): _answered,
    (Activity.CREATING, VerdictReached): _ignored,
    (Activity.CREATING, TimerFired): _woken,
    (Activity.CREATING, Resumed): _resumed,
    (Activity.BACKING_OFF, RequestArrived): _arrived,
    (Activity.BACKING_OFF, CallAnswered): _ignored,
    (Activity.BACKING_OFF, VerdictReached): _ignored,
    (Activity.BACKING_OFF, TimerFired): _woken,
    (Activity.BACKING_OFF, Resumed): _ignored,
    (Activity.SUSPECT, RequestArrived): _arrived,
    (Activity.SUSPECT, CallAnswered): _ignored,
    (Activity.SUSPECT, VerdictReached): _judged,
    (Activity.SUSPECT, TimerFired): _woken,
    (Activity.SUSPECT, Resumed): _resumed,
}


def _is_answer_to(head: Preparing, fact: CallAnswered) -> bool:
    open_call = (head.request.origin.request_id, head.operation, head.attempt)
    return (fact.request_id, fact.operation, fact.attempt) == open_call
