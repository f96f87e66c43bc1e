"""Keys whose rule failed: their facts are set aside, in order, in the state, until another build tries again."""

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

from processor.engine.batch import Event
from processor.engine.entries import PARKED_PREFIX, split_key, storage_key
from processor.engine.partition import Partition
from processor.engine.ports import Entry, Fact, InputRecord, Machine, Observer, Ticket
from processor.errors import PoisonError, StateUnreadable, TransientError


class ParkingLot:
    """Parks keys and lets them go again."""

    def __init__(self, machine: Machine, observer: Observer, build: str) -> None:
        self._machine = machine
        self._observer = observer
        self._build = build

    def park(self, partition: Partition, event: Event, error: Exception) -> None:
        """Set a key aside because deciding this event failed."""
        self._observer.parked(partition.owned.partition, type(event.fact).__name__, type(error).__name__)
        self.add(partition, event)

    def add(self, partition: Partition, event: Event) -> None:
        """Set one more event of a parked key aside, or put back one that was tried again.

        Of a timer or a permit nothing is kept but a mark that the key is parked: timers are unset instead, and set
        again on release, when what waits for a permit asks anew.
        """
        key, parked = event.ticket.key, partition.parked
        fields = self._event_fields(event)
        if event.record is None and event.answer is None and event.parked_as is None:
            _unset_timers(partition, key)
        if not fields and key in parked:
            return
        number = parked.get(key, 0) if event.parked_as is None else _number(event.parked_as)
        parked[key] = max(parked.get(key, 0), number + 1)
        body = json.dumps({"build": self._build, **fields}).encode()
        entry = Entry(len(self._machine.gauges), None, is_behind_evidence=False, is_waiting=False, body=body)
        partition.put(key, f"{PARKED_PREFIX}{number:08x}", entry)

    def events_at_start(self, partition: Partition) -> Iterator[Event]:
        """Return what a restored partition begins with, each to be decided before the next is taken.

        First of each key what was set aside, if this build may try it; then the asks of what died with the former
        owner, unless the key is parked still.
        """
        for storage, entry in partition.restored():
            key, name = split_key(storage)
            if name.startswith(PARKED_PREFIX):
                event = self._released(partition, storage, entry)
                if event is not None:
                    yield event
            elif key not in partition.parked:
                yield Event(Ticket(partition.owned, key), self._machine.resumed(name))

    def _released(self, partition: Partition, storage: str, entry: Entry) -> Event | None:
        key, name = split_key(storage)
        fields = json.loads(entry.body)
        if fields["build"] != self._build and key not in partition.parked:
            try:
                return self._event(Ticket(partition.owned, key), name, fields)
            except (TransientError, StateUnreadable):
                pass  # It cannot be read now, or not by this build: at the next start.
        partition.hold(key, _number(name) + 1)
        return None

    def unpark(self, partition: Partition, event: Event) -> None:
        """Forget that an event was set aside, now that it is decided."""
        key, name = event.ticket.key, event.parked_as
        assert name is not None, "only what was parked is released"
        partition.put(key, name, None)
        _set_timers(partition, key)

    def _event_fields(self, event: Event) -> Mapping[str, Any]:
        record, is_answer = event.record, event.answer is not None or event.parked_as is not None
        if record is None:
            return {"answer": _text(self._machine.encode(event.fact))} if is_answer and not event.is_permit else {}
        return {
            "record": [record.topic, record.partition, record.offset, record.timestamp],
            "key": _text(record.key),
            "value": _text(record.value),
            "headers": [(name, _text(value)) for name, value in record.headers],
        }

    def _event(self, ticket: Ticket, name: str, fields: Mapping[str, Any]) -> Event:
        if "answer" in fields:
            return Event(ticket, self._machine.decode(_bytes(fields["answer"]) or b""), parked_as=name)
        if "record" not in fields:
            return Event(ticket, None, parked_as=name)
        topic, number, offset, timestamp = fields["record"]
        headers = tuple((name, _bytes(value) or b"") for name, value in fields["headers"])
        key, value = _bytes(fields["key"]), _bytes(fields["value"])
        record = InputRecord(topic, number, offset, key, value, headers, timestamp)
        return Event(ticket, self._fact(record), record, parked_as=name)

    def _fact(self, record: InputRecord) -> Fact:
        try:
            return self._machine.arrived(record)[1]
        except PoisonError as error:  # Its dead letter is out; parked was what was left of it.
            _, remains = self._machine.poisoned(record, error)
            assert remains is not None, "what carried nothing is not parked"
            return remains[1]


def _number(name: str) -> int:
    return int(name.removeprefix(PARKED_PREFIX), 16)


def _unset_timers(partition: Partition, key: str) -> None:
    for name in list(partition.names(key)):
        part = None if name.startswith(PARKED_PREFIX) else partition.read(storage_key(key, name))
        if part is not None and part.timer is not None:
            entry = partition.entry_of(storage_key(key, name), part)
            bare = Entry(entry.gauge, None, is_behind_evidence=False, is_waiting=entry.is_waiting, body=entry.body)
            partition.put(key, name, bare)


def _set_timers(partition: Partition, key: str) -> None:
    for name in list(partition.names(key)):
        part = None if name.startswith(PARKED_PREFIX) else partition.read(storage_key(key, name))
        if part is not None and part.timer is not None:
            partition.put(key, name, partition.entry_of(storage_key(key, name), part))


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _bytes(text: object) -> bytes | None:
    return None if text is None else base64.b64decode(str(text))
