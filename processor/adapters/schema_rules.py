"""What a schema of a public event must keep to, beyond what Avro and a registry check; judged from its text alone.

Compatibility with every released version, both ways, logical types and the words of enums included; and the form that
keeps the next version compatible too: enums with a default, optional fields that are null first. The rest is for
people: sentences, names, units, tags.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from avro.errors import AvroException
from avro.schema import parse

from processor.adapters.compatibility import conflicts
from processor.adapters.schema_files import PUBLIC_NAMESPACE, PUBLIC_RECORDS, public_schema, released_schemas

UNRECOGNIZED = "UNRECOGNIZED"
TAGS, PERSONAL = "confluent:tags", ["PII"]
INSTANT = "timestamp-micros"
EMPTY: Mapping[object, object] = {"array": [], "map": {}}  # The only defaults that say that there is nothing.
CAUSE_CHARS_MAX = 200

_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # As the Avro specification has it; Python's library takes dots.
_CAMEL_CASE = re.compile(r"[a-z][A-Za-z0-9]*")
_TYPE_NAME = re.compile(r"[A-Z][A-Za-z0-9]*")
_SYMBOL = re.compile(r"[A-Z][A-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Flaw:
    """One rule that a schema breaks, where, and in a sentence how; `is_breaking`: a reader or writer fails over it."""

    place: str
    text: str
    is_breaking: bool


def flaws(text: str) -> tuple[Flaw, ...]:
    """Return every rule that the text of a schema breaks."""
    try:
        schema = json.loads(text)
        parse(text)
        name = short_name(schema) if isinstance(schema, dict) and "name" in schema else None
        if name not in PUBLIC_RECORDS:
            return (Flaw("", f"it is none of the public records: {', '.join(PUBLIC_RECORDS)}", is_breaking=True),)
        return (*_conflicts_with_released(name, text), *_broken(schema))
    except (ValueError, RecursionError, AvroException) as error:  # Comparing refuses types that parsing takes.
        text = f"it is no valid Avro schema that stands on its own: {_cause(error)}"
        return (Flaw("", text, is_breaking=True),)


def _cause(error: BaseException) -> str:
    """Return what an error began with: around it Avro's parser repeats every type that holds the wrong one."""
    while isinstance(cause := error.__cause__ or error.__context__, AvroException):
        error = cause
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:CAUSE_CHARS_MAX]}"


def same_as(text: str) -> int | None:
    """Return the released version that a schema's text is, layout aside; None for any other text."""
    try:
        schema = json.loads(text)
        versions = released_schemas(schema["name"]).items()
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    return next((number for number, released in versions if json.loads(released) == schema), None)


@cache
def personal_names() -> frozenset[str]:
    """Return the names of the fields that the schemas of this build tag as personal data."""
    schemas = [json.loads(public_schema(record)) for record in PUBLIC_RECORDS]
    return frozenset(
        field["name"]
        for schema in schemas
        for found in named_types(schema)
        for field in found.get("fields", ())
        if TAGS in field
    )


def named_types(schema: Any) -> Iterator[Mapping[str, Any]]:  # noqa: ANN401  # JSON
    """Give every record and enum that is described in a schema, the outermost first."""
    if isinstance(schema, list):
        for branch in schema:
            yield from named_types(branch)
    elif isinstance(schema, dict):
        if schema["type"] in {"record", "enum"}:
            yield schema
        for field in schema.get("fields", ()):
            yield from named_types(field["type"])
        for key in ("items", "values"):
            yield from named_types(schema.get(key, []))


def short_name(named: Mapping[str, Any]) -> str:
    """Return the name of a record or enum without the namespace that may stand before it."""
    return str(named["name"]).rpartition(".")[2]


def branches(schema: Any) -> list[Mapping[str, Any]]:  # noqa: ANN401  # JSON
    """Return the branches of a field's type as objects, null left out."""
    found = schema if isinstance(schema, list) else [schema]
    return [branch if isinstance(branch, dict) else {"type": branch} for branch in found if branch != "null"]


def _conflicts_with_released(name: str, text: str) -> Iterator[Flaw]:
    """Give what keeps a schema and the released versions from reading each other (FULL_TRANSITIVE)."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for number, released in released_schemas(name).items():
        for place, before, after in _conflicts_with(released, text):
            found.setdefault((place, before, after), []).append(str(number))
    for (place, before, after), numbers in found.items():
        versions = f"version{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}"
        yield Flaw(place, f"{before}{versions}{after}", is_breaking=True)


def _conflicts_with(released: str, text: str) -> Iterator[tuple[str, str, str]]:
    """Give the place of each conflict with a released version, and what is said before and after its number."""
    for why in conflicts(text, released):
        yield "", "it cannot read what ", f" wrote: {why}"
    for why in conflicts(released, text):
        yield "", "", f" cannot read what it writes: {why}"
    symbols = _symbols(json.loads(text))
    for enum, words in _symbols(json.loads(released)).items():
        if gone := words - symbols.get(enum, words):
            yield enum, f"it lacks {', '.join(sorted(gone))} of ", f": it would read {UNRECOGNIZED} instead"


def _symbols(schema: Mapping[str, Any]) -> Mapping[str, frozenset[str]]:
    return {short_name(found): frozenset(found["symbols"]) for found in named_types(schema) if found["type"] == "enum"}


def _broken(schema: Mapping[str, Any]) -> Iterator[Flaw]:
    for found in named_types(schema):
        name = short_name(found)
        if _namespace_of(found, None if found is schema else PUBLIC_NAMESPACE) != PUBLIC_NAMESPACE:
            yield Flaw(name, f"its namespace is not {PUBLIC_NAMESPACE}", is_breaking=True)
        if not _TYPE_NAME.fullmatch(name):
            yield Flaw(name, "its name is not written LikeThis", is_breaking=False)
        if not _is_sentence(found):
            yield Flaw(name, "its doc is no sentence", is_breaking=False)
        yield from _of_enum(found) if found["type"] == "enum" else _of_record(found)


def _namespace_of(named: Mapping[str, Any], outer: str | None) -> object:
    """Return the namespace of a record or enum: before its name, beside it, or that of what it stands in."""
    before, dot, _ = named["name"].rpartition(".")
    return before if dot else named.get("namespace", outer)


def _of_enum(enum: Mapping[str, Any]) -> Iterator[Flaw]:
    if (*enum["symbols"][:1], enum.get("default")) != (UNRECOGNIZED, UNRECOGNIZED):
        text = f"its first symbol and its default are not {UNRECOGNIZED}: a reader fails over the next new word"
        yield Flaw(short_name(enum), text, is_breaking=True)
    if not all(_SYMBOL.fullmatch(symbol) for symbol in enum["symbols"]):
        yield Flaw(short_name(enum), "a symbol is not written LIKE_THIS", is_breaking=False)


def _of_record(record: Mapping[str, Any]) -> Iterator[Flaw]:
    for field in record["fields"]:
        place = f"{short_name(record)}.{field['name']}"
        yield from (Flaw(place, text, is_breaking=True) for text in _breaking(field))
        yield from (Flaw(place, text, is_breaking=False) for text in _unclear(field))


def _breaking(field: Mapping[str, Any]) -> Iterator[str]:
    """Give what of a field keeps it from coming and going."""
    kind, has_default = field["type"], "default" in field
    if isinstance(kind, list):
        if kind[:1] != ["null"] or len(kind[1:]) != 1 or not has_default or field["default"] is not None:
            yield 'it is not optional as ["null", type] with the default null: it could neither come nor go'
    elif has_default and _name_of(kind) not in EMPTY:
        yield "it is required and has a default: a value that is absent would look present"
    elif has_default and field["default"] != EMPTY[_name_of(kind)]:
        yield f"its default is not {EMPTY[_name_of(kind)]}: no other one says that there is nothing"
    if not _FIELD_NAME.fullmatch(field["name"]):
        yield "its name is none that Avro allows: other libraries refuse the whole schema"
    if field.get("aliases"):
        yield "it has aliases: released readers do not know them, and would lose its value or take another field's"


def _name_of(kind: Any) -> object:  # noqa: ANN401  # JSON
    """Return what a type that is no union is called."""
    return kind["type"] if isinstance(kind, dict) else kind


def _unclear(field: Mapping[str, Any]) -> Iterator[str]:
    """Give what of a field a person could take wrongly."""
    if not _CAMEL_CASE.fullmatch(field["name"]):
        yield "its name is not written likeThis"
    if not _is_sentence(field):
        yield "its doc is no sentence"
    is_instant = any(branch.get("logicalType") == INSTANT for branch in branches(field["type"]))
    if is_instant != field["name"].endswith("At"):
        yield f"a field is named …At exactly when it is {INSTANT}"
    if is_instant and "UTC" not in str(field.get("doc", "")):
        yield "its doc does not say UTC"
    if field.get(TAGS, PERSONAL) != PERSONAL:
        yield f"its {TAGS} are not {json.dumps(PERSONAL)}"
    elif field["name"] in personal_names() and TAGS not in field:
        yield f"it holds personal data and lacks {json.dumps({TAGS: PERSONAL})}"


def _is_sentence(described: Mapping[str, Any]) -> bool:
    return str(described.get("doc", "")).endswith(".")
