"""Public events as bytes: two framings in, one out; a message's fault is told from our own."""

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from confluent_kafka.schema_registry import (
    RegisteredSchema,
    Rule,
    RuleKind,
    RuleMode,
    RuleSet,
    Schema,
    SchemaReference,
    SchemaRegistryClient,
)
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext
from fastavro import parse_schema, schemaless_writer

from processor.adapters.avro import UNDECODABLE, EventEncoder, RequestDecoder
from processor.adapters.avro_records import EVENT_NAMESPACE, event_id
from processor.adapters.embedded_registry import registry_in_thread
from processor.adapters.registry import register, registry_client
from processor.adapters.schema_files import public_schema
from processor.core.messages import Finished
from processor.core.model import Outcome
from processor.errors import PoisonError, RegistryUnavailable, SettingsInvalid, UndecodableMessage
from tests.adapters.samples import AT, DECODED, FINISHED, PROGRESSED, REQUEST, TRACEPARENT, framed

REQUESTS, RESULTS, PROGRESS = "requests", "results", "progress"
TOPICS = {REQUESTS: "OnboardingRequested", RESULTS: "OnboardingFinished", PROGRESS: "OnboardingProgressed"}
CANARY = "Zażółć-canary"


@pytest.fixture(scope="module")
def client() -> Iterator[SchemaRegistryClient]:
    """Give a client of a registry that holds our schemas."""
    with registry_in_thread() as url, registry_client(url) as client:
        register(client, TOPICS)
        yield client


@pytest.fixture(scope="module")
def encoder(client: SchemaRegistryClient) -> EventEncoder:
    """Give an encoder that is ready."""
    encoder = EventEncoder(client, source="urn:test", definitions={"person-check": "definition-1"})
    encoder.warm({RESULTS: "OnboardingFinished", PROGRESS: "OnboardingProgressed"})
    return encoder


def decoder(client: SchemaRegistryClient) -> RequestDecoder:
    """Return a decoder that never really sleeps."""
    return RequestDecoder(client, sleep=lambda _seconds: None)


def written_with(client: SchemaRegistryClient, subject: str, schema: dict[str, Any], record: dict[str, Any]) -> bytes:
    """Return a framed record that somebody wrote with a schema of their own."""
    schema_id = client.register_schema(subject, Schema(json.dumps(schema), "AVRO"))
    buffer = BytesIO()
    schemaless_writer(buffer, parse_schema(schema), record)
    return struct.pack(">bI", 0, schema_id) + buffer.getvalue()


def request_schema(change: Callable[[list[dict[str, Any]]], object]) -> dict[str, Any]:
    """Return the schema of requests with its fields changed."""
    schema: dict[str, Any] = json.loads(public_schema("OnboardingRequested"))
    change(schema["fields"])
    return schema


def test_a_request_is_read_whole(client: SchemaRegistryClient) -> None:
    """Every member arrives, instants in milliseconds, JSON objects and lists parsed."""
    assert decoder(client).decode(REQUESTS, framed(client, REQUESTS, REQUEST)) == DECODED


def test_a_bare_request_is_read(client: SchemaRegistryClient) -> None:
    """Id, workflow and instant are enough; the rest is absent or empty."""
    bare = {name: REQUEST[name] for name in ("requestId", "workflow", "requestedAt")}
    request = decoder(client).decode(REQUESTS, framed(client, REQUESTS, bare))
    assert (request.deadline_at, request.subject, request.columns, request.attributes) == (None, None, {}, {})


def test_both_framings_are_read(client: SchemaRegistryClient) -> None:
    """The schema is named by id or by GUID, before the payload or in a header."""
    value = framed(client, REQUESTS, REQUEST)
    guid = client.lookup_schema(f"{REQUESTS}-value", Schema(public_schema("OnboardingRequested"), "AVRO")).guid
    frame = b"\x01" + bytes.fromhex((guid or "").replace("-", ""))
    reader = decoder(client)
    assert reader.decode(REQUESTS, frame + value[5:]) == DECODED
    assert reader.decode(REQUESTS, value[5:], (("__value_schema_id", frame),)) == DECODED
    assert reader.decode(REQUESTS, value[5:], (("__value_schema_id", value[:5]),)) == DECODED


def test_newer_and_older_writers_are_read(client: SchemaRegistryClient) -> None:
    """A field that we do not know is passed over, one that the writer did not know has its default."""
    newer = request_schema(
        lambda fields: fields.insert(1, {"name": "new", "type": ["null", "string"], "default": None})
    )
    older = request_schema(lambda fields: fields.pop())
    assert decoder(client).decode(REQUESTS, written_with(client, "newer", newer, {**REQUEST, "new": "x"})) == DECODED
    assert decoder(client).decode(REQUESTS, written_with(client, "older", older, REQUEST)) == replace(
        DECODED, attributes={}
    )


def test_a_word_of_a_newer_writer_is_read_as_unrecognized(client: SchemaRegistryClient) -> None:
    """Enums may grow without breaking us."""

    def grow(fields: list[dict[str, Any]]) -> None:
        subject = next(field for field in fields if field["name"] == "subject")["type"][1]
        kind = next(field for field in subject["fields"] if field["name"] == "kind")
        kind["type"][1]["symbols"].append("TRUST")

    record = {**REQUEST, "subject": {**REQUEST["subject"], "kind": "TRUST"}}
    request = decoder(client).decode(REQUESTS, written_with(client, "grown", request_schema(grow), record))
    assert request.subject is not None
    assert request.subject.kind == "UNRECOGNIZED"


def test_a_writer_with_milliseconds_is_understood(client: SchemaRegistryClient) -> None:
    """Registries let another unit pass; the writer's schema says what the numbers mean, and that is what counts."""

    def change(fields: list[dict[str, Any]]) -> None:
        fields[2]["type"] = {"type": "long", "logicalType": "timestamp-millis"}

    value = written_with(client, "millis", request_schema(change), {**REQUEST, "requestedAt": AT})
    assert decoder(client).decode(REQUESTS, value) == DECODED


GOOD = {name: REQUEST[name] for name in ("requestId", "workflow", "requestedAt")}


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda _: None, "null-value"),
        (lambda _: b"", "short-frame"),
        (lambda value: value[:3], "short-frame"),
        (lambda value: b"\x01" + value[1:9], "short-frame"),
        (lambda _: b'{"requestId": "r-1"}', "bad-magic"),
        (lambda value: b"\x00\x00\x00\x30\x39" + value[5:], "unknown-schema"),
        (lambda value: value[:5], "bad-avro"),
        (lambda value: value[:-1], "bad-avro"),
        (lambda value: value + b"\x00", "bad-avro"),
        (lambda value: value[:5] + b"\xff" * 40, "bad-avro"),
    ],
)
def test_a_damaged_message_is_undecodable(
    client: SchemaRegistryClient, change: Callable[[bytes], bytes | None], reason: str
) -> None:
    """Each kind of damage has a reason of its own, out of a closed list."""
    with pytest.raises(UndecodableMessage) as caught:
        decoder(client).decode(REQUESTS, change(framed(client, REQUESTS, GOOD)))
    assert caught.value.reason == reason
    assert reason in UNDECODABLE


def test_another_record_is_an_incompatible_schema(client: SchemaRegistryClient) -> None:
    """A result on the request topic is not a request, however well it decodes."""
    encoder = EventEncoder(client, source="urn:test", definitions={})
    value, _ = encoder.encode(RESULTS, FINISHED)
    with pytest.raises(UndecodableMessage) as caught:
        decoder(client).decode(REQUESTS, value)
    assert caught.value.reason == "incompatible-schema"


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"requestId": " "}, "bad-value"),
        ({"requestedAt": -1}, "bad-value"),
        ({"deadlineAt": 2**62}, "bad-value"),
        ({"columns": {"x": {"json": f'{{"a": "{CANARY}"'}}}, "bad-json"),
        ({"columns": {"x": {"json": "NaN"}}}, "bad-json"),
        ({"columns": {"x": {"json": '"\\ud800"'}}}, "bad-json"),
        ({"columns": {"x": {"json": "[" * 100_000}}}, "bad-json"),
        ({"columns": {"x": {"json": "[1e999]"}}}, "bad-json"),
        ({"parameters": {CANARY: float("nan")}}, "bad-json"),
        ({"parameters": {"x": float("-inf")}}, "bad-json"),
    ],
)
def test_values_that_nobody_could_serve_are_refused_at_once(
    client: SchemaRegistryClient, change: dict[str, Any], reason: str
) -> None:
    """What could not be sent as JSON or written as a date would only fail later, in the middle of the work."""
    with pytest.raises(UndecodableMessage) as caught:
        decoder(client).decode(REQUESTS, framed(client, REQUESTS, {**GOOD, **change}))
    assert caught.value.reason == reason
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("start", range(0, 300, 7))
def test_no_damage_shows_what_the_message_holds(client: SchemaRegistryClient, start: int) -> None:
    """Whatever fails, and however, the error holds nothing of the message and names a listed reason."""
    value = framed(client, REQUESTS, {**REQUEST, "subject": {**REQUEST["subject"], "firstName": CANARY}})
    broken = value[: 5 + start] + b"\xfe\xff\xff\x7f" + value[9 + start :]
    error = damage(decoder(client), broken)
    if error is not None:  # Some damage falls into text, and is none.
        assert error.reason in UNDECODABLE
        assert CANARY not in repr(error)
        assert error.__cause__ is None


def damage(reader: RequestDecoder, value: bytes) -> UndecodableMessage | None:
    """Return the error of reading a request, or None."""
    try:
        reader.decode(REQUESTS, value)
    except UndecodableMessage as error:
        return error
    return None


class FailingClient(SchemaRegistryClient):
    """A registry's client whose look-ups end as told, one after the other; the last way goes on for ever."""

    def __init__(self, *ends: Exception | Schema) -> None:
        self.ends = list(ends)
        self.asked = 0
        self.referenced: RegisteredSchema | None = None

    def get_schema(self, *_args: object, **_more: object) -> Schema:
        """Answer or raise the next end."""
        self.asked += 1
        end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        if isinstance(end, Exception):
            raise end
        return end

    def get_version(self, *_args: object, **_more: object) -> RegisteredSchema:
        """Return the schema that others refer to."""
        if self.referenced is None:
            raise SchemaRegistryError(503, -1, "down")
        return self.referenced

    def lookup_schema(self, *_args: object, **_more: object) -> Any:  # noqa: ANN401  # as the library
        """Raise the next end."""
        return self.get_schema()


SCHEMA = Schema(public_schema("OnboardingRequested"), "AVRO")
NOT_FOUND = SchemaRegistryError(404, 40403, "Schema not found")


@pytest.mark.parametrize(
    "failure",
    [
        SchemaRegistryError(500, 50001, "store"),
        SchemaRegistryError(503, -1, "down"),
        SchemaRegistryError(401, 40101, "who"),
        SchemaRegistryError(403, 40301, "no"),
        SchemaRegistryError(404, -1, "a proxy's page"),
        SchemaRegistryError(429, 42901, "slow down"),
        TimeoutError(),
        OSError(),
        ValueError("not JSON"),
    ],
)
def test_trouble_with_the_registry_says_nothing_about_the_message(
    client: SchemaRegistryClient, encoder: EventEncoder, failure: Exception
) -> None:
    """It is waited for; nothing may be dead-lettered, and the next try finds the schema."""
    reader = decoder(FailingClient(failure, SCHEMA))
    value = framed(client, REQUESTS, REQUEST)
    with pytest.raises(RegistryUnavailable):
        reader.decode(REQUESTS, value)
    assert reader.decode(REQUESTS, value) == DECODED
    with pytest.raises(RegistryUnavailable):
        EventEncoder(FailingClient(failure), source="u", definitions={}).encode(RESULTS, FINISHED)
    assert encoder.encode(RESULTS, FINISHED)


def test_an_unknown_schema_is_asked_for_a_few_times(client: SchemaRegistryClient) -> None:
    """A schema registered a moment ago may be late on another node of the registry."""
    waits: list[float] = []
    registry = FailingClient(NOT_FOUND, NOT_FOUND, SCHEMA)
    reader = RequestDecoder(registry, unknown_tries=3, unknown_wait_s=0.2, sleep=waits.append)
    value = framed(client, REQUESTS, REQUEST)
    assert reader.decode(REQUESTS, value) == DECODED
    assert reader.decode(REQUESTS, value) == DECODED
    assert (registry.asked, waits) == (3, [0.2, 0.2])


def test_an_unknown_schema_is_remembered_for_a_while(client: SchemaRegistryClient) -> None:
    """A flood of such messages costs one look-up, not one each; later it is asked for again."""
    now = [0.0]
    registry = FailingClient(NOT_FOUND, SCHEMA)
    reader = RequestDecoder(registry, unknown_tries=1, unknown_ttl_s=30, clock=lambda: now[0])
    value = framed(client, REQUESTS, REQUEST)
    for _ in range(3):
        with pytest.raises(UndecodableMessage):
            reader.decode(REQUESTS, value)
    assert registry.asked == 1
    now[0] = 30.0
    assert reader.decode(REQUESTS, value) == DECODED


def with_reference() -> Schema:
    """Return a schema of requests whose subject is a schema of its own."""

    def split(fields: list[dict[str, Any]]) -> None:
        next(field for field in fields if field["name"] == "subject")["type"][1] = "onboarding.v1.Subject"

    text = json.dumps(request_schema(split))
    return Schema(text, "AVRO", references=[SchemaReference("onboarding.v1.Subject", "subject", 1)])


def test_a_text_that_was_written_as_a_decimal_is_not_read(client: SchemaRegistryClient) -> None:
    """Avro would read its bytes as text, and whoever got the request's result would find garbage there."""
    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}

    def change(fields: list[dict[str, Any]]) -> None:
        next(field for field in fields if field["name"] == "tenant")["type"] = ["null", decimal]

    text = json.dumps(request_schema(change))
    value = framed(client, REQUESTS, REQUEST)  # Its schema is not that one, and no byte of it is looked at.
    with pytest.raises(UndecodableMessage, match="/tenant: reads string, written as bytes") as caught:
        decoder(FailingClient(Schema(text, "AVRO"))).decode(REQUESTS, value)
    assert caught.value.reason == "incompatible-schema"


def test_references_of_a_writer_are_followed(client: SchemaRegistryClient) -> None:
    """Upstream may keep the subject in a schema of its own."""
    subject = next(
        field for field in json.loads(public_schema("OnboardingRequested"))["fields"] if field["name"] == "subject"
    )
    text = json.dumps({**subject["type"][1], "namespace": "onboarding.v1"})
    registry = FailingClient(with_reference())
    registry.referenced = RegisteredSchema(
        schema_id=9, guid=None, subject="subject", version=1, schema=Schema(text, "AVRO")
    )
    value = framed(client, REQUESTS, REQUEST)
    assert decoder(registry).decode(REQUESTS, value) == DECODED
    for broken, reason in ((value[:-1], "bad-avro"), (value[:5], "short-frame")):
        with pytest.raises(UndecodableMessage) as caught:
            decoder(registry).decode(REQUESTS, broken)
        assert caught.value.reason == reason


def test_references_that_cannot_be_looked_up_are_waited_for(client: SchemaRegistryClient) -> None:
    """That is no fault of the message."""
    with pytest.raises(RegistryUnavailable):
        decoder(FailingClient(with_reference())).decode(REQUESTS, framed(client, REQUESTS, REQUEST))


def test_rules_that_we_cannot_run_stop_reading(client: SchemaRegistryClient) -> None:
    """Fields that upstream encrypted by a rule must not be taken for their values, nor dead-lettered."""
    rule = Rule(
        name="encrypt",
        doc=None,
        kind=RuleKind.TRANSFORM,
        mode=RuleMode.WRITEREAD,
        type="ENCRYPT",
        tags=["PII"],
        params=None,
        expr=None,
        on_success=None,
        on_failure="ERROR",
        disabled=False,
    )
    schema = Schema(public_schema("OnboardingRequested"), "AVRO", rule_set=RuleSet(None, [rule]))
    with pytest.raises(RegistryUnavailable, match="rules"):
        decoder(FailingClient(schema)).decode(REQUESTS, framed(client, REQUESTS, REQUEST))


def read_back(client: SchemaRegistryClient, topic: str, value: bytes) -> dict[str, Any]:
    """Return an event as a consumer reads it with the library."""
    deserializer = AvroDeserializer(client, conf={"subject.name.strategy.type": "TOPIC"})
    record = deserializer(value, SerializationContext(topic, MessageField.VALUE))
    assert isinstance(record, dict)
    return {name: round(x.timestamp() * 1000) if hasattr(x, "timestamp") else x for name, x in record.items()}


def test_a_result_is_written_whole(client: SchemaRegistryClient, encoder: EventEncoder) -> None:
    """Every member of the core's value is in the event, with the request's own members."""
    value, headers = encoder.encode(RESULTS, FINISHED)
    record = read_back(client, RESULTS, value)
    identity = record.pop("eventId")
    assert record == {
        "requestId": "r-1",
        "revision": 1,
        "workflow": "person-check",
        "outcome": "COMPLETED",
        "decision": "approved",
        "status": "COMPLETED",
        "definitionId": "definition-1",
        "workflowId": "w-1",
        "recordId": "record-1",
        "caseId": "case-1",
        "result": '{"decision":"approved"}',
        "resultHash": "ab" * 32,
        "resultBytes": 23,
        "resultOmitted": "too-large",
        "requestedAt": AT,
        "acceptedAt": AT + 1,
        "startedAt": AT + 3,
        "finishedAt": AT + 5,
        "seenAt": AT + 4,
        "completedBy": "WEBHOOK",
        "attempts": 2,
        "reason": "ended-badly",
        "message": "the provider says so",
        "candidates": ["w-2", "w-3"],
        "isRerun": False,
        "subjectReference": "C-1",
        "tenant": "t-1",
        "sourceSystem": "crm",
        "correlationId": "c-1",
        "attributes": {"channel": "web"},
    }
    assert dict(headers)["ce_id"] == str(identity).encode()
    assert dict(headers)["traceparent"] == TRACEPARENT.encode()


def test_a_step_is_written_without_personal_data(client: SchemaRegistryClient, encoder: EventEncoder) -> None:
    """Progress names the request and the workflow; subject and attributes stay out of it."""
    value, headers = encoder.encode(PROGRESS, PROGRESSED)
    record = read_back(client, PROGRESS, value)
    assert str(record.pop("eventId")).encode() == dict(headers)["ce_id"]
    assert record == {
        "requestId": "r-1",
        "workflow": "person-check",
        "step": "STARTED",
        "reachedAt": AT + 3,
        "workflowId": "w-1",
        "attempt": 2,
        "tenant": "t-1",
        "sourceSystem": "crm",
        "correlationId": "c-1",
    }


def test_the_same_event_has_the_same_id() -> None:
    """A reader that sees aborted records can drop doubles by it; anyone can compute it."""
    assert str(EVENT_NAMESPACE) in public_schema("OnboardingFinished")
    assert event_id("OnboardingFinished", 1, "r-1") == "cd167945-b348-5657-b108-fde9092a7959"
    ids = {event_id(record, n, r) for record in TOPICS.values() for n in (1, 2) for r in ("r-1", "r-2", "2/r-1")}
    assert len(ids) == 18


def test_an_event_that_does_not_fit_is_our_own_mistake(encoder: EventEncoder) -> None:
    """It says which request, and nothing of what the event holds."""
    broken: Finished = replace(FINISHED, outcome=CANARY)  # type: ignore[arg-type]  # which is the mistake
    with pytest.raises(PoisonError) as caught:
        encoder.encode(RESULTS, broken)
    assert (caught.value.reason, caught.value.__cause__) == ("unencodable", None)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_can_be_written(client: SchemaRegistryClient, encoder: EventEncoder, outcome: Outcome) -> None:
    """A result with nothing but its outcome is an event too."""
    none = dict.fromkeys(("decision", "status", "result", "started_at", "seen_at", "completed_by", "reason", "message"))
    event = replace(FINISHED, outcome=outcome, **none)  # type: ignore[arg-type]  # all of these may be None
    record = read_back(client, RESULTS, encoder.encode(RESULTS, event)[0])
    assert (record["outcome"], record["completedBy"], record["startedAt"]) == (outcome.value, None, None)


def test_nothing_is_registered_by_writing(client: SchemaRegistryClient) -> None:
    """A topic whose schema is missing stops us, with the subject and the command to run."""
    fresh = EventEncoder(client, source="u", definitions={})
    with pytest.raises(SettingsInvalid, match=r"under subject other-value: run `processor schemas register`"):
        fresh.encode("other", FINISHED)
    assert "other-value" not in client.get_subjects()
