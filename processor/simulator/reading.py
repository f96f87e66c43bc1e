"""Reading what callers send: JSON objects and their members, or the documented refusal."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from processor.simulator.model import Generation, Refused

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_VERSION = re.compile(r";\s*version\s*=\s*\"?([^\s;,\"]*)")


def object_in(body: bytes) -> dict[str, Any]:
    """Read a JSON object; 400 otherwise."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refused(400, "BAD_JSON", "the body is not JSON") from None
    if not isinstance(value, dict):
        raise Refused(400, "BAD_BODY", "the body is not an object")
    return value


def on_one_line(body: bytes, value: object) -> bytes:
    """Return the body as it came, or written anew where it is broken into lines."""
    return orjson.dumps(value) if b"\n" in body or b"\r" in body else body


def text_in(given: Mapping[str, Any], name: str) -> str:
    """Read a required text; 400 otherwise."""
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise Refused(400, "MISSING_MEMBER", f"{name} is required")
    return value


def optional_text_in(given: Mapping[str, Any], name: str) -> str | None:
    """Read a text that may be absent or null; 400 on another type."""
    return None if given.get(name) is None else text_in(given, name)


def uuid_in(given: Mapping[str, Any], name: str) -> str:
    """Read a required UUID; 400 otherwise."""
    value = text_in(given, name)
    if not is_uuid(value):
        raise Refused(400, "BAD_UUID", f"{name} is not a UUID")
    return value


def is_uuid(value: str) -> bool:
    """Say whether a text is a UUID."""
    return _UUID.fullmatch(value) is not None


@lru_cache(maxsize=64)
def generation_in(accept: str) -> Generation:
    """Read the version that an Accept header asks for, 1 when it names none; 406 on an unknown one."""
    found = _VERSION.search(accept)
    if found is None:
        return Generation.G1
    if found[1] not in ("1", "2"):
        raise Refused(406, "UNKNOWN_VERSION", "Accept may ask for version 1 or 2")
    return Generation(found[1])


@lru_cache(maxsize=64)
def is_json(content_type: str) -> bool:
    """Say whether a Content-Type means JSON, whatever its parameters."""
    return content_type.partition(";")[0].strip().lower() == "application/json"
