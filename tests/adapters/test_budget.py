"""The budget: one limit of calls for a deployment of many instances that never speak of it."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.adapters.budget import SHARES, Budget

Owned = Mapping[str, set[int]]


@st.composite
def deployments(draw: st.DrawFn) -> tuple[Mapping[str, int], list[Owned]]:
    """Draw the partitions of each decider, and who of some instances owns which."""
    partitions = {decider: draw(st.integers(1, 16)) for decider in SHARES}
    instances: list[dict[str, set[int]]] = [
        {decider: set() for decider in SHARES} for _ in range(draw(st.integers(1, 16)))
    ]
    for decider, count in partitions.items():
        for number in range(count):
            draw(st.sampled_from(instances))[decider].add(number)
    return partitions, list(instances)


@given(deployments(), st.integers(0, 1_000))
def test_together_all_instances_have_exactly_the_limit(
    deployment: tuple[Mapping[str, int], list[Owned]], more: int
) -> None:
    """However partitions lie, no call is over the limit, none of it lies idle, and whoever owns one has a slot."""
    partitions, instances = deployment
    limit = 4 * max(partitions.values()) + more
    slots = [Budget(limit, partitions).slots(owned) for owned in instances]
    assert sum(slots) == limit
    assert all((count > 0) == any(owned.values()) for count, owned in zip(slots, instances, strict=True))


@given(deployments(), st.data())
def test_a_small_limit_is_exceeded_only_by_those_that_would_have_none(
    deployment: tuple[Mapping[str, int], list[Owned]], data: st.DataObject
) -> None:
    """They have one; at twelve partitions and three instances that happens to nobody."""
    partitions, instances = deployment
    limit = data.draw(st.integers(1, 4 * max(partitions.values())))
    slots = [Budget(limit, partitions).slots(owned) for owned in instances]
    assert sum(slots) <= limit + slots.count(1)
    assert all(count > 0 for count, owned in zip(slots, instances, strict=True) if any(owned.values()))


@pytest.mark.parametrize(
    "limit,submitter,reconciler",
    [(256, [64, 64], [64, 64]), (48, [12, 12], [12, 12]), (20, [6, 4], [5, 5]), (12, [4, 2], [3, 3])],
)
def test_runs_and_reads_have_fixed_shares(limit: int, submitter: list[int], reconciler: list[int]) -> None:
    """Two submitters and two reconcilers on twelve partitions: neither can take what belongs to the other."""
    budget = Budget(limit, dict.fromkeys(SHARES, 12))
    halves = (set(range(0, 12, 2)), set(range(1, 12, 2)))
    assert [budget.slots({"preparation": half, "launch": half}) for half in halves] == submitter
    assert [budget.slots({"completion": half}) for half in halves] == reconciler


def test_one_process_with_everything_has_the_whole_limit() -> None:
    """And without a partition it has nothing."""
    budget = Budget(100, {"preparation": 30, "launch": 12, "completion": 12})
    everything = {"preparation": set(range(30)), "launch": set(range(12)), "completion": set(range(12))}
    assert budget.slots(everything) == 100
    assert budget.slots({decider: set() for decider in SHARES}) == 0
