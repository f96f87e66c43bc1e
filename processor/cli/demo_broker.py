"""The broker of a demo: one that lives in this process, or a real cluster with topics of the demo's own."""

from collections.abc import Sequence
from contextlib import suppress
from typing import TypeAlias

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from processor.adapters.topic_specs import TopicSpec
from processor.adapters.topics import TopicAdmin
from processor.errors import BrokerUnavailable
from processor.kafka_config import CLIENT_LOGGER, client_config
from processor.settings import DECIDERS, Settings

ANSWER_S = 10.0
REPLICAS_MAX = 3


class EmbeddedBroker:
    """librdkafka's mock cluster, on a port of this machine for as long as this object lives.

    It forgets committed offsets of transactions and shows aborted records, so it serves a demo and proves nothing.
    """

    def __init__(self) -> None:
        # The mock cluster's own address takes the place of the one given here.
        config = {"bootstrap.servers": "embedded", "test.mock.num.brokers": 1, "logger": CLIENT_LOGGER}
        self._holder = Producer(config)
        (broker,) = self._holder.list_topics(timeout=ANSWER_S).brokers.values()
        self.bootstrap_servers = f"{broker.host}:{broker.port}"

    def replicas(self) -> int:
        """Return how many replicas topics can have."""
        return 1

    def create(self, specs: Sequence[TopicSpec]) -> None:
        """Let the topics appear: asking for one makes it, with 4 partitions."""
        for spec in specs:
            self._holder.list_topics(spec.name, timeout=ANSWER_S)

    def remove(self, specs: Sequence[TopicSpec]) -> None:
        """Do nothing: the topics go with the broker."""


class Cluster:
    """A real cluster, as these settings reach it; only what belongs to their application id is touched."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin = TopicAdmin(client_config(settings, "demo"), settings.kafka.operation_timeout_s)

    def replicas(self) -> int:
        """Return how many replicas topics can have, up to the usual three; raises BrokerUnavailable."""
        brokers, _ = self._admin.held((), {})
        return min(REPLICAS_MAX, max(1, brokers))

    def create(self, specs: Sequence[TopicSpec]) -> None:
        """Create the topics; raises TopicRefused or BrokerUnavailable."""
        self._admin.create(specs, {})

    def remove(self, specs: Sequence[TopicSpec]) -> None:
        """Delete the topics and the groups; raises BrokerUnavailable when a topic stays."""
        admin = AdminClient(client_config(self._settings, "demo"))
        topics = admin.delete_topics([spec.name for spec in specs], operation_timeout=ANSWER_S)
        groups = admin.delete_consumer_groups([self._settings.group_id(decider) for decider in DECIDERS])
        for answer in groups.values():
            with suppress(KafkaException, TimeoutError):  # A group without offsets may be gone already.
                answer.result(ANSWER_S)
        for name, answer in topics.items():
            try:
                answer.result(ANSWER_S)
            except (KafkaException, TimeoutError) as error:
                raise BrokerUnavailable(f"the demo's topic {name} could not be deleted; delete it by hand") from error


Broker: TypeAlias = EmbeddedBroker | Cluster
