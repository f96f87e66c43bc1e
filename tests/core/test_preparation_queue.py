"""Requests of one lane: in order, one at a time, through restarts and deadlines."""

from collections.abc import Mapping
from dataclasses import replace
from typing import get_args

import pytest

from processor.core.messages import Create, Resumed, TimerFired, VerdictReached
from processor.core.model import (
    MINUTE_MS,
    Outcome,
    Reason,
    Timer,
)
from processor.core.preparation import RULES, Fact
from processor.core.proof import Proof
from processor.core.results import finished
from processor.core.state import Activity, Decision, Part, PendingRequest
from tests.core.lanes import (
    CREATE_RECORD,
    DEADLINE,
    NOW,
    PREPARATION,
    Lane,
    answered,
    arrived,
    kinds,
    named,
    origin,
)


def test_a_new_owner_calls_again_what_was_open() -> None:
    """Calls die with their process: a creation becomes the next attempt, a judgement is asked for again."""
    lane = Lane()
    lane.told(arrived())
    assert lane.told(Resumed("head")).calls == (replace(CREATE_RECORD, attempt=2),)
    judged = lane.told(answered(Proof.REFUSED, attempt=2))
    assert lane.told(Resumed("head")).calls == judged.calls
    assert lane.head.attempt == 2


@pytest.mark.parametrize(
    "facts", [[], [answered(Proof.NOT_SENT)], [answered(Proof.REFUSED)], [answered(Proof.DONE, "rec-1")]]
)
def test_the_deadline_ends_a_request_whatever_it_waits_for(facts: list[Fact]) -> None:
    """EXPIRED, once; what its open call answers afterwards is litter."""
    lane = Lane()
    lane.told(arrived(), *facts)
    record_id, attempts = lane.head.request.record_id, lane.head.attempt
    decision = lane.told(TimerFired("head", DEADLINE), now=DEADLINE)
    result = finished(
        origin(), Outcome.EXPIRED, DEADLINE, reason=Reason.DEADLINE_PASSED, message="the deadline passed before the run"
    )
    assert decision == Decision({"head": None}, outputs=(replace(result, attempts=attempts, record_id=record_id),))
    assert lane.told(answered(Proof.DONE, "rec-1"), now=DEADLINE) == Decision()


def test_requests_of_one_key_are_prepared_one_after_the_other() -> None:
    """Those behind the active one wait as parts of their own, and each end begins the next in the same decision."""
    lane = Lane()
    lane.told(arrived(), arrived(named("request-2")), arrived(named("request-3")))
    assert [call.request_id for call in lane.calls if isinstance(call, Create)] == ["request-1"]
    assert (lane.head.waiting_first, lane.head.waiting_next) == (0, 2)
    waiting = lane.state["w/0000000000000001"]
    assert isinstance(waiting, PendingRequest)
    assert (waiting.origin.request_id, waiting.timer) == ("request-3", Timer(DEADLINE))
    decision = lane.told(answered(Proof.REFUSED), VerdictReached(1, is_our_fault=False, request_id="request-1"))
    assert [call.request_id for call in decision.calls if isinstance(call, Create)] == ["request-2"]
    assert (lane.head.waiting_first, lane.head.waiting_next, lane.head.request.timer) == (1, 2, None)
    assert set(lane.state) - {"head"} == {
        "known/request-1", "known/request-2", "known/request-3", "w/0000000000000001"
    }  # fmt: skip


def test_one_that_expires_while_it_waits_leaves_a_hole_that_is_skipped() -> None:
    """It ends by its own timer, wherever it stands, and those behind it do not notice."""
    lane = Lane()
    short = named("request-2", deadline_at=NOW + MINUTE_MS)
    lane.told(arrived(), arrived(short), arrived(named("request-3")))
    lane.told(TimerFired("w/0000000000000000", NOW + MINUTE_MS), now=NOW + MINUTE_MS)
    assert kinds(lane.outputs) == ["request-2 EXPIRED"]
    lane.told(TimerFired("head", DEADLINE), now=DEADLINE - 1)
    assert lane.head.request.origin.request_id == "request-1"
    lane.told(answered(Proof.REFUSED), VerdictReached(1, is_our_fault=False, request_id="request-1"))
    assert lane.head.request.origin.request_id == "request-3"
    assert lane.head.waiting_first == lane.head.waiting_next == 2


def test_the_end_of_one_sweeps_what_is_overdue_or_needs_nothing() -> None:
    """In one decision: overdue ones expire, those without creations are handed over, the lane ends free."""
    lane = Lane()
    lane.told(
        arrived(),
        arrived(named("request-2", deadline_at=NOW + 1)),
        arrived(named("request-3", workflow="bare")),
        arrived(named("request-4", workflow="bare")),
    )
    lane.told(answered(Proof.REFUSED), VerdictReached(1, is_our_fault=False, request_id="request-1"), now=NOW + 1)
    assert kinds(lane.outputs) == [
        "request-1 NOT_STARTED",
        "request-2 EXPIRED",
        "request-3 Prepared",
        "request-4 Prepared",
    ]
    assert set(lane.state) == {f"known/request-{number}" for number in range(1, 5)}


def test_an_answer_for_the_one_before_never_counts_for_the_next() -> None:
    """Attempts begin anew with each request, so the answer also names whose it is."""
    lane = Lane()
    lane.told(arrived(named("request-1", deadline_at=NOW + 1)), arrived(named("request-2")))
    lane.told(TimerFired("head", NOW + 1), now=NOW + 1)
    assert lane.head.request.origin.request_id == "request-2"
    assert lane.told(answered(Proof.DONE, "rec-1"), now=NOW + 1) == Decision()


def test_every_activity_has_a_rule_for_every_fact() -> None:
    """A missing pair would stop a partition in production instead of this test."""
    facts = get_args(Fact)
    assert set(RULES) == {(activity, fact) for activity in (None, *Activity) for fact in facts}


def test_a_decision_leaves_the_state_it_was_given_untouched() -> None:
    """The engine may decide a fact again after an aborted transaction."""
    lane = Lane()
    lane.told(arrived(), arrived(named("request-2")))
    before: Mapping[str, Part] = dict(lane.state)
    first = PREPARATION.decide(lane.state, answered(Proof.DONE, "rec-1"), NOW)
    assert lane.state == before
    assert PREPARATION.decide(lane.state, answered(Proof.DONE, "rec-1"), NOW) == first
