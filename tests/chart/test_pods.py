"""How long a pod may take, what it may read, and what may take it away: budgets in seconds, modes, policies."""

import re

import pytest

from tests.chart.policies import templates
from tests.chart.test_layouts import ROLES, STATEFUL, kept, pod_of
from tests.chart.validation import CI_NAMES, objects_of
from tests.support.chart import chart, found, rendered
from tests.support.pods import Object
from tests.support.root import ROOT

SEPARATELY = [*ROLES, "all"]


def objects_for(role: str) -> list[Object]:
    """Return the objects of an installation that has this workload."""
    return rendered(layout="all" if role == "all" else "roles")


def budget_s(probe: Object) -> int:
    """Return for how many seconds a probe may fail before something comes of it."""
    return int(probe["periodSeconds"] * probe["failureThreshold"])


@pytest.mark.parametrize("role", SEPARATELY)
def test_a_start_may_take_two_minutes_and_a_stall_half_a_minute(role: str) -> None:
    """A pod needs seconds to begin; one that stands still is restarted, one that blinks is not."""
    (one,) = pod_of(objects_for(role), "Deployment", role)["containers"]
    probes = {name: one[f"{name}Probe"] for name in ("startup", "liveness", "readiness")}
    assert {name: budget_s(probe) for name, probe in probes.items()} == {
        "startup": 120,
        "liveness": 30,
        "readiness": 10,
    }
    assert {name: probe["periodSeconds"] for name, probe in probes.items()} == {
        "startup": 2,
        "liveness": 10,
        "readiness": 5,
    }
    assert {probe["timeoutSeconds"] for probe in probes.values()} == {5}


@pytest.mark.parametrize("role", SEPARATELY)
def test_a_pod_that_is_not_ready_keeps_no_node_from_being_drained(role: str) -> None:
    """Else one that waits for a broker would hold up the cluster's upgrade."""
    budget = found(objects_for(role), "PodDisruptionBudget", role)["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")


@pytest.mark.parametrize("name", CI_NAMES)
def test_secrets_can_be_read_by_the_group_of_the_pod_and_by_nobody_else(name: str) -> None:
    """Files of a projected volume belong to root, and the processor is in their group only: 0400 would lock it out."""
    modes = {
        volume["projected"].get("defaultMode")
        for _, template in templates(objects_of(name))
        for volume in template["spec"].get("volumes", ())
        if "projected" in volume
    }
    assert modes == {0o440}


def sizing() -> list[dict[str, str]]:
    """Return the rows of the sizing table of docs/operations.md, by the titles of its columns."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^\| requests a second .*\n(?:\|.*\n)+", text, re.MULTILINE)
    titles, _, *rows = ([cell.strip() for cell in line.strip("|\n").split("|")] for line in block.splitlines())
    return [dict(zip(titles, row, strict=True)) for row in rows]


def number(cell: str) -> float:
    """Return the number that a cell begins with."""
    return float(cell.partition(" ")[0])


@pytest.mark.parametrize("role", STATEFUL)
def test_a_rollout_waits_for_the_longest_restore_of_the_sizing_table(role: str) -> None:
    """Else Argo CD and Flux call a rollout failed that only restores; its start and its wait come on top."""
    spec = found(objects_for(role), "Deployment", role)["spec"]
    restore_s = max(number(row["of a whole new pod"]) for row in sizing()) * 60
    (one,) = spec["template"]["spec"]["containers"]
    assert spec["progressDeadlineSeconds"] >= restore_s + budget_s(one["startupProbe"]) + spec["minReadySeconds"]
    given = rendered(layout="all" if role == "all" else "roles", **{role: {"progressDeadlineSeconds": 7200}})
    assert found(given, "Deployment", role)["spec"]["progressDeadlineSeconds"] == 7200
    assert "progressDeadlineSeconds" not in found(rendered(**kept(role)), "StatefulSet", role)["spec"]


def test_a_rollout_of_the_ingestor_waits_as_long_as_values_say() -> None:
    """It restores nothing, so Kubernetes' own ten minutes are its default."""
    assert found(rendered(), "Deployment", "ingestor")["spec"]["progressDeadlineSeconds"] == 600
    given = found(rendered(ingestor={"progressDeadlineSeconds": 60}), "Deployment", "ingestor")
    assert given["spec"]["progressDeadlineSeconds"] == 60


def test_the_sizing_table_says_what_disk_a_pod_needs_while_another_is_away() -> None:
    """The pods that are left hold everything, and compactions need as much again."""
    for row in sizing():
        state, pods = number(row["state, all together"]), number(row["pods, least"])
        assert number(row["disk a pod, one pod away"]) == pytest.approx(2 * state / (pods - 1), rel=0.03)


def test_the_default_disk_is_that_of_the_smallest_row() -> None:
    """Who takes in more must read the table; the document says from where on."""
    least = max(number(row["disk a pod, one pod away"]) for row in sizing() if row["requests a second"] == "1")
    for role in STATEFUL:
        assert number(chart().values[role]["stateSizeLimit"].replace("Gi", " Gi")) >= least


@pytest.mark.parametrize("role", STATEFUL)
def test_a_pod_asks_for_the_disk_that_its_state_may_fill(role: str) -> None:
    """Else nodes run full, and pods that keep to their limit are evicted; a volume is no disk of the node."""
    layout = {"layout": "all" if role == "all" else "roles"}
    spec = pod_of(rendered(**layout, **{role: {"stateSizeLimit": "36Gi"}}), "Deployment", role)
    (volume,) = [volume for volume in spec["volumes"] if volume["name"] == "state"]
    assert volume["emptyDir"] == {"sizeLimit": "36Gi"}
    assert spec["containers"][0]["resources"]["requests"]["ephemeral-storage"] == "36Gi"
    own = {role: {"resources": {"requests": {"ephemeral-storage": "1Gi"}}}}
    (one,) = pod_of(rendered(**layout, **own), "Deployment", role)["containers"]
    assert one["resources"]["requests"]["ephemeral-storage"] == "1Gi"
    assert "ephemeral-storage" not in str(found(rendered(**kept(role)), "StatefulSet", role))
    in_memory = rendered(**layout, settings={"state": {"store": "memory"}})
    assert "ephemeral-storage" not in str(found(in_memory, "Deployment", role))


def test_a_load_balancer_can_be_told_whom_it_lets_in() -> None:
    """And whether it keeps the caller's address; without words nothing is asked."""
    ranges = ["203.0.113.0/24", "2001:db8::/32"]
    service = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "loadBalancerSourceRanges": ranges}
    spec = found(rendered(ingestor={"service": service}), "Service", "-ingestor")["spec"]
    assert (spec["externalTrafficPolicy"], spec["loadBalancerSourceRanges"]) == ("Local", ranges)
    assert not {"externalTrafficPolicy", "loadBalancerSourceRanges"} & found(rendered(), "Service")["spec"].keys()
