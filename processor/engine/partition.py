"""One owned partition: its position, its state with what the open transaction changes, its timers.

Committed parts lie in the store (and, decoded, in a bounded cache); what the open transaction changed lies in an
overlay. Commit moves the overlay down, rollback forgets it.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum, auto
from typing import Any, NamedTuple

from processor.engine.entries import (
    POSITION_KEY,
    RECORD_BYTES_MAX,
    SEPARATOR,
    StoredPosition,
    check_size,
    pack,
    position_entry,
    storage_key,
)
from processor.engine.ports import Change, Checkpoint, Decision, Entry, Machine, OutputRecord, Owned, Store

EVIDENCE_WAIT_MS = 3_600_000  # A timer waits no longer for what came before it.
EVIDENCE_STEP_MS = 200
CACHED_PARTS_MAX = 20_000
_EVICTED_AT_ONCE = CACHED_PARTS_MAX // 10


class Phase(Enum):
    """What an assigned partition is doing."""

    RESTORING = auto()
    RUNNING = auto()
    LEAVING = auto()  # No intake any more: being drained.
    STOPPED = auto()  # Needs a person or another build; the other partitions go on.


class Changed(NamedTuple):
    """A part as it will be written; `part` is None where the engine wrote it, for example without its timer."""

    entry: Entry
    part: Any = None


class KeyView(Mapping[str, Any]):
    """All parts of one state key, read through overlay, cache and store."""

    __slots__ = ("_key", "_partition")

    def __init__(self, partition: "Partition", key: str) -> None:
        self._partition = partition
        self._key = key

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401  # the machine's own part
        """Return the part of that name, or the default."""
        part = self._partition.read(storage_key(self._key, name))
        return default if part is None else part

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401  # the machine's own part
        part = self._partition.read(storage_key(self._key, name))
        if part is None:
            raise KeyError(name)
        return part

    def __iter__(self) -> Iterator[str]:
        return self._partition.names(self._key)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return self.get(str(name)) is not None


class Partition:
    """State, position and timers of one owned partition."""

    def __init__(
        self,
        owned: Owned,
        machine: Machine,
        store: Store,
        evidence_wait_ms: int = EVIDENCE_WAIT_MS,
    ) -> None:
        self.owned = owned
        self.phase = Phase.RESTORING
        self.why_stopped: str | None = None
        self.token = ""
        self.read_to = 0
        self.counts = [0] * (len(machine.gauges) + 1)  # The last one counts parked facts.
        self.position = StoredPosition(0, 0)
        self.next_offset = 0
        self.parked: dict[str, int] = {}  # Parked state key -> number of its next parked event.
        self._parked_before: dict[str, int] = {}  # The same before the open transaction.
        self._machine = machine
        self._evidence_wait_ms = evidence_wait_ms
        self._store = store
        self._overlay: dict[str, Changed | None] = {}
        self._cache: dict[str, Any] = {}
        self._next_due: dict[bool, int | None] = {False: None, True: None}
        self._observed: tuple[int, int] | None = None
        self._observed_at = 0
        self._evidence_at = 0
        self.mark = 0  # As committed: all that came before this instant is judged.
        self._unjudged: dict[str, int] = {}  # Committed parts of that class, the oldest first -> came after when.
        self._whole_at = 0  # All that had come before this instant was committed; what is read now came later.
        self._sealed_at = 0  # The same, once the transaction under way is committed.

    def stop(self, why: str) -> None:
        """Work no more until a person has done what `why` says, or another build is here."""
        self.phase, self.why_stopped = Phase.STOPPED, why

    # --- state -----------------------------------------------------------------------------------------------

    def view(self, key: str) -> KeyView:
        """Return the state of one key."""
        return KeyView(self, key)

    def read(self, storage: str) -> Any:  # noqa: ANN401  # the machine's own part
        """Return the part under a storage key as the open transaction sees it, or None."""
        if storage in self._overlay:
            changed = self._overlay[storage]
            if changed is None:
                return None
            return self._machine.decode(changed.entry.body) if changed.part is None else changed.part
        part = self._cache.get(storage)
        if part is None:
            entry = self._store.get(storage)
            if entry is None:
                return None
            part = self._cache[storage] = self._machine.decode(entry.body)
        return part

    def names(self, key: str) -> Iterator[str]:
        """Return the part names of one key, as the open transaction sees them."""
        prefix = key + SEPARATOR
        stored = {name for name, _ in self._store.scan(prefix)}
        changed = {name for name in self._overlay if name.startswith(prefix)}
        for name in sorted(stored | changed):
            if self._overlay.get(name, self) is not None:
                yield name[len(prefix) :]

    def apply(self, key: str, decision: Decision, bytes_max: int = RECORD_BYTES_MAX) -> None:
        """Take over what a decision changes; raises RecordTooLarge, with nothing changed, when a part is too large."""
        changes: dict[str, Changed | None] = {}
        for name, part in decision.changes.items():
            storage = storage_key(key, name)
            changes[storage] = None if part is None else Changed(self.entry_of(part), part)
        for storage, changed in changes.items():
            check_size(bytes_max, storage.encode(), None if changed is None else changed.entry.body)
        self._overlay.update(changes)

    def put(self, key: str, name: str, entry: Entry | None) -> None:
        """Write one part as the engine wants it."""
        self._overlay[storage_key(key, name)] = None if entry is None else Changed(entry)

    def hold(self, key: str, number: int) -> None:
        """Say that a key is parked, in the committed state, with `number` as that of its next parked event."""
        for parked in (self.parked, self._parked_before):
            parked[key] = max(parked.get(key, 0), number)

    def moved_to(self, offset: int) -> None:
        """Say that the input below `offset` is decided."""
        self.next_offset = offset
        self.read_to = max(self.read_to, offset)

    # --- commit ----------------------------------------------------------------------------------------------

    def records(self, now: int) -> tuple[list[OutputRecord], dict[str, Change], StoredPosition]:
        """Return what a transaction must hold for this partition, its position record last."""
        topic, number = self._machine.state_topic, self.owned.partition
        changes = {storage: self._change(storage, changed) for storage, changed in self._overlay.items()}
        position = self.position.moved(self.next_offset, now)
        changes[POSITION_KEY] = Change(position_entry(position), None)
        records = [
            OutputRecord(topic, storage.encode(), pack(change.entry) if change.entry else None, (), number)
            for storage, change in changes.items()
        ]
        return records, changes, position

    def committed(
        self,
        changes: Mapping[str, Change],
        position: StoredPosition,
        token: str,
        checkpoint: Checkpoint | None,
        mark: int = 0,
    ) -> None:
        """Make what `records` returned the committed state."""
        for storage, change in changes.items():
            if storage != POSITION_KEY:
                self._count(storage, change)
                self._note_judged(storage, change.entry)
            if change.entry is not None and change.entry.due_at is not None:
                self._wake(change.entry.due_at, is_behind_evidence=change.entry.is_behind_evidence)
        self._store.write(changes, checkpoint)
        for storage, changed in self._overlay.items():
            if changed is None or changed.part is None:
                self._cache.pop(storage, None)
            else:
                self._cache[storage] = changed.part
        self._overlay.clear()
        self._evict()
        self._parked_before = dict(self.parked)
        self.position, self.token = position, token
        if mark:
            self.mark, self._whole_at = mark, self._sealed_at

    def rollback(self) -> None:
        """Forget what the open transaction changed."""
        self._overlay.clear()
        self.parked = dict(self._parked_before)
        self.next_offset = self.position.offset

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _change(self, storage: str, changed: Changed | None) -> Change:
        old = self._cache.get(storage)
        old_timer = old.timer if old is not None else None
        old_due = (old_timer.due_at, old_timer.is_behind_evidence) if old_timer is not None else None
        return Change(None if changed is None else changed.entry, old_due)

    def entry_of(self, part: Any) -> Entry:  # noqa: ANN401  # the machine's own part
        """Return a part of the machine as it is stored."""
        timer = part.timer
        return Entry(
            gauge=self._machine.gauge_of(part),
            due_at=None if timer is None else timer.due_at,
            is_behind_evidence=timer is not None and timer.is_behind_evidence,
            is_waiting=part.is_waiting,
            body=self._machine.encode(part),
        )

    def _note_judged(self, storage: str, entry: Entry | None) -> None:
        if entry is not None and entry.gauge == self._machine.unjudged:
            self._unjudged.setdefault(storage, self._whole_at)
        elif self._unjudged:
            self._unjudged.pop(storage, None)

    def _count(self, storage: str, change: Change) -> None:
        """Keep the counts right; called before the change is written, which may replace a part that nobody read."""
        part = self._cache.get(storage)
        if part is not None:
            self.counts[self._machine.gauge_of(part)] -= 1
        elif (old := self._store.get(storage)) is not None:
            self.counts[old.gauge] -= 1
        if change.entry is not None:
            self.counts[change.entry.gauge] += 1

    def _evict(self) -> None:
        if len(self._cache) > CACHED_PARTS_MAX:
            for storage in [storage for storage, _ in zip(self._cache, range(_EVICTED_AT_ONCE), strict=False)]:
                del self._cache[storage]

    # --- restore ---------------------------------------------------------------------------------------------

    def restored(self) -> list[tuple[str, Entry]]:
        """Count what the store holds; return what waits for a call or a permit, and what is parked."""
        self.counts = [0] * len(self.counts)
        asks: list[tuple[str, Entry]] = []
        for storage, entry in self._store.scan(""):
            if storage == POSITION_KEY:
                continue
            self.counts[entry.gauge] += 1
            if entry.is_waiting or entry.gauge == len(self.counts) - 1:
                asks.append((storage, entry))
            self._note_judged(storage, entry)  # Since when, nobody knows any more: the mark stands still until then.
        for is_behind_evidence in (False, True):
            self._next_due[is_behind_evidence] = self._store.next_due(is_behind_evidence=is_behind_evidence)
        return asks

    # --- timers ----------------------------------------------------------------------------------------------

    def due(self, now: int, most: int) -> Sequence[tuple[int, str]]:
        """Return (due, storage key) of timers that may fire now."""
        fired = self._fire(now, is_behind_evidence=False, most=most)
        return [*fired, *self._fire(self.evidence_at(now), is_behind_evidence=True, most=most)]

    def wants_evidence(self, now: int) -> bool:
        """Whether a timer waits for the input's end to be looked up once more."""
        due_at = self._next_due[True]
        is_wanted = due_at is not None and due_at <= now and due_at > self._evidence_at and self._observed is None
        return is_wanted and now - self._observed_at >= EVIDENCE_STEP_MS

    def observed(self, now: int, end: int) -> None:
        """Say where the input ended at an instant."""
        self._observed, self._observed_at = (now, end), now

    @property
    def is_observing(self) -> bool:
        """Whether an end that was looked up is still being read to."""
        return self._observed is not None

    def evidence_read_at(self) -> int:
        """Return the latest instant of which everything that had come is decided."""
        if self._observed is not None and self.read_to >= self._observed[1]:
            self._evidence_at, self._observed = self._observed[0], None
        return self._evidence_at

    def evidence_at(self, now: int) -> int:
        """Return the same for timers, which wait no longer than an hour."""
        return max(self.evidence_read_at(), now - self._evidence_wait_ms)

    def mark_now(self) -> int:
        """Return the mark of a transaction that is sent now and holds all that was read.

        What is not judged yet holds it back, and so does what a failed rule left aside.
        """
        self._sealed_at = evidence_at = self.evidence_read_at()
        if self.parked:
            return self.mark
        oldest = next(iter(self._unjudged.values()), evidence_at)
        unjudged = self._machine.unjudged
        if any(changed is not None and changed.entry.gauge == unjudged for changed in self._overlay.values()):
            oldest = min(oldest, self._whole_at)
        return max(self.mark, min(oldest, evidence_at))

    def next_due(self, now: int) -> int | None:
        """Return when the next timer may fire, or must be looked at, as far as is known."""
        free, behind = self._next_due[False], self._next_due[True]
        if behind is not None and self._evidence_at < behind <= now:
            behind = now + EVIDENCE_STEP_MS  # What it waits for is read, and a read wakes us.
        return min((due_at for due_at in (free, behind) if due_at is not None), default=None)

    def _fire(self, before: int, *, is_behind_evidence: bool, most: int) -> Sequence[tuple[int, str]]:
        due_at = self._next_due[is_behind_evidence]
        if due_at is None or due_at > before:
            return ()
        due = self._store.due(before, is_behind_evidence=is_behind_evidence, most=most)
        if not due:
            self._next_due[is_behind_evidence] = self._store.next_due(is_behind_evidence=is_behind_evidence)
        return [timer for timer in due if self._is_current(*timer, is_behind_evidence=is_behind_evidence)]

    def _is_current(self, due_at: int, storage: str, *, is_behind_evidence: bool) -> bool:
        part = self.read(storage)
        timer = None if part is None else part.timer
        return timer is not None and (timer.due_at, timer.is_behind_evidence) == (due_at, is_behind_evidence)

    def _wake(self, due_at: int, *, is_behind_evidence: bool) -> None:
        known = self._next_due[is_behind_evidence]
        if known is None or due_at < known:
            self._next_due[is_behind_evidence] = due_at


def is_running(partition: Partition | None) -> bool:
    """Say whether a partition is there and takes in work."""
    return partition is not None and partition.phase is Phase.RUNNING


def is_deciding(partition: Partition) -> bool:
    """Say whether facts of a partition may be decided: not before it is restored, and not once it has stopped."""
    return partition.phase in {Phase.RUNNING, Phase.LEAVING}
