"""A rule that fails parks its key: what comes for it is set aside in order, the rest goes on, another build tries."""

from typing import Any

import pytest

from tests.engine.quiet import Quiet
from tests.engine.simulation import Process

BAD, GOOD = "k0", "k2"  # Two keys of one partition.


def parked_world(fact: str) -> tuple[Quiet, Process]:
    """Return a world whose first build fails on a kind of fact for number 1, in front of 2 and 3 of the same key."""
    world = Quiet()
    world.broken[1] = fact
    if fact == "Fired":  # The timer that fires for it is the one of its back-off.
        world.ledger = type(world.ledger)(world.rng, {"not-sent": 1}, world.say)
    process = world.begin()
    for number, key in ((1, BAD), (2, BAD), (10, GOOD), (3, BAD)):
        world.publish(number, key)
    world.go(20)
    world.ledger._proofs = {"done": 1}  # noqa: SLF001  # from here on all goes well
    world.go()
    return world, process


def next_build(world: Quiet, process: Process) -> Process:
    """Replace the process by one of the next build."""
    world._build = "build-2"  # noqa: SLF001  # what a rollout changes
    world.leave(process)
    return world.begin()


@pytest.mark.parametrize("fact", ["Arrived", "Answered", "Permit", "Fired"])
def test_a_rule_that_fails_parks_its_key_and_the_partition_goes_on(fact: str) -> None:
    """Whatever kind of fact it fails on: the others of the partition end, those of its key wait, and it is counted."""
    world, process = parked_world(fact)
    assert world.outcomes() == {10: "done"}
    assert process.member.counts()["parked"] > 0
    assert process.member.is_ready()
    assert world.watcher.seen["parked"] == 1
    assert world.ledger.executed == [10]


@pytest.mark.parametrize("fact", ["Arrived", "Answered", "Permit", "Fired"])
def test_the_next_build_decides_what_was_parked_in_order(fact: str) -> None:
    """Nothing of what was set aside is lost, repeated or overtaken, and nothing stays parked."""
    world, process = parked_world(fact)
    later = next_build(world, process)
    world.go(80)
    assert world.outcomes() == dict.fromkeys((10, 1, 2, 3), "done")
    assert [result["id"] for result in world.results()] == [10, 1, 2, 3]
    assert sorted(world.ledger.executed) == [1, 2, 3, 10]
    assert later.member.counts()["parked"] == 0
    world.check()


def test_the_same_build_does_not_try_again() -> None:
    """A restart of the same build would only fail again; what comes for the key is still set aside behind the rest."""
    world, process = parked_world("Arrived")
    world.leave(process)
    again = world.begin()
    world.publish(4, BAD)
    world.go()
    assert world.outcomes() == {10: "done"}
    assert world.watcher.seen["parked"] == 1
    assert again.member.counts()["parked"] == 4
    next_build(world, again)
    world.go(80)
    assert [result["id"] for result in world.results()] == [10, 1, 2, 3, 4]


def test_a_build_that_fails_again_parks_again_in_order() -> None:
    """The count does not grow, and what stands behind the failing one is not tried before it."""
    world, process = parked_world("Arrived")
    world._build = "build-2"  # noqa: SLF001  # another build with the same bug
    world.leave(process)
    world.start()
    process = world.processes[-1]
    process.machine.broken = world.broken
    world.go()
    assert process.member.counts()["parked"] == 3
    assert world.outcomes() == {10: "done"}
    world.leave(process)
    world._build = "build-3"  # noqa: SLF001
    process = world.begin()
    world.go(80)
    assert [result["id"] for result in world.results()] == [10, 1, 2, 3]
    world.check()


@pytest.mark.parametrize("aborts", [1, 2])
def test_an_aborted_release_is_released_again(aborts: int) -> None:
    """The transaction that tries parked facts may be aborted: they are decided again, and once."""
    world, process = parked_world("Arrived")
    left = [aborts]

    def abort_first(what: str) -> bool:
        is_drawn = what == "abort" and left[0] > 0 and world._build == "build-2"  # noqa: SLF001
        left[0] -= is_drawn
        return is_drawn

    world.draws = abort_first  # type: ignore[method-assign]  # the schedule is the test's own
    next_build(world, process)
    world.go(80)
    assert left == [0]
    assert [result["id"] for result in world.results()] == [10, 1, 2, 3]
    world.check()
    world._compare()  # noqa: SLF001  # nothing parked is left in the topic


def test_a_parked_fact_whose_record_cannot_be_read_now_stays_parked() -> None:
    """The registry is away while the next build starts: the key stays parked, in order, until the start after."""
    world, process = parked_world("Arrived")
    world._build = "build-2"  # noqa: SLF001
    world.leave(process)
    world.start()
    process = world.processes[-1]
    process.machine.is_registry_down = True
    world.go()
    assert process.member.counts()["parked"] == 3
    world.leave(process)
    world.begin()
    world.go(80)
    assert [result["id"] for result in world.results()] == [10, 1, 2, 3]


def test_what_was_left_of_an_unreadable_record_can_be_parked_too() -> None:
    """Its dead letter is out once; the custody that its headers carried waits for the next build."""
    world = Quiet()
    world.broken[1] = "Arrived"
    process = world.begin()
    headers: Any = (("custody", b"1"),)
    world.cluster.publish(BAD.encode(), b"no json", headers)
    world.key_of[1] = BAD
    world.poisons = 1
    world.go()
    assert process.member.counts()["parked"] == 1
    next_build(world, process)
    world.go()
    assert world.outcomes() == {1: "done"}
    world.check()
