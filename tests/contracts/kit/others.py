"""Links and progress of every kind, and requests as upstream may publish them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from processor.core.messages import LinkIssued, Progressed, Step
from processor.core.model import DAY_MS, HOUR_MS, SECOND_MS
from tests.contracts.kit.results import AT, CASE_ID, RECORD_ID, TRACEPARENT, WORKFLOW_ID, origin

LINK = "https://provider.example/walk/kit-not-a-real-link"
TOKEN = "kit-not-a-real-token"
HAND_OUT = "Hand it out; write it into no log. A higher `attempt` makes it useless."


@dataclass(frozen=True, slots=True)
class Event:
    """One link or step, as the processor decides it."""

    name: str
    what: str
    event: LinkIssued | Progressed
    expected: str
    version: int | None = None  # Of the schema that it is written with; None the newest.


@dataclass(frozen=True, slots=True)
class Request:
    """One request as upstream publishes it."""

    name: str
    what: str
    record: Mapping[str, Any]
    expected: str
    key: bytes | None = b"C-1001"
    version: int | None = None
    framing: str = "prefix"  # `header`: the newer one, with the schema named in a header.
    traceparent: str | None = None


def links() -> Sequence[Event]:
    """Return links and tokens: of each mode, and one more."""
    issued_at = AT + 2 * SECOND_MS
    whole = LinkIssued(origin("kit-link"), 1, LINK, None, issued_at, None, RECORD_ID, None)
    token = replace(whole, origin=origin("kit-token"), link=None, token=TOKEN, expires_at=issued_at + HOUR_MS)
    both = replace(token, origin=origin("kit-link-and-token"), link=LINK)
    return (
        Event("link", "A link; the provider did not say when it stops working.", whole, HAND_OUT),
        Event("token", "A token for the provider's widget, which works for an hour.", token, HAND_OUT),
        Event("link-and-token", "Version 3 brings both.", both, f"{HAND_OUT} Either will do."),
        Event(
            "link-mailed",
            "Neither: the provider mailed the link.",
            replace(whole, origin=origin("kit-link-mailed"), link=None),
            "Hand nothing out.",
        ),
        Event(
            "link-on-a-case",
            "A workflow of version 1.",
            replace(whole, origin=origin("kit-link-on-a-case"), record_id=None, case_id=CASE_ID),
            HAND_OUT,
        ),
        Event(
            "link-again",
            "One more link of `link`, which upstream asked for.",
            replace(whole, link_attempt=2, link=f"{LINK}-2", issued_at=issued_at + DAY_MS),
            "Hand it out instead of the one of attempt 1, and withdraw that one.",
        ),
    )


def steps() -> Sequence[Event]:
    """Return each step of progress."""
    of, at = origin("kit-progress"), AT + SECOND_MS
    show = "Show it; decide nothing by it."
    accepted = Progressed(of, Step.ACCEPTED, at)
    return (
        Event("accepted", "The request is accepted.", accepted, show),
        Event("started", "Its workflow runs.", Progressed(of, Step.STARTED, at + SECOND_MS, WORKFLOW_ID, 1), show),
        Event("held", "Nobody knows whether it runs; a person is asked.", Progressed(of, Step.HELD, at, None, 1), show),
        Event(
            "link-refused",
            "One more link was asked for, and there will be none.",
            Progressed(of, Step.LINK_REFUSED, at + DAY_MS, attempt=2),
            "Tell whoever asked for link number `attempt`; the request itself goes on.",
        ),
        Event("step-older-schema", "Written with version 1, which has no LINK_REFUSED.", accepted, show, version=1),
    )


_PERSON: Mapping[str, Any] = {
    "reference": "C-1001",
    "kind": "PERSON",
    "firstName": "Ada",
    "lastName": "Lindqvist",
    "personalNumber": "0000000001",
    "email": "ada.lindqvist@example.test",
    "phone": {"countryCode": "00", "number": "555010001"},
    "documents": [{"resourceId": "d-1", "resourceName": "passport", "resourcePath": "/documents/d-1"}],
}
_COMPANY: Mapping[str, Any] = {
    "reference": "C-2001",
    "kind": "COMPANY",
    "companyName": "Example Trading Ltd",
    "companyNumber": "0000002001",
    "companyAddress": "1 Sample Street, Exampleton",
}


def _request(name: str, **more: Any) -> Mapping[str, Any]:  # noqa: ANN401  # members of the record
    return {"requestId": f"kit-{name}", "workflow": "person-check", "requestedAt": AT * 1000, **more}


_LABELLED: Mapping[str, Any] = {
    "subject": _PERSON,
    "tenant": "example",
    "sourceSystem": "crm",
    "correlationId": "corr-1",
    "locale": "en",
    "attributes": {"channel": "web"},
}
_VALUES: Mapping[str, Any] = {
    "columns": {"vip": True, "age": 36, "score": 1.5, "riskClass": "medium", "none": None, "sites": {"json": "[1,2]"}},
    "parameters": {"orderId": "A-1", "amount": 99.5, "address": {"json": '{"city":"Exampleton"}'}},
}
_SERVED = "One result follows, with this `requestId` and under this key."


def requests() -> Sequence[Request]:
    """Return a request of each kind."""
    return (*_of_subjects(), *_for_links(), *_of_other_writers())


def _of_subjects() -> Sequence[Request]:
    """Return requests that differ in what they say of the subject, and where it is at the provider."""
    person, company = _request("request-person", **_LABELLED, **_VALUES), _request("request-company", subject=_COMPANY)
    company = {**company, "workflow": "company-check", "deadlineAt": (AT + DAY_MS) * 1000}
    record = _request("request-record", recordId=RECORD_ID)
    case = _request("request-case", caseId=CASE_ID)
    what_case = "The case exists at the provider already: a workflow of version 1."
    every_type = "A person, with columns and parameters of every JSON type."
    return (
        Request("request-person", every_type, person, _SERVED, traceparent=TRACEPARENT),
        Request("request-company", "A company, with a deadline.", company, _SERVED, key=b"C-2001"),
        Request("request-bare", "Only what is required.", _request("request-bare"), _SERVED),
        Request("request-record", "The record exists at the provider already.", record, _SERVED),
        Request("request-case", what_case, {**case, "workflow": "case-check"}, _SERVED),
    )


def _for_links() -> Sequence[Request]:
    """Return a request whose end user starts the workflow, and the wish for one more link."""
    link = {**_request("request-link", **_LABELLED), "workflow": "person-link"}
    return (
        Request("request-link", "An end user is to start the workflow.", link, "A link follows, and later one result."),
        Request(
            "request-link-again",
            "One more link for `request-link`: the same, with a higher `linkAttempt`.",
            {**link, "linkAttempt": 2},
            "One more link, or LINK_REFUSED on the progress topic. It never makes a second result.",
        ),
    )


def _of_other_writers() -> Sequence[Request]:
    """Return requests that are unlike others in their key, schema or framing."""
    return (
        Request(
            "request-null-key",
            "No key: duplicates are not recognised, and one more link cannot be asked for.",
            _request("request-null-key"),
            "One result follows, under the request id as its key.",
            key=None,
        ),
        Request(
            "request-older-schema",
            "Written with version 1 of the schema, which has no `linkAttempt`.",
            _request("request-older-schema"),
            _SERVED,
            version=1,
        ),
        Request(
            "request-newer-framing",
            "The payload is bare, and the header `__value_schema_id` names the schema by its GUID.",
            _request("request-newer-framing", **_LABELLED),
            _SERVED,
            framing="header",
        ),
    )
