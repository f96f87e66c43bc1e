"""What a member learns of its topics before it works on them, on a real broker."""

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic

from processor.adapters.kafka import KafkaLog
from processor.engine.ports import Outcome, OutputRecord, Position
from processor.errors import BrokerUnavailable
from tests.support.member import Owner, installation, member, until

pytestmark = [pytest.mark.broker]


def known(log: KafkaLog) -> str:
    """Return the id of the state topic, or nothing while there is none."""
    try:
        return log.state_id()
    except BrokerUnavailable:
        return ""


def test_a_state_topic_that_was_made_anew_is_another_one(bootstrap_servers: str, topic_prefix: str) -> None:
    """A copy of the former one must not be taken for a copy of it."""
    settings = installation(bootstrap_servers, topic_prefix, "classic", partitions=1)
    admin, topic = AdminClient({"bootstrap.servers": bootstrap_servers}), settings.topics.preparation_state
    log = member(settings, 1)
    assert not known(log)
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(20)
    until(lambda: bool(known(log)))
    first = log.state_id()
    assert log.state_id() == first
    admin.delete_topics([topic])[topic].result(20)
    until(lambda: not known(log))
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(20)
    until(lambda: bool(known(log)))
    assert log.state_id() != first
    log.close()


def test_a_group_remembers_for_how_many_partitions_it_committed(bootstrap_servers: str, topic_prefix: str) -> None:
    """Whoever comes when partitions were added learns it, whichever partition it is given."""
    settings = installation(bootstrap_servers, topic_prefix, "classic", partitions=2)
    topic, owner, log = settings.topics.requests, Owner(), member(settings, 1)
    assert log.partitions_before() is None
    log.join(owner)
    until(lambda: owner.owned == {0, 1}, log)
    record = OutputRecord(topic, b"key", b"value", partition=0)
    assert log.transact([record], {0: Position(0, "token")}, log.membership())[0] is Outcome.COMMITTED
    log.close()
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    admin.create_partitions([NewPartitions(topic, 4)])[topic].result(20)
    successor = member(settings, 2)
    until(lambda: len(admin.list_topics(topic, timeout=10).topics[topic].partitions) == 4)
    assert (successor.partitions(), successor.partitions_before()) == (4, 2)
    successor.close()
