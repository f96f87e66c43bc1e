"""A member of the group of preparation without its engine, for what only librdkafka and a broker can show."""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from processor.adapters.kafka import KafkaConfig, KafkaLog
from processor.kafka_config import client_config, consumer_config, plain_producer_config, producer_config, reader_config
from processor.settings import Settings
from tests.support.topics import make_topic


class Owner:
    """Notes what it owns."""

    def __init__(self) -> None:
        self.owned: set[int] = set()

    def on_assigned(self, partitions: Sequence[int]) -> None:
        """Own them."""
        self.owned |= {*partitions}

    def on_revoked(self, partitions: Sequence[int]) -> None:
        """Own them no more."""
        self.owned -= {*partitions}

    def on_lost(self, partitions: Sequence[int]) -> None:
        """Own them no more."""
        self.owned -= {*partitions}


def installation(bootstrap_servers: str, topic_prefix: str, protocol: str, *, partitions: int) -> Settings:
    """Create the topic of requests and return the settings of who reads it."""
    topic = make_topic(bootstrap_servers, f"{topic_prefix}requests", partitions)
    return Settings.model_validate(
        {
            "application_id": topic_prefix.rstrip("."),
            "kafka": {"bootstrap_servers": bootstrap_servers, "group_protocol": protocol},
            "topics": {"requests": topic},
        }
    )


def member(settings: Settings, number: int, **consumer: Any) -> KafkaLog:  # noqa: ANN401  # librdkafka's settings
    """Make a member, which is to join; `consumer` are more settings of its consumer, `_` for each dot."""
    more = {name.replace("_", "."): value for name, value in consumer.items()}
    return KafkaLog(
        KafkaConfig(
            input_topic=settings.topics.requests,
            state_topic=settings.topics.preparation_state,
            consumer={**consumer_config(settings, "preparation"), **more},
            producer=producer_config(settings, "preparation", str(number)),
            reader=reader_config(settings, "preparation.restore"),
            evidence=plain_producer_config(settings, "evidence", delivery_timeout_ms=5_000),
            admin=client_config(settings, "admin"),
        )
    )


def until(is_so: Callable[[], bool], *logs: KafkaLog) -> None:
    """Poll these members until something is so; a session lasts far longer."""
    give_up_at = monotonic() + 20
    while not is_so():
        assert monotonic() < give_up_at, "not within 20 s"
        for log in logs:
            log.poll(0.05, 100)
