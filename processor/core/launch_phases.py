"""Where the active request of a launch key stands while one decision is made, and what its phase asks for.

A permit, a verdict or the evidence that the head waits for follows from its phase and is asked for once a decision,
whatever happened on the way to it.
"""

from collections.abc import Mapping
from dataclasses import replace

from processor.core.adoption import is_witnessed
from processor.core.catalogue import Catalogue
from processor.core.launch_calls import case_call, evidence_call, judge_call
from processor.core.launch_key import LaunchKey
from processor.core.launch_parts import WAITING, LaunchPolicy, deadline_of, new_head, request_of
from processor.core.messages import Call, Prepared, Progressed, ReadCase, StartWorkflow, Step
from processor.core.model import Instant, Timer
from processor.core.schedule import next_poll_at, retry_ms
from processor.core.state import HEAD, Issued, Launching, LaunchPhase, Part, WaitingLaunch, waiting_name


class LaunchPhases(LaunchKey):
    """The phases of the active request that end nothing."""

    __slots__ = ("asks", "call", "read")

    def __init__(self, state: Mapping[str, Part], catalogue: Catalogue, policy: LaunchPolicy, now: Instant) -> None:
        super().__init__(state, catalogue, policy, now)
        self.asks = False  # Whether the head asks for what its phase needs.
        self.call: StartWorkflow | None = None
        self.read: ReadCase | None = None

    def calls(self, head: Launching | None, wants: str | None) -> tuple[Call, ...]:
        """Return the calls to make: one for a key at a time, and none while it wants a permit."""
        if self.call is not None:
            return (self.call,)
        if head is not None and head.phase is LaunchPhase.SUSPECT:
            return (judge_call(head),)
        if head is not None and head.phase is LaunchPhase.GATHERING:
            return (evidence_call(head),)
        return (self.read,) if self.read is not None and wants is None else ()

    def line_up(self, prepared: Prepared, link_attempt: int = 1, attempt: int = 0) -> None:
        """Make a request active, or let it wait while another one of the key is."""
        head = self.head
        if head is None:
            self.ready(new_head(prepared, 0, 0, attempt=attempt, link_attempt=link_attempt))
            return
        waiting = WaitingLaunch(prepared, deadline_of(prepared), link_attempt=link_attempt)
        self.put(waiting_name(head.waiting_next), waiting)
        self.put(HEAD, replace(head, waiting_next=head.waiting_next + 1))

    def enter(self, head: Launching, phase: LaunchPhase, timer: Timer) -> None:
        """Put the active request into a phase and ask for what that phase needs."""
        self.put(HEAD, replace(head, phase=phase, timer=timer, is_waiting=phase in WAITING))
        self.asks = True

    def ask(self) -> None:
        """Ask (again) for what the head's phase needs."""
        self.asks = True

    def ready(self, head: Launching) -> None:
        """Let the active request want a permit, until its deadline."""
        self.enter(head, LaunchPhase.READY, deadline_of(head.prepared))

    def hold(self, head: Launching) -> None:
        """Leave an unknown run to a person, or to a late observation, until the request's deadline."""
        self.enter(head, LaunchPhase.HELD, self.timer_of(head, deadline_of(head.prepared)))
        self.outputs.append(Progressed(head.prepared.origin, Step.HELD, self.now, attempt=head.attempt))

    def gather(self, head: Launching) -> None:
        """Wait until completion has judged all webhooks that came so far, before an unknown run is repeated."""
        until = max(self.now, self.settled_at(head)) + self.policy.clock_margin_ms
        self.enter(replace(head, closes_at=until), LaunchPhase.GATHERING, deadline_of(head.prepared))

    def back_off(self, head: Launching, earliest_at: Instant, asked_ms: int | None = None) -> None:
        """Make the next attempt some time after an instant, if the deadline leaves time for it."""
        failures = head.failures + 1
        seed = f"{request_of(head)}/{head.attempt}"
        due_at = earliest_at + retry_ms(failures, seed=seed, asked_ms=asked_ms)
        is_in_time = due_at < head.prepared.origin.deadline_at
        timer = Timer(due_at) if is_in_time else deadline_of(head.prepared)
        self.enter(replace(head, failures=failures), LaunchPhase.BACKING_OFF, timer)

    def is_past(self, head: Launching) -> bool:
        """Whether the active request's deadline has passed."""
        return self.now >= head.prepared.origin.deadline_at

    def settled_at(self, head: Launching) -> Instant:
        """Return when a call has ended at the provider too, however late it was sent."""
        called_until = head.call_deadline_at
        return self.now if called_until is None else called_until + self.policy.intent_margin_ms

    # --- the case as a witness -------------------------------------------------------------------------------

    def timer_of(self, part: Launching | Issued, end: Timer) -> Timer:
        """Return what wakes a request whose run is not known: the next read of its case, or the end of its wait."""
        workflow = self.workflow_of(part.prepared)
        if workflow is None or not is_witnessed(part.prepared, workflow):
            return end
        poll, seed = workflow.poll, part.prepared.origin.request_id
        read_at = next_poll_at(self.now, part.reads, seed=seed, first_ms=poll.first_ms, max_ms=poll.max_ms)
        return Timer(read_at) if read_at < end.due_at else end

    def read_case(self, part: Launching | Issued, end: Timer) -> Timer:
        """Read the case of a request if no other call of the key is open; return what wakes the request next."""
        head = self.head
        is_free = head is None or not (head.phase in WAITING or head.phase is LaunchPhase.INTENT)
        if is_free and is_witnessed(part.prepared, self.workflow_of(part.prepared)):
            self.read = case_call(part)
        return self.timer_of(part, end)
