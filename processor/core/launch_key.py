"""What a launch key knows while one decision is made: its parts, whose a workflow is, and who may adopt what.

Nothing here ends or begins anything: that is `core/launch_state.py`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from processor.core.adoption import (
    Claim,
    claim_of_gave_up,
    claim_of_head,
    claim_of_issued,
    earliest,
    fitting,
    is_fitting,
    superseded,
)
from processor.core.catalogue import Catalogue, Workflow
from processor.core.keys import canonical_id
from processor.core.launch_parts import (
    GAVE,
    ISSUED,
    KNOWN,
    REQUEST,
    SEEN,
    LaunchPolicy,
    known_name,
    request_of,
    seen_name,
)
from processor.core.messages import Observed, Output, Prepared
from processor.core.model import Instant, Timer, Witness
from processor.core.state import (
    HEAD,
    Candidate,
    GaveUp,
    Issued,
    KnownRequest,
    KnownWorkflow,
    Launching,
    Part,
    WaitingLaunch,
    waiting_name,
)


class LaunchKey:
    """The parts of one launch key as a decision leaves them so far."""

    __slots__ = ("_names", "_state", "catalogue", "changes", "is_unsettled", "now", "outputs", "policy")

    def __init__(self, state: Mapping[str, Part], catalogue: Catalogue, policy: LaunchPolicy, now: Instant) -> None:
        self._state = state
        self.catalogue = catalogue
        self.policy = policy
        self.now = now
        self.changes: dict[str, Part | None] = {}
        self.outputs: list[Output] = []
        self.is_unsettled = False  # Whether somebody may adopt, or candidates may have lost their last claim.
        self._names: tuple[str, ...] | None = None

    # --- parts -----------------------------------------------------------------------------------------------

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

    def issued(self, request_id: str) -> Issued | None:
        """Return a request whose end user has a link or token; None where it is not one."""
        part = self.get(ISSUED + request_id)
        return part if isinstance(part, Issued) else None

    def gave_up(self, request_id: str) -> GaveUp | None:
        """Return a request that ended while its workflow may run; None where it is not one."""
        part = self.get(GAVE + request_id)
        return part if isinstance(part, GaveUp) else None

    def waiting(self, head: Launching) -> Iterator[tuple[int, WaitingLaunch]]:
        """Return what waits behind the active request, by number; holes are what expired while it waited."""
        for number in range(head.waiting_first, head.waiting_next):
            part = self.get(waiting_name(number))
            if isinstance(part, WaitingLaunch):
                yield number, part

    def workflow_of(self, prepared: Prepared) -> Workflow | None:
        """Return what the catalogue says of a request's workflow; None where it no longer has it."""
        return self.catalogue.find(prepared.origin.workflow)

    def named(self, prefix: str) -> Iterator[tuple[str, Part]]:
        """Return all parts whose name starts so, in order; costs a search, so never on the path of a plain run."""
        if self._names is None:
            self._names = tuple(self._state)
        for name in sorted({name for name in (*self._names, *self.changes) if name.startswith(prefix)}):
            part = self.get(name)
            if part is not None:
                yield name, part

    # --- what is remembered ----------------------------------------------------------------------------------

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
            spelling = None if canonical_id(workflow_id) == workflow_id else workflow_id
            known = KnownWorkflow(request_id, self._forgetting(deadline_at), spelling=spelling)
            self.put(known_name(workflow_id), known)

    def claimed_ids(self, request_id: str) -> tuple[str, ...]:
        """Return the workflows that a request claimed, as the provider spells them."""
        return tuple(
            part.spelling or name.removeprefix(KNOWN)
            for name, part in self.named(KNOWN)
            if isinstance(part, KnownWorkflow) and part.request_id == request_id
        )

    def _forgetting(self, deadline_at: Instant) -> Timer:
        return Timer(max(self.now, deadline_at) + self.policy.memory_ms, is_behind_evidence=True)

    # --- evidence --------------------------------------------------------------------------------------------

    def see(self, observed: Observed, told_by: Witness) -> None:
        """Keep a workflow that nobody claimed until it is settled whose it is."""
        name = seen_name(observed.workflow_id)
        kept = self.get(name)
        if isinstance(kept, Candidate):
            told_by = kept.told_by if kept.observed.received_at <= observed.received_at else told_by
            observed = earliest(kept.observed, observed)
        self.put(name, Candidate(observed, None, told_by=told_by))
        self.is_unsettled = True

    def witness_of(self, observed: Observed) -> Witness:
        """Return who showed an unclaimed workflow."""
        kept = self.get(seen_name(observed.workflow_id))
        return kept.told_by if isinstance(kept, Candidate) else Witness.WEBHOOK

    def observations(self) -> list[Observed]:
        """Return the workflows that were seen and that nobody claimed."""
        return [
            part.observed
            for _, part in self.named(SEEN)
            if isinstance(part, Candidate) and self.claimed_by(part.observed.workflow_id) is None
        ]

    def claims(self) -> list[Claim]:
        """Return every request whose run is not known, so that an unclaimed workflow may be it."""
        claims = [self._claim_of(part) for _, part in (*self.named(ISSUED), *self.named(GAVE))]
        head = self.head
        claims.insert(0, None if head is None else self._claim_of(head))
        return superseded([claim for claim in claims if claim is not None])

    def fits(self, request_id: str) -> tuple[Observed, ...]:
        """Return the unclaimed workflows that may be the run of a request."""
        observations, margin_ms = self.observations(), self.policy.clock_margin_ms
        own = [claim for claim in self.claims() if claim.request_id == request_id]
        return tuple(seen for seen in observations if any(is_fitting(claim, seen, margin_ms) for claim in own))

    def candidates(self, request_id: str) -> tuple[str, ...]:
        """Return the workflows that may be runs of a request, for a person: those proved, then those that fit."""
        fits = (canonical_id(seen.workflow_id) for seen in self.fits(request_id))
        return (*self.claimed_ids(request_id), *fits)

    def leave_open(self, request_id: str) -> None:
        """Leave open for good whose the traces are that fit a request of which something stays unknown.

        Whoever else they fit adopts them by itself no more, unless they name it: ending one request must not make a
        trace look unambiguous for another.
        """
        traces, margin_ms = self.fits(request_id), self.policy.clock_margin_ms
        for other in self.claims():
            if other.request_id != request_id and fitting(other, traces, margin_ms):
                self._dispute(other.request_id)

    def tidy(self) -> None:
        """Keep the newest observations that somebody can claim, and note with their requests that there are any."""
        claims, margin_ms = self.claims(), self.policy.clock_margin_ms
        kept = [seen for seen in self.observations() if any(is_fitting(claim, seen, margin_ms) for claim in claims)]
        kept.sort(key=lambda seen: (seen.received_at, seen.workflow_id))
        kept = kept[-self.policy.candidates_max :]
        names = {seen_name(seen.workflow_id) for seen in kept}
        for name, _ in self.named(SEEN):
            if name not in names:
                self.put(name, None)
        head = self.head
        if head is not None and head.has_candidates is not bool(names):
            self.put(HEAD, replace(head, has_candidates=bool(names)))
        fitted = {claim.request_id for claim in claims if fitting(claim, kept, margin_ms)}
        for name, part in self.named(ISSUED):
            if isinstance(part, Issued) and part.workflow_id is None:
                has_candidates = part.prepared.origin.request_id in fitted
                if part.has_candidates is not has_candidates:
                    self.put(name, replace(part, has_candidates=has_candidates))

    def _claim_of(self, part: Part) -> Claim | None:
        match part:
            case Launching():
                return claim_of_head(part, self.workflow_of(part.prepared))
            case Issued():
                return claim_of_issued(part, self.workflow_of(part.prepared))
            case GaveUp():
                return claim_of_gave_up(part, self.workflow_of(part.prepared))
        raise AssertionError("no other part of a launch key claims a workflow")

    def _dispute(self, request_id: str) -> None:
        """Let a request adopt by itself only what names it, from now on."""
        head, gave_up, issued = self.head, self.gave_up(request_id), self.issued(request_id)
        if gave_up is not None:
            self.put(GAVE + request_id, replace(gave_up, is_disputed=True))
        elif issued is not None:
            self.put(ISSUED + request_id, replace(issued, is_disputed=True))
        elif head is not None and request_of(head) == request_id:
            self.put(HEAD, replace(head, is_disputed=True))
