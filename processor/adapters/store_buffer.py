"""Writes of a store gathered in memory and passed on in larger batches.

A store is a cache with a checkpoint, so what a crash takes from here is read again from the state topic. Most parts
change several times within a second; only the last of each is passed on.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from processor.engine.ports import Change, Checkpoint, Entry, Store
from processor.errors import FatalError

CHANGES_MAX = 256


class BufferedStore:
    """Serves `engine.ports.Store` in front of another one; whatever needs an order is asked there, after a flush."""

    def __init__(self, store: Store, changes_max: int = CHANGES_MAX) -> None:
        self._store = store
        self._changes_max = changes_max
        self._changes: dict[str, Change] = {}
        self._checkpoint: Checkpoint | None = None

    @property
    def is_durable(self) -> bool:
        """Whether the store behind this is."""
        return self._store.is_durable

    def origin(self) -> str:
        """Return what the last wipe was told."""
        return self._store.origin()

    def checkpoint(self) -> Checkpoint | None:
        """Return up to where this store is complete, or None when it is empty."""
        self._flush()
        return self._store.checkpoint()

    def get(self, key: str) -> Entry | None:
        """Return the entry of a storage key."""
        change = self._changes.get(key)
        return self._store.get(key) if change is None else change.entry

    def scan(self, prefix: str) -> Iterator[tuple[str, Entry]]:
        """Return all entries whose storage key starts so, in key order."""
        self._flush()
        return self._store.scan(prefix)

    def due(self, before: int, *, is_behind_evidence: bool, most: int) -> Sequence[tuple[int, str]]:
        """Return (due, storage key) of timers due at or before an instant, the earliest first."""
        self._flush()
        return self._store.due(before, is_behind_evidence=is_behind_evidence, most=most)

    def next_due(self, *, is_behind_evidence: bool) -> int | None:
        """Return when the earliest timer is due."""
        self._flush()
        return self._store.next_due(is_behind_evidence=is_behind_evidence)

    def write(self, changes: Mapping[str, Change], checkpoint: Checkpoint | None) -> None:
        """Take changes and the checkpoint; they reach the store together with all that came before them."""
        for key, change in changes.items():
            earlier = self._changes.get(key)
            # The index entry to remove is the one that the store has: that of the first change since the last flush.
            self._changes[key] = change if earlier is None else Change(change.entry, earlier.old_due)
        self._checkpoint = checkpoint or self._checkpoint
        if len(self._changes) >= self._changes_max:
            self._flush()

    def wipe(self, origin: str) -> None:
        """Forget everything."""
        self._changes, self._checkpoint = {}, None
        self._store.wipe(origin)

    def close(self) -> None:
        """Close; what was written stays for the next owner on this machine. Never raises."""
        with suppress(FatalError):  # A full disk: what does not get there is in the state topic.
            self._flush()
        self._store.close()

    def _flush(self) -> None:
        if self._changes or self._checkpoint is not None:
            self._store.write(self._changes, self._checkpoint)
            self._changes, self._checkpoint = {}, None
