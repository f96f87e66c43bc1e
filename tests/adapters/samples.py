"""Public events with every member filled, as Avro records and as values of the core."""

from typing import Any

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from processor.adapters.registry import avro_schema
from processor.core.messages import Finished, Progressed, Step
from processor.core.model import Document, OnboardingRequest, Origin, Outcome, Phone, Reason, Subject, Witness

AT = 1_764_000_000_123  # Milliseconds since the epoch.
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

REQUEST: dict[str, Any] = {
    "requestId": "r-1",
    "workflow": "person-check",
    "requestedAt": AT * 1000,
    "deadlineAt": (AT + 1) * 1000,
    "subject": {
        "reference": "C-1",
        "kind": "PERSON",
        "firstName": "Ada",
        "lastName": "Example",
        "personalNumber": "00000000000",
        "email": "ada@example.test",
        "phone": {"countryCode": "48", "number": "500500500"},
        "companyName": "Example Ltd",
        "companyNumber": "0000000001",
        "companyAddress": "1 Sample St",
        "documents": [{"resourceId": "d-1", "resourceName": "passport", "resourcePath": "/d-1"}],
    },
    "recordId": "record-1",
    "caseId": "case-1",
    "columns": {"age": 36, "vip": True, "score": 1.5, "name": "Ada", "none": None, "at": {"json": '{"city":["X"]}'}},
    "parameters": {"orderId": "A-17", "list": {"json": "[1, 2]"}},
    "locale": "en",
    "tenant": "t-1",
    "sourceSystem": "crm",
    "correlationId": "c-1",
    "attributes": {"channel": "web"},
}

DECODED = OnboardingRequest(
    request_id="r-1",
    workflow="person-check",
    requested_at=AT,
    deadline_at=AT + 1,
    subject=Subject(
        reference="C-1",
        kind="PERSON",
        first_name="Ada",
        last_name="Example",
        personal_number="00000000000",
        email="ada@example.test",
        phone=Phone("48", "500500500"),
        company_name="Example Ltd",
        company_number="0000000001",
        company_address="1 Sample St",
        documents=(Document("d-1", "passport", "/d-1"),),
    ),
    record_id="record-1",
    case_id="case-1",
    columns={"age": 36, "vip": True, "score": 1.5, "name": "Ada", "none": None, "at": {"city": ["X"]}},
    parameters={"orderId": "A-17", "list": [1, 2]},
    locale="en",
    tenant="t-1",
    source_system="crm",
    correlation_id="c-1",
    attributes={"channel": "web"},
)

ORIGIN = Origin(
    request_id="r-1",
    workflow="person-check",
    key=b"customer-1",
    results_topic="onboarding.results",
    requested_at=AT,
    accepted_at=AT + 1,
    deadline_at=AT + 2,
    subject_reference="C-1",
    tenant="t-1",
    source_system="crm",
    correlation_id="c-1",
    attributes={"channel": "web"},
    traceparent=TRACEPARENT,
)

FINISHED = Finished(
    origin=ORIGIN,
    revision=1,
    outcome=Outcome.COMPLETED,
    decision="approved",
    status="COMPLETED",
    workflow_id="w-1",
    record_id="record-1",
    case_id="case-1",
    result='{"decision":"approved"}',
    result_hash="ab" * 32,
    result_bytes=23,
    result_omitted="too-large",
    started_at=AT + 3,
    finished_at=AT + 5,
    seen_at=AT + 4,
    completed_by=Witness.WEBHOOK,
    attempts=2,
    reason=Reason.ENDED_BADLY,
    message="the provider says so",
    candidates=("w-2", "w-3"),
)

PROGRESSED = Progressed(ORIGIN, Step.STARTED, AT + 3, workflow_id="w-1", attempt=2)


def framed(client: SchemaRegistryClient, topic: str, record: dict[str, Any]) -> bytes:
    """Return a request as upstream would publish it, with the library's own serializer."""
    conf = {"auto.register.schemas": False, "normalize.schemas": True, "subject.name.strategy.type": "TOPIC"}
    serializer = AvroSerializer(client, avro_schema("OnboardingRequested"), conf=conf)
    return bytes(serializer(record, SerializationContext(topic, MessageField.VALUE)) or b"")
