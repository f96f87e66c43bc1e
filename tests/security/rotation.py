"""What tests of renewed secrets and certificates share: an installation with mounted secrets, under steady load."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support.mounted import MountedFiles
from tests.support.onboarding import Request
from tests.support.provider import KEY, SECRET
from tests.support.secure_broker import Access
from tests.support.worker import Worker
from tests.support.world import World, world

SOON = {"PROCESSOR_OPS__REREAD_S": "0.1", "PROCESSOR_OPS__RENEWAL_DELAY_S_MAX": "0"}
PERIOD_S = 0.03
# One is named by a variable of its own, the others lie in the directory of secrets.
API_SECRET, REGISTRY_PASSWORD = "api-secret", "PROCESSOR_SCHEMA_REGISTRY__PASSWORD"
MOUNTED = {
    "PROCESSOR_API__KEY": KEY,
    API_SECRET: SECRET,
    "PROCESSOR_SCHEMA_REGISTRY__USERNAME": "processor",
    REGISTRY_PASSWORD: "first",
}


@contextmanager
def rotating(
    bootstrap_servers: str,
    directory: Path,
    *,
    settings: Mapping[str, str] | None = None,
    simulator: Mapping[str, object] | None = None,
) -> Iterator[tuple[World, MountedFiles]]:
    """Make an installation whose credentials lie in mounted files."""
    files = MountedFiles(directory / "secrets", MOUNTED)
    named = {
        "PROCESSOR_SECRETS_DIRECTORY": str(files.directory),
        "PROCESSOR_API__SECRET_FILE": str(files.path(API_SECRET)),
    }
    with world(
        bootstrap_servers, directory, settings={**SOON, **named, **(settings or {})}, simulator=simulator
    ) as made:
        for name in ("PROCESSOR_API__KEY", "PROCESSOR_API__SECRET"):
            del made.environ[name]
        yield made, files


def plain_files(access: Access, directory: Path) -> dict[str, str]:
    """Write what a principal is given now as plain files; return the variables of a client that reads them."""
    directory.mkdir()
    for file in access.files.directory.glob("[!.]*"):
        text = file.read_text(encoding="utf-8")
        (directory / file.name).write_text(text.replace(str(access.files.directory), str(directory)))
    return {**access.environ, "PROCESSOR_SECRETS_DIRECTORY": str(directory)}


def renewals(worker: Worker, what: str) -> int:
    """Return how often a process has renewed something: `provider`, `process`; or `refused` to."""
    return int(sample(worker, "onboarding_settings_renewals_total", what=what))


def sample(worker: Worker, name: str, **labels: str) -> float:
    """Return a metric, 0 where there is none, and while the process does not answer yet."""
    try:
        text = httpx.get(f"http://127.0.0.1:{worker.ops_port}/metrics", timeout=5).text
    except httpx.ConnectError:
        return 0
    samples = (each for family in text_string_to_metric_families(text) for each in family.samples)
    return sum(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())


@dataclass
class Load:
    """Requests that were published, and what the process answered meanwhile."""

    request_ids: list[str] = field(default_factory=list)
    alive: Counter[object] = field(default_factory=Counter)  # Status of /livez -> how often.
    webhooks: Counter[object] = field(default_factory=Counter)  # The same for unsigned webhooks.


@contextmanager
def load(world: World, worker: Worker) -> Iterator[Load]:
    """Publish requests, ask whether the process lives and send it worthless webhooks while the block runs."""
    sent, is_over = Load(), threading.Event()

    def publish() -> None:
        while not is_over.wait(PERIOD_S):
            request_id = f"r-{uuid4().hex[:10]}"
            sent.request_ids.append(request_id)
            world.publish(Request(request_id, request_id), is_flushed=False)

    def ask() -> None:
        with httpx.Client(timeout=5, headers={"connection": "close"}) as client:
            while not is_over.wait(PERIOD_S):
                sent.alive[_status(client, "GET", f"http://127.0.0.1:{worker.ops_port}/livez")] += 1
                sent.webhooks[_status(client, "POST", f"http://127.0.0.1:{worker.webhook_port}/webhooks")] += 1

    threads = [threading.Thread(target=work) for work in (publish, ask)]
    for thread in threads:
        thread.start()
    try:
        yield sent
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    world.flush()


def _status(client: httpx.Client, method: str, url: str) -> object:
    try:
        return client.request(method, url).status_code
    except httpx.HTTPError as error:
        return type(error).__name__


def assert_each_done_once(world: World, request_ids: list[str]) -> None:
    """Wait for all results; each request has one, and ran once."""
    wanted = set(request_ids)
    world.wait_until(lambda: wanted <= {result["requestId"] for result in world.results()}, "all results", 60)
    outcomes = Counter(result["requestId"] for result in world.results() if result["outcome"] == "COMPLETED")
    runs = Counter((run["columns"] or {}).get("ref") for run in world.provider.runs())
    assert {name: (outcomes[name], runs[name]) for name in wanted} == dict.fromkeys(wanted, (1, 1))
