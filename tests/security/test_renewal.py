"""Secrets that change while requests flow are taken up by the running process: nothing is lost, nothing done twice."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.security.rotation import (
    API_SECRET,
    REGISTRY_PASSWORD,
    assert_each_done_once,
    load,
    renewals,
    rotating,
    sample,
)
from tests.support.mounted import MountedFiles
from tests.support.onboarding import Request
from tests.support.provider import KEY
from tests.support.worker import Worker
from tests.support.world import PARTITIONS, World

pytestmark = [pytest.mark.broker, pytest.mark.slow]

DECIDERS = 3


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


def lines(worker: Worker) -> list[dict[str, Any]]:
    """Return what a process has logged."""
    return [json.loads(line) for line in worker.log_file.read_text().splitlines() if line.startswith("{")]


def count(worker: Worker, event: str) -> int:
    """Return how often a process has logged an event."""
    return sum(line["event"] == event for line in lines(worker))


def is_alive(worker: Worker) -> bool:
    """Whether a process says that it lives."""
    return httpx.get(f"http://127.0.0.1:{worker.ops_port}/livez", timeout=5).status_code == httpx.codes.OK


def done_as_before(world: World) -> None:
    """Publish a request and wait for its result."""
    request = Request(f"r-{uuid4().hex[:10]}")
    world.publish(request)
    assert_each_done_once(world, [request.request_id])


@pytest.fixture(scope="module")
def made(bootstrap_servers: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rotating]:
    """Give a running installation with mounted secrets."""
    directory: Path = tmp_path_factory.mktemp("rotating")
    with rotating(bootstrap_servers, directory) as (world, files):
        yield Rotating(world, files)


def test_a_new_secret_of_the_provider_is_used_and_the_old_token_no_more(made: Rotating) -> None:
    """The provider rotates it, the files follow, the old token is revoked: no deciders stop, no call is lost."""
    world, worker = made.world, made.worker
    pid, ready = worker.pid, count(worker, "process.ready")
    with world.provider.faults(latency_ms=150), load(world, worker) as sent:
        for secret in ("second", "third"):
            done = len(world.results())
            world.wait_until(lambda done=done: len(world.results()) > done + 10, "requests done before")  # type: ignore[misc]
            world.provider.rotate_credentials(KEY, secret)
            made.change("provider", **{API_SECRET: secret})
            world.provider.revoke_former_tokens()
    assert_each_done_once(world, sent.request_ids)
    assert (worker.pid, count(worker, "process.ready")) == (pid, ready)
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


def test_what_contradicts_itself_is_refused_and_told(made: Rotating) -> None:
    """The old settings serve on; the log says which variable is wrong, and repeats no secret."""
    world, worker = made.world, made.worker
    made.change("refused", PROCESSOR_API__TOKEN="tot_beside-key-and-secret")
    refused = next(line for line in lines(worker) if line["event"] == "settings.refused")
    assert refused["why"].startswith("PROCESSOR_API__TOKEN: it stands instead of key and secret")
    assert "beside" not in worker.log_file.read_text()
    done_as_before(world)
    made.files.change({"PROCESSOR_API__TOKEN": None})


def test_a_secret_that_the_provider_does_not_know_waits(made: Rotating) -> None:
    """The token of before serves on, and a metric says that something waits; the right secret ends it."""
    world, worker = made.world, made.worker
    world.wait_until(lambda: sample(worker, "onboarding_settings_pending") == 0, "nothing pending before")
    made.files.change({API_SECRET: "mistyped"})
    world.wait_until(lambda: sample(worker, "onboarding_token_renewals_total", outcome="refused") > 0, "a refusal")
    assert sample(worker, "onboarding_settings_pending") == 1
    assert worker.is_ready()
    done_as_before(world)
    world.provider.rotate_credentials(KEY, "fourth")
    made.change("provider", **{API_SECRET: "fourth"})
    assert sample(worker, "onboarding_settings_pending") == 0
    done_as_before(world)


def test_partitions_are_counted_on(made: Rotating) -> None:
    """Metrics go on over renewals: what is owned is what the deciders of now own."""
    assert sample(made.worker, "onboarding_partitions_owned") == DECIDERS * PARTITIONS


def test_a_change_during_a_renewal_is_taken_up_after_it(made: Rotating) -> None:
    """A run holds the first one up while the second change comes; both are renewed, and the run ends as it should."""
    world, worker = made.world, made.worker
    request = Request(f"r-{uuid4().hex[:10]}", "k-during")
    before = renewals(worker, "process")
    with world.provider.faults(latency_ms=1500):
        world.publish(request)
        world.wait_until(lambda: bool(world.provider.runs_of(request.request_id)), "the run at the provider")
        made.files.change({REGISTRY_PASSWORD: "during-1"})
        world.wait_until(lambda: not worker.is_ready(), "deciders that leave")
        assert is_alive(worker)
        made.files.change({REGISTRY_PASSWORD: "during-2"})
    world.wait_until(lambda: renewals(worker, "process") == before + 2, "both renewals")
    assert_each_done_once(world, [request.request_id])


def test_sigterm_during_a_renewal_ends_in_order(made: Rotating) -> None:
    """What was begun is ended, nobody begins again, and the exit code is 0; the next process goes on."""
    world, worker = made.world, made.worker
    request = Request(f"r-{uuid4().hex[:10]}", "k-sigterm")
    started = count(worker, "process.ready")
    with world.provider.faults(latency_ms=1500):
        world.publish(request)
        world.wait_until(lambda: bool(world.provider.runs_of(request.request_id)), "the run at the provider")
        made.files.change({REGISTRY_PASSWORD: "sigterm"})
        world.wait_until(lambda: not worker.is_ready(), "deciders that leave")
        assert worker.terminate() == 0
    assert (count(worker, "process.ready"), count(worker, "process.crashed")) == (started, 0)
    assert lines(worker)[-1]["event"] == "process.stopped"
    worker.start()
    assert_each_done_once(world, [request.request_id])
