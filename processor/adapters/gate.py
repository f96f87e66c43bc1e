"""Which call of one profile of the provider may start now: slots, bytes and a rate, shared by priority.

Rules:
- Slots and rate are this process's part of the profile's limit, and change with the partitions that it owns. What
  was saved up of a rate before it had a part counts for nothing: the bucket starts empty.
- Who asks us to come back later is not called until then, by anything.
- After the provider was away, or asked to wait, few slots are open at first; each good answer opens one more.
- Launch goes before completion and completion before preparation. Each has a small fixed share of the turns, so that
  none of them stands still while another has work.
- Within a priority the workflows take turns, and within a workflow calls start in the order in which they came.
- A held workflow waits aside, in order, and is in nobody's way.
- What does not fit into the bytes waits, and those behind it with it: a large call is not overtaken for ever.

Nothing here waits, calls or knows the time: it is asked and told. One thread uses it. Every operation is O(1).
"""

from collections import OrderedDict
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final, TypeAlias

_L, _C, _P = 0, 1, 2


class Priority(IntEnum):
    """Who asks; the smaller goes first."""

    LAUNCH = _L
    COMPLETION = _C
    PREPARATION = _P


class HeldBy(StrEnum):
    """What holds calls back: a closed list, for metrics and readiness."""

    SLOTS = "slots"
    BYTES = "bytes"
    RATE = "rate"
    TOKEN = "token"  # There is no valid one.  # noqa: S105  # no secret
    BREAKER = "breaker"  # The provider counts as away.
    RAMP = "ramp"  # It is back, and is not given everything at once.
    RETRY_AFTER = "retry-after"  # It asked us to wait.
    PAUSES_UNREAD = "pauses-unread"  # Which workflows are paused is not known yet.
    PAUSE = "pause"  # A workflow is paused.


# Who is served first in each of 16 turns; if it has nothing waiting, the smallest priority that has.
TURNS: Final = (_L, _L, _L, _C, _L, _L, _L, _C, _L, _L, _L, _C, _L, _L, _C, _P)
BURST_S: Final = 0.1  # So much of a second's calls may start at once where a rate is set.
RAMP_SLOTS: Final = 4  # At first; one more with each good answer, so about twice as many with each round trip.


@dataclass(slots=True, eq=False)
class Ask:
    """One call that wants to start; `size` is the bytes that it and its answer may hold meanwhile."""

    priority: Priority
    workflow: str
    size: int


_Queue: TypeAlias = "OrderedDict[Ask, None]"


class Gate:
    """Counts what is open and chooses what starts next."""

    def __init__(self, *, slots_max: int, bytes_max: int, per_second_max: float = 0.0) -> None:
        """Set the limits of the whole deployment, all of which is ours at first; `per_second_max` 0 sets no rate."""
        self.open = 0
        self.bytes_open = 0
        self._limits = (slots_max, per_second_max)
        self._slots = slots_max
        self._ramp: int | None = None
        self._slots_now = slots_max  # The smaller of both.
        self._not_before_s = float("-inf")
        self._bytes_max = bytes_max
        self._rings: tuple[OrderedDict[str, _Queue], ...] = (OrderedDict(), OrderedDict(), OrderedDict())
        self._held: tuple[dict[str, _Queue], ...] = ({}, {}, {})
        self._turn = 0
        self._rate = _Rate(per_second_max) if per_second_max else None

    def held_by(self, now_s: float) -> AbstractSet[HeldBy]:
        """Return what holds back what waits here and is not held; `now_s` is monotonic."""
        if now_s < self._not_before_s:
            return frozenset({HeldBy.RETRY_AFTER})
        ring = self._next_ring()
        if not ring:
            return frozenset()
        if self.open >= self._slots_now:
            return frozenset({HeldBy.SLOTS if self._ramp is None else HeldBy.RAMP})
        if self._is_too_big(next(iter(next(iter(ring.values()))))):
            return frozenset({HeldBy.BYTES})
        return frozenset({HeldBy.RATE} if self._rate is not None and self._rate.wait_s(now_s) is not None else ())

    @property
    def slots(self) -> int:
        """How many calls may be open here, but for the ramp."""
        return self._slots

    @property
    def has_waiting(self) -> bool:
        """Whether anything waits that is not held."""
        rings = self._rings
        return bool(rings[_L] or rings[_C] or rings[_P])

    def waiting(self, priority: Priority) -> int:
        """Return how many calls of a priority wait and are not held."""
        return sum(len(queue) for queue in self._rings[priority].values())

    def held(self) -> int:
        """Return how many calls wait because their workflow is held."""
        return sum(len(queue) for held in self._held for queue in held.values())

    def ask(self, ask: Ask) -> None:
        """Line up."""
        held = self._held[ask.priority]
        queue = held.get(ask.workflow) if held else None
        if queue is None:
            ring = self._rings[ask.priority]
            queue = ring.get(ask.workflow)
            if queue is None:
                ring[ask.workflow] = queue = OrderedDict()
        queue[ask] = None

    def withdraw(self, ask: Ask) -> None:
        """Leave the line; it was asked and not taken."""
        held = self._held[ask.priority].get(ask.workflow)
        if held is not None:
            del held[ask]
            return
        ring = self._rings[ask.priority]
        queue = ring[ask.workflow]
        del queue[ask]
        if not queue:
            del ring[ask.workflow]

    def take(self, now_s: float) -> Ask | None:
        """Let the next call start, or return None; `now_s` is monotonic."""
        if self.open >= self._slots_now or now_s < self._not_before_s:
            return None
        ring = self._next_ring()
        if not ring:
            return None
        workflow, queue = next(iter(ring.items()))
        ask = next(iter(queue))
        if self._is_too_big(ask) or (self._rate is not None and not self._rate.take(now_s)):
            return None
        del queue[ask]
        if not queue:
            del ring[workflow]
        elif len(ring) > 1:
            ring.move_to_end(workflow)
        self._turn = (self._turn + 1) % len(TURNS)
        self.open += 1
        self.bytes_open += ask.size
        return ask

    def give_back(self, ask: Ask) -> None:
        """End a call that was let start."""
        self.open -= 1
        self.bytes_open -= ask.size

    def wait_s(self, now_s: float) -> float | None:
        """Return in how many seconds time alone lets the next call start; None when it is not time that is missing."""
        if not self.has_waiting or self.open >= self._slots_now:
            return None
        if now_s < self._not_before_s:
            return self._not_before_s - now_s
        return None if self._rate is None else self._rate.wait_s(now_s)

    def resize(self, slots: int, now_s: float) -> None:
        """Take so many slots of the limit as ours, and the same part of its rate; what is open stays open."""
        slots_max, per_second_max = self._limits
        self._slots = slots
        self._set_slots_now()
        if self._rate is not None:
            self._rate.change(per_second_max * slots / slots_max, now_s)

    def hold_all(self, until_s: float) -> None:
        """Let nothing start before this monotonic time, and little at once then."""
        self._not_before_s = max(self._not_before_s, until_s)
        self.ramp()

    def hold_left_s(self, now_s: float) -> float:
        """Return for how many seconds `hold_all` still holds."""
        return max(0.0, self._not_before_s - now_s)

    def ramp(self) -> None:
        """Begin anew with few slots: the provider may not be well yet."""
        self._ramp = RAMP_SLOTS
        self._set_slots_now()

    def answered_well(self) -> None:
        """Open one slot more if few are open."""
        if self._ramp is not None:
            self._ramp += 1
            self._set_slots_now()

    def hold(self, workflow: str, priority: Priority) -> None:
        """Let nothing of this workflow start, until it is freed."""
        held = self._held[priority]
        if workflow not in held:
            held[workflow] = self._rings[priority].pop(workflow, OrderedDict())

    def free(self, workflow: str, priority: Priority) -> None:
        """Let a held workflow go on where it stopped."""
        queue = self._held[priority].pop(workflow, None)
        if queue:
            self._rings[priority][workflow] = queue

    def _set_slots_now(self) -> None:
        if self._ramp is not None and self._ramp >= self._slots > 0:
            self._ramp = None
        self._slots_now = self._slots if self._ramp is None else min(self._ramp, self._slots)

    def _next_ring(self) -> OrderedDict[str, _Queue]:
        rings = self._rings
        return rings[TURNS[self._turn]] or rings[_L] or rings[_C] or rings[_P]

    def _is_too_big(self, ask: Ask) -> bool:
        """Whether the bytes hold it back; alone, any call may start, else a very large one never could."""
        return self.bytes_open + ask.size > self._bytes_max and self.open > 0


class _Rate:
    """So many a second, and a tenth of that at once; it begins with nothing saved up."""

    def __init__(self, per_second: float) -> None:
        self._left = 0.0
        self._at_s: float | None = None
        self._set(per_second)

    def change(self, per_second: float, now_s: float) -> None:
        """Go on with another rate from now on."""
        self._refill(now_s)
        self._set(per_second)

    def take(self, now_s: float) -> bool:
        self._refill(now_s)
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

    def wait_s(self, now_s: float) -> float | None:
        self._refill(now_s)
        if self._left >= 1.0 or not self._per_second:
            return None
        return (1.0 - self._left) / self._per_second

    def _set(self, per_second: float) -> None:
        self._per_second = per_second
        self._burst = max(1.0, per_second * BURST_S)
        self._left = min(self._left, self._burst)

    def _refill(self, now_s: float) -> None:
        passed_s = 0.0 if self._at_s is None else max(0.0, now_s - self._at_s)
        self._at_s = now_s
        self._left = min(self._burst, self._left + passed_s * self._per_second)
