"""An outage of the provider spends no attempts; a kill in its middle leaves nothing unknown but what was sent."""

import json
import time
from pathlib import Path

import pytest

from tests.support.onboarding import Request, catalogue
from tests.support.worker import Worker
from tests.support.world import world

pytestmark = pytest.mark.broker

REQUESTS = 80
OUTAGE_S = 3.0


def test_what_was_never_sent_is_sent_when_the_provider_is_back(bootstrap_servers: str, tmp_path: Path) -> None:
    """What was open when the provider went away may be unknown; all else runs later, at most one attempt spent."""
    settings = {"PROCESSOR_API__CALLS_IN_FLIGHT_MAX": "10"}
    workflows = catalogue(deadline="20s")
    with world(
        bootstrap_servers, tmp_path, workflows=workflows, simulator={"latency_ms": 150}, settings=settings
    ) as made:
        worker = made.started()
        made.publish(*(Request(f"r-{number}", f"k-{number}") for number in range(REQUESTS)))
        made.wait_until(lambda: len(made.provider.runs()) >= 10, "the first runs")
        made.provider.crash()
        made.wait_until(lambda: is_told(worker), "an outage that is told, and takes nothing out of service")
        time.sleep(OUTAGE_S)
        worker.kill()
        cut = sent_and_cut(worker)
        made.provider.start()
        worker.start()
        made.wait_until(lambda: len(made.results()) >= REQUESTS, "a result for each", 60)
        results = {result["requestId"]: result for result in made.results() if result["revision"] == 1}
    assert {name for name, result in results.items() if result["outcome"] == "UNDETERMINED"} <= cut
    assert max(result["attempts"] for result in results.values()) <= 2


def is_told(worker: Worker) -> bool:
    """Say whether a worker that is in service names the outage."""
    readiness = worker.readiness()
    away = "provider default, breaker: it is away, "
    is_named = any(reason.startswith(away) for reason in readiness.get("reasons", ()))
    return worker.is_ready() and readiness["status"] == "degraded" and is_named


def sent_and_cut(worker: Worker) -> set[str]:
    """Return the requests whose run was open when the provider went away, as the worker has logged it."""
    lines = [json.loads(line) for line in worker.log_file.read_text(encoding="utf-8").splitlines()]
    return {line["request_id"] for line in lines if line["event"] == "call.failed" and line["operation"] == "run"}
