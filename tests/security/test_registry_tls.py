"""A registry behind TLS with a private authority and basic authentication: what is wrong is named, and mended."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import trustme

from tests.security.rotation import REGISTRY_PASSWORD, renewals, rotating, sample
from tests.support.java import ServerFailed, ServerMissing
from tests.support.mounted import MountedFiles
from tests.support.registry import Guard, guard_in, start_registry
from tests.support.servers import cannot_run
from tests.support.worker import Worker
from tests.support.world import World

pytestmark = [pytest.mark.broker, pytest.mark.registry, pytest.mark.slow]

CA = "registry-ca.pem"


class Guarded:
    """An installation whose registry asks who we are; its worker was started with a wrong authority and password."""

    def __init__(self, world: World, files: MountedFiles, guard: Guard) -> None:
        self.world = world
        self.files = files
        self.guard = guard
        self.worker: Worker = world.worker()
        self.worker.start()
        self.pid = self.worker.pid

    def says(self, reason: str) -> None:
        """Wait until readiness says this alone."""
        self.world.wait_until(lambda: self._reasons() == [reason], reason, 30)

    def _reasons(self) -> list[str]:
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.worker.ops_port}/readyz", timeout=2).json()
        except httpx.HTTPError:
            return []
        return [reason for reason in answer.get("reasons", []) if reason.startswith("the schema registry")]


@pytest.fixture(scope="module")
def guarded(bootstrap_servers: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Give such an installation."""
    directory: Path = tmp_path_factory.mktemp("registry")
    guard = guard_in(directory, "processor", "right:with-a-colon")
    try:
        registry = start_registry(directory, guard)
    except (ServerMissing, ServerFailed) as missing:
        cannot_run(str(missing))
    with rotating(bootstrap_servers, directory) as (world, files):
        files.change({CA: trustme.CA().cert_pem.bytes().decode(), REGISTRY_PASSWORD: "wrong"})
        world.environ["PROCESSOR_SCHEMA_REGISTRY__URL"] = registry.url
        world.environ["PROCESSOR_SCHEMA_REGISTRY__CA_FILE"] = str(files.path(CA))
        yield Guarded(world, files, guard)
    registry.stop()


def test_an_authority_that_did_not_sign_it_is_named(guarded: Guarded) -> None:
    """The process waits, unready, and says which setting to look at."""
    guarded.says("the schema registry's certificate is not trusted: see PROCESSOR_SCHEMA_REGISTRY__CA_FILE")
    refused = guarded.world.command("schemas", "check")
    assert (refused.returncode, "PROCESSOR_SCHEMA_REGISTRY__CA_FILE" in refused.stderr) == (3, True)


def test_a_wrong_password_is_named_once_the_authority_is_right(guarded: Guarded) -> None:
    """The authority is mended in place: nobody restarts anything, and the next thing that is wrong is told."""
    guarded.files.change({CA: guarded.guard.authority.read_text(encoding="utf-8")})
    guarded.says(
        "the schema registry refuses our credentials (401): see PROCESSOR_SCHEMA_REGISTRY__USERNAME and "
        "PROCESSOR_SCHEMA_REGISTRY__PASSWORD"
    )
    assert "wrong" not in guarded.worker.log_file.read_text()


def test_with_both_right_the_whole_job_is_done(guarded: Guarded) -> None:
    """Commands register and publish; the process that waited goes on, and a request has its result."""
    world, request_id = guarded.world, f"r-{uuid4().hex[:10]}"
    guarded.files.change({REGISTRY_PASSWORD: guarded.guard.password})
    registered = world.command("schemas", "register")
    assert registered.returncode == 0, registered.stderr
    world.wait_until(guarded.worker.is_ready, "the worker ready", 30)
    event = {"requestId": request_id, "workflow": "person-check", "subject": {"lastName": "Example"}}
    requests = world.directory / "requests.jsonl"
    requests.write_text(json.dumps(event), encoding="utf-8")
    published = world.command("publish", str(requests))
    assert published.returncode == 0, published.stderr
    assert world.result(request_id)["outcome"] == "COMPLETED"
    assert guarded.worker.pid == guarded.pid
    assert guarded.guard.password not in guarded.worker.log_file.read_text()


def test_a_password_that_does_not_work_replaces_none_that_does(guarded: Guarded) -> None:
    """What serves goes on while the new one is tried; the log names it, and taking it back ends the matter."""
    world, worker = guarded.world, guarded.worker
    before = renewals(worker, "process")
    guarded.files.change({REGISTRY_PASSWORD: "wrong again"})
    world.wait_until(lambda: '"settings.waiting"' in worker.log_file.read_text(), "a password that is waited for")
    assert (sample(worker, "onboarding_settings_pending"), worker.is_ready()) == (1, True)
    guarded.files.change({REGISTRY_PASSWORD: guarded.guard.password})
    world.wait_until(lambda: sample(worker, "onboarding_settings_pending") == 0, "nothing pending")
    assert renewals(worker, "process") == before
    assert "wrong again" not in worker.log_file.read_text()
