"""How long input waited while instances were replaced, told from what stands in the topics alone.

Every commit of a decider ends with a position record in the state partition of the same number as its input partition.
So a record of the input is decided with the first position beyond its offset, and its delay is the time between both
records. The pause of a partition in a replacement is the longest delay of any record that waited then, less the delay
that is usual: from the last decision before to the first one after, seen by who waits longest.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from processor.engine.entries import POSITION_KEY, position_in, unpack
from tests.support.reading import Record, all_records

INPUTS: Mapping[str, str] = {"preparation": "requests", "launch": "launches", "completion": "workflows"}


@dataclass(frozen=True, slots=True)
class Window:
    """A replacement: from the SIGTERM to the new process ready; instants in milliseconds."""

    name: str
    began_at: int
    ended_at: int


@dataclass(frozen=True, slots=True)
class Delay:
    """How long one record of the input waited to be decided."""

    appended_at: int
    decided_at: int

    @property
    def ms(self) -> int:
        """In milliseconds."""
        return max(0, self.decided_at - self.appended_at)


@dataclass(frozen=True, slots=True)
class Pause:
    """The pause of one partition in one replacement."""

    window: str
    decider: str
    partition: int
    ms: int


def delays(input_records: Sequence[Record], state_records: Sequence[Record]) -> Mapping[int, list[Delay]]:
    """Return the delays of each partition; what was never decided is left out, for the auditor tells that."""
    decided: dict[int, list[tuple[int, int]]] = {}  # Partition -> position and when it was reached.
    for record in state_records:
        if record.key == POSITION_KEY.encode() and record.value is not None:
            offset = position_in(unpack(record.value)).offset
            reached = decided.setdefault(record.partition, [])
            if not reached or offset > reached[-1][0]:
                reached.append((offset, record.at))
    found: dict[int, list[Delay]] = {}
    for record in input_records:
        reached = decided.get(record.partition, [])
        beyond = bisect_right(reached, record.offset, key=lambda each: each[0])
        if beyond < len(reached):
            found.setdefault(record.partition, []).append(Delay(record.at, reached[beyond][1]))
    return found


def pauses(found: Mapping[int, Sequence[Delay]], decider: str, windows: Sequence[Window]) -> Iterator[Pause]:
    """Give the pause of each partition in each replacement in which anything of it waited."""
    usual_ms = median(delay.ms for each in found.values() for delay in each)
    for window in windows:
        for partition, each in found.items():
            waited = [
                delay.ms
                for delay in each
                if delay.appended_at <= window.ended_at and delay.decided_at >= window.began_at
            ]
            if waited:
                yield Pause(window.name, decider, partition, max(0, round(max(waited) - usual_ms)))


def pauses_of(bootstrap_servers: str, application_id: str, windows: Sequence[Window]) -> list[Pause]:
    """Read the topics of an installation and return every pause."""
    return [
        pause
        for decider, topic in INPUTS.items()
        for pause in pauses(
            delays(
                all_records(bootstrap_servers, f"{application_id}.{topic}"),
                all_records(bootstrap_servers, f"{application_id}.{decider}-state"),
            ),
            decider,
            windows,
        )
    ]


def quantile(values: Sequence[int], part: float) -> int:
    """Return the smallest value that so great a part of all is not above; 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, -int(-part * len(ordered) // 1) - 1))] if ordered else 0
