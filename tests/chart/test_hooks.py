"""What Helm runs beside the workloads: the Job that makes topics and schemas, and the pod of `helm test`."""

from pathlib import Path
from typing import Any

import pytest

from processor.settings_loading import Need, load_settings
from tests.support.chart import Values, found, refused, rendered
from tests.support.pods import Object, containers

HOOK = "helm.sh/hook"


def set_up(**values: Any) -> list[Object]:  # noqa: ANN401  # as in values.yaml
    """Return the objects of an installation with the set-up Job, changed so."""
    return rendered(setupJob={"enabled": True, **values})


def hooks(objects: list[Object]) -> dict[tuple[str, str], dict[str, str]]:
    """Return the annotations of each hook."""
    return {
        (item["kind"], item["metadata"]["name"]): item["metadata"]["annotations"]
        for item in objects
        if HOOK in item["metadata"].get("annotations", {})
    }


@pytest.mark.parametrize(
    "values,commands",
    [
        ({}, [["topics", "create"], ["schemas", "register"]]),
        ({"topics": False}, [["schemas", "register"]]),
        ({"schemas": False}, [["topics", "create"]]),
    ],
)
def test_the_job_runs_one_command_after_the_other(values: Values, commands: list[list[str]]) -> None:
    """Without a shell: each in a container, and all but the last prepare the pod."""
    objects = set_up(**values)
    assert [one.spec["args"] for one in containers(objects, found(objects, "Job"))] == commands
    assert len(found(objects, "Job")["spec"]["template"]["spec"]["containers"]) == 1


def test_topics_are_there_before_pods_that_wait_for_them() -> None:
    """Else `helm install --wait` would wait for pods that wait for the Job; upgrades have the same order."""
    annotations = hooks(set_up())[("Job", "onboarding-onboarding-processor-setup")]
    assert annotations[HOOK] == "pre-install,pre-upgrade"
    later = hooks(set_up(when="after"))[("Job", "onboarding-onboarding-processor-setup")]
    assert later[HOOK] == "post-install,pre-upgrade"


def test_the_job_finds_all_that_it_needs_when_it_runs(tmp_path: Path) -> None:
    """Nothing of the release is there yet: its catalogue is a hook before it, its settings stand in it."""
    objects = set_up()
    early = {name for kind, name in hooks(objects) if kind == "ConfigMap"}
    job = found(objects, "Job")
    weights = {kind: int(each["helm.sh/hook-weight"]) for (kind, _), each in hooks(objects).items() if kind != "Pod"}
    assert weights["ConfigMap"] < weights["Job"]
    spec = job["spec"]["template"]["spec"]
    assert {volume["configMap"]["name"] for volume in spec["volumes"] if "configMap" in volume} == early
    assert "serviceAccountName" not in spec
    for number, one in enumerate(containers(objects, job)):
        assert "envFrom" not in one.spec
        variables = one.variables(tmp_path / str(number), lambda _: "a secret")
        settings = load_settings(variables, needs=frozenset({Need.KAFKA, Need.REGISTRY}))
        assert (settings.kafka.bootstrap_servers, settings.topics.partitions) == ("kafka-0:9092", 12)
        assert settings.workflows.file.is_file()


def test_hooks_are_made_anew_each_time_and_the_jobs_leave_nothing_behind() -> None:
    """A Job cannot be changed, so the last one goes first; one that failed stays to be looked at."""
    policies = {kind: each["helm.sh/hook-delete-policy"] for (kind, _), each in hooks(set_up()).items()}
    assert policies == {
        "ConfigMap": "before-hook-creation,hook-succeeded",
        "Job": "before-hook-creation,hook-succeeded",
        "Pod": "before-hook-creation",
    }


def test_the_hooks_of_the_job_can_be_those_of_another_tool() -> None:
    """Argo CD takes its own annotations instead of Helm's; all that the Job needs has them too."""
    policy = {"enabled": True, "webhooksFrom": [{"podSelector": {}}]}
    job = {"enabled": True, "annotations": {"argocd.argoproj.io/hook": "Sync"}}
    given = hooks(rendered(setupJob=job, networkPolicy=policy))
    own = {kind: each.get("argocd.argoproj.io/hook") for (kind, name), each in given.items() if name.endswith("-setup")}
    assert own == {"ConfigMap": "Sync", "Job": "Sync", "NetworkPolicy": "Sync"}


def test_the_job_ends() -> None:
    """Tries and time are bounded, and an installation without it has no hook but the test."""
    spec = found(set_up(backoffLimit=2, activeDeadlineSeconds=60), "Job")["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (2, 60)
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert [kind for kind, _ in hooks(rendered())] == ["Pod"]


def test_a_job_without_commands_is_refused() -> None:
    """Whoever wants neither needs no Job."""
    said = refused(setupJob={"enabled": True, "topics": False, "schemas": False})
    assert (
        "setupJob.enabled is set, but neither setupJob.topics nor setupJob.schemas; set one, or unset enabled" in said
    )


def test_the_test_pod_checks_what_workloads_are_given(tmp_path: Path) -> None:
    """Its first container has the settings and secrets of workloads."""
    objects = rendered()
    check, _ = containers(objects, found(objects, "Pod", "test"))
    assert check.spec["args"] == ["check"]
    assert load_settings(check.variables(tmp_path, lambda _: "a secret")).api.base_url == "https://api.example.test"


def test_the_test_pod_asks_the_service_of_webhooks() -> None:
    """Its second container reaches the webhook port as a gateway would."""
    given = {"ingestor": {"service": {"port": 8000}}, "settings": {"webhook": {"path": "/hooks"}}}
    objects = rendered(**given)
    _, webhook = containers(objects, found(objects, "Pod", "test"))
    service = found(objects, "Service")
    address = f"{service['metadata']['name']}.{service['metadata']['namespace']}:8000"
    assert webhook.spec["command"][-2:] == [address, "/hooks"]


def test_the_test_pod_can_be_left_out() -> None:
    """Not every cluster wants hooks."""
    assert hooks(rendered(test={"enabled": False})) == {}
