"""Keeps the truth about every request in a database, and acts once on each result. Copy it: the comments are rules.

pip install -r requirements.txt
python consume.py --bootstrap-servers localhost:9092 --schema-registry http://localhost:8081 \
    --schema ../../schemas/OnboardingFinished.avsc --database results.db
"""

import argparse
import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

TABLE = """
CREATE TABLE IF NOT EXISTS results (
    request_id TEXT PRIMARY KEY, revision INTEGER NOT NULL, event_id TEXT NOT NULL,
    outcome TEXT NOT NULL, decision TEXT, result TEXT
)"""
# Revision 2 takes the place of 1; a repeat, and a 1 that comes behind its 2, change nothing.
KEEP = """
INSERT INTO results VALUES (:requestId, :revision, :eventId, :outcome, :decision, :result)
ON CONFLICT (request_id) DO UPDATE SET
    revision = excluded.revision, event_id = excluded.event_id,
    outcome = excluded.outcome, decision = excluded.decision, result = excluded.result
WHERE excluded.revision > results.revision"""


def consume(options: argparse.Namespace) -> None:
    """Read results for ever, or to the end of the topic."""
    database = sqlite3.connect(options.database)
    database.execute(TABLE)
    for result in results(options):
        with database:  # One transaction: what must follow from a result belongs into it as well.
            row = {**result, "eventId": str(result["eventId"])}
            is_news = database.execute(KEEP, row).rowcount == 1
            if is_news:
                act(result)


def act(result: Mapping[str, Any]) -> None:
    """Do what follows from a result that was not known before."""
    match result["outcome"]:
        case "COMPLETED":
            next_step = "go by `decision`"  # Null where the catalogue names none: then go by `result`.
        case "FAILED" | "NOT_STARTED" | "EXPIRED" | "UNDETERMINED":
            next_step = f"go by {result['reason']}"  # Never by `message`, which is for people.
        case _:
            next_step = "newer than this program: keep it, tell a person"
    # Ids and words only: `decision`, `result` and `attributes` are personal data, and belong into no log.
    said = {name: result[name] for name in ("requestId", "revision", "outcome")}
    print(json.dumps({**said, "next": next_step}), flush=True)


def results(options: argparse.Namespace) -> Iterator[Mapping[str, Any]]:
    """Give each result, and commit its position when the next one is asked for: by then it is kept."""
    deserialize = AvroDeserializer(
        SchemaRegistryClient({"url": options.schema_registry}),
        options.schema.read_text(encoding="utf-8"),  # As a reader's schema it makes newer words UNRECOGNIZED.
        conf={"subject.name.strategy.type": "TOPIC"},
    )
    consumer = Consumer(
        {
            "bootstrap.servers": options.bootstrap_servers,
            "group.id": options.group,
            "isolation.level": "read_committed",  # Without it you see results that never became true.
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": options.stop_at_end,
        }
    )
    consumer.subscribe([options.topic])
    ended: set[int | None] = set()
    try:
        partitions = consumer.list_topics(options.topic, timeout=10).topics[options.topic].partitions
        while len(ended) < len(partitions) or not options.stop_at_end:
            message = consumer.poll(1.0)
            if message is None:
                continue
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public name
                ended.add(message.partition())
                continue
            if error is not None:
                raise KafkaException(error)
            # When the registry does not answer this raises: stop, begin again, skip nothing.
            yield deserialize(message.value(), SerializationContext(options.topic, MessageField.VALUE))
            consumer.commit(message, asynchronous=False)  # Less often is as right, and quicker: repeats are harmless.
    finally:
        consumer.close()


def main() -> None:
    """Read the command line and consume."""
    parser = argparse.ArgumentParser(description="Keep the results of onboarding requests.")
    parser.add_argument("--bootstrap-servers", required=True)
    parser.add_argument("--schema-registry", required=True)
    parser.add_argument("--schema", required=True, type=Path, help="schemas/OnboardingFinished.avsc")
    parser.add_argument("--database", required=True, type=Path)
    parser.add_argument("--topic", default="onboarding.results")
    parser.add_argument("--group", default="results-keeper")
    parser.add_argument("--stop-at-end", action="store_true", help="read what is there and stop")
    consume(parser.parse_args())


if __name__ == "__main__":
    main()
