"""Internal records as bytes: what goes in comes out, whatever else comes in is named for what it is."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from enum import IntEnum, StrEnum
from io import BytesIO
from typing import Any, TypeAlias

import pytest
from fastavro import parse_schema, schemaless_writer

from processor.adapters.codec import ANSWERS, MESSAGES, PARTS, Codec
from processor.adapters.schema_files import (
    INTERNAL_NAMESPACE,
    internal_formats,
    internal_schemas,
    self_contained,
    without_logical_types,
)
from processor.core import messages, state
from processor.core.model import Origin, StartInputs, Timer
from processor.core.state import KnownRequest
from processor.errors import SettingsInvalid, StateUnreadable, UndecodableMessage

ALL = (*MESSAGES, *PARTS, *ANSWERS)
NESTED = (Origin, StartInputs, Timer)
NEWEST = max(internal_formats())
INSTANTS = {"at", "until", "send_before", "since"}  # Beside everything that ends in `_at`.


def camel(name: str) -> str:
    """Spell a field's name as Avro does."""
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def fields_of(cls: type) -> list[tuple[str, Any]]:
    """Return name and type of each field of a dataclass."""
    hints = typing.get_type_hints(cls)
    return [(field.name, hints[field.name]) for field in dataclasses.fields(cls)]


Hint: TypeAlias = Any  # A type as `typing` describes it.


def origin(hint: Hint) -> object:
    """Return the generic type that `hint` is made of, or None."""
    return typing.get_origin(hint)


def branches(hint: Hint) -> list[Hint]:
    """Return the types that `hint` may be, None left out."""
    is_union = isinstance(hint, types.UnionType) or origin(hint) is typing.Union
    return [part for part in typing.get_args(hint) if part is not types.NoneType] if is_union else [hint]


def avro_type(name: str, hint: Hint) -> object:
    """Return the Avro type that a field must have."""
    only = branches(hint)[0]
    if origin(only) is tuple:
        found: object = {"type": "array", "items": avro_type("", typing.get_args(only)[0])}
    elif origin(only) is Mapping:
        found = {"type": "map", "values": avro_type("", typing.get_args(only)[1])}
    elif name.endswith("_at") or name in INSTANTS:
        found = {"type": "long", "logicalType": "timestamp-millis"}
    elif dataclasses.is_dataclass(only):
        found = f"onboarding.internal.{getattr(only, '__name__', '')}"
    else:
        plain = {str: "string", int: "long", bool: "boolean", bytes: "bytes"}
        found = "string" if issubclass(only, StrEnum) else plain[int if issubclass(only, IntEnum) else only]
    return found if only is hint else ["null", found]


def sample(hint: Hint, *, is_full: bool) -> Any:  # noqa: ANN401  # a value of that type
    """Return a value of that type with every optional member filled, or none of them."""
    if branches(hint) != [hint]:
        return sample(branches(hint)[0], is_full=is_full) if is_full else None
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return hint(**{name: sample(kind, is_full=is_full) for name, kind in fields_of(hint)})
    if origin(hint) is tuple:
        return (sample(typing.get_args(hint)[0], is_full=is_full),) if is_full else ()
    if origin(hint) is Mapping:
        return {"k": "v"} if is_full else {}
    if issubclass(hint, StrEnum | IntEnum):
        return list(hint)[-1 if is_full else 0]
    return {str: "zażółć\x00", int: 2**62, bool: True, bytes: b"\x00\xff"}[hint] if is_full else hint()


@pytest.mark.parametrize("cls", [*ALL, *NESTED])
def test_dataclass_and_schema_agree(cls: type) -> None:
    """Names, order and types are the same on both sides, so that neither can be changed alone."""
    described = [(field["name"], field["type"]) for field in internal_schemas(NEWEST)[cls.__name__]["fields"]]
    assert described == [(camel(name), avro_type(name, hint)) for name, hint in fields_of(cls)]


def test_every_part_and_message_can_be_written() -> None:
    """What the core keeps or sends internally is described, and nothing else is; each has a number of its own."""
    schemas = internal_schemas(NEWEST)
    assert set(PARTS) == set(typing.get_args(state.Part))
    assert set(schemas) == {cls.__name__ for cls in (*ALL, *NESTED)}
    numbers = [schemas[cls.__name__]["typeNumber"] for cls in ALL]
    assert len(set(numbers)) == len(ALL)
    assert all(0 < number < 256 for number in numbers)


@pytest.mark.parametrize("is_full", [True, False])
@pytest.mark.parametrize("cls", ALL)
def test_what_goes_in_comes_out(cls: type, *, is_full: bool) -> None:
    """Each type comes back equal and of the same types, with every optional member and with none."""
    value = sample(cls, is_full=is_full)
    back = CODEC.decode(CODEC.encode(value))
    assert back == value
    assert repr(back) == repr(value)  # Equality alone would take a plain string for a word of a closed list.


CODEC = Codec()
BYTES = CODEC.encode(KnownRequest(b"0123456789abcdef", Timer(2**40)))


@pytest.mark.parametrize("length", range(len(BYTES)))
def test_a_cut_record_is_undecodable(length: int) -> None:
    """No beginning of a record passes for the whole of it."""
    with pytest.raises(UndecodableMessage):
        CODEC.decode(BYTES[:length])


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "short-frame"),
        (b"\x00" + BYTES[1:], "bad-magic"),
        (BYTES[:1] + b"\xff" + BYTES[2:], "bad-magic"),
        (BYTES + b"\x00", "bad-avro"),
        (BYTES[:2] + b"\xff" * 12, "bad-avro"),
        (CODEC.encode(sample(messages.Started, is_full=True)).replace(b"OPERATOR", b"OPERETTA"), "bad-avro"),
    ],
)
def test_damage_is_named_and_not_quoted(data: bytes, reason: str) -> None:
    """The reason is a word of a closed list, and the text holds nothing of the record."""
    with pytest.raises(UndecodableMessage) as caught:
        CODEC.decode(data)
    assert caught.value.reason == reason
    assert "OPER" not in str(caught.value)
    assert caught.value.__cause__ is None


def older_value(schema: object, schemas: Mapping[str, Mapping[str, Any]], *, is_full: bool) -> Any:  # noqa: ANN401
    """Return a value of an older schema, with every optional member or none."""
    if isinstance(schema, list):
        return older_value(schema[1], schemas, is_full=is_full) if is_full else None
    if isinstance(schema, dict) and "type" in schema and schema["type"] in {"array", "map"}:
        return [] if schema["type"] == "array" else {}
    kind = schema["type"] if isinstance(schema, dict) else schema
    if isinstance(kind, str) and kind.startswith("onboarding.internal."):
        return older_record(kind.rpartition(".")[2], schemas, is_full=is_full)
    return {"string": "x", "long": 7, "boolean": True, "bytes": b"x"}[str(kind)]


def older_record(name: str, schemas: Mapping[str, Mapping[str, Any]], *, is_full: bool) -> dict[str, Any]:
    """Return a record of an older format; a field that holds a word of a closed list has one that it names."""
    record = {}
    for field in schemas[name]["fields"]:
        _, listed, words = field["doc"].partition("One of: ")
        is_word = bool(listed) and "string" in str(field["type"])
        value = words.split(",")[0].strip(" .") if is_word else older_value(field["type"], schemas, is_full=is_full)
        record[field["name"]] = None if is_word and isinstance(field["type"], list) and not is_full else value
    return record


@pytest.mark.parametrize("is_full", [True, False])
@pytest.mark.parametrize("number", [number for number in internal_formats() if number < NEWEST])
def test_what_older_builds_wrote_is_read(number: int, *, is_full: bool) -> None:
    """State and custody outlive the build that wrote them: every type of every format is read into today's shape."""
    schemas = internal_schemas(number)
    known = [cls for cls in ALL if cls.__name__ in schemas]
    assert known
    for cls in known:
        whole = self_contained(cls.__name__, schemas, INTERNAL_NAMESPACE)
        buffer = BytesIO()
        schema = parse_schema(without_logical_types(whole))
        schemaless_writer(buffer, schema, older_record(cls.__name__, schemas, is_full=is_full))
        assert type(CODEC.decode(bytes((number, whole["typeNumber"])) + buffer.getvalue())) is cls


def test_a_newer_format_stops_the_partition() -> None:
    """Going on over a record of a newer build would lose what it says."""
    with pytest.raises(StateUnreadable, match="newer build"):
        CODEC.decode(bytes([NEWEST + 1]) + BYTES[1:])


class Old:
    """The build before."""

    @dataclasses.dataclass(frozen=True, slots=True)
    class Sample:
        """A record."""

        name: str


class New:
    """The build that brings a format of its own."""

    @dataclasses.dataclass(frozen=True, slots=True)
    class Sample:
        """The same record, one field richer."""

        name: str
        extra_words: tuple[str, ...] = ()


def sample_schema(*more: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the schemas of a format that has one record."""
    fields = [{"name": "name", "type": "string"}, *more]
    return {"Sample": {"type": "record", "name": "Sample", "typeNumber": 1, "fields": fields}}


EXTRA = {"name": "extraWords", "type": {"type": "array", "items": "string"}, "default": []}
FIRST, SECOND = sample_schema(), sample_schema(EXTRA)


def test_two_builds_read_each_other_in_a_rollout() -> None:
    """The new build reads both formats and writes the old one until it is told otherwise; both understand that."""
    old = Codec([Old.Sample], formats={1: FIRST}, write_format=1)
    careful = Codec([New.Sample], formats={1: FIRST, 2: SECOND}, write_format=1)
    switched = Codec([New.Sample], formats={1: FIRST, 2: SECOND}, write_format=2)
    rich = New.Sample("a", ("b",))
    assert old.decode(careful.encode(rich)) == Old.Sample("a")
    assert careful.decode(old.encode(Old.Sample("a"))) == New.Sample("a")
    assert careful.decode(switched.encode(rich)) == rich
    with pytest.raises(StateUnreadable):
        old.decode(switched.encode(rich))


@pytest.mark.parametrize("write_format", [0, 3])
def test_a_format_that_is_not_in_the_build_is_refused(write_format: int) -> None:
    """A setting that names a format which nobody can write stops the start."""
    with pytest.raises(SettingsInvalid, match=f"format {write_format}"):
        Codec([New.Sample], formats={1: FIRST, 2: SECOND}, write_format=write_format)
