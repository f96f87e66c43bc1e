"""What is decided before anything new is taken: what an abort undid or something outside held up, then starts.

The start of a restored partition is what was set aside in it, and the asks of what died with its former owner. It is
taken one event at a time, so that however much there is, each transaction holds as much of it as one may hold.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from processor.engine.batch import Event
from processor.engine.parking import ParkingLot
from processor.engine.partition import Partition
from processor.engine.ports import Owned, Ticket


class Pending:
    """Events in the order in which they must be decided; true while there may be any."""

    def __init__(self, parking: ParkingLot) -> None:
        self._parking = parking
        self._events: deque[Event] = deque()
        self._starts: deque[tuple[Partition, Iterator[Event]]] = deque()

    def __bool__(self) -> bool:
        return bool(self._events or self._starts)

    def add(self, event: Event) -> None:
        """Put an event behind those that are here."""
        self._events.append(event)

    def put_back(self, events: Sequence[Event]) -> None:
        """Put events that were taken in front of those that are here."""
        self._events.extendleft(reversed(events))

    def begin(self, partition: Partition) -> None:
        """Take over the start of a restored partition."""
        self._starts.append((partition, self._parking.events_at_start(partition)))

    def take(self) -> Event | None:
        """Return the next event, which is to be decided, or put back, before another is taken; None: none is left."""
        if self._events:
            return self._events.popleft()
        while self._starts:
            event = next(self._starts[0][1], None)
            if event is not None:
                return event
            self._starts.popleft()
        return None

    def permits(self) -> set[Ticket]:
        """Return who holds a permit that is still to be decided."""
        return {event.ticket for event in self._events if event.is_permit}

    def is_any_of(self, partitions: Iterable[Partition] | None) -> bool:
        """Say whether an event of these partitions (None: of any) was taken once and waits; a start can do without."""
        owned = None if partitions is None else {partition.owned for partition in partitions}
        return any(owned is None or event.ticket.owned in owned for event in self._events)

    def drop(self, is_gone: Callable[[Owned], bool]) -> list[Event]:
        """Forget the starts of partitions that are gone; take out and return their events."""
        dropped = [event for event in self._events if is_gone(event.ticket.owned)]
        self._events = deque(event for event in self._events if not is_gone(event.ticket.owned))
        self._starts = deque(start for start in self._starts if not is_gone(start[0].owned))
        return dropped
