"""Reads a demo's topics as downstream would: for the display while it runs, for the verdict when it has ended."""

import threading
from typing import Any

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from processor.adapters.public_events import ResultReader
from processor.adapters.registry import avro_schema, registry_for
from processor.adapters.topic_reader import FIRST
from processor.cli.demo_tally import Board, Event, ResultSeen
from processor.cli.starting import reader_for
from processor.core.model import Instant
from processor.engine.ports import InputRecord
from processor.settings import Settings

_CONF = {"use.latest.version": False, "subject.name.strategy.type": "TOPIC"}


class _Events:
    """Decodes the events of one record type."""

    def __init__(self, client: SchemaRegistryClient, record: str) -> None:
        self._deserialize = AvroDeserializer(client, avro_schema(record), conf=_CONF)

    def read(self, record: InputRecord) -> Event:
        """Return an event."""
        event: Any = self._deserialize(record.value, SerializationContext(record.topic, MessageField.VALUE))
        return dict(event)


def follow(settings: Settings, board: Board, is_over: threading.Event) -> None:
    """Keep the board up to date until it is over; blocks, for a thread of its own.

    Raises BrokerUnavailable, RegistryUnavailable.
    """
    topics, client = settings.topics, registry_for(settings.schema_registry)
    results, progress = ResultReader(client), _Events(client, "OnboardingProgressed")
    with reader_for(settings) as reader:
        reader.begin((topics.requests, topics.progress, topics.results), FIRST)
        for record in reader.follow():
            if is_over.is_set():
                return
            if record is None:
                continue
            if record.topic == topics.requests:
                board.published += 1
            elif record.topic == topics.progress:
                board.progressed(progress.read(record))
            else:
                board.finished.add(results.read(record.topic, record.value, record.headers)["requestId"])


def read_back(settings: Settings) -> tuple[dict[str, Instant], int, list[ResultSeen]]:
    """Read the topics of requests and results whole, committed records only; blocks.

    Returns when each request was first published, how many request events there are, and all results. Raises
    BrokerUnavailable, RegistryUnavailable.
    """
    topics, client = settings.topics, registry_for(settings.schema_registry)
    requests, results = _Events(client, "OnboardingRequested"), ResultReader(client)
    published: dict[str, Instant] = {}
    events, seen = 0, []
    with reader_for(settings) as reader:
        reader.begin((topics.requests, topics.results), FIRST)
        for record in reader.until_end():
            if record.topic == topics.requests:
                events += 1
                published.setdefault(requests.read(record)["requestId"], record.timestamp)
            else:
                event = results.read(record.topic, record.value, record.headers)
                seen.append(ResultSeen(event, record.timestamp))
    return published, events, sorted(seen, key=lambda one: one.at)
