"""What moves with a deployment, and where it lands: pure.

State partition N belongs to input partition N, so a count is never changed in place: all of it is written anew, each
entry and each unread record to the partition of its key. A key's partition is Java's: murmur2 of its bytes.
"""

import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, NamedTuple, TypeAlias

from processor.engine.entries import split_key
from processor.engine.ports import Headers

LANES: Final = "preparation"  # The decider whose keys are upstream's.
HASHED: Final = "sha256:"  # Begins the lane of a message key that is no plain text.
_HASHED_LENGTH = len(HASHED) + 64
_KNOWN = "known/"
_SEED, _MIX, _WORD, _POSITIVE = 0x9747B28C, 0x5BD1E995, 0xFFFF_FFFF, 0x7FFF_FFFF
_DIGEST_BYTES = 16
_DIGESTS = 1 << (8 * _DIGEST_BYTES)


class StateRecord(NamedTuple):
    """The latest value of a storage key; `message_key` is the lane's, where only the state knows it."""

    decider: str
    partition: int
    storage: str
    value: bytes
    message_key: bytes | None = None


class UnreadRecord(NamedTuple):
    """A record of a decider's input that is not decided yet."""

    decider: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class ControlRecord(NamedTuple):
    """The last word on one workflow."""

    key: bytes
    value: bytes


Item: TypeAlias = StateRecord | UnreadRecord | ControlRecord


def murmur2(data: bytes) -> int:
    """Hash as `org.apache.kafka.common.utils.Utils.murmur2` does, as an unsigned number."""
    whole = len(data) & ~3
    hashed = _SEED ^ len(data)
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        mixed = word * _MIX & _WORD
        mixed = (mixed ^ mixed >> 24) * _MIX & _WORD
        hashed = (hashed * _MIX & _WORD) ^ mixed
    if whole < len(data):
        hashed = (hashed ^ int.from_bytes(data[whole:], "little")) * _MIX & _WORD
    hashed = (hashed ^ hashed >> 13) * _MIX & _WORD
    return hashed ^ hashed >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key."""
    return (murmur2(key) & _POSITIVE) % partitions


def is_hashed(decider: str, state_key: str) -> bool:
    """Say whether a state key does not tell the message key that it stands for."""
    return decider == LANES and len(state_key) == _HASHED_LENGTH and state_key.startswith(HASHED)


@dataclass(frozen=True, slots=True)
class Placement:
    """How many partitions each decider has at its new place; the input of those that are `kept` stays where it is."""

    partitions: Mapping[str, int]
    kept: frozenset[str] = frozenset()

    def of_state(self, record: StateRecord) -> Sequence[int]:
        """Return the partitions that an entry goes to: the one of its key.

        A lane whose message key nobody remembers goes to all of them: what is left of it are ids and subjects that are
        known, each of which is forgotten by its own timer.
        """
        if record.decider in self.kept:
            return (record.partition,)
        count, state_key = self.partitions[record.decider], split_key(record.storage)[0]
        if record.message_key is not None:
            return (partition_of(record.message_key, count),)
        return range(count) if is_hashed(record.decider, state_key) else (partition_of(state_key.encode(), count),)

    def of_input(self, record: UnreadRecord) -> int | None:
        """Return the partition that an unread record goes to, None where it stays; without a key any one will do."""
        if record.decider in self.kept:
            return None
        count = self.partitions[record.decider]
        return record.partition % count if record.key is None else partition_of(record.key, count)


@dataclass(frozen=True, slots=True)
class Sample:
    """What the last records of the requests topic show of its publishers: how many had no key, or lay elsewhere."""

    without_key: int = 0
    elsewhere: int = 0


@dataclass(slots=True)
class LaneCheck:
    """Whether the lanes lie where murmur2 of their message key puts them, as publishers of ours choose it.

    A request without a key lies anywhere, in a lane that knows its own id and no other.
    """

    partitions: int
    sample: Sample
    lanes_elsewhere: int = 0  # Of requests that had a key.
    lanes_anywhere: int = 0  # Elsewhere too, though their requests may have had none.
    _lane: str | None = None  # The last one that lies elsewhere.
    _had_key: bool = False

    def see(self, record: StateRecord) -> None:
        """Take an entry of the state of preparation into account; those of one lane follow each other."""
        lane, part = split_key(record.storage)
        if record.message_key is None and is_hashed(record.decider, lane):
            return
        key = lane.encode() if record.message_key is None else record.message_key
        if partition_of(key, self.partitions) == record.partition:
            return
        if lane != self._lane:
            self._lane, self._had_key = lane, False
            self.lanes_anywhere += 1
        is_of_another_id = part.startswith(_KNOWN) and part != f"{_KNOWN}{lane}"
        if not self._had_key and (record.message_key is not None or is_of_another_id):
            self._had_key = True
            self.lanes_anywhere -= 1
            self.lanes_elsewhere += 1

    def complaint(self) -> str:
        """Return why lanes cannot be placed anew, empty when they can."""
        found = f"{self.lanes_elsewhere + self.lanes_anywhere} lanes and {self.sample.elsewhere} records lie elsewhere"
        if self.lanes_elsewhere or self.sample.elsewhere:
            return f"publishers of requests do not choose partitions by murmur2 of the key: {found}"
        if self.lanes_anywhere and not self.sample.without_key:
            return f"nothing shows that publishers of requests choose partitions by murmur2 of the key: {found}"
        return ""


@dataclass(slots=True)
class Tally:
    """How many entries and records there are of each decider and partition, and digests of what they say.

    The order of entries does not matter, that of records does.
    """

    entries: Counter[tuple[str, int]] = field(default_factory=Counter)
    records: Counter[tuple[str, int]] = field(default_factory=Counter)
    state_digests: dict[tuple[str, int], int] = field(default_factory=dict)
    input_digests: dict[tuple[str, int], bytes] = field(default_factory=dict)

    def entry(self, decider: str, partition: int, storage: str, value: bytes) -> None:
        """Count an entry of a state partition."""
        place = (decider, partition)
        self.entries[place] += 1
        digest = int.from_bytes(_digest(b"", storage.encode(), value))
        self.state_digests[place] = (self.state_digests.get(place, 0) + digest) % _DIGESTS

    def record(self, partition: int, record: UnreadRecord) -> None:
        """Count a record of an input partition."""
        place = (record.decider, partition)
        self.records[place] += 1
        said = b"".join(name.encode() + content for name, content in record.headers)
        digest = _digest(self.input_digests.get(place, b""), record.key or b"", record.value or b"")
        self.input_digests[place] = _digest(digest, b"", said)

    def differences(self, other: "Tally") -> Iterator[str]:
        """Give the places where the other one counted something else."""
        for what, mine, theirs in (
            ("state", self.state_digests, other.state_digests),
            ("input", self.input_digests, other.input_digests),
        ):
            for decider, partition in sorted(mine.keys() | theirs.keys()):
                if mine.get((decider, partition)) != theirs.get((decider, partition)):
                    yield f"{what} of {decider}, partition {partition}"

    def of_decider(self, decider: str) -> tuple[int, int]:
        """Return how many entries and records a decider has."""
        return (
            sum(count for (name, _), count in self.entries.items() if name == decider),
            sum(count for (name, _), count in self.records.items() if name == decider),
        )


def _digest(before: bytes, key: bytes, value: bytes) -> bytes:
    hashed = blake2b(before, digest_size=_DIGEST_BYTES)
    hashed.update(struct.pack(">II", len(key), len(value)))
    hashed.update(key)
    hashed.update(value)
    return hashed.digest()
