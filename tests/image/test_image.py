"""The image: what an operator may rely on, seen on the one that is built, and by the whole job done with it."""

import json
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copyfile, copytree
from typing import Any, NamedTuple

import pytest

from tests.image.composed import Service, Stage, service
from tests.image.conftest import ARGUMENTS, EPOCH, SECRETS
from tests.image.engine import STATE_DIRECTORY, Engine, Image
from tests.support.ports import free_port
from tests.support.root import ROOT
from tests.support.waiting import wait_until
from tests.support.worker import Worker, watchdog

pytestmark = [pytest.mark.image, pytest.mark.broker, pytest.mark.registry, pytest.mark.timeout(600)]

BYTES_MAX = 200_000_000  # Beside the base.
WAIT_S = 60
EXAMPLES = ROOT / "examples" / "requests.jsonl"
# Prints what the image carries beside its base, one entry a line.
LIST = """
import hashlib, json, os
def told(path):
    found = os.lstat(path)
    link, file = os.path.islink(path), os.path.isfile(path)
    data = os.readlink(path).encode() if link else open(path, "rb").read() if file else b""
    size = found.st_size if file and not link else 0
    return path, found.st_mode, found.st_uid, int(found.st_mtime), size, hashlib.sha256(data).hexdigest()
top = "/opt/processor"
for path in sorted([top] + [os.path.join(at, name) for at, folders, files in os.walk(top) for name in folders + files]):
    print(json.dumps(told(path)))
"""
# Prints which of these paths can be written to.
WRITE = """
import os
for folder in ("/", "/etc", "/opt/processor", "/tmp", "/var/lib/processor"):
    try:
        open(os.path.join(folder, "probe"), "w").close()
        print(folder)
    except OSError:
        pass
"""


class Entry(NamedTuple):
    """A file or folder that the image carries beside its base."""

    path: str
    mode: int
    user: int
    time: int
    size: int
    content: str


def entries(builder: Engine, image: Image) -> list[Entry]:
    """List what an image carries beside its base, in order."""
    return [Entry(*json.loads(line)) for line in builder.output(image, ("python3", "-c", LIST)).splitlines()]


@pytest.fixture(scope="module")
def carried(builder: Engine, image: Image) -> list[Entry]:
    """Give what the image carries beside its base."""
    return entries(builder, image)


def test_it_is_small(carried: list[Entry]) -> None:
    """Beside the base it brings at most 200 MB."""
    assert 50_000_000 < sum(entry.size for entry in carried) <= BYTES_MAX


def test_nothing_in_it_raises_rights(carried: list[Entry]) -> None:
    """No file of ours is set-user-id or set-group-id, or can be written by everybody."""
    bad = stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH
    assert [entry.path for entry in carried if entry.mode & bad and not stat.S_ISLNK(entry.mode)] == []


def test_the_program_belongs_to_root(carried: list[Entry]) -> None:
    """The user of the process cannot change what it runs."""
    assert {entry.user for entry in carried} == {0}


def test_nothing_of_the_build_is_left(carried: list[Entry]) -> None:
    """No pip, no scripts for shells, no tools of libraries: in `bin` are the interpreter and our command."""
    assert [entry.path for entry in carried if "/site-packages/pip" in entry.path] == []
    names = {Path(entry.path).name for entry in carried if Path(entry.path).parent.name == "bin"}
    assert {name for name in names if not name.startswith("python")} == {"processor"}


def test_every_module_is_compiled(carried: list[Entry]) -> None:
    """A read-only root cannot keep bytecode: it is there, or each start compiles anew."""
    paths = [Path(entry.path) for entry in carried if "/site-packages/processor/" in entry.path]
    modules = {path.with_suffix("") for path in paths if path.suffix == ".py"}
    compiled = {path.parent.parent / path.name.partition(".")[0] for path in paths if path.suffix == ".pyc"}
    assert modules
    assert modules == compiled


def test_the_labels_say_what_it_is(image: Image) -> None:
    """Title, description, licence, version, revision and time, under the names of the OCI specification."""
    labels = {
        name.removeprefix("org.opencontainers.image."): text
        for name, text in image.config["Labels"].items()
        if name.startswith("org.opencontainers.image.")
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (labels["title"], labels["version"]) == (project["name"], project["version"])
    assert (labels["licenses"], labels["revision"]) == (project["license"], ARGUMENTS["REVISION"])
    assert labels["created"] == ARGUMENTS["CREATED"]
    assert labels["source"] == ARGUMENTS["SOURCE"]
    assert ":" in labels["base.name"]
    assert labels["description"]


def test_the_configuration_is_that_of_a_guest(image: Image) -> None:
    """A user by number, our command without a shell, SIGTERM, and one volume."""
    config = image.config
    assert (config["User"], config["StopSignal"]) == ("10001:10001", "SIGTERM")
    assert (config["Entrypoint"], config["Cmd"]) == (["processor"], ["run"])
    assert set(config["Volumes"]) == {STATE_DIRECTORY}


def test_it_writes_nowhere_but_to_its_state_and_tmp(builder: Engine, image: Image) -> None:
    """The root is read-only in all that follows."""
    assert builder.output(image, ("python3", "-c", WRITE)).split() == ["/tmp", STATE_DIRECTORY]  # noqa: S108  # inside


def test_two_builds_are_the_same(
    builder: Engine, image: Image, carried: list[Entry], sources: Path, tmp_path: Path
) -> None:
    """Another folder, other times, pip told otherwise, same bases and SOURCE_DATE_EPOCH: the same bytes and layers."""
    elsewhere = copytree(sources, tmp_path / "elsewhere", copy_function=copyfile)
    configuration = tmp_path / "pip.conf"
    configuration.write_text("[global]\nretries = 7\n", encoding="utf-8")
    again = builder.build(elsewhere, ARGUMENTS, {**SECRETS, "pip": configuration})
    assert entries(builder, again) == carried
    assert {entry.time for entry in carried} == {EPOCH}
    if builder.clamps_times:
        assert again.layers == image.layers


@dataclass(frozen=True, slots=True)
class Job:
    """What was seen while the services of `compose.yaml` did the job."""

    results: Mapping[str, Mapping[str, Any]]  # By request id.
    codes: Mapping[str, int]  # How each service and command ended.


@pytest.fixture(scope="module")
def job(
    builder: Engine, image: Image, bootstrap_servers: str, registry_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Job]:
    """Do with the image what the head of `compose.yaml` says: set up, publish the examples, read results, stop."""
    directory = tmp_path_factory.mktemp("staging")
    simulator_port = free_port()
    addresses = {
        "broker:19092": bootstrap_servers,
        "http://registry:8080/apis/ccompat/v7": registry_url,
        "http://simulator:8090": f"http://127.0.0.1:{simulator_port}",
        "=0.0.0.0": "=127.0.0.1",
        "=8090": f"={simulator_port}",
        # An answer that is lost together with its webhook is left to a person, for whom no test waits.
        "run_hung_up_rate=0.02": "run_hung_up_rate=0",
    }
    with watchdog() as group:
        stage = Stage(builder, image, directory, group)
        processor = isolated(service("processor").moved(addresses), directory)
        worker = stage.worker("processor", processor)
        addresses["http://processor:8080"] = f"http://127.0.0.1:{worker.webhook_port}"
        simulator = stage.worker("simulator", isolated(service("simulator").moved(addresses), directory))
        simulator.start()
        codes = {
            name: stage.run(replace(processor, command=service(name).command)).returncode
            for name in ("topics", "schemas")
        }
        worker.start()
        wait_until(worker.is_ready, "the processor ready", [worker], timeout_s=WAIT_S)
        codes["publish"] = stage.run(processor, "publish", "-", stdin=EXAMPLES.read_text("utf-8")).returncode
        results = read_results(stage, processor, worker)
        yield Job(results, {**codes, "processor": worker.terminate(), "simulator": simulator.terminate()})


def isolated(service: Service, directory: Path) -> Service:
    """Return a service with topics and groups that nobody else on the broker has."""
    name = directory.parent.name + directory.name
    topics = ("requests", "results", "links", "progress", "dead_letters")
    catalogue = directory / "workflows.yaml"
    text = (ROOT / "workflows.example.yaml").read_text("utf-8")
    catalogue.write_text(text.replace("resultsTopic: ", f"resultsTopic: {name}."), "utf-8")
    variables = {f"PROCESSOR_TOPICS__{topic.upper()}": f"{name}.{topic}" for topic in topics}
    listen = {"PROCESSOR_WEBHOOK__HOST": "127.0.0.1", "PROCESSOR_OPS__HOST": "127.0.0.1"}
    return replace(
        service,
        environment={**service.environment, **variables, **listen, "PROCESSOR_APPLICATION_ID": name},
        files=dict.fromkeys((catalogue,), *service.files.values()),
    )


def read_results(stage: Stage, processor: Service, worker: Worker) -> dict[str, dict[str, Any]]:
    """Wait until every example has its result; return results by request id."""
    asked = {json.loads(line)["requestId"] for line in EXAMPLES.read_text("utf-8").splitlines()}
    found: dict[str, dict[str, Any]] = {}

    def are_there() -> bool:
        said = stage.run(processor, "results", "--from-beginning", "--json").stdout
        found.update((result["requestId"], result) for result in map(json.loads, said.splitlines()))
        return set(found) >= asked

    wait_until(are_there, "a result of each request", [worker], timeout_s=WAIT_S)
    return found


def test_topics_and_schemas_are_made_by_it(job: Job) -> None:
    """What a cluster lacks is made by two commands of the image."""
    assert (job.codes["topics"], job.codes["schemas"]) == (0, 0)


def test_every_request_that_is_published_by_it_has_its_result(job: Job) -> None:
    """The whole way: a broker and a registry that are real, the provider with the faults of `compose.yaml`."""
    assert job.codes["publish"] == 0
    assert {result["outcome"] for result in job.results.values()} <= {"COMPLETED", "FAILED", "NOT_STARTED"}
    assert "COMPLETED" in {result["outcome"] for result in job.results.values()}


def test_it_ends_in_order_when_it_is_told_to(job: Job) -> None:
    """SIGTERM reaches the program itself, which drains and ends with 0; so does the simulator."""
    assert (job.codes["processor"], job.codes["simulator"]) == (0, 0)
