"""Markers that the broker never wrote: where a transaction of ours that was not committed hangs.

A transaction ends with a marker in each of its partitions. A coordinator passes over those that have no leader at that
moment (their only replica restarts), and calls the transaction complete all the same. Nobody reads on there, until
the same producer ends another transaction there, whichever way that one ends: docs/kafka-rules.md, fact 14.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from confluent_kafka import TopicPartition

from processor.engine.ports import Outcome, OutputRecord

Place: TypeAlias = tuple[str, int]  # Topic and partition.


class Placed(NamedTuple):
    """A record that the broker confirmed, and where it lies."""

    record: OutputRecord
    partition: int
    offset: int

    @property
    def place(self) -> Place:
        """Return its topic and partition."""
        return self.record.topic, self.partition


@dataclass(frozen=True, slots=True)
class Ended:
    """A transaction that was asked to end, with those of its records that the broker confirmed."""

    outcome: Outcome
    placed: Sequence[Placed]
    offsets: Sequence[TopicPartition]

    def heads(self) -> Mapping[Place, Placed]:
        """Return its first record in each of its partitions."""
        return {each.place: each for each in reversed(self.placed)}


def hanging(ended: Ended, stable_ends: Mapping[Place, int]) -> Sequence[OutputRecord]:
    """Return the first record of each partition whose readers of committed records wait for this transaction.

    They stand at that very record; further on the transaction has its end, before it somebody else's is open.
    `stable_ends` are the last stable offsets, once the transaction is complete.
    """
    heads = ended.heads()
    return [
        head.record._replace(partition=head.partition)
        for place, head in heads.items()
        if stable_ends.get(place) == head.offset
    ]


def is_open_everywhere(ended: Ended, stable_ends: Mapping[Place, int], committed: Sequence[TopicPartition]) -> bool:
    """Whether no partition has the end of this transaction, and the group none of its offsets.

    `committed` is what the group committed of these partitions, whatever is pending.
    """
    tokens = {(part.partition, part.metadata) for part in committed}
    has_offsets = any((part.partition, part.metadata) in tokens for part in ended.offsets)
    return not has_offsets and len(hanging(ended, stable_ends)) == len(ended.heads())
