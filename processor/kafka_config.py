"""Configurations of Kafka clients: what the promises need, then what the operator passes through.

Reasons for each choice stand in docs/kafka-rules.md. The operator's properties come last and win over speed
settings; those that a promise rests on are refused when settings are loaded.
"""

import logging
from typing import Any, TypeAlias

from processor.settings import Settings

Config: TypeAlias = dict[str, Any]

# librdkafka's own log lines; telemetry sends this logger the way of all others.
CLIENT_LOGGER = logging.getLogger("processor.kafka")

RECONNECT_MS = 20  # Every client waits half of it, between its bootstrap connection and that to the broker itself.
FETCH_WAIT_MAX_MS = 50  # An idle fetch is answered so late: the longest wait of a resumed or newly read partition.
QUEUED_KBYTES = 8192
SESSION_MS = 45_000  # librdkafka's default.
HEARTBEAT_MS_MAX = 1_000
HEARTBEATS_A_SESSION = 3
LINGER_MS = 2  # A commit flushes at once; between commits this gathers the records of one burst.


def client_config(settings: Settings, client: str) -> Config:
    """Return what every client needs to reach the cluster; enough for an admin client."""
    kafka = settings.kafka
    config: Config = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "client.id": f"{settings.application_id}.{client}",
        "logger": CLIENT_LOGGER,
        "reconnect.backoff.ms": RECONNECT_MS,
    }
    if kafka.sasl_username is not None:
        config["sasl.username"] = kafka.sasl_username
    if kafka.sasl_password is not None:
        config["sasl.password"] = kafka.sasl_password.get_secret_value()
    return config | dict(kafka.properties)


def reader_config(settings: Settings, client: str, *, decider: str | None = None) -> Config:
    """Return a consumer's configuration that reads assigned partitions outside any group, committed records only.

    librdkafka wants a group id of every consumer and looks its coordinator up, for which the broker wants a right;
    nothing is ever joined or committed under it. That of a `decider` saves whoever is that a right on another group.
    """
    return {
        **client_config(settings, client),
        "group.id": settings.group_id(decider or client),
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "check.crcs": True,
        "fetch.wait.max.ms": FETCH_WAIT_MAX_MS,
        "queued.max.messages.kbytes": QUEUED_KBYTES,
        **settings.kafka.properties,
    }


def consumer_config(settings: Settings, decider: str) -> Config:
    """Return the configuration of a decider's group consumer.

    With group protocol consumer the session time-out and the assignor belong to the broker, so they are left out.
    """
    kafka = settings.kafka
    config = reader_config(settings, decider) | {
        "group.id": settings.group_id(decider),
        "group.protocol": kafka.group_protocol,
        "max.poll.interval.ms": kafka.max_poll_interval_ms,
    }
    if kafka.group_protocol == "classic":
        config["partition.assignment.strategy"] = "cooperative-sticky"
        if kafka.session_timeout_ms is not None:
            config["session.timeout.ms"] = kafka.session_timeout_ms
        config.setdefault("heartbeat.interval.ms", heartbeat_ms(kafka.session_timeout_ms or SESSION_MS))
    return config


def heartbeat_ms(session_timeout_ms: int) -> int:
    """Return how often a classic member is heard: two may get lost before it counts as dead.

    It hears of a rebalance as often only, and partitions that move stand still until everybody has heard. With
    librdkafka's 3 s a rollout makes each of them wait for seconds.
    """
    return max(1, min(HEARTBEAT_MS_MAX, session_timeout_ms // HEARTBEATS_A_SESSION))


def transactional_id(settings: Settings, decider: str, start_id: str) -> str:
    """Return a decider's transactional id: by instance name where there is one, else fresh with each start."""
    return f"{settings.application_id}.{decider}.{settings.kafka.instance_name or start_id}"


def producer_config(settings: Settings, decider: str, start_id: str) -> Config:
    """Return the configuration of a decider's transactional producer; `start_id` is made anew at each start.

    The short back-off matters: with the default of 100 ms each transaction waits so long for its predecessor's
    markers.
    """
    return _producing(settings, decider) | {
        "transactional.id": transactional_id(settings, decider, start_id),
        "transaction.timeout.ms": settings.kafka.transaction_timeout_ms,
        "retry.backoff.ms": 2,
        "retry.backoff.max.ms": 10,
        **settings.kafka.properties,
    }


def plain_producer_config(settings: Settings, client: str, *, delivery_timeout_ms: int) -> Config:
    """Return the configuration of an idempotent producer outside transactions, which gives up after the time-out."""
    return _producing(settings, client) | {
        "linger.ms": 0,
        "delivery.timeout.ms": delivery_timeout_ms,
        **settings.kafka.properties,
    }


def _producing(settings: Settings, client: str) -> Config:
    return {
        **client_config(settings, client),
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "linger.ms": LINGER_MS,
        "message.max.bytes": settings.topics.record_bytes_max,
    }
