"""Secrets that change while requests flow are taken up by the running process: nothing is lost, nothing done twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.rotation import (
    API_SECRET,
    REGISTRY_PASSWORD,
    assert_each_done_once,
    load,
    renewals,
    rotating,
)
from tests.support.mounted import MountedFiles
from tests.support.provider import KEY
from tests.support.worker import Worker
from tests.support.world import World

pytestmark = [pytest.mark.broker, pytest.mark.slow]


class Rotating:
    """A running installation with mounted secrets."""

    def __init__(self, world: World, files: MountedFiles) -> None:
        self.world = world
        self.files = files
        self.worker: Worker = world.started()

    def change(self, what: str, **files: str) -> None:
        """Change files and wait until that many more renewals of this kind are done."""
        before = renewals(self.worker, what)
        self.files.change(files)
        self.world.wait_until(lambda: renewals(self.worker, what) > before, f"a renewal of {what}")


@pytest.fixture(scope="module")
def made(bootstrap_servers: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rotating]:
    """Give a running installation with mounted secrets."""
    directory: Path = tmp_path_factory.mktemp("rotating")
    with rotating(bootstrap_servers, directory) as (world, files):
        yield Rotating(world, files)


def test_a_new_secret_of_the_provider_is_used_and_the_old_token_no_more(made: Rotating) -> None:
    """The provider rotates it, the files follow, the old token is revoked: no deciders stop, no call is lost."""
    world, worker = made.world, made.worker
    pid, ready = worker.pid, worker.log_file.read_text().count('"process.ready"')
    with load(world, worker) as sent:
        for secret in ("second", "third"):
            done = len(world.results())
            world.wait_until(lambda done=done: len(world.results()) > done + 10, "requests done before")  # type: ignore[misc]
            world.provider.rotate_credentials(KEY, secret)
            made.change("provider", **{API_SECRET: secret})
            world.provider.revoke_former_tokens()
    assert_each_done_once(world, sent.request_ids)
    assert (worker.pid, worker.log_file.read_text().count('"process.ready"')) == (pid, ready)
    assert [*sent.alive] == [200]


def test_a_new_password_of_the_registry_renews_all_clients(made: Rotating) -> None:
    """Deciders commit, leave and come back within the process; the ports stay open, and it lives all the while."""
    world, worker = made.world, made.worker
    pid = worker.pid
    with load(world, worker) as sent:
        for password in ("second", "third"):
            done = len(world.results())
            world.wait_until(lambda done=done: len(world.results()) > done + 10, "requests done before")  # type: ignore[misc]
            made.change("process", **{REGISTRY_PASSWORD: password})
    assert_each_done_once(world, sent.request_ids)
    assert (worker.pid, [*sent.alive], [*sent.webhooks]) == (pid, [200], [401])
    world.wait_until(worker.is_ready, "ready again")
