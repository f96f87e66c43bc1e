"""Random histories of a lane with every kind of workflow, judged by a ledger that knows only what went in and out.

Each walk lets requests of several subjects arrive, some twice, some asking for one more link; the provider answers as
it likes or not at all, owners change, and the clock jumps over deadlines and over the age of what is used again.
"""

import random
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest

from processor.core.messages import (
    CallAnswered,
    Create,
    DeadLettered,
    Finished,
    Judge,
    LinkAsked,
    Prepared,
    Resumed,
    TimerFired,
    VerdictReached,
)
from processor.core.model import DAY_MS, HOUR_MS, OnboardingRequest, Subject
from processor.core.preparation import Fact
from processor.core.proof import Operation, Proof
from processor.core.state import KnownSubject, PendingRequest, Preparing
from tests.core.lanes import CATALOGUE, NOW, REQUEST, Lane, arrived

WORKFLOWS = ("bare", "person-check", "linked", "inline", "inline-bare", "returning", "returning-soon", "returning-case")
PROOFS = (Proof.DONE, Proof.DONE, Proof.DONE, Proof.UNKNOWN, Proof.NOT_SENT, Proof.WAIT, Proof.REFUSED, Proof.OUR_FAULT)
STEPS = 80


@dataclass
class Ledger:
    """What the world outside saw of one lane, and what must hold of it."""

    requests: dict[str, OnboardingRequest] = field(default_factory=dict)
    made: dict[str, tuple[str, int]] = field(default_factory=dict)  # Record or case -> whom for, and when.
    ended: Counter[str] = field(default_factory=Counter)
    prepared: dict[str, Prepared] = field(default_factory=dict)
    highest: Counter[str] = field(default_factory=Counter)

    def hear(self, output: object, now: int) -> None:
        """Take in one thing that left the lane."""
        match output:
            case Prepared():
                self._hear_prepared(output, now)
            case Finished():
                self.ended[output.origin.request_id] += 1
            case LinkAsked():
                self._hear_wish(output)
            case DeadLettered():
                assert output.reason in {"no-link-mode", "link-of-unknown-request"}, output

    def _hear_prepared(self, prepared: Prepared, now: int) -> None:
        request_id = prepared.origin.request_id
        self.ended[request_id] += 1
        self.prepared[request_id] = prepared
        made_id = prepared.record_id or prepared.case_id
        if made_id is None:
            assert not prepared.is_own
            return
        maker_id, made_at = self.made[made_id]
        assert prepared.is_own == (maker_id == request_id)
        if maker_id == request_id:
            return
        maker, user = self.requests[maker_id], self.requests[request_id]
        assert maker.subject == user.subject
        made_by, used_by = CATALOGUE.workflows[maker.workflow], CATALOGUE.workflows[user.workflow]
        assert made_by.reuse_ms is not None
        assert used_by.reuse_ms is not None
        assert (made_by.record, made_by.provider) == (used_by.record, used_by.provider)
        assert now < made_at + used_by.reuse_ms

    def _hear_wish(self, wish: LinkAsked) -> None:
        request_id = wish.origin.request_id
        assert wish.launch_key == self.prepared[request_id].launch_key
        assert wish.link_attempt > max(1, self.highest[request_id])
        self.highest[request_id] = wish.link_attempt

    def check(self, lane: Lane) -> None:
        """Each accepted request is in the lane, or has left it once."""
        head = lane.state.get("head")
        inside = [part.origin.request_id for part in lane.state.values() if isinstance(part, PendingRequest)]
        inside += [head.request.origin.request_id] if isinstance(head, Preparing) else []
        assert Counter(inside) + self.ended == Counter(dict.fromkeys(self.requests, 1))


@dataclass
class Walk:
    """One random history."""

    dice: random.Random
    lane: Lane = field(default_factory=Lane)
    ledger: Ledger = field(default_factory=Ledger)
    now: int = NOW
    is_open: bool = False  # Whether the last call may still be answered.

    def tell(self, fact: Fact) -> None:
        """Let one thing happen, and look at what left the lane."""
        decision = self.lane.told(fact, now=self.now)
        self.is_open = self.is_open or bool(decision.calls)
        for output in decision.outputs:
            self.ledger.hear(output, self.now)
        assert len(decision.calls) <= 1
        self.ledger.check(self.lane)

    def arrive(self) -> None:
        """A new request, or an old one again, with or without the wish for a link."""
        requests = self.ledger.requests
        if requests and self.dice.random() < 0.4:
            request = requests[self.dice.choice(sorted(requests))]
        else:
            subject = replace(REQUEST.subject or Subject(), reference=self.dice.choice(("A", "B")))
            deadline_at = self.now + self.dice.choice((HOUR_MS, 30 * DAY_MS))
            name = self.dice.choice(WORKFLOWS)
            request = replace(
                REQUEST, request_id=f"r-{len(requests)}", workflow=name, subject=subject, deadline_at=deadline_at
            )
        if request.request_id in requests:
            request = replace(request, link_attempt=self.dice.randrange(1, 5))
        requests[request.request_id] = replace(request, link_attempt=1)
        self.tell(arrived(request))

    def answer(self) -> None:
        """The provider answers the open call."""
        call = self.lane.calls[-1] if self.lane.calls and self.is_open else None
        if isinstance(call, Judge):
            self.is_open = False
            self.tell(VerdictReached(call.attempt, self.dice.random() < 0.5, call.request_id))
        elif isinstance(call, Create):
            self.is_open = False
            proof = self.dice.choice(PROOFS)
            made_id = f"made-{len(self.lane.calls)}" if proof is Proof.DONE else None
            if made_id and call.operation is not Operation.SET_PARAMETERS:
                self.ledger.made[made_id] = (call.request_id, self.now)
            self.tell(CallAnswered(call.operation, call.attempt, proof, made_id, None, None, "why", call.request_id))

    def wake(self) -> None:
        """The next timer fires, at its time."""
        due = sorted((part.timer.due_at, name) for name, part in self.lane.state.items() if part.timer)
        if due:
            due_at, name = due[0] if self.dice.random() < 0.8 else self.dice.choice(due)
            if not name.startswith("known/"):  # Else a request of long ago is accepted anew, as documented.
                self.now = max(self.now, due_at)
                self.tell(TimerFired(name, due_at))

    def resume(self) -> None:
        """A new owner: what was open died."""
        head = self.lane.state.get("head")
        if head is not None and head.is_waiting:
            self.is_open = False
            self.tell(Resumed("head"))

    def step(self) -> None:
        """Let something happen."""
        self.dice.choice((self.arrive, self.arrive, self.answer, self.answer, self.answer, self.wake, self.resume))()


def walk(seed: int) -> Walk:
    """Walk, then let the provider make everything until the lane is free."""
    found = Walk(random.Random(seed))
    for _ in range(STEPS):
        found.step()
    for _ in range(2_000):
        if "head" not in found.lane.state:
            return found
        found.answer()
        if not found.is_open:
            found.wake()
    raise AssertionError(f"the lane of seed {seed} never gets free")


def check_all(seeds: range) -> Counter[str]:
    """Walk all seeds; return how often what happened, so that nothing is missing unnoticed."""
    seen: Counter[str] = Counter()
    for seed in seeds:
        found = walk(seed)
        assert set(found.ledger.ended) == set(found.ledger.requests)
        seen["reused"] += sum(
            not prepared.is_own and (prepared.record_id or prepared.case_id) is not None
            for prepared in found.ledger.prepared.values()
        )
        seen["links"] += len(found.ledger.highest)
        seen["ended here"] += sum(isinstance(output, Finished) for output in found.lane.outputs)
        seen["subjects"] += sum(isinstance(part, KnownSubject) for part in found.lane.state.values())
        seen["refused wishes"] += sum(isinstance(output, DeadLettered) for output in found.lane.outputs)
    return seen


def test_whatever_happens_each_request_leaves_once_and_only_its_subject_shares_what_was_made() -> None:
    """A short series, for every run of the checks; everything of interest happens in it."""
    seen = check_all(range(60))
    assert all(seen[kind] >= 10 for kind in ("reused", "links", "ended here", "subjects", "refused wishes")), seen


@pytest.mark.slow
def test_the_same_through_many_more_histories() -> None:
    """The long series."""
    check_all(range(1_000, 3_000))
