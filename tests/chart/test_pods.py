"""How long a pod may take, what it may read, and what may take it away: budgets in seconds, modes, policies."""

import pytest

from tests.chart.policies import templates
from tests.chart.test_layouts import ROLES, pod_of
from tests.chart.validation import CI_NAMES, objects_of
from tests.support.chart import found, rendered
from tests.support.pods import Object

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
