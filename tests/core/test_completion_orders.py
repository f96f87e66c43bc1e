"""Every order of what can happen to a workflow, up to six things: one result, and an amendment only after EXPIRED.

The walk goes through all sequences of the steps below, each as often as it can plausibly come; a step that cannot
happen (an answer without an open read) is no branch. After every sequence the provider answers truthfully until
nothing is left to do, and every request that was started must have exactly one first result, or have passed on to the
newer workflow that will bring it.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest

from processor.core.completion import Fact
from processor.core.messages import (
    Call,
    Finished,
    Output,
    ReadResult,
    ReadStatus,
    Resumed,
    Started,
    StatusRead,
    TimerFired,
)
from processor.core.proof import Proof
from processor.core.state import CompletionPhase, Part, WorkflowState
from tests.core.workflows import (
    COMPLETION,
    DEADLINE,
    NEWER,
    NOW,
    ORIGIN,
    STARTED,
    replaced,
    result,
    started,
    status,
    webhook,
)

OTHER = started(origin=replace(ORIGIN, request_id="request-2"))
AMENDMENTS = {"COMPLETED 2", "FAILED 2", "passed on 2"}
AMENDABLE = {"EXPIRED 1", "UNDETERMINED 1"}


@dataclass(frozen=True, slots=True)
class World:
    """One workflow in the middle of its history: its state, the open read, what was published, and the clock."""

    now: int = NOW
    state: dict[str, Part] = field(default_factory=dict)
    call: Call | None = None
    told: frozenset[str] = frozenset()  # Requests whose start was delivered.
    results: tuple[tuple[str, str], ...] = ()  # A request that passed on has "passed on" and the revision.

    @property
    def head(self) -> WorkflowState | None:
        """The state of the workflow."""
        head = self.state.get("head")
        assert head is None or isinstance(head, WorkflowState)
        return head

    def after(self, fact: Fact, now: int | None = None) -> "World":
        """Return the world after one fact."""
        now = self.now if now is None else now
        decision = COMPLETION.decide(self.state, fact, now)
        state = self.state if not decision.changes else {
            name: part for name, part in {**self.state, **decision.changes}.items() if part is not None
        }  # fmt: skip
        told = self.told | {fact.origin.request_id} if isinstance(fact, Started) else self.told
        results = self.results + tuple(
            (output.origin.request_id, f"{_words(output)} {output.revision}")
            for output in decision.outputs
            if isinstance(output, Finished | Started)
        )
        if self.head is not None and self.head.started is not None:
            _check_way(self.head, fact, decision.outputs)
        world = World(now, state, decision.calls[0] if decision.calls else self.call, told, results)
        assert len(decision.calls) <= 1
        world.check()
        return world

    def check(self) -> None:
        """No request has two first results or two owners, and an amendment follows a give-up only, once."""
        for request_id in {request_id for request_id, _ in self.results}:
            told = [text for who, text in self.results if who == request_id]
            assert len(told) == 1 or (len(told) == 2 and told[0] in AMENDABLE and told[1] in AMENDMENTS), told
            assert told[0].endswith(" 1"), told
            assert request_id in self.told


def _check_way(head: WorkflowState, fact: Fact, outputs: tuple[Output, ...]) -> None:
    """One that runs gives way only when a read behind its replacement found no end, or when its time is over."""
    passed_on = [o for o in outputs if isinstance(o, Started) and o.origin.request_id == ORIGIN.request_id]
    if not passed_on or head.phase is CompletionPhase.REPLACED or _holder(head) != ORIGIN.request_id:
        return
    assert head.newer is not None
    assert isinstance(fact, StatusRead | TimerFired), fact
    assert not isinstance(fact, StatusRead) or (fact.status not in TRUTHS and not head.has_hint), fact


def _holder(head: WorkflowState) -> str | None:
    return head.started.origin.request_id if head.started else None


def _words(output: Finished | Started) -> str:
    return output.outcome if isinstance(output, Finished) else "passed on"


def start(world: World, fact: Started = STARTED) -> World | None:
    """A start, also a repeated one; not once the workflow was forgotten, eight days after everyone's deadline."""
    return None if _is_forgotten(world) else world.after(fact)


def claim(world: World) -> World | None:
    return start(world, OTHER)


def replacement(world: World) -> World | None:
    """A newer workflow, also before the start of what it replaces; not of a request that ended and was forgotten."""
    return None if _is_forgotten(world) else world.after(replaced())


def replacement_of_a_claim(world: World) -> World | None:
    """The same for the request that claims the workflow, after its claim."""
    if "request-2" not in world.told or _is_forgotten(world):
        return None
    return world.after(replaced(replace(NEWER, origin=OTHER.origin)))


def _is_forgotten(world: World) -> bool:
    return bool(world.told) and (world.head is None or world.head.started is None)


def hint(world: World) -> World | None:
    return world.after(webhook(world.now))


def status_answer(word: str | None, proof: Proof = Proof.DONE) -> Callable[[World], World | None]:
    def answer(world: World) -> World | None:
        if not isinstance(world.call, ReadStatus):
            return None
        return replace(world, call=None).after(status(word, world.call.attempt, proof=proof))

    return answer


def result_answer(proof: Proof) -> Callable[[World], World | None]:
    def answer(world: World) -> World | None:
        if not isinstance(world.call, ReadResult):
            return None
        return replace(world, call=None).after(result(world.call.attempt, proof=proof))

    return answer


def timer(world: World) -> World | None:
    """Whatever timer stands fires at its time; while the partition lags, also later."""
    if world.head is None or world.head.timer is None:
        return None
    due_at = world.head.timer.due_at
    return world.after(TimerFired("head", due_at), max(world.now, due_at))


def deadline(world: World) -> World | None:
    """The clock passes the end of the phase."""
    return None if world.head is None else replace(world, now=max(world.now, world.head.closes_at))


def restart(world: World) -> World | None:
    """A new owner: the open read died, and parts that waited are told."""
    if world.head is None or not world.head.is_waiting:
        return None
    return replace(world, call=None).after(Resumed("head"))


STEPS: dict[str, Callable[[World], World | None]] = {
    "start": start,
    "claim": claim,
    "hint": hint,
    "replacement": replacement,
    "replacement of a claim": replacement_of_a_claim,
    "running": status_answer("RUNNING"),
    "completed": status_answer("COMPLETED"),
    "failed": status_answer("FAILED"),
    "unanswered": status_answer(None, Proof.UNKNOWN),
    "not found": status_answer(None, Proof.REFUSED),
    "result": result_answer(Proof.DONE),
    "no result": result_answer(Proof.REFUSED),
    "timer": timer,
    "deadline": deadline,
    "restart": restart,
}
TIMES = Counter(dict.fromkeys(STEPS, 1) | {"start": 2, "hint": 2, "timer": 2})

# How often the provider answers that way where this is the truth; one failure status may be a slip.
TRUTHS = {"COMPLETED": {"completed": 2, "failed": 1}, "FAILED": {"completed": 0, "failed": 2}}


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


def settled(world: World, word: str) -> World:
    """Return the world after the provider answered truthfully until nothing more can happen."""
    if "request-1" not in world.told:
        world = start(world) or world
    for _ in range(600):
        if world.head is None or world.head.phase is CompletionPhase.ENDED:
            return world
        answers = (status_answer(word)(world), result_answer(Proof.DONE)(world), timer(world))
        world = next(after for after in answers if after is not None)
    raise AssertionError("a workflow that never ends: " + str(world.head))


def check_all(length: int, truth: str) -> int:
    """Walk all histories of that length; return how many there were."""
    count = 0
    for world in histories(World(), length, Counter({**TIMES, **TRUTHS[truth]})):
        end = settled(world, truth)
        firsts = Counter(request_id for request_id, text in end.results if text.endswith(" 1"))
        assert firsts == dict.fromkeys(end.told, 1), (world, end)
        texts = Counter(text for _, text in end.results)
        passed_on = {f"passed on {revision}" for revision in (1, 2)}
        assert set(texts) <= {f"{truth} 1", f"{truth} 2", "EXPIRED 1", "UNDETERMINED 1"} | passed_on, (world, end)
        # A workflow whose replacement came first is that request's, although its start may never come.
        held = texts[f"{truth} 1"] + texts["EXPIRED 1"] + texts["passed on 1"]
        assert held == (1 if "request-1" in end.told else len(end.told) - texts["UNDETERMINED 1"]), (world, end)
        assert texts["UNDETERMINED 1"] == len(end.told) - held, (world, end)
        assert end.now >= DEADLINE or texts["EXPIRED 1"] == 0, (world, end)
        count += 1
    return count


@pytest.mark.parametrize("truth", list(TRUTHS))
def test_every_order_of_up_to_four_things_gives_one_result(truth: str) -> None:
    """The short walk, for every run of the checks."""
    assert check_all(4, truth) > 500


@pytest.mark.slow
@pytest.mark.parametrize("truth", list(TRUTHS))
def test_every_order_of_up_to_six_things_gives_one_result(truth: str) -> None:
    """The long walk: starts, claims, webhooks, answers, timers, a restart and the deadline in any order."""
    assert check_all(6, truth) > 10_000
