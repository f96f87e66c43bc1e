"""Whether what one Avro schema wrote can be read by another, instants and decimals included.

The rules of form are those of Avro's own checker, to which a test holds them. That one mixes up places and messages
where several fields differ, and says nothing of what is inside a union. It does not look at logical types either, where
a change from milliseconds to microseconds would silently move every instant by a factor of a thousand.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from itertools import chain

from avro.compatibility import lookup_writer_field, schema_name_equals
from avro.schema import ArraySchema, EnumSchema, FixedSchema, MapSchema, NamedSchema, RecordSchema, UnionSchema, parse
from avro.schema import Schema as AvroSchema

PROMOTED = {  # What was written as the first is read as one of the others, says the Avro specification.
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}
TEXT_OR_BYTES = frozenset({"string", "bytes"})


class Kind(Enum):
    """What comes of reading across a difference."""

    FORM = auto()  # Avro refuses to read.
    UNIT = auto()  # One primitive with unlike logical types: numbers and texts come through, and mean something else.
    MEANING = auto()  # Text read as a decimal's bytes, or the other way round: garbage.
    ENCODING = auto()  # Bytes read as text: fails over those that are no UTF-8.


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where a reader's schema and a writer's differ so that somebody reads wrongly, and in words how."""

    place: str  # Of the field, as in /subject/phone/number; list items and map values are `*`.
    text: str
    kind: Kind

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.place or '/'}: {self.text}"


def conflicts(reader: str, writer: str) -> tuple[str, ...]:
    """Return why records of `writer` cannot be read with `reader`, one sentence each; empty when they can.

    Both are texts of valid Avro schemas; avro.errors.AvroException otherwise.
    """
    return tuple(map(str, differences(parse(reader), parse(writer))))


def structural_conflicts(reader: AvroSchema, writer: AvroSchema) -> tuple[str, ...]:
    """Return why the Avro specification's schema resolution fails, one sentence each, logical types left out."""
    return tuple(str(each) for each in differences(reader, writer) if each.kind is Kind.FORM)


def differences(reader: AvroSchema, writer: AvroSchema) -> tuple[Difference, ...]:
    """Return every difference over which what `writer` wrote is read wrongly, or not at all, with `reader`."""
    return tuple(dict.fromkeys(_Comparison().of(reader, writer, "")))


class _Comparison:
    """Walks a reader's schema and a writer's side by side, each pair of records once: a record may hold itself."""

    def __init__(self) -> None:
        self._met: set[tuple[int, int]] = set()

    def of(self, reader: AvroSchema, writer: AvroSchema, place: str) -> Iterator[Difference]:
        """Give the differences of two types."""
        match (reader, writer):
            case (_, UnionSchema()):
                yield from chain.from_iterable(self.of(reader, branch, place) for branch in writer.schemas)
            case (UnionSchema(), _):
                branch = _branch_for(writer, reader)
                yield from (_unlike(reader, writer, place),) if branch is None else self.of(branch, writer, place)
            case (ArraySchema(), ArraySchema()):
                yield from self.of(reader.items, writer.items, f"{place}/*")
            case (MapSchema(), MapSchema()):
                yield from self.of(reader.values, writer.values, f"{place}/*")
            case (NamedSchema(), NamedSchema()) if reader.type == writer.type:
                yield from self._of_named(reader, writer, place)
            case _:
                yield from _of_primitives(reader, writer, place)

    def _of_named(self, reader: NamedSchema, writer: NamedSchema, place: str) -> Iterator[Difference]:
        if not schema_name_equals(reader, writer):
            yield _unlike(reader, writer, place)
        elif isinstance(reader, RecordSchema) and isinstance(writer, RecordSchema):
            yield from self._of_records(reader, writer, place)
        elif isinstance(reader, EnumSchema) and isinstance(writer, EnumSchema):
            unknown = sorted(set(writer.symbols) - set(reader.symbols))
            if unknown and "default" not in reader.props:
                yield Difference(place, f"reads no {', '.join(unknown)}, and has no default", Kind.FORM)
        elif isinstance(reader, FixedSchema) and isinstance(writer, FixedSchema) and reader.size != writer.size:
            yield Difference(place, f"reads {reader.size} bytes, written as {writer.size}", Kind.FORM)
        elif _logical(reader) != _logical(writer):
            yield _unlike(reader, writer, place, Kind.UNIT)

    def _of_records(self, reader: RecordSchema, writer: RecordSchema, place: str) -> Iterator[Difference]:
        pair = (id(reader), id(writer))
        if pair in self._met:
            return
        self._met.add(pair)
        for field in reader.fields:
            written = lookup_writer_field(writer, field)
            if written is not None:
                yield from self.of(field.type, written.type, f"{place}/{field.name}")
            elif not field.has_default:
                yield Difference(f"{place}/{field.name}", "is required, and is not written", Kind.FORM)


def _of_primitives(reader: AvroSchema, writer: AvroSchema, place: str) -> Iterator[Difference]:
    if reader.type == writer.type:
        if _logical(reader) != _logical(writer):
            yield _unlike(reader, writer, place, Kind.UNIT)
    elif reader.type not in PROMOTED.get(writer.type, ()):
        yield _unlike(reader, writer, place)
    elif {reader.type, writer.type} == TEXT_OR_BYTES:
        if _logical(reader) != _logical(writer):
            yield _unlike(reader, writer, place, Kind.MEANING)
        elif reader.type == "string":
            yield Difference(place, "reads string, written as bytes, which may be no UTF-8", Kind.ENCODING)


def _unlike(reader: AvroSchema, writer: AvroSchema, place: str, kind: Kind = Kind.FORM) -> Difference:
    return Difference(place, f"reads {_said(reader)}, written as {_said(writer)}", kind)


def _branch_for(writer: AvroSchema, union: UnionSchema) -> AvroSchema | None:
    """Return the branch of a reader's union that a written type is read with: its own, else one it is promoted to."""
    own = (branch for branch in union.schemas if branch.type == writer.type and _is_called_alike(branch, writer))
    wider = (branch for branch in union.schemas if branch.type in PROMOTED.get(writer.type, ()))
    return next(chain(own, wider), None)


def _is_called_alike(reader: AvroSchema, writer: AvroSchema) -> bool:
    if isinstance(reader, NamedSchema) and isinstance(writer, NamedSchema):
        return bool(schema_name_equals(reader, writer))
    return True


def _logical(schema: AvroSchema) -> tuple[object, ...]:
    """Return a type's logical type with what belongs to it; (None, None, None) for a plain one."""
    return tuple(schema.props.get(name) for name in ("logicalType", "precision", "scale"))


def _said(schema: AvroSchema) -> str:
    """Return what people call a type."""
    if isinstance(schema, UnionSchema):
        return " or ".join(map(_said, schema.schemas))
    name = f"{schema.type} {schema.name}" if isinstance(schema, NamedSchema) else schema.type
    logical, precision, scale = _logical(schema)
    if logical is None:
        return str(name)
    return f"{name} ({logical})" if precision is None else f"{name} ({logical}, precision {precision}, scale {scale})"
