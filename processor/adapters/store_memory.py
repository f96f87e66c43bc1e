"""A partition's state in memory: nothing survives the process, so every start restores from the state topic."""

import heapq
from collections.abc import Iterator, Mapping, Sequence

from processor.engine.ports import Change, Checkpoint, Entry


class MemoryStore:
    """Serves `engine.ports.Store` from dictionaries; timers are heaps whose stale items are dropped when met."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._timers: dict[bool, list[tuple[int, str]]] = {False: [], True: []}
        self._checkpoint: Checkpoint | None = None

    def checkpoint(self) -> Checkpoint | None:
        """Return up to where this store is complete, or None when it is empty."""
        return self._checkpoint

    def get(self, key: str) -> Entry | None:
        """Return the entry of a storage key."""
        return self._entries.get(key)

    def scan(self, prefix: str) -> Iterator[tuple[str, Entry]]:
        """Return all entries whose storage key starts so, in key order."""
        found = sorted(key for key in self._entries if key.startswith(prefix))
        return ((key, self._entries[key]) for key in found)

    def due(self, before: int, *, is_behind_evidence: bool, most: int) -> Sequence[tuple[int, str]]:
        """Return (due, storage key) of timers due at or before an instant, the earliest first."""
        timers = self._timers[is_behind_evidence]
        found: list[tuple[int, str]] = []
        while timers and timers[0][0] <= before and len(found) < most:
            timer = heapq.heappop(timers)
            if self._is_current(timer) and timer not in found[-1:]:
                found.append(timer)
        for timer in found:
            heapq.heappush(timers, timer)
        return found

    def next_due(self, *, is_behind_evidence: bool) -> int | None:
        """Return when the earliest timer is due."""
        timers = self._timers[is_behind_evidence]
        while timers and not self._is_current(timers[0]):
            heapq.heappop(timers)
        return timers[0][0] if timers else None

    def write(self, changes: Mapping[str, Change], checkpoint: Checkpoint | None) -> None:
        """Apply changes and the checkpoint in one atomic write; None keeps the older checkpoint."""
        for key, change in changes.items():
            entry = change.entry
            if entry is None:
                self._entries.pop(key, None)
                continue
            self._entries[key] = entry
            if entry.due_at is not None:
                heapq.heappush(self._timers[entry.is_behind_evidence], (entry.due_at, key))
        self._checkpoint = checkpoint or self._checkpoint

    def wipe(self) -> None:
        """Forget everything."""
        self.__init__()  # type: ignore[misc]  # an empty store is what a new one is

    def close(self) -> None:
        """Forget everything: what memory held does not stay."""
        self.wipe()

    def _is_current(self, timer: tuple[int, str]) -> bool:
        entry = self._entries.get(timer[1])
        return entry is not None and entry.due_at == timer[0]
