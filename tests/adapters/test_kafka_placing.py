"""Where a member begins to read a partition, on a real broker."""

from time import monotonic

import pytest
from confluent_kafka import Producer

from processor.adapters.kafka import KafkaLog
from processor.engine.ports import InputRecord
from tests.support.member import Owner, installation, member, until

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
