"""A deployment with work in every state, to be moved, and what must be true of it afterwards, wherever it goes on."""

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # exported, but not said so

from processor.adapters.group_offsets import GroupOffsets
from tests.support.onboarding import Request
from tests.support.operations import catalogue, operations, subject
from tests.support.provider import Provider
from tests.support.root import ROOT
from tests.support.topics import delete_topics, topics_named
from tests.support.worker import Worker
from tests.support.world import World

INTERNAL = ("launches", "workflows", "preparation-state", "launch-state", "completion-state", "control")
BINARY_KEY = "binary\0key"  # Its lane is known by a hash.


@dataclass(slots=True)
class Moving:
    """An installation that is stopped, moved, and goes on under another application id."""

    world: World
    requests: list[Request] = field(default_factory=list)

    @property
    def provider(self) -> Provider:
        """The provider."""
        return self.world.provider

    def ask(self, workflow: str, request_id: str, key: str | None = None, **more: Any) -> str:  # noqa: ANN401
        """Publish a request of a whole person; `more` are members of its event."""
        person = {"subject": subject(f"S-{key or request_id}")}
        request = Request(request_id, key or request_id, workflow, attributes={"orderId": "O"}, more=person | more)
        self.requests.append(request)
        self.world.publish(request)
        return request_id

    def fill(self) -> None:
        """Bring requests into every state, and stop in the middle of it."""
        world, provider = self.world, self.provider
        worker = self.start()
        for number in range(4):
            self.ask("v2-run", f"done-{number}")
        self.ask("v2-run", "done-binary", BINARY_KEY)
        for request_id in [request.request_id for request in self.requests]:
            world.result(request_id)
        record_id = provider.create_record(ref="held")
        with provider.faults(run_hung_up_rate=1, webhook_lost_rate=1):
            self.ask("v2-shared", "held", recordId=record_id)
            world.wait_until(lambda: "HELD" in world.steps("held"), "the request held")
        with provider.faults(user_absent_rate=1):
            self.ask("v2-link", "linked")
            world.link("linked")
        for workflow in ("v2-bare", "v2-reuse"):
            assert world.command("pause", workflow).returncode == 0
        self.ask("v2-bare", "ready")
        for number in range(3):
            self.ask("v2-reuse", f"lane-{number}", "lane")
        world.wait_until(lambda: "ACCEPTED" in world.steps("lane-2"), "the lane in hand")
        with provider.faults(completion_ms=8_000):
            for number in range(3):
                self.ask("v2-run", f"running-{number}")
            world.wait_until(lambda: all("STARTED" in world.steps(f"running-{n}") for n in range(3)), "three runs")
        with provider.faults(run_hung_up_rate=1, webhook_lost_rate=1):
            self.ask("v2-rerun", "rerun")
            world.wait_until(lambda: bool(provider.runs_with("rerun")), "a run without an answer")
            worker.kill()
        for number in range(4):
            self.ask("v2-run", f"unread-{number}")
        done = world.command("held", "resolve", "held", "--not-executed", "--yes", "--wait", "0.2")
        assert done.returncode == 3, done.stderr
        world.wait_until(self.is_stopped, "the groups empty", 30)

    def is_stopped(self) -> bool:
        """Whether no group of the application id has members."""
        admin = AdminClient({"bootstrap.servers": self.world.bootstrap_servers})
        groups = [f"{self.application_id}.{decider}" for decider in ("preparation", "launch", "completion")]
        found = admin.describe_consumer_groups(groups)
        return not any(found[group].result(10).members for group in groups)

    def has_read_requests(self) -> bool:
        """Whether all that was published is decided by preparation."""
        admin = AdminClient({"bootstrap.servers": self.world.bootstrap_servers})
        topic, group = self.world.environ["PROCESSOR_TOPICS__REQUESTS"], f"{self.application_id}.preparation"
        numbers = admin.list_topics(topic, timeout=10).topics[topic].partitions
        parts = [TopicPartition(topic, number) for number in numbers]
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        ends = {part.partition: end for part, end in admin.list_offsets(dict.fromkeys(parts, latest)).items()}
        offsets = GroupOffsets({"bootstrap.servers": self.world.bootstrap_servers}, group, 10)
        committed = offsets.of(topic, numbers)
        offsets.close()
        return all(max(0, part.offset) >= ends[part.partition].result(10).offset for part in committed)

    @property
    def application_id(self) -> str:
        """The id that the deployment has now."""
        return self.world.environ["PROCESSOR_APPLICATION_ID"]

    def go_to_cluster(self, bootstrap_servers: str) -> None:
        """Let everything happen at another cluster from now on, which has no topics yet."""
        self.world.move_to(bootstrap_servers)
        self.world.environ["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"] = bootstrap_servers

    def go_on_as(self, application_id: str, **topics: str) -> None:
        """Let what is started from now on have another application id, and read from other topics."""
        self.world.environ["PROCESSOR_APPLICATION_ID"] = application_id
        for name, topic in topics.items():
            self.world.environ[f"PROCESSOR_TOPICS__{name.upper()}"] = topic

    def start(self) -> Worker:
        """Start a worker under the present application id and wait until nothing but pauses holds it back."""
        worker = self.world.worker()
        worker.start()
        self.world.wait_until(lambda: _is_working(worker), "the worker at work", 60)
        return worker

    def refuses_to_start(self, application_id: str, why: str) -> None:
        """Assert that an instance of this id takes nothing in, and says why in its log; its groups are empty then."""
        now = self.application_id
        self.go_on_as(application_id)
        worker = self.world.worker()
        worker.start()
        self.world.wait_until(lambda: worker.log_tail(100_000).count(why) >= 3, f"partitions that say: {why}", 30)
        assert not worker.is_ready()
        [reason] = [reason for reason in worker.readiness()["reasons"] if "partitions are stopped" in reason]
        assert why in reason
        worker.kill()
        self.world.workers.remove(worker)
        self.world.wait_until(self.is_stopped, "the groups empty", 30)
        self.go_on_as(now)
        self.provider.send_webhooks_to(*(each.webhook_port for each in self.world.workers))

    def finish(self) -> None:
        """Let everything come to its end, publish all of it once more, and assert that each came to one end."""
        world, provider = self.world, self.provider
        paused = world.command("pause", "--list", "--json")
        assert all(name in paused.stdout for name in ("v2-bare", "v2-reuse")), paused.stdout
        for workflow in ("v2-bare", "v2-reuse"):
            assert world.command("resume", workflow).returncode == 0
        provider.walk(link=world.link("linked")["link"])
        results = {request.request_id: world.result(request.request_id, timeout_s=60) for request in self.requests}
        assert {name: result["outcome"] for name, result in results.items() if result["outcome"] != "COMPLETED"} == {}
        self.publish_again()
        late = self.ask_now("v2-run", "late")
        world.result(late)
        world.wait_until(self.has_read_requests, "all requests read")
        self.assert_once()

    def ask_now(self, workflow: str, request_id: str) -> str:
        """Publish one more request to where requests are read from now."""
        request = Request(request_id, request_id, workflow, more={"subject": subject("S-late")})
        self.requests.append(request)
        self._publish(request)
        return request_id

    def publish_again(self) -> None:
        """Publish every request once more, as it was, to where requests are read from now."""
        for request in self.requests:
            self._publish(request)

    def _publish(self, request: Request) -> None:
        topic = self.world.environ["PROCESSOR_TOPICS__REQUESTS"]
        self.world.publish_to(topic, request)

    def assert_once(self) -> None:
        """Assert that each request has one result, each of another workflow, and no more were run than may be."""
        results = self.world.results()
        assert Counter(result["requestId"] for result in results) == {each.request_id: 1 for each in self.requests}
        ours = {result["workflowId"] for result in results}
        runs = Counter(run["workflowId"] for run in self.provider.runs())
        assert len(ours) == len(results)
        assert {each.request_id: self.world.steps(each.request_id).count("ACCEPTED") for each in self.requests} == {
            each.request_id: 1 for each in self.requests
        }
        assert runs == dict.fromkeys(runs, 1)
        # A person said that the held one did not run; the other one runs again by the catalogue.
        others = {run["workflowId"] for name in ("held", "rerun") for run in self.provider.runs_with(name)[:1]}
        assert set(runs) - ours == others
        assert {result["requestId"] for result in results if result["isRerun"]} == {"rerun"}
        assert self.world.records("dead-letters") == []


def _is_working(worker: Worker) -> bool:
    worker.assert_alive()
    try:
        answer = httpx.get(f"http://127.0.0.1:{worker.ops_port}/readyz", timeout=2).json()
    except httpx.HTTPError:
        return False
    return all("pause: operator" in reason for reason in answer.get("reasons", ()))


@contextmanager
def moving(bootstrap_servers: str, directory: Path) -> Iterator[Moving]:
    """Give a deployment with work in every state, stopped."""
    with operations(bootstrap_servers, directory) as (world, _):
        world.write_catalogue(catalogue().replace("deadline: 60s", "deadline: 20m"))
        made = Moving(world)
        yield made
        for worker in world.workers:
            worker.kill()
        delete_topics(bootstrap_servers, topics_named(bootstrap_servers, f"{world.application_id}-"))


def run_until(world: World, marker: str, *arguments: str) -> bool:
    """Run a command of the processor and kill it when it says something; False when it ended before."""
    command = (sys.executable, "-m", "processor", *arguments)
    process = subprocess.Popen(command, cwd=ROOT, env=world.environ, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None, "its messages are read over a pipe"
    with process.stderr:
        for line in process.stderr:
            if marker in line:
                process.send_signal(signal.SIGKILL)
                process.wait()
                return True
    process.wait()
    return False
