"""Kafka in memory, honest where exactly-once is at stake: logs with transactions, a group with generations.

What is modelled: markers take offsets; readers see committed records up to the last stable offset; a member is fenced
when it sends offsets, not when it commits; pending offsets hide the committed ones; a transaction that is too old is
aborted; partitions pass from one member to another only after they were given up, or their owner was expelled.
"""

import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from random import Random

from processor.engine.ports import Headers, OutputRecord, Position

TRANSACTION_TIMEOUT_MS = 10_000
_offset_of = attrgetter("offset")


@dataclass(slots=True, eq=False)
class Transaction:
    """One transaction: open until it is ended, one way or the other."""

    expires_at: int
    is_open: bool = True
    is_committed: bool = False
    logs: list["PartitionLog"] = field(default_factory=list)
    records: list[OutputRecord] = field(default_factory=list)
    positions: dict[int, Position] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One record, or a marker where `record` is None."""

    offset: int
    at: int
    record: OutputRecord | None
    transaction: Transaction | None


class PartitionLog:
    """One partition of a topic."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.start = 0
        self.end = 0  # The high watermark.
        self._open: dict[Transaction, int] = {}

    def append(self, record: OutputRecord | None, at: int, transaction: Transaction | None = None) -> int:
        """Append a record (None: a marker) and return its offset."""
        if transaction is not None and record is not None and transaction not in self._open:
            self._open[transaction] = self.end
            transaction.logs.append(self)
        self.rows.append(Row(self.end, at, record, transaction))
        self.end += 1
        return self.end - 1

    def ended(self, transaction: Transaction, at: int) -> None:
        """Write the marker of a transaction that ended."""
        del self._open[transaction]
        self.append(None, at, transaction)

    @property
    def stable_end(self) -> int:
        """Up to where a reader of committed records may read."""
        return min(self._open.values()) if self._open else self.end

    def read(self, offset: int, most: int) -> tuple[list[tuple[int, OutputRecord, int]], int]:
        """Return committed (offset, record, timestamp) from an offset on, and where to read next."""
        stable = self.stable_end
        if offset >= stable:
            return [], offset
        found: list[tuple[int, OutputRecord, int]] = []
        for row in self.rows[bisect_left(self.rows, offset, key=_offset_of) :]:
            if row.offset >= stable:
                break
            if row.record is not None and (row.transaction is None or row.transaction.is_committed):
                if len(found) == most:
                    return found, row.offset
                found.append((row.offset, row.record, row.at))
        return found, max(offset, stable)

    def committed(self) -> Iterator[OutputRecord]:
        """Return all committed records."""
        return (record for _, record, _ in self.read(0, 1 << 62)[0])

    def compact(self) -> None:
        """Keep the last committed record of each key, as a cleaner would, and all that is not yet stable."""
        stable = self.stable_end
        last = {record.key: offset for offset, record, _ in self.read(0, 1 << 62)[0]}
        kept = set(last.values())
        self.rows = [row for row in self.rows if row.offset >= stable or row.offset in kept]


class Group:
    """One consumer group, with cooperative rebalances."""

    def __init__(self, partitions: int, rng: Random) -> None:
        self.generation = 0
        self.members: list[str] = []
        self.target: dict[int, str | None] = dict.fromkeys(range(partitions))
        self.owner: dict[int, str | None] = dict.fromkeys(range(partitions))
        self.offsets: dict[int, Position] = {}
        self._rng = rng

    def join(self, member: str) -> None:
        """Take a member in."""
        self.members.append(member)
        self.rebalance()

    def leave(self, member: str) -> None:
        """Let a member go, or expel it: its partitions are free at once."""
        if member in self.members:
            self.members.remove(member)
            self.owner = {number: None if owner == member else owner for number, owner in self.owner.items()}
            self.rebalance()

    def rebalance(self) -> None:
        """Say anew who shall have what; those who have it still must give it up first."""
        self.generation += 1
        shuffled = self._rng.sample(self.members, len(self.members))
        numbers = self._rng.sample(list(self.target), len(self.target))
        for index, number in enumerate(numbers):
            self.target[number] = shuffled[index % len(shuffled)] if shuffled else None

    def give_up(self, member: str, numbers: list[int]) -> None:
        """Hear that a member gave partitions up: a second rebalance hands them out."""
        for number in numbers:
            if self.owner[number] == member:
                self.owner[number] = None
        self.generation += 1

    def take(self, member: str) -> list[int]:
        """Return the partitions that a member shall have and nobody has, and give them to it."""
        gained = [n for n, target in self.target.items() if target == member and self.owner[n] is None]
        for number in gained:
            self.owner[number] = member
        return gained

    def is_member(self, member: str, generation: int) -> bool:
        """Say whether offsets sent with this membership are accepted."""
        return member in self.members and generation == self.generation


class Cluster:
    """All topics, one group, and time."""

    def __init__(self, rng: Random, partitions: int, input_topic: str, state_topic: str) -> None:
        self.now = 1_000_000
        self.partitions = partitions
        self.input_topic = input_topic
        self.state_topic = state_topic
        self.state_id = "first"
        self.partitions_before: int | None = None
        self.group = Group(partitions, rng)
        self.is_down = False
        self.topics: dict[str, list[PartitionLog]] = {}
        self.open: list[Transaction] = []
        self.on_committed: Callable[[Transaction], None] = lambda _: None
        self.violations: list[str] = []

    def logs(self, topic: str) -> list[PartitionLog]:
        """Return the partitions of a topic."""
        logs = self.topics.get(topic)
        if logs is None:
            logs = self.topics[topic] = [PartitionLog() for _ in range(self.partitions)]
        return logs

    def append(self, record: OutputRecord, transaction: Transaction | None = None) -> tuple[int, int]:
        """Append a record and return its partition and offset."""
        number = zlib.crc32(record.key or b"") % self.partitions if record.partition is None else record.partition
        if transaction is not None:
            transaction.records.append(record)
        return number, self.logs(record.topic)[number].append(record, self.now, transaction)

    def publish(self, key: bytes, value: bytes, headers: Headers = ()) -> None:
        """Append an input record as somebody upstream would."""
        self.append(OutputRecord(self.input_topic, key, value, headers))

    def begin(self) -> Transaction:
        """Open a transaction."""
        transaction = Transaction(self.now + TRANSACTION_TIMEOUT_MS)
        self.open.append(transaction)
        return transaction

    def end(self, transaction: Transaction, *, is_commit: bool) -> None:
        """End a transaction; one that has ended stays as it is."""
        if not transaction.is_open:
            return
        transaction.is_open, transaction.is_committed = False, is_commit
        self.open.remove(transaction)
        for log in transaction.logs:
            log.ended(transaction, self.now)
        if is_commit:
            self._move(transaction)
            self.on_committed(transaction)

    def _move(self, transaction: Transaction) -> None:
        for number, position in transaction.positions.items():
            before = self.group.offsets.get(number)
            if before is not None and position.offset < before.offset:
                self.violations.append(f"[{number}] went back from {before.offset} to {position.offset}")
            self.group.offsets[number] = position

    def is_unstable(self, number: int) -> bool:
        """Say whether offsets of a partition hang in an open transaction."""
        return any(number in transaction.positions for transaction in self.open)

    def passes(self, now: int) -> None:
        """Let time pass; the broker aborts what is too old."""
        self.now = max(self.now, now)
        for transaction in [one for one in self.open if one.expires_at <= self.now]:
            self.end(transaction, is_commit=False)

    def values(self, topic: str) -> list[OutputRecord]:
        """Return all committed records of a topic, by partition."""
        return [record for log in self.logs(topic) for record in log.committed()]
