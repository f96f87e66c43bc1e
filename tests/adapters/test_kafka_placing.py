"""Where a member begins to read a partition, on a real broker."""

from contextlib import suppress
from time import monotonic

import pytest
from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from processor.adapters.kafka import KafkaLog
from processor.engine.ports import InputRecord
from tests.support.broker import RunningBroker
from tests.support.member import Owner, installation, member, until
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.broker]

RECORDS = 60


def joined(log: KafkaLog) -> Owner:
    """Let a member join."""
    owner = Owner()
    log.join(owner)
    return owner


def test_what_lies_before_the_end_is_read_however_soon_a_partition_is_placed(
    bootstrap_servers: str, topic_prefix: str
) -> None:
    """The broker answers this member late, and each fetch brings one record: none may be missing."""
    settings = installation(bootstrap_servers, topic_prefix, "classic", partitions=2)
    late = {"fetch_wait_max_ms": 1_000, "max_partition_fetch_bytes": 400}
    staying, leaving = member(settings, 1, **late), member(settings, 2)
    owner = joined(staying)
    until(lambda: owner.owned == {0, 1}, staying)
    for each in owner.owned:
        staying.read_from(each, 0)
    other = joined(leaving)
    until(lambda: bool(other.owned), staying, leaving)
    (number,) = other.owned
    producer = Producer({"bootstrap.servers": bootstrap_servers})
    for content in range(RECORDS):
        producer.produce(settings.topics.requests, f"{content}".rjust(300), partition=number)
        assert producer.flush(10) == 0, "the broker takes each record in a batch of its own"
    leaving.close()
    until(lambda: owner.owned == {0, 1}, staying)
    staying.read_from(number, 0)
    read: list[int] = []
    give_up_at = monotonic() + 30
    while not read or read[-1] < RECORDS - 1:
        assert monotonic() < give_up_at, f"read {len(read)}, the last one {read[-1:]}"
        read.extend(item.offset for item in staying.poll(0.05, 100) if isinstance(item, InputRecord))
    assert read == [*range(RECORDS)]
    staying.close()


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_partition_whose_end_nobody_says_is_placed_all_the_same(
    broker: RunningBroker, topic_prefix: str, protocol: str
) -> None:
    """It holds up no other one, and no process ends for it; back again it is read from where it is placed."""
    settings = installation(broker.bootstrap_servers, topic_prefix, protocol, partitions=1)
    topic, group = settings.topics.requests, settings.group_id("preparation")
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    for _ in range(RECORDS):
        producer.produce(topic, "v", partition=0)
    assert producer.flush(10) == 0
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    for deleted in admin.delete_records([TopicPartition(topic, 0, 10)]).values():
        deleted.result(10)

    def is_assigned() -> bool:
        with suppress(KafkaException):  # The group is on its way to its coordinator.
            members = admin.describe_consumer_groups([group])[group].result(10).members
            return any(each.assignment.topic_partitions for each in members)
        return False

    log = member(settings, 1)
    owner = joined(log)
    for _ in range(2):  # What the broker answered in between has left it.
        wait_until(is_assigned, "the broker to assign the partition")
    broker.suspend()
    until(lambda: owner.owned == {0}, log)
    broker.resume()
    log.read_from(0, 20)
    read: list[int] = []
    give_up_at = monotonic() + 30
    while RECORDS - 1 not in read:
        assert monotonic() < give_up_at, f"read {len(read)}, the last one {read[-1:]}"
        read.extend(item.offset for item in log.poll(0.05, 100) if isinstance(item, InputRecord))
    assert read == [*range(20, RECORDS)]
    log.close()
