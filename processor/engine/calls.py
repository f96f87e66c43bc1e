"""A member's calls: started after the commit that demands them, their answers brought back as facts.

What a call proved for a partition that is gone is published as evidence for its next owner.
"""

from collections import deque
from collections.abc import Callable, Sequence

from processor.engine.batch import Batch
from processor.engine.ports import Answer, Caller, Log, Machine, Observer, Owned


class Calls:
    """The calls and permits of one member."""

    def __init__(
        self,
        machine: Machine,
        log: Log,
        caller: Caller,
        clock: Callable[[], int],
        observer: Observer,
    ) -> None:
        self._machine = machine
        self._log = log
        self._caller = caller
        self._clock = clock
        self._observer = observer
        self._inbox: deque[Answer] = deque()  # Filled by other threads.
        self._open: dict[Owned, int] = {}
        caller.bind(self._inbox.append)

    @property
    def is_any_open(self) -> bool:
        """Whether a call is open that a drain would wait for."""
        return bool(self._open)

    @property
    def has_answers(self) -> bool:
        """Whether answers wait to be taken."""
        return bool(self._inbox)

    def open_of(self, owned: Sequence[Owned]) -> int:
        """Return how many calls of these partitions a drain has to wait for."""
        return sum(self._open.get(one, 0) for one in owned)

    def follow(self, batch: Batch, is_owned: Callable[[Owned], bool]) -> None:
        """Start what a committed transaction demands, and give back what it did not use."""
        for ticket in batch.unused:
            self._caller.release(ticket)
        calls = [(ticket, call) for ticket, call in batch.calls if is_owned(ticket.owned)]
        wants = [(ticket, want) for ticket, want in batch.wants if is_owned(ticket.owned)]
        for ticket, call in calls:
            if self._machine.must_finish(call):
                self._open[ticket.owned] = self._open.get(ticket.owned, 0) + 1
        if calls or wants:
            self._caller.start(calls, wants)

    def answers(self, most: int) -> list[Answer]:
        """Take what was answered."""
        taken = [self._inbox.popleft() for _ in range(min(len(self._inbox), most))]
        for answer in taken:
            if answer.call is not None and self._machine.must_finish(answer.call):
                self._closed(answer.ticket.owned)
        return [answer for answer in taken if answer.fact is not None]

    def forget(self, owned: Owned) -> None:
        """Drop what was not started for a partition that is being given up."""
        self._caller.forget(owned)

    def orphaned(self, answer: Answer) -> None:
        """Hand what a call proved to the partition's next owner, or give a permit back."""
        if answer.call is None:
            self._caller.release(answer.ticket)
            return
        record = self._machine.evidence(answer.ticket.key, answer.call, answer.fact, self._clock())
        if record is not None:
            self._log.publish_evidence([record])
            self._observer.evidence(1)

    def _closed(self, owned: Owned) -> None:
        left = self._open.get(owned, 0) - 1
        if left > 0:
            self._open[owned] = left
        else:
            self._open.pop(owned, None)
