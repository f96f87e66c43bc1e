"""The workflows of a hosted CI and what they run on kind: files that nobody here can run, so all else is checked."""

import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from processor.cli.main import COMMANDS
from tests.chart.validation import problems
from tests.support.chart import chart
from tests.support.root import ROOT
from tests.support.servers import cannot_run

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
KIND = ROOT / "tests" / "kind"
SCRIPT = (KIND / "run.sh").read_text("utf-8")
SCRIPTS = (".ci/run", "tests/kind/run.sh")
RELEASE = "staging"
# What the script sets when it installs, upgrades and scales.
OVERRIDES = tuple(re.findall(r"^install --set (\S+)$", SCRIPT, flags=re.MULTILINE))

Object = dict[str, Any]


@cache
def workflow(path: Path) -> dict[Any, Any]:
    """Return a workflow; its key `on` is read as a truth value."""
    read: dict[Any, Any] = yaml.safe_load(path.read_text("utf-8"))
    return read


def steps(path: Path) -> list[dict[str, Any]]:
    """List the steps of all jobs."""
    return [step for job in workflow(path)["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("schema", ["vendor.github-workflows", "custom.github-workflows-require-timeout"])
def test_workflows_are_what_the_schema_allows(schema: str) -> None:
    """The schema of workflow files has nothing to say, and each job has a time limit."""
    tool = str(Path(sys.executable).with_name("check-jsonschema"))
    command = (tool, "--builtin-schema", schema, *map(str, WORKFLOWS))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    assert len(WORKFLOWS) == 2


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_read_the_source_and_nothing_else(path: Path) -> None:
    """Its token is read-only, in every job, and is not left in the checkout."""
    said = workflow(path)
    assert said["permissions"] == {"contents": "read"}
    assert [name for name, job in said["jobs"].items() if "permissions" in job] == []
    checkouts = [step for step in steps(path) if step.get("uses", "").startswith("actions/checkout@")]
    assert {step["with"]["persist-credentials"] for step in checkouts} == {False}


def test_all_tests_find_the_release_before_in_the_history() -> None:
    """`.ci/run` upgrades from it; a checkout of one commit does not have it."""
    jobs = [job["steps"] for path in WORKFLOWS for job in workflow(path)["jobs"].values()]
    whole = [each for each in jobs if any(step.get("run") == ".ci/run" for step in each)]
    checkouts = [step for each in whole for step in each if step.get("uses", "").startswith("actions/checkout@")]
    assert [step["with"].get("fetch-depth") for step in checkouts] == [0]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_newer_push_ends_the_run_of_an_older_one(path: Path) -> None:
    """Nobody waits for what is no longer of interest."""
    assert workflow(path)["concurrency"]["cancel-in-progress"] is True


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_those_of_github_at_a_version(path: Path) -> None:
    """No code of strangers, and no branch that moves."""
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert [action for action in used if not re.fullmatch(r"actions/[a-z-]+@v\d+", action)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_what_a_workflow_runs_exists(path: Path) -> None:
    """Targets of make, scripts, and commands of the processor."""
    text = "\n".join(step.get("run", "") for step in steps(path))
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = [target for line in re.findall(r"^make (.+)$", text, flags=re.MULTILINE) for target in line.split()]
    assert [target for target in targets if not re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE)] == []
    scripts = re.findall(r"^(\S*/run\S*)", text, flags=re.MULTILINE)
    assert [script for script in scripts if not (ROOT / script).stat().st_mode & 0o100] == []
    assert [name for name in re.findall(r"processor processor (\w+)", text) if name not in COMMANDS] == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_have_no_known_fault(script: str) -> None:
    """Shellcheck has nothing to say."""
    if shutil.which("shellcheck") is None:
        cannot_run("scripts are checked by shellcheck: apt-get install shellcheck")
    done = subprocess.run(["shellcheck", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


def installed(*overrides: str) -> list[Object]:
    """Return the objects of the installation on kind, with overrides as `--set` takes them."""
    values = yaml.safe_load((KIND / "values.yaml").read_text("utf-8"))
    for override in overrides:
        path, _, value = override.partition("=")
        *sections, name = path.split(".")
        place = values
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = int(value) if value.isdigit() else value
    files = chart().render(values, name=RELEASE, namespace="identity")
    return [
        item
        for file, text in files.items()
        if not file.endswith("NOTES.txt")
        for item in yaml.safe_load_all(text)
        if item is not None
    ]


@pytest.mark.parametrize("overrides", ["", *OVERRIDES])
def test_the_chart_takes_what_the_script_gives(overrides: str) -> None:
    """Its values are those of the chart, when it is installed, upgraded and scaled."""
    objects = installed(*filter(None, overrides.split(",")))
    assert [problem for item in objects for problem in problems(item, "1.34")] == []


def test_the_script_finds_what_the_chart_makes() -> None:
    """Release, pods and the simulator have the names and labels by which it looks for them."""
    assert f"release={RELEASE}\n" in SCRIPT
    deployments = {item["metadata"]["name"]: item for item in installed() if item["kind"] == "Deployment"}
    (entered,) = re.findall(r'exec --stdin "deployment/\$release(-\S+)"', SCRIPT)
    assert f"{RELEASE}{entered}" in deployments
    for role in ("submitter", "ingestor", "reconciler"):
        labels = deployments[f"{RELEASE}-onboarding-processor-{role}"]["spec"]["template"]["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == RELEASE
        assert labels["app.kubernetes.io/component"] == role
    assert [name for name in re.findall(r"\bprocessor (publish|results)\b", SCRIPT) if name not in COMMANDS] == []


def test_the_installation_uses_the_image_that_the_script_builds() -> None:
    """No pod asks an image registry for ours."""
    images = {
        container["image"]
        for item in installed()
        if item["kind"] in {"Deployment", "Job"}
        for container in item["spec"]["template"]["spec"]["containers"]
    }
    assert images == set(re.findall(r"^image=(\S+)$", SCRIPT, flags=re.MULTILINE))


def test_broker_and_registry_on_kind_are_valid_and_of_the_versions_that_tests_run() -> None:
    """The same versions as everywhere, in objects that Kubernetes takes, under the names that the values say."""
    objects: list[Object] = list(yaml.safe_load_all((KIND / "servers.yaml").read_text("utf-8")))
    assert [problem for item in objects for problem in problems(item, "1.34")] == []
    pinned = dict(
        re.findall(r"<(kafka|apicurio)\.version>(.+)<", (ROOT / "tests/support/jars/pom.xml").read_text("utf-8"))
    )
    images = {
        item["spec"]["template"]["spec"]["containers"][0]["image"] for item in objects if item["kind"] == "Deployment"
    }
    assert images == {f"apache/kafka:{pinned['kafka']}", f"apicurio/apicurio-registry:{pinned['apicurio']}"}
    services = {
        f"{item['metadata']['name']}.servers:{item['spec']['ports'][0]['port']}"
        for item in objects
        if item["kind"] == "Service"
    }
    values = (KIND / "values.yaml").read_text("utf-8")
    assert [address for address in services if address not in values] == []
