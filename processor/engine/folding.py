"""Taking one event into the open transaction: fold it into its key, park it, or set it aside as a dead letter.

Whatever fails raises before anything was changed, so that an event is taken whole or not at all.
"""

from collections.abc import Callable

from processor.engine.batch import Batch, Event
from processor.engine.entries import SEPARATOR, check_size
from processor.engine.parking import ParkingLot
from processor.engine.partition import Partition
from processor.engine.ports import Machine, Observer, Ticket
from processor.errors import FatalError, TransientError


class Folding:
    """What a decider does with each event."""

    def __init__(
        self,
        machine: Machine,
        parking: ParkingLot,
        clock: Callable[[], int],
        observer: Observer,
        record_bytes_max: int,
    ) -> None:
        self._machine = machine
        self._parking = parking
        self._clock = clock
        self._observer = observer
        self._record_bytes_max = record_bytes_max

    def take(self, event: Event, partition: Partition, batch: Batch) -> None:
        """Take an event into a transaction.

        Raises TransientError when it must wait for something outside, StateUnreadable or PoisonError when the key's
        state is not readable.
        """
        (self._set_aside if event.is_unreadable else self._fold_or_park)(event, partition, batch)
        batch.events.append(event)
        batch.touched[partition.owned.partition] = partition
        if event.record is not None and event.parked_as is None:
            partition.moved_to(event.record.offset + 1)

    def _set_aside(self, event: Event, partition: Partition, batch: Batch) -> None:
        """Publish the dead letter of an unreadable record, and decide what is left of it."""
        record, error = event.record, event.error
        assert record is not None, "only an input record can be unreadable"
        assert error is not None, "something made it unreadable"
        letters, remains = self._machine.poisoned(record, error)
        if remains is not None:
            key = remains[0].replace(SEPARATOR, "") if event.parked_as is None else event.ticket.key
            self._fold_or_park(event._replace(ticket=Ticket(partition.owned, key), fact=remains[1]), partition, batch)
        elif event.parked_as is not None:
            self._parking.unpark(partition, event)
        for letter in letters:
            batch.publish(letter)
        self._observer.poisoned(record, error.reason)

    def _fold_or_park(self, event: Event, partition: Partition, batch: Batch) -> None:
        """Fold one event into its key, or park it when a rule of that key fails or failed before."""
        if event.parked_as is None and event.ticket.key in partition.parked:
            letters = self._parking.add(partition, event)
        else:
            try:
                if event.parked_as is not None:
                    self._parking.check(partition, event)
                if event.parked_as is None or event.fact is not None:
                    self._fold(event, partition, batch)
            except (FatalError, TransientError):
                raise
            except Exception as error:  # noqa: BLE001  # a rule that fails parks its key; the partition goes on
                letters = self._parking.park(partition, event, error)
            else:
                if event.parked_as is not None:
                    self._parking.unpark(partition, event)
                return
        for letter in letters:
            batch.publish(letter)
        if event.is_permit:
            batch.unused.append(event.ticket)

    def _fold(self, event: Event, partition: Partition, batch: Batch) -> None:
        ticket = event.ticket
        decision = self._machine.decide(partition.view(ticket.key), event.fact, self._clock())
        records = [record for output in decision.outputs for record in self._machine.to_records(output, event.record)]
        for record in records:
            check_size(self._record_bytes_max, record.key, record.value, record.headers)
        partition.apply(ticket.key, decision, self._record_bytes_max)
        for record in records:
            batch.publish(record)
        batch.happened.extend(decision.outputs)
        if decision.calls:
            batch.calls.extend((ticket, call) for call in decision.calls)
        elif event.is_permit:
            batch.unused.append(ticket)
        if decision.wants_permit is not None:
            batch.wants.append((ticket, decision.wants_permit))
