"""Whoever leaves a group says so, whatever it owns: else the next rebalance waits until its session is over."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from processor.adapters.kafka import KafkaConfig, KafkaLog
from processor.kafka_config import client_config, consumer_config, plain_producer_config, producer_config, reader_config
from processor.settings import Settings

pytestmark = [pytest.mark.broker, pytest.mark.slow]


@dataclass
class Told:
    """What a member was told of its partitions."""

    assigned: list[Sequence[int]] = field(default_factory=list)

    def on_assigned(self, partitions: Sequence[int]) -> None:
        """Note it."""
        self.assigned.append(partitions)

    def on_revoked(self, partitions: Sequence[int]) -> None:
        """Nothing is open."""

    def on_lost(self, partitions: Sequence[int]) -> None:
        """Nothing is open."""


def member(settings: Settings, number: int) -> tuple[KafkaLog, Told]:
    """Make a member of the group of preparation, which joins when it is polled."""
    topics, told = settings.topics, Told()
    log = KafkaLog(
        KafkaConfig(
            input_topic=topics.requests,
            state_topic=topics.preparation_state,
            consumer=consumer_config(settings, "preparation"),
            producer=producer_config(settings, "preparation", str(number)),
            reader=reader_config(settings, "preparation.restore"),
            evidence=plain_producer_config(settings, "evidence", delivery_timeout_ms=5_000),
            admin=client_config(settings, "admin"),
        )
    )
    log.join(told)
    return log, told


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
@pytest.mark.parametrize("leaver", ["owns all", "owns nothing"])
def test_a_member_that_leaves_is_waited_for_by_nobody(
    bootstrap_servers: str, topic_prefix: str, protocol: str, leaver: str
) -> None:
    """One of two members has the only partition; whichever leaves, the group knows at once."""
    topic = f"{topic_prefix}requests"
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(20)
    settings = Settings.model_validate(
        {
            "application_id": topic_prefix.rstrip("."),
            "kafka": {"bootstrap_servers": bootstrap_servers, "group_protocol": protocol},
            "topics": {"requests": topic},
        }
    )
    group = settings.group_id("preparation")

    def members() -> int:
        return len(admin.describe_consumer_groups([group])[group].result(10).members)

    first, first_told = member(settings, 1)
    until(lambda: any(first_told.assigned), first)
    second, second_told = member(settings, 2)
    until(lambda: members() == 2 and (protocol == "consumer" or bool(second_told.assigned)), first, second)
    leaving, staying = (first, second) if leaver == "owns all" else (second, first)
    leaving.close()
    until(lambda: members() == 1, staying)
    if leaving is first:
        until(lambda: any(second_told.assigned), staying)
    staying.close()


def until(is_so: Callable[[], bool], *logs: KafkaLog) -> None:
    """Poll these members until something is so; a session lasts far longer."""
    give_up_at = monotonic() + 20
    while not is_so():
        assert monotonic() < give_up_at, "not within 20 s"
        for log in logs:
            log.poll(0.05, 100)
