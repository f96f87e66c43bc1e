"""Records of the public schemas as values of the core, and back: names, units, and what nobody could serve.

Pure; `avro` turns the records into bytes.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any, TypeAlias, cast
from uuid import UUID

from processor.core.messages import Finished, LinkIssued, Progressed
from processor.core.model import Document, Instant, JsonValue, OnboardingRequest, Origin, Phone, Subject
from processor.errors import UndecodableMessage

Record: TypeAlias = dict[str, Any]

EVENT_NAMESPACE = UUID("0ec3a1f0-971d-540f-b416-b579179217ff")  # Part of the contract: docs/events.md.
EPOCH = datetime.fromtimestamp(0, UTC)
INSTANT_MAX = 253_402_300_799_999  # The last millisecond of the year 9999: readers build dates of instants.
MICROSECONDS = 1_000  # In one of our milliseconds.

STRICT_JSON = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode

# What a decoded request may still be refused for: reasons of dead letters.
BAD_JSON = "bad-json"
BAD_VALUE = "bad-value"


def request_of(record: Record) -> OnboardingRequest:
    """Return a request's record as a value of the core; raises UndecodableMessage for values nobody can serve."""
    request_id = record["requestId"]
    if not request_id.strip():
        raise UndecodableMessage(BAD_VALUE, "requestId is empty")
    subject, deadline = record["subject"], record["deadlineAt"]
    return OnboardingRequest(
        request_id=request_id,
        workflow=record["workflow"],
        requested_at=_instant("requestedAt", record["requestedAt"]),
        deadline_at=None if deadline is None else _instant("deadlineAt", deadline),
        subject=None if subject is None else _subject(subject),
        record_id=record["recordId"],
        case_id=record["caseId"],
        columns=_json_values("columns", record["columns"]),
        parameters=_json_values("parameters", record["parameters"]),
        locale=record["locale"],
        link_attempt=_link_attempt(record["linkAttempt"]),
        tenant=record["tenant"],
        source_system=record["sourceSystem"],
        correlation_id=record["correlationId"],
        attributes=record["attributes"],
    )


def finished_record(event: Finished, definition_id: str | None) -> Record:
    """Return a result as its Avro record."""
    origin = event.origin
    return {
        "eventId": event_id("OnboardingFinished", event.revision, origin.request_id),
        **_from_origin(origin),
        "revision": event.revision,
        "outcome": event.outcome,
        "decision": event.decision,
        "status": event.status,
        "definitionId": definition_id,
        "workflowId": event.workflow_id,
        "recordId": event.record_id,
        "caseId": event.case_id,
        "result": event.result,
        "resultHash": event.result_hash,
        "resultBytes": event.result_bytes,
        "resultOmitted": event.result_omitted,
        "requestedAt": origin.requested_at * MICROSECONDS,
        "acceptedAt": origin.accepted_at * MICROSECONDS,
        "startedAt": _microseconds(event.started_at),
        "finishedAt": event.finished_at * MICROSECONDS,
        "seenAt": _microseconds(event.seen_at),
        "completedBy": event.completed_by,
        "attempts": event.attempts,
        "reason": event.reason,
        "message": event.message,
        "candidates": event.candidates,
        "isRerun": event.is_rerun,
        "subjectReference": origin.subject_reference,
        "attributes": origin.attributes,
    }


def progressed_record(event: Progressed) -> Record:
    """Return a step as its Avro record; a reader's attributes and the subject stay out of it."""
    return {
        "eventId": event_id("OnboardingProgressed", event.step, event.attempt or 0, event.origin.request_id),
        **_from_origin(event.origin),
        "step": event.step,
        "reachedAt": event.at * MICROSECONDS,
        "workflowId": event.workflow_id,
        "attempt": event.attempt,
    }


def issued_record(event: LinkIssued) -> Record:
    """Return an issued link or token as its Avro record."""
    origin = event.origin
    return {
        "eventId": event_id("OnboardingLinkIssued", event.link_attempt, origin.request_id),
        **_from_origin(origin),
        "attempt": event.link_attempt,
        "link": event.link,
        "token": event.token,
        "issuedAt": event.issued_at * MICROSECONDS,
        "expiresAt": _microseconds(event.expires_at),
        "recordId": event.record_id,
        "caseId": event.case_id,
        "subjectReference": origin.subject_reference,
        "attributes": origin.attributes,
    }


def event_id(record: str, *of: object) -> str:
    """Return the id of a public event: the same for the same event however often it is published.

    UUID version 5 (RFC 9562) of the record name and what identifies the event, joined by `/`.
    """
    name = "/".join((record, *map(str, of))).encode()
    digest = bytearray(hashlib.sha1(EVENT_NAMESPACE.bytes + name, usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()  # By hand: `uuid.uuid5` takes four times as long.
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _from_origin(origin: Origin) -> Record:
    """Return the fields that every event about a request has."""
    return {
        "requestId": origin.request_id,
        "workflow": origin.workflow,
        "tenant": origin.tenant,
        "sourceSystem": origin.source_system,
        "correlationId": origin.correlation_id,
    }


def _subject(record: Record) -> Subject:
    phone = record["phone"]
    return Subject(
        reference=record["reference"],
        kind=record["kind"],
        first_name=record["firstName"],
        last_name=record["lastName"],
        personal_number=record["personalNumber"],
        email=record["email"],
        phone=None if phone is None else Phone(phone["countryCode"], phone["number"]),
        company_name=record["companyName"],
        company_number=record["companyNumber"],
        company_address=record["companyAddress"],
        documents=tuple(
            Document(document["resourceId"], document["resourceName"], document["resourcePath"])
            for document in record["documents"]
        ),
    )


def _link_attempt(value: int | None) -> int:
    if value is None:
        return 1
    if value < 1:
        raise UndecodableMessage(BAD_VALUE, "linkAttempt is below 1")
    return value


def _instant(name: str, value: int | datetime) -> Instant:
    """Return an instant in milliseconds; the library's deserializer brings dates, fastavro here microseconds."""
    at = value // MICROSECONDS if isinstance(value, int) else (value - EPOCH) // timedelta(milliseconds=1)
    if not 0 <= at <= INSTANT_MAX:
        raise UndecodableMessage(BAD_VALUE, f"{name} is not between the years 1970 and 9999")
    return at


def _microseconds(at: Instant | None) -> int | None:
    return None if at is None else at * MICROSECONDS


def _json_values(field: str, values: Record) -> Mapping[str, JsonValue]:
    """Return a map of JSON values with objects and lists parsed."""
    return {name: value if type(value) is str else _json_value(field, value) for name, value in values.items()}


def _json_value(field: str, value: Any) -> JsonValue:  # noqa: ANN401  # a branch of the Avro union
    """Return one JSON value; what could not be written as JSON again is refused here, not hours later.

    That is NaN, infinity, half a surrogate pair, and nesting beyond what a parser can follow.
    """
    if isinstance(value, float) and not isfinite(value):
        raise UndecodableMessage(BAD_JSON, f"{field} holds a number that JSON cannot carry")
    if not isinstance(value, dict):
        return cast("JsonValue", value)
    try:
        parsed: JsonValue = json.loads(value["json"])
        STRICT_JSON(parsed).encode()
    except (ValueError, RecursionError):
        raise UndecodableMessage(BAD_JSON, f"{field} holds text that is not JSON") from None
    return parsed
