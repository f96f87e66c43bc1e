"""Whoever leaves a group says so, whatever it owns: else the next rebalance waits until its session is over."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from confluent_kafka.admin import AdminClient

from processor.adapters.kafka import KafkaLog
from processor.settings import Settings
from tests.support.member import installation, member, until

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


def joined(settings: Settings, number: int) -> tuple[KafkaLog, Told]:
    """Let a member join, which happens when it is polled."""
    log, told = member(settings, number), Told()
    log.join(told)
    return log, told


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
@pytest.mark.parametrize("leaver", ["owns all", "owns nothing"])
def test_a_member_that_leaves_is_waited_for_by_nobody(
    bootstrap_servers: str, topic_prefix: str, protocol: str, leaver: str
) -> None:
    """One of two members has the only partition; whichever leaves, the group knows at once."""
    settings = installation(bootstrap_servers, topic_prefix, protocol, partitions=1)
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    group = settings.group_id("preparation")

    def members() -> int:
        return len(admin.describe_consumer_groups([group])[group].result(10).members)

    first, first_told = joined(settings, 1)
    until(lambda: any(first_told.assigned), first)
    second, second_told = joined(settings, 2)
    until(lambda: members() == 2 and (protocol == "consumer" or bool(second_told.assigned)), first, second)
    leaving, staying = (first, second) if leaver == "owns all" else (second, first)
    leaving.close()
    until(lambda: members() == 1, staying)
    if leaving is first:
        until(lambda: any(second_told.assigned), staying)
    staying.close()
