"""A fault of our own configuration pauses its workflow and loses nothing; mended, the backlog goes on."""

from pathlib import Path

import httpx
import pytest

from tests.support.onboarding import DEFINITION, Request, catalogue
from tests.support.worker import Worker
from tests.support.world import world

pytestmark = pytest.mark.broker

WRONG = "11111111-2222-4333-8444-555555555555"


def is_degraded(worker: Worker) -> bool:
    """Say whether a worker is in service, though a workflow is paused."""
    if not worker.is_ready():
        return False
    readiness, exposed = worker.readiness(), httpx.get(f"http://127.0.0.1:{worker.ops_port}/metrics", timeout=5).text
    pauses = [reason for reason in readiness.get("reasons", ()) if "pause: fault" in reason]
    counts_as_ready = 'onboarding_ready{role="submitter"} 1.0' in exposed
    return readiness["status"] == "degraded" and len(pauses) == 1 and counts_as_ready


def test_a_wrong_definition_pauses_the_workflow_until_it_is_mended(bootstrap_servers: str, tmp_path: Path) -> None:
    """The provider knows no such definition: no result and no dead letter, and after the mend every request ends."""
    faults = {"definitions": DEFINITION, "completion_ms": 50}
    with world(bootstrap_servers, tmp_path, workflows=catalogue(WRONG), simulator=faults) as made:
        worker = made.started()
        requests = [Request(f"r-{number}", f"k-{number}") for number in range(12)]
        made.publish(*requests)
        made.wait_until(lambda: bool(made.records("control")), "the workflow paused")
        made.wait_until(lambda: is_degraded(worker), "a pause that is told, and takes nothing out of service")
        assert worker.terminate() == 0
        worker.start()
        made.wait_until(lambda: is_degraded(worker), "the same of a pause that is read at the start", 30)
        late = Request("r-late", "k-late")
        made.publish(late)
        assert worker.terminate() == 0
        assert (made.results(), made.records("dead-letters"), made.provider.runs()) == ([], [], [])
        made.write_catalogue(catalogue())
        worker.start()
        for request in [*requests, late]:
            assert made.result(request.request_id)["outcome"] == "COMPLETED"
        assert len(made.provider.runs()) == len(requests) + 1
