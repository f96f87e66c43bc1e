"""Writing internal records piece by piece, so that a value which travels unchanged is written out once.

Avro writes a record as its fields one after the other, without anything between them. So the bytes of a nested record
can be kept and put in again wherever that same value stands: an origin goes through every step of a request.
"""

import dataclasses
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BytesIO
from operator import attrgetter
from typing import Any, Protocol, TypeAlias

from fastavro import parse_schema, schemaless_writer

from processor.adapters.schema_files import INTERNAL_NAMESPACE, self_contained, without_logical_types

KEPT_MAX = 4_096  # Values whose bytes are remembered, for each type.
_NULL, _PRESENT = b"\x00", b"\x02"  # The branches of `["null", T]`.

Write: TypeAlias = Callable[[BytesIO, Any], None]


class Shape(Protocol):
    """How a type's fields become what fastavro writes."""

    def __call__(self, cls: type, fields: Sequence[str]) -> Callable[[Any], dict[str, Any]]:
        """Return what turns a value into a record of these fields."""
        ...


class Writers:
    """Writers of dataclasses in one format; one thread uses it."""

    def __init__(self, schemas: Mapping[str, dict[str, Any]], shape: Shape, kept: frozenset[type]) -> None:
        self._schemas = schemas
        self._shape = shape
        self._kept = kept
        self._whole: dict[type, Write] = {}

    def writer(self, cls: type) -> Write:
        """Return what writes a value of this type."""
        found = self._whole.get(cls)
        if found is None:
            pieces = tuple(self._pieces(cls))
            found = self._whole[cls] = pieces[0] if len(pieces) == 1 else _in_turn(pieces)
        return found

    def _pieces(self, cls: type) -> Iterator[Write]:
        """Return what writes the fields of the schema, in order: runs of plain ones, and kept records between them."""
        hints = typing.get_type_hints(cls)
        attributes = {camel(field.name): field.name for field in dataclasses.fields(cls)}
        run: list[dict[str, Any]] = []
        for field in self._schemas[cls.__name__]["fields"]:
            hint = hints.get(attributes.get(field["name"], ""))
            kept = next((one for one in self._kept if hint in (one, one | None)), None)
            if kept is None:
                run.append(field)
                continue
            if run:
                yield self._plain(cls, attributes, run)
            run = []
            yield _kept(attrgetter(attributes[field["name"]]), self.writer(kept), is_optional=hint is not kept)
        if run:
            yield self._plain(cls, attributes, run)

    def _plain(self, cls: type, attributes: Mapping[str, str], run: Sequence[dict[str, Any]]) -> Write:
        """Return what writes some fields that follow each other; one that the type lacks has its default."""
        part = f"{cls.__name__}From{run[0]['name']}"
        described = {**self._schemas, part: {**self._schemas[cls.__name__], "name": part, "fields": run}}
        schema = parse_schema(without_logical_types(self_contained(part, described, INTERNAL_NAMESPACE)))
        to_record = self._shape(cls, [attributes[field["name"]] for field in run if field["name"] in attributes])
        return lambda buffer, value: schemaless_writer(buffer, schema, to_record(value))


def _in_turn(pieces: Sequence[Write]) -> Write:
    def write(buffer: BytesIO, value: object) -> None:
        for piece in pieces:
            piece(buffer, value)

    return write


def _kept(get: Callable[[Any], Any], write: Write, *, is_optional: bool) -> Write:
    """Return what writes a nested record, by its remembered bytes where that very value was written before."""
    known: dict[int, tuple[object, bytes]] = {}  # The value is held, so that its id stays its own.

    def write_kept(buffer: BytesIO, holder: object) -> None:
        value = get(holder)
        if is_optional:
            buffer.write(_NULL if value is None else _PRESENT)
            if value is None:
                return
        found = known.get(id(value))
        if found is None:
            piece = BytesIO()
            write(piece, value)
            if len(known) >= KEPT_MAX:
                known.clear()
            found = known[id(value)] = (value, piece.getvalue())
        buffer.write(found[1])

    return write_kept


def camel(name: str) -> str:
    """Return a field's name as Avro and JSON spell it."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
