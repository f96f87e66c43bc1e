"""Where topics end, asked of a real broker."""

import pytest
from confluent_kafka import Producer

from processor.adapters.topic_ends import TopicEnds
from processor.errors import BrokerUnavailable
from tests.support.topics import make_topic
from tests.support.waiting import wait_until

pytestmark = pytest.mark.broker


def test_an_end_is_where_readers_of_committed_records_stop(bootstrap_servers: str) -> None:
    """What an open transaction wrote does not count yet; once it is committed, it and its marker do."""
    topic = make_topic(bootstrap_servers, "ends", partitions=2)
    ends = TopicEnds({"bootstrap.servers": bootstrap_servers}, request_s=10)
    producer = Producer({"bootstrap.servers": bootstrap_servers, "transactional.id": "ends"})
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce(topic, b"value", partition=0)
    producer.flush(10)
    assert ends.of([(topic, 0), (topic, 1)]) == {(topic, 0): 0, (topic, 1): 0}
    producer.commit_transaction(10)
    # The marker comes a moment after the commit was answered.
    wait_until(lambda: ends.of([(topic, 0)]) != {(topic, 0): 0}, "the transaction at its end")
    assert ends.of([(topic, 0), (topic, 1)]) == {(topic, 0): 2, (topic, 1): 0}
    assert ends.of([]) == {}
    gone = [(topic, 2), (f"{topic}-of-nobody", 0)]
    assert ends.of([(topic, 1), *gone]) == {(topic, 1): 0}


def test_a_broker_that_does_not_answer_is_no_end() -> None:
    """It is told within the time given, and asked anew the next time."""
    ends = TopicEnds({"bootstrap.servers": "127.0.0.1:1"}, request_s=0.2)
    for _ in range(2):
        with pytest.raises(BrokerUnavailable):
            ends.of([("launches", 0)])
