"""A stopped deployment as a file: JSON lines in gzip, written and read one by one.

The first line says what it is of, each further one is an entry (`s`), an unread record (`u`) or a pause (`c`), and the
last one holds their number and the SHA-256 of all lines before it. A file without that line is none.
"""

import base64
import gzip
import json
import os
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from processor.adapters.relocation import ControlRecord, Item, Sample, StateRecord, UnreadRecord
from processor.engine.entries import StoredPosition
from processor.errors import FatalError

FORMAT: Final = "onboarding-snapshot"
VERSION: Final = 1
_PERSONAL = 0o600  # It holds what the topics hold: personal data, and parameters of starts.
_LEVEL = 3


class SnapshotDamaged(FatalError):
    """A file is no whole snapshot; nothing was made of it."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a snapshot says of one decider: where it stood, and what showed if it went on afterwards."""

    decider: str
    input_topic: str
    input_topic_id: str
    state_topic: str
    positions: tuple[StoredPosition, ...]  # By partition, without a seal.
    committed: Mapping[int, tuple[int, str]]  # The group's offsets and what stood beside them.
    state_ends: tuple[int, ...]
    input_ends: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Header:
    """What a snapshot is of; `is_sealed` when its source could not go on afterwards."""

    move_id: str
    application_id: str
    cluster_id: str
    made_at: str
    is_sealed: bool
    sample: Sample
    parts: tuple[Part, ...]

    def part(self, decider: str) -> Part:
        """Return what is said of a decider."""
        (found,) = [part for part in self.parts if part.decider == decider]
        return found


def write_snapshot(path: Path, header: Header, items: Iterable[Item]) -> int:
    """Write a snapshot and return how many items it has; the file has its name once it is whole, and on disk.

    Raises FatalError where it cannot be written, or is there already, and what `items` raises.
    """
    if path.exists():
        raise FatalError(f"{path} is there already; name another file")
    part = path.with_name(f"{path.name}.part")
    count, digest = 0, sha256()
    try:
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PERSONAL), "wb") as raw:
            with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=_LEVEL, mtime=0) as packed:

                def put(value: object) -> None:
                    line = json.dumps(value, separators=(",", ":")).encode() + b"\n"
                    digest.update(line)
                    packed.write(line)

                put(_header_json(header))
                for count, item in enumerate(items, start=1):  # noqa: B007  # how many is told last
                    put(_item_json(item))
                put({"end": {"items": count, "sha256": digest.hexdigest()}})
            raw.flush()
            os.fsync(raw.fileno())
        part.rename(path)
        _sync_directory(path.parent)
    except OSError as error:
        raise FatalError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return count


class SnapshotFile:
    """A snapshot that is read; it may be gone through more than once."""

    def __init__(self, path: Path) -> None:
        """Read the first line; raises SnapshotDamaged."""
        self._path = path
        lines = self._lines()
        first = next(lines, None)
        lines.close()
        if first is None:
            raise SnapshotDamaged(f"{path} is empty")
        self.header = self._read_header(first)

    def items(self) -> Iterator[Item]:
        """Give everything but the first line; raises SnapshotDamaged at the latest behind the last item."""
        digest, count, end = sha256(), 0, None
        for number, line in enumerate(self._lines()):
            if end is not None:
                raise SnapshotDamaged(f"{self._path} goes on behind its end")
            value = self._parsed(line) if number else None
            if isinstance(value, dict):
                end = value.get("end")
                self._check_end(end, count, digest.hexdigest())
                continue
            digest.update(line)
            if number:
                count += 1
                yield self._item(value)
        if end is None:
            raise SnapshotDamaged(f"{self._path} is cut short: its last line is missing")

    def _lines(self) -> Generator[bytes, None, None]:
        try:
            with gzip.open(self._path, "rb") as packed:
                yield from packed
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise SnapshotDamaged(f"{self._path} is damaged, cut short or no snapshot of a deployment") from error
        except OSError as error:
            raise FatalError(f"{self._path} cannot be read: {error.strerror}") from error

    def _check_end(self, end: Any, count: int, digest: str) -> None:  # noqa: ANN401  # whatever the line holds
        if not isinstance(end, dict) or end != {"items": count, "sha256": digest}:
            raise SnapshotDamaged(f"{self._path} is damaged: its lines are not those that were written")

    def _parsed(self, line: bytes) -> Any:  # noqa: ANN401  # whatever the line holds
        try:
            return json.loads(line)
        except ValueError as error:
            raise SnapshotDamaged(f"{self._path} is damaged: a line is no JSON") from error

    def _read_header(self, line: bytes) -> Header:
        value = self._parsed(line)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise SnapshotDamaged(f"{self._path} is no snapshot of a deployment")
        if value.get("version") != VERSION:
            raise SnapshotDamaged(f"{self._path} is of version {value.get('version')}; this build reads {VERSION}")
        try:
            return _header(value)
        except (KeyError, TypeError, ValueError) as error:
            raise SnapshotDamaged(f"{self._path} is damaged: its first line is not readable") from error

    def _item(self, value: Any) -> Item:  # noqa: ANN401  # whatever the line holds
        try:
            return _item(value)
        except (LookupError, TypeError, ValueError) as error:
            raise SnapshotDamaged(f"{self._path} is damaged: a line is not readable") from error


def _header_json(header: Header) -> Mapping[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "moveId": header.move_id,
        "applicationId": header.application_id,
        "clusterId": header.cluster_id,
        "madeAt": header.made_at,
        "isSealed": header.is_sealed,
        "requests": {"withoutKey": header.sample.without_key, "elsewhere": header.sample.elsewhere},
        "deciders": [
            {
                "decider": part.decider,
                "inputTopic": part.input_topic,
                "inputTopicId": part.input_topic_id,
                "stateTopic": part.state_topic,
                "positions": [[position.offset, position.partitions, position.past] for position in part.positions],
                "committed": [[number, *committed] for number, committed in sorted(part.committed.items())],
                "stateEnds": part.state_ends,
                "inputEnds": part.input_ends,
            }
            for part in header.parts
        ],
    }


def _header(value: Mapping[str, Any]) -> Header:
    sample = value["requests"]
    return Header(
        move_id=str(value["moveId"]),
        application_id=str(value["applicationId"]),
        cluster_id=str(value["clusterId"]),
        made_at=str(value["madeAt"]),
        is_sealed=bool(value["isSealed"]),
        sample=Sample(int(sample["withoutKey"]), int(sample["elsewhere"])),
        parts=tuple(_part(part) for part in value["deciders"]),
    )


def _part(value: Mapping[str, Any]) -> Part:
    return Part(
        decider=str(value["decider"]),
        input_topic=str(value["inputTopic"]),
        input_topic_id=str(value["inputTopicId"]),
        state_topic=str(value["stateTopic"]),
        positions=tuple(
            StoredPosition(int(offset), int(partitions), tuple((int(at), int(reached)) for at, reached in past))
            for offset, partitions, past in value["positions"]
        ),
        committed={int(number): (int(offset), str(metadata)) for number, offset, metadata in value["committed"]},
        state_ends=tuple(int(end) for end in value["stateEnds"]),
        input_ends=tuple(int(end) for end in value["inputEnds"]),
    )


def _item_json(item: Item) -> list[Any]:
    match item:
        case StateRecord():
            return ["s", item.decider, item.partition, item.storage, _text(item.value), _text(item.message_key)]
        case UnreadRecord():
            headers = [[name, _text(content)] for name, content in item.headers]
            return ["u", item.decider, item.partition, _text(item.key), _text(item.value), headers]
        case ControlRecord():
            return ["c", _text(item.key), _text(item.value)]


def _item(value: Any) -> Item:  # noqa: ANN401  # whatever the line holds
    match value:
        case ["s", str(decider), int(partition), str(storage), str(content), key]:
            return StateRecord(decider, partition, storage, _content(content), _bytes(key))
        case ["u", str(decider), int(partition), key, content, list(headers)]:
            pairs = tuple((str(name), _content(said)) for name, said in headers)
            return UnreadRecord(decider, partition, _bytes(key), _bytes(content), pairs)
        case ["c", str(key), str(content)]:
            return ControlRecord(_content(key), _content(content))
    message = "no item"
    raise ValueError(message)


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else _content(text)


def _content(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
