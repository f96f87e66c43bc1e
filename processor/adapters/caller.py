"""The calls of one decider: queued, permitted, made, judged, and each answered exactly once.

Serves `engine.ports.Caller`. The engine's thread asks; all the rest happens on the thread of the event loop, in the
order in which it was asked.

Rules:
- Each call and permit lines up at the gate of the profile that it names.
- At most one call or permit waits for a key. A newer one takes the place of an older one that has not started.
- A start uses the permit of its key and no other, granted for the same workflow and profile: a permit is no way around
  the pause of another workflow. Without one, past its time, or while the provider is away or asks us to wait, it is
  not sent, and says so.
- Nothing starts any more for a partition that was given up; a run that comes too late for it is not sent either.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from processor.adapters.calling import ApiCall, ApiFact, unanswered
from processor.adapters.dispatcher import Asked, Dispatcher, Judged
from processor.adapters.gate import Priority
from processor.adapters.profiles import Profiles
from processor.core.messages import (
    AwaitEvidence,
    Call,
    Create,
    Judge,
    PermitGranted,
    ReadCase,
    ReadResult,
    ReadStatus,
    StartWorkflow,
    VerdictReached,
)
from processor.core.model import Instant
from processor.core.proof import Proof
from processor.engine.ports import Answer, Owned, Ticket

NOT_IN_TIME: Final = "not sent before its time"
FOR_ANOTHER: Final = "not sent, its permit was for another workflow"
HELD_BACK: Final = "not sent, the provider is away or asks to wait"
ANSWER_BYTES: Final = 4 * 1024  # What the answer of anything but a result is reckoned to hold.


@dataclass(slots=True)
class _Permit:
    """A slot that waits for its run."""

    asked: Asked
    until: Instant


class ApiCaller:
    """Makes the calls of one decider through the process's dispatchers."""

    def __init__(self, profiles: Profiles, priority: Priority, *, permit_ms: int) -> None:
        """Ask with this priority; a permit is good for `permit_ms`."""
        self._profiles = profiles
        self._priority = priority
        self._permit_ms = permit_ms
        self._answer: Callable[[Answer], None] = _nowhere
        self._waiting: dict[Ticket, Asked] = {}
        self._permits: dict[Ticket, _Permit] = {}
        self._judged: dict[Ticket, Judged] = {}
        self._given_up: dict[int, int] = {}  # Partition -> the last epoch that was given up.
        profiles.add(self)

    # --- from the engine's thread ----------------------------------------------------------------------------

    def bind(self, deliver: Callable[[Answer], None]) -> None:
        """Say where answers go; called on the thread of the event loop."""
        self._answer = deliver

    def start(self, calls: Sequence[tuple[Ticket, Call]], wants: Sequence[tuple[Ticket, str]]) -> None:
        """Start calls and queue for permits."""
        self._profiles.call_soon(self._start, calls, wants)

    def release(self, ticket: Ticket) -> None:
        """Give a granted permit back unused."""
        self._profiles.call_soon(self._release, ticket)

    def forget(self, owned: Owned) -> None:
        """Drop what did not start for a partition that is given up, and its permits; cut its reads.

        Each dropped or cut call is answered without a fact. Open creations and runs go on to their end.
        """
        self._profiles.call_soon(self._forget, owned)

    # --- on the event loop -----------------------------------------------------------------------------------

    @property
    def permits_waiting(self) -> int:
        """How many permits are wanted and not granted yet."""
        return sum(asked.call is None for asked in self._waiting.values())

    @property
    def permits_granted(self) -> int:
        """How many slots wait for their run."""
        return len(self._permits)

    def close(self) -> None:
        """Drop whatever did not start; to be called before the dispatcher is closed."""
        for asked in [*self._waiting.values()]:
            self._drop(asked)
        for ticket in [*self._permits]:
            self._release(ticket)
        for judged in [*self._judged.values()]:
            self._drop_judged(judged)

    def started(self, asked: Asked) -> None:
        """Make the call that the gate let start, or grant the permit."""
        del self._waiting[asked.ticket]
        if asked.call is not None:
            asked.at.perform(asked, asked.call)
            return
        until = self._profiles.clock() + self._permit_ms
        self._permits[asked.ticket] = _Permit(asked, until)
        self._answer(Answer(asked.ticket, None, PermitGranted(until)))

    def ended(self, asked: Asked, call: ApiCall, fact: ApiFact | None) -> None:
        """Deliver an answer."""
        self._answer(Answer(asked.ticket, call, fact))

    def judged(self, judged: Judged, *, is_our_fault: bool) -> None:
        """Deliver a verdict."""
        if self._judged.get(judged.ticket) is judged:
            del self._judged[judged.ticket]
        call = judged.call
        self._answer(Answer(judged.ticket, call, VerdictReached(call.attempt, is_our_fault, call.request_id)))

    def sweep(self, now: Instant) -> None:
        """Take permits back whose time has passed; the oldest come first."""
        late = []
        for ticket, permit in self._permits.items():
            if permit.until > now:
                break
            late.append(ticket)
        for ticket in late:
            self._give_back(ticket)

    def _start(self, calls: Sequence[tuple[Ticket, Call]], wants: Sequence[tuple[Ticket, str]]) -> None:
        for ticket, call in calls:
            if isinstance(call, StartWorkflow):
                self._run(ticket, call)
            elif self._is_given_up(ticket.owned) or isinstance(call, AwaitEvidence):
                self._answer(Answer(ticket, call, None))
            elif isinstance(call, Judge):
                self._judge(ticket, call)
            else:
                self._ask(ticket, call)
        for ticket, budget in wants:
            if not self._is_given_up(ticket.owned):
                self._want(ticket, budget)
        self._profiles.pump()

    def _ask(self, ticket: Ticket, call: Create | ReadStatus | ReadResult | ReadCase) -> None:
        """Queue a call; in the place of the one of its key that waits already, so that asking again costs no place.

        A read gives way to a permit that its key waits for: it was decided before, and its timer comes again.
        """
        waiting = self._waiting.get(ticket)
        if waiting is not None and waiting.call is None:
            self._answer(Answer(ticket, call, None))
            return
        at, workflow = self._profiles.of(call.provider), call.workflow or ""
        size = _size(call, at)
        if waiting is not None and waiting.workflow == workflow and waiting.at is at:
            replaced, waiting.call, waiting.size = waiting.call, call, size
            self._answer(Answer(ticket, replaced, None))
            return
        if waiting is not None:
            self._drop(waiting)
        self._line_up(Asked(self._priority, workflow, size, at, self, ticket, call))

    def _want(self, ticket: Ticket, budget: str) -> None:
        """Queue for a permit of a budget, `profile/workflow`; a key that waits for it already keeps its place."""
        self._give_back(ticket)
        provider, _, workflow = budget.partition("/")
        waiting, at = self._waiting.get(ticket), self._profiles.of(provider)
        if waiting is not None and waiting.call is None and waiting.workflow == workflow and waiting.at is at:
            return
        if waiting is not None:
            self._drop(waiting)
        self._line_up(Asked(self._priority, workflow, ANSWER_BYTES, at, self, ticket, None))

    def _line_up(self, asked: Asked) -> None:
        self._waiting[asked.ticket] = asked
        asked.at.ask(asked)

    def _run(self, ticket: Ticket, call: StartWorkflow) -> None:
        """Make a start in the slot of its permit, if nothing is against it."""
        permit = self._permits.pop(ticket, None)
        if permit is None:
            self._answer(Answer(ticket, call, unanswered(call, Proof.NOT_SENT, NOT_IN_TIME)))
            return
        why_not = self._why_not(permit.asked, call)
        if why_not is None:
            permit.asked.call = call
            permit.asked.at.perform(permit.asked, call)
            return
        permit.asked.at.give_back(permit.asked)
        self._answer(Answer(ticket, call, unanswered(call, Proof.NOT_SENT, why_not)))

    def _why_not(self, permit: Asked, call: StartWorkflow) -> str | None:
        """Say why a start may not use a permit, None when it may."""
        if self._profiles.clock() >= call.send_before:
            return NOT_IN_TIME
        if permit.workflow != call.workflow or permit.at is not self._profiles.of(call.provider):
            return FOR_ANOTHER
        return HELD_BACK if permit.at.is_holding else None

    def _judge(self, ticket: Ticket, call: Judge) -> None:
        older = self._judged.get(ticket)
        if older is not None:
            self._drop_judged(older)
        self._judged[ticket] = judged = Judged(self._profiles.of(call.provider), self, ticket, call)
        judged.at.judge(judged)

    def _release(self, ticket: Ticket) -> None:
        self._give_back(ticket)
        self._profiles.pump()

    def _give_back(self, ticket: Ticket) -> None:
        permit = self._permits.pop(ticket, None)
        if permit is not None:
            permit.asked.at.give_back(permit.asked)

    def _forget(self, owned: Owned) -> None:
        self._given_up[owned.partition] = max(owned.epoch, self._given_up.get(owned.partition, owned.epoch))
        for asked in [one for one in self._waiting.values() if one.ticket.owned == owned]:
            self._drop(asked)
        for judged in [one for one in self._judged.values() if one.ticket.owned == owned]:
            self._drop_judged(judged)
        for ticket in [one for one in self._permits if one.owned == owned]:
            self._give_back(ticket)
        self._profiles.cut(lambda asked: asked.owner is self and asked.ticket.owned == owned)
        self._profiles.pump()

    def _drop(self, asked: Asked) -> None:
        del self._waiting[asked.ticket]
        asked.at.withdraw(asked)
        if asked.call is not None:
            self._answer(Answer(asked.ticket, asked.call, None))

    def _drop_judged(self, judged: Judged) -> None:
        del self._judged[judged.ticket]
        judged.at.judge_no_more(judged)
        self._answer(Answer(judged.ticket, judged.call, None))

    def _is_given_up(self, owned: Owned) -> bool:
        return self._profiles.is_closed or owned.epoch <= self._given_up.get(owned.partition, -1)


def _size(call: Create | ReadStatus | ReadResult | ReadCase, at: Dispatcher) -> int:
    """Return how many bytes a call and its answer are reckoned to hold."""
    if isinstance(call, Create):
        return len(call.body) + ANSWER_BYTES
    return at.result_bytes_max if isinstance(call, ReadResult) else ANSWER_BYTES


def _nowhere(answer: Answer) -> None:
    raise AssertionError(f"bind comes first; nobody takes the answer for partition {answer.ticket.owned.partition}")
