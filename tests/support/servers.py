"""Which real servers a test run uses: those given by URL, a container, or the jars."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import docker  # type: ignore[import-untyped]  # comes with testcontainers, without types
import pytest
from docker.errors import DockerException  # type: ignore[import-untyped]  # as above
from testcontainers.community.kafka import KafkaContainer

from tests.support.broker import BROKER_TIMEOUTS, RunningBroker, start_broker
from tests.support.forgetful_broker import ForgetfulBroker
from tests.support.java import ServerFailed, ServerMissing
from tests.support.registry import start_registry

KAFKA_IMAGE = "confluentinc/cp-kafka:8.1.0"  # Apache Kafka 4.1


@contextmanager
def broker_from_jars() -> Iterator[RunningBroker]:
    """Run a broker from the jars; skip the test, or fail it in CI, where that is impossible."""
    with tempfile.TemporaryDirectory(prefix="kafka-") as directory:
        try:
            broker = start_broker(Path(directory))
        except (ServerMissing, ServerFailed) as missing:
            cannot_run(str(missing))
        yield broker
        broker.stop()


@contextmanager
def forgetful_broker_from_jars() -> Iterator[ForgetfulBroker]:
    """Run a broker that can be told to forget; skip the test, or fail it in CI, where that is impossible."""
    with tempfile.TemporaryDirectory(prefix="kafka-") as directory:
        try:
            broker = ForgetfulBroker(Path(directory))
            broker.running.start()
        except (ServerMissing, ServerFailed) as missing:
            cannot_run(str(missing))
        yield broker
        broker.running.stop()


@contextmanager
def broker_from_container() -> Iterator[str]:
    """Run a broker in a container and yield its address."""
    container = KafkaContainer(KAFKA_IMAGE).with_kraft()
    for name, value in BROKER_TIMEOUTS.items():
        container.with_env("KAFKA_" + name.replace(".", "_").upper(), value)
    container.with_env("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1")
    container.with_env("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1")
    container.with_env("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false")
    container.start(timeout=120)
    try:
        yield container.get_bootstrap_server()
    finally:
        container.stop()


@contextmanager
def registry_from_jars() -> Iterator[str]:
    """Run a registry from the jars and yield its URL; skip the test, or fail it in CI, where that is impossible."""
    with tempfile.TemporaryDirectory(prefix="registry-") as directory:
        try:
            registry = start_registry(Path(directory))
        except (ServerMissing, ServerFailed) as missing:
            cannot_run(str(missing))
        yield registry.url
        registry.stop()


def a_docker_engine_answers() -> bool:
    """Say whether containers can be started here."""
    try:
        client = docker.from_env(timeout=3)
        try:
            return bool(client.ping())
        finally:
            client.close()
    except (DockerException, OSError):
        return False


def cannot_run(why: str) -> NoReturn:
    """Skip the test and say why, except in CI: there an untested promise is a failure."""
    if os.environ.get("CI"):
        pytest.fail(why, pytrace=False)
    pytest.skip(why)
