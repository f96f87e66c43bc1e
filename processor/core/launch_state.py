"""A launch key while one decision is made: what is known of it, and what was decided so far.

A permit or a verdict that the head asks for follows from its phase and is said once a decision, whatever happened on
the way to it. The run is called in one place only: where its intent is written.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from processor.core.adoption import Claim, adoption, claim_of_gave_up, claim_of_head, fitting, is_fitting
from processor.core.catalogue import Catalogue
from processor.core.keys import budget_of, canonical_id
from processor.core.launch_parts import (
    GAVE,
    HEAD,
    KNOWN,
    REQUEST,
    SEEN,
    LaunchPolicy,
    Run,
    custody,
    deadline_of,
    known_name,
    new_head,
    request_of,
    run_call,
    seen_name,
    since_of,
    waiting_name,
)
from processor.core.messages import Call, Judge, Observed, Output, Progressed, StartWorkflow, Step
from processor.core.model import Instant, Outcome, Reason, Timer, Witness
from processor.core.proof import Operation
from processor.core.results import finished_launching, finished_prepared
from processor.core.state import (
    Candidate,
    Decision,
    GaveUp,
    KnownRequest,
    KnownWorkflow,
    Launching,
    LaunchPhase,
    Part,
    WaitingLaunch,
)

_UNSENT = frozenset({LaunchPhase.READY, LaunchPhase.BACKING_OFF, LaunchPhase.SUSPECT})
_TOO_LATE = "the deadline passed before the workflow was started"


class LaunchState:
    """One decision under way."""

    __slots__ = (
        "_asks",
        "_catalogue",
        "_names",
        "_policy",
        "_run",
        "_state",
        "changes",
        "is_unsettled",
        "now",
        "outputs",
    )

    def __init__(self, state: Mapping[str, Part], catalogue: Catalogue, policy: LaunchPolicy, now: Instant) -> None:
        self._state = state
        self._catalogue = catalogue
        self._policy = policy
        self.now = now
        self.changes: dict[str, Part | None] = {}
        self.outputs: list[Output] = []
        self.is_unsettled = False  # Whether somebody may adopt, or candidates may have lost their last claim.
        self._names: tuple[str, ...] | None = None
        self._asks = False
        self._run: StartWorkflow | None = None

    def decision(self) -> Decision:
        """Return what was decided."""
        if self.is_unsettled:
            self.settle()
        head = self.head if self._asks else None
        wants = None
        if head is not None and head.phase is LaunchPhase.READY:
            wants = budget_of(head.prepared.origin.provider, head.prepared.origin.workflow)
        return Decision(self.changes, self._calls(head), tuple(self.outputs), wants)

    def _calls(self, head: Launching | None) -> tuple[Call, ...]:
        if self._run is not None:
            return (self._run,)
        if head is None or head.phase is not LaunchPhase.SUSPECT:
            return ()
        origin = head.prepared.origin
        return (Judge(Operation.RUN, origin.workflow, origin.request_id, head.attempt),)

    def get(self, name: str) -> Part | None:
        """Return a part as this decision leaves it so far."""
        return self.changes[name] if name in self.changes else self._state.get(name)

    def put(self, name: str, part: Part | None) -> None:
        """Write a part, or delete it."""
        if part is None and self._state.get(name) is None:
            self.changes.pop(name, None)
        else:
            self.changes[name] = part

    @property
    def head(self) -> Launching | None:
        """The active request, None when the key is idle."""
        part = self.get(HEAD)
        assert part is None or isinstance(part, Launching), "the head of a launch key is of another decider"
        return part

    def has_come(self, request_id: str) -> bool:
        """Whether a request has come to this key before, whatever became of it."""
        return self.get(REQUEST + request_id) is not None

    def remember(self, request_id: str, deadline_at: Instant) -> None:
        """Never take this request again, until nobody publishes it any more."""
        self.put(REQUEST + request_id, KnownRequest(b"", self._forgetting(deadline_at)))

    def claimed_by(self, workflow_id: str) -> str | None:
        """Return the request that claimed a workflow, None when none did."""
        part = self.get(known_name(workflow_id))
        return part.request_id if isinstance(part, KnownWorkflow) else None

    def know(self, workflow_id: str, request_id: str, deadline_at: Instant) -> None:
        """Keep a workflow from ever being adopted by another request; the first claim stands."""
        if self.claimed_by(workflow_id) is None:
            self.put(known_name(workflow_id), KnownWorkflow(request_id, self._forgetting(deadline_at)))

    def _claimed_ids(self, request_id: str) -> tuple[str, ...]:
        return tuple(
            name.removeprefix(KNOWN)
            for name, part in self._named(KNOWN)
            if isinstance(part, KnownWorkflow) and part.request_id == request_id
        )

    def _named(self, prefix: str) -> Iterator[tuple[str, Part]]:
        """Return all parts whose name starts so, in order; costs a search, so never on the normal path."""
        if self._names is None:
            self._names = tuple(self._state)
        for name in sorted({name for name in (*self._names, *self.changes) if name.startswith(prefix)}):
            part = self.get(name)
            if part is not None:
                yield name, part

    def _forgetting(self, deadline_at: Instant) -> Timer:
        return Timer(max(self.now, deadline_at) + self._policy.memory_ms, is_behind_evidence=True)

    def enter(self, head: Launching, phase: LaunchPhase, timer: Timer) -> None:
        """Put the active request into a phase and ask for what that phase needs."""
        is_waiting = phase in {LaunchPhase.READY, LaunchPhase.SUSPECT}
        self.put(HEAD, replace(head, phase=phase, timer=timer, is_waiting=is_waiting))
        self._asks = True

    def ask(self) -> None:
        """Ask (again) for what the head's phase needs."""
        self._asks = True

    def ready(self, head: Launching) -> None:
        """Let the active request want a permit, until its deadline."""
        self.enter(head, LaunchPhase.READY, deadline_of(head.prepared))

    def intend(self, head: Launching, until: Instant) -> None:
        """Write the intent to run the active request and call the run; it must be sent before `until`."""
        policy = self._policy
        send_before = min(self.now + policy.send_window_ms, until)
        deadline_at = send_before + policy.run_deadline_ms
        attempt = head.attempt + 1
        intent = replace(
            head, attempt=attempt, intent_at=self.now, send_before=send_before, call_deadline_at=deadline_at
        )
        self.enter(intent, LaunchPhase.INTENT, Timer(deadline_at + policy.intent_margin_ms))
        self._run = run_call(intent, send_before, deadline_at)

    def doubt(self, head: Launching) -> None:
        """Open the adoption window: the active request may have been run, and nobody can tell.

        It closes at the request's deadline if that comes sooner, but stays open in full when the deadline passed
        while the call was open.
        """
        workflow = self._catalogue.find(head.prepared.origin.workflow)
        window_ms = self._policy.adoption_window_ms if workflow is None else workflow.adoption_window_ms
        is_past, closes_at = self.is_past(head), self.now + window_ms
        due_at = closes_at if is_past else min(closes_at, head.prepared.origin.deadline_at)
        timer = Timer(due_at, is_behind_evidence=True)
        self.enter(replace(head, is_past_deadline=is_past), LaunchPhase.UNKNOWN, timer)
        self.is_unsettled = True

    def take_back(self, head: Launching) -> Launching | None:
        """Take an attempt back that was not executed; return the head if its request must still be run.

        It must not when an older attempt turns out to have run after all, or when its deadline has passed.
        """
        self.ready(replace(head, intent_at=None, send_before=None, call_deadline_at=None, is_past_deadline=False))
        self.is_unsettled = self.is_unsettled or head.has_candidates
        if head.doubt_at is not None:
            self.settle()
        unsent = self.head
        if unsent is None or request_of(unsent) != request_of(head):
            return None
        if self.is_past(unsent):
            self.expire(unsent)
            return None
        return unsent

    def is_past(self, head: Launching) -> bool:
        """Whether the active request's deadline has passed."""
        return self.now >= head.prepared.origin.deadline_at

    def start(self, head: Launching, run: Run) -> None:
        """Pass custody of the active request on: this is its run."""
        origin = head.prepared.origin
        others = tuple(other for other in self._doubtful_ids(head) if other != canonical_id(run.workflow_id))
        self._pass_on(GaveUp(head.prepared, self._since(head), head.attempt, None), run, 1, others)
        self._leave_doubt_open(head)
        self.outputs.append(Progressed(origin, Step.STARTED, self.now, run.workflow_id, head.attempt))
        self._advance(head)

    def amend(self, gave_up: GaveUp, run: Run) -> None:
        """Pass custody of an ended request on: its run is known after all."""
        self._pass_on(gave_up, run, 2, ())
        if gave_up.attempts > 1:
            self._leave_open(claim_of_gave_up(gave_up, None))
        self.put(GAVE + gave_up.prepared.origin.request_id, None)
        self.is_unsettled = True

    def forget(self, name: str, part: Part) -> None:
        """Forget a part whose time is over."""
        self.put(name, None)
        if isinstance(part, GaveUp):
            self._leave_open(claim_of_gave_up(part, None))
            self.is_unsettled = True

    def expire(self, head: Launching) -> None:
        """End the active request because its deadline passed; a doubted attempt that did run amends that."""
        reason = Reason.DEADLINE_PASSED
        result = finished_launching(head, Outcome.EXPIRED, self.now, reason=reason, message=_TOO_LATE)
        self.outputs.append(replace(result, candidates=self._doubtful_ids(head)))
        if head.doubt_at is not None:
            self._keep_claim(head)
        self._advance(head)

    def expire_waiting(self, name: str, waiting: WaitingLaunch) -> None:
        """End a waiting request because its deadline passed; it leaves a hole in the queue."""
        reason, prepared = Reason.DEADLINE_PASSED, waiting.prepared
        self.outputs.append(finished_prepared(prepared, Outcome.EXPIRED, self.now, reason=reason, message=_TOO_LATE))
        self.put(name, None)

    def refuse(self, head: Launching) -> None:
        """End the active request because the provider refused it for good."""
        reason = Reason.REFUSED_BY_PROVIDER
        result = finished_launching(head, Outcome.NOT_STARTED, self.now, reason=reason, message=head.why)
        self.outputs.append(replace(result, candidates=self._doubtful_ids(head)))
        self._leave_doubt_open(head)
        self._advance(head)

    def give_up(self, head: Launching, reason: Reason, message: str) -> None:
        """End the active request without knowing whether it ran; a late trace amends that."""
        result = finished_launching(head, Outcome.UNDETERMINED, self.now, reason=reason, message=message)
        self.outputs.append(replace(result, candidates=self._possible_ids(head)))
        self._keep_claim(head)
        self._advance(head)

    def _pass_on(self, claim: GaveUp, run: Run, revision: int, candidates: tuple[str, ...]) -> None:
        origin = claim.prepared.origin
        self.know(run.workflow_id, origin.request_id, origin.deadline_at)
        self.outputs.append(custody(claim, run, revision, candidates))

    def _keep_claim(self, head: Launching) -> None:
        due_at = max(self.now, head.prepared.origin.deadline_at) + self._policy.amendment_ms
        gave_up = GaveUp(head.prepared, self._since(head), head.attempt, Timer(due_at, is_behind_evidence=True))
        self.put(GAVE + request_of(head), gave_up)

    def _advance(self, head: Launching) -> None:
        """Make the next waiting request active, or the key idle."""
        self.is_unsettled = self.is_unsettled or head.has_candidates
        for number in range(head.waiting_first, head.waiting_next):
            name = waiting_name(number)
            waiting = self.get(name)
            if isinstance(waiting, WaitingLaunch):  # Else a hole: it expired while it waited.
                self.put(name, None)
                self.ready(new_head(waiting.prepared, number + 1, head.waiting_next))
                return
        self.put(HEAD, None)

    def settle(self) -> None:
        """Let every request have the run that can only be its own, then forget what nobody can claim."""
        self._start_doubted()
        while (pair := adoption(self._claims(), self._observations(), self._policy.clock_margin_ms)) is not None:
            claim, observed = pair
            run = Run(observed.workflow_id, Witness.WEBHOOK, observed.status)
            gave_up, head = self.get(GAVE + claim.request_id), self.head
            if isinstance(gave_up, GaveUp):
                self.amend(gave_up, run)
            else:
                assert head is not None, "a request adopted a run that is neither active nor given up"
                self.start(head, run)
        self._tidy()
        self.is_unsettled = False

    def _start_doubted(self) -> None:
        """Start the active request with an older attempt that is proved, while no newer one may have run."""
        head = self.head
        if head is None or head.doubt_at is None or head.phase not in _UNSENT:
            return
        proved_ids = self._claimed_ids(request_of(head))
        if proved_ids:
            self.start(head, Run(proved_ids[0], Witness.RUN_ANSWER, None))

    def _leave_doubt_open(self, head: Launching) -> None:
        claim = self._claim_of(head) if head.doubt_at is not None else None
        if claim is not None:
            self._leave_open(claim)

    def _leave_open(self, claim: Claim) -> None:
        """Leave open for good whose the traces are that fit a request of which something stays unknown.

        Whoever else they fit adopts nothing by itself any more: ending one request must not make a trace look
        unambiguous for another.
        """
        margin_ms = self._policy.clock_margin_ms
        traces = fitting(claim, self._observations(), margin_ms)
        for other in self._claims():
            if other.request_id != claim.request_id and fitting(other, traces, margin_ms):
                self._disown(other)

    def _disown(self, claim: Claim) -> None:
        """Say that the record of a request is not to be taken for its alone any more."""
        prepared = replace(claim.prepared, is_own=False)
        gave_up, head = self.get(GAVE + claim.request_id), self.head
        if isinstance(gave_up, GaveUp):
            self.put(GAVE + claim.request_id, replace(gave_up, prepared=prepared))
        elif head is not None:
            self.put(HEAD, replace(head, prepared=prepared))

    def _claims(self) -> list[Claim]:
        head = self.head
        claim = self._claim_of(head) if head is not None else None
        gave_up = [
            claim_of_gave_up(part, self._catalogue.find(part.prepared.origin.workflow))
            for _, part in self._named(GAVE)
            if isinstance(part, GaveUp)
        ]
        return gave_up if claim is None else [claim, *gave_up]

    def _claim_of(self, head: Launching) -> Claim | None:
        return claim_of_head(head, self._catalogue.find(head.prepared.origin.workflow))

    def _observations(self) -> list[Observed]:
        return [
            part.observed
            for _, part in self._named(SEEN)
            if isinstance(part, Candidate) and self.claimed_by(part.observed.workflow_id) is None
        ]

    def _tidy(self) -> None:
        """Keep the newest observations that somebody can claim, and note in the head whether there are any."""
        claims, margin_ms = self._claims(), self._policy.clock_margin_ms
        kept = [seen for seen in self._observations() if any(is_fitting(claim, seen, margin_ms) for claim in claims)]
        kept.sort(key=lambda seen: (seen.received_at, seen.workflow_id))
        names = {seen_name(seen.workflow_id) for seen in kept[-self._policy.candidates_max :]}
        for name, _ in self._named(SEEN):
            if name not in names:
                self.put(name, None)
        head = self.head
        if head is not None and head.has_candidates is not bool(names):
            self.put(HEAD, replace(head, has_candidates=bool(names)))

    def _possible_ids(self, head: Launching) -> tuple[str, ...]:
        """Return the workflows that may be runs of the active request: those proved, then those that fit."""
        claim = self._claim_of(head)
        observations = self._observations() if claim is not None else ()
        fits = fitting(claim, observations, self._policy.clock_margin_ms) if claim is not None else ()
        return (*self._claimed_ids(request_of(head)), *(canonical_id(seen.workflow_id) for seen in fits))

    def _doubtful_ids(self, head: Launching) -> tuple[str, ...]:
        """Return the workflows that may be runs of older attempts; without a search when none was doubted."""
        return () if head.doubt_at is None else self._possible_ids(head)

    def _since(self, head: Launching) -> Instant:
        since = since_of(head)
        return head.prepared.prepared_at if since is None else since
