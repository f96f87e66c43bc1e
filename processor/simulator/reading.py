"""Reading what callers send: JSON objects and their members, or the documented refusal."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from processor.simulator.model import Generation, Refused

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_VERSION = re.compile(r";\s*version\s*=\s*\"?([^\s;,\"]*)")
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")

JSON_RANGES = frozenset({"application/json", "application/*", "*/*"})
CASE_TEXTS = frozenset(
    {"firstName", "lastName", "personalNumber", "email", "companyName", "companyNumber", "companyAddress"}
)
PHONE_TEXTS = frozenset({"countryCode", "number"})
DOCUMENT_TEXTS = frozenset({"resourceId", "resourceName", "resourcePath"})


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
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise Refused(400, "BAD_MEMBER", f"{name} is not a text")
    return value


def uuid_in(given: Mapping[str, Any], name: str) -> str:
    """Read a required UUID; 400 otherwise."""
    value = text_in(given, name)
    if not is_uuid(value):
        raise Refused(400, "BAD_UUID", f"{name} is not a UUID")
    return value


def optional_uuid_in(given: Mapping[str, Any], name: str) -> str | None:
    """Read a UUID that may be absent or null; 400 on anything else."""
    return None if given.get(name) is None else uuid_in(given, name)


def object_at(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Read a required object; 400 otherwise."""
    value = given.get(name)
    if not isinstance(value, dict):
        raise Refused(400, "MISSING_MEMBER", f"{name} must be an object")
    return value


def definition_in(given: Mapping[str, Any], known: tuple[str, ...], name: str = "workflowDefinitionId") -> str:
    """Read a definition id; 404 when some are known and it is not among them."""
    definition_id = text_in(given, name)
    if known and definition_id not in known:
        raise Refused(404, "NOT_FOUND", "no such workflow definition")
    return definition_id


def address_in(given: Mapping[str, Any]) -> str:
    """Read a mail address; 400 when there is none."""
    address = text_in(given, "email")
    if not _ADDRESS.fullmatch(address):
        raise Refused(400, "BAD_ADDRESS", "email is not a mail address")
    return address


def case_in(given: Mapping[str, Any]) -> None:
    """Check the members of a case, all optional: texts, a phone and documents; 400 on anything else."""
    _check_members(given, CASE_TEXTS | {"phone", "documents"})
    for name in CASE_TEXTS:
        optional_text_in(given, name)
    phone, documents = given.get("phone"), given.get("documents")
    _check_texts({} if phone is None else phone, PHONE_TEXTS)
    if documents is not None and not isinstance(documents, list):
        raise Refused(400, "BAD_MEMBER", "documents is not a list")
    for document in documents or ():
        _check_texts(document, DOCUMENT_TEXTS)


def _check_texts(given: object, names: frozenset[str]) -> None:
    if not isinstance(given, dict):
        raise Refused(400, "BAD_MEMBER", f"an object of {', '.join(sorted(names))} is expected")
    _check_members(given, names)
    for name in names:
        optional_text_in(given, name)


def _check_members(given: Mapping[str, Any], known: frozenset[str]) -> None:
    if not known.issuperset(given):
        raise Refused(400, "UNKNOWN_MEMBER", f"only {', '.join(sorted(known))} are known")


def is_uuid(value: str) -> bool:
    """Say whether a text is a UUID."""
    return _UUID.fullmatch(value) is not None


@lru_cache(maxsize=64)
def generation_in(accept: str) -> Generation | None:
    """Read the version that an Accept header asks for, None when it names none; 406 on an unknown one."""
    found = _VERSION.search(accept)
    if found is None:
        return None
    if found[1] not in ("1", "2"):
        raise Refused(406, "UNKNOWN_VERSION", "Accept may ask for version 1 or 2; version 3 has paths of its own")
    return Generation(found[1])


@lru_cache(maxsize=64)
def is_json_wanted(accept: str) -> bool:
    """Say whether an Accept header takes JSON of any version; none at all takes everything (RFC 9110, 12.5.1)."""
    wanted = [each.partition(";")[0].strip().lower() for each in accept.split(",")]
    return not accept.strip() or not JSON_RANGES.isdisjoint(wanted)


@lru_cache(maxsize=64)
def is_json(content_type: str) -> bool:
    """Say whether a Content-Type means JSON, whatever its parameters."""
    return content_type.partition(";")[0].strip().lower() == "application/json"
