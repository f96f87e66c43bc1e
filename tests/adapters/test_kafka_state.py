"""What a member knows of its state topic, on a real broker."""

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from processor.adapters.kafka import KafkaLog
from processor.errors import BrokerUnavailable
from tests.support.member import installation, member, until

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
