"""A member's calls: started after the commit that demands them, their answers brought back as facts.

What a call proved for a partition that is gone is published as evidence for its next owner.
"""

from collections import deque
from collections.abc import Callable, Sequence

from processor.engine.batch import Batch, Event
from processor.engine.partition import Partition, is_running
from processor.engine.ports import Answer, Call, Caller, Fact, Log, Machine, Observer, Owned, Ticket


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
        self._awaited: dict[Owned, int] = {}
        caller.bind(self._inbox.append)

    @property
    def is_any_awaited(self) -> bool:
        """Whether an answer or a permit may come at any moment."""
        return bool(self._awaited)

    def open_of(self, partitions: Sequence[Partition] | None) -> int:
        """Return how many calls of these partitions (None: of all that ever were ours) a drain has to wait for."""
        counts = self._open.values() if partitions is None else (self._open.get(one.owned, 0) for one in partitions)
        return sum(counts)

    def follow(self, batch: Batch, partition_of: Callable[[Owned], Partition | None]) -> None:
        """Start what a committed transaction demands, and give back what it did not use.

        What a partition in drain intended is still called. What one intended that went before its commit was known is
        called by nobody; its next owner finds the intent and is told so.
        """
        for ticket in batch.unused:
            self._caller.release(ticket)
        calls = []
        for ticket, call in batch.calls:
            if partition_of(ticket.owned) is None:
                self._publish(ticket, call, None)
            else:
                calls.append((ticket, call))
        for ticket, call in calls:
            _add(self._awaited, ticket.owned, 1)
            if self._machine.must_finish(call):
                _add(self._open, ticket.owned, 1)
        if calls:
            self._caller.start(calls, ())

    def ask(self, wants: list[tuple[Ticket, str]], partition_of: Callable[[Owned], Partition | None]) -> None:
        """Queue for permits and empty the list; it needs no commit, for a permit alone does nothing.

        A partition in drain gets no more of them.
        """
        asked = [(ticket, want) for ticket, want in wants if is_running(partition_of(ticket.owned))]
        wants.clear()
        for ticket, _ in asked:
            _add(self._awaited, ticket.owned, 1)
        if asked:
            self._caller.start((), asked)

    def answers(self, most: int) -> list[Answer]:
        """Take what was answered."""
        taken = [self._inbox.popleft() for _ in range(min(len(self._inbox), most))]
        for answer in taken:
            _add(self._awaited, answer.ticket.owned, -1)
            if answer.call is not None and self._machine.must_finish(answer.call):
                _add(self._open, answer.ticket.owned, -1)
        return [answer for answer in taken if answer.fact is not None]

    def forget(self, owned: Owned) -> None:
        """Drop what was not started for a partition that is being given up."""
        self._awaited.pop(owned, None)
        self._caller.forget(owned)

    def give_away(self, event: Event) -> None:
        """Hand what a call proved to the partition's next owner, or give a permit back; else nothing is lost."""
        answer = event.answer
        if answer is None:
            return
        if answer.call is None:
            self._caller.release(answer.ticket)
            return
        self._publish(answer.ticket, answer.call, answer.fact)

    def _publish(self, ticket: Ticket, call: Call, fact: Fact | None) -> None:
        record = self._machine.evidence(ticket.key, call, fact, self._clock())
        if record is not None:
            self._log.publish_evidence([record])
            self._observer.evidence(1)


def _add(counts: dict[Owned, int], owned: Owned, more: int) -> None:
    left = counts.get(owned, 0) + more
    if left > 0:
        counts[owned] = left
    else:
        counts.pop(owned, None)
