"""Lanes whose message key is no plain text, gathered from all partitions before they are written anywhere.

An earlier move may have left copies of one lane in every partition, of which requests came in at one alone: what that
one knows counts.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from processor.adapters.codec import Codec
from processor.adapters.relocation import StateRecord
from processor.adapters.store_rocks import RocksStore
from processor.core.state import KnownRequest, KnownSubject
from processor.engine.entries import split_key, unpack
from processor.engine.ports import Change, Entry
from processor.errors import ProcessorError

_OLDEST: Final = (0, 0)


class HashedLanes:
    """The best copy of each entry, on disk; a `with` closes it."""

    def __init__(self, directory: Path, codec: Codec) -> None:
        self._entries = RocksStore(directory / "entries")
        self._keys = RocksStore(directory / "keys")
        self._codec = codec

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._entries.close()
        self._keys.close()

    def put(self, record: StateRecord) -> None:
        """Take one copy of an entry."""
        if record.message_key is not None:
            lane = split_key(record.storage)[0]
            self._keys.write({lane: Change(_plain(record.message_key), None)}, None)
        known = self._entries.get(record.storage)
        if known is None or self._rank(record) > self._rank(_record(record.storage, known)):
            self._entries.write({record.storage: Change(_wrapped(record), None)}, None)

    def items(self) -> Iterator[StateRecord]:
        """Give each entry once, with its message key where any copy of its lane knows it."""
        for storage, entry in self._entries.scan(""):
            key = self._keys.get(split_key(storage)[0])
            yield _record(storage, entry)._replace(message_key=None if key is None else key.body)

    def _rank(self, record: StateRecord) -> tuple[bool, tuple[int, int]]:
        """Return how much a copy counts: one of a lane with work in it most, then the one that heard the latest."""
        part: object = None
        with suppress(ProcessorError):  # A part that this build cannot read, or a fact that was set aside.
            part = self._codec.decode(unpack(record.value).body)
        age = _OLDEST
        if isinstance(part, KnownRequest):
            age = (part.link_attempt, int(part.launch_key is not None))
        elif isinstance(part, KnownSubject):
            age = (part.made_at, 0)
        return record.message_key is not None, age


def _wrapped(record: StateRecord) -> Entry:
    key = None if record.message_key is None else b64encode(record.message_key).decode()
    fields = [record.decider, record.partition, b64encode(record.value).decode(), key]
    return _plain(json.dumps(fields).encode())


def _record(storage: str, entry: Entry) -> StateRecord:
    decider, partition, value, key = json.loads(entry.body)
    return StateRecord(decider, partition, storage, b64decode(value), None if key is None else b64decode(key))


def _plain(body: bytes) -> Entry:
    return Entry(0, None, is_behind_evidence=False, is_waiting=False, body=body)
