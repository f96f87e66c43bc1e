"""A partition's state in memory: nothing survives the process, so every start restores from the state topic."""

import heapq
from collections.abc import Iterator, Mapping, Sequence

from processor.engine.entries import SEPARATOR
from processor.engine.ports import Change, Checkpoint, Entry

_STALE_TIMERS_MAX = 64  # Beside as many as there are valid ones; more are swept.


class MemoryStore:
    """Serves `engine.ports.Store` from dictionaries; a timer costs O(log n), what became stale is dropped when met."""

    is_durable = False

    def __init__(self, origin: str = "") -> None:
        self._origin = origin
        self._entries: dict[str, Entry] = {}
        self._groups: dict[str, set[str]] = {}  # State key -> storage keys, so that reading one key scans no others.
        self._timers: dict[bool, list[tuple[int, str]]] = {False: [], True: []}
        self._timed: dict[bool, int] = {False: 0, True: 0}  # How many entries have a timer.
        self._checkpoint: Checkpoint | None = None

    def origin(self) -> str:
        """Return what the last wipe was told."""
        return self._origin

    def checkpoint(self) -> Checkpoint | None:
        """Return up to where this store is complete, or None when it is empty."""
        return self._checkpoint

    def get(self, key: str) -> Entry | None:
        """Return the entry of a storage key."""
        return self._entries.get(key)

    def scan(self, prefix: str) -> Iterator[tuple[str, Entry]]:
        """Return all entries whose storage key starts so, in key order, as they are now."""
        group, separator, part = prefix.partition(SEPARATOR)
        candidates = self._groups.get(group, ()) if separator else self._entries
        keys = sorted(candidates if separator and not part else (key for key in candidates if key.startswith(prefix)))
        return iter([(key, self._entries[key]) for key in keys])

    def due(self, before: int, *, is_behind_evidence: bool, most: int) -> Sequence[tuple[int, str]]:
        """Return (due, storage key) of timers due at or before an instant, the earliest first."""
        timers = self._timers[is_behind_evidence]
        found: list[tuple[int, str]] = []
        while timers and timers[0][0] <= before and len(found) < most:
            timer = heapq.heappop(timers)
            if self._is_current(timer, is_behind_evidence=is_behind_evidence) and timer not in found[-1:]:
                found.append(timer)
        for timer in found:
            heapq.heappush(timers, timer)
        return found

    def next_due(self, *, is_behind_evidence: bool) -> int | None:
        """Return when the earliest timer is due."""
        timers = self._timers[is_behind_evidence]
        while timers and not self._is_current(timers[0], is_behind_evidence=is_behind_evidence):
            heapq.heappop(timers)
        return timers[0][0] if timers else None

    def write(self, changes: Mapping[str, Change], checkpoint: Checkpoint | None) -> None:
        """Apply changes and the checkpoint in one atomic write; None keeps the older checkpoint."""
        for key, change in changes.items():
            self._put(key, change.entry)
        self._checkpoint = checkpoint or self._checkpoint
        for is_behind_evidence in (False, True):
            self._sweep(is_behind_evidence=is_behind_evidence)

    def wipe(self, origin: str) -> None:
        """Forget everything."""
        self.__init__(origin)  # type: ignore[misc]  # an empty store is what a new one is

    def close(self) -> None:
        """Forget everything: what memory held does not stay."""
        self.wipe("")

    def _put(self, key: str, entry: Entry | None) -> None:
        old = self._entries.get(key)
        if old is not None and old.due_at is not None:
            self._timed[old.is_behind_evidence] -= 1
        if entry is None:
            if old is not None:
                self._remove(key)
            return
        self._entries[key] = entry
        if old is None:
            self._groups.setdefault(key.partition(SEPARATOR)[0], set()).add(key)
        if entry.due_at is not None:
            self._timed[entry.is_behind_evidence] += 1
            is_indexed = old is not None and _timer(old) == _timer(entry)
            if not is_indexed:
                heapq.heappush(self._timers[entry.is_behind_evidence], (entry.due_at, key))

    def _remove(self, key: str) -> None:
        del self._entries[key]
        name = key.partition(SEPARATOR)[0]
        group = self._groups[name]
        group.discard(key)
        if not group:
            del self._groups[name]

    def _sweep(self, *, is_behind_evidence: bool) -> None:
        """Drop stale timers once they outnumber the valid ones."""
        timers = self._timers[is_behind_evidence]
        if len(timers) > 2 * self._timed[is_behind_evidence] + _STALE_TIMERS_MAX:
            kept = [timer for timer in set(timers) if self._is_current(timer, is_behind_evidence=is_behind_evidence)]
            heapq.heapify(kept)
            self._timers[is_behind_evidence] = kept

    def _is_current(self, timer: tuple[int, str], *, is_behind_evidence: bool) -> bool:
        entry = self._entries.get(timer[1])
        return entry is not None and _timer(entry) == (timer[0], is_behind_evidence)


def _timer(entry: Entry) -> tuple[int | None, bool]:
    return entry.due_at, entry.is_behind_evidence
