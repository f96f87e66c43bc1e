"""What Prometheus scrapes of an installation feeds every rule and panel of the chart, and a dead letter alarms."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.chart.metric_catalogue import selectors
from tests.chart.test_dashboards import FILES, expressions
from tests.chart.test_rules import RULES
from tests.scenarios.conftest import Stage
from tests.support.onboarding import Request
from tests.support.ports import free_port
from tests.support.servers import cannot_run

pytestmark = [pytest.mark.broker, pytest.mark.slow]

# What need not have happened: it has no series until it does.
EVENTS = frozenset(
    {
        "onboarding_adopted_runs_total",
        "onboarding_amendments_total",
        "onboarding_drain_seconds_bucket",
        "onboarding_evidence_records_total",
        "onboarding_held_runs_total",
        "onboarding_input_purges_total",
        "onboarding_links_total",
        "onboarding_parked_keys_total",
        "onboarding_redelivered_records_total",
        "onboarding_settings_renewals_total",
        "onboarding_unknown_commit_partitions_total",
        "onboarding_unlisted_statuses_total",
        "onboarding_watchdog_restarts_total",
    }
)
SAMPLES = {"$__rate_interval": "1m", "$__range": "1m"}


class Prometheus:
    """A real Prometheus that scrapes one worker each second, with the rules of the chart."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def answers(self) -> bool:
        """Say whether it serves."""
        try:
            return httpx.get(f"{self._url}/-/ready", timeout=2).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def rules(self) -> list[dict[str, Any]]:
        """Return every rule with its health, and alerts with their state."""
        groups = httpx.get(f"{self._url}/api/v1/rules", timeout=10).json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def has(self, expr: str) -> bool:
        """Say whether an expression shows anything now."""
        answer = httpx.get(f"{self._url}/api/v1/query", params={"query": expr}, timeout=10).json()
        assert answer["status"] == "success", answer
        return bool(answer["data"]["result"])

    def is_firing(self, alert: str) -> bool:
        """Say whether an alert fires."""
        return any(rule["name"] == alert and rule["state"] == "firing" for rule in self.rules())


@contextmanager
def prometheus(folder: Path, target: int) -> Iterator[Prometheus]:
    """Run one, its data in a folder; skips where it is missing."""
    command = shutil.which("prometheus") or cannot_run("prometheus is missing: apt-get install prometheus")
    port = free_port()
    scraped = {"targets": [f"127.0.0.1:{target}"], "labels": {"namespace": "identity", "pod": "worker"}}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "onboarding", "static_configs": [scraped]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")
    options = {"config.file": folder / "prometheus.yml", "storage.tsdb.path": folder / "data"}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([command, *arguments, f"--web.listen-address=127.0.0.1:{port}"], stderr=log)
        try:
            yield Prometheus(port)
        finally:
            process.terminate()
            process.wait(10)


def filled(expr: str) -> str:
    """Return an expression of a panel with everything chosen."""
    for name, text in SAMPLES.items():
        expr = expr.replace(name, text)
    return re.sub(r"\$\w+", ".*", expr)


def expected() -> Sequence[str]:
    """Return the expressions of the panels that something must have happened for."""
    exprs = [expr for path in FILES for expr, _ in expressions(path)]
    return [filled(expr) for expr in exprs if not {name for name, _ in selectors(expr)} & EVENTS]


def test_what_is_scraped_feeds_every_rule_and_every_panel(stage: Stage, request_id: str, tmp_path: Path) -> None:
    """Rules and dashboards name what the program really says, with the labels that it really has."""
    world = stage.world
    with prometheus(tmp_path, stage.worker.ops_port) as real:
        world.wait_until(real.answers, "Prometheus ready")
        world.publish(*(Request(f"{request_id}-{number}", f"k-{request_id}-{number}") for number in range(5)))
        world.publish_bytes(request_id, b"no event")
        forged = httpx.post(f"http://127.0.0.1:{stage.worker.webhook_port}/webhooks", content=b"{}", timeout=10)
        assert forged.status_code == httpx.codes.UNAUTHORIZED
        world.wait_until(lambda: real.is_firing("OnboardingDeadLetters"), "the alert on dead letters", 30)
        world.result(f"{request_id}-4")
        world.publish(*(Request(f"{request_id}-{number}", f"k-{request_id}-{number}") for number in range(5, 10)))
        recorded = [rule["name"] for rule in real.rules() if rule["type"] == "recording"]
        assert recorded
        for expr in (*recorded, *expected()):
            world.wait_until(lambda expr=expr: real.has(expr), expr, 30)  # type: ignore[misc]
        broken: list[Mapping[str, Any]] = [rule for rule in real.rules() if rule["health"] != "ok"]
        assert broken == []
