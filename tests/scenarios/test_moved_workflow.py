"""A workflow moves from version 1 to 2 while runs and links of version 1 are open: nothing is lost by it."""

from pathlib import Path

import pytest

from tests.support.onboarding import Request
from tests.support.operations import CASE, RECORD, catalogue, definition_of, operations, subject

pytestmark = pytest.mark.broker

OLD = {"v1-run": ("api: 1", CASE, "reuse: none"), "v1-link": ("api: 1", "mode: link", CASE, "reuse: none")}
NEW = {"v1-run": ("api: 2", RECORD), "v1-link": ("api: 2", "mode: link", RECORD)}


def test_open_runs_and_links_of_the_older_version_go_on(bootstrap_servers: str, tmp_path: Path) -> None:
    """They end by the version they began with, and what is published after the move begins with the new one."""
    with operations(bootstrap_servers, tmp_path) as (world, _):

        def ask(workflow: str, request_id: str) -> None:
            world.publish(Request(request_id, request_id, workflow, more={"subject": subject(request_id)}))

        world.write_catalogue(catalogue(OLD))
        worker = world.started()
        with world.provider.faults(completion_ms=6_000, user_absent_rate=1, webhook_lost_rate=1):
            ask("v1-run", "run-before")
            ask("v1-link", "link-before")
            link = world.link("link-before")["link"]
            world.wait_until(lambda: "STARTED" in world.steps("run-before"), "the run of version 1 started")
            assert worker.terminate() == 0
            world.write_catalogue(catalogue(NEW))
            worker.start()
            world.wait_until(worker.is_ready, "the worker ready again", 30)
            before = world.result("run-before", timeout_s=30)
        walked = world.provider.walk(link=link)
        linked = world.result("link-before")
        ask("v1-run", "run-after")
        after = world.result("run-after")
        assert [one["outcome"] for one in (before, linked, after)] == ["COMPLETED"] * 3
        assert [one["caseId"] is None for one in (before, linked, after)] == [False, False, True]
        assert (before["completedBy"], linked["workflowId"]) == ("POLL", walked)
        assert {one["definitionId"] for one in (before, after)} == {definition_of("v1-run")}
        assert after["recordId"] is not None
