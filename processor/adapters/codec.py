"""Internal records and parts of state as bytes: a format byte, a type byte, then Avro without a header.

The dataclasses of the core are the shape in Python, `schemas/internal` is the shape in bytes; a test keeps
them in step. Decoding never asks the registry. A build knows every format whose directory it carries, reads
them all into the newest shape, and writes the one that a setting names, so that versions can mix in a rollout.
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum, StrEnum
from io import BytesIO
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple, TypeAlias

from fastavro import parse_schema, schemaless_reader

from processor.adapters.codec_writing import Writers, camel
from processor.adapters.schema_files import (
    INTERNAL_NAMESPACE,
    internal_formats,
    internal_schemas,
    self_contained,
    without_logical_types,
)
from processor.core.messages import (
    CallAnswered,
    CallProved,
    CaseRead,
    EvidenceJudged,
    LinkAsked,
    LinkOver,
    Observed,
    OperatorDecided,
    Prepared,
    Replaced,
    ResultRead,
    Started,
    StatusRead,
    VerdictReached,
    WebhookReceived,
)
from processor.core.model import Origin
from processor.core.state import Part, PendingRequest
from processor.errors import SettingsInvalid, StateUnreadable, UndecodableMessage

MESSAGES: tuple[type, ...] = (
    Prepared,
    LinkAsked,
    LinkOver,
    Observed,
    CallProved,
    OperatorDecided,
    Started,
    Replaced,
    WebhookReceived,
)
PARTS: tuple[type, ...] = typing.get_args(Part)
# Kept while a key is parked.
ANSWERS: tuple[type, ...] = (CallAnswered, VerdictReached, StatusRead, ResultRead, CaseRead, EvidenceJudged)
KEPT: frozenset[type] = frozenset({Origin, Prepared, PendingRequest, Started})  # Stay as they are through many writes.
WRITE_FORMAT = 2  # The format before cannot hold links and further links, so it is read and no longer written.
PREFIX_BYTES = 2

Convert: TypeAlias = Callable[[Any], Any]


class _Converters(NamedTuple):
    """How one type of Python goes to what fastavro writes and back; None where nothing needs to be done."""

    to_avro: Convert | None
    from_avro: Convert | None


UNCHANGED = _Converters(None, None)


class _Format(NamedTuple):
    """One type in one format: the bytes it begins with and its schema, ready for fastavro."""

    prefix: bytes
    schema: Any


class Codec:
    """Bytes of frozen dataclasses, and back; each thread has one of its own.

    `types` are all that may be encoded, `write_format` is the format to write, `formats` the schemas by format
    and record name (those of this build when None).
    Raises SettingsInvalid when a type has no schema in the format to write.
    """

    def __init__(
        self,
        types: Sequence[type] = (*MESSAGES, *PARTS, *ANSWERS),
        *,
        write_format: int = WRITE_FORMAT,
        formats: Mapping[int, Mapping[str, dict[str, Any]]] | None = None,
    ) -> None:
        carried = formats or {number: internal_schemas(number) for number in internal_formats()}
        compiled = {number: _compiled(number, schemas, types) for number, schemas in carried.items()}
        self._newest = max(compiled)
        writing, newest = compiled.get(write_format, {}), compiled[self._newest]
        missing = [cls.__name__ for cls in types if cls not in writing or cls not in newest]
        if missing:
            raise SettingsInvalid(
                f"internal format {write_format} of this build does not describe {missing}; write another"
            )
        converters = {cls: _of_record(cls) for cls in types}
        writers = Writers(carried[write_format], _record_of, KEPT)
        self._encoders = {cls: (writing[cls].prefix, writers.writer(cls)) for cls in types}
        self._decoders = {
            known.prefix: (known.schema, newest[cls].schema, converters[cls].from_avro)
            for described in compiled.values()
            for cls, known in described.items()
        }

    def encode(self, value: object) -> bytes:
        """Return the value's bytes; KeyError for a type that was not given to this codec."""
        prefix, write = self._encoders[type(value)]
        buffer = BytesIO()
        buffer.write(prefix)
        write(buffer, value)
        return buffer.getvalue()

    def decode(self, data: bytes) -> Any:  # noqa: ANN401  # any of the types this codec was given
        """Return the value of these bytes.

        Raises StateUnreadable for a format newer than this build knows, UndecodableMessage for anything else.
        """
        found = self._decoders.get(data[:PREFIX_BYTES])
        if found is None:
            raise self._unknown(data)
        written, wanted, from_avro = found
        buffer = BytesIO(data)
        buffer.seek(PREFIX_BYTES)
        try:
            record = schemaless_reader(buffer, written, None if written is wanted else wanted)
            value = from_avro(record) if from_avro else record
        except Exception:  # noqa: BLE001  # fastavro raises many kinds; their texts may quote the record
            raise UndecodableMessage("bad-avro", f"an internal record of {len(data)} bytes is damaged") from None
        if buffer.tell() != len(data):
            raise UndecodableMessage("bad-avro", f"an internal record of {len(data)} bytes has bytes behind its end")
        return value

    def _unknown(self, data: bytes) -> Exception:
        """Say why no decoder fits the first two bytes."""
        if len(data) < PREFIX_BYTES:
            return UndecodableMessage("short-frame", f"an internal record has {len(data)} bytes")
        if data[0] > self._newest:
            return StateUnreadable(
                f"an internal record has format {data[0]}, this build knows up to {self._newest}: "
                "start a newer build, or write the older format until all instances are new"
            )
        return UndecodableMessage("bad-magic", f"an internal record begins with format {data[0]}, type {data[1]}")


def _compiled(number: int, schemas: Mapping[str, dict[str, Any]], types: Sequence[type]) -> dict[type, _Format]:
    """Return prefix and parsed schema in one format, for each type that this format describes."""
    found = {}
    for cls in types:
        if cls.__name__ in schemas:
            whole = self_contained(cls.__name__, schemas, INTERNAL_NAMESPACE)
            prefix = bytes((number, whole["typeNumber"]))
            found[cls] = _Format(prefix, parse_schema(without_logical_types(whole)))
    return found


def _of_record(cls: type) -> _Converters:
    """Return the converters of a dataclass: to a dictionary with camelCase names, and back."""
    hints = typing.get_type_hints(cls)
    fields = [field.name for field in dataclasses.fields(cls)]
    names = [camel(field) for field in fields]
    converters = [_of(hints[field]) for field in fields]
    inward = [(name, way.from_avro) for name, way in zip(names, converters, strict=True) if way.from_avro]
    get_items = _tuple_of(itemgetter, names)

    def from_avro(record: dict[str, Any]) -> object:
        for name, convert in inward:
            record[name] = convert(record[name])
        return cls(*get_items(record))

    return _Converters(_record_of(cls, fields), from_avro)


def _record_of(cls: type, fields: Sequence[str]) -> Convert:
    """Return what turns a value of a dataclass into a record of some of its fields, with camelCase names."""
    hints = typing.get_type_hints(cls)
    names = [camel(field) for field in fields]
    ways = [(name, _of(hints[field]).to_avro) for name, field in zip(names, fields, strict=True)]
    outward = [(name, convert) for name, convert in ways if convert is not None]
    get_attributes = _tuple_of(attrgetter, fields)

    def to_avro(value: object) -> dict[str, Any]:
        record = dict(zip(names, get_attributes(value), strict=False))
        for name, convert in outward:
            record[name] = convert(record[name])
        return record

    return to_avro


def _of(hint: Any) -> _Converters:  # noqa: ANN401  # a type as `typing` describes it
    """Return the converters of a field's type."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return _of_optional(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _of_record(hint)
    if isinstance(hint, type) and issubclass(hint, IntEnum):
        return _Converters(None, {int(member): member for member in hint}.__getitem__)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _Converters(None, {member.value: member for member in hint}.__getitem__)
    if typing.get_origin(hint) is tuple:
        items = _of(typing.get_args(hint)[0])
        return _Converters(_each(items.to_avro, list) if items.to_avro else None, _each(items.from_avro, tuple))
    return UNCHANGED


def _of_optional(hint: Any) -> _Converters:  # noqa: ANN401  # a type as `typing` describes it
    """Return the converters of `X | None`; a record is named, which spares fastavro a trial of each branch."""
    (only,) = (argument for argument in typing.get_args(hint) if argument is not types.NoneType)
    to_avro, from_avro = _of(only)
    if dataclasses.is_dataclass(only) and isinstance(only, type):
        to_avro = _named(f"{INTERNAL_NAMESPACE}.{only.__name__}", to_avro)
    return _Converters(_unless_none(to_avro), _unless_none(from_avro))


def _named(name: str, convert: Convert | None) -> Convert:
    assert convert is not None, "a dataclass is always converted"
    return lambda value: None if value is None else (name, convert(value))


def _unless_none(convert: Convert | None) -> Convert | None:
    return None if convert is None else lambda value: None if value is None else convert(value)


def _each(convert: Convert | None, collection: type) -> Convert:
    return collection if convert is None else lambda items: collection(map(convert, items))


def _tuple_of(getter: Callable[..., Convert], names: Sequence[str]) -> Convert:
    """Return what gets these names of a value as a tuple; the getters of `operator` return one name's value bare."""
    get = getter(*names)
    return get if len(names) > 1 else lambda source: (get(source),)
