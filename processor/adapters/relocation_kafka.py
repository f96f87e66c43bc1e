"""Kafka as a move of a deployment needs it: what is there, whole partitions to read, and records to write.

Partitions are read to their end, committed records only: what a transaction holds that is still open is waited for, and
belongs to it.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # exported, but not said so

from processor.adapters.group_offsets import NO_COORDINATOR, GroupOffsets
from processor.adapters.kafka_trouble import Trouble
from processor.adapters.topic_reader import END_OF_PARTITION, record_of
from processor.engine.ports import InputRecord, OutputRecord
from processor.errors import BrokerUnavailable, FatalError
from processor.kafka_config import Config

BATCH: Final = 1_000
IDLE_S: Final = 0.1
SILENCE_S_MAX: Final = 60.0  # Above a transaction's longest life: what stays open longer is stuck.
LOOK_AGAIN_S: Final = 0.2
COMMIT_S: Final = 30.0
TRANSACTION_MS: Final = 150_000  # Above two silences and a commit: what is written waits for what is read.
TRANSACTION_RECORDS: Final = 5_000
COORDINATOR_S: Final = 15.0
_SHUT_OUT = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})  # noqa: SLF001
_IN_BULK: Final = {"linger.ms": 20, "queue.buffering.max.kbytes": 64 * 1024}
Committed = tuple[int, str]  # Offset and metadata.


class RelocationKafka:
    """One cluster; every method raises BrokerUnavailable, and FatalError for what is refused or missing."""

    def __init__(self, reader: Config, client: Config, timeout_s: float) -> None:
        """`reader` and `client` are the configurations of `kafka_config` with these names."""
        self._trouble = Trouble()
        self._consumer = Consumer({**reader, "error_cb": self._trouble})
        own: dict[str, Any] = {**client, "error_cb": self._trouble}
        self._admin = AdminClient(own)
        self._client = client
        self._timeout_s = timeout_s

    def cluster_id(self) -> str:
        """Return the id of the cluster."""
        described = self._answer("the cluster", self._admin.describe_cluster(request_timeout=self._timeout_s))
        return str(described.cluster_id)

    def topic_id(self, topic: str) -> str:
        """Return the id of a topic, which another one of the same name does not have; empty when there is none."""
        asked = self._admin.describe_topics(TopicCollection([topic]), request_timeout=self._timeout_s)[topic]
        try:
            return str(asked.result(self._timeout_s).topic_id)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return ""
            raise self._trouble.because(topic, error) from error
        except TimeoutError as error:
            raise self._trouble.because(topic, error) from error

    def members(self, group: str) -> int:
        """Return how many members a consumer group has; a new one's coordinator is waited for."""
        give_up_at_s = time.monotonic() + COORDINATOR_S
        while True:
            try:
                return len(self._admin.describe_consumer_groups([group])[group].result(self._timeout_s).members)
            except KafkaException as error:
                code = error.args[0].code()
                if code == KafkaError.GROUP_ID_NOT_FOUND:
                    return 0
                if code not in NO_COORDINATOR or time.monotonic() > give_up_at_s:
                    raise self._trouble.because(f"group {group}", error) from error
            except TimeoutError as error:
                raise self._trouble.because(f"group {group}", error) from error
            time.sleep(LOOK_AGAIN_S)

    def committed(self, group: str, topic: str, partitions: int) -> Mapping[int, Committed]:
        """Return the offsets that a group committed on a topic, with what it wrote beside them."""
        offsets = GroupOffsets(self._client, group, self._timeout_s)
        try:
            parts = offsets.of(topic, range(partitions))
        finally:
            offsets.close()
        return {part.partition: (part.offset, part.metadata or "") for part in parts if part.offset >= 0}

    def bounds(self, topic: str, partitions: int) -> Mapping[int, tuple[int, int]]:
        """Return first offset and end of each partition, once no transaction is open there.

        What was there when this was asked is waited for, and no more: publishers may begin transactions all the time.
        A transaction's marker may come a moment after its commit was acknowledged; it stands before the end.
        """
        parts = [TopicPartition(topic, number) for number in range(partitions)]
        give_up_at_s = time.monotonic() + SILENCE_S_MAX
        high = self._offsets(parts, OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED)  # type: ignore[no-untyped-call]
        while True:
            stable = self._offsets(parts, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED)  # type: ignore[no-untyped-call]
            if all(stable[number] >= end for number, end in high.items()):
                break
            if time.monotonic() > give_up_at_s:
                raise BrokerUnavailable(f"a transaction on {topic} does not end: see who holds it, and abort it")
            time.sleep(LOOK_AGAIN_S)
        low = self._offsets(parts, OffsetSpec.earliest(), IsolationLevel.READ_UNCOMMITTED)  # type: ignore[no-untyped-call]
        return {number: (low[number], end) for number, end in stable.items()}

    def _offsets(self, parts: Sequence[TopicPartition], spec: Any, level: IsolationLevel) -> dict[int, int]:  # noqa: ANN401
        topic = parts[0].topic
        asked = self._admin.list_offsets(
            dict.fromkeys(parts, spec), isolation_level=level, request_timeout=self._timeout_s
        )
        return {part.partition: self._answer(f"offsets of {topic}", asked[part]).offset for part in parts}

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[InputRecord]:
        """Give the committed records between two offsets, the later one of `bounds`."""
        if start >= end:
            return
        self._consumer.assign([TopicPartition(topic, partition, start)])
        silent_since_s = time.monotonic()
        is_open = True
        while is_open:
            first = self._consumer.poll(IDLE_S)
            messages = [] if first is None else [first, *self._consumer.consume(BATCH, 0)]
            for message in messages:
                offset = self._offset(message)
                if (message.topic(), message.partition()) != (topic, partition):
                    continue  # The end of what was read before.
                if message.error() is None and offset < end:
                    yield record_of(message)
                is_open = offset + (message.error() is None) < end
            if any(message.error() is None for message in messages):
                silent_since_s = time.monotonic()
            elif time.monotonic() - silent_since_s > SILENCE_S_MAX:
                raise self._trouble.because(f"{topic}[{partition}] does not end at {end}", TimeoutError())

    def close(self) -> None:
        """Close; one partition is read at a time, by one consumer."""
        self._consumer.close()

    def _offset(self, message: Message) -> int:
        error, offset = message.error(), message.offset()
        if error is not None and error.code() != END_OF_PARTITION:
            raise self._trouble.because(f"reading {message.topic()}", error)
        if offset is None:
            raise BrokerUnavailable("a record came without its place")
        return offset

    def _answer(self, what: str, asked: Any) -> Any:  # noqa: ANN401  # a future of whatever was asked for
        try:
            return asked.result(self._timeout_s)
        except (KafkaException, TimeoutError) as error:
            raise self._trouble.because(what, error) from error


class FencedWriter:
    """Writes for one deployment, in transactions only: who comes later with its name shuts out who came before."""

    def __init__(self, config: Config, timeout_s: float) -> None:
        """`config` is `producer_config`."""
        self._trouble = Trouble()
        own = {**config, **_IN_BULK, "transaction.timeout.ms": TRANSACTION_MS, "error_cb": self._trouble}
        self._producer = Producer(own)
        self._held = 0  # Records of the transaction that is open.
        self._done("transactions", lambda: self._producer.init_transactions(timeout_s))

    def together(self, records: Iterable[OutputRecord]) -> None:
        """Write all of these records, or none; after an error only what is there tells which."""
        self.flush()
        for record in records:
            self._produce(record)
        self.flush()

    def add(self, record: OutputRecord) -> None:
        """Take one of many records, visible some thousands at a time; each partition keeps its order."""
        self._produce(record)
        if self._held >= TRANSACTION_RECORDS:
            self.flush()

    def flush(self) -> None:
        """Make visible what was taken."""
        if self._held:
            self._done("a transaction", lambda: self._producer.commit_transaction(COMMIT_S))
            self._held = 0

    def close(self) -> None:
        """Take back what is not visible yet."""
        if self._held:
            with suppress(KafkaException):  # Then whoever comes next with this name does it, or time.
                self._producer.abort_transaction(COMMIT_S)

    def _produce(self, record: OutputRecord) -> None:
        partition = record.partition
        assert partition is not None, "a move chooses partitions itself"
        headers: Any = list(record.headers) or None
        if not self._held:
            self._done("a transaction", self._producer.begin_transaction)
        self._held += 1

        def produce() -> None:
            self._producer.produce(record.topic, record.value, record.key, partition, headers=headers)

        while True:
            try:
                self._done(f"writing to {record.topic}", produce)
                break
            except BufferError:
                self._done(f"writing to {record.topic}", lambda: self._producer.poll(0.1))

    def _done(self, what: str, call: Callable[[], object]) -> None:
        try:
            call()
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if cause.code() in _SHUT_OUT:
                raise FatalError("another command moves this deployment; let it end, and look again") from error
            raise self._trouble.because(what, error) from error
