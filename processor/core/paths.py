"""Dotted paths: into a request, by the camelCase names of the Avro contract, and into the provider's JSON.

A path that leads nowhere gives None, for what is optional may be absent; a path whose words the contract does
not know is refused when it is compiled, once per catalogue, so that a misspelling never reaches a request.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TypeAlias, TypeVar

from processor.core.model import Document, Instant, JsonValue, OnboardingRequest, Phone, Subject
from processor.core.reference import REFERENCE_MARK

RequestPath: TypeAlias = Callable[[OnboardingRequest], JsonValue]
Source = TypeVar("Source")

REFERENCE = "reference"  # Our own one, which is no value of the request.


def compile_path(path: str) -> RequestPath:
    """Return the function that reads `path` from a request, such as `subject.lastName` or `parameters.order.id`.

    The rest of a path after `attributes.` is one name, dots included; after `columns.` and `parameters.` each
    word goes one level deeper, and a number picks an item of a list. Raises ValueError, which names the remedy,
    for a path that no request can have.
    """
    if not all(path.split(".")):
        raise ValueError(f"path '{path}' has an empty word; write one name between two dots")
    first, _, rest = path.partition(".")
    if first == REFERENCE:
        raise ValueError(
            f"path '{path}': our own reference names the record too, so it stands in parameters only, and as "
            f"{REFERENCE}; was subject.{REFERENCE} meant?"
        )
    if first == "subject":
        return _of_subject(path, rest)
    if first in _MAPPINGS and rest:
        return _below(_MAPPINGS[first], rest)
    if first in _MAPPINGS:
        return _MAPPINGS[first]
    read = _known(_SCALARS, first, path, also=("subject", *_MAPPINGS))
    if rest:
        raise ValueError(f"path '{path}': {first} has nothing below it; write {first}")
    return read


def compile_parameter_path(path: str) -> RequestPath:
    """Return the function that reads a parameter: as `compile_path`, and `reference` for the mark of our own one.

    `core/reference.py` puts the reference in the mark's place as soon as the launch key is known.
    """
    return _reference_mark if path == REFERENCE else compile_path(path)


def value_in(value: JsonValue, path: str) -> JsonValue:
    """Return what lies at a dotted path in JSON, such as `output.decision` or `checks.0.name`, else None."""
    for word in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(word)
        elif isinstance(value, Sequence) and not isinstance(value, str) and word.isdecimal():
            value = value[int(word)] if len(word) < _INDEX_DIGITS_MAX and int(word) < len(value) else None
        else:
            return None
    return value


def subject_json(subject: Subject) -> dict[str, JsonValue]:
    """Return a subject as JSON under the contract's names, without what is absent."""
    return {word: value for word, read in _SUBJECT.items() if (value := read(subject)) not in (None, [])}


def _reference_mark(_: OnboardingRequest) -> JsonValue:
    return REFERENCE_MARK


def _of_subject(path: str, rest: str) -> RequestPath:
    if not rest:
        return lambda request: subject_json(request.subject) if request.subject else None
    word, _, below = rest.partition(".")
    if word == "phone" and below:
        of_phone = _known(_PHONE, below, path)
        return lambda request: of_phone(request.subject.phone) if request.subject and request.subject.phone else None
    of_subject = _known(_SUBJECT, word, path)
    if below and word != "documents":
        raise ValueError(f"path '{path}': subject.{word} has nothing below it; write subject.{word}")
    if below:
        return lambda request: value_in(of_subject(request.subject), below) if request.subject else None
    return lambda request: of_subject(request.subject) if request.subject else None


def _below(mapping: RequestPath, rest: str) -> RequestPath:
    if mapping is _MAPPINGS["attributes"]:
        return lambda request: request.attributes.get(rest)
    return lambda request: value_in(mapping(request), rest)


def _known(
    table: Mapping[str, Callable[[Source], JsonValue]], word: str, path: str, also: tuple[str, ...] = ()
) -> Callable[[Source], JsonValue]:
    if word in table:
        return table[word]
    words = [*table, *also]
    near = get_close_matches(word, words, n=1)
    remedy = f"did you mean {near[0]}?" if near else f"write one of {', '.join(sorted(words))}"
    raise ValueError(f"path '{path}': a request has no '{word}' there; {remedy}")


def _instant_text(instant: Instant | None) -> str | None:
    """Return an instant as ISO 8601 in UTC, as the provider's date and time columns take it."""
    if instant is None:
        return None
    return datetime.fromtimestamp(instant / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _phone_json(phone: Phone | None) -> JsonValue:
    if phone is None:
        return None
    return {word: value for word, read in _PHONE.items() if (value := read(phone)) is not None}


def _document_json(document: Document) -> JsonValue:
    members = {
        "resourceId": document.resource_id,
        "resourceName": document.resource_name,
        "resourcePath": document.resource_path,
    }
    return {name: value for name, value in members.items() if value is not None}


_INDEX_DIGITS_MAX = 10

_PHONE: Mapping[str, Callable[[Phone], JsonValue]] = {
    "countryCode": lambda phone: phone.country_code,
    "number": lambda phone: phone.number,
}

_SUBJECT: Mapping[str, Callable[[Subject], JsonValue]] = {
    "reference": lambda subject: subject.reference,
    "kind": lambda subject: subject.kind,
    "firstName": lambda subject: subject.first_name,
    "lastName": lambda subject: subject.last_name,
    "personalNumber": lambda subject: subject.personal_number,
    "email": lambda subject: subject.email,
    "phone": lambda subject: _phone_json(subject.phone),
    "companyName": lambda subject: subject.company_name,
    "companyNumber": lambda subject: subject.company_number,
    "companyAddress": lambda subject: subject.company_address,
    "documents": lambda subject: [_document_json(document) for document in subject.documents],
}

_SCALARS: Mapping[str, RequestPath] = {
    "requestId": lambda request: request.request_id,
    "workflow": lambda request: request.workflow,
    "requestedAt": lambda request: _instant_text(request.requested_at),
    "deadlineAt": lambda request: _instant_text(request.deadline_at),
    "recordId": lambda request: request.record_id,
    "caseId": lambda request: request.case_id,
    "locale": lambda request: request.locale,
    "tenant": lambda request: request.tenant,
    "sourceSystem": lambda request: request.source_system,
    "correlationId": lambda request: request.correlation_id,
}

_MAPPINGS: Mapping[str, RequestPath] = {
    "columns": lambda request: request.columns,
    "parameters": lambda request: request.parameters,
    "attributes": lambda request: request.attributes,
}
