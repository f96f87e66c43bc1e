"""The public events as Avro with the registry's framing: requests in, results, links and progress out.

Serializer, framing and look-ups are confluent-kafka's own. Reading takes its framing and its client, and hands
the bytes to fastavro itself: the library's deserializer walks the schema and asks for rules at each message, which
made 54 µs of what takes 18 µs (a request of 324 bytes; writing differs by 2 of 30 µs). Schemas with references, or
with instants in another unit, go through the library's deserializer. It runs no rules of a writer's schema beside a
reader's schema, so fields encrypted by a rule would pass for their values: such a schema is not read at all.
Look-ups block; the threads of the deciders make them, never the event loop.
"""

import json
import struct
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import TypeAlias, cast
from uuid import UUID

from avro.errors import AvroException
from avro.schema import parse
from confluent_kafka.schema_registry import RuleMode, Schema, SchemaRegistryClient, dual_schema_id_deserializer
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.serde import SchemaId
from confluent_kafka.serialization import MessageField, SerializationContext, SerializationError
from fastavro import parse_schema, schemaless_reader
from fastavro.read import SchemaResolutionError

from processor.adapters.avro_records import (
    BAD_JSON,
    BAD_VALUE,
    Record,
    finished_record,
    issued_record,
    progressed_record,
    request_of,
)
from processor.adapters.compatibility import Kind, differences
from processor.adapters.event_headers import Headers, event_headers
from processor.adapters.registry import (
    REGISTER_COMMAND,
    SchemaMissing,
    Topics,
    asked,
    avro_schema,
    subject_of,
)
from processor.adapters.schema_files import AvroSchema, public_schema, without_logical_types
from processor.core.messages import Finished, LinkIssued, Progressed
from processor.core.model import Instant, OnboardingRequest
from processor.errors import PoisonError, RegistryUnavailable, SettingsInvalid, UndecodableMessage

REFUSED_MAX = 1_000  # Unreadable schema ids that are remembered.

PublicEvent: TypeAlias = Finished | LinkIssued | Progressed

RECORD_NAMES = {
    Finished: "OnboardingFinished",
    LinkIssued: "OnboardingLinkIssued",
    Progressed: "OnboardingProgressed",
}

# What makes a message undecodable: reasons of dead letters, a closed list.
NULL_VALUE = "null-value"
SHORT_FRAME = "short-frame"
BAD_MAGIC = "bad-magic"
UNKNOWN_SCHEMA = "unknown-schema"
INCOMPATIBLE_SCHEMA = "incompatible-schema"
BAD_AVRO = "bad-avro"
UNDECODABLE = (NULL_VALUE, SHORT_FRAME, BAD_MAGIC, UNKNOWN_SCHEMA, INCOMPATIBLE_SCHEMA, BAD_AVRO, BAD_JSON, BAD_VALUE)
UNENCODABLE = "unencodable"

PREFIX_BYTES = 5  # Magic byte and schema id.
DAMAGE = (EOFError, ValueError, TypeError, LookupError, OverflowError, struct.error, SchemaResolutionError)

Read: TypeAlias = Callable[[BytesIO, bytes, SerializationContext], Record]
Identity: TypeAlias = int | UUID  # What a frame names a schema by.

_READER_CONF = {"use.latest.version": False, "subject.name.strategy.type": "TOPIC"}
_WRITER_CONF = {
    "auto.register.schemas": False,
    "use.latest.version": False,
    "normalize.schemas": True,
    "subject.name.strategy.type": "TOPIC",
}


class RequestDecoder:
    """Onboarding request events as values of the core; both framings are read, in the prefix or in a header.

    A schema id that the registry does not know is asked for `unknown_tries` times, `unknown_wait_s` apart, because
    a new schema may not have reached every node of the registry; then it counts as unknown for `unknown_ttl_s`.
    One thread uses a decoder.
    """

    def __init__(  # noqa: PLR0913  # limits and the clock, all by name
        self,
        client: SchemaRegistryClient,
        *,
        unknown_tries: int = 3,
        unknown_wait_s: float = 0.3,
        unknown_ttl_s: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._unknown_tries, self._unknown_wait_s, self._unknown_ttl_s = unknown_tries, unknown_wait_s, unknown_ttl_s
        self._sleep, self._clock = sleep, clock
        self._text = public_schema("OnboardingRequested")
        self._schema = parse_schema(without_logical_types(json.loads(self._text)))
        self._readers: dict[Identity, Read] = {}
        self._refused: dict[Identity, tuple[float, UndecodableMessage]] = {}

    def decode(self, topic: str, value: bytes | None, headers: Headers = ()) -> OnboardingRequest:
        """Return the request in a record's value.

        Raises UndecodableMessage with a reason out of `UNDECODABLE`; RegistryUnavailable when the schema could not
        be looked up, which says nothing about the message: wait and try again.
        """
        if value is None:
            raise UndecodableMessage(NULL_VALUE, "a request has no value; requests are never deleted by a null value")
        context = SerializationContext(topic, MessageField.VALUE, list(headers))
        identity, payload = _unframed(value, context)
        read = self._readers.get(identity) or self._learned(identity)
        return request_of(read(payload, value, context))

    def _learned(self, identity: Identity) -> Read:
        """Look a schema up once and remember how to read it, or for a while that it cannot be read."""
        until, refusal = self._refused.get(identity, (0.0, None))
        if refusal is not None and self._clock() < until:
            raise UndecodableMessage(refusal.reason, str(refusal))
        try:
            self._readers[identity] = self._reader(self._looked_up(identity))
        except UndecodableMessage as error:
            if len(self._refused) >= REFUSED_MAX:
                self._refused.clear()
            self._refused[identity] = (self._clock() + self._unknown_ttl_s, error)
            raise
        return self._readers[identity]

    def _looked_up(self, identity: Identity) -> Schema:
        """Ask the registry for a writer's schema, a few times when it says that it has none."""
        for number in range(self._unknown_tries):
            if number:
                self._sleep(self._unknown_wait_s)
            try:
                if isinstance(identity, int):
                    return asked(lambda: self._client.get_schema(identity))
                return asked(lambda: self._client.get_schema_by_guid(str(identity)))
            except SchemaMissing:
                continue
        raise UndecodableMessage(UNKNOWN_SCHEMA, f"the registry does not know schema {identity}")

    def _reader(self, schema: Schema) -> Read:
        """Return how to read what this schema wrote; raises UndecodableMessage when ours cannot.

        Raises RegistryUnavailable for rules: that is a matter of configuration, and nothing may be lost over it.
        """
        text = schema.schema_str or ""
        if _has_rules_for_readers(schema):
            raise RegistryUnavailable(
                "a request's schema has rules for readers, which are not run here: publish without"
            )
        if schema.references:
            return self._library_reader()
        try:
            unlike = differences(parse(self._text), parse(text))
        except AvroException:
            why = f"the registry holds no valid Avro schema, but one of type {schema.schema_type}"
            raise UndecodableMessage(INCOMPATIBLE_SCHEMA, f"the writer's schema is not a request: {why}") from None
        for each in unlike:
            if each.kind in {Kind.FORM, Kind.MEANING}:
                raise UndecodableMessage(INCOMPATIBLE_SCHEMA, f"the writer's schema is not a request: {each}")
        if any(each.kind is Kind.UNIT for each in unlike):
            return self._library_reader()
        written = parse_schema(without_logical_types(json.loads(text)))
        return _fast_reader(written, None if written == self._schema else self._schema)

    def _library_reader(self) -> Read:
        """Return a reader that resolves the schema's references and knows its logical types."""
        deserializer = AvroDeserializer(self._client, avro_schema("OnboardingRequested"), conf=_READER_CONF)

        def read(_payload: BytesIO, value: bytes, context: SerializationContext) -> Record:
            if len(value) <= PREFIX_BYTES:  # The library wants more than that, also behind a header's frame.
                raise UndecodableMessage(SHORT_FRAME, f"{len(value)} bytes are too few for an event")
            try:
                return cast("Record", deserializer(value, context))
            except DAMAGE as error:
                if isinstance(error, json.JSONDecodeError):  # Only an answer of the registry is JSON.
                    raise RegistryUnavailable("the schema registry answered something that is not JSON") from None
                raise UndecodableMessage(BAD_AVRO, f"{len(value)} bytes do not follow their schema") from None
            except Exception as error:
                raise RegistryUnavailable(f"a schema's references were not found: {type(error).__name__}") from error

        return read


class EventEncoder:
    """Results, links and progress as framed Avro with their headers.

    `source` is the URI reference of this deployment (`ce_source`); `definitions` are the provider's definition ids
    by workflow name. Nothing is registered: a missing schema is SettingsInvalid, naming subject and command.
    """

    def __init__(self, client: SchemaRegistryClient, *, source: str, definitions: Mapping[str, str]) -> None:
        self._client = client
        self._source = source
        self._definitions = definitions
        self._writers: dict[tuple[str, str], tuple[AvroSerializer, SerializationContext]] = {}

    def warm(self, topics: Topics) -> None:
        """Look up what these topics' values are written with, so that no event has to wait for it.

        Raises SettingsInvalid for a schema that is not registered, RegistryUnavailable when nobody can say.
        """
        for topic, record in topics.items():
            self._writer(topic, record)

    def encode(self, topic: str, event: PublicEvent) -> tuple[bytes, Headers]:
        """Return value and headers of an event for this topic.

        Raises PoisonError with reason `unencodable` when the event does not fit its schema, which is a mistake of
        ours; SettingsInvalid and RegistryUnavailable as `warm`, for a topic that was not warmed.
        """
        name = RECORD_NAMES[type(event)]
        record = self._record(event)
        serializer, context = self._writer(topic, name)
        try:
            value = serializer(record, context)
        except Exception:  # noqa: BLE001  # fastavro raises many kinds, and their texts quote the value
            raise PoisonError(UNENCODABLE, f"an event of {event.origin.request_id} does not fit {name}") from None
        assert value is not None, "only None is written as None"
        at = _instant_of(event)
        trace = event.origin.traceparent
        return value, event_headers(name, record["eventId"], at, source=self._source, traceparent=trace)

    def _writer(self, topic: str, name: str) -> tuple[AvroSerializer, SerializationContext]:
        """Return the serializer of one topic: one each, because a registry may give each subject its own id."""
        found = self._writers.get((topic, name))
        if found is None:
            schema, subject = avro_schema(name), subject_of(topic)
            try:  # The client remembers the answer for the serializer.
                asked(lambda: self._client.lookup_schema(subject, schema, normalize_schemas=True))
            except SchemaMissing:
                raise SettingsInvalid(
                    f"the registry has no schema {name} under subject {subject}: run `{REGISTER_COMMAND}`"
                ) from None
            serializer = AvroSerializer(self._client, schema, conf=_WRITER_CONF)
            found = self._writers[topic, name] = serializer, SerializationContext(topic, MessageField.VALUE)
        return found

    def _record(self, event: PublicEvent) -> Record:
        """Return an event as its Avro record."""
        if isinstance(event, Finished):
            return finished_record(event, self._definitions.get(event.origin.workflow))
        return issued_record(event) if isinstance(event, LinkIssued) else progressed_record(event)


def _instant_of(event: PublicEvent) -> Instant:
    match event:
        case Finished():
            return event.finished_at
        case LinkIssued():
            return event.issued_at
        case Progressed():
            return event.at


def _has_rules_for_readers(schema: Schema) -> bool:
    """Say whether a value must be transformed or checked before it means what its fields say."""
    rules = schema.rule_set
    found = [*(rules.domain_rules or ()), *(rules.encoding_rules or ())] if rules else []
    return any(rule.mode in {RuleMode.READ, RuleMode.WRITEREAD} and not rule.disabled for rule in found)


def _unframed(value: bytes, context: SerializationContext) -> tuple[Identity, BytesIO]:
    """Return what the frame names the schema by, and the payload behind the frame."""
    schema_id = SchemaId("AVRO")
    try:
        payload = dual_schema_id_deserializer(value, context, schema_id)
    except SerializationError:
        raise UndecodableMessage(BAD_MAGIC, f"{len(value)} bytes do not begin with a schema id") from None
    except (struct.error, ValueError, TypeError):
        raise UndecodableMessage(SHORT_FRAME, f"{len(value)} bytes are too few for a schema id") from None
    identity = schema_id.id if schema_id.guid is None else schema_id.guid
    assert identity is not None, "a frame that was read names a schema"
    return identity, payload


def _fast_reader(written: AvroSchema, wanted: AvroSchema | None) -> Read:
    """Return a reader that is nothing but fastavro; `wanted` is None where both schemas are the same."""

    def read(payload: BytesIO, value: bytes, _context: SerializationContext) -> Record:
        try:
            record = cast("Record", schemaless_reader(payload, written, wanted))
        except Exception:  # noqa: BLE001  # fastavro raises many kinds, and their texts may quote the record
            raise UndecodableMessage(BAD_AVRO, f"{len(value)} bytes do not follow their schema") from None
        if payload.read(1):
            raise UndecodableMessage(BAD_AVRO, f"{len(value)} bytes go on behind what their schema describes")
        return record

    return read
