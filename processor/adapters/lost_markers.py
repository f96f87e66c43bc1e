"""Markers that the broker never wrote: which partitions wait for the end of a transaction of ours, and what ends it.

A transaction ends with a marker in each of its partitions. A coordinator passes over those that have no leader at that
moment (their only replica restarts), and calls the transaction complete all the same. Nobody reads on there, until
the same producer ends another transaction there, whichever way that one ends: docs/kafka-rules.md, fact 16.
"""

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import structlog
from confluent_kafka import TopicPartition

from processor.engine.ports import Outcome, OutputRecord

Place: TypeAlias = tuple[str, int]  # Topic and partition.
_DOUBTFUL_MAX = 10

log = structlog.stdlib.get_logger()


class Placed(NamedTuple):
    """A record that the broker confirmed, and where it lies."""

    record: OutputRecord
    partition: int
    offset: int

    @property
    def place(self) -> Place:
        """Return its topic and partition."""
        return self.record.topic, self.partition

    @property
    def copy(self) -> OutputRecord:
        """Return the same for the same partition."""
        return self.record._replace(partition=self.partition)


@dataclass(frozen=True, slots=True)
class Ended:
    """A transaction that was asked to end, with those of its records that the broker confirmed."""

    outcome: Outcome
    placed: Sequence[Placed]
    offsets: Sequence[TopicPartition]

    def firsts(self) -> Mapping[Place, int]:
        """Return the offset of its first record in each of its partitions."""
        return {each.place: each.offset for each in reversed(self.placed)}

    def within(self, places: Collection[Place]) -> "Ended":
        """Return what it is in these partitions."""
        return replace(self, placed=[each for each in self.placed if each.place in places])


@dataclass(frozen=True, slots=True)
class Repair:
    """What brings a transaction to its end where it has none: first what is aborted there, then what is committed."""

    aborted: Sequence[Placed] = ()  # The first record of each partition that is to be ended as aborted.
    committed: Sequence[OutputRecord] = ()
    offsets: Sequence[TopicPartition] = ()  # With what is committed, or with what is aborted where nothing is.


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done about a transaction now, and what of it can only be told later."""

    repair: Repair | None = None
    doubtful: Ended | None = None


def waiting(firsts: Mapping[Place, int], stable_ends: Mapping[Place, int]) -> set[Place]:
    """Return the partitions whose readers of committed records wait for our transaction, not for an earlier one.

    `stable_ends` are their last stable offsets, once no transaction of ours is under way.
    """
    return {place for place, first in firsts.items() if stable_ends.get(place) == first}


def judge(ended: Ended, stable_ends: Mapping[Place, int], state_topic: str) -> Verdict:
    """Say how a transaction is ended in the partitions where it hangs.

    What was committed is committed there too. In a state partition it is enough to write the same once more: the last
    record of a key counts. Elsewhere the first copy is aborted, or readers would see two. What was not committed is
    aborted. So is what nobody knows, where it hangs everywhere; where it hangs in part, nobody can tell what it is in
    the other part. Of a partition where somebody else's transaction is open before it, nothing can be told yet.
    """
    firsts = ended.firsts()
    ours = waiting(firsts, stable_ends)
    later = {place for place, first in firsts.items() if stable_ends.get(place, first) < first}
    if ended.outcome is Outcome.UNKNOWN and ours != firsts.keys():
        return Verdict(doubtful=ended if ours | later == firsts.keys() else None)
    return Verdict(_repair(ended, ours, state_topic) if ours else None, ended.within(later) if later else None)


def _repair(ended: Ended, hanging: set[Place], state_topic: str) -> Repair:
    heads = {each.place: each for each in reversed(ended.placed) if each.place in hanging}
    if ended.outcome is not Outcome.COMMITTED:
        return Repair([*heads.values()], offsets=ended.offsets)
    numbers = {number for topic, number in hanging if topic == state_topic}
    return Repair(
        [head for head in heads.values() if head.record.topic != state_topic],
        [each.copy for each in ended.placed if each.place in hanging],
        [part for part in ended.offsets if part.partition in numbers],
    )


FindEnds: TypeAlias = Callable[[Collection[Place]], Mapping[Place, int]]
Write: TypeAlias = Callable[[Sequence[OutputRecord], Sequence[TopicPartition]], Ended]


class Mending:
    """Ends transactions where the broker did not; each of them is complete for its coordinator.

    `find_ends` returns last stable offsets and raises BrokerUnavailable. Of more than ten doubtful ones the oldest are
    given up.
    """

    def __init__(self, find_ends: FindEnds, state_topic: str, name: str) -> None:
        self._find_ends = find_ends
        self._state_topic = state_topic
        self._name = name
        self._doubtful: deque[Ended] = deque(maxlen=_DOUBTFUL_MAX)
        self._repair: Repair | None = None

    @property
    def is_over(self) -> bool:
        """Whether no transaction is in doubt."""
        return not self._doubtful and self._repair is None

    def doubt(self, ended: Ended) -> None:
        """Look into a transaction whose end may be missing somewhere."""
        self._doubtful.append(ended)

    def go_on(self, commit: Write, abort: Write) -> None:
        """Look once at each doubtful one, and end those that hang, with transactions that commit and that abort.

        Raises what these and `find_ends` raise; then what was begun goes on the next time.
        """
        for _ in range(len(self._doubtful) + (self._repair is not None)):
            if self._repair is None:
                verdict = judge(self._doubtful[0], self._find_ends(self._doubtful[0].firsts()), self._state_topic)
                self._doubtful.popleft()
                self._doubtful.extend([verdict.doubtful] if verdict.doubtful is not None else [])
                self._repair = verdict.repair
            if self._repair is not None:
                self._carry_out(self._repair, commit, abort)
                self._repair = None

    def _carry_out(self, repair: Repair, commit: Write, abort: Write) -> None:
        firsts = {each.place: each.offset for each in repair.aborted}
        hanging = waiting(firsts, self._find_ends(firsts))  # Others are ended since an earlier try.
        if hanging:
            heads = [each.copy for each in repair.aborted if each.place in hanging]
            abort(heads, () if repair.committed else repair.offsets)
        if repair.committed:
            self.doubt(commit(repair.committed, repair.offsets))
        counts = {"aborted": len(repair.aborted), "committed": len(repair.committed)}
        log.warning("transaction.mended", topic=self._name, **counts)
