"""Which call may start now: slots, bytes and a rate for the whole process, shared by priority.

Rules:
- Launch goes before completion and completion before preparation. Each has a small fixed share of the turns, so that
  none of them stands still while another has work.
- Within a priority the workflows take turns, and within a workflow calls start in the order in which they came.
- A held workflow waits aside, in order, and is in nobody's way.
- What does not fit into the bytes waits, and those behind it with it: a large call is not overtaken for ever.

Nothing here waits, calls or knows the time: it is asked and told. One thread uses it. Every operation is O(1).
"""

from collections import OrderedDict
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

_L, _C, _P = 0, 1, 2


class Priority(IntEnum):
    """Who asks; the smaller goes first."""

    LAUNCH = _L
    COMPLETION = _C
    PREPARATION = _P


# Who is served first in each of 16 turns; if it has nothing waiting, the smallest priority that has.
TURNS: Final = (_L, _L, _L, _C, _L, _L, _L, _C, _L, _L, _L, _C, _L, _L, _C, _P)
BURST_S: Final = 0.1  # So much of a second's calls may start at once where a rate is set.


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
        """Set the limits; `per_second_max` 0 sets no rate."""
        self.open = 0
        self.bytes_open = 0
        self._slots_max = slots_max
        self._bytes_max = bytes_max
        self._rings: tuple[OrderedDict[str, _Queue], ...] = (OrderedDict(), OrderedDict(), OrderedDict())
        self._held: tuple[dict[str, _Queue], ...] = ({}, {}, {})
        self._turn = 0
        self._rate = _Rate(per_second_max) if per_second_max else None

    @property
    def is_full(self) -> bool:
        """Whether every slot is taken, or bytes hold the next call back."""
        if self.open >= self._slots_max:
            return True
        ring = self._next_ring()
        return bool(ring) and self._is_too_big(next(iter(next(iter(ring.values())))))

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
        if self.open >= self._slots_max:
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
        """Return in how many seconds the rate lets the next call start; None when the rate holds nothing back."""
        if self._rate is None or self.open >= self._slots_max or not self.has_waiting:
            return None
        return self._rate.wait_s(now_s)

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

    def _next_ring(self) -> OrderedDict[str, _Queue]:
        rings = self._rings
        return rings[TURNS[self._turn]] or rings[_L] or rings[_C] or rings[_P]

    def _is_too_big(self, ask: Ask) -> bool:
        """Whether the bytes hold it back; alone, any call may start, else a very large one never could."""
        return self.bytes_open + ask.size > self._bytes_max and self.open > 0


class _Rate:
    """So many a second, and a tenth of that at once."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._burst = max(1.0, per_second * BURST_S)
        self._left = self._burst
        self._at_s: float | None = None

    def take(self, now_s: float) -> bool:
        self._refill(now_s)
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

    def wait_s(self, now_s: float) -> float | None:
        self._refill(now_s)
        return (1.0 - self._left) / self._per_second if self._left < 1.0 else None

    def _refill(self, now_s: float) -> None:
        passed_s = 0.0 if self._at_s is None else max(0.0, now_s - self._at_s)
        self._at_s = now_s
        self._left = min(self._burst, self._left + passed_s * self._per_second)
