"""What a member does beside its work, one partition at a time."""

from collections.abc import Mapping, Sequence

from processor.adapters.store_memory import MemoryStore
from processor.engine.entries import StoredPosition
from processor.engine.partition import Partition, Phase
from processor.engine.ports import Log, Owned, Position
from processor.engine.upkeep import Purger
from tests.engine.toy import Toy
from tests.engine.world import Watcher

INTERVAL_MS = 60_000
TURN_MS = 1_000


class Purged(Log):
    """A log that tells which partitions were purged."""

    def __init__(self) -> None:
        self.purged: list[int] = []

    def committed(self, partitions: Sequence[int]) -> Mapping[int, Position | None]:
        """Return that everything was committed."""
        return dict.fromkeys(partitions, Position(100, "t"))

    def forget_before(self, partition: int, offset: int) -> bool:
        """Note the partition."""
        assert offset > 0, "only what was decided is deleted"
        self.purged.append(partition)
        return True


def partition_of(number: int) -> Partition:
    """Return a partition whose position moves on all the time."""
    partition = Partition(Owned(number, 1), Toy(), MemoryStore())
    partition.phase = Phase.RUNNING
    partition.position = StoredPosition(100, 1, tuple((second * TURN_MS, second + 1) for second in range(600)))
    return partition


def test_with_more_partitions_than_turns_in_an_interval_each_is_purged() -> None:
    """The one that has waited longest comes first, so a hundred partitions need a hundred turns and none starves."""
    log = Purged()  # type: ignore[abstract]  # a purge asks for nothing else
    purger = Purger(log, Watcher(), interval_ms=INTERVAL_MS, age_ms=0)
    partitions = {number: partition_of(number) for number in range(100)}
    for turn in range(200):
        purger.turn(partitions, INTERVAL_MS + turn * TURN_MS)
    assert log.purged == [*range(100), *range(100)]


def test_a_partition_is_purged_once_an_interval() -> None:
    """Deleting is a call of the broker, so it is seldom."""
    log = Purged()  # type: ignore[abstract]  # a purge asks for nothing else
    purger = Purger(log, Watcher(), interval_ms=INTERVAL_MS, age_ms=0)
    for turn in range(3 * INTERVAL_MS // TURN_MS):
        purger.turn({7: partition_of(7)}, INTERVAL_MS + turn * TURN_MS)
    assert log.purged == [7, 7, 7]
