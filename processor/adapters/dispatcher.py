"""Makes the calls of this process to one profile of the provider: one gate, one view of pauses, for all its deciders.

Everything here runs on the thread of the event loop, but for what is said to be callable from any thread. A call that
the gate let start ends exactly once, also when it is cut; its slot is free before its answer is delivered.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from processor.adapters.calling import ApiCall, ApiFact, CallListener, Provider, is_read, operation_of, unanswered
from processor.adapters.fault_watch import FaultWatch, Suspect, Verdict
from processor.adapters.gate import Ask, Gate, HeldBy, Priority
from processor.adapters.pauses import PauseReason, Pauses, Standing
from processor.core.messages import Create, Judge, StartWorkflow
from processor.core.model import Instant
from processor.core.proof import Proof
from processor.engine.ports import Ticket

SWEEP_S: Final = 1.0
CUT = "cut off while this process was stopping"
# Of the time that a provider asks us to wait, so that not everybody comes back at the same moment.
RETRY_JITTER: Final = 0.1
_JUDGED: Final = frozenset({Proof.DONE, Proof.REFUSED, Proof.OUR_FAULT})


class Owner(Protocol):
    """Whose calls they are: one decider's caller."""

    def started(self, asked: "Asked") -> None:
        """The gate let it start: it no longer waits."""

    def ended(self, asked: "Asked", call: ApiCall, fact: ApiFact | None) -> None:
        """A call ended; None where it was cut before anything could depend on it."""

    def judged(self, judged: "Judged", *, is_our_fault: bool) -> None:
        """A verdict on a refusal was reached."""

    def sweep(self, now: Instant) -> None:
        """A second has passed."""


@dataclass(slots=True, eq=False)
class Asked(Ask):
    """A call at the gate or open; without a call it asks for a permit, which a run uses later."""

    at: "Dispatcher"
    owner: Owner
    ticket: Ticket
    call: ApiCall | None


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A refusal that waits for its verdict."""

    at: "Dispatcher"
    owner: Owner
    ticket: Ticket
    call: Judge


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits, and what holds it back right now."""

    calls_open: int
    bytes_open: int
    waiting: dict[Priority, int]
    waiting_held: int  # Behind a pause.
    held_by: AbstractSet[HeldBy]
    retry_after_s: float  # How long the provider still asks us to wait.
    paused: tuple[Standing, ...] = field(default=())


class Dispatcher:
    """Starts calls as the gate lets them, watches what they prove, pauses workflows whose faults are ours."""

    def __init__(  # noqa: PLR0913  # everything it brings together, passed once
        self,
        provider: Provider,
        gate: Gate,
        pauses: Pauses,
        watch: FaultWatch[Judged],
        *,
        listener: CallListener,
        publish: Callable[[Standing], None],
        clock: Callable[[], Instant],
        result_bytes_max: int,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Belong to the running event loop; nothing starts before `open`. `publish` tells everyone, without waiting.

        `result_bytes_max` is what a result read is reckoned to hold, `chance` gives a number from 0 to 1.
        """
        self.result_bytes_max = result_bytes_max
        self.clock = clock
        self.is_closed = False
        self._loop = asyncio.get_running_loop()
        self._provider = provider
        self._gate = gate
        self._pauses = pauses
        self._watch = watch
        self._listener = listener
        self._publish = publish
        self._chance = chance
        self._owners: list[Owner] = []
        self._running: dict[Asked, asyncio.Task[None]] = {}
        self._is_open = False
        self._token: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None  # When time alone lets the next call start.
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep_again)

    # --- from any thread -------------------------------------------------------------------------------------

    def call_soon(self, function: Callable[..., None], *arguments: object) -> None:
        """Run something on the event loop; a loop that has ended has nobody left to run it for."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    def open(self) -> None:
        """Let calls start: which workflows are paused has been read."""
        self.call_soon(self._opened)

    def heard(self, workflow: str, standing: Standing | None) -> None:
        """Take in what the control topic says of a workflow."""
        self.call_soon(self._heard, workflow, standing)

    # --- for the deciders' callers ---------------------------------------------------------------------------

    def add(self, owner: Owner) -> None:
        """Let an owner hear of every second that passes."""
        self._owners.append(owner)

    def ask(self, asked: Asked) -> None:
        """Line up at the gate; `pump` then starts what may start."""
        self._gate.ask(asked)

    def withdraw(self, asked: Asked) -> None:
        """Leave the gate's line."""
        self._gate.withdraw(asked)

    def give_back(self, asked: Asked) -> None:
        """Free the slot of a permit that is not used."""
        self._gate.give_back(asked)

    @property
    def is_holding(self) -> bool:
        """Whether not even a call that has its slot should begin now."""
        provider, gate = self._provider, self._gate
        return self.is_closed or provider.is_away or gate.hold_left_s(self._loop.time()) > 0

    def perform(self, asked: Asked, call: ApiCall) -> None:
        """Make a call in the slot that `asked` holds."""
        self._running[asked] = self._loop.create_task(self._perform(asked, call))

    def cut(self, chosen: Callable[[Asked], bool]) -> None:
        """Cut open reads, answered without a fact."""
        for asked in [one for one in self._running if one.call is not None and is_read(one.call) and chosen(one)]:
            self._cut(asked, None)

    def judge(self, judged: Judged) -> None:
        """Bring the verdict on a refusal to its owner, now or later."""
        suspect = _suspect(judged.call)
        verdict = self._watch.judge(suspect, judged, self.clock())
        if verdict is not None:
            judged.owner.judged(judged, is_our_fault=verdict)
        elif self._is_faulty(suspect.workflow):
            self._deliver(self._watch.condemn(suspect.workflow))
        elif self._watch.is_too_many(suspect.workflow, suspect.operation):
            self._refuse_no_more(suspect, self._pauses.generation(suspect.workflow))

    def judge_no_more(self, judged: Judged) -> None:
        """Forget one that waits for a verdict."""
        self._watch.drop(_suspect(judged.call), judged)

    def pump(self) -> None:
        """Start what may start now."""
        if not self._gate.has_waiting or not self._may_start():
            return
        now_s = self._loop.time()
        while (asked := self._gate.take(now_s)) is not None:
            assert isinstance(asked, Asked), "only `ask` lines up"
            asked.owner.started(asked)
        wait_s = self._gate.wait_s(now_s)
        if wait_s is not None and self._alarm is None:
            self._alarm = self._loop.call_later(wait_s, self._time_allows)

    def sweep(self) -> None:
        """Find what was quiet for long genuine, take back permits that nobody used; runs by itself once a second."""
        now = self.clock()
        self._deliver(self._watch.sweep(now))
        for owner in self._owners:
            owner.sweep(now)
        if self._provider.is_away:
            self._may_start()  # Probe although nothing waits: nothing may be taken in before the provider is back.
        self.pump()

    @property
    def slots(self) -> int:
        """How many calls may be open here."""
        return self._gate.slots

    def resize(self, slots: int) -> None:
        """Have so many of the profile's slots, with their part of its rate."""
        if slots != self._gate.slots:
            self._gate.resize(slots, self._loop.time())
            self.pump()

    def renew(self, provider: Provider, fingerprints: Mapping[str, str]) -> None:
        """Make calls with another provider from now on; those that are open end with the old one."""
        before = {pause.workflow for pause in self._pauses.all_holding()}
        self._pauses.renew(fingerprints)
        self._provider = provider
        if self._token is not None:  # It waits for the old one; whoever asks next waits for the new one.
            self._token.cancel()
            self._token = None  # Cancelled before its first step it never comes to say so itself.
        for workflow in sorted(before - {pause.workflow for pause in self._pauses.all_holding()}):
            self._apply(workflow)
            self._listener.resumed(workflow)
        self.pump()

    def ramp(self) -> None:
        """Start with few calls at once: the provider has just come back."""
        self._gate.ramp()

    def backlog(self) -> Backlog:
        """Return what waits and what holds it back; cheap, for readiness and metrics."""
        gate, now_s = self._gate, self._loop.time()
        paused = self._pauses.all_holding()
        found = {
            HeldBy.PAUSES_UNREAD: not self._is_open,
            HeldBy.TOKEN: not self._provider.has_token,
            HeldBy.BREAKER: self._provider.is_away,
            HeldBy.PAUSE: bool(paused),
        }
        return Backlog(
            calls_open=gate.open,
            bytes_open=gate.bytes_open,
            waiting={priority: gate.waiting(priority) for priority in Priority},
            waiting_held=gate.held(),
            held_by=gate.held_by(now_s) | {by for by, is_holding in found.items() if is_holding},
            retry_after_s=gate.hold_left_s(now_s),
            paused=paused,
        )

    async def close(self, budget_s: float) -> int:
        """Start nothing more, cut reads, let open creations and runs end within the budget; returns how many did not.

        What still waits in line is its owner's to answer, before this.
        """
        self.is_closed = True
        self._sweeper.cancel()
        if self._alarm is not None:
            self._alarm.cancel()
        tasks = [*self._running.values(), *([self._token] if self._token else [])]
        if self._token is not None:
            self._token.cancel()
        self.cut(lambda _: True)
        if self._running:
            await asyncio.wait(self._running.values(), timeout=budget_s)
        left = [*self._running]
        for asked in left:
            self._cut(asked, CUT)
        await asyncio.gather(*tasks, return_exceptions=True)
        return len(left)

    # --- calls -----------------------------------------------------------------------------------------------

    async def _perform(self, asked: Asked, call: ApiCall) -> None:
        began_s, generation, provider = self._loop.time(), self._generation(call), self._provider
        try:
            fact = await provider.perform(call)
        except asyncio.CancelledError:
            # Whoever cut it on purpose has ended it before.
            self._end(asked, call, unanswered(call, Proof.UNKNOWN, CUT))
            raise
        except Exception as error:  # noqa: BLE001  # a slot and an answer must not be lost for a mistake of ours
            fact = unanswered(call, Proof.UNKNOWN, type(error).__name__)
        if self._end(asked, call, fact):
            self._listener.answered(call, fact, self._loop.time() - began_s)
            if fact.proof in _JUDGED:
                self._gate.answered_well()
                if provider is self._provider or fact.proof is not Proof.OUR_FAULT:
                    self._learn(call, fact, generation)  # A fault of ours in what was replaced since is mended.
            elif fact.proof is Proof.WAIT and fact.wait_ms:
                self._hold_all(fact.wait_ms)
            self.pump()

    def _end(self, asked: Asked, call: ApiCall, fact: ApiFact | None) -> bool:
        """Free the slot and deliver the answer, once."""
        if self._running.pop(asked, None) is None:
            return False
        self._gate.give_back(asked)
        asked.owner.ended(asked, call, fact)
        return True

    def _cut(self, asked: Asked, why: str | None) -> None:
        """End a call from outside: a task that has not begun yet never comes to say so itself."""
        task, call = self._running[asked], asked.call
        assert call is not None, "an open call is known"
        task.cancel()
        is_start = isinstance(call, StartWorkflow)
        self._end(asked, call, unanswered(call, Proof.UNKNOWN, why) if is_start and why is not None else None)

    def _hold_all(self, wait_ms: int) -> None:
        """Call nothing of this profile for as long as it asks one call to wait: the others would hear the same."""
        now_s, wait_s = self._loop.time(), wait_ms / 1000 * (1 + RETRY_JITTER * self._chance())
        begins = self._gate.hold_left_s(now_s) == 0
        self._gate.hold_all(now_s + wait_s)
        if begins:
            self._listener.throttled(wait_s)

    def _may_start(self) -> bool:
        if self.is_closed or not self._is_open:
            return False
        if self._provider.has_token and not self._provider.is_away:
            return True
        if self._token is None:
            self._token = self._loop.create_task(self._await_token())
        return False

    async def _await_token(self) -> None:
        try:
            await self._provider.ready()
        finally:
            if self._token is asyncio.current_task():  # Not where another took its place.
                self._token = None  # Should it ever fail, the next sweep waits again.
        self.pump()

    def _time_allows(self) -> None:
        self._alarm = None
        self.pump()

    def _sweep_again(self) -> None:
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep_again)
        self.sweep()

    # --- what calls prove ------------------------------------------------------------------------------------

    def _generation(self, call: ApiCall) -> int:
        return 0 if call.workflow is None else self._pauses.generation(call.workflow)

    def _learn(self, call: ApiCall, fact: ApiFact, generation: int) -> None:
        """Count successes and refusals of creations and runs, and meet faults of ours."""
        if call.workflow is None:
            return
        if fact.proof is Proof.OUR_FAULT:
            self._meet(call, PauseReason.FAULT, generation, f"{operation_of(call)}: {fact.why}")
        elif isinstance(call, Create | StartWorkflow):
            operation = operation_of(call)
            if fact.proof is Proof.DONE:
                self._deliver(self._watch.succeeded(call.workflow, operation))
            else:
                self._refused(Suspect(call.workflow, operation, call.request_id), generation)

    def _refused(self, suspect: Suspect, generation: int) -> None:
        is_old = generation < self._pauses.generation(suspect.workflow)
        if is_old or self._is_faulty(suspect.workflow):
            self._watch.excuse(suspect)
        elif self._watch.refused(suspect, self.clock()):
            self._refuse_no_more(suspect, generation)

    def _refuse_no_more(self, suspect: Suspect, generation: int) -> None:
        why = f"{suspect.operation}: too many refusals in a row"
        self._meet(suspect, PauseReason.REFUSALS, generation, why)

    def _meet(self, about: ApiCall | Suspect, reason: PauseReason, generation: int, why: str) -> None:
        """Pause a workflow here and for everyone who sends the same; its suspects are not to blame."""
        workflow = about.workflow
        assert workflow is not None, "only a workflow can be paused"
        reads = not isinstance(about, Suspect) and is_read(about)
        met = Standing(workflow, generation, is_paused=True, at=self.clock(), reason=reason, holds_reads=reads, why=why)
        new = self._pauses.met(met)
        if new is not None:
            self._publish(new)
            self._apply(workflow)
            self._listener.paused(workflow, reason, why)
        if generation == self._pauses.generation(workflow):
            self._deliver(self._watch.condemn(workflow))

    def _opened(self) -> None:
        self._is_open = True
        self.pump()

    def _heard(self, workflow: str, standing: Standing | None) -> None:
        before = self._pauses.holding(workflow)
        again = self._pauses.heard(workflow, standing)
        if again is not None and self._is_open:  # Until then it is history, and the last word may still come.
            self._publish(again)
        after = self._pauses.holding(workflow)
        self._apply(workflow)
        if before is None and after is not None:
            self._listener.paused(workflow, str(after.reason), after.why)
        elif before is not None and after is None:
            self._listener.resumed(workflow)
        if self._is_faulty(workflow):
            self._deliver(self._watch.condemn(workflow))
        self.pump()

    def _apply(self, workflow: str) -> None:
        """Bring the gate in line with the pauses."""
        pause = self._pauses.holding(workflow)
        for priority in Priority:
            is_held = pause is not None and (priority is not Priority.COMPLETION or pause.holds_reads)
            (self._gate.hold if is_held else self._gate.free)(workflow, priority)

    def _is_faulty(self, workflow: str) -> bool:
        """Whether a workflow is paused for a fault of ours, so that what it refuses proves nothing."""
        pause = self._pauses.holding(workflow)
        return pause is not None and pause.reason is not PauseReason.OPERATOR

    def _deliver(self, verdicts: Iterable[Verdict[Judged]]) -> None:
        for verdict in verdicts:
            verdict.waiter.owner.judged(verdict.waiter, is_our_fault=verdict.is_our_fault)


def _suspect(call: Judge) -> Suspect:
    return Suspect(call.workflow, call.operation, call.request_id)
