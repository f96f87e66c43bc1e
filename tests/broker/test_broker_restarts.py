"""A broker that restarts while transactions are under way writes the end of each of them.

4.3.1 and 4.4.0 do not (KAFKA-20734): run this first against another version; docs/kafka-rules.md, fact 14.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from confluent_kafka import KafkaException, Producer

from processor.adapters.transactions import release
from tests.support.forgetful_broker import ForgetfulBroker
from tests.support.topics import make_topic
from tests.support.waiting import wait_until

pytestmark = pytest.mark.broker

# With so many, 4.3.1 and 4.4.0 forgot something in four runs of five.
PARTITIONS, WRITERS, RESTARTS, BETWEEN = 6, 6, 6, 12
ANSWER_S = 3


def commit_until(is_over: threading.Event, servers: str, topic: str, name: str, committed: list[str]) -> None:
    """Write to all partitions in one transaction after the other, with a new producer after each failure."""
    quick = {"retry.backoff.ms": 2, "retry.backoff.max.ms": 10, "reconnect.backoff.max.ms": 200, "log_level": 0}
    while not is_over.wait(0.1):
        producer = Producer({"bootstrap.servers": servers, "transactional.id": f"{topic}.{name}", **quick})
        with suppress(KafkaException):
            producer.init_transactions(ANSWER_S)
            while not is_over.is_set():
                producer.begin_transaction()
                for partition in range(PARTITIONS):
                    producer.produce(topic, b"value", partition=partition)
                producer.commit_transaction(ANSWER_S)
                committed.append(name)
        release(producer)


@contextmanager
def writing(servers: str, topic: str) -> Iterator[list[str]]:
    """Give a list that grows with each transaction that somebody commits while the block runs."""
    is_over, committed = threading.Event(), list[str]()
    threads = [
        threading.Thread(target=commit_until, args=(is_over, servers, topic, f"writer-{number}", committed))
        for number in range(WRITERS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield committed
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def test_a_restart_forgets_no_end_of_a_transaction(forgetful: ForgetfulBroker, topic_prefix: str) -> None:
    """Nobody tells this broker to; what it passes over stands in its log."""
    servers = forgetful.running.bootstrap_servers
    topic = make_topic(servers, f"{topic_prefix}ends", PARTITIONS)
    with writing(servers, topic) as committed:
        for _ in range(RESTARTS):
            forgetful.running.stop()
            forgetful.running.start()
            wanted = len(committed) + BETWEEN
            wait_until(lambda: len(committed) >= wanted, "transactions", timeout_s=60)  # noqa: B023  # called at once
    assert forgetful.forgot(topic) == 0
