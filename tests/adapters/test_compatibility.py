"""What of two Avro schemas keeps one from reading what the other wrote, and how it is said."""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.errors import AvroException
from avro.schema import parse
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from processor.adapters.compatibility import conflicts, structural_conflicts

Pair: TypeAlias = tuple[Any, Any]  # What is read, what was written: schemas as JSON.


def field(kind: object) -> str:
    """Return a record with one field of that type."""
    return json.dumps({"type": "record", "name": "R", "fields": [{"name": "a", "type": kind}]})


MILLIS, MICROS = ({"type": "long", "logicalType": f"timestamp-{unit}"} for unit in ("millis", "micros"))
CENTS, MILLS = ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": scale} for scale in (2, 3))
HASH = {"type": "fixed", "name": "F", "size": 12}
SUM = {**HASH, "logicalType": "decimal", "precision": 9, "scale": 2}


@pytest.mark.parametrize(
    "reader, writer, is_compatible",
    [
        (MICROS, MICROS, True),
        (MICROS, MILLIS, False),
        (MICROS, "long", False),
        (["null", MICROS], ["null", MILLIS], False),
        ({"type": "array", "items": MICROS}, {"type": "array", "items": MILLIS}, False),
        ({"type": "map", "values": MICROS}, {"type": "map", "values": MICROS}, True),
        (CENTS, MILLS, False),
        (CENTS, {**CENTS, "precision": 12}, False),
        (CENTS, CENTS, True),
        (HASH, SUM, False),
        ({"type": "string", "logicalType": "uuid"}, "string", False),
        ("long", "int", True),
        ("int", "long", False),
    ],
)
def test_a_changed_unit_is_a_conflict(reader: object, writer: object, *, is_compatible: bool) -> None:
    """Avro's own checker does not look at logical types, where a change would move every instant silently."""
    assert (conflicts(field(reader), field(writer)) == ()) is is_compatible


@pytest.mark.parametrize(
    "reader, writer, why",
    [
        ("string", CENTS, "reads string, written as bytes (decimal, precision 9, scale 2)"),
        (CENTS, "string", "reads bytes (decimal, precision 9, scale 2), written as string"),
        (["null", "string"], ["null", CENTS], "reads string, written as bytes (decimal, precision 9, scale 2)"),
        ("string", "bytes", "reads string, written as bytes, which may be no UTF-8"),
        ("bytes", "string", None),
        (["bytes", "string"], ["string", "bytes"], None),
        (["string", CENTS], ["string", CENTS], None),
    ],
)
def test_text_and_bytes_pass_for_each_other_in_avro_and_not_here(reader: object, writer: object, why: str) -> None:
    """A decimal that is read as text is garbage; each branch of a union is read with its own, where there is one."""
    assert structural_conflicts(parse(field(reader)), parse(field(writer))) == ()
    assert conflicts(field(reader), field(writer)) == (() if why is None else (f"/a: {why}",))


def record(name: str, **fields: object) -> dict[str, object]:
    """Return a record of required fields."""
    return {"type": "record", "name": name, "fields": [{"name": each, "type": kind} for each, kind in fields.items()]}


RED = {"type": "enum", "name": "E", "symbols": ["RED"]}
BLUE = {**RED, "symbols": ["RED", "BLUE"]}


@pytest.mark.parametrize(
    "reader, writer, reasons",
    [
        (record("N", x="int"), record("M", x="int"), ["/a: reads record N, written as record M"]),
        (["null", record("N")], ["null", record("M")], ["/a: reads null or record N, written as record M"]),
        (["null", record("N", x="int")], record("N", x="string"), ["/a/x: reads int, written as string"]),
        (
            record("N", x="int", y="int"),
            record("N", y=["int", "string"]),
            ["/a/x: is required, and is not written", "/a/y: reads int, written as string"],
        ),
        (["null", "double"], ["int", "float", "null"], []),
        ({"type": "map", "values": "int"}, {"type": "map", "values": "null"}, ["/a/*: reads int, written as null"]),
        ({"type": "array", "items": "int"}, {"type": "map", "values": "int"}, ["/a: reads array, written as map"]),
        (RED, BLUE, ["/a: reads no BLUE, and has no default"]),
        ({**RED, "default": "RED"}, BLUE, []),
        (HASH, {**HASH, "size": 8}, ["/a: reads 12 bytes, written as 8"]),
        (
            record("N", next=["null", "N"], y="int"),
            record("N", next=["null", "N"], y="null"),
            ["/a/y: reads int, written as null"],
        ),
    ],
)
def test_a_reason_names_the_field_and_both_types(reader: object, writer: object, reasons: list[str]) -> None:
    """Each is told once, where it is; what holds it is not told."""
    assert conflicts(field(reader), field(writer)) == tuple(reasons)


def defined_once(schema: Any, known: dict[str, object]) -> object:  # noqa: ANN401  # JSON
    """Return a schema in which each name is described where it is first met, and only named after that."""
    if isinstance(schema, list):
        return [defined_once(branch, known) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    if "name" in schema:
        if schema["name"] in known:
            return schema["name"]
        known[schema["name"]] = schema
    inside = {key: defined_once(schema[key], known) for key in ("items", "values") if key in schema}
    if "fields" in schema:
        inside["fields"] = [{**each, "type": defined_once(each["type"], known)} for each in schema["fields"]]
    return {**schema, **inside}


def both_ways(kinds: st.SearchStrategy[object]) -> st.SearchStrategy[Pair]:
    """Give a type to read and one to write: often the same."""
    return st.one_of(kinds.map(lambda kind: (kind, kind)), st.tuples(kinds, kinds))


def wrapped(wrap: Callable[[Any], object], inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Pair]:
    """Give pairs of types, each wrapped in the same way."""
    return inner.map(lambda pair: (wrap(pair[0]), wrap(pair[1])))


def larger(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    """Give pairs of types that hold others."""
    names = st.sampled_from([("R", "R"), ("S", "S"), ("R", "S")])
    fields = st.lists(
        st.tuples(st.sampled_from("ab"), inner, st.booleans()), max_size=2, unique_by=lambda each: each[0]
    )
    one_less = st.booleans()
    return st.one_of(
        wrapped(lambda kind: {"type": "array", "items": kind}, inner),
        wrapped(lambda kind: {"type": "map", "values": kind}, inner),
        wrapped(lambda kind: ["null", kind], inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda pairs: ([r for r, _ in pairs], [w for _, w in pairs])),
        st.builds(records, names, fields, one_less),
    )


def records(names: Pair, fields: Sequence[tuple[str, Pair, bool]], is_one_less: bool) -> Pair:  # noqa: FBT001  # by place
    """Return a record to read and one to write, which may lack a field."""
    made = [
        [{"name": key, "type": pair[side]} | ({"default": None} if default else {}) for key, pair, default in fields]
        for side in (0, 1)
    ]
    reads, writes = ({"type": "record", "name": name, "fields": each} for name, each in zip(names, made, strict=True))
    return reads, {**writes, "fields": made[1][is_one_less:]}


PRIMITIVES = st.sampled_from(["null", "boolean", "int", "long", "float", "double", "bytes", "string"])
ENUMS = st.sampled_from([RED, BLUE, {**RED, "default": "RED"}, {**BLUE, "name": "D"}])
FIXED = st.sampled_from([HASH, {**HASH, "size": 8}, {**HASH, "name": "G"}])
PAIRS = st.recursive(both_ways(st.one_of(PRIMITIVES, ENUMS, FIXED)), larger, max_leaves=5)


@settings(max_examples=300, deadline=None)
@given(PAIRS)
def test_what_cannot_be_read_is_what_the_checker_of_avro_says(pair: Pair) -> None:
    """Its words are not used, and its verdict is ours."""
    try:
        reader, writer = (parse(json.dumps(defined_once(kind, {}))) for kind in pair)
    except AvroException:
        reject()  # Two branches of a union are of one type.
    verdict = ReaderWriterCompatibilityChecker().get_compatibility(reader, writer).compatibility  # type: ignore[no-untyped-call]
    is_compatible = verdict is SchemaCompatibilityType.compatible
    assert (structural_conflicts(reader, writer) == ()) is is_compatible
