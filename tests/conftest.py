"""Fixtures for the tests that need real servers; nothing here starts before a test asks for it."""

import os
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.support.broker import RunningBroker
from tests.support.forgetful_broker import ForgetfulBroker
from tests.support.servers import (
    a_docker_engine_answers,
    broker_from_container,
    broker_from_jars,
    forgetful_broker_from_jars,
    registry_from_jars,
)
from tests.support.topics import delete_topics, topics_named


@pytest.fixture(scope="module")
def broker() -> Iterator[RunningBroker]:
    """Give a broker of this module's own that a test may stop, kill or suspend, and must leave running.

    Nobody else's work is disturbed, and one that holds little is soon back: it reads all of its logs after a kill.
    """
    with broker_from_jars() as running:
        yield running


@pytest.fixture(scope="module")
def forgetful() -> Iterator[ForgetfulBroker]:
    """Give a broker of our own that forgets markers of transactions when it is told to."""
    with forgetful_broker_from_jars() as running:
        yield running


@pytest.fixture(scope="session")
def bootstrap_servers() -> Iterator[str]:
    """Give the address of a real broker: KAFKA_BOOTSTRAP_SERVERS, else a container, else the jars."""
    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if given:
        yield given
    elif a_docker_engine_answers():
        with broker_from_container() as address:
            yield address
    else:
        with broker_from_jars() as running:
            yield running.bootstrap_servers


@pytest.fixture(scope="session")
def registry_url() -> Iterator[str]:
    """Give the URL of a real schema registry: SCHEMA_REGISTRY_URL, else the jars."""
    given = os.environ.get("SCHEMA_REGISTRY_URL")
    if given:
        yield given
    else:
        with registry_from_jars() as url:
            yield url


@pytest.fixture
def topic_prefix(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give a word that no other test uses, to begin the names of topics, groups, subjects and transactions with.

    The topics that begin with it are deleted after the test: a broker with thousands of partitions is slow.
    """
    word = f"t{uuid4().hex[:10]}"
    if "bootstrap_servers" not in request.fixturenames:
        yield f"{word}."
        return
    address = request.getfixturevalue("bootstrap_servers")
    yield f"{word}."
    delete_topics(address, topics_named(address, word))
