"""Reads topics from a chosen place on, committed records only, outside any group: for commands that show things."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # exported, but not said so

from processor.adapters.kafka_trouble import Trouble
from processor.engine.ports import InputRecord
from processor.errors import BrokerUnavailable, FatalError

END_OF_PARTITION = KafkaError._PARTITION_EOF  # noqa: SLF001  # public by use
BATCH = 1_000
IDLE_S = 0.2
SILENCE_S_MAX = 30.0  # Nothing at all came for so long: the broker is gone.

Bounds = Mapping[tuple[str, int], tuple[int, int]]  # Topic and partition -> first offset and the one after the last.


@dataclass(frozen=True, slots=True)
class Newest:
    """Begin so many offsets before each partition's end; markers and aborted records count as offsets too."""

    offsets: int


FIRST = Newest(2**62)
END = Newest(0)


class TopicReader:
    """Reads from one cluster; every method raises BrokerUnavailable, and FatalError for a missing or closed topic.

    `reader` and `client` are the configurations of `kafka_config` with these names. A `with` closes it.
    """

    def __init__(self, reader: Mapping[str, Any], client: Mapping[str, Any], timeout_s: float) -> None:
        self._trouble = Trouble()
        self._timeout_s = timeout_s
        self._consumer = Consumer({**reader, "error_cb": self._trouble})
        self._admin = AdminClient({**client})
        self._ends: dict[tuple[str, int], int] = {}  # Of the partitions that have something between start and end.

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def begin(self, topics: Sequence[str], start: Newest) -> Bounds:
        """Start reading these topics; returns the bounds of their partitions at this moment."""
        bounds = self._bounds([part for topic in topics for part in self._partitions(topic)])
        starts = {part: max(first, end - start.offsets) for part, (first, end) in bounds.items()}
        self._ends = {part: end for part, (_, end) in bounds.items() if starts[part] < end}
        self._consumer.assign([TopicPartition(topic, number, at) for (topic, number), at in starts.items()])
        return bounds

    def until_end(self) -> Iterator[InputRecord]:
        """Give what stands between the start and the ends found at the start."""
        open_parts = set(self._ends)
        silent_s = 0.0
        while open_parts:
            items = self._consume()
            silent_s = 0.0 if items else silent_s + IDLE_S
            if silent_s > SILENCE_S_MAX:
                raise self._trouble.because("reading", TimeoutError())
            for message in items:
                part, offset = place_of(message)
                is_end, end = message.error() is not None, self._ends.get(part, 0)
                if not is_end and offset < end:
                    yield record_of(message)
                if is_end or offset + 1 >= end:
                    open_parts.discard(part)

    def follow(self) -> Iterator[InputRecord | None]:
        """Give what comes, for ever; None whenever nothing came for a moment, so that the caller can look up."""
        while True:
            records = [record_of(message) for message in self._consume() if message.error() is None]
            if records:
                yield from records
            else:
                yield None

    def _consume(self) -> list[Message]:
        """Return messages and ends of partitions."""
        messages = self._consumer.consume(BATCH, IDLE_S)
        for message in messages:
            error = message.error()
            if error is not None and error.code() != END_OF_PARTITION:
                raise self._trouble.because(f"reading {message.topic() or 'any topic'}", error)
        return messages

    def _partitions(self, topic: str) -> list[TopicPartition]:
        try:
            found = self._consumer.list_topics(topic, timeout=self._timeout_s).topics[topic]
        except KafkaException as error:
            self._consumer.poll(0)
            raise self._trouble.because("the broker does not answer", error) from error
        if found.error is not None and found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise FatalError(f"the topic {topic} does not exist; run `processor topics create`")
        if found.error is not None:
            raise self._trouble.because(f"reading {topic}", found.error)
        return [TopicPartition(topic, number) for number in found.partitions]

    def _bounds(self, parts: Sequence[TopicPartition]) -> Bounds:
        # The stable end: everything before it is decided, and no open transaction makes us wait.
        options: dict[str, Any] = {
            "isolation_level": IsolationLevel.READ_COMMITTED,
            "request_timeout": self._timeout_s,
        }
        earliest, latest = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]
        try:
            firsts = self._admin.list_offsets(dict.fromkeys(parts, earliest), **options)
            ends = self._admin.list_offsets(dict.fromkeys(parts, latest), **options)
            return {
                (part.topic, part.partition): (
                    firsts[part].result(self._timeout_s).offset,
                    ends[part].result(self._timeout_s).offset,
                )
                for part in parts
            }
        except (KafkaException, TimeoutError) as error:
            raise self._trouble.because("offsets of the topic", error) from error


def place_of(message: Message) -> tuple[tuple[str, int], int]:
    """Return topic and partition, and the offset, of a record or an end; raises BrokerUnavailable without them."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    if topic is None or partition is None or offset is None:
        raise BrokerUnavailable("a record came without its place")
    return (topic, partition), offset


def record_of(message: Message) -> InputRecord:
    """Return a record as the engine's value; raises BrokerUnavailable when it came without its place."""
    (topic, partition), offset = place_of(message)
    given: Any = message.headers() or ()  # Pairs of text and bytes, whatever the stubs allow.
    headers = tuple((name, value or b"") for name, value in given)
    return InputRecord(topic, partition, offset, message.key(), message.value(), headers, message.timestamp()[1])
