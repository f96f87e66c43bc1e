"""What is due later: one heap for everything, and one timer of the event loop that follows its head."""

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush

Action = Callable[[int], object]  # Takes the instant at which it is done.


class Schedule:
    """Actions in order of their instants; those of one instant in order of their arrival."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Action]] = []
        self._arrivals = 0
        self.on_new_head: Callable[[int], None] = lambda _at: None

    def at(self, due_at: int, action: Action) -> None:
        """Do `action` once `due_at` has come."""
        self._arrivals += 1
        heappush(self._heap, (due_at, self._arrivals, action))
        if self._heap[0][1] == self._arrivals:
            self.on_new_head(due_at)

    @property
    def next_at(self) -> int | None:
        """When the next action is due."""
        return self._heap[0][0] if self._heap else None

    def do_due(self, now: int) -> None:
        """Do everything that is due, and what that makes due."""
        while self._heap and self._heap[0][0] <= now:
            heappop(self._heap)[2](now)


class Timer:
    """Wakes a schedule when its head is due; belongs to the running event loop."""

    def __init__(self, schedule: Schedule, clock: Callable[[], int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._schedule = schedule
        self._clock = clock
        self._handle: asyncio.TimerHandle | None = None
        schedule.on_new_head = self._arm
        if schedule.next_at is not None:
            self._arm(schedule.next_at)

    def stop(self) -> None:
        """Wake nothing any more."""
        self._schedule.on_new_head = lambda _at: None
        if self._handle is not None:
            self._handle.cancel()

    def _arm(self, due_at: int) -> None:
        if self._handle is not None:
            self._handle.cancel()
        # Never less than a millisecond: the clock has no finer grain, so a shorter timer would spin.
        self._handle = self._loop.call_later(max(1, due_at - self._clock()) / 1000, self._fire)

    def _fire(self) -> None:
        self._handle = None
        try:
            self._schedule.do_due(self._clock())
        finally:  # One action that fails must not stop all the others.
            if self._schedule.next_at is not None:
                self._arm(self._schedule.next_at)
