"""Publishes one onboarding request. Copy it: it needs nothing of the processor but the schema's file.

pip install -r requirements.txt
python publish.py --bootstrap-servers localhost:9092 --schema-registry http://localhost:8081 \
    --schema ../../schemas/OnboardingRequested.avsc --request-id order-17 --reference C-1001
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException, Message, Producer
from confluent_kafka.error import KafkaError
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext


def request(request_id: str, reference: str, requested_at: datetime) -> dict[str, Any]:
    """Return a request; what is left out is null or empty. Every field: docs/events.md."""
    return {
        # Yours, stored before you publish: publishing the same id again under the same key is harmless.
        "requestId": request_id,
        "workflow": "person-check",  # A name of the processor's catalogue.
        "requestedAt": requested_at,
        "subject": {
            "reference": reference,
            "kind": "PERSON",
            "firstName": "Ada",
            "lastName": "Lindqvist",
            "email": "ada.lindqvist@example.test",
            "documents": [],
        },
        # JSON values as they are; an object or a list is JSON text: {"address": {"json": '{"city": "X"}'}}.
        "parameters": {"orderId": "A-17", "amount": 99.5},
        "attributes": {"channel": "web"},  # They come back on the result.
    }


def publish(options: argparse.Namespace) -> None:
    """Publish one request and return when every replica has it; raises KafkaException when that fails."""
    serialize = AvroSerializer(
        SchemaRegistryClient({"url": options.schema_registry}),
        options.schema.read_text(encoding="utf-8"),
        conf={
            "auto.register.schemas": False,  # `processor schemas register` does that, once.
            "normalize.schemas": True,
            "subject.name.strategy.type": "TOPIC",  # The default asks for a route that other registries lack.
        },
    )
    producer = Producer(
        {
            "bootstrap.servers": options.bootstrap_servers,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",  # As Java: one key is on one partition, whoever publishes.
        }
    )
    value = serialize(
        request(options.request_id, options.reference, datetime.now(UTC)),
        SerializationContext(options.topic, MessageField.VALUE),
    )
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failures.append(error)

    # The key is the ordering unit: best the subject's reference, the same for every event of that subject.
    producer.produce(options.topic, value, options.reference.encode(), on_delivery=delivered)
    producer.flush()
    if failures:
        raise KafkaException(failures[0])  # Publish it again: it stays one request.


def main() -> None:
    """Read the command line and publish."""
    parser = argparse.ArgumentParser(description="Publish one onboarding request.")
    parser.add_argument("--bootstrap-servers", required=True)
    parser.add_argument("--schema-registry", required=True)
    parser.add_argument("--schema", required=True, type=Path, help="schemas/OnboardingRequested.avsc")
    parser.add_argument("--topic", default="onboarding.requests")
    parser.add_argument("--request-id", required=True)
    parser.add_argument("--reference", required=True)
    publish(parser.parse_args())


if __name__ == "__main__":
    main()
