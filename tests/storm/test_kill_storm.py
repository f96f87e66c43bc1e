"""Whatever dies in between, every request ends in exactly one result, and nothing is run or mailed twice.

Three times `processor run` with all roles, one after the other killed with SIGKILL at random moments, while two
workspaces of the provider lose and double webhooks, drop answers of starts that they executed, and crash themselves
now and then; end users come, come late, or never.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.storm.kinds import KINDS, POOLS, definition_of, storm_catalogue, terms
from tests.storm.plan import Event, Kill, Outage, Publish, PublishRubbish, Shape, plan, scaled
from tests.storm.users import Users
from tests.support.auditor import Report, audit
from tests.support.evidence import gather
from tests.support.onboarding import milliseconds
from tests.support.provider import Provider
from tests.support.reading import Follower
from tests.support.worker import Worker, watchdog
from tests.support.world import World, world

SCALE = float(os.environ.get("STORM_SCALE", "1"))  # 4 rages four times as long.
SEED = int(os.environ.get("STORM_SEED", "20261"))  # Another one draws another storm.
pytestmark = [pytest.mark.broker, pytest.mark.storm, pytest.mark.timeout(400 + 100 * SCALE)]

SECOND_TOKEN = "tot_of-the-second-workspace"  # of a simulator
QUIET_S = 8.0  # Amendments follow their cause sooner: a walk, for example, some seconds before.
CLOCK_MARGIN_S = 1  # All on one machine; a run is repeated so much later, and a deadline is near.
SETTLE_MARGIN_S = 1
FAULTS = {
    "latency_ms": "5..60",
    "completion_ms": "200..3000",
    "complete_at_once_rate": 0.1,
    "failed_rate": 0.1,
    "webhook_lost_rate": 0.1,
    "webhook_doubled_rate": 0.1,
    "awaiting_rate": 0.2,
    "status_update_rate": 0.05,
    "user_absent_rate": 1,  # They come as `users.py` says.
    "run_silent_rate": 0.01,
    "run_hung_up_rate": 0.01,
    "run_5xx_executed_rate": 0.003,
    "run_5xx_unexecuted_rate": 0.003,
    "error_5xx_rate": 0.03,
    "throttled_rate": 0.01,
}
# Worse still: here runs are repeated, and that takes one of which nothing is ever heard.
SECOND_FAULTS = {
    "run_silent_rate": 0.03,
    "run_hung_up_rate": 0.03,
    "run_5xx_unexecuted_rate": 0.04,
    "webhook_lost_rate": 0.3,
}
SIMULATOR: Mapping[str, object] = {
    "silence_s": 30,
    "webhook_retry_s": 2,
    "definitions": [definition_of(name) for name in KINDS],
    "user_definitions": [definition_of(name) for name, kind in KINDS.items() if kind.terms.has_user],
    **FAULTS,
}


@dataclass(slots=True)
class Storm:
    """One storm over one installation; `crashes` are processors that ended by themselves."""

    world: World
    second: Provider
    workers: list[Worker]
    users: Users
    records: Mapping[tuple[str, int], str]  # Ids of those that requests share.
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
        while missing or self.now_s - changed_s < QUIET_S or self.users.are_coming:
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
            case Publish(request=request, deadline_s=deadline_s, record=record):
                due = replace(request, deadline_at=milliseconds() + int(deadline_s * 1000))
                if record is not None:
                    due = replace(due, more={**due.more, "recordId": self.records[record]})
                self.world.publish(due, is_flushed=False)
            case PublishRubbish(key=key, value=value):
                self.world.publish_bytes(key, value, is_flushed=False)
            case Kill(worker=number, pause_s=pause_s):
                worker = self.workers[number]
                if worker.is_running():
                    worker.kill()
                    self.kills += 1
                    self.restarts.append((self.now_s + pause_s, worker))
            case Outage(for_s=for_s, provider=name):
                provider = self.second if name == "second" else self.world.provider
                provider.crash()
                self.restarts.append((self.now_s + for_s, provider))

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
            self.users.live(self.now_s)
            if self.now_s >= at_s:
                return
            time.sleep(min(0.05, max(0.0, at_s - self.now_s)))


@pytest.mark.parametrize("protocol,seed", [("classic", SEED), ("consumer", SEED + 1)])
def test_every_request_ends_once_whatever_is_killed(
    bootstrap_servers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], protocol: str, seed: int
) -> None:
    """No request is lost, none has two results, none is run or mailed twice, and no result says what did not happen."""
    shape = scaled(Shape(), SCALE)
    events = plan(shape, seed)
    with storm(bootstrap_servers, tmp_path, protocol, seed, shape.workers) as raging:
        raging.rage(events)
        raged_s = raging.now_s
        waited_s = raging.wait_for_results({e.request.request_id for e in events if isinstance(e, Publish)}, 150)
        codes = [worker.terminate() for worker in raging.workers]
        made = raging.world
        ledgers = {"default": made.provider.ledger_file, "second": raging.second.ledger_file}
        evidence = gather(bootstrap_servers, made.application_id, ledgers, terms(), SETTLE_MARGIN_S * 1000)
        report = audit(evidence)
        with capsys.disabled():
            _show(f"{protocol}, seed {seed}: {raging.kills} kills, {raged_s:.0f} s, then {waited_s:.0f} s", report)
    assert report.violations == ()
    assert (raging.kills >= shape.kills * 0.9, report.requests) == (True, shape.requests)
    ends = {"COMPLETED", "FAILED", "amended"}
    assert [name for name, outcomes in report.workflows.items() if not ends & set(outcomes)] == []
    assert raging.crashes == []
    assert codes == [0, 0, 0]


@contextmanager
def storm(bootstrap_servers: str, directory: Path, protocol: str, seed: int, workers_count: int) -> Iterator[Storm]:
    """Make an installation for a storm, with both workspaces and the records that requests share, and wait for it."""
    second_directory = directory / "second"
    second_directory.mkdir()
    with watchdog() as group:
        other = {"organisation_tokens": [SECOND_TOKEN], **SECOND_FAULTS}
        # A seed of its own: two workspaces never make the same id.
        second = Provider(second_directory, group, **{"seed": seed + 1_000_000, **SIMULATOR, **other})
        try:
            simulator = {"seed": seed, **SIMULATOR}
            settings = _settings(second.url, protocol)
            with world(
                bootstrap_servers, directory, workflows=storm_catalogue(), simulator=simulator, settings=settings
            ) as made:
                workers, records = _workers(made, second, workers_count), _records(made.provider)
                with Follower(bootstrap_servers, made.topic("links")) as links:
                    users = Users(links, {"default": made.provider, "second": second}, seed)
                    yield Storm(made, second, workers, users, records)
        finally:
            second.close()


def _settings(second_url: str, protocol: str) -> dict[str, str]:
    settings = {
        "PROCESSOR_KAFKA__GROUP_PROTOCOL": protocol,
        "PROCESSOR_ENGINE__CLOCK_MARGIN_S": str(CLOCK_MARGIN_S),
        "PROCESSOR_ENGINE__SETTLE_MARGIN_S": str(SETTLE_MARGIN_S),
        "PROCESSOR_ENGINE__MARK_INTERVAL_S": "0.5",
        "PROCESSOR_PROVIDERS__SECOND__BASE_URL": second_url,
        "PROCESSOR_PROVIDERS__SECOND__TOKEN": SECOND_TOKEN,
        "PROCESSOR_PROVIDERS__SECOND__CALL_DEADLINE_S": "2",
        "PROCESSOR_PROVIDERS__SECOND__RUN_DEADLINE_S": "3",
        "PROCESSOR_PROVIDERS__SECOND__CONNECT_TIMEOUT_S": "0.5",
    }
    if protocol == "classic":
        # A rebalance waits so long for the dead; with more, none would ever end between two kills.
        settings["PROCESSOR_KAFKA__SESSION_TIMEOUT_MS"] = "3000"
    return settings


def _workers(made: World, second: Provider, count: int) -> list[Worker]:
    workers = [made.worker() for _ in range(count)]
    second.send_webhooks_to_url(*(f"http://127.0.0.1:{each.webhook_port}/webhooks/second" for each in workers))
    for worker in workers:
        worker.start()
    for worker in workers:
        made.wait_until(worker.is_ready, f"{worker.log_file.name} ready", 40)
    return workers


def _records(provider: Provider) -> dict[tuple[str, int], str]:
    """Make the records that requests share, as another service would."""
    with provider.faults(error_5xx_rate=0, throttled_rate=0, latency_ms=0):
        return {
            (pool, number): provider.create_record(pool=pool) for pool, size in POOLS.items() for number in range(size)
        }


def _show(title: str, report: Report) -> None:
    print(f"\n{title}\n{report}")  # noqa: T201  # what a storm has shown is for people, also when it was good
