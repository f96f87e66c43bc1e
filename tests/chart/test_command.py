"""The Job of one command: what a move, a backup or a restore needs of a release whose pods are gone."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from processor.adapters.scratch import PREFIX
from processor.settings_loading import load_settings
from tests.chart.policies import RULES
from tests.chart.test_notes import notes
from tests.chart.test_staging import staged
from tests.chart.validation import helm_3, objects_in
from tests.support.chart import CHART, Values, found, merged, refused, rendered
from tests.support.pods import Object, containers
from tests.support.pods_running import Pods
from tests.support.root import ROOT
from tests.support.topics import delete_topics, topics_named
from tests.support.worker import watchdog

MIGRATE = ["topics", "migrate", "--to-application-id", "onboarding-24"]
# Shows what each upgrade makes; values stay from one to the next, as with --reset-then-reuse-values.
SHOWN = """
set -euo pipefail
given=()
helm() {
  shift 3
  for word in "$@"; do [ "$word" = --reset-then-reuse-values ] || given+=("$word"); done
  "$HELM" template onboarding "$CHART" --values "$CHART/ci/minimal-values.yaml" "${given[@]}"
  echo "# upgraded"
}
kubectl() { :; }
"""
USERS: Values = {"strimzi": {"cluster": "main", "users": {"enabled": True}}}


def commanded(args: Sequence[str] = MIGRATE, **values: Any) -> list[Object]:  # noqa: ANN401  # as in values.yaml
    """Return the objects of an installation with the Job of this command."""
    return rendered(**merged({"command": {"enabled": True, "args": list(args)}}, values))


def job_of(objects: list[Object]) -> Object:
    """Return the Job of the command."""
    (job,) = [item for item in objects if item["kind"] == "Job" and "-command-" in item["metadata"]["name"]]
    return job


def test_by_default_there_is_none() -> None:
    """A command is run because somebody wants it now."""
    assert [item for item in rendered() if item["kind"] == "Job"] == []


def test_the_command_is_given_what_workloads_are_given(tmp_path: Path) -> None:
    """The same settings, catalogue and secrets, also where no workload has a pod."""
    stopped: Values = {role: {"replicas": 0} for role in ("submitter", "ingestor", "reconciler")}
    objects = rendered(**stopped, command={"enabled": True, "args": MIGRATE})
    (one,) = containers(objects, job_of(objects))
    assert one.spec["args"] == MIGRATE
    settings = load_settings(one.variables(tmp_path, lambda _: "a secret"))
    assert settings.kafka.bootstrap_servers == "kafka-0:9092"
    assert settings.workflows.file.is_file()


def test_what_a_move_copies_on_its_way_has_room() -> None:
    """The copy lies where TMPDIR says, on a volume of a size of its own: /tmp is for small files."""
    objects = commanded(command={"scratchSize": "72Gi"})
    (one,) = containers(objects, job_of(objects))
    (variable,) = [each["value"] for each in one.spec["env"] if each["name"] == "TMPDIR"]
    (mount,) = [each["name"] for each in one.spec["volumeMounts"] if each["mountPath"] == variable]
    (volume,) = [each for each in one.pod["volumes"] if each["name"] == mount]
    assert volume["emptyDir"] == {"sizeLimit": "72Gi"}
    assert one.spec["resources"]["requests"]["ephemeral-storage"] == "72Gi"


def test_files_lie_on_a_claim_that_outlives_the_job() -> None:
    """A backup is of no use in a pod that is gone."""
    objects = commanded(["backup", "/files/onboarding.snapshot"], command={"filesClaim": "snapshots"})
    (one,) = containers(objects, job_of(objects))
    assert {"name": "files", "mountPath": "/files"} in one.spec["volumeMounts"]
    assert {"name": "files", "persistentVolumeClaim": {"claimName": "snapshots"}} in one.pod["volumes"]
    assert "/files" not in str(commanded())


def test_the_command_is_tried_once_and_is_no_hook() -> None:
    """Whether a move may go on is for a person to say, and no upgrade waits for it or runs it again."""
    job = job_of(commanded())
    assert (job["spec"]["backoffLimit"], job["spec"]["template"]["spec"]["restartPolicy"]) == (0, "Never")
    assert "annotations" not in job["metadata"]


@pytest.mark.parametrize(
    "values",
    [
        {"command": {"args": [*MIGRATE, "--dry-run"]}},
        {"image": {"tag": "0.3.0"}},
        {"settings": {"topics": {"results": "other"}}},
        {"extraVolumes": [{"name": "authority", "secret": {"secretName": "authority"}}]},
    ],
    ids=["args", "image", "settings", "volumes"],
)
def test_another_pod_is_another_job(values: Values) -> None:
    """Kubernetes refuses a changed Job, in the middle of an upgrade; the same values make the same one."""
    given: Values = {"command": {"enabled": True, "args": MIGRATE}}
    before, same, after = (job_of(rendered(**each)) for each in (given, given, merged(given, values)))
    assert before == same
    assert before["metadata"]["name"] != after["metadata"]["name"]


def test_the_policies_of_platform_teams_hold() -> None:
    """As for every other pod, by the network too."""
    policy = {"enabled": True, "webhooksFrom": [{"podSelector": {}}]}
    objects = commanded(networkPolicy=policy, fullnameOverride="r" * 52)
    assert [breach for rule in RULES for breach in rule(objects)] == []
    rules = found(objects, "NetworkPolicy", "-command")["spec"]
    assert rules["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "command"
    assert {port["port"] for rule in rules["egress"] for port in rule["ports"]} == {53, 9092, 8081, 443}
    assert rules["ingress"] == []


def test_with_users_of_strimzi_it_comes_as_one_that_may_move() -> None:
    """Those of workloads may not, and whoever moves needs rights at both ends."""
    objects = commanded(command={"kafkaUser": "onboarding-mover"}, **USERS)
    (one,) = containers(objects, job_of(objects))
    named = [each["value"] for each in one.spec["env"] if each["name"] == "PROCESSOR_KAFKA__SASL_USERNAME"]
    assert named == ["onboarding-mover"]
    (secrets,) = [each for each in one.pod["volumes"] if each["name"] == "secrets"]
    assert "onboarding-mover" in {each["secret"]["name"] for each in secrets["projected"]["sources"]}


REFUSALS: list[tuple[Values, str]] = [
    ({"command": {"enabled": True}}, "command.args is missing; write the command and its arguments"),
    (merged({"command": {"enabled": True, "args": MIGRATE}}, USERS), "command.kafkaUser is missing: no user of"),
    ({"command": {"kafkaUser": "a"}}, "command.kafkaUser means nothing without strimzi.users.enabled; unset it"),
    ({"command": {"enabled": True, "args": [""]}}, "/command/args/0"),
]


@pytest.mark.parametrize("values,sentence", REFUSALS, ids=[sentence for _, sentence in REFUSALS])
def test_a_command_that_could_not_run_is_refused(values: Values, sentence: str) -> None:
    """What is missing is named, with the remedy."""
    assert sentence in refused(**values)


def test_the_notes_say_how_to_follow_it_and_to_end_it() -> None:
    """Whoever forgets it would have it run again by the next change."""
    name = job_of(commanded())["metadata"]["name"]
    said = notes(command={"enabled": True, "args": MIGRATE})
    assert f"The Job {name} runs, once: processor {' '.join(MIGRATE)}\n" in said
    assert f"  kubectl --namespace identity logs --follow job/{name}\n" in said
    assert "unset command.enabled" in said


def test_the_steps_of_a_move_in_the_documents_are_those() -> None:
    """All stops, the Job tells what it would move, it moves, and all starts elsewhere without it."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    (steps,) = re.findall(r"\*\*Move to other partition counts.*?```sh\n(.*?)```", text, re.DOTALL)
    environ = {"HELM": helm_3(), "CHART": str(CHART), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["bash", "-c", SHOWN + steps], env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    upgrades = [objects_in(part) for part in done.stdout.split("# upgraded\n")[:-1]]
    replicas = [{item["spec"]["replicas"] for item in objects if item["kind"] == "Deployment"} for objects in upgrades]
    assert replicas == [{0}, {0}, {0}, {2}]
    stopped, told, moved, started = ([item for item in objects if item["kind"] == "Job"] for objects in upgrades)
    (telling, moving) = (job["spec"]["template"]["spec"]["containers"][0]["args"] for job in (*told, *moved))
    assert telling == [*moving, "--dry-run"]
    assert moving == [*MIGRATE, "--partitions", "24"]
    assert (stopped, started) == ([], [])
    settings = found(upgrades[-1], "ConfigMap", "settings")["data"]
    assert settings["PROCESSOR_APPLICATION_ID"] == "onboarding-24"
    assert settings["PROCESSOR_TOPICS__PARTITIONS"] == "24"


@pytest.mark.broker
@pytest.mark.registry
def test_a_release_moves_by_its_job(
    tmp_path: Path, topic_prefix: str, bootstrap_servers: str, registry_url: str
) -> None:
    """Commands, variables and files of the manifests are enough, and nothing of the state is left beside Kafka."""
    moved_id = f"{topic_prefix}moved"
    args = ["topics", "migrate", "--to-application-id", moved_id, "--partitions", "4"]
    objects = staged("roles", topic_prefix, bootstrap_servers, registry_url, {"enabled": True, "args": args})
    with watchdog() as group:
        pods = Pods(objects, tmp_path, group)
        pods.run("Job", "setup")
        pods.run("Job", job_of(objects)["metadata"]["name"])
    made = topics_named(bootstrap_servers, f"{moved_id}.")
    assert f"{moved_id}.completion-state" in made
    assert list(tmp_path.rglob(f"{PREFIX}*")) == []
    delete_topics(bootstrap_servers, topics_named(bootstrap_servers, topic_prefix))
