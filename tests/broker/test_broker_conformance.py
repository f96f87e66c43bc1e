"""What the engine's proofs take for granted of a broker; run these first against every new broker or version."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from tests.support.topics import make_topic
from tests.support.waiting import wait_until

pytestmark = pytest.mark.broker

Settings = dict[str, str | int | float | bool]
END_OF_PARTITION = KafkaError._PARTITION_EOF  # noqa: SLF001  # librdkafka's local error codes begin with an underscore


def transactional(servers: str, transactional_id: str, **more: str | float) -> Producer:
    """Return a producer that holds its transactional id."""
    quick = {"retry.backoff.ms": 2, "retry.backoff.max.ms": 10, "transaction.timeout.ms": 10_000}
    settings: Settings = {"bootstrap.servers": servers, "transactional.id": transactional_id, **quick}
    producer = Producer({**settings, **{name.replace("_", "."): value for name, value in more.items()}})
    producer.init_transactions(10)
    return producer


@contextmanager
def member(servers: str, group: str, **more: str) -> Iterator[Consumer]:
    """Give a consumer that commits nothing by itself and closes in the end."""
    settings: Settings = {
        "bootstrap.servers": servers,
        "group.id": group,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 20,
    }
    consumer = Consumer({**settings, **{name.replace("_", "."): value for name, value in more.items()}})
    try:
        yield consumer
    finally:
        consumer.close()


def read(servers: str, topic: str, isolation_level: str = "read_committed") -> tuple[list[bytes | None], int]:
    """Return the values of partition 0 and the offset at which it ended."""
    with member(servers, "reader", isolation_level=isolation_level) as consumer:
        consumer.assign([TopicPartition(topic, 0, 0)])
        values: list[bytes | None] = []
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            for message in consumer.consume(100, 0.1):
                error = message.error()
                if error is None:
                    values.append(message.value())
                elif error.code() == END_OF_PARTITION:
                    return values, message.offset() or 0
                else:
                    raise KafkaException(error)
    raise AssertionError(f"{topic} has no end")


def end_offset(servers: str, topic: str, isolation_level: str = "read_committed") -> int:
    """Return where partition 0 ends for readers of this isolation."""
    with member(servers, "reader", isolation_level=isolation_level) as consumer:
        return consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)[1]


def committed(servers: str, group: str, topic: str) -> TopicPartition:
    """Return the committed offset of partition 0 with its metadata, as a new owner reads it."""
    with member(servers, group) as consumer:
        return consumer.committed([TopicPartition(topic, 0)], timeout=1)[0]


def until_assigned(consumers: Sequence[Consumer], partitions: Sequence[int]) -> None:
    """Poll all members until each owns so many partitions as is said of it."""
    deadline = time.monotonic() + 20
    while [len(consumer.assignment()) for consumer in consumers] != list(partitions):
        assert time.monotonic() < deadline, "the group does not settle"
        for consumer in consumers:
            consumer.poll(0.05)


def refused(attempt: object, name: str) -> KafkaError:
    """Return the error of a refusal and check its name."""
    assert isinstance(attempt, KafkaException)
    error = attempt.args[0]
    assert isinstance(error, KafkaError)
    assert error.name() == name
    return error


def test_a_topic_has_the_partitions_that_were_asked_for(bootstrap_servers: str, topic_prefix: str) -> None:
    """A created topic is there with its number of partitions as soon as creation is answered."""
    topic = make_topic(bootstrap_servers, f"{topic_prefix}made", partitions=3)
    described = AdminClient({"bootstrap.servers": bootstrap_servers}).list_topics(topic, timeout=10)
    assert sorted(described.topics[topic].partitions) == [0, 1, 2]


def test_a_topic_does_not_appear_by_itself(bootstrap_servers: str, topic_prefix: str) -> None:
    """Asking for a topic that nobody created does not create it."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    error = admin.list_topics(f"{topic_prefix}typo", timeout=10).topics[f"{topic_prefix}typo"].error
    assert error is not None
    assert error.name() == "UNKNOWN_TOPIC_OR_PART"


def test_committed_records_are_read_in_order_and_the_end_counts_the_marker(
    bootstrap_servers: str, topic_prefix: str
) -> None:
    """A partition ends behind the commit marker, which takes an offset that no reader is given."""
    topic = make_topic(bootstrap_servers, f"{topic_prefix}log")
    producer = transactional(bootstrap_servers, topic)
    producer.begin_transaction()
    producer.produce(topic, b"first")
    producer.produce(topic, None, key=b"deleted")
    producer.commit_transaction(10)
    assert read(bootstrap_servers, topic) == ([b"first", None], 3)


def test_an_aborted_record_is_seen_only_by_readers_who_did_not_ask_for_committed_ones(
    bootstrap_servers: str, topic_prefix: str
) -> None:
    """An abort leaves the records in the log and hides them from read_committed."""
    topic = make_topic(bootstrap_servers, f"{topic_prefix}log")
    producer = transactional(bootstrap_servers, topic)
    producer.begin_transaction()
    producer.produce(topic, b"aborted")
    producer.flush(10)
    producer.abort_transaction(10)
    assert read(bootstrap_servers, topic) == ([], 2)
    assert read(bootstrap_servers, topic, "read_uncommitted") == ([b"aborted"], 2)


def test_nothing_behind_an_open_transaction_is_read(bootstrap_servers: str, topic_prefix: str) -> None:
    """The last stable offset stands before the first open record, also for what others committed behind it."""
    topic = make_topic(bootstrap_servers, f"{topic_prefix}log")
    slow, quick = (transactional(bootstrap_servers, f"{topic}.{name}") for name in ("slow", "quick"))
    slow.begin_transaction()
    slow.produce(topic, b"slow")
    slow.flush(10)
    quick.begin_transaction()
    quick.produce(topic, b"quick")
    quick.commit_transaction(10)
    assert read(bootstrap_servers, topic) == ([], 0)
    assert end_offset(bootstrap_servers, topic) == 0
    assert end_offset(bootstrap_servers, topic, "read_uncommitted") == 3
    slow.commit_transaction(10)
    assert read(bootstrap_servers, topic) == ([b"slow", b"quick"], 4)


def test_a_successor_aborts_what_its_predecessor_left_open_and_fences_it(
    bootstrap_servers: str, topic_prefix: str
) -> None:
    """The same transactional id, initialised again, ends the open transaction; the zombie stays refused."""
    topic = make_topic(bootstrap_servers, f"{topic_prefix}log")
    zombie = transactional(bootstrap_servers, topic)
    zombie.begin_transaction()
    zombie.produce(topic, b"zombie")
    zombie.flush(10)
    successor = transactional(bootstrap_servers, topic)
    successor.begin_transaction()
    successor.produce(topic, b"successor")
    successor.commit_transaction(10)
    with pytest.raises(KafkaException) as raised:
        zombie.commit_transaction(10)
    assert refused(raised.value, "_FENCED").fatal()
    assert read(bootstrap_servers, topic)[0] == [b"successor"]


def test_a_transaction_dies_of_its_own_time_out(bootstrap_servers: str, topic_prefix: str) -> None:
    """The broker aborts a transaction that nobody ends, so that readers and the next owner can go on."""
    topic = make_topic(bootstrap_servers, f"{topic_prefix}log")
    orphan = transactional(bootstrap_servers, topic, transaction_timeout_ms=1_000)
    orphan.begin_transaction()
    orphan.produce(topic, b"orphan")
    orphan.flush(10)
    wait_until(lambda: end_offset(bootstrap_servers, topic) > 0, "readers no longer blocked by it", timeout_s=25)
    assert read(bootstrap_servers, topic)[0] == []
    with pytest.raises(KafkaException):
        orphan.commit_transaction(10)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_offsets_and_their_metadata_are_there_with_the_commit_and_wait_for_it(
    bootstrap_servers: str, topic_prefix: str, protocol: str
) -> None:
    """Whoever asks for a position while the transaction is open waits; then it reads position and token."""
    topic, group = make_topic(bootstrap_servers, f"{topic_prefix}in"), f"{topic_prefix}group"
    producer = transactional(bootstrap_servers, topic)
    with member(bootstrap_servers, group, group_protocol=protocol) as owner:
        owner.subscribe([topic])
        until_assigned([owner], [1])
        producer.begin_transaction()
        position = TopicPartition(topic, 0, 7, metadata="token 1")
        producer.send_offsets_to_transaction([position], owner.consumer_group_metadata(), 10)
        with pytest.raises(KafkaException) as raised:
            committed(bootstrap_servers, group, topic)
        refused(raised.value, "_TIMED_OUT")
        producer.commit_transaction(10)
        found = committed(bootstrap_servers, group, topic)
    assert (found.offset, found.metadata) == (7, "token 1")


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_the_position_of_a_stale_member_is_refused_and_without_one_nothing_is(
    bootstrap_servers: str, topic_prefix: str, protocol: str
) -> None:
    """Membership is checked with offsets only: a stale member's transaction that sends none is committed."""
    topic = make_topic(bootstrap_servers, f"{topic_prefix}in", partitions=2)
    producer = transactional(bootstrap_servers, topic)
    group = f"{topic_prefix}group"
    classic = {"partition_assignment_strategy": "cooperative-sticky", "heartbeat_interval_ms": "200"}
    more = {"group_protocol": protocol, **(classic if protocol == "classic" else {})}
    with (
        member(bootstrap_servers, group, **more) as first,
        member(bootstrap_servers, group, **more) as second,
    ):
        first.subscribe([topic])
        until_assigned([first], [2])
        stale = first.consumer_group_metadata()
        second.subscribe([topic])
        until_assigned([first, second], [1, 1])
        (moved,) = second.assignment()
        producer.begin_transaction()
        producer.produce(topic, b"of a stale member", partition=moved.partition)
        with pytest.raises(KafkaException) as raised:
            producer.send_offsets_to_transaction([TopicPartition(topic, moved.partition, 5)], stale, 10)
        assert refused(raised.value, "ILLEGAL_GENERATION").txn_requires_abort()
        producer.abort_transaction(10)
        producer.begin_transaction()
        producer.produce(topic, b"without a position", partition=moved.partition)
        producer.send_offsets_to_transaction([], stale, 10)
        producer.commit_transaction(10)


def test_deleted_records_are_gone_and_a_position_below_the_start_is_an_error(
    bootstrap_servers: str, topic_prefix: str
) -> None:
    """DeleteRecords moves the start of the log, and a reader of `auto.offset.reset=error` is told, not moved."""
    topic = make_topic(bootstrap_servers, f"{topic_prefix}log")
    producer = Producer({"bootstrap.servers": bootstrap_servers})
    for value in (b"0", b"1", b"2"):
        producer.produce(topic, value)
    producer.flush(10)
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    for done in admin.delete_records([TopicPartition(topic, 0, 2)]).values():
        assert done.result(10).low_watermark == 2
    with pytest.raises(KafkaException) as raised:
        read(bootstrap_servers, topic)
    refused(raised.value, "_AUTO_OFFSET_RESET")
