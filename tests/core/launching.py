"""A launch key under test: its state as a dictionary, and an engine small enough to be seen through."""

from collections.abc import Mapping
from dataclasses import replace

from processor.core.catalogue import Adoption, Catalogue, RecordTemplate, Workflow
from processor.core.launch import Fact, Launch
from processor.core.launch_parts import LaunchPolicy
from processor.core.messages import (
    CallAnswered,
    CallProved,
    Finished,
    Judge,
    Observed,
    OperatorDecided,
    Output,
    PermitGranted,
    Prepared,
    Resolution,
    Started,
    StartWorkflow,
    TimerFired,
)
from processor.core.model import DAY_MS, MINUTE_MS, SECOND_MS, Instant, Origin, Timer, Witness
from processor.core.proof import Operation, Proof
from processor.core.state import Decision, Launching, LaunchPhase, Part

T = 1_000_000_000_000  # When the request was prepared.
DEADLINE = T + 7 * DAY_MS
WINDOW = 15 * MINUTE_MS
RECORD = "7c8c1b52-0000-4000-8000-00000000000a"
W1 = "9e8d7c6b-0000-4000-8000-0000000000e1"
W2 = "9e8d7c6b-0000-4000-8000-0000000000e2"
CHECK = "person-check"
BUDGET = "default/person-check"
UNADOPTED = "blind-check"
POLICY = LaunchPolicy()
LAUNCH = Launch(
    Catalogue(
        {
            CHECK: Workflow(CHECK, "definition-1", record=RecordTemplate("people", {})),
            UNADOPTED: Workflow(UNADOPTED, "definition-2", adoption=Adoption.NONE),
        }
    ),
    POLICY,
)


def prepared(
    request_id: str = "A", *, is_own: bool = True, deadline_at: Instant = DEADLINE, name: str = CHECK
) -> Prepared:
    """Return custody of a request whose record is made."""
    origin = Origin(
        request_id=request_id,
        workflow=name,
        key=b"k",
        results_topic="onboarding.results",
        requested_at=T - 10,
        accepted_at=T - 5,
        deadline_at=deadline_at,
    )
    return Prepared(origin, RECORD, RECORD, None, is_own, "parameters-1", T)


def answered(proof: Proof, made_id: str | None = None, *, attempt: int = 1, request_id: str = "A") -> CallAnswered:
    """Return the answer of a run."""
    status = "RUNNING" if made_id else None
    return CallAnswered(Operation.RUN, attempt, proof, made_id, status, None, f"said {proof}", request_id)


def proved(proof: Proof, made_id: str | None = None, *, attempt: int = 1, request_id: str = "A") -> CallProved:
    """Return what a former owner's call proved."""
    status = "RUNNING" if made_id else None
    return CallProved(RECORD, request_id, attempt, proof, made_id, status, f"said {proof}", T)


def observed(workflow_id: str = W1, *, at: Instant = T + 5 * SECOND_MS) -> Observed:
    """Return an observation of a workflow on the record, its first webhook received at an instant."""
    return Observed(RECORD, workflow_id, RECORD.upper(), None, "RUNNING", at, at + 11 * SECOND_MS)


def decided(
    resolution: Resolution, workflow_id: str | None = None, *, attempt: int = 1, request_id: str = "A"
) -> OperatorDecided:
    """Return a person's decision."""
    return OperatorDecided(RECORD, "decision-1", request_id, attempt, resolution, workflow_id, T)


class Key:
    """One launch key: folds facts in, applies decisions, and keeps what they said."""

    def __init__(self, launch: Launch = LAUNCH) -> None:
        self.launch = launch
        self.state: dict[str, Part] = {}
        self.now = T
        self.outputs: list[Output] = []
        self.calls: list[StartWorkflow | Judge] = []
        self.wants: str | None = None
        self.open_attempt: int | None = None  # The call that is out; it dies with its owner.
        self.runs_at_trace: int | None = None  # How many runs were called when the first trace of one came.

    def view(self) -> Mapping[str, Part]:
        """Return the state as the decider sees it."""
        return self.state

    def copy(self) -> "Key":
        """Return the same key, to go another way from here."""
        other = Key(self.launch)
        other.state, other.now = dict(self.state), self.now
        other.wants, other.open_attempt = self.wants, self.open_attempt
        other.runs_at_trace = self.runs_at_trace
        other.outputs, other.calls = list(self.outputs), list(self.calls)
        return other

    def tell(self, *facts: Fact, at: Instant | None = None) -> Decision:
        """Fold facts in, at an instant; return what was decided about the last one."""
        self.now = self.now if at is None else at
        decision = Decision()
        for fact in facts:
            before = self.head
            decision = self.launch.decide(self.view(), fact, self.now)
            self._apply(decision)
            self._check(before, decision)
        return decision

    def trace(self, fact: Fact) -> None:
        """Let a trace of a run come: none may be called from here on."""
        self.runs_at_trace = len(self.runs) if self.runs_at_trace is None else self.runs_at_trace
        self.tell(fact)

    def permit(self, at: Instant | None = None) -> Decision:
        """Grant the permit that is wanted."""
        assert self.wants is not None, "nobody wants a permit"
        self.wants = None
        self.now = self.now if at is None else at
        return self.tell(PermitGranted(self.now + MINUTE_MS))

    def wake(self, part: str = "head") -> Decision:
        """Let the time come that a part waits for."""
        timer = self.state[part].timer
        assert timer is not None, "the part has no timer"
        return self.tell(TimerFired(part, timer.due_at), at=max(self.now, timer.due_at))

    def pass_time(self, until: Instant) -> None:
        """Fire every timer that is due until an instant, the earliest first."""
        while due := sorted((p.timer.due_at, name) for name, p in self.state.items() if p.timer is not None):
            if due[0][0] > until:
                break
            self.wake(due[0][1])
        self.now = max(self.now, until)

    @property
    def head(self) -> Launching | None:
        """The active request."""
        head = self.state.get("head")
        assert head is None or isinstance(head, Launching)
        return head

    @property
    def phase(self) -> LaunchPhase | None:
        """Where the active request stands."""
        return self.head.phase if self.head else None

    @property
    def runs(self) -> list[tuple[str, int]]:
        """Request and attempt of every run that was called."""
        return [(call.request_id, call.attempt) for call in self.calls if isinstance(call, StartWorkflow)]

    def ends(self, request_id: str = "A") -> list[Finished | Started]:
        """Return results and custody that left the key for a request."""
        ends = (output for output in self.outputs if isinstance(output, Finished | Started))
        return [end for end in ends if end.origin.request_id == request_id]

    def parts(self) -> Mapping[str, Part]:
        """Return the state without the marks of requests that came, which every key has."""
        return {name: part for name, part in self.state.items() if not name.startswith("request/")}

    def _apply(self, decision: Decision) -> None:
        for name, part in decision.changes.items():
            if part is None:
                del self.state[name]  # Deleting what is not there would be a record for nothing.
            else:
                self.state[name] = part
        self.outputs += decision.outputs
        for call in decision.calls:
            assert isinstance(call, StartWorkflow | Judge)
            self.calls.append(call)
            self.open_attempt = call.attempt if isinstance(call, StartWorkflow) else self.open_attempt
        self.wants = decision.wants_permit or self.wants

    def _check(self, before: Launching | None, decision: Decision) -> None:
        """Check what holds after every decision."""
        head = self.head
        runs = [call for call in decision.calls if isinstance(call, StartWorkflow)]
        if runs:
            assert before is not None
            assert head is not None
            assert before.phase is LaunchPhase.READY
            assert (head.phase, [head.attempt]) == (LaunchPhase.INTENT, [run.attempt for run in runs])
            assert head.attempt == before.attempt + 1
        if decision.wants_permit is not None:
            assert head is not None
            assert (head.phase, f"default/{head.prepared.origin.workflow}") == (
                LaunchPhase.READY,
                decision.wants_permit,
            )
        if head is not None:
            assert head.timer is not None, "a head without a timer could wait for ever"
            assert head.is_waiting is (head.phase in {LaunchPhase.READY, LaunchPhase.SUSPECT})
            assert (head.intent_at is None) or head.phase not in {LaunchPhase.READY, LaunchPhase.SUSPECT}
        elif any(name.startswith("w/") for name in self.state):
            raise AssertionError("requests wait for nobody")
        if any(name.startswith("seen/") for name in self.state) and not any(n.startswith("gave/") for n in self.state):
            assert head is not None
            assert head.has_candidates


def sent(request: Prepared | None = None) -> Key:
    """Return a key whose request has its call open."""
    key = Key()
    key.tell(request or prepared())
    key.permit()
    return key


def unknown(request: Prepared | None = None) -> Key:
    """Return a key whose request's call has an unknown outcome."""
    key = sent(request)
    request_id = (request or prepared()).origin.request_id
    key.tell(answered(Proof.UNKNOWN, request_id=request_id), at=T + 20 * SECOND_MS)
    return key


def held(request: Prepared | None = None) -> Key:
    """Return a key whose request is held."""
    key = unknown(request)
    key.wake()
    return key


def given_up(request: Prepared | None = None) -> Key:
    """Return a key whose request ended without its run being known."""
    key = held(request)
    key.wake()
    return key


def doubted(request: Prepared | None = None) -> Key:
    """Return a key whose first attempt a person called not executed; it wants a permit for the second."""
    key = held(request)
    key.tell(decided(Resolution.NOT_EXECUTED))
    return key


def second_sent() -> Key:
    """Return a key whose second attempt is open while the first one is in doubt."""
    key = doubted()
    key.permit()
    return key


def in_phase(phase: LaunchPhase) -> Key:
    """Return a key whose request is in that phase."""
    key = sent()
    match phase:
        case LaunchPhase.READY:
            key = Key()
            key.tell(prepared())
        case LaunchPhase.BACKING_OFF:
            key.tell(answered(Proof.NOT_SENT))
        case LaunchPhase.SUSPECT:
            key.tell(answered(Proof.REFUSED))
        case LaunchPhase.UNKNOWN | LaunchPhase.HELD:
            key = unknown() if phase is LaunchPhase.UNKNOWN else held()
        case _:
            pass
    assert key.phase is phase
    return key


READY = Launching(
    prepared=prepared(),
    phase=LaunchPhase.READY,
    attempt=0,
    failures=0,
    intent_at=None,
    send_before=None,
    call_deadline_at=None,
    is_past_deadline=False,
    why="",
    waiting_first=0,
    waiting_next=0,
    timer=Timer(DEADLINE, is_behind_evidence=True),
    is_waiting=True,
)
INTENT = replace(
    READY,
    phase=LaunchPhase.INTENT,
    attempt=1,
    intent_at=T,
    send_before=T + 5 * SECOND_MS,
    call_deadline_at=T + 35 * SECOND_MS,
    timer=Timer(T + 45 * SECOND_MS),
    is_waiting=False,
)
NEVER_EXECUTED = (Proof.NOT_SENT, Proof.WAIT, Proof.OUR_FAULT, Proof.REFUSED)
FORGOTTEN = Timer(DEADLINE + 9 * DAY_MS, is_behind_evidence=True)
ADOPTED = Started(prepared().origin, W1, RECORD, None, "RUNNING", T, Witness.WEBHOOK, attempts=1, revision=1)
AFTER = DEADLINE + 60 * DAY_MS
