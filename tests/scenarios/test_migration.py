"""A stopped deployment moves to topics with other partition counts; nothing is lost, nothing is done twice."""

from pathlib import Path

import pytest

from tests.support.moving import Moving, moving, run_until

pytestmark = pytest.mark.broker


def test_a_deployment_moves_to_other_partition_counts_twice(bootstrap_servers: str, tmp_path: Path) -> None:
    """Six, seven, three partitions, the requests topic too: one end for each request, and the old ids never start."""
    with moving(bootstrap_servers, tmp_path) as deployment:
        deployment.fill()
        first, world = deployment.application_id, deployment.world
        second, third = f"{first}-b", f"{first}-c"
        migrate(deployment, second, 7, f"{second}.requests")
        deployment.refuses_to_start(first, f"was moved to application id {second}")
        deployment.go_on_as(second, requests=f"{second}.requests")
        worker = deployment.start()
        world.wait_until(lambda: len(world.results("unread-3")) == 1, "what was unread")
        worker.kill()
        world.wait_until(deployment.is_stopped, "the groups empty", 30)
        migrate(deployment, third, 3, f"{third}.requests")
        deployment.go_on_as(third, requests=f"{third}.requests")
        deployment.start()
        deployment.finish()


def migrate(deployment: Moving, to: str, partitions: int, requests_topic: str) -> None:
    """Move to another application id and another requests topic."""
    options = ("--to-application-id", to, "--partitions", str(partitions), "--requests-topic", requests_topic)
    done = deployment.world.command("topics", "migrate", *options)
    assert done.returncode == 0, done.stderr
    again = deployment.world.command("topics", "migrate", *options)
    assert (again.returncode, "nothing left to do" in again.stderr) == (1, True), again.stderr


def test_a_move_that_was_killed_is_run_again(bootstrap_servers: str, tmp_path: Path) -> None:
    """Wherever it was killed: until it has ended neither the old id starts nor the new one, then the new one alone."""
    with moving(bootstrap_servers, tmp_path) as deployment:
        deployment.fill()
        first, world = deployment.application_id, deployment.world
        second = f"{first}-b"
        command = ("topics", "migrate", "--to-application-id", second, "--partitions", "7")
        for marker in ("completion-state:", "is sealed", "made with", "launch-state: read back"):
            assert run_until(world, marker, *command), f"it never said: {marker}"
            world.wait_until(deployment.is_stopped, "the groups empty", 30)
        deployment.refuses_to_start(first, f"is being moved to application id {second}")
        deployment.refuses_to_start(second, "a move to here is not complete")
        done = world.command(*command)
        assert done.returncode == 0, done.stderr
        deployment.go_on_as(second)
        deployment.start()
        deployment.finish()
