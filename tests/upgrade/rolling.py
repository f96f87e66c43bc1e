"""A deployment of several instances under load, which are replaced one after the other by another build."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.auditor import Report, audit
from tests.support.evidence import gather
from tests.support.onboarding import Request, catalogue, milliseconds
from tests.support.worker import Worker, watchdog
from tests.support.world import World, world
from tests.upgrade.builds import Build
from tests.upgrade.pauses import Pause, Window, pauses_of

INSTANCES = 3
KEYS = 200
READY_S = 60
RESULTS_S = 90
SIMULATOR: Mapping[str, object] = {
    "latency_ms": "20..200",
    "completion_ms": "500..3000",
    "webhook_lost_rate": 0.05,
    "webhook_doubled_rate": 0.05,
}
# A machine that is busy with many processes must not look like a provider that does not answer.
PATIENCE = {
    "PROCESSOR_API__CALL_DEADLINE_S": "10",
    "PROCESSOR_API__RUN_DEADLINE_S": "12",
    "PROCESSOR_API__CONNECT_TIMEOUT_S": "3",
    "PROCESSOR_ENGINE__DRAIN_S_MAX": "20",
    "PROCESSOR_KAFKA__MAX_POLL_INTERVAL_MS": "60000",
}


@dataclass
class Deployment:
    """Made by `deployment`; `windows` are the replacements so far."""

    world: World
    group: int
    rate: float  # Requests a second.
    instances: list[Worker] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    request_ids: list[str] = field(default_factory=list)
    starts: int = 0

    def start(self, build: Build) -> Worker:
        """Start one more instance, with a local state of its own that is empty."""
        self.starts += 1
        name = f"{self.starts:02}-{build.name}"
        environ = {
            **self.world.environ,
            **build.environ,
            "PROCESSOR_STATE__DIRECTORY": str(self.world.directory / f"state-{name}"),
        }
        log_file = self.world.directory / f"instance-{name}.log"
        worker = Worker(build.command, environ, log_file, self.group)
        self.instances.append(worker)
        worker.start()
        return worker

    def await_ready(self) -> None:
        """Wait until every instance works, and let webhooks go to all of them."""
        for worker in self.instances:
            self.world.wait_until(worker.is_ready, f"{worker.log_file.name} ready", READY_S)
        self._send_webhooks()

    def replace_all(self, build: Build, settle_s: float = 0) -> list[int]:
        """Stop each instance in order and start one of this build in its place; return how they ended.

        Each must have been ready for `settle_s` before the next one goes, as Kubernetes' minReadySeconds says.
        """
        return [self._replace(worker, build, settle_s) for worker in tuple(self.instances)]

    def _replace(self, worker: Worker, build: Build, settle_s: float) -> int:
        began_at = milliseconds()
        self.instances.remove(worker)
        self._send_webhooks()  # As a Service does, which sends nothing more to a pod that is told to stop.
        code = worker.terminate(READY_S)
        self.start(build)
        self.await_ready()
        time.sleep(settle_s)
        self.windows.append(Window(f"{worker.log_file.stem} by {build.name}", began_at, milliseconds()))
        return code

    def _send_webhooks(self) -> None:
        self.world.provider.send_webhooks_to(*(worker.webhook_port for worker in self.instances))

    @contextmanager
    def load(self) -> Iterator[None]:
        """Publish requests at a steady rate while the block runs."""
        is_over = threading.Event()
        thread = threading.Thread(target=self._publish, args=(is_over,), name="load")
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
            self.world.flush()

    def _publish(self, is_over: threading.Event) -> None:
        began_s = time.monotonic()
        for number in range(10**9):
            if is_over.wait(max(0.0, began_s + number / self.rate - time.monotonic())):
                return
            request_id = f"r-{number:06}"
            self.request_ids.append(request_id)
            self.world.publish(Request(request_id, f"customer-{number % KEYS}"), is_flushed=False)

    def await_results(self) -> None:
        """Wait until every request has a result; the auditor says what is missing when one does not come."""
        wanted = set(self.request_ids)
        with suppress(AssertionError):
            self.world.wait_until(
                lambda: wanted <= {result["requestId"] for result in self.world.results()}, "all results", RESULTS_S
            )

    def report(self) -> Report:
        """Let the auditor judge everything."""
        ledgers = {"default": self.world.provider.ledger_file}
        return audit(gather(self.world.bootstrap_servers, self.world.application_id, ledgers))

    def pauses(self) -> Sequence[Pause]:
        """Return the pause of each partition in each replacement."""
        return pauses_of(self.world.bootstrap_servers, self.world.application_id, self.windows)

    def close(self) -> None:
        """Kill what still runs."""
        for worker in self.instances:
            worker.kill()


@contextmanager
def deployment(
    bootstrap_servers: str, directory: Path, build: Build, *, rate: float, settings: Mapping[str, str] | None = None
) -> Iterator[Deployment]:
    """Make an installation, start all instances of one build and wait until they work."""
    workflows = catalogue(deadline="60s", window="5s", poll_first="3s", poll_max="5s")
    every = PATIENCE | dict(settings or {})
    with (
        watchdog() as group,
        world(bootstrap_servers, directory, workflows=workflows, simulator=SIMULATOR, settings=every) as made,
    ):
        running = Deployment(made, group, rate)
        try:
            for _ in range(INSTANCES):
                running.start(build)
            running.await_ready()
            yield running
        finally:
            running.close()
