"""Whatever dies in between, every request ends in exactly one result and is run at most once.

Three times `processor run` with all roles, one after the other killed with SIGKILL at random moments, while the
provider loses and doubles webhooks, drops answers of runs that it executed, and crashes itself now and then.
"""

import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.storm.plan import Event, Kill, Outage, Publish, PublishRubbish, Shape, plan
from tests.support.auditor import Report, audit
from tests.support.evidence import gather
from tests.support.onboarding import catalogue, milliseconds
from tests.support.provider import Provider
from tests.support.worker import Worker
from tests.support.world import World, world

pytestmark = [pytest.mark.broker, pytest.mark.storm, pytest.mark.timeout(400)]

SEED = int(os.environ.get("STORM_SEED", "20261"))  # Another one draws another storm.
DEADLINE_S = 35  # Of each request; one whose run stays unknown ends then.
QUIET_S = 5.0  # Amendments follow their cause sooner.
FAULTS = {
    "latency_ms": "5..60",
    "completion_ms": "200..3000",
    "complete_at_once_rate": 0.1,
    "failed_rate": 0.1,
    "webhook_lost_rate": 0.1,
    "webhook_doubled_rate": 0.1,
    "run_silent_rate": 0.01,
    "run_hung_up_rate": 0.01,
    "run_5xx_executed_rate": 0.003,
    "run_5xx_unexecuted_rate": 0.003,
    "error_5xx_rate": 0.03,
    "throttled_rate": 0.01,
}


@dataclass(slots=True)
class Storm:
    """One storm over one installation; `crashes` are processors that ended by themselves."""

    world: World
    workers: list[Worker]
    began_s: float = field(default_factory=time.monotonic)
    kills: int = 0
    restarts: list[tuple[float, Worker | Provider]] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)

    def rage(self, events: list[Event]) -> None:
        """Do everything that is planned, each at its time, then let all workers live."""
        for event in events:
            self._wait_until(event.at_s)
            self._do(event)
        self.world.flush()
        while self.restarts:
            self._wait_until(self.now_s + 0.05)

    def wait_for_results(self, request_ids: set[str], timeout_s: float) -> float:
        """Wait until each request has a result, then until no more come; return how long it took, in seconds."""
        began_s = changed_s = self.now_s
        count, missing = 0, request_ids
        while missing or self.now_s - changed_s < QUIET_S:
            if self.now_s - began_s > timeout_s:
                break  # The auditor says what is missing.
            self._wait_until(self.now_s + 0.5)
            results = self.world.results()
            missing = request_ids - {result["requestId"] for result in results}
            if len(results) != count:
                count, changed_s = len(results), self.now_s
        return self.now_s - began_s

    @property
    def now_s(self) -> float:
        """Seconds since the storm began."""
        return time.monotonic() - self.began_s

    def _do(self, event: Event) -> None:
        match event:
            case Publish(request=request):
                deadline_at = milliseconds() + DEADLINE_S * 1000
                self.world.publish(replace(request, deadline_at=deadline_at), is_flushed=False)
            case PublishRubbish(key=key, value=value):
                self.world.publish_bytes(key, value, is_flushed=False)
            case Kill(worker=number, pause_s=pause_s):
                worker = self.workers[number]
                if worker.is_running():
                    worker.kill()
                    self.kills += 1
                    self.restarts.append((self.now_s + pause_s, worker))
            case Outage(for_s=for_s):
                self.world.provider.crash()
                self.restarts.append((self.now_s + for_s, self.world.provider))

    def _wait_until(self, at_s: float) -> None:
        """Wait for a moment of the storm; meanwhile start again whoever was killed, when it is time."""
        while True:
            for due in [each for each in self.restarts if each[0] <= self.now_s]:
                self.restarts.remove(due)
                due[1].start()
            for worker in self.workers:
                code = worker.exit_code()
                if code is not None:
                    self.crashes.append(f"{worker.log_file.name} ended with {code}:\n{worker.log_tail(2_000)}")
                    worker.kill()
                    worker.start()
            if self.now_s >= at_s:
                return
            time.sleep(min(0.05, max(0.0, at_s - self.now_s)))


@pytest.mark.parametrize("protocol,seed", [("classic", SEED), ("consumer", SEED + 1)])
def test_every_request_ends_once_whatever_is_killed(
    bootstrap_servers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], protocol: str, seed: int
) -> None:
    """No request is lost, none has two results, none is run twice, and no result says what did not happen."""
    shape = Shape()
    events = plan(shape, seed)
    settings = {"PROCESSOR_KAFKA__GROUP_PROTOCOL": protocol}
    if protocol == "classic":
        # A rebalance waits so long for the dead; with more, none would ever end between two kills.
        settings["PROCESSOR_KAFKA__SESSION_TIMEOUT_MS"] = "3000"
    simulator = {"seed": seed, "silence_s": 30, "webhook_retry_s": 2, **FAULTS}
    workflows = catalogue(deadline=f"{DEADLINE_S}s", window="5s", poll_first="1s", poll_max="5s")
    made = world(bootstrap_servers, tmp_path, workflows=workflows, simulator=simulator, settings=settings)
    with made as installation:
        workers = [installation.worker() for _ in range(shape.workers)]
        for worker in workers:
            worker.start()
        for worker in workers:
            installation.wait_until(worker.is_ready, f"{worker.log_file.name} ready", 40)
        storm = Storm(installation, workers)
        storm.rage(events)
        raged_s = storm.now_s
        waited_s = storm.wait_for_results({e.request.request_id for e in events if isinstance(e, Publish)}, 150)
        codes = [worker.terminate() for worker in workers]
        evidence = gather(bootstrap_servers, installation.application_id, installation.provider.ledger_file)
        report = audit(evidence)
        with capsys.disabled():
            _show(f"{protocol}, seed {seed}: {storm.kills} kills, {raged_s:.0f} s, then {waited_s:.0f} s", report)
    assert report.violations == ()
    assert (storm.kills >= 30, report.requests) == (True, shape.requests)
    assert storm.crashes == []
    assert codes == [0, 0, 0]


def _show(title: str, report: Report) -> None:
    print(f"\n{title}\n{report}")  # noqa: T201  # what a storm has shown is for people, also when it was good
