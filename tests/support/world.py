"""A whole installation for one test: topics, registry, provider, and `processor run` processes that may be killed."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from processor.adapters.embedded_registry import registry_in_thread
from tests.support.events import decoded, encoded, register
from tests.support.onboarding import Request, catalogue
from tests.support.provider import KEY, SECRET, Provider
from tests.support.reading import Follower, Record
from tests.support.root import ROOT
from tests.support.topics import delete_topics, topics_named
from tests.support.waiting import wait_until
from tests.support.worker import Worker, watchdog

PARTITIONS = 6
# Everything waits seconds at most.
SHORT_TIMES = {
    "PROCESSOR_API__CALL_DEADLINE_S": "2",
    "PROCESSOR_API__RUN_DEADLINE_S": "3",
    "PROCESSOR_API__CONNECT_TIMEOUT_S": "0.5",
    "PROCESSOR_ENGINE__SEND_WINDOW_S": "2",
    "PROCESSOR_ENGINE__SETTLE_MARGIN_S": "1",
    "PROCESSOR_ENGINE__DRAIN_S_MAX": "8",
    "PROCESSOR_ENGINE__WEBHOOK_GRACE_S": "1",
    "PROCESSOR_KAFKA__MAX_POLL_INTERVAL_MS": "30000",
}


class World:
    """One installation; made by `world`."""

    def __init__(self, bootstrap_servers: str, registry_url: str, directory: Path, group: int) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.directory = directory
        self.application_id = f"w{uuid4().hex[:10]}"
        self.environ: dict[str, str] = {}
        self.workers: list[Worker] = []
        self.provider: Provider
        self._registry_url = registry_url
        self._group = group
        self._producer = _producer(bootstrap_servers)
        self._home = bootstrap_servers
        self._elsewhere: dict[str, list[Record]] = {}

    def topic(self, name: str) -> str:
        """Return the full name of one of our topics: `requests`, `results`, `launches`, …."""
        return f"{self.application_id}.{name}"

    def worker(self, *roles: str) -> Worker:
        """Make one more worker with these roles (none: all), not started yet; webhooks go round all of them."""
        number = len(self.workers) + 1
        state = {"PROCESSOR_STATE__DIRECTORY": str(self.directory / f"state-{number}")}
        command = (sys.executable, "-m", "processor", "run", *roles)
        worker = Worker(command, {**self.environ, **state}, self.directory / f"worker-{number}.log", self._group)
        self.workers.append(worker)
        self.provider.send_webhooks_to(*(each.webhook_port for each in self.workers))
        return worker

    def started(self, *roles: str, timeout_s: float = 30) -> Worker:
        """Make a worker, start it and wait until it works."""
        worker = self.worker(*roles)
        worker.start()
        self.wait_until(worker.is_ready, f"{worker.log_file.name} ready", timeout_s)
        return worker

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the processor in this installation and return how it ended."""
        command = (sys.executable, "-m", "processor", *arguments)
        return subprocess.run(
            command, cwd=ROOT, env=self.environ, capture_output=True, text=True, timeout=60, check=False
        )

    def write_catalogue(self, text: str) -> None:
        """Put another catalogue in place; workers read it when they start."""
        (self.directory / "workflows.yaml").write_text(text, encoding="utf-8")

    def publish(self, *requests: Request, is_flushed: bool = True) -> None:
        """Publish requests in this order and wait until the broker has them, unless told not to."""
        for request in requests:
            value = encoded("OnboardingRequested", request.record, self._schema_id)
            self.publish_bytes(request.key, value, is_flushed=False)
        if is_flushed:
            self.flush()

    def publish_to(self, topic: str, request: Request) -> None:
        """Publish a request on another topic than the installation began with, and wait until the broker has it."""
        value = encoded("OnboardingRequested", request.record, self._schema_id)
        self._producer.produce(topic, value, None if request.key is None else request.key.encode())
        self.flush()

    def publish_bytes(self, key: str | None, value: bytes | None, *, is_flushed: bool = True) -> None:
        """Publish any bytes, or none, as a request."""
        self._producer.produce(self.topic("requests"), value, None if key is None else key.encode())
        self._producer.poll(0)
        if is_flushed:
            self.flush()

    def flush(self) -> None:
        """Wait until the broker has everything that was published."""
        assert self._producer.flush(20) == 0, "the broker did not take the requests"

    @cached_property
    def _schema_id(self) -> int:
        return register(self._registry_url, self.topic("requests"), "OnboardingRequested")

    @cached_property
    def _followers(self) -> dict[str, Follower]:
        return {}

    def records(self, name: str) -> list[Record]:
        """Return all committed records of a topic; only what is new is read."""
        follower = self._followers.get(name)
        if follower is None:
            follower = self._followers[name] = Follower(self.bootstrap_servers, self.topic(name))
        return self._elsewhere.get(name, []) + follower.read_to_end()

    def move_to(self, bootstrap_servers: str) -> None:
        """Go on at another cluster; what was published at the first one still counts."""
        self._elsewhere = {name: self.records(name) for name in ("results", "links", "progress", "dead-letters")}
        for follower in self._followers.values():
            follower.close()
        self._followers.clear()
        self._producer = _producer(bootstrap_servers)
        self.bootstrap_servers = bootstrap_servers

    def results(self, request_id: str | None = None) -> list[dict[str, Any]]:
        """Return the results there are, of one request or of all, each partition in its order."""
        found = [decoded("OnboardingFinished", record.value or b"") for record in self.records("results")]
        return [result for result in found if request_id in {None, result["requestId"]}]

    def links(self, request_id: str) -> list[dict[str, Any]]:
        """Return the links and tokens that were issued for a request, in order."""
        found = [decoded("OnboardingLinkIssued", record.value or b"") for record in self.records("links")]
        return [issued for issued in found if issued["requestId"] == request_id]

    def link(self, request_id: str, attempt: int = 1, timeout_s: float = 20) -> dict[str, Any]:
        """Wait for the link or token of a number and return it."""
        return self._the_one(lambda: self.links(request_id), "attempt", attempt, timeout_s)

    def steps(self, request_id: str) -> list[str]:
        """Return the steps that a request has reached."""
        found = [decoded("OnboardingProgressed", record.value or b"") for record in self.records("progress")]
        return [progress["step"] for progress in found if progress["requestId"] == request_id]

    def result(self, request_id: str, revision: int = 1, timeout_s: float = 20) -> dict[str, Any]:
        """Wait for a result and return it."""
        return self._the_one(lambda: self.results(request_id), "revision", revision, timeout_s)

    def _the_one(
        self, read: Callable[[], list[dict[str, Any]]], field: str, value: object, timeout_s: float
    ) -> dict[str, Any]:
        """Wait for the event with this value in a field; raises ValueError when there are several."""

        def found() -> list[dict[str, Any]]:
            return [event for event in read() if event[field] == value]

        self.wait_until(lambda: bool(found()), f"an event with {field} {value}", timeout_s)
        (event,) = found()
        return event

    def wait_until(self, is_so: Callable[[], bool], what: str, timeout_s: float = 20) -> None:
        """Wait until something is so; raises AssertionError that says what was not, and what a worker logged last."""
        wait_until(is_so, what, self.workers, timeout_s=timeout_s)

    def close(self) -> None:
        """Kill what still runs and delete the topics."""
        for worker in self.workers:
            worker.kill()
        for follower in self._followers.values():
            follower.close()
        there = {self.topic(name) for name in TOPICS}.intersection(topics_named(self._home, ""))
        delete_topics(self._home, there)


def _producer(bootstrap_servers: str) -> Producer:
    return Producer(
        {"bootstrap.servers": bootstrap_servers, "partitioner": "murmur2_random", "acks": "all", "linger.ms": 2}
    )


COMPACTED = {
    "cleanup.policy": "compact",
    "segment.ms": "3600000",
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": "21600000",
    "delete.retention.ms": "604800000",
}
FOR_EVER = {"cleanup.policy": "delete", "retention.ms": "-1"}
TOPICS: Mapping[str, Mapping[str, str]] = {
    "requests": {},
    "results": {},
    "links": {},
    "progress": {},
    "dead-letters": {},
    "launches": FOR_EVER,
    "workflows": FOR_EVER,
    "preparation-state": COMPACTED,
    "launch-state": COMPACTED,
    "completion-state": COMPACTED,
    "control": COMPACTED,
}


@contextmanager
def world(
    bootstrap_servers: str,
    directory: Path,
    *,
    workflows: str | None = None,
    simulator: Mapping[str, object] | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[World]:
    """Make an installation with an application id of its own; nothing of it outlives the block or this process.

    `simulator` holds fields of the simulated provider, `settings` environment variables of the processor.
    """
    with ExitStack() as stack:
        group = stack.enter_context(watchdog())
        registry_url = stack.enter_context(registry_in_thread())
        made = World(bootstrap_servers, registry_url, directory, group)
        made.provider = Provider(directory, group, **{"webhook_retry_s": 1, **(simulator or {})})
        stack.callback(made.provider.close)
        made.environ = _environ(made, registry_url, dict(settings or {}))
        made.write_catalogue(workflows or catalogue())
        _create_topics(made)
        for name, record in (("results", "Finished"), ("progress", "Progressed"), ("links", "LinkIssued")):
            register(registry_url, made.topic(name), f"Onboarding{record}")
        stack.callback(made.close)
        yield made


def _create_topics(made: World) -> None:
    admin = AdminClient({"bootstrap.servers": made.bootstrap_servers})
    wanted = [NewTopic(made.topic(name), PARTITIONS, 1, config=dict(config)) for name, config in TOPICS.items()]
    for created in admin.create_topics(wanted).values():
        created.result(20)


def _environ(made: World, registry_url: str, settings: dict[str, str]) -> dict[str, str]:
    """Return a whole environment: that of this process without settings of ours, and what the installation needs."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PROCESSOR_")}
    public = ("requests", "results", "links", "progress", "dead-letters")
    # With the other protocol this belongs to the broker.
    is_classic = settings.get("PROCESSOR_KAFKA__GROUP_PROTOCOL", "classic") == "classic"
    session = {"PROCESSOR_KAFKA__SESSION_TIMEOUT_MS": "6000"} if is_classic else {}
    topics = {f"PROCESSOR_TOPICS__{name.replace('-', '_').upper()}": made.topic(name) for name in public}
    return (
        inherited
        | SHORT_TIMES
        | topics
        | session
        | {
            "PROCESSOR_APPLICATION_ID": made.application_id,
            "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": made.bootstrap_servers,
            "PROCESSOR_SCHEMA_REGISTRY__URL": registry_url,
            "PROCESSOR_API__BASE_URL": made.provider.url,
            "PROCESSOR_API__KEY": KEY,
            "PROCESSOR_API__SECRET": SECRET,
            "PROCESSOR_WORKFLOWS__FILE": str(made.directory / "workflows.yaml"),
            "PROCESSOR_WEBHOOK__HOST": "127.0.0.1",
            "PROCESSOR_OPS__HOST": "127.0.0.1",
            "PROCESSOR_TOPICS__PARTITIONS": str(PARTITIONS),
            "PROCESSOR_TOPICS__REPLICATION_FACTOR": "1",
            "PROCESSOR_TOPICS__MIN_INSYNC_REPLICAS": "1",
        }
        | settings
    )
