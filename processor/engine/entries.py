"""How a part and a position stand in the state topic and in the local store.

A state record's key is `<state key> NUL <part name>`; its value is the engine's header and the machine's bytes.
The header alone says what the engine needs (timer, waiting, gauge), so a restore decodes nothing else. The entry
under `NUL position` holds the partition's position; it closes every transaction that touches the partition.
"""

import json
import struct
from dataclasses import dataclass

from processor.engine.ports import Entry, Headers
from processor.errors import PoisonError, StateUnreadable

FORMAT = 1
STOPPING_FORMAT = 0x53  # Of seals: builds from before there were any read format 1 alone, and stop.
POSITION_KEY = "\x00position"
SEAL_KEY = "\x00seal"
SEPARATOR = "\x00"
PARKED_PREFIX = "!parked/"  # Sorts before every part of a machine, so parked facts are tried first.

RECORD_BYTES_MAX = 1_000_000  # What brokers accept by default.
RECORD_OVERHEAD_BYTES = 128  # At most, of a record in its batch, and of an entry's header.

_HEADER = struct.Struct(">BBBq")
_TIMER, _EVIDENCE, _WAITING = 1, 2, 4
_HISTORY_STEP_MS = 6 * 3_600_000
_HISTORY_MS = 8 * 24 * 3_600_000


class RecordTooLarge(PoisonError):
    """No producer takes a record of this size: what it was made of cannot be decided as it is."""


def check_size(bytes_max: int, key: bytes | None, value: bytes | None, headers: Headers = ()) -> None:
    """Raise RecordTooLarge for a record above the limit."""
    size = len(key or b"") + len(value or b"") + sum(len(name) + len(content) for name, content in headers)
    if size + RECORD_OVERHEAD_BYTES > bytes_max:
        raise RecordTooLarge("too-large", f"a record of {size} bytes; {bytes_max} are allowed")


def checked_key(key: str) -> str:
    """Return a state key that an input record names; raises PoisonError for one that would run into a part's name."""
    if SEPARATOR in key:
        raise PoisonError("unprintable-key", "the state key holds a NUL character")
    return key


def storage_key(key: str, part: str) -> str:
    """Return the storage key of one part of one state key."""
    assert SEPARATOR not in key, "a state key holds no NUL"
    return f"{key}{SEPARATOR}{part}"


def split_key(storage: str) -> tuple[str, str]:
    """Return state key and part name of a storage key."""
    key, _, part = storage.partition(SEPARATOR)
    return key, part


def pack(entry: Entry, record_format: int = FORMAT) -> bytes:
    """Return an entry as the bytes of a state record's value."""
    flags = 0 if entry.due_at is None else _TIMER
    flags |= _EVIDENCE if entry.is_behind_evidence else 0
    flags |= _WAITING if entry.is_waiting else 0
    return _HEADER.pack(record_format, entry.gauge, flags, entry.due_at or 0) + entry.body


def unpack(value: bytes) -> Entry:
    """Return the entry in a state record's value; raises StateUnreadable for a newer format."""
    if len(value) < _HEADER.size or value[0] not in {FORMAT, STOPPING_FORMAT}:
        raise StateUnreadable(f"state record of format {value[:1].hex() or 'none'}; this build reads format {FORMAT}")
    _, gauge, flags, due_at = _HEADER.unpack_from(value)
    return Entry(
        gauge=gauge,
        due_at=due_at if flags & _TIMER else None,
        is_behind_evidence=bool(flags & _EVIDENCE),
        is_waiting=bool(flags & _WAITING),
        body=value[_HEADER.size :],
    )


@dataclass(frozen=True, slots=True)
class StoredPosition:
    """The next input offset to be decided, how many partitions the input had, and where it stood before."""

    offset: int
    partitions: int
    past: tuple[tuple[int, int], ...] = ()

    def moved(self, offset: int, now: int) -> "StoredPosition":
        """Return the position moved on, with a coarse history of at most some eight days."""
        past = self.past
        if not past or now - past[-1][0] >= _HISTORY_STEP_MS:
            past = (*(step for step in past if now - step[0] < _HISTORY_MS), (now, offset))
        return StoredPosition(offset, self.partitions, past)

    def before(self, instant: int) -> int | None:
        """Return the latest position known to have been reached at or before an instant."""
        reached = [offset for at, offset in self.past if at <= instant]
        return reached[-1] if reached else None


def position_entry(position: StoredPosition) -> Entry:
    """Return a position as the entry that stands under `POSITION_KEY`."""
    fields = {"offset": position.offset, "partitions": position.partitions, "past": position.past}
    return Entry(0, None, is_behind_evidence=False, is_waiting=False, body=json.dumps(fields).encode())


def position_in(entry: Entry) -> StoredPosition:
    """Return the position in the entry under `POSITION_KEY`; raises StateUnreadable when it is none of ours."""
    try:
        fields = json.loads(entry.body)
        past = tuple((int(at), int(offset)) for at, offset in fields["past"])
        return StoredPosition(int(fields["offset"]), int(fields["partitions"]), past)
    except (ValueError, KeyError, TypeError) as error:
        raise StateUnreadable("the position record of a state partition is not readable") from error
