"""Keys whose rule failed: their facts are set aside, in order, in the state, until another build tries again."""

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

from processor.engine.batch import Event
from processor.engine.entries import PARKED_PREFIX, split_key, storage_key
from processor.engine.partition import Partition
from processor.engine.ports import Answer, Entry, InputRecord, Machine, Observer, Ticket


class ParkingLot:
    """Parks keys and lets them go again."""

    def __init__(self, machine: Machine, observer: Observer, build: str) -> None:
        self._machine = machine
        self._observer = observer
        self._build = build

    def park(self, partition: Partition, event: Event, error: Exception) -> None:
        """Set a key aside because deciding this event failed."""
        self._observer.parked(partition.owned.partition, type(event.fact).__name__, type(error).__name__)
        partition.parked.setdefault(event.ticket.key, 0)
        self.add(partition, event)

    def add(self, partition: Partition, event: Event) -> None:
        """Set one more event of a parked key aside; a timer is unset instead, and set again on release."""
        key = event.ticket.key
        if event.record is None and event.answer is None:
            _unset_timers(partition, key)
            return
        if event.answer is not None and event.answer.call is None:
            return  # A permit: nothing was decided with it, so nothing is lost.
        number = partition.parked[key]
        partition.parked[key] = number + 1
        body = json.dumps({"build": self._build, **self._event_fields(event)}).encode()
        gauge = len(self._machine.gauges)
        entry = Entry(gauge, None, is_behind_evidence=False, is_waiting=False, body=body)
        partition.put(key, f"{PARKED_PREFIX}{number:08x}", entry)

    def released(self, partition: Partition, storage: str, entry: Entry) -> Iterator[Event]:
        """Return the event set aside under a storage key if this build may try it; else park its key again."""
        key, name = split_key(storage)
        fields = json.loads(entry.body)
        if fields["build"] == self._build:
            partition.parked[key] = int(name.removeprefix(PARKED_PREFIX), 16) + 1
            return
        _set_timers(partition, key)
        partition.put(key, name, None)
        yield self._event(Ticket(partition.owned, key), fields)

    def _event_fields(self, event: Event) -> Mapping[str, Any]:
        record = event.record
        if record is None:
            return {"answer": _text(self._machine.encode(event.fact))}
        return {
            "record": [record.topic, record.partition, record.offset, record.timestamp],
            "key": _text(record.key),
            "value": _text(record.value),
            "headers": [(name, _text(value)) for name, value in record.headers],
        }

    def _event(self, ticket: Ticket, fields: Mapping[str, Any]) -> Event:
        if "answer" in fields:
            fact = self._machine.decode(_bytes(fields["answer"]) or b"")
            return Event(ticket, fact, answer=Answer(ticket, fact, fact))
        topic, number, offset, timestamp = fields["record"]
        headers = tuple((name, _bytes(value) or b"") for name, value in fields["headers"])
        key, value = _bytes(fields["key"]), _bytes(fields["value"])
        record = InputRecord(topic, number, offset, key, value, headers, timestamp)
        return Event(ticket, self._machine.arrived(record)[1], record)


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
