"""The policies of platform teams over every file of values in helm/ci: each rule, and a breach that it sees."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.chart import policies
from tests.chart.policies import RULES, Rule
from tests.chart.validation import CI_NAMES, Object, objects_of, values_of
from tests.support.chart import ENOUGH, chart, found, merged, rendered

LONG_RELEASE = "r" * 53


@pytest.mark.parametrize("name", CI_NAMES)
@pytest.mark.parametrize("rule", RULES, ids=[rule.__name__ for rule in RULES])
def test_the_chart_keeps_every_policy(rule: Rule, name: str) -> None:
    """Each rule, for Jobs, hooks and test pods too; its docstring says what is asked."""
    assert list(rule(objects_of(name))) == []


@pytest.mark.parametrize("name", CI_NAMES)
def test_names_stay_valid_in_a_release_with_the_longest_name(name: str) -> None:
    """Whatever a release is called, its objects have valid names, all different, and find each other."""
    objects = objects_of(name, LONG_RELEASE)
    breaches = [
        breach for rule in (policies.names, policies.references, policies.selectors) for breach in rule(objects)
    ]
    assert breaches == []


@pytest.mark.parametrize("name", ["minimal", "persistence"])
def test_two_releases_with_long_names_share_no_object(name: str) -> None:
    """Where names are cut, what was cut off still tells them apart: else one release would take over the other's."""
    ours, theirs = ({policies.title(item) for item in objects_of(name, f"{'r' * 52}{end}")} for end in "ab")
    assert not ours & theirs


@pytest.mark.parametrize("length,kind,role_room", [(31, "Deployment", 52), (21, "StatefulSet", 42)])
def test_names_that_fit_are_not_changed(length: int, kind: str, role_room: int) -> None:
    """Up to the last character that fits, an object is called after its release and the chart."""
    values = {"submitter": {"persistence": {"enabled": kind == "StatefulSet"}}}
    release = "r" * length
    files = chart().render(merged(ENOUGH, values), name=release)
    text = files["onboarding-processor/templates/workloads.yaml"]
    name = f"{release}-onboarding-processor"
    assert len(name) == role_room
    assert f"kind: {kind}\nmetadata:\n  name: {name}-submitter\n" in text


@pytest.mark.parametrize("name", CI_NAMES)
def test_the_image_is_the_one_of_values(name: str) -> None:
    """Every container, those of Jobs and tests too, runs what `image` says, by default the chart's own version."""
    given = chart().values["image"] | dict(values_of(name).get("image", {}))
    repository = "/".join(filter(None, (given["registry"], given["repository"])))
    version = f"@{given['digest']}" if given["digest"] else f":{given['tag'] or chart().metadata['appVersion']}"
    assert {one["image"] for _, _, one in policies.containers(objects_of(name))} == {repository + version}


def pod_of(objects: list[Object]) -> Any:  # noqa: ANN401  # broken as one likes
    return found(objects, "Deployment", "submitter")["spec"]["template"]["spec"]


def one_of(objects: list[Object]) -> Any:  # noqa: ANN401  # broken as one likes
    return pod_of(objects)["containers"][0]


def helper(**changes: Any) -> Object:  # noqa: ANN401  # parts of a container
    """Return a container that prepares a pod."""
    return {"name": "helper", "image": "busybox:1", **changes}


BREACHES: list[tuple[Rule, Callable[[list[Object]], Any], str]] = [
    (policies.restricted_pods, lambda o: pod_of(o).update(hostNetwork=True), "hostNetwork"),
    (policies.restricted_pods, lambda o: pod_of(o)["volumes"].append({"name": "h", "hostPath": {}}), "hostPath"),
    (policies.restricted_containers, lambda o: one_of(o)["securityContext"].update(privileged=True), "privileged"),
    (policies.restricted_containers, lambda o: pod_of(o)["securityContext"].pop("seccompProfile"), "seccompProfile"),
    (policies.restricted_containers, lambda o: pod_of(o)["securityContext"].update(runAsUser=0), "runAsUser"),
    (policies.restricted_containers, lambda o: pod_of(o).update(initContainers=[helper()]), "helper: readOnlyRoot"),
    (policies.no_token, lambda o: pod_of(o).pop("automountServiceAccountToken"), "Deployment"),
    (
        policies.no_token,
        lambda o: found(o, "ServiceAccount").update(automountServiceAccountToken=True),
        "ServiceAccount",
    ),
    (policies.probes, lambda o: one_of(o).pop("startupProbe"), "no startupProbe"),
    (policies.probes, lambda o: one_of(o).update(livenessProbe=one_of(o)["readinessProbe"]), "not being ready"),
    (policies.resources, lambda o: one_of(o)["resources"]["requests"].pop("cpu"), "no requests"),
    (policies.resources, lambda o: one_of(o)["resources"]["limits"].update(cpu="1"), "not memory alone"),
    (policies.one_image, lambda o: pod_of(o).update(initContainers=[helper()]), "several images"),
    (policies.one_image, lambda o: one_of(o).update(image="onboarding-processor:latest"), "latest names no version"),
    (policies.one_image, lambda o: one_of(o).update(image="registry:5000/processor"), "processor names no version"),
    (policies.budgets, lambda o: o.remove(found(o, "PodDisruptionBudget", "submitter")), "0 disruption budgets"),
    (policies.budgets, lambda o: found(o, "Deployment", "submitter")["spec"].update(replicas=1), "not 0"),
    (policies.no_secret_values, lambda o: found(o, "ConfigMap", "workflows").update(kind="Secret"), "Secret with"),
    (
        policies.no_secret_values,
        lambda o: found(o, "ConfigMap", "settings")["data"].update(PROCESSOR_PROVIDERS__EU__SECRET="a"),
        "PROCESSOR_PROVIDERS__EU__SECRET",
    ),
    (
        policies.no_secret_values,
        lambda o: one_of(o)["env"].append({"name": "PROCESSOR_API__SECRET", "value": "a"}),
        "PROCESSOR_API__SECRET",
    ),
    (policies.labels, lambda o: found(o, "Service")["metadata"]["labels"].pop("helm.sh/chart"), "helm.sh/chart"),
    (policies.selectors, lambda o: found(o, "Deployment", "submitter")["spec"]["selector"].update(matchLabels={}), "s"),
    (policies.selectors, lambda o: found(o, "Service")["spec"]["selector"].update(team="a"), "it chooses no pod"),
    (policies.names, lambda o: found(o, "Service")["metadata"].update(name="s" * 64), "too long"),
    (policies.names, lambda o: found(o, "Service")["metadata"].pop("namespace"), "no namespace"),
    (policies.names, lambda o: o.append(found(o, "Service")), "2 times"),
    (policies.references, lambda o: o.remove(found(o, "ConfigMap", "settings")), "there is no onboarding-"),
]


@pytest.mark.parametrize("rule,breaking,said", BREACHES, ids=[f"{rule.__name__}-{said}" for rule, _, said in BREACHES])
def test_a_breach_is_seen(rule: Rule, breaking: Callable[[list[Object]], Any], said: str) -> None:
    """Each rule can fail."""
    objects = objects_of("minimal")
    assert list(rule(objects)) == []
    breaking(objects)
    assert said in "\n".join(rule(objects))


def test_a_missing_object_is_seen_where_no_service_account_is_made() -> None:
    """What is the chart's own is known by its name, not by one object that values may leave out."""
    objects = rendered(serviceAccount={"create": False})
    assert [item for item in objects if item["kind"] == "ServiceAccount"] == []
    assert list(policies.references(objects)) == []
    objects.remove(found(objects, "ConfigMap", "workflows"))
    assert "there is no onboarding-onboarding-processor-workflows" in "\n".join(policies.references(objects))


def test_every_rule_has_a_breach() -> None:
    """A rule that nothing breaks would say nothing."""
    assert {rule for rule, _, _ in BREACHES} == set(RULES)
