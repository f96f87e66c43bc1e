"""A partition's state in RocksDB: a cache of the state topic that survives a restart on the same machine.

One write batch holds the changes, their timers and the checkpoint, and goes through RocksDB's log. So whatever stops
the process, the store is whole up to some checkpoint, and opening it again needs no wipe. Nothing is synced to disk:
after a power cut the checkpoint is older, and the state topic has the rest.

Keys: `e` + storage key -> packed entry · `t` or `u` + due + storage key -> nothing (timers, and those behind
evidence) · `c` -> checkpoint · `o` -> origin. A damaged store is removed, which costs a restore and nothing else.
"""

import shutil
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
    WriteBufferManager,
)

from processor.engine.entries import pack, unpack
from processor.engine.ports import Change, Checkpoint, Entry
from processor.errors import FatalError

WRITE_BUFFER_BYTES = 4 * 1024 * 1024  # Of one partition.
WRITE_BUFFERS_BYTES_MAX = 48 * 1024 * 1024  # Of all partitions of the process.
BLOCK_CACHE_BYTES = 32 * 1024 * 1024  # Of all partitions of the process; holds indexes and filters too.
OPEN_FILES_MAX = 64  # Of one partition.

_FORMAT = 1  # Of these keys and values; another one is taken for an empty store.
_CHECKPOINT = struct.Struct(">Bqq")
_DUE = struct.Struct(">Q")
_DUE_BIAS = 1 << 63  # Makes the order of the bytes the order of the instants.
_ENTRY, _CHECKPOINT_KEY, _ORIGIN_KEY = b"e", b"c", b"o"
_TIMERS = {False: b"t", True: b"u"}


class RocksStore:
    """Serves `engine.ports.Store` from a directory of its own.

    Raises FatalError, with the remedy, when the disk cannot be used or another process uses the directory.
    """

    is_durable = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._low: dict[bool, int] = {False: -_DUE_BIAS, True: -_DUE_BIAS}  # No timer is due before; spares tombstones.
        self._db = self._open()

    def origin(self) -> str:
        """Return what the last wipe was told."""
        return (self._get(_ORIGIN_KEY) or b"").decode()

    def checkpoint(self) -> Checkpoint | None:
        """Return up to where this store is complete, or None when it is empty."""
        value = self._get(_CHECKPOINT_KEY)
        if value is None or len(value) != _CHECKPOINT.size or value[0] != _FORMAT:
            return None
        _, offset, at = _CHECKPOINT.unpack(value)
        return Checkpoint(offset, at)

    def get(self, key: str) -> Entry | None:
        """Return the entry of a storage key."""
        value = self._get(_ENTRY + key.encode())
        return None if value is None else unpack(value)

    def scan(self, prefix: str) -> Iterator[tuple[str, Entry]]:
        """Return all entries whose storage key starts so, in key order, as they are now."""
        start = _ENTRY + prefix.encode()
        for key, value in self._items(start, start):
            yield key[len(_ENTRY) :].decode(), unpack(value)

    def due(self, before: int, *, is_behind_evidence: bool, most: int) -> Sequence[tuple[int, str]]:
        """Return (due, storage key) of timers due at or before an instant, the earliest first."""
        found: list[tuple[int, str]] = []
        stale: list[bytes] = []
        for index_key, due_at, key in self._timers(is_behind_evidence=is_behind_evidence):
            if due_at > before or len(found) >= most:
                break
            entry = self.get(key)
            if entry is not None and (entry.due_at, entry.is_behind_evidence) == (due_at, is_behind_evidence):
                found.append((due_at, key))
            else:
                stale.append(index_key)
        if stale:
            batch = WriteBatch(raw_mode=True)
            for index_key in stale:
                batch.delete(index_key)
            self._write(batch)
        return found

    def next_due(self, *, is_behind_evidence: bool) -> int | None:
        """Return when the earliest timer is due; a stale one may make it earlier, never later."""
        for _, due_at, _ in self._timers(is_behind_evidence=is_behind_evidence):
            self._low[is_behind_evidence] = due_at
            return due_at
        return None

    def write(self, changes: Mapping[str, Change], checkpoint: Checkpoint | None) -> None:
        """Apply changes and the checkpoint in one atomic write; None keeps the older checkpoint."""
        batch = WriteBatch(raw_mode=True)
        put, delete = batch.put, batch.delete
        for key, change in changes.items():
            name, entry = key.encode(), change.entry
            if change.old_due is not None:
                delete(_timer_key(*change.old_due, name))
            if entry is None:
                delete(_ENTRY + name)
                continue
            put(_ENTRY + name, pack(entry))
            if entry.due_at is not None:
                put(_timer_key(entry.due_at, entry.is_behind_evidence, name), b"")
                self._low[entry.is_behind_evidence] = min(self._low[entry.is_behind_evidence], entry.due_at)
        if checkpoint is not None:
            put(_CHECKPOINT_KEY, _CHECKPOINT.pack(_FORMAT, checkpoint.offset, checkpoint.at))
        self._write(batch)

    def wipe(self, origin: str) -> None:
        """Forget everything."""
        self.close()
        self._remove()
        self._db = self._open()
        batch = WriteBatch(raw_mode=True)
        batch.put(_ORIGIN_KEY, origin.encode())
        self._write(batch)

    def close(self) -> None:
        """Close; what was written stays for the next owner on this machine. Never raises, also when closed before."""
        with suppress(Exception):  # A full disk: what does not get there is in the state topic.
            self._db.close()

    # --- RocksDB's errors are plain exceptions, told apart by their text -----------------------------------------

    def _open(self) -> Rdict:
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            return self._open_once()
        except OSError as error:
            raise FatalError(f"{self._path}: {error.strerror}; give the state a directory it can write to") from error

    def _open_once(self) -> Rdict:
        try:
            return Rdict(str(self._path), _options())
        except Exception as error:  # noqa: BLE001  # rocksdict knows no other class
            if not _is_damage(error):
                self._raise(error)
        self._remove()  # It is a cache: what is damaged is built anew from the state topic.
        try:
            return Rdict(str(self._path), _options())
        except Exception as error:  # noqa: BLE001
            self._raise(error)

    def _get(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._db.get(key)
        except Exception as error:  # noqa: BLE001
            self._failed(error)
        return value

    def _items(self, prefix: bytes, start: bytes) -> Iterator[tuple[bytes, Any]]:
        """Return keys from `start` on that begin with a prefix, with their values; a snapshot."""
        try:
            rows = self._db.iter()
            rows.seek(start)
            while rows.valid():
                key: bytes = rows.key()
                if not key.startswith(prefix):
                    return
                yield key, rows.value()
                rows.next()
            rows.status()  # Damage ends the rows as if there were no more; this tells.
        except Exception as error:  # noqa: BLE001  # rocksdict knows no other class
            self._failed(error)

    def _timers(self, *, is_behind_evidence: bool) -> Iterator[tuple[bytes, int, str]]:
        prefix = _TIMERS[is_behind_evidence]
        start = prefix + _DUE.pack(self._low[is_behind_evidence] + _DUE_BIAS)
        for index_key, _ in self._items(prefix, start):
            (biased,) = _DUE.unpack_from(index_key, len(prefix))
            yield index_key, biased - _DUE_BIAS, index_key[len(prefix) + _DUE.size :].decode()

    def _write(self, batch: WriteBatch) -> None:
        try:
            self._db.write(batch)
        except Exception as error:  # noqa: BLE001
            self._failed(error)

    def _failed(self, error: Exception) -> NoReturn:
        if _is_damage(error):
            self.close()
            self._remove()
            raise FatalError(f"{self._path} was damaged and is removed; start again to restore it") from error
        self._raise(error)

    def _raise(self, error: Exception) -> NoReturn:
        text = str(error)
        if "LOCK" in text:
            remedy = "another process uses it; give each process a state directory of its own"
        elif "No space" in text or "Read-only" in text:
            remedy = "the state needs a disk with room that it can write to; what is there now is kept"
        else:
            remedy = "the state directory cannot be used; mend or empty it, it is only a cache"
        raise FatalError(f"{self._path}: {remedy} ({text.partition(':')[0]})") from error

    def _remove(self) -> None:
        shutil.rmtree(self._path, ignore_errors=True)


def _timer_key(due_at: int, is_behind_evidence: bool, name: bytes) -> bytes:  # noqa: FBT001  # as `Change.old_due` has it
    return _TIMERS[is_behind_evidence] + _DUE.pack(due_at + _DUE_BIAS) + name


def _is_damage(error: Exception) -> bool:
    return "Corruption" in str(error)


@cache
def _shared() -> tuple[Cache, WriteBufferManager]:
    """Return the memory that all partitions of the process share, so that it stays bounded with their number."""
    return Cache(BLOCK_CACHE_BYTES), WriteBufferManager(WRITE_BUFFERS_BYTES_MAX, allow_stall=False)


def _options() -> Options:
    block_cache, write_buffers = _shared()
    table = BlockBasedOptions()
    table.set_block_cache(block_cache)
    table.set_cache_index_and_filter_blocks(v=True)
    table.set_bloom_filter(10, block_based=False)
    options = Options(raw_mode=True)
    options.create_if_missing(create_if_missing=True)
    options.set_block_based_table_factory(table)
    options.set_write_buffer_manager(write_buffers)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_max_background_jobs(1)
    options.set_max_open_files(OPEN_FILES_MAX)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_keep_log_file_num(1)
    options.set_max_log_file_size(1024 * 1024)
    options.set_stats_dump_period_sec(0)
    return options
