"""Bringing a partition's state back: nothing is decided before it is whole.

The procedure (docs/kafka-rules.md): the group's position with read_committed, which waits out an open transaction
of the former owner; then the high watermark of the state partition; then read to there. Stopping at the last stable
offset of the moment would miss what is being committed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from processor.engine.entries import POSITION_KEY, SEAL_KEY, StoredPosition, position_in, unpack
from processor.engine.partition import EVIDENCE_WAIT_MS, Partition
from processor.engine.ports import (
    Change,
    Checkpoint,
    EndReached,
    InputRecord,
    Log,
    Machine,
    Observer,
    Owned,
    Position,
    Store,
)
from processor.engine.seals import seal_in
from processor.errors import BrokerUnavailable, StateUnreadable

BATCH_RECORDS = 2_000
RETRY_MS = 500
CHECKPOINT_AGE_MAX_MS = 6 * 24 * 3_600_000  # A day below delete.retention.ms, else tombstones may be missed.


@dataclass(slots=True)
class _Restore:
    partition: Partition
    store: Store
    began_at: int
    end: int | None = None  # None until the positions are known.
    committed: Position | None = None
    records: int = 0
    read_to: int = 0
    pending: dict[str, Change] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether the state is read to where it ended."""
        return self.end is not None and self.read_to >= self.end


class Restorer:
    """Restores the partitions that were assigned, a bit each turn, so that polling never stops."""

    def __init__(  # noqa: PLR0913  # its outside, passed once
        self,
        machine: Machine,
        log: Log,
        open_store: Callable[[int], Store],
        clock: Callable[[], int],
        observer: Observer,
        *,
        evidence_wait_ms: int = EVIDENCE_WAIT_MS,
    ) -> None:
        self._machine = machine
        self._evidence_wait_ms = evidence_wait_ms
        self._log = log
        self._open_store = open_store
        self._clock = clock
        self._observer = observer
        self._restores: dict[int, _Restore] = {}
        self._retry_at = 0

    @property
    def is_busy(self) -> bool:
        """Whether a restore is under way."""
        return bool(self._restores)

    def begin(self, owned: Owned) -> Partition:
        """Return the partition, still to be restored."""
        store = self._open_store(owned.partition)
        partition = Partition(owned, self._machine, store, self._evidence_wait_ms)
        self._restores[owned.partition] = _Restore(partition, store, self._clock())
        return partition

    def forget(self, number: int) -> None:
        """Stop restoring a partition that is gone."""
        restore = self._restores.pop(number, None)
        if restore is not None and restore.end is not None:
            self._log.state_stop(number)

    def turn(self) -> list[Partition]:
        """Go on; return the partitions that are whole now."""
        if not self._restores:
            return []
        self._open_some()
        if any(restore.end is not None for restore in self._restores.values()):
            for item in self._log.state_poll(0.02):
                self._read_or_stop(item)
        return [*filter(None, self._finish_whole())]

    def _open_some(self) -> None:
        """Find out what there is to read; where Kafka does not answer for one partition, the others wait as well."""
        for restore in list(self._restores.values()):
            if restore.end is None and self._clock() >= self._retry_at and not self._open(restore):
                self._retry_at = self._clock() + RETRY_MS

    def _open(self, restore: _Restore) -> bool:
        number = restore.partition.owned.partition
        try:
            restore.committed = self._log.last_committed(number)
            low, end = self._log.state_bounds(number)
            restore.read_to = self._begin_at(restore.store, low, end)
            self._log.state_start(number, restore.read_to)
        except BrokerUnavailable as error:
            self._observer.waiting_for(type(error).__name__)
            return False
        restore.end = end
        return True

    def _begin_at(self, store: Store, low: int, end: int) -> int:
        """Return from where the state must be read: from the store's checkpoint if that is of use, else all of it."""
        origin = self._log.state_id() if store.is_durable else ""
        checkpoint = store.checkpoint()
        is_of_use = checkpoint is not None and low <= checkpoint.offset <= end and store.origin() == origin
        if checkpoint is not None and is_of_use and self._clock() - checkpoint.at < CHECKPOINT_AGE_MAX_MS:
            return checkpoint.offset
        store.wipe(origin)
        return low

    def _read_or_stop(self, item: InputRecord | EndReached) -> None:
        try:
            self._read(item)
        except StateUnreadable as error:
            restore = self._restores[item.partition]
            self.forget(item.partition)
            self._stop(restore.partition, error)

    def _stop(self, partition: Partition, error: StateUnreadable) -> None:
        partition.stop(str(error))
        self._observer.stopped(partition.owned.partition, str(error))

    def _read(self, item: InputRecord | EndReached) -> None:
        restore = self._restores.get(item.partition)
        if restore is None:
            return
        if isinstance(item, EndReached):
            restore.read_to = max(restore.read_to, item.offset)
            return
        restore.records += 1
        restore.read_to = item.offset + 1
        storage = (item.key or b"").decode()
        restore.pending[storage] = Change(unpack(item.value) if item.value is not None else None, None)
        if len(restore.pending) >= BATCH_RECORDS:
            self._flush(restore)
            remaining = max(0, (restore.end or 0) - restore.read_to)
            self._observer.restoring(item.partition, restore.records, remaining)

    def _flush(self, restore: _Restore) -> None:
        if restore.pending:
            restore.store.write(restore.pending, Checkpoint(restore.read_to, self._clock()))
            restore.pending = {}

    def _finish_whole(self) -> list[Partition | None]:
        """Finish what is whole; for all of it together is asked how many partitions there are, and were."""
        whole = [restore for restore in self._restores.values() if restore.is_whole]
        if not whole:
            return []
        try:
            partitions, before = self._log.partitions(), self._log.partitions_before()
        except BrokerUnavailable as error:
            self._observer.waiting_for(type(error).__name__)
            return []
        return [self._finish(restore, partitions, before) for restore in whole]

    def _finish(self, restore: _Restore, partitions: int, before: int | None) -> Partition | None:
        number = restore.partition.owned.partition
        try:
            low, high = self._log.bounds(number)
        except BrokerUnavailable as error:
            self._observer.waiting_for(type(error).__name__)
            return None
        self._flush(restore)
        self._log.state_stop(number)
        del self._restores[number]
        try:
            check_partitions(number, partitions, before)
            self._place(restore, low, high, partitions)
        except StateUnreadable as error:
            self._stop(restore.partition, error)
            return None
        self._observer.restored(number, restore.records, (self._clock() - restore.began_at) / 1000)
        return restore.partition

    def _place(self, restore: _Restore, low: int, high: int, partitions: int) -> None:
        """Say where reading goes on; raises StateUnreadable for what is sealed, or contradicts the offsets."""
        seal = restore.store.get(SEAL_KEY)
        if seal is not None:
            raise StateUnreadable(seal_in(seal).text)
        entry = restore.store.get(POSITION_KEY)
        stored = position_in(entry) if entry is not None else None
        offset = start_of(stored, restore.committed, low, high, partitions)
        partition = restore.partition
        partition.position = stored if stored is not None else StoredPosition(offset, partitions)
        partition.next_offset = partition.read_to = offset
        if restore.committed is not None:
            partition.token, partition.mark = restore.committed.token, restore.committed.mark
        self._log.read_from(partition.owned.partition, offset)


def check_partitions(number: int, now: int, before: int | None) -> None:
    """Raise StateUnreadable where the input topic has other partitions than when the group committed (None: never).

    A partition that was added holds no position that could tell, and would take up keys whose state lies elsewhere;
    one that was added while this process ran is not among those that it counted.
    """
    if before is not None and before != now:
        raise _other_partitions(now, before)
    if number >= now:
        raise _other_partitions(number + 1, now)


def _other_partitions(now: int, before: int) -> StateUnreadable:
    return StateUnreadable(
        f"the input topic has {now} partitions but the state was written for {before}: keyed state cannot follow; use "
        "new topics (`processor topics migrate`)",
    )


def start_of(stored: StoredPosition | None, committed: Position | None, low: int, high: int, partitions: int) -> int:
    """Return the offset to go on from; raises StateUnreadable, with what to do, when going on could lose or repeat.

    The position in the state is the truth, whatever the group offset says: it was written with the state.
    """
    if stored is None and committed is not None:
        raise StateUnreadable(
            f"the group committed offset {committed.offset} but the state topic holds no position: it was deleted or "
            "emptied; restore it, or delete the group's offsets to start anew",
        )
    if stored is None:
        return low
    if stored.partitions != partitions:
        raise _other_partitions(partitions, stored.partitions)
    if committed is not None and committed.offset > stored.offset:
        raise StateUnreadable(
            f"the group committed offset {committed.offset} but the state stands at {stored.offset}: state was lost",
        )
    if stored.offset < low:
        raise StateUnreadable(
            f"the state stands at offset {stored.offset} but the input topic begins at {low}: input was deleted "
            "before it was read",
        )
    if stored.offset > high:
        raise StateUnreadable(
            f"the state stands at offset {stored.offset} but the input topic ends at {high}: it was made anew",
        )
    return stored.offset
