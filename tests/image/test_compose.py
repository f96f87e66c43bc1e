"""The compose file: staging on a laptop, which is a promise to whoever has Docker and nothing else."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from processor.cli.main import app
from processor.cli.simulate import simulator_settings
from processor.settings_loading import load_settings
from tests.image.composed import FILE, OURS, service, services
from tests.support.root import ROOT

POM = ROOT / "tests" / "support" / "jars" / "pom.xml"
IMAGES = {"broker": "apache/kafka", "registry": "apicurio/apicurio-registry"}


def test_the_file_is_what_the_specification_allows() -> None:
    """The compose specification's own schema has nothing to say."""
    tool = Path(sys.executable).with_name("check-jsonschema")
    command = (str(tool), "--builtin-schema", "vendor.compose-spec", str(FILE))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", OURS)
def test_the_variables_of_a_service_are_settings(name: str) -> None:
    """They are loaded as the program does: none is unknown, wrong or missing."""
    environment = service(name).environment
    settings = load_settings(environment)
    assert settings.kafka.bootstrap_servers == environment["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"]


@pytest.mark.parametrize("name", OURS)
def test_the_command_of_a_service_is_one_of_ours(name: str) -> None:
    """The program knows it, with these options."""
    assert CliRunner().invoke(app, [*service(name).command, "--help"], prog_name="processor").exit_code == 0


def test_the_faults_of_the_simulator_exist() -> None:
    """Each `--set` is a setting of the simulator's, and some faults are in force."""
    given = [part.removeprefix("--set=") for part in service("simulator").command if part.startswith("--set=")]
    assert simulator_settings({}, given).faults.webhook_lost_rate > 0


def test_the_processor_has_the_credentials_that_the_simulator_accepts() -> None:
    """What it sends is what is expected: the simulator's own defaults."""
    expected, environment = simulator_settings({}, []), service("processor").environment
    assert environment["PROCESSOR_API__KEY"] == expected.key
    assert environment["PROCESSOR_API__SECRET"] == expected.secret


@pytest.mark.parametrize("address", ["broker:19092", "registry:8080", "simulator:8090", "processor:8080"])
def test_services_find_each_other(address: str) -> None:
    """An address that one of ours names is a service, and a port on which it listens."""
    named = " ".join(" ".join((*service(name).command, *service(name).environment.values())) for name in OURS)
    name, port = address.split(":")
    assert address in named
    assert port in " ".join((str(services()[name].get("ports")), str(services()[name].get("environment"))))


@pytest.mark.parametrize("name", IMAGES)
def test_broker_and_registry_are_of_the_versions_that_tests_run(name: str) -> None:
    """What the tests on real servers prove holds here too."""
    image, _, tag = services()[name]["image"].partition(":")
    (pinned,) = re.findall(
        rf"<{name.replace('broker', 'kafka').replace('registry', 'apicurio')}\.version>(.+)<", POM.read_text()
    )
    assert (image, tag) == (IMAGES[name], pinned)


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_ours_may_do_no_more_than_in_a_cluster(name: str) -> None:
    """Read-only root, no capabilities, no new privileges, and no port that others than this machine can reach."""
    said = services()[name]
    assert said["read_only"] is True
    assert said["cap_drop"] == ["ALL"]
    assert said["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", services())
def test_no_port_is_open_to_others(name: str) -> None:
    """Whatever has no login listens on this machine alone."""
    assert [port for port in services()[name].get("ports", []) if not port.startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("name", services())
def test_a_service_waits_for_what_it_needs(name: str) -> None:
    """Whoever is waited for exists, is watched where its health counts, and ends where its end does."""
    for other, how in services()[name].get("depends_on", {}).items():
        if how["condition"] == "service_healthy":
            assert "healthcheck" in services()[other]
        if how["condition"] == "service_completed_successfully":
            assert services()[other]["command"] in (["topics", "create"], ["schemas", "register"])
