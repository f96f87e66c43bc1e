"""The real servers of the tests can go away and come back, and never outlive the run."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.support.broker import RunningBroker
from tests.support.root import ROOT
from tests.support.topics import make_topic


def topics(broker: RunningBroker) -> set[str]:
    """Return the names of all topics, asked for anew."""
    return set(
        AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0}).list_topics(timeout=5).topics
    )


@pytest.mark.broker
@pytest.mark.parametrize("end", [RunningBroker.stop, RunningBroker.kill])
def test_a_broker_comes_back_with_its_address_and_data(
    broker: RunningBroker, topic_prefix: str, end: Callable[[RunningBroker], None]
) -> None:
    """After an outage clients find the same topics at the same place."""
    topic = make_topic(broker.bootstrap_servers, f"{topic_prefix}kept")
    end(broker)
    broker.start()
    assert topic in topics(broker)


@pytest.mark.broker
def test_a_suspended_broker_is_silent_until_it_is_resumed(broker: RunningBroker) -> None:
    """A black hole: connected, but nothing is answered."""
    broker.suspend()
    try:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
        with pytest.raises(KafkaException):
            admin.list_topics(timeout=0.5)
    finally:
        broker.resume()
    assert topics(broker) is not None


def children_of(pid: int) -> set[int]:
    """Return the process ids of the children of a process."""
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def is_alive(pid: int) -> bool:
    """Say whether a process runs; one that only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.broker
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
@pytest.mark.usefixtures("broker")
def test_a_broker_dies_with_the_run_that_started_it(tmp_path: Path) -> None:
    """Even a killed run leaves no JVM behind."""
    command = [sys.executable, "-m", "tests.support.broker", "--directory", str(tmp_path)]
    run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert run.stdout is not None
    address = run.stdout.readline().decode()
    started = children_of(run.pid)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    run.stdout.close()
    deadline = time.monotonic() + 10
    while any(map(is_alive, started)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert address.startswith("127.0.0.1:")
    assert started
    assert not any(map(is_alive, started))


@pytest.mark.registry
def test_the_registry_answers_like_confluents(registry_url: str) -> None:
    """The URL is the root of the routes that the Confluent client uses."""
    with urllib.request.urlopen(f"{registry_url}/subjects", timeout=5) as answer:
        assert answer.status == 200
