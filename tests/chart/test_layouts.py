"""Which workloads there are, what they are, and how their pods stop, spread and keep their state."""

import math
from typing import Any

import pytest

from processor.adapters.web_listener import ListenerLimits
from processor.roles.process import FLUSH_S
from processor.roles.workers import LEAVE_MARGIN_S
from processor.settings import Settings
from processor.settings_relations import POLL_MARGIN_MS
from tests.chart.policies import templates
from tests.support.chart import NO_PROVIDER, Values, chart, found, merged, refused, rendered
from tests.support.pods import Object

ROLES = ("submitter", "ingestor", "reconciler")
STATEFUL = ("submitter", "reconciler", "all")
CLOSING_S = 5  # Of the operations port and of the process.


def kept(role: str, **more: Any) -> Values:  # noqa: ANN401  # as in values.yaml
    """Return values with which a workload keeps its state."""
    persistence = {"enabled": True, **more}
    return {"layout": "all" if role == "all" else "roles", role: {"persistence": persistence}}


def workloads(objects: list[Object]) -> dict[str, str]:
    """Return component -> kind of each workload."""
    return {
        item["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]: item["kind"]
        for item in objects
        if item["kind"] in {"Deployment", "StatefulSet"}
    }


def pod_of(objects: list[Object], kind: str, role: str) -> Object:
    """Return the pod's specification of a workload."""
    spec: Object = found(objects, kind, role)["spec"]["template"]["spec"]
    return spec


def test_a_role_is_a_workload_or_one_workload_is_all_roles() -> None:
    """The same chart serves large and small installations."""
    assert workloads(rendered()) == dict.fromkeys(ROLES, "Deployment")
    objects = rendered(layout="all")
    assert workloads(objects) == {"all": "Deployment"}
    (one,) = pod_of(objects, "Deployment", "all")["containers"]
    assert one["args"] == ["run"]
    assert {port["name"] for port in one["ports"]} == {"webhook", "ops"}


def test_webhooks_come_in_at_the_same_address_in_both_layouts() -> None:
    """A change of the layout moves the Service to other pods, and nobody has to be told."""
    roles, all_in_one = (found(rendered(layout=layout), "Service", "-ingestor") for layout in ("roles", "all"))
    assert roles["metadata"]["name"] == all_in_one["metadata"]["name"]
    component = [each["spec"]["selector"]["app.kubernetes.io/component"] for each in (roles, all_in_one)]
    assert component == ["ingestor", "all"]


def test_all_roles_in_one_pod_stop_within_its_grace_period() -> None:
    """The ingestor answers what it took, then work drains and is committed; load balancers forget it before."""
    spec = pod_of(rendered(layout="all"), "Deployment", "all")
    settings = Settings()
    drain_s, preparing_s = settings.engine.drain_s_max, 5 + ListenerLimits().drain_s
    leave_s = max(LEAVE_MARGIN_S, settings.kafka.transaction_timeout_ms / 1000)
    assert spec["terminationGracePeriodSeconds"] == math.ceil(preparing_s + drain_s + leave_s) + FLUSH_S + CLOSING_S
    assert spec["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}


@pytest.mark.parametrize("role", STATEFUL)
def test_a_pod_is_not_killed_before_the_group_would_throw_it_out(role: str) -> None:
    """The grace period is no shorter than the least that the settings ask between two polls of a draining member."""
    settings = Settings()
    poll_s = settings.engine.drain_s_max + (settings.kafka.transaction_timeout_ms + POLL_MARGIN_MS) / 1000
    spec = pod_of(rendered(layout="all" if role == "all" else "roles"), "Deployment", role)
    assert spec["terminationGracePeriodSeconds"] >= poll_s


@pytest.mark.parametrize("role", STATEFUL)
def test_state_is_kept_on_a_volume_of_each_pod(role: str) -> None:
    """The volume is where the state is, comes back with the pod's name, and that name begins its transactional ids."""
    objects = rendered(**kept(role, size="50Gi", storageClass="fast", accessModes=["ReadWriteOncePod"]))
    assert workloads(objects)[role] == "StatefulSet"
    item = found(objects, "StatefulSet", role)
    (claim,) = item["spec"]["volumeClaimTemplates"]
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOncePod"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "50Gi"}},
    }
    spec = item["spec"]["template"]["spec"]
    (one,) = spec["containers"]
    variables = {each["name"]: each for each in one["env"]}
    (mount,) = [each for each in one["volumeMounts"] if each["name"] == claim["metadata"]["name"]]
    assert mount["mountPath"] == variables["PROCESSOR_STATE__DIRECTORY"]["value"]
    assert claim["metadata"]["name"] not in {volume["name"] for volume in spec["volumes"]}
    name = {"fieldRef": {"fieldPath": "metadata.name"}}
    assert variables["PROCESSOR_KAFKA__INSTANCE_NAME"] == {"name": "PROCESSOR_KAFKA__INSTANCE_NAME", "valueFrom": name}


def test_without_a_volume_no_pod_has_a_stable_name() -> None:
    """Pods of a Deployment have new names, so their transactional ids are fresh at each start."""
    assert "INSTANCE_NAME" not in str(rendered())


@pytest.mark.parametrize("role", STATEFUL)
def test_pods_with_volumes_start_together_and_are_replaced_one_by_one(role: str) -> None:
    """No pod waits for another one at a start; volumes go with the workload, for they hold copies."""
    spec = found(rendered(**kept(role)), "StatefulSet", role)["spec"]
    assert spec["podManagementPolicy"] == "Parallel"
    assert spec["updateStrategy"] == {"type": "RollingUpdate"}
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Delete", "whenScaled": "Retain"}


@pytest.mark.parametrize("role", STATEFUL)
def test_a_stateful_set_has_its_headless_service(role: str) -> None:
    """The Service that it names is there, has no address, and chooses its pods."""
    objects = rendered(**kept(role))
    spec = found(objects, "StatefulSet", role)["spec"]
    service = found(objects, "Service", spec["serviceName"])["spec"]
    assert service["clusterIP"] == "None"
    assert service["selector"] == spec["selector"]["matchLabels"]


def test_the_pods_of_a_stateful_set_can_carry_its_name() -> None:
    """Kubernetes puts it, and a hash of up to ten characters, into a label."""
    values = merged({"settings": {}}, kept("reconciler"))
    objects = rendered(**values, fullnameOverride="r" * 63)
    name = found(objects, "StatefulSet", "reconciler")["metadata"]["name"]
    assert len(name) <= 63 - len("-") - 10
    assert name.endswith("-reconciler")


@pytest.mark.parametrize("layout", ["roles", "all"])
def test_workloads_of_several_pods_lose_one_at_a_time(layout: str) -> None:
    """Each has a budget, which may be left out."""
    budgets = [item["spec"] for item in rendered(layout=layout) if item["kind"] == "PodDisruptionBudget"]
    assert len(budgets) == len(workloads(rendered(layout=layout)))
    assert {budget["maxUnavailable"] for budget in budgets} == {1}
    none = rendered(layout=layout, podDisruptionBudget={"enabled": False})
    assert [item for item in none if item["kind"] == "PodDisruptionBudget"] == []


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_pods_are_spread_softly_over_zones_and_nodes(kind: str) -> None:
    """Only pods of one revision are counted, so that a rollout does not end lopsided."""
    spec = pod_of(rendered(**(kept("submitter") if kind == "StatefulSet" else {})), kind, "submitter")
    spread = spec["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    assert {each["whenUnsatisfiable"] for each in spread} == {"ScheduleAnyway"}
    revision = "controller-revision-hash" if kind == "StatefulSet" else "pod-template-hash"
    assert [each["matchLabelKeys"] for each in spread] == [[revision]] * 2


def test_the_spread_can_be_another_one_or_none() -> None:
    """One without a selector counts the workload's own pods, one with a selector is taken as it is."""
    own = {"topologyKey": "rack", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule"}
    whole = {**own, "labelSelector": {"matchLabels": {"team": "a"}}}
    given = {"submitter": {"topologySpreadConstraints": [own, whole]}, "reconciler": {"topologySpreadConstraints": []}}
    objects = rendered(**given)
    first, second = pod_of(objects, "Deployment", "submitter")["topologySpreadConstraints"]
    assert first.items() >= own.items()
    assert first["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == "submitter"
    assert second == whole
    assert pod_of(objects, "Deployment", "reconciler")["topologySpreadConstraints"] == []


@pytest.mark.parametrize("role", [*ROLES, "all"])
def test_pods_can_have_a_priority(role: str) -> None:
    """Each workload has its own."""
    layout = "all" if role == "all" else "roles"
    objects = rendered(layout=layout, **{role: {"priorityClassName": "important"}})
    assert pod_of(objects, "Deployment", role)["priorityClassName"] == "important"
    assert str(objects).count("priorityClassName") == 1


REFUSALS: list[tuple[Values, str]] = [
    ({"layout": "one"}, "/layout"),
    (
        {"layout": "all", "submitter": {"persistence": {"enabled": True}}},
        "submitter.persistence means nothing where layout is all; set that of all",
    ),
    (
        {"all": {"persistence": {"enabled": True}}},
        "all.persistence means nothing where layout is roles; set that of submitter and reconciler",
    ),
    (
        merged(kept("submitter"), {"settings": {"state": {"store": "memory"}}}),
        "submitter.persistence keeps nothing where settings.state.store is memory",
    ),
    ({"layout": "all", "all": {"replicas": 13}}, "all.replicas: 13 are more than the 12 partitions"),
    (
        {"layout": "all", "all": {"terminationGracePeriodSeconds": 64}},
        "all.terminationGracePeriodSeconds: at least 65, or a stop is cut off",
    ),
    ({"ingestor": {"persistence": {"enabled": True}}}, "'persistence' not allowed"),
    (kept("submitter", size="large"), "/submitter/persistence/size"),
    (kept("submitter", accessModes=[]), "/submitter/persistence/accessModes"),
    ({"submitter": {"topologySpreadConstraints": [{"maxSkew": 1}]}}, "missing property 'topologyKey'"),
]


@pytest.mark.parametrize("values,sentence", REFUSALS, ids=[sentence for _, sentence in REFUSALS])
def test_what_means_nothing_in_a_layout_is_refused(values: Values, sentence: str) -> None:
    """Values that would do nothing, or harm, are named with the remedy."""
    assert sentence in refused(**values)


def test_an_unused_section_is_not_judged() -> None:
    """Replicas of roles count for nothing where one workload is all roles."""
    assert rendered(layout="all", submitter={"replicas": 99})
    assert chart().metadata["apiVersion"] == "v2"


def test_every_pod_can_be_kept_to_nodes_and_have_a_priority() -> None:
    """Where nodes are tainted or full, what has neither waits for ever: the Job, the test and the simulator too."""
    tolerations = [{"key": "dedicated", "operator": "Exists"}]
    nodes = {"nodeSelector": {"pool": "onboarding"}, "tolerations": tolerations, "priorityClassName": "important"}
    sections = dict.fromkeys(("submitter", "ingestor", "reconciler", "setupJob", "test", "simulator"), nodes)
    objects = rendered(**merged(merged(NO_PROVIDER, {"setupJob": {"enabled": True}}), sections))
    specs = [template["spec"] for _, template in templates(objects)]
    assert len(specs) == len(sections)
    assert [spec for spec in specs if not nodes.items() <= spec.items()] == []
