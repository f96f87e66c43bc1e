"""A stopped deployment goes into a file and comes out of it: on the same cluster, on another one, never twice."""

import json
from pathlib import Path

import pytest

from tests.support.moving import INTERNAL, Moving, moving
from tests.support.servers import broker_from_jars
from tests.support.topics import delete_topics

pytestmark = pytest.mark.broker


def test_a_deployment_comes_back_from_a_file_when_its_topics_are_gone(bootstrap_servers: str, tmp_path: Path) -> None:
    """The internal topics are deleted; requests go on where they were read to, in the topic that is still there."""
    with moving(bootstrap_servers, tmp_path) as deployment:
        deployment.fill()
        first, world, file = deployment.application_id, deployment.world, tmp_path / "deployment.snapshot"
        back_up(deployment, file, "--seal")
        deployment.refuses_to_start(first, "was sealed when it was written to a file")
        same = world.command("restore", str(file), "--yes")
        assert (same.returncode, "an application id of its own" in same.stderr) == (1, True), same.stderr
        delete_topics(bootstrap_servers, [f"{first}.{name}" for name in INTERNAL])
        second = f"{first}-b"
        restore(deployment, file, second, 3)
        deployment.go_on_as(second)
        deployment.start()
        deployment.finish()


def test_a_deployment_goes_on_at_another_cluster(bootstrap_servers: str, tmp_path: Path) -> None:
    """The unread requests of the file are written there too, before upstream's."""
    with broker_from_jars() as other, moving(bootstrap_servers, tmp_path) as deployment:
        deployment.fill()
        file = tmp_path / "deployment.snapshot"
        back_up(deployment, file, "--seal")
        second = f"{deployment.application_id}-b"
        deployment.go_to_cluster(other.bootstrap_servers)
        restore(deployment, file, second, 7)
        deployment.go_on_as(second)
        assert deployment.world.command("topics", "create").returncode == 0
        deployment.start()
        deployment.finish()


def back_up(deployment: Moving, file: Path, *options: str) -> None:
    """Write the deployment to a file."""
    done = deployment.world.command("backup", str(file), *options)
    assert done.returncode == 0, done.stderr
    assert file.stat().st_mode & 0o077 == 0, "it holds personal data"


def restore(deployment: Moving, file: Path, to: str, partitions: int) -> None:
    """Make a deployment of another application id out of a file."""
    done = deployment.world.command(
        "restore", str(file), "--to-application-id", to, "--partitions", str(partitions), "--json"
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["moved"]
    assert told["deciders"]["launch"]["partitions"] == partitions
