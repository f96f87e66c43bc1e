"""A launch key under test: its state as a dictionary, and an engine small enough to be seen through."""

from collections.abc import Mapping
from dataclasses import replace

from processor.core.catalogue import Adoption, Catalogue, Mode, RecordTemplate, UnknownPolicy, Workflow
from processor.core.launch import Fact, Launch
from processor.core.launch_parts import LaunchPolicy
from processor.core.messages import (
    AwaitEvidence,
    Call,
    CallAnswered,
    CallProved,
    EvidenceJudged,
    Finished,
    Judge,
    LinkAsked,
    LinkIssued,
    Observed,
    OperatorDecided,
    Output,
    PermitGranted,
    Prepared,
    Progressed,
    ReadCase,
    Replaced,
    Resolution,
    Started,
    StartWorkflow,
    Step,
    TimerFired,
)
from processor.core.model import DAY_MS, MINUTE_MS, SECOND_MS, ApiVersion, Instant, Origin, StartInputs, Timer, Witness
from processor.core.proof import Operation, Proof
from processor.core.state import Decision, Issued, Launching, LaunchPhase, Part

T = 1_000_000_000_000  # When the request was prepared.
DEADLINE = T + 7 * DAY_MS
WINDOW = 15 * MINUTE_MS
RECORD = "7c8c1b52-0000-4000-8000-00000000000a"
W1 = "9e8d7c6b-0000-4000-8000-0000000000e1"
W2 = "9e8d7c6b-0000-4000-8000-0000000000e2"
CHECK = "person-check"
BUDGET = "default/person-check"
UNADOPTED = "blind-check"
AGAIN = "again-check"  # Repeats a run of unknown outcome.
LINKED, TOKENED, MAILED = "link-check", "token-check", "mail-check"
NEWEST = "newest-check"  # Of several links for one record only the newest can have been used.
EXCLUSIVE = "exclusive-check"
BY_REFERENCE = "reference-check"
CASED, CASED_LINK = "case-check", "case-link-check"  # Version 1, with the case as a witness.
POLICY = LaunchPolicy()
WORKFLOWS = (
    Workflow(CHECK, "definition-1", record=RecordTemplate("people", {})),
    Workflow(UNADOPTED, "definition-2", adoption=Adoption.NONE),
    Workflow(AGAIN, "definition-3", unknown_policy=UnknownPolicy.RERUN),
    Workflow(LINKED, "definition-4", mode=Mode.LINK),
    Workflow(TOKENED, "definition-4", mode=Mode.TOKEN),
    Workflow(MAILED, "definition-4", mode=Mode.LINK_SEND),
    Workflow(NEWEST, "definition-5", mode=Mode.LINK, is_newest_link=True),
    Workflow(EXCLUSIVE, "definition-6", is_exclusive=True),
    Workflow(BY_REFERENCE, "definition-7", adoption=Adoption.PARAMETERS),
    Workflow(CASED, "definition-8", api=ApiVersion.CASES, case_workflow_path="workflowId"),
    Workflow(CASED_LINK, "definition-8", api=ApiVersion.CASES, mode=Mode.LINK, case_workflow_path="workflowId"),
)
LAUNCH = Launch(Catalogue({workflow.name: workflow for workflow in WORKFLOWS}), POLICY)


def prepared(
    request_id: str = "A",
    *,
    is_own: bool = True,
    deadline_at: Instant = DEADLINE,
    name: str = CHECK,
    api: ApiVersion = ApiVersion.RECORDS,
) -> Prepared:
    """Return custody of a request whose record is made, or whose case is in version 1."""
    origin = Origin(
        request_id=request_id,
        workflow=name,
        key=b"k",
        results_topic="onboarding.results",
        requested_at=T - 10,
        accepted_at=T - 5,
        deadline_at=deadline_at,
        api=api,
    )
    record_id, case_id = (None, RECORD) if api is ApiVersion.CASES else (RECORD, None)
    inputs = StartInputs(email="ada@example.test") if name == MAILED and api is ApiVersion.RECORDS else None
    return Prepared(origin, RECORD, record_id, case_id, is_own, "parameters-1", T, inputs)


def answered(proof: Proof, made_id: str | None = None, *, attempt: int = 1, request_id: str = "A") -> CallAnswered:
    """Return the answer of a run."""
    status = "RUNNING" if made_id else None
    return CallAnswered(Operation.RUN, attempt, proof, made_id, status, None, f"said {proof}", request_id)


def linked(
    proof: Proof = Proof.DONE, *, link: str | None = "https://link", attempt: int = 1, request_id: str = "A"
) -> CallAnswered:
    """Return the answer of a call for a link."""
    link = link if proof is Proof.DONE else None
    why = f"said {proof}"
    return CallAnswered(Operation.ISSUE_LINK, attempt, proof, None, None, None, why, request_id, link, None, MINUTE_MS)


def mailed(proof: Proof = Proof.DONE, *, attempt: int = 1, request_id: str = "A") -> CallAnswered:
    """Return the answer of a call to mail a link; the provider tells the link too."""
    link = "https://link" if proof is Proof.DONE else None
    return CallAnswered(Operation.SEND_LINK, attempt, proof, None, None, None, f"said {proof}", request_id, link)


def ran(workflow_id: str = W1, *, link: str | None = "https://link", attempt: int = 1) -> CallAnswered:
    """Return the answer of a run in version 3 that an end user takes part in."""
    return replace(answered(Proof.DONE, workflow_id, attempt=attempt), link=link, token=link and "token")


def asked(number: int = 2, request_id: str = "A", *, name: str = LINKED) -> LinkAsked:
    """Return the wish for one more link."""
    return LinkAsked(RECORD, prepared(request_id, name=name).origin, number, T)


def proved(proof: Proof, made_id: str | None = None, *, attempt: int = 1, request_id: str = "A") -> CallProved:
    """Return what a former owner's call proved."""
    status = "RUNNING" if made_id else None
    return CallProved(RECORD, request_id, attempt, proof, made_id, status, f"said {proof}", T)


def observed(workflow_id: str = W1, *, at: Instant = T + 5 * SECOND_MS, names: str | None = None) -> Observed:
    """Return an observation of a workflow on the record, its first webhook received at an instant."""
    return Observed(RECORD, workflow_id, RECORD.upper(), None, "RUNNING", at, at + 11 * SECOND_MS, names)


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
        self.calls: list[Call] = []
        self.wants: str | None = None
        self.open_attempt: int | None = None  # The call that is out; it dies with its owner.
        self.runs_at_trace: int | None = None  # How many runs were called when the first trace of one came.
        self.left: set[str] = set()  # Requests whose custody passed on, or whose result is out.
        self.owed: list[int] = []  # Links that were asked for of a request that has one.

    def view(self) -> Mapping[str, Part]:
        """Return the state as the decider sees it."""
        return self.state

    def copy(self) -> "Key":
        """Return the same key, to go another way from here."""
        other = Key(self.launch)
        other.state, other.now = dict(self.state), self.now
        other.wants, other.open_attempt = self.wants, self.open_attempt
        other.runs_at_trace = self.runs_at_trace
        other.left, other.owed = set(self.left), list(self.owed)
        other.outputs, other.calls = list(self.outputs), list(self.calls)
        return other

    def tell(self, *facts: Fact, at: Instant | None = None) -> Decision:
        """Fold facts in, at an instant; return what was decided about the last one."""
        self.now = self.now if at is None else at
        decision = Decision()
        for fact in facts:
            before = self.head
            issued = self.issued(fact.origin.request_id) if isinstance(fact, LinkAsked) else None
            if isinstance(fact, LinkAsked) and issued is not None and fact.link_attempt > issued.asked_attempt:
                self.owed.append(fact.link_attempt)
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
        """Request and attempt of every start that was called."""
        return [(call.request_id, call.attempt) for call in self.calls if isinstance(call, StartWorkflow)]

    def ends(self, request_id: str = "A") -> list[Finished | Started]:
        """Return results and custody that left the key for a request; not what took the place of a workflow."""
        ends = (output for output in self.outputs if isinstance(output, Finished | Started))
        return [end for end in ends if end.origin.request_id == request_id]

    def links(self, request_id: str = "A") -> list[int]:
        """Return the numbers of the links of a request that were issued; one that was refused is below zero."""
        found = []
        for output in self.outputs:
            if isinstance(output, LinkIssued) and output.origin.request_id == request_id:
                found.append(output.link_attempt)
            elif isinstance(output, Progressed) and output.step is Step.LINK_REFUSED:
                assert output.attempt is not None
                found += [-output.attempt] if output.origin.request_id == request_id else []
        return found

    def replaced(self) -> list[tuple[str, str]]:
        """Return the workflows that gave way, each with the newer one."""
        return [(out.workflow_id, out.started.workflow_id) for out in self.outputs if isinstance(out, Replaced)]

    def issued(self, request_id: str = "A") -> Issued | None:
        """Return a request whose end user has a link."""
        part = self.state.get(f"issued/{request_id}")
        assert part is None or isinstance(part, Issued)
        return part

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
        for output in decision.outputs:
            if isinstance(output, Finished | Started):
                self.left.add(output.origin.request_id)
            elif isinstance(output, LinkIssued) and output.origin.api is not ApiVersion.TABLES:
                assert output.origin.request_id not in self.left, "a link of a request that has left"
        for call in decision.calls:
            if isinstance(call, StartWorkflow) and call.api is not ApiVersion.TABLES:
                assert call.request_id not in self.left, "a call for a request that has left"
            assert isinstance(call, StartWorkflow | Judge | AwaitEvidence | ReadCase)
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
        assert len(decision.calls) + (decision.wants_permit is not None) <= 1, "a key has one call open at a time"
        if decision.wants_permit is not None:
            assert head is not None
            budget = f"{head.prepared.origin.provider}/{head.prepared.origin.workflow}"
            assert (head.phase, budget) == (LaunchPhase.READY, decision.wants_permit)
        if head is not None:
            assert head.timer is not None, "a head without a timer could wait for ever"
            assert head.is_waiting is (head.phase in {LaunchPhase.READY, LaunchPhase.SUSPECT, LaunchPhase.GATHERING})
            assert (head.intent_at is None) or head.phase not in {LaunchPhase.READY, LaunchPhase.SUSPECT}
            if head.link_attempt > 1 and head.phase is not LaunchPhase.INTENT:
                assert self.issued(head.prepared.origin.request_id) is not None, "one more link of nothing"
        elif any(name.startswith("w/") for name in self.state):
            raise AssertionError("requests wait for nobody")
        claims = [name for name in self.state if name.startswith(("gave/", "issued/"))]
        assert all(self.state[name].timer is not None for name in claims), "a claim that would never end"
        if any(name.startswith("seen/") for name in self.state) and not claims:
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
    call = key.calls[-1]
    assert isinstance(call, StartWorkflow)
    answer = replace(answered(Proof.UNKNOWN, request_id=request_id), operation=call.operation)
    key.tell(answer, at=T + 20 * SECOND_MS)
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


def gathering() -> Key:
    """Return a key whose request is to be run again once all evidence is judged."""
    key = unknown(prepared(name=AGAIN))
    key.wake()
    return key


def certain() -> Key:
    """Return a key for which all evidence is judged, and on its way."""
    key = gathering()
    key.tell(EvidenceJudged("A", 1), at=key.now + 3 * MINUTE_MS)
    return key


def issued(request: Prepared | None = None) -> Key:
    """Return a key whose request's end user has a link."""
    request = request or prepared(name=LINKED)
    key = sent(request)
    key.tell(linked(request_id=request.origin.request_id), at=T + SECOND_MS)
    return key


def doubted() -> Key:
    """Return a key whose first attempt a person called not executed; it wants a permit for the second."""
    key = held()
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
        case LaunchPhase.GATHERING | LaunchPhase.CERTAIN:
            key = gathering() if phase is LaunchPhase.GATHERING else certain()
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
