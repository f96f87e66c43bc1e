"""Keys whose rule failed: their facts are set aside, in order, in the state, until another build tries again."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from processor.engine.batch import Event
from processor.engine.entries import PARKED_PREFIX, RecordTooLarge, check_size, split_key, storage_key
from processor.engine.partition import Partition
from processor.engine.ports import Entry, InputRecord, Machine, Observer, OutputRecord, Ticket
from processor.errors import PoisonError, StateUnreadable, TransientError

UNKNOWN_OFFSET = -1


class ParkingLot:
    """Parks keys and lets them go again."""

    def __init__(self, machine: Machine, observer: Observer, build: str, record_bytes_max: int) -> None:
        self._machine = machine
        self._observer = observer
        self._build = build
        self._record_bytes_max = record_bytes_max

    def park(self, partition: Partition, event: Event, error: Exception) -> Sequence[OutputRecord]:
        """Set a key aside because deciding this event failed; returns as `add` does."""
        self._observer.parked(partition.owned.partition, type(event.fact).__name__, type(error).__name__)
        return self.add(partition, event)

    def add(self, partition: Partition, event: Event) -> Sequence[OutputRecord]:
        """Set one more event of a parked key aside, or put back one that was tried again.

        Of a timer or a permit nothing is kept but a mark that the key is parked: timers are unset instead, and set
        again on release, when what waits for a permit asks anew. Of what is too large to be kept, neither: an answer
        is asked for again by its timer, a record's dead letter is returned.
        """
        key, parked = event.ticket.key, partition.parked
        body, letters = self._body(event)
        if event.record is None and event.answer is None and event.parked_as is None:
            _unset_timers(partition, key)
        if body == self._mark() and key in parked:
            return letters
        number = parked.get(key, 0) if event.parked_as is None else _number(event.parked_as)
        parked[key] = max(parked.get(key, 0), number + 1)
        entry = Entry(len(self._machine.gauges), None, is_behind_evidence=False, is_waiting=False, body=body)
        partition.put(key, f"{PARKED_PREFIX}{number:08x}", entry)
        return letters

    def events_at_start(self, partition: Partition) -> Iterator[Event]:
        """Return what a restored partition begins with, each to be decided before the next is taken.

        First of each key what was set aside, if this build may try it; then the asks of what died with the former
        owner, unless the key is parked still.
        """
        return self._events(partition, partition.restored())

    def _events(self, partition: Partition, asks: Sequence[tuple[str, Entry]]) -> Iterator[Event]:
        for storage, entry in asks:
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

    def check(self, partition: Partition, event: Event) -> None:
        """Read all parts of the key of an event that is released, so that none fails once it is decided."""
        key = event.ticket.key
        for name in partition.names(key):
            if not name.startswith(PARKED_PREFIX):
                partition.read(storage_key(key, name))

    def unpark(self, partition: Partition, event: Event) -> None:
        """Forget that an event was set aside, now that it is decided."""
        key, name = event.ticket.key, event.parked_as
        assert name is not None, "only what was parked is released"
        _set_timers(partition, key)
        partition.put(key, name, None)

    def _mark(self, fields: Mapping[str, Any] | None = None) -> bytes:
        return json.dumps({"build": self._build, **(fields or {})}).encode()

    def _body(self, event: Event) -> tuple[bytes, Sequence[OutputRecord]]:
        """Return an event as it is kept, and the dead letter of a record that must be kept without its value."""
        body = self._mark(self._event_fields(event))
        try:
            return self._fitting(event, body), ()
        except RecordTooLarge as error:
            record = event.record
            if record is None:
                return self._mark(), ()
            letters: Sequence[OutputRecord] = ()
            if event.error is None:
                letters, _ = self._machine.poisoned(record, error)
                self._observer.poisoned(record, error.reason)
            lean = event._replace(record=record._replace(value=None), error=error)
            bare = lean._replace(record=record._replace(key=None, value=None, headers=()))
        try:
            return self._fitting(lean, self._mark(self._event_fields(lean))), letters
        except RecordTooLarge:
            return self._mark(self._event_fields(bare)), letters

    def _fitting(self, event: Event, body: bytes) -> bytes:
        check_size(self._record_bytes_max, storage_key(event.ticket.key, f"{PARKED_PREFIX}{0:08x}").encode(), body)
        return body

    def _event_fields(self, event: Event) -> Mapping[str, Any]:
        record, is_answer = event.record, event.answer is not None or event.parked_as is not None
        if record is None:
            return {"answer": _text(self._machine.encode(event.fact))} if is_answer and not event.is_permit else {}
        lettered = {} if event.error is None else {"lettered": True}
        return {
            **lettered,
            "record": [record.topic, record.partition, record.offset, record.timestamp],
            "key": _text(record.key),
            "value": _text(record.value),
            "headers": [(name, _text(value)) for name, value in record.headers],
        }

    def _event(self, ticket: Ticket, name: str, fields: Mapping[str, Any]) -> Event:
        if "answer" in fields:
            return self._answer(ticket, name, _bytes(fields["answer"]) or b"")
        if "record" not in fields:
            return Event(ticket, None, parked_as=name)
        topic, number, offset, timestamp = fields["record"]
        headers = tuple((name, _bytes(value) or b"") for name, value in fields["headers"])
        key, value = _bytes(fields["key"]), _bytes(fields["value"])
        record = InputRecord(topic, number, offset, key, value, headers, timestamp)
        return self._read(ticket, name, record, is_lettered="lettered" in fields)

    def _answer(self, ticket: Ticket, name: str, data: bytes) -> Event:
        """Return a parked answer; one that cannot be read is set aside like a record, from where it is stored."""
        try:
            return Event(ticket, self._machine.decode(data), parked_as=name)
        except PoisonError as error:
            key = storage_key(ticket.key, name).encode()
            record = InputRecord(self._machine.state_topic, ticket.owned.partition, UNKNOWN_OFFSET, key, data, (), 0)
            return Event(ticket, None, record, error=error, parked_as=name)

    def _read(self, ticket: Ticket, name: str, record: InputRecord, *, is_lettered: bool) -> Event:
        """Return a parked record; one that this build rejects is set aside, unless its dead letter is out."""
        try:
            return Event(ticket, self._machine.arrived(record)[1], record, parked_as=name)
        except PoisonError as error:
            if not is_lettered:
                return Event(ticket, None, record, error=error, parked_as=name)
            _, remains = self._machine.poisoned(record, error)
            if remains is None:
                return Event(ticket, None, parked_as=name)
            return Event(ticket, remains[1], record, error=error, parked_as=name)


def _number(name: str) -> int:
    return int(name.removeprefix(PARKED_PREFIX), 16)


def _unset_timers(partition: Partition, key: str) -> None:
    for name, entry in _timed(partition, key):
        bare = Entry(entry.gauge, None, is_behind_evidence=False, is_waiting=entry.is_waiting, body=entry.body)
        partition.put(key, name, bare)


def _set_timers(partition: Partition, key: str) -> None:
    for name, entry in _timed(partition, key):
        partition.put(key, name, entry)


def _timed(partition: Partition, key: str) -> list[tuple[str, Entry]]:
    """Return the parts of a key that have a timer, as they are stored; all are read before any is written."""
    names = [name for name in partition.names(key) if not name.startswith(PARKED_PREFIX)]
    parts = [(name, partition.read(storage_key(key, name))) for name in names]
    return [(name, partition.entry_of(part)) for name, part in parts if part is not None and part.timer is not None]


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _bytes(text: object) -> bytes | None:
    return None if text is None else base64.b64decode(str(text))
