"""Whether what one Avro schema wrote can be read by another, instants and decimals included.

The rules are those of Avro's own checker; it does not look at logical types, where a change from milliseconds to
microseconds would silently move every instant by a factor of a thousand, so those are compared here.
"""

import json
from collections.abc import Iterator
from typing import Any

from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import Schema as AvroSchema
from avro.schema import parse

LOGICAL_PROPERTIES = ("logicalType", "precision", "scale")


def conflicts(reader: str, writer: str) -> tuple[str, ...]:
    """Return why records of `writer` cannot be read with `reader`, one sentence each; empty when they can.

    Both are texts of valid Avro schemas; avro.errors.AvroException otherwise.
    """
    return (*structural_conflicts(parse(reader), parse(writer)), *logical_conflicts(reader, writer))


def structural_conflicts(reader: AvroSchema, writer: AvroSchema) -> tuple[str, ...]:
    """Return why the Avro specification's schema resolution fails, one sentence each, logical types left out."""
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]  # the library leaves it untyped
    result = checker.get_compatibility(reader, writer)
    if result.compatibility is SchemaCompatibilityType.compatible:
        return ()
    return tuple(sorted(f"{place}: {message}" for place in result.locations for message in result.messages))


def logical_conflicts(reader: str, writer: str) -> tuple[str, ...]:
    """Return the places that both schemas have with unlike logical types, one sentence each."""
    reading = dict(_logical_types("", json.loads(reader)))
    writing = dict(_logical_types("", json.loads(writer)))
    shared = sorted(reading.keys() & writing.keys())
    return tuple(
        f"{place}: reads {reading[place]}, written as {writing[place]}"
        for place in shared
        if reading[place] != writing[place]
    )


def _logical_types(place: str, schema: Any) -> Iterator[tuple[str, tuple[Any, ...]]]:  # noqa: ANN401  # JSON
    """Yield each primitive's place in a schema, with its logical type; (None, None, None) for a plain one."""
    if isinstance(schema, list):
        for branch in schema:
            yield from _logical_types(place, branch)
        return
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind == "record":
        for field in schema["fields"]:
            yield from _logical_types(f"{place}/{field['name']}", field["type"])
    elif kind in {"array", "map"}:
        yield from _logical_types(f"{place}/*", schema["items" if kind == "array" else "values"])
    elif kind != "null":
        properties = schema if isinstance(schema, dict) else {}
        yield f"{place}:{kind}", tuple(properties.get(name) for name in LOGICAL_PROPERTIES)
