"""Onboarding requests as people write them, one JSON object a line, into records of the public schema; pure.

Names are those of `OnboardingRequested`. Instants are RFC 3339 text, columns and parameters plain JSON values, and
`requestedAt` may be left out: then it is now. No message repeats a value, since nearly all of them are personal data.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any

from processor.adapters.avro_records import EPOCH, MICROSECONDS, STRICT_JSON, Record, request_of
from processor.adapters.schema_files import AvroSchema, public_schema
from processor.core.acceptance import id_fault
from processor.core.model import Instant
from processor.errors import RequestRejected, UndecodableMessage

BAD_LINE = "bad-line"
DEFAULT_KEY = "subject.reference"
LONG_MIN, LONG_MAX = -(2**63), 2**63 - 1
INT_MIN, INT_MAX = -(2**31), 2**31 - 1
UNWRITABLE = frozenset({"UNRECOGNIZED"})  # What readers see instead of a symbol that they do not know.


@dataclass(frozen=True, slots=True)
class RequestLine:
    """One request, ready to be serialized, and the key to publish it under."""

    record: Record
    key: bytes | None


class KeyPath:
    """Where a line holds its message key: a dotted path, or None for no key at all.

    With `is_optional` a line without a value there has no key; otherwise it is refused.
    """

    def __init__(self, path: str | None, *, is_optional: bool = False) -> None:
        self._path = path
        self._is_optional = is_optional

    def key_of(self, given: Mapping[str, Any]) -> bytes | None:
        """Return a line's key; raises RequestRejected when it must have one and has not."""
        if self._path is None:
            return None
        value: Any = given
        for word in self._path.split("."):
            value = value.get(word) if isinstance(value, Mapping) else None
        if isinstance(value, str) and value:
            return value.encode()
        if value is None and self._is_optional:
            return None
        raise _refused(self._path, "must be text that is not empty, for it is the message key")


def read_request_line(text: str, *, now: Instant, key: KeyPath) -> RequestLine:
    """Return the request in one line; raises RequestRejected that names the field and the remedy."""
    try:
        given = json.loads(text, parse_constant=_no_number, object_pairs_hook=_once_each)
    except (ValueError, RecursionError) as error:
        where = f" (column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise RequestRejected(BAD_LINE, f"it is not JSON{where}; write one object a line") from None
    if not isinstance(given, dict):
        raise RequestRejected(BAD_LINE, "it is no JSON object; write one object a line")
    record = _record_of(_SCHEMA, given, "")
    if record["requestedAt"] is None:
        record["requestedAt"] = now * MICROSECONDS
    try:
        request_of(record)
    except UndecodableMessage as error:
        raise RequestRejected(BAD_LINE, str(error)) from None
    _check_ids(record)
    return RequestLine(record, key.key_of(given))


def _once_each(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object in which a member stands twice: parsers differ in which of them counts (RFC 8259, 4)."""
    given = dict(pairs)
    if len(given) != len(pairs):
        raise RequestRejected(BAD_LINE, "a member stands twice in one object; leave one of them out")
    return given


def _check_ids(record: Record) -> None:
    """Refuse what would come back as a dead letter, or as a request that was not started."""
    if fault := id_fault(record["requestId"]):
        raise RequestRejected(BAD_LINE, fault)
    for name in ("recordId", "caseId"):
        if not (record[name] or "").isprintable():
            raise _refused(name, "holds control characters; write it as the provider gave it")


def _no_number(name: str) -> None:
    raise ValueError(name)


def _value_of(schema: AvroSchema, given: Any, path: str) -> Any:  # noqa: ANN401  # JSON into what Avro takes
    """Return a JSON value as the schema wants it."""
    if isinstance(schema, list):
        return _branch_of(schema, given, path)
    described: Mapping[str, Any] = {"type": schema} if isinstance(schema, str) else schema
    return _READERS[described.get("logicalType", described["type"])](described, given, path)


def _branch_of(branches: list[Any], given: Any, path: str) -> Any:  # noqa: ANN401  # as above
    """Return the value of a union: an optional one, or any JSON value."""
    if given is None and "null" in branches:
        return None
    others = [branch for branch in branches if branch != "null"]
    return _value_of(others[0], given, path) if len(others) == 1 else _json_of(given, path)


def _record_of(schema: Mapping[str, Any], given: Any, path: str) -> Record:  # noqa: ANN401  # as above
    fields = {field["name"]: field for field in schema["fields"]}
    for name in _object(given, path):
        if name not in fields:
            close = get_close_matches(name, fields, n=1)
            known = f"is {close[0]} meant?" if close else f"known are {', '.join(fields)}"
            raise _refused(path, f"has an unknown member; {known}")
    return {name: _field_of(field, given, f"{path}.{name}" if path else name) for name, field in fields.items()}


def _field_of(field: Mapping[str, Any], given: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401  # as above
    if field["name"] in given:
        return _value_of(field["type"], given[field["name"]], path)
    if "default" in field or path in _FILLED_IN:
        return field.get("default")
    raise _refused(path, "is missing; every request has one")


def _symbol_of(schema: Mapping[str, Any], given: Any, path: str) -> str:  # noqa: ANN401  # as above
    symbols = [symbol for symbol in schema["symbols"] if symbol not in UNWRITABLE]
    if given not in symbols:
        raise _refused(path, f"must be one of {', '.join(symbols)}")
    return str(given)


def _json_of(given: Any, path: str) -> Any:  # noqa: ANN401  # as above
    """Return any JSON value: objects and lists travel as text."""
    if isinstance(given, dict | list):
        return {"json": STRICT_JSON(given)}
    if isinstance(given, int) and not LONG_MIN <= given <= LONG_MAX:
        raise _refused(path, "is too large a number; write it as text")
    return given


def _instant_of(_: Mapping[str, Any], given: Any, path: str) -> int:  # noqa: ANN401  # as above
    remedy = "must be an instant such as 2026-11-24T12:00:00Z"
    try:
        at = datetime.fromisoformat(given)
    except (TypeError, ValueError):
        raise _refused(path, remedy) from None
    if at.tzinfo is None:
        raise _refused(path, f"{remedy}, with its time zone")
    return (at.astimezone(UTC) - EPOCH) // timedelta(microseconds=1)


def _text_of(_: Mapping[str, Any], given: Any, path: str) -> str:  # noqa: ANN401  # as above
    if not isinstance(given, str):
        raise _refused(path, "must be text")
    try:
        given.encode()
    except UnicodeEncodeError:
        raise _refused(path, "holds half a character; write it whole") from None
    return given


def _int_of(_: Mapping[str, Any], given: Any, path: str) -> int:  # noqa: ANN401  # as above
    if not isinstance(given, int) or isinstance(given, bool) or not INT_MIN <= given <= INT_MAX:
        raise _refused(path, f"must be a whole number, at most {INT_MAX}")
    return given


def _list_of(schema: Mapping[str, Any], given: Any, path: str) -> list[Any]:  # noqa: ANN401  # as above
    if not isinstance(given, list):
        raise _refused(path, "must be a list")
    return [_value_of(schema["items"], item, f"{path}.{number}") for number, item in enumerate(given)]


def _map_of(schema: Mapping[str, Any], given: Any, path: str) -> dict[str, Any]:  # noqa: ANN401  # as above
    return {name: _value_of(schema["values"], value, f"{path}.{name}") for name, value in _object(given, path).items()}


def _object(given: Any, path: str) -> dict[str, Any]:  # noqa: ANN401  # as above
    if not isinstance(given, dict):
        raise _refused(path, "must be an object")
    return given


def _refused(path: str, what: str) -> RequestRejected:
    return RequestRejected(BAD_LINE, f"{path or 'the request'} {what}")


# What the contract of requests uses; a test reads a line with every one of its fields.
_READERS: Mapping[str, Callable[[Mapping[str, Any], Any, str], Any]] = {
    "string": _text_of,
    "int": _int_of,
    "record": _record_of,
    "enum": _symbol_of,
    "array": _list_of,
    "map": _map_of,
    "timestamp-micros": _instant_of,
}
_FILLED_IN = frozenset({"requestedAt"})
_SCHEMA: Mapping[str, Any] = json.loads(public_schema("OnboardingRequested"))
