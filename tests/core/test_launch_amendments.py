"""A request that ended without its run being known is amended once, by what can only be its own."""

from dataclasses import replace

import pytest

from processor.core.messages import Resolution, VerdictReached
from processor.core.model import DAY_MS, HOUR_MS, MINUTE_MS, Timer, Witness
from processor.core.proof import Proof
from processor.core.state import Decision, GaveUp, KnownWorkflow, LaunchPhase
from tests.core.launching import (
    ADOPTED,
    AFTER,
    DEADLINE,
    FORGOTTEN,
    W1,
    W2,
    T,
    answered,
    decided,
    given_up,
    held,
    observed,
    prepared,
    proved,
    second_sent,
)


def test_a_trace_that_comes_after_the_end_amends_it_once() -> None:
    """Custody passes to completion as revision 2; a second trace changes nothing."""
    key = given_up()
    assert key.state["gave/A"] == GaveUp(prepared(), T, 1, Timer(DEADLINE + 8 * DAY_MS, is_behind_evidence=True))
    amended = Decision(
        {f"known/{W1}": KnownWorkflow("A", FORGOTTEN), "gave/A": None}, outputs=(replace(ADOPTED, revision=2),)
    )
    assert key.tell(observed()) == amended
    assert key.tell(observed(W2), proved(Proof.DONE, W2)).outputs == ()


@pytest.mark.parametrize("is_own", [True, False])
def test_a_proof_that_comes_after_the_end_amends_it_for_any_record(*, is_own: bool) -> None:
    """A proof names the request, so nothing about it is ambiguous."""
    key = given_up(prepared(is_own=is_own))
    key.tell(proved(Proof.DONE, W1))
    amendment = replace(ADOPTED, origin=prepared().origin, told_by=Witness.RUN_ANSWER, revision=2)
    assert key.ends()[1:] == [amendment]


def test_a_trace_after_the_amendment_window_is_nobodys() -> None:
    """Then everything is forgotten, ids last."""
    key = given_up()
    key.pass_time(DEADLINE + 8 * DAY_MS)
    assert key.tell(observed()) == Decision()
    key.pass_time(AFTER)
    assert (key.state, len(key.ends())) == ({}, 1)


def test_a_request_that_ended_unknown_competes_for_what_the_next_one_may_have_run() -> None:
    """One workflow fits both, so neither gets it by itself."""
    key = given_up()
    key.tell(prepared("B", deadline_at=DEADLINE + DAY_MS))
    key.permit()
    key.tell(answered(Proof.UNKNOWN, request_id="B"))
    key.tell(observed(at=key.now))
    assert (key.phase, key.outputs[-1]) == (LaunchPhase.UNKNOWN, key.ends()[-1])
    assert f"seen/{W1}" in key.state


def test_what_the_next_request_turns_out_to_have_run_amends_nothing() -> None:
    """Its webhook overtook its answer; the older request, whose record it is, gets nothing by it."""
    key = given_up()
    key.tell(prepared("B", is_own=False, deadline_at=DEADLINE + DAY_MS))
    key.permit()
    key.tell(observed(at=key.now), answered(Proof.DONE, W1, request_id="B"))
    assert [end.revision for end in key.ends()] == [1]
    assert set(key.parts()) == {"gave/A", f"known/{W1}"}
    assert key.tell(proved(Proof.DONE, W1)) == Decision()


def test_what_a_ruled_out_attempt_of_the_next_request_may_have_run_amends_nothing() -> None:
    """The next request went on with another workflow; whose the trace is stays open."""
    key = given_up()
    key.tell(prepared("B", is_own=False, deadline_at=DEADLINE + DAY_MS))
    key.permit()
    key.tell(answered(Proof.UNKNOWN, request_id="B"), decided(Resolution.NOT_EXECUTED, request_id="B"))
    key.permit()
    key.tell(observed(at=key.now))
    refused, done = key.copy(), key.copy()
    done.tell(answered(Proof.DONE, W2, attempt=2, request_id="B"))
    assert set(done.parts()) == {"gave/A", f"known/{W2}", f"seen/{W1}"}
    refused.tell(answered(Proof.REFUSED, attempt=2, request_id="B"))
    refused.tell(VerdictReached(2, is_our_fault=False, request_id="B"))
    assert set(refused.parts()) == {"gave/A", f"seen/{W1}"}
    for key in (done, refused):
        key.tell(observed("w-3", at=T))
    assert [end.revision for end in (*done.ends(), *refused.ends())] == [1, 1]
    assert [end.candidates for end in (*done.ends("B"), *refused.ends("B"))] == [(W1,), (W1,)]


def test_what_an_earlier_attempt_of_an_amended_request_may_have_run_amends_no_other() -> None:
    """The proof names the second attempt; the trace may be of the first."""
    key = given_up()
    key.tell(prepared("B", is_own=False, deadline_at=DEADLINE + DAY_MS))
    key.permit()
    key.tell(answered(Proof.UNKNOWN, request_id="B"), decided(Resolution.NOT_EXECUTED, request_id="B"))
    key.permit()
    key.tell(answered(Proof.UNKNOWN, attempt=2, request_id="B"), observed(at=key.now))
    key.tell(decided(Resolution.GIVE_UP, attempt=2, request_id="B"), proved(Proof.DONE, W2, attempt=2, request_id="B"))
    assert [end.revision for end in key.ends("B")] == [1, 2]
    assert [end.revision for end in key.ends("A")] == [1]
    assert set(key.parts()) == {"gave/A", f"known/{W2}", f"seen/{W1}"}


def test_what_only_the_older_request_can_have_run_amends_it_while_the_next_one_is_open() -> None:
    """Its webhook came before the next one's intent."""
    key = given_up()
    key.tell(prepared("B", is_own=False, deadline_at=DEADLINE + DAY_MS), at=DEADLINE + HOUR_MS)
    key.permit()
    key.tell(observed(at=T + MINUTE_MS))
    assert [(end.workflow_id, end.revision) for end in key.ends()[1:]] == [(W1, 2)]


def test_an_ambiguous_trace_goes_to_the_one_that_is_left_when_the_other_proves_not_to_have_run() -> None:
    """It is matched again at every change."""
    key = given_up()
    key.tell(prepared("B", is_own=False, deadline_at=DEADLINE + DAY_MS))
    key.permit()
    key.tell(observed(at=key.now))
    assert len(key.ends()) == 1
    key.tell(answered(Proof.NOT_SENT, request_id="B"))
    assert [(end.workflow_id, end.revision) for end in key.ends()[1:]] == [(W1, 2)]
    assert set(key.parts()) == {"head", f"known/{W1}"}


def test_forgetting_a_request_makes_no_trace_unambiguous() -> None:
    """Whoever else a trace of the forgotten one fits adopts nothing by itself any more; a proof still amends it."""
    key = held()
    key.tell(decided(Resolution.GIVE_UP), at=T + HOUR_MS)
    key.tell(prepared("B", is_own=False, deadline_at=DEADLINE - DAY_MS))
    key.permit()
    key.tell(answered(Proof.UNKNOWN, request_id="B"), observed(W1, at=key.now), observed(W2, at=T))
    key.tell(decided(Resolution.GIVE_UP, request_id="B"))
    key.wake("gave/B")
    assert set(key.parts()) == {"gave/A", f"seen/{W1}", f"seen/{W2}"}
    key.tell(observed(W2, at=T - HOUR_MS))
    assert [end.revision for end in key.ends()] == [1]
    key.tell(proved(Proof.DONE, W1))
    assert [end.revision for end in key.ends()] == [1, 2]
    assert set(key.parts()) == {f"known/{W1}"}


def test_an_active_request_too_adopts_nothing_that_a_forgotten_one_may_have_run() -> None:
    """The record was made for it, but another request may have used it."""
    key = given_up(prepared("B", is_own=False))
    key.tell(prepared(deadline_at=AFTER))
    key.permit()
    key.tell(answered(Proof.UNKNOWN), observed(at=key.now))
    key.wake("gave/B")
    assert key.head is not None
    assert (key.phase, key.head.is_disputed, key.head.has_candidates) == (LaunchPhase.UNKNOWN, True, True)


def test_forgetting_a_request_without_a_trace_takes_nothing_from_the_others() -> None:
    """They share nothing, so the active one still adopts by itself."""
    key = given_up(prepared("B", is_own=False))
    key.tell(prepared(deadline_at=AFTER))
    key.permit()
    key.tell(answered(Proof.UNKNOWN))
    key.wake("gave/B")
    key.tell(observed(at=key.now))
    assert [end.workflow_id for end in key.ends()] == [W1]


def test_a_proof_about_a_request_that_went_on_without_it_is_recorded() -> None:
    """Two attempts ran because a person was wrong: nobody else may adopt the other one."""
    key = second_sent()
    key.tell(answered(Proof.DONE, W2, attempt=2))
    key.tell(proved(Proof.DONE, W1))
    assert {f"known/{W1}", f"known/{W2}"} == set(key.parts())
    assert len(key.ends()) == 1


@pytest.mark.parametrize("proof", Proof)
def test_a_proof_about_a_request_that_never_came_says_nothing(proof: Proof) -> None:
    """It belongs to no state of this key."""
    assert held().tell(proved(proof, W1, request_id="Z")) == Decision()
