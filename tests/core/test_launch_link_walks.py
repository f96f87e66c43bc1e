"""Random histories of a record that links, mails and repeated runs share, against a provider that keeps a ledger."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from processor.core.launch import Fact
from processor.core.messages import (
    CallAnswered,
    CallProved,
    CaseRead,
    EvidenceJudged,
    Finished,
    LinkIssued,
    Prepared,
    ReadCase,
    Resolution,
    StartWorkflow,
)
from processor.core.model import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, ApiVersion, Outcome, Witness
from processor.core.proof import Operation, Proof
from processor.core.state import LaunchPhase
from tests.core.launch_acts import judge, restart, told_of
from tests.core.launching import (
    AGAIN,
    CASED,
    CASED_LINK,
    CHECK,
    EXCLUSIVE,
    LINKED,
    MAILED,
    NEVER_EXECUTED,
    RECORD,
    TOKENED,
    Key,
    T,
    asked,
    decided,
    observed,
    prepared,
)

NAMES = (CHECK, AGAIN, EXCLUSIVE, LINKED, LINKED, MAILED, MAILED, TOKENED)
DEADLINES = {"A": T + 9 * HOUR_MS, "B": T + 3 * HOUR_MS, "C": T + 12 * HOUR_MS}

EVERYTHING = {
    *(f"started 1 {witness}" for witness in Witness),
    "started 2 WEBHOOK",
    "EXPIRED deadline-passed",
    "NOT_STARTED refused-by-provider",
    "UNDETERMINED given-up",
    "UNDETERMINED run-unknown",
    *(f"link {number}" for number in (1, 2, 3, -2, -3)),
    "replaced",
    "repeated",
}


@dataclass(slots=True)
class Ledger:
    """What the provider and the end users really did."""

    runs: dict[str, str] = field(default_factory=dict)  # Workflow -> whose run it is.
    calls: Counter[str] = field(default_factory=Counter)  # Runs and mails that were executed, by request.
    used: set[str] = field(default_factory=set)  # Requests whose end user started the workflow.
    mailed: set[str] = field(default_factory=set)


class World:
    """A record, its provider, its end users, and an engine that may be replaced at any moment."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.key = Key()
        self.ledger = Ledger()
        self.requests: dict[str, Prepared] = {}
        for request_id, deadline_at in DEADLINES.items():
            api = self.draw.choice(list(ApiVersion))
            name = self.draw.choice((CASED, CASED_LINK) if api is ApiVersion.CASES else NAMES)
            request = prepared(request_id, is_own=request_id == "A", name=name, api=api, deadline_at=deadline_at)
            self.requests[request_id] = request
        self.is_naming = self.draw.random() < 0.3  # Whether the provider's answers repeat our reference.
        self.open: dict[tuple[str, int], CallAnswered] = {}
        self.said: list[CallAnswered] = []
        self.reads: list[ReadCase] = []
        self.seen_at: dict[str, int] = {}  # When the first webhook of a workflow came.
        self.allowed: Counter[str] = Counter()  # How often a request may be run or mailed to.
        self.called = self.told = 0

    def step(self) -> None:
        """Let one thing happen."""
        self.key.now += self.draw.choice((0, SECOND_MS, 10 * SECOND_MS, MINUTE_MS, 4 * MINUTE_MS))
        self.draw.choices(*zip(*self._acts(), strict=True))[0]()
        for call in self.key.calls[self.called :]:
            if isinstance(call, StartWorkflow):
                self._execute(call)
            elif isinstance(call, ReadCase):
                self.reads.append(call)
        self.called = len(self.key.calls)

    def _acts(self) -> list[tuple[Callable[[], None], int]]:
        """Return what may happen, and how often it does."""
        return [
            (self._prepare, 4),
            (self._permit, 12),
            (self._answer, 10),
            (self._prove, 2),
            (self._observe, 4),
            (self._read_case, 4),
            (self._use, 4),
            (self._ask, 4),
            (self._timer, 8),
            (self._judge, 4),
            (self._evidence, 4),
            (self._restart, 1),
            (self._person, 1),
        ]

    def _execute(self, call: StartWorkflow) -> None:
        """Do what is called or not, and fix what the answer will say."""
        made_id = link = None
        is_executed = self.draw.random() < 0.6
        proof = self.draw.choice((Proof.DONE, Proof.UNKNOWN) if is_executed else (*NEVER_EXECUTED, Proof.UNKNOWN))
        if is_executed and call.operation is Operation.RUN:
            made_id = f"run-{call.request_id}-{call.attempt}"
            self.ledger.runs[made_id] = call.request_id
        if is_executed and call.operation is Operation.SEND_LINK:
            self.ledger.mailed.add(call.request_id)
        if is_executed and call.operation in {Operation.RUN, Operation.SEND_LINK}:
            self.ledger.calls[call.request_id] += 1
        if call.operation is not Operation.SEND_LINK and self.draw.random() < 0.9:
            link = f"https://link/{call.attempt}"
        answer = CallAnswered(call.operation, call.attempt, proof, None, None, None, "", call.request_id)
        done = replace(answer, made_id=made_id, status="RUNNING", link=link)
        self.open[call.request_id, call.attempt] = done if proof is Proof.DONE else answer

    def _prepare(self) -> None:
        request_id = self.draw.choice(list(self.requests))
        self.key.tell(self.requests[request_id])
        self.allowed[request_id] = max(1, self.allowed[request_id])

    def _permit(self) -> None:
        if self.key.wants is not None:
            self.key.permit()

    def _answer(self) -> None:
        if self.open:
            answer = self.open.pop(self.draw.choice(list(self.open)))
            self.said.append(answer)
            self.key.tell(answer)

    def _prove(self) -> None:
        """A former owner's call, open or answered long ago, is told of by a message; links are not."""
        self.said += self.open.values()
        self.open.clear()
        told = [said for said in self.said if said.operation in {Operation.RUN, Operation.SEND_LINK}]
        if told:
            said = self.draw.choice(told)
            ids = (RECORD, said.request_id, said.attempt)
            self.key.tell(CallProved(*ids, said.proof, said.made_id, said.status, "", T, said.operation))

    def _use(self) -> None:
        """An end user starts the workflow with a link, once."""
        out = {
            output.origin.request_id
            for output in self.key.outputs
            if isinstance(output, LinkIssued) and output.origin.api is not ApiVersion.TABLES
        }
        able = sorted((out | self.ledger.mailed) - self.ledger.used)
        if able:
            request_id = self.draw.choice(able)
            self.ledger.used.add(request_id)
            self.ledger.runs[f"use-{request_id}"] = request_id

    def _observe(self) -> None:
        if self.ledger.runs:
            self._tell_of(self.draw.choice(list(self.ledger.runs)))

    def _read_case(self) -> None:
        """The case shows any workflow that ran on it, or none."""
        if self.reads:
            read = self.reads.pop()
            run = self.draw.choice([None, *self.ledger.runs])
            self.key.tell(CaseRead(read.request_id, read.attempt, Proof.DONE, run, "RUNNING", None, ""))

    def _tell_of(self, run: str) -> None:
        at = self.seen_at.setdefault(run, self.key.now - self.draw.choice((0, SECOND_MS)))
        self.key.tell(observed(run, at=at, names=self.ledger.runs[run] if self.is_naming else None))

    def _ask(self) -> None:
        """Upstream asks for one more link."""
        able = [request_id for request_id in self.requests if self.key.issued(request_id) is not None]
        request_id = self.draw.choice(able if able and self.draw.random() < 0.8 else list(self.requests))
        request, before = self.requests[request_id], len(self.key.owed)
        ask = replace(asked(self.draw.choice((2, 3)), request_id), origin=request.origin)
        self.key.tell(ask)
        self.allowed[request_id] += len(self.key.owed) - before

    def _timer(self) -> None:
        timers = [(part.timer.due_at, name) for name, part in self.key.state.items() if part.timer is not None]
        is_early = self.key.phase is LaunchPhase.INTENT and self.open
        due_at, name = min(timers, default=(T + 1_000 * DAY_MS, ""))
        patience_ms = 16 * MINUTE_MS if self.draw.random() < 0.99 else DAY_MS
        if due_at - self.key.now < patience_ms and not (name == "head" and is_early):
            self._wake(name)

    def _wake(self, name: str) -> None:
        head = self.key.head
        if name == "head" and head is not None and head.phase is LaunchPhase.CERTAIN:
            for run in self.seen_at:  # Its timer is behind evidence.
                self._tell_of(run)
            left = self.key.head
            if left is None or left.phase is not LaunchPhase.CERTAIN or left.prepared is not head.prepared:
                return
            if left.prepared.origin.workflow == AGAIN:
                self.allowed[left.prepared.origin.request_id] += 1
        self.key.wake(name)

    def _judge(self) -> None:
        judge(self.key, self.draw)

    def _evidence(self) -> None:
        head = self.key.head
        if head is not None and head.phase is LaunchPhase.GATHERING:
            self.key.tell(EvidenceJudged(head.prepared.origin.request_id, head.attempt))

    def _restart(self) -> None:
        self.open.clear()
        restart(self.key)

    def _person(self) -> None:
        """A person decides rightly about what they see."""
        request_id = self.draw.choice(list(self.requests))
        head, issued = self.key.head, self.key.issued(request_id)
        attempt = issued.attempts if issued is not None else head.attempt if head is not None else 1
        runs = [run for run, whose in self.ledger.runs.items() if whose == request_id]
        if runs:
            fact: Fact = decided(Resolution.STARTED, runs[0], attempt=attempt, request_id=request_id)
        elif request_id in self.ledger.mailed or self.draw.random() < 0.2:
            fact = decided(Resolution.GIVE_UP, attempt=attempt, request_id=request_id)
        else:
            fact = decided(Resolution.NOT_EXECUTED, attempt=attempt, request_id=request_id)
        self.key.tell(fact)

    def end(self) -> None:
        """Let all time pass."""
        self.open.clear()
        while timers := sorted((p.timer.due_at, name) for name, p in self.key.state.items() if p.timer is not None):
            self.key.now = max(self.key.now, timers[0][0])
            self.key.wake(timers[0][1])


def _check(world: World) -> Counter[str]:
    """Check what must hold of any history; return what became of the requests."""
    what: Counter[str] = Counter()
    for request_id, request in world.requests.items():
        ends = world.key.ends(request_id)
        runs = [run for run, whose in world.ledger.runs.items() if whose == request_id]
        what += told_of(ends, runs)
        calls = world.ledger.calls[request_id]
        assert calls <= world.allowed[request_id], "called once more than anybody allowed"
        is_first_only = request.origin.api is not ApiVersion.TABLES and request.origin.workflow == AGAIN
        if is_first_only and calls > 1:
            what["repeated"] += 1
            assert all(end.is_rerun for end in ends)
        if runs:
            assert not any(isinstance(end, Finished) and end.outcome is Outcome.NOT_STARTED for end in ends)
        numbers = world.key.links(request_id)
        assert len([number for number in numbers if number > 0]) == len({number for number in numbers if number > 0})
        for number in numbers:
            what[f"link {number}"] += 1
    for old, new in world.key.replaced():
        assert world.ledger.runs[old] == world.ledger.runs[new], "a workflow gave way to that of another request"
        what["replaced"] += 1
    return what


def _walk(seed: int, steps: int) -> Counter[str]:
    world = World(seed)
    for _ in range(steps):
        world.step()
        _check(world)
    here = {name for name in world.key.state if name.startswith("request/")}
    world.end()
    assert world.key.state == {}
    assert len([end for request in DEADLINES for end in world.key.ends(request) if end.revision == 1]) == len(here)
    return _check(world)


@pytest.mark.parametrize("walks", [pytest.param(150, id="few"), pytest.param(8_000, id="many", marks=pytest.mark.slow)])
def test_in_any_history_links_mails_and_repeated_runs_harm_nobody(walks: int) -> None:
    """One way out each, never by another's run; no run or mail that nobody allowed; every further link is told of."""
    what: Counter[str] = Counter()
    for seed in range(walks):
        what += _walk(seed, steps=100)
    if walks > 1_000:
        assert set(what) >= EVERYTHING, "the walks must find every way out"
