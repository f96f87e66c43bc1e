"""The other side of the public contracts: writes requests as upstream does, and reads results as downstream does.

For commands, the demo and tests. Reading goes through the library's own deserializer, as a consumer's would.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext, SerializationError

from processor.adapters.avro import (
    BAD_AVRO,
    DAMAGE,
    NULL_VALUE,
    UNENCODABLE,
    UNKNOWN_SCHEMA,
)
from processor.adapters.avro_records import Record
from processor.adapters.event_headers import Headers
from processor.adapters.registry import NOT_FOUND, REGISTER_COMMAND, SchemaMissing, asked, avro_schema, subject_of
from processor.adapters.schema_files import public_schema
from processor.errors import PoisonError, RegistryUnavailable, SettingsInvalid, UndecodableMessage

HIDDEN = "(hidden)"
REQUEST, RESULT = "OnboardingRequested", "OnboardingFinished"

_WRITER_CONF = {
    "auto.register.schemas": False,
    "use.latest.version": False,
    "normalize.schemas": True,
    "subject.name.strategy.type": "TOPIC",
}
_READER_CONF = {"use.latest.version": False, "subject.name.strategy.type": "TOPIC"}


class RequestWriter:
    """Requests as framed Avro for one topic.

    Raises SettingsInvalid when the schema is not registered for it, RegistryUnavailable when nobody can say.
    """

    def __init__(self, client: SchemaRegistryClient, topic: str) -> None:
        schema, subject = avro_schema(REQUEST), subject_of(topic)
        try:
            asked(lambda: client.lookup_schema(subject, schema, normalize_schemas=True))
        except SchemaMissing:
            text = f"the registry has no schema {REQUEST} under subject {subject}: run `{REGISTER_COMMAND}`"
            raise SettingsInvalid(text) from None
        self._serialize = AvroSerializer(client, schema, conf=_WRITER_CONF)
        self._context = SerializationContext(topic, MessageField.VALUE)

    def write(self, record: Record) -> bytes:
        """Return the value of one request; raises PoisonError when it does not fit its schema."""
        try:
            value = self._serialize(record, self._context)
        except Exception:  # noqa: BLE001  # fastavro raises many kinds, and their texts quote the value
            raise PoisonError(UNENCODABLE, f"the request does not fit {REQUEST}") from None
        assert isinstance(value, bytes), "only None is written as None"
        return value


class ResultReader:
    """Results as plain values under the names of `OnboardingFinished`, instants as RFC 3339 text."""

    def __init__(self, client: SchemaRegistryClient) -> None:
        self._deserialize = AvroDeserializer(client, avro_schema(RESULT), conf=_READER_CONF)

    def read(self, topic: str, value: bytes | None, headers: Headers = ()) -> Record:
        """Return one result; raises UndecodableMessage, or RegistryUnavailable when its schema cannot be had."""
        if value is None:
            raise UndecodableMessage(NULL_VALUE, "the record has no value")
        context = SerializationContext(topic, MessageField.VALUE, list(headers))
        try:
            record = cast("Record", self._deserialize(value, context))
        except SchemaRegistryError as error:
            if error.error_code in NOT_FOUND:
                raise UndecodableMessage(UNKNOWN_SCHEMA, "the registry does not know its schema") from None
            raise RegistryUnavailable(f"the schema registry answered {error.http_status_code}") from None
        except (SerializationError, *DAMAGE):
            raise UndecodableMessage(BAD_AVRO, f"its {len(value)} bytes do not follow a schema of results") from None
        except Exception as error:  # noqa: BLE001  # the client raises many kinds
            raise RegistryUnavailable(f"the schema registry did not answer: {type(error).__name__}") from None
        return {name: _shown(member) for name, member in record.items()}


def personal_fields(record: str) -> frozenset[str]:
    """Return the fields of a public record that its schema tags as personal data."""
    fields = json.loads(public_schema(record))["fields"]
    return frozenset(field["name"] for field in fields if "PII" in field.get("confluent:tags", ()))


def without_personal_data(record: Mapping[str, Any], personal: frozenset[str]) -> Record:
    """Return a record with every personal value that is there hidden."""
    return {
        name: HIDDEN if name in personal and value not in (None, {}, []) else value for name, value in record.items()
    }


def _shown(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value
