"""What one transaction will hold: the facts decided since the last commit, and all that follows from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from processor.engine.entries import StoredPosition
from processor.engine.partition import Partition
from processor.engine.ports import Answer, Call, Change, Fact, InputRecord, Output, OutputRecord, Position, Ticket
from processor.errors import PoisonError


class Event(NamedTuple):
    """One fact for one key, with where it came from, so that an aborted transaction can decide it again."""

    ticket: Ticket
    fact: Fact
    record: InputRecord | None = None  # Set when the fact is an input record.
    answer: Answer | None = None  # Set when the fact came from a call or permit.
    error: PoisonError | None = None  # Set when the record cannot be read; a fact is what its headers left.
    parked_as: str | None = None  # Set when it was parked, under this part name; a mark has no fact.

    @property
    def is_permit(self) -> bool:
        """Whether the fact is a permit that was granted."""
        return self.answer is not None and self.answer.call is None

    @property
    def is_unreadable(self) -> bool:
        """Whether it is a record that cannot be read and whose dead letter is not out."""
        return self.error is not None and self.fact is None


@dataclass(slots=True)
class Batch:
    """The open transaction, before it is sent."""

    events: list[Event] = field(default_factory=list)
    outputs: list[OutputRecord] = field(default_factory=list)
    calls: list[tuple[Ticket, Call]] = field(default_factory=list)
    wants: list[tuple[Ticket, str]] = field(default_factory=list)
    unused: list[Ticket] = field(default_factory=list)  # Permits to give back.
    happened: list[Output] = field(default_factory=list)  # What the outputs say, for the observer.
    touched: dict[int, Partition] = field(default_factory=dict)
    outputs_bytes: int = 0

    def publish(self, record: OutputRecord) -> None:
        """Add one record."""
        self.outputs.append(record)
        self.outputs_bytes += len(record.value or b"")

    def seal(self, token: str, now: int, marks: Mapping[int, int]) -> "Sealed":
        """Return all of it as records and positions; `marks` are those of partitions that keep count, else empty."""
        parts = {number: partition.records(now) for number, partition in self.touched.items()}
        return Sealed(
            batch=self,
            token=token,
            at=now,
            records=[*self.outputs, *(record for records, _, _ in parts.values() for record in records)],
            positions={
                number: Position(position.offset, token, marks.get(number) or self.touched[number].mark)
                for number, (_, _, position) in parts.items()
            },
            marks=marks,
            changes={number: (changes, position) for number, (_, changes, position) in parts.items()},
        )


@dataclass(frozen=True, slots=True)
class Sealed:
    """A transaction as it is sent; `token` is what proves later whether it was committed."""

    batch: Batch
    token: str
    at: int
    records: Sequence[OutputRecord]
    positions: Mapping[int, Position]
    changes: Mapping[int, tuple[Mapping[str, Change], StoredPosition]]
    marks: Mapping[int, int]

    def is_committed(self, found: Mapping[int, Position | None]) -> bool:
        """Say whether any of its partitions carries its token now: a transaction is there whole or not at all."""
        return any(position is not None and position.token == self.token for position in found.values())

    def strays(self, owned: Sequence[Partition], found: Mapping[int, Position | None]) -> list[Partition]:
        """Return the partitions whose token is neither of this transaction nor of the one before it.

        Somebody else wrote there: what we believe of them is worth nothing.
        """
        is_committed = self.is_committed(found)
        tokens = {number: position.token if position is not None else "" for number, position in found.items()}
        return [p for p in owned if tokens.get(p.owned.partition) != (self.token if is_committed else p.token)]
