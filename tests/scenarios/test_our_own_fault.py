"""A fault of our own configuration pauses its workflow and loses nothing; mended, the backlog goes on."""

from pathlib import Path

import pytest

from tests.support.onboarding import DEFINITION, Request, catalogue
from tests.support.world import world

pytestmark = pytest.mark.broker

WRONG = "11111111-2222-4333-8444-555555555555"


def test_a_wrong_definition_pauses_the_workflow_until_it_is_mended(bootstrap_servers: str, tmp_path: Path) -> None:
    """The provider knows no such definition: no result and no dead letter, and after the mend every request ends."""
    faults = {"definitions": DEFINITION, "completion_ms": 50}
    with world(bootstrap_servers, tmp_path, workflows=catalogue(WRONG), simulator=faults) as made:
        worker = made.started()
        requests = [Request(f"r-{number}", f"k-{number}") for number in range(12)]
        made.publish(*requests)
        made.wait_until(lambda: bool(made.records("control")), "the workflow paused")
        late = Request("r-late", "k-late")
        made.publish(late)
        assert worker.terminate() == 0
        assert (made.results(), made.records("dead-letters"), made.provider.runs()) == ([], [], [])
        made.write_catalogue(catalogue())
        worker.start()
        for request in [*requests, late]:
            assert made.result(request.request_id)["outcome"] == "COMPLETED"
        assert len(made.provider.runs()) == len(requests) + 1
