"""Random histories of a record against a provider that keeps a ledger: nothing runs twice, nothing is lost."""

import random
from collections import Counter

import pytest

from processor.core.messages import Finished, Resolution, StartWorkflow
from processor.core.model import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Outcome
from processor.core.proof import Proof
from processor.core.state import LaunchPhase
from tests.core.launch_acts import judge, restart, told_of
from tests.core.launching import NEVER_EXECUTED, Key, T, answered, decided, observed, prepared, proved

REQUESTS = {"A": True, "B": False, "C": False}  # Whether the record was made for it.
DEADLINES = {"A": T + 3 * HOUR_MS, "B": T + 2 * HOUR_MS, "C": T + 5 * HOUR_MS}


class World:
    """A record, its provider with a ledger, and an engine that may be replaced at any moment."""

    def __init__(self, seed: int, *, is_person_right: bool) -> None:
        self.draw = random.Random(seed)
        self.is_person_right = is_person_right
        self.requests = list(REQUESTS) if is_person_right else ["A"]
        self.key = Key()
        self.ledger: dict[tuple[str, int], str] = {}  # What was executed.
        self.open: dict[tuple[str, int], Proof] = {}  # Calls that are out, and what their answer will say.
        self.said: list[tuple[str, int, Proof]] = []  # What calls proved, to be told again by former owners.
        self.seen_at: dict[str, int] = {}  # When the first webhook of a workflow came.
        self.called = 0

    def step(self) -> None:
        """Let one thing happen."""
        self.key.now += self.draw.choice((0, SECOND_MS, 10 * SECOND_MS, MINUTE_MS, 7 * MINUTE_MS))
        self.draw.choice(
            (
                self._prepare,
                self._permit,
                self._permit,
                self._answer,
                self._answer,
                self._prove,
                self._observe,
                self._timer,
                self._timer,
                self._judge,
                self._restart,
                self._person,
            )
        )()
        self._take_calls()

    def _take_calls(self) -> None:
        for call in self.key.calls[self.called :]:
            if isinstance(call, StartWorkflow):
                self._execute(call)
        self.called = len(self.key.calls)

    def _execute(self, call: StartWorkflow) -> None:
        """Run it or not, and fix what the answer will say."""
        attempt = (call.request_id, call.attempt)
        if self.draw.random() < 0.6:
            self.ledger[attempt] = f"run-{call.request_id}-{call.attempt}"
            self.open[attempt] = self.draw.choice((Proof.DONE, Proof.UNKNOWN))
        else:
            self.open[attempt] = self.draw.choice((*NEVER_EXECUTED, Proof.UNKNOWN))

    def _prepare(self) -> None:
        request_id = self.draw.choice(self.requests)
        self.key.tell(prepared(request_id, is_own=REQUESTS[request_id], deadline_at=DEADLINES[request_id]))

    def _permit(self) -> None:
        if self.key.wants is not None:
            self.key.permit()

    def _answer(self) -> None:
        if not self.open:
            return
        attempt = self.draw.choice(list(self.open))
        proof = self.open.pop(attempt)
        made_id = self.ledger[attempt] if proof is Proof.DONE else None
        self.said.append((*attempt, proof))
        self.key.tell(answered(proof, made_id, attempt=attempt[1], request_id=attempt[0]))

    def _prove(self) -> None:
        """A former owner's call, open or answered long ago, is told of by a message."""
        for attempt in list(self.open):
            self.said.append((*attempt, self.open.pop(attempt)))
        if self.said:
            request_id, attempt_number, proof = self.draw.choice(self.said)
            made_id = self.ledger[request_id, attempt_number] if proof is Proof.DONE else None
            self.key.tell(proved(proof, made_id, attempt=attempt_number, request_id=request_id))

    def _observe(self) -> None:
        if self.ledger:
            workflow_id = self.draw.choice(list(self.ledger.values()))
            at = self.seen_at.setdefault(workflow_id, self.key.now - self.draw.choice((0, SECOND_MS)))
            self.key.tell(observed(workflow_id, at=at))

    def _timer(self) -> None:
        timers = [(part.timer.due_at, name) for name, part in self.key.state.items() if part.timer is not None]
        is_early = self.key.phase is LaunchPhase.INTENT and self.open
        due_at, name = min(timers, default=(T + 1_000 * DAY_MS, ""))
        patience_ms = self.draw.choice((16 * MINUTE_MS, 16 * MINUTE_MS, 16 * MINUTE_MS, DAY_MS))
        if due_at - self.key.now < patience_ms and not (name == "head" and is_early):
            self.key.wake(name)

    def _judge(self) -> None:
        judge(self.key, self.draw)

    def _restart(self) -> None:
        self.open.clear()
        restart(self.key)

    def _person(self) -> None:
        head = self.key.head
        request_id = head.prepared.origin.request_id if head else "A"
        attempt = head.attempt if head else 1
        run = next((run for (request, _), run in self.ledger.items() if request == request_id), None)
        resolution = Resolution.STARTED if run else Resolution.NOT_EXECUTED
        if not self.is_person_right and self.draw.random() < 0.5:
            resolution = Resolution.NOT_EXECUTED
        if self.draw.random() < 0.2:
            resolution = Resolution.GIVE_UP
        self.key.tell(decided(resolution, run, attempt=attempt, request_id=request_id))

    def end(self) -> None:
        """Let all time pass."""
        self.open.clear()
        self.key.pass_time(T + 100 * DAY_MS)


def _check(world: World, *, is_right: bool) -> Counter[str]:
    """Check what must hold of any history; return what became of the requests."""
    what: Counter[str] = Counter()
    for request_id in REQUESTS:
        ends = world.key.ends(request_id)
        runs = [run for (request, _), run in world.ledger.items() if request == request_id]
        what += told_of(ends, runs)
        if is_right:
            assert len(runs) <= 1
            assert not runs or not any(isinstance(end, Finished) and end.outcome is Outcome.NOT_STARTED for end in ends)
    return what


def _walk(seed: int, *, steps: int, is_right: bool) -> Counter[str]:
    world = World(seed, is_person_right=is_right)
    for _ in range(steps):
        world.step()
        _check(world, is_right=is_right)
    here = {name for name in world.key.state if name.startswith("request/")}
    world.end()
    assert world.key.state == {}
    assert len([end for request in REQUESTS for end in world.key.ends(request) if end.revision == 1]) == len(here)
    return _check(world, is_right=is_right)


@pytest.mark.parametrize("is_right", [True, False])
@pytest.mark.parametrize("walks", [pytest.param(150, id="few"), pytest.param(6_000, id="many", marks=pytest.mark.slow)])
def test_in_any_history_a_request_leaves_once_and_runs_at_most_once(walks: int, *, is_right: bool) -> None:
    """Only a person who is wrong about a held request can make it run twice, and even then it has one way out."""
    what: Counter[str] = Counter()
    for seed in range(walks):
        what += _walk(seed, steps=60, is_right=is_right)
    if walks > 1_000:
        assert len(what) == 9, "the walks must find every way out"
