"""Every order of what can happen in a lane, up to six things: each request leaves it once, in the order of arrival.

The walk goes through all sequences of the steps below; a step that cannot happen (an answer without an open call) is
no branch. After every sequence the provider makes what it is asked for until the lane is free.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest

from processor.core.messages import (
    Call,
    CallAnswered,
    Create,
    DeadLettered,
    Finished,
    Judge,
    Prepared,
    Resumed,
    TimerFired,
    VerdictReached,
)
from processor.core.preparation import Fact
from processor.core.proof import Proof
from processor.core.state import Part, PendingRequest, Preparing
from tests.core.lanes import DEADLINE, NOW, PREPARATION, REQUEST, arrived, named

FOLLOWER = named("request-2")
BARE = named("request-3", workflow="bare")
CONFLICT = replace(REQUEST, columns={"score": 8})


@dataclass(frozen=True, slots=True)
class World:
    """One lane in the middle of its history: its state, the open call, what left it, and the clock."""

    now: int = NOW
    state: dict[str, Part] = field(default_factory=dict)
    call: Call | None = None
    accepted: tuple[str, ...] = ()
    left: tuple[tuple[str, str], ...] = ()
    conflicts: int = 0

    @property
    def head(self) -> Preparing | None:
        """The active request and its place."""
        head = self.state.get("head")
        assert head is None or isinstance(head, Preparing)
        return head

    def after(self, fact: Fact, now: int | None = None) -> "World":
        """Return the world after one fact."""
        now = self.now if now is None else now
        decision = PREPARATION.decide(self.state, fact, now)
        state = {name: part for name, part in {**self.state, **decision.changes}.items() if part is not None}
        is_new = {name[6:] for name in decision.changes if name.startswith("known/") and name not in self.state}
        left = tuple(
            (output.origin.request_id, "prepared" if isinstance(output, Prepared) else output.outcome)
            for output in decision.outputs
            if isinstance(output, Prepared | Finished)
        )
        conflicts = sum(isinstance(output, DeadLettered) for output in decision.outputs)
        call = decision.calls[0] if decision.calls else self.call
        world = World(now, state, call, (*self.accepted, *sorted(is_new)), self.left + left, self.conflicts + conflicts)
        assert len(decision.calls) <= 1
        world.check()
        return world

    def check(self) -> None:
        """Nobody leaves twice, the prepared leave in order, and everyone accepted has left or is still there."""
        ids = [request_id for request_id, _ in self.left]
        assert len(ids) == len(set(ids)), self.left
        prepared = [request_id for request_id, how in self.left if how == "prepared"]
        assert prepared == [request_id for request_id in self.accepted if request_id in prepared], self.left
        held = [part.origin.request_id for part in self.state.values() if isinstance(part, PendingRequest)]
        held += [self.head.request.origin.request_id] if self.head else []
        assert sorted(ids + held) == sorted(self.accepted), self
        assert (self.head is None) <= (not held), self


def arrival(fact: Fact) -> Callable[[World], World | None]:
    return lambda world: world.after(fact)


def conflict(world: World) -> World | None:
    """Other content under the id of the first, once that is known."""
    return world.after(arrived(CONFLICT)) if "known/request-1" in world.state else None


def answer(proof: Proof) -> Callable[[World], World | None]:
    def step(world: World) -> World | None:
        call = world.call
        if not isinstance(call, Create):
            return None
        made_id = "made-1" if proof is Proof.DONE else None
        fact = CallAnswered(call.operation, call.attempt, proof, made_id, None, None, "why", call.request_id)
        return replace(world, call=None).after(fact)

    return step


def verdict(*, is_our_fault: bool) -> Callable[[World], World | None]:
    def step(world: World) -> World | None:
        call = world.call
        if not isinstance(call, Judge):
            return None
        return replace(world, call=None).after(VerdictReached(call.attempt, is_our_fault, call.request_id))

    return step


def timer(world: World) -> World | None:
    """The timer of the head fires at its time."""
    if world.head is None or world.head.timer is None:
        return None
    due_at = world.head.timer.due_at
    return world.after(TimerFired("head", due_at), max(world.now, due_at))


def impatient(world: World) -> World | None:
    """The first that waits reaches its deadline."""
    waiting = min((name for name in world.state if name.startswith("w/")), default=None)
    return None if waiting is None else world.after(TimerFired(waiting, DEADLINE), DEADLINE)


def restart(world: World) -> World | None:
    """A new owner: the open call died, and the waiting head is told."""
    if world.head is None or not world.head.is_waiting:
        return None
    return replace(world, call=None).after(Resumed("head"))


STEPS: dict[str, Callable[[World], World | None]] = {
    "first": arrival(arrived()),
    "follower": arrival(arrived(FOLLOWER)),
    "bare": arrival(arrived(BARE)),
    "conflict": conflict,
    "done": answer(Proof.DONE),
    "unknown": answer(Proof.UNKNOWN),
    "refused": answer(Proof.REFUSED),
    "our fault": answer(Proof.OUR_FAULT),
    "genuine": verdict(is_our_fault=False),
    "not genuine": verdict(is_our_fault=True),
    "timer": timer,
    "impatient": impatient,
    "restart": restart,
}
TIMES = Counter(dict.fromkeys(STEPS, 1) | {"first": 2, "done": 3, "timer": 2})


def histories(world: World, length: int, left: Counter[str]) -> Iterator[World]:
    """Yield the world after every possible sequence of that many steps, and after every shorter one."""
    yield world
    if length == 0:
        return
    for name, step in STEPS.items():
        if left[name] and (after := step(world)) is not None:
            left[name] -= 1
            yield from histories(after, length - 1, left)
            left[name] += 1


def settled(world: World) -> World:
    """Return the world after the provider made everything that it was asked for."""
    steps = (answer(Proof.DONE), verdict(is_our_fault=False), timer)
    for _ in range(40):
        if world.head is None:
            return world
        world = next(after for step in steps if (after := step(world)) is not None)
    raise AssertionError("a lane that never gets free: " + str(world.head))


def check_all(length: int) -> int:
    """Walk all histories of that length; return how many there were."""
    count = 0
    for world in histories(World(), length, Counter(TIMES)):
        end = settled(world)
        assert sorted(request_id for request_id, _ in end.left) == sorted(end.accepted), (world, end)
        assert set(end.state) == {f"known/{request_id}" for request_id in end.accepted}, (world, end)
        count += 1
    return count


def test_every_order_of_up_to_four_things_lets_each_request_leave_once() -> None:
    """The short walk, for every run of the checks."""
    assert check_all(4) > 500


@pytest.mark.slow
def test_every_order_of_up_to_six_things_lets_each_request_leave_once() -> None:
    """The long walk: arrivals, repetitions, a conflict, answers, verdicts, timers and a restart in any order."""
    assert check_all(6) > 10_000
