"""What one transaction will hold: the facts decided since the last commit, and all that follows from them."""

from dataclasses import dataclass, field

from processor.engine.partition import Partition
from processor.engine.ports import Answer, Call, Fact, InputRecord, OutputRecord, Ticket


@dataclass(frozen=True, slots=True)
class Event:
    """One fact for one key, with where it came from, so that an aborted transaction can decide it again."""

    ticket: Ticket
    fact: Fact
    record: InputRecord | None = None  # Set when the fact is an input record.
    answer: Answer | None = None  # Set when the fact came from a call or permit.

    @property
    def is_permit(self) -> bool:
        """Whether the fact is a permit that was granted."""
        return self.answer is not None and self.answer.call is None


@dataclass(slots=True)
class Batch:
    """The open transaction, before it is sent."""

    events: list[Event] = field(default_factory=list)
    outputs: list[OutputRecord] = field(default_factory=list)
    calls: list[tuple[Ticket, Call]] = field(default_factory=list)
    wants: list[tuple[Ticket, str]] = field(default_factory=list)
    unused: list[Ticket] = field(default_factory=list)  # Permits to give back.
    touched: dict[int, Partition] = field(default_factory=dict)
    outputs_bytes: int = 0

    def publish(self, record: OutputRecord) -> None:
        """Add one record."""
        self.outputs.append(record)
        self.outputs_bytes += len(record.value or b"")
