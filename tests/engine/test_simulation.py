"""Seeded schedules of several processes over one cluster: whatever happens, each number ends in exactly one result.

A failing seed names the command that runs it again, with all that happened. `SIMULATION_SEEDS=first:count` chooses
which seeds the slow test runs.
"""

import os
from collections import Counter

import pytest

from tests.engine.simulation import GENTLE, ROUGH, Roughness, Simulation

STEPS = 250
FIRST, COUNT = (int(number) for number in os.environ.get("SIMULATION_SEEDS", "1000:900").split(":"))
# Each is a place where a process may die or stand still for longer than its session lasts.
POINTS = {
    *("assign", "assigned", "revoke", "revoked", "lost", "close", "closed", "poll", "read_from", "wait"),
    *(
        "committed",
        "bounds",
        "partitions",
        "partitions_before",
        "state_bounds",
        "state_id",
        "state_start",
        "state_poll",
        "end_transaction",
    ),
    *("transact", "transact: produced", "transact: offsets sent", "transact: unknown", "transact: committed"),
    *("end_transaction: ended", "publish_evidence", "evidence published"),
    *("store: open", "store: write", "store: written", "calls: start", "calls: one started", "calls: forget"),
}


def simulate(seed: int, roughness: Roughness) -> Simulation:
    """Run one seed; what fails says how to run it again."""
    word = "gentle" if roughness is GENTLE else "rough"
    try:
        return Simulation(seed, roughness).run(STEPS)
    except Exception as error:
        raise AssertionError(f"{error}\nagain: python -m tests.engine.simulation {seed} {word}") from error


@pytest.mark.parametrize("seed", range(30))
def test_a_rough_world_breaks_no_promise(seed: int) -> None:
    """Crashes and stalls at every point, aborts, unknown commits, outages: one result each, in order, no run twice."""
    simulate(seed, ROUGH)


@pytest.mark.parametrize("seed", range(15))
def test_a_gentle_world_leaves_nothing_undetermined(seed: int) -> None:
    """Rebalances, clean stops, aborts and unknown commits alone never make the outcome of a run unknown."""
    simulate(seed, GENTLE)


@pytest.mark.slow
def test_many_worlds_and_every_point() -> None:
    """The same for many more seeds, in which a process died at every numbered point."""
    died_at: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for seed in range(FIRST, FIRST + COUNT):
        world = simulate(seed, ROUGH)
        died_at += world.crashed_at
        seen += world.watcher.seen
    assert set(died_at) == POINTS
    assert all(seen[name] for name in ("lost", "evidence", "parked", "unknown_commit", "poisoned"))


@pytest.mark.slow
def test_many_gentle_worlds() -> None:
    """The same for worlds in which nobody dies."""
    for seed in range(FIRST, FIRST + COUNT // 3):
        simulate(seed, GENTLE)


def test_a_seed_is_the_same_world_again() -> None:
    """The same seed gives the same results and the same points: a failure can be run again."""
    worlds = [simulate(4, ROUGH) for _ in range(2)]
    assert worlds[0].results() == worlds[1].results()
    assert worlds[0].points == worlds[1].points
