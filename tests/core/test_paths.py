"""What a dotted path reads, and which ones are refused before any request comes."""

from dataclasses import fields, replace

import pytest

from processor.core.model import Document, JsonValue, OnboardingRequest, Phone, Subject
from processor.core.paths import compile_path, subject_json, value_in

PERSON = Subject(
    reference="customer-7",
    kind="PERSON",
    first_name="Ada",
    last_name="Example",
    personal_number="00000000000",
    email="ada@example.test",
    phone=Phone("48", "500500500"),
    company_name="Example Ltd",
    company_number="0000000001",
    company_address="1 Sample St",
    documents=(Document("r-1", "passport", "/r-1"), Document(resource_id="r-2")),
)
REQUEST = OnboardingRequest(
    request_id="request-1",
    workflow="person-check",
    requested_at=1_756_737_601_776,
    deadline_at=1_756_737_601_000,
    subject=PERSON,
    record_id="record-1",
    case_id="case-1",
    columns={"score": 7, "address": {"city": "Gdynia", "lines": ["a", "b"]}},
    parameters={"amount": 12.5, "order": {"id": "A-17"}},
    locale="en",
    tenant="tenant-1",
    source_system="crm",
    correlation_id="correlation-1",
    attributes={"orderId": "A-17", "crm.id": "9"},
)
BARE = OnboardingRequest(request_id="request-2", workflow="person-check", requested_at=0)


@pytest.mark.parametrize(
    "path, value",
    [
        ("requestId", "request-1"),
        ("workflow", "person-check"),
        ("requestedAt", "2025-09-01T14:40:01.776Z"),
        ("deadlineAt", "2025-09-01T14:40:01.000Z"),
        ("recordId", "record-1"),
        ("caseId", "case-1"),
        ("locale", "en"),
        ("tenant", "tenant-1"),
        ("sourceSystem", "crm"),
        ("correlationId", "correlation-1"),
        ("subject.reference", "customer-7"),
        ("subject.kind", "PERSON"),
        ("subject.firstName", "Ada"),
        ("subject.lastName", "Example"),
        ("subject.personalNumber", "00000000000"),
        ("subject.email", "ada@example.test"),
        ("subject.phone", {"countryCode": "48", "number": "500500500"}),
        ("subject.phone.number", "500500500"),
        ("subject.companyName", "Example Ltd"),
        ("subject.companyNumber", "0000000001"),
        ("subject.companyAddress", "1 Sample St"),
        (
            "subject.documents",
            [{"resourceId": "r-1", "resourceName": "passport", "resourcePath": "/r-1"}, {"resourceId": "r-2"}],
        ),
        ("subject.documents.1.resourceId", "r-2"),
        ("subject", subject_json(PERSON)),
        ("columns", {"score": 7, "address": {"city": "Gdynia", "lines": ["a", "b"]}}),
        ("columns.score", 7),
        ("columns.address.lines.1", "b"),
        ("columns.address.lines.2", None),
        ("parameters.order.id", "A-17"),
        ("parameters.order.id.deeper", None),
        ("parameters.absent", None),
        ("attributes.orderId", "A-17"),
        ("attributes.crm.id", "9"),
        ("attributes.absent", None),
    ],
)
def test_a_path_reads_the_request_by_the_names_of_the_contract(path: str, value: JsonValue) -> None:
    """Names are the camelCase ones of the event; objects and lists are walked; what is not there is None."""
    assert compile_path(path)(REQUEST) == value


@pytest.mark.parametrize(
    "path",
    ["subject", "subject.lastName", "subject.phone", "subject.phone.number", "subject.documents.0.resourceId"],
)
def test_a_request_without_a_subject_gives_none(path: str) -> None:
    """Everything optional may be absent; that is not an error."""
    assert compile_path(path)(BARE) is None
    if "phone" in path:
        assert compile_path(path)(replace(REQUEST, subject=Subject())) is None


@pytest.mark.parametrize(
    "path, remedy",
    [
        ("subject.lastname", "did you mean lastName?"),
        ("subjekt.lastName", "did you mean subject?"),
        ("atributes.orderId", "did you mean attributes?"),
        ("subject.phone.nr", "write one of countryCode, number"),
        ("subject.email.domain", "write subject.email"),
        ("requestId.first", "write requestId"),
        ("x", "write one of attributes, caseId, columns"),
        ("", "one name between two dots"),
        ("columns.", "one name between two dots"),
        ("columns..a", "one name between two dots"),
        ("attributes.a.", "one name between two dots"),
        ("subject.phone.", "one name between two dots"),
    ],
)
def test_a_path_that_no_request_can_have_is_refused_with_its_remedy(path: str, remedy: str) -> None:
    """A misspelt word of the contract stops the start instead of sending nothing for ever."""
    with pytest.raises(ValueError, match=f"path '{path}'") as refused:
        compile_path(path)
    assert remedy in str(refused.value)


def test_every_member_of_a_subject_has_its_path() -> None:
    """A member that is added to the subject must become readable too."""
    assert len(subject_json(PERSON)) == len(fields(Subject))
    assert subject_json(Subject()) == {}


@pytest.mark.parametrize(
    "path, value",
    [
        ("output.decision", "ACCEPT"),
        ("output.score", 7),
        ("checks.1.name", "two"),
        ("checks.2.name", None),
        ("checks.-1.name", None),
        ("checks.99999999999999999999", None),
        ("output.decision.0", None),
        ("output.absent.deeper", None),
        ("", None),
    ],
)
def test_a_path_into_the_providers_json_reads_members_and_items(path: str, value: JsonValue) -> None:
    """The result is opaque: a path that does not fit its shape gives None and never fails."""
    result: JsonValue = {"output": {"decision": "ACCEPT", "score": 7}, "checks": [{"name": "one"}, {"name": "two"}]}
    assert value_in(result, path) == value
