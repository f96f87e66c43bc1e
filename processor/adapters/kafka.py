"""Kafka for one decider: a group consumer, a transactional producer and a reader of its state topic.

Serves `engine.ports.Log`. One thread drives it. Rules and the measurements behind them: docs/kafka-rules.md.
"""

import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

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

from processor.adapters.group_offsets import GroupOffsets, offset_metadata, partitions_told, read_offset
from processor.adapters.topic_ends import TopicEnds
from processor.adapters.transactions import Transactions
from processor.engine.ports import EndReached, InputRecord, Listener, Outcome, OutputRecord, Position
from processor.errors import BrokerUnavailable, FatalError

_METADATA_PREFIX = b"CGMDv2:"
_GENERATION = struct.Struct("=i")
_ANY_PARTITION = -1
# Reading would go on without these partitions, and nobody would know.
_FINAL = frozenset(
    {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError.TOPIC_AUTHORIZATION_FAILED}  # noqa: SLF001
)
_LEAVE_S = 2.0
_LEADERS_S = 1.0


@dataclass(frozen=True, slots=True)
class KafkaConfig:
    """librdkafka configurations and topics of one decider; times in seconds."""

    input_topic: str
    state_topic: str
    consumer: Mapping[str, Any]
    producer: Mapping[str, Any]
    reader: Mapping[str, Any]
    evidence: Mapping[str, Any]
    admin: Mapping[str, Any]
    request_s: float = 5.0
    unstable_s: float = 30.0  # Above transaction.timeout.ms and the broker's sweep: what is pending then is stuck.
    commit_s: float = 8.0  # Below transaction.timeout.ms, after which the broker aborts by itself.
    seek_s: float = 5.0


class KafkaLog:
    """One member's connection to Kafka."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._consumer = Consumer(dict(config.consumer))
        self._reader = Consumer(dict(config.reader))
        self._evidence = Producer(dict(config.evidence))
        self._admin = AdminClient(dict(config.admin))
        self._offsets = GroupOffsets(config.reader, config.consumer["group.id"], config.request_s)
        self._transactions = Transactions(
            config.producer,
            config.input_topic,
            TopicEnds(config.admin, config.request_s).of,
            partial(self._offsets.of, config.input_topic),
            request_s=config.request_s,
            commit_s=config.commit_s,
        )
        self._unstable_since_s: float | None = None
        self._partitions = 0
        self._assigned: set[int] = set()

    # --- reading ---------------------------------------------------------------------------------------------

    def join(self, listener: Listener) -> None:
        """Subscribe to the input topic."""

        def on_assign(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            # Read nothing before the state is restored: assigned where nothing is yet, paused, placed by `read_from`.
            at_their_ends = self._at_their_ends([part.partition for part in partitions])
            consumer.incremental_assign(at_their_ends)
            consumer.pause(at_their_ends)
            self._assigned |= {part.partition for part in at_their_ends}
            listener.on_assigned([part.partition for part in partitions])

        def unassign(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            consumer.incremental_unassign([part for part in partitions if part.partition in self._assigned])
            self._assigned -= {part.partition for part in partitions}

        def on_revoke(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            listener.on_revoked([part.partition for part in partitions])
            unassign(consumer, partitions)

        def on_lost(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            listener.on_lost([part.partition for part in partitions])
            unassign(consumer, partitions)

        self._consumer.subscribe([self._config.input_topic], on_assign=on_assign, on_revoke=on_revoke, on_lost=on_lost)
        self._find_leaders()

    def _find_leaders(self) -> None:
        """Let the reader of state find who leads its partitions, while the group lets us join.

        One that was made and left alone looks for them when librdkafka next wakes it: up to a second later, and a
        partition that it is given meanwhile is not read before.
        """
        with suppress(KafkaException):  # Who leads what is found later, where no broker answers now.
            self._reader.list_topics(self._config.state_topic, timeout=_LEADERS_S)

    def _at_their_ends(self, numbers: Sequence[int]) -> list[TopicPartition]:
        """Return partitions with the offset where each ends now; those of which no broker says it in time are left out.

        A number, and never `OFFSET_END`: librdkafka asks for that by itself, and where `read_from` overtakes the
        answer it takes that for outdated, asks again and goes on there, without a word of what it leaves out.
        Who waits for a partition without a leader holds up all others, so it is assigned when it is placed.
        """
        topic, give_up_at = self._config.input_topic, time.monotonic() + self._config.request_s
        ends = self._asked_ends(numbers)
        while len(ends) < len(numbers) and time.monotonic() < give_up_at:
            self.wait(0.1)
            with suppress(BrokerUnavailable):
                self._renew_metadata(topic)
            ends |= self._asked_ends([number for number in numbers if number not in ends])
        return [TopicPartition(topic, number, end) for number, end in ends.items()]

    def membership(self) -> bytes | None:
        """Return group metadata to commit with, or None while not (or no longer) a proper member."""
        metadata: Any = self._consumer.consumer_group_metadata()  # librdkafka's own bytes
        return metadata if metadata is not None and is_member(metadata) else None

    def poll(self, timeout_s: float, records_max: int) -> Sequence[InputRecord | EndReached]:
        """Return what came; runs the listener."""
        first = self._consumer.poll(timeout_s)
        if first is None:
            return ()
        return _items([first, *self._consumer.consume(records_max - 1, 0)])

    def read_from(self, partition: int, offset: int) -> None:
        """Start delivering a partition of ours at an offset."""
        target = TopicPartition(self._config.input_topic, partition, offset)
        if partition not in self._assigned:
            self._consumer.incremental_assign([target])
            self._assigned.add(partition)
            return
        give_up_at = time.monotonic() + self._config.seek_s
        while True:
            try:
                self._consumer.seek(target)
                break
            except KafkaException as error:  # The assignment may not have reached the fetcher yet.
                if time.monotonic() >= give_up_at:
                    raise FatalError(f"cannot seek {self._config.input_topic}[{partition}] to {offset}") from error
                self.wait(0.01)
        self._consumer.resume([target])

    def pause(self, partitions: Iterable[int]) -> None:
        """Stop delivering these partitions."""
        self._consumer.pause(self._inputs(partitions))

    def resume(self, partitions: Iterable[int]) -> None:
        """Deliver these partitions again."""
        self._consumer.resume(self._inputs(partitions))

    # --- positions and bounds --------------------------------------------------------------------------------

    def committed(self, partitions: Sequence[int]) -> Mapping[int, Position | None]:
        """Return committed positions, once no transaction of theirs is open; raises BrokerUnavailable."""
        try:
            found = self._consumer.committed(self._inputs(partitions), timeout=self._config.request_s)
        except KafkaException as error:
            raise BrokerUnavailable(f"committed offsets of {self._config.input_topic}: {_name(error)}") from error
        return {part.partition: _position(part) for part in found}

    def last_committed(self, partition: int) -> Position | None:
        """Return the committed position to restore by; raises BrokerUnavailable.

        A transaction whose coordinator was killed can stay pending in the group for ever. After a transaction's
        longest life what is pending no longer counts here; the state itself still waits for its own stable end.
        """
        try:
            found = self.committed([partition])[partition]
        except BrokerUnavailable:
            now_s = time.monotonic()
            self._unstable_since_s = self._unstable_since_s or now_s
            if now_s - self._unstable_since_s < self._config.unstable_s:
                raise
            return self._committed_without_pending(partition)
        self._unstable_since_s = None
        return found

    def _committed_without_pending(self, partition: int) -> Position | None:
        reader = Consumer({**self._config.consumer, "isolation.level": "read_uncommitted"})
        try:
            (found,) = reader.committed(self._inputs([partition]), timeout=self._config.request_s)
            return _position(found)
        except KafkaException as error:
            raise BrokerUnavailable(f"committed offset of {self._config.input_topic}: {_name(error)}") from error
        finally:
            reader.close()

    def bounds(self, partition: int) -> tuple[int, int]:
        """Return first offset and high watermark of the input partition; raises BrokerUnavailable."""
        return self._bounds(self._config.input_topic, partition)

    def state_bounds(self, partition: int) -> tuple[int, int]:
        """Return first offset and high watermark of the state partition; raises BrokerUnavailable."""
        return self._bounds(self._config.state_topic, partition)

    def state_id(self) -> str:
        """Return the id that the broker gave the state topic (KIP-516); raises BrokerUnavailable."""
        topic = self._config.state_topic
        try:
            asked = self._admin.describe_topics(TopicCollection([topic]), request_timeout=self._config.request_s)
            return str(asked[topic].result(self._config.request_s).topic_id)
        except (KafkaException, TimeoutError) as error:
            raise BrokerUnavailable(f"id of {topic}") from error

    def partitions(self) -> int:
        """Return how many partitions the input topic has; raises BrokerUnavailable."""
        if not self._partitions:
            topic = self._config.input_topic
            try:
                found = self._admin.list_topics(topic, timeout=self._config.request_s).topics[topic]
            except KafkaException as error:
                raise BrokerUnavailable(f"metadata of {topic}: {_name(error)}") from error
            if found.error is not None or not found.partitions:
                raise BrokerUnavailable(f"metadata of {topic}: {found.error or 'no partitions'}")
            self._partitions = len(found.partitions)
        return self._partitions

    def partitions_before(self) -> int | None:
        """Return how many partitions the input topic had when the group committed; raises BrokerUnavailable."""
        return partitions_told(self._offsets.of(self._config.input_topic, range(self.partitions())))

    def _bounds(self, topic: str, partition: int) -> tuple[int, int]:
        try:
            return self._asked_bounds(topic, partition)
        except BrokerUnavailable:
            # After a leader change the client asks with a stale epoch until its metadata is renewed.
            self._renew_metadata(topic)
            return self._asked_bounds(topic, partition)

    def _renew_metadata(self, topic: str) -> None:
        try:
            self._admin.list_topics(topic, timeout=self._config.request_s)
        except KafkaException as error:
            raise BrokerUnavailable(f"metadata of {topic}: {_name(error)}") from error

    def _asked_bounds(self, topic: str, partition: int) -> tuple[int, int]:
        # Asked as a reader of uncommitted records: the stable offset would hide what is being committed.
        part = TopicPartition(topic, partition)
        first, last = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]
        options = {"isolation_level": IsolationLevel.READ_UNCOMMITTED, "request_timeout": self._config.request_s}
        try:
            low = self._admin.list_offsets({part: first}, **options)[part]
            high = self._admin.list_offsets({part: last}, **options)[part]
            return low.result(self._config.request_s).offset, high.result(self._config.request_s).offset
        except (KafkaException, TimeoutError) as error:
            raise BrokerUnavailable(f"offsets of {topic}[{partition}]") from error

    def _asked_ends(self, numbers: Sequence[int]) -> dict[int, int]:
        """Return the ends that brokers say in time; some may have no leader."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        options = {"isolation_level": IsolationLevel.READ_UNCOMMITTED, "request_timeout": self._config.request_s}
        asked = self._admin.list_offsets(dict.fromkeys(self._inputs(numbers), latest), **options) if numbers else {}
        wait(asked.values(), self._config.request_s)
        return {
            part.partition: end.result().offset for part, end in asked.items() if end.done() and end.exception() is None
        }

    # --- state -----------------------------------------------------------------------------------------------

    def state_start(self, partition: int, offset: int) -> None:
        """Begin reading a state partition from an offset."""
        self._reader.incremental_assign([TopicPartition(self._config.state_topic, partition, offset)])

    def state_poll(self, timeout_s: float) -> Sequence[InputRecord | EndReached]:
        """Return committed state records that came, and ends reached."""
        first = self._reader.poll(timeout_s)
        if first is None:
            return ()
        return _items([first, *self._reader.consume(5_000, 0)])

    def state_stop(self, partition: int) -> None:
        """Stop reading a state partition."""
        self._reader.incremental_unassign([TopicPartition(self._config.state_topic, partition)])

    # --- transactions ----------------------------------------------------------------------------------------

    def transact(
        self,
        records: Sequence[OutputRecord],
        positions: Mapping[int, Position],
        membership: Any,  # noqa: ANN401  # librdkafka's opaque metadata
    ) -> tuple[Outcome, Mapping[int, int]]:
        """Publish records and positions in one transaction; see `engine.ports.Log`."""
        partitions = self.partitions()
        offsets = [
            TopicPartition(self._config.input_topic, number, position.offset, offset_metadata(position, partitions))
            for number, position in positions.items()
        ]
        return self._transactions.transact(records, offsets, membership)

    def end_transaction(self) -> None:
        """End what the last transaction left open; see `engine.ports.Log`."""
        self._transactions.end(self.membership())

    # --- the rest --------------------------------------------------------------------------------------------

    def publish_evidence(self, records: Sequence[OutputRecord]) -> None:
        """Publish without a transaction, idempotently; delivery goes on in the background."""
        for record in records:
            number = _ANY_PARTITION if record.partition is None else record.partition
            headers: Any = list(record.headers) or None
            with suppress(BufferError, KafkaException):  # Evidence shortens a doubt; without it the doubt ends later.
                self._evidence.produce(record.topic, record.value, record.key, number, headers=headers)
        self._evidence.poll(0)

    def forget_before(self, partition: int, offset: int) -> bool:
        """Delete input records below an offset; False where the broker refuses."""
        target = TopicPartition(self._config.input_topic, partition, offset)
        try:
            self._admin.delete_records([target])[target].result(self._config.request_s)
        except (KafkaException, TimeoutError):
            return False
        return True

    def wait(self, seconds: float) -> None:
        """Let a moment pass where polling is not allowed."""
        time.sleep(seconds)

    def close(self) -> None:
        """Leave the group and close; runs the listener's on_revoked."""
        self._leave_empty_handed()
        self._consumer.close()
        self._reader.close()
        self._evidence.flush(self._config.request_s)
        self._offsets.close()
        self._transactions.close()

    def _leave_empty_handed(self) -> None:
        """Leave the group where we own nothing: closing alone may not tell it, and others wait for our session."""
        with suppress(KafkaException, RuntimeError):
            if self._consumer.assignment():
                return
            self._consumer.unsubscribe()
            give_up_at = time.monotonic() + _LEAVE_S
            while self._consumer.memberid() and time.monotonic() < give_up_at:
                self._consumer.poll(0.02)

    def _inputs(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self._config.input_topic, number) for number in partitions]


def is_member(metadata: bytes) -> bool:
    """Whether group metadata names a member and a generation, so that the broker will check them.

    librdkafka clears either after it lost the group; with both gone the broker would accept anything.
    Layout: `CGMDv2:`, int32 generation in native order, group id NUL, member id NUL, instance id.
    """
    if not metadata.startswith(_METADATA_PREFIX):
        return False
    start = len(_METADATA_PREFIX)
    (generation,) = _GENERATION.unpack_from(metadata, start)
    ids = metadata[start + _GENERATION.size :].split(b"\0")
    return generation >= 0 and len(ids) > 1 and bool(ids[1])


def _items(messages: Sequence[Message]) -> list[InputRecord | EndReached]:
    return [item for item in map(_item, messages) if item is not None]


def _item(message: Message) -> InputRecord | EndReached | None:
    error = message.error()
    number: Any = message.partition()
    offset: Any = message.offset()
    if error is None:
        headers: Any = message.headers()
        at = message.timestamp()[1]
        topic: Any = message.topic()
        return InputRecord(topic, number, offset, message.key(), message.value(), tuple(headers or ()), at)
    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # librdkafka's name for a local code
        return EndReached(number, offset)
    if error.fatal() or error.code() in _FINAL:
        raise FatalError(f"{message.topic()}[{message.partition()}]: {error.name()}")
    return None  # Brokers come and go; librdkafka goes on by itself.


def _position(part: TopicPartition) -> Position | None:
    if part.error is not None:
        raise BrokerUnavailable(f"committed offset of {part.topic}[{part.partition}]: {part.error.name()}")
    return read_offset(part) if part.offset >= 0 else None


def _name(error: KafkaException) -> str:
    return str(error.args[0].name())
