"""What deadlines, windows and other timers do to a request."""

from dataclasses import replace

import pytest

from processor.core.messages import Finished, Progressed, Started, Step, TimerFired
from processor.core.model import DAY_MS, MINUTE_MS, SECOND_MS, Outcome, Reason, Timer
from processor.core.proof import Proof
from processor.core.state import Decision, KnownWorkflow, LaunchPhase
from tests.core.launching import (
    BUDGET,
    DEADLINE,
    INTENT,
    READY,
    W1,
    WINDOW,
    T,
    answered,
    held,
    in_phase,
    prepared,
    sent,
    unknown,
)


@pytest.mark.parametrize(
    "phase, ends_as",
    [
        (LaunchPhase.READY, Outcome.EXPIRED),
        (LaunchPhase.SUSPECT, Outcome.EXPIRED),
        (LaunchPhase.HELD, Outcome.UNDETERMINED),
    ],
)
def test_the_deadline_ends_a_request_behind_evidence(phase: LaunchPhase, ends_as: Outcome) -> None:
    """One whose call was never sent, or was taken back, expires; nobody knows about one that is held."""
    key = in_phase(phase)
    key.tell(prepared("B"))
    assert key.state["head"].timer == Timer(DEADLINE, is_behind_evidence=True)
    decision = key.wake()
    (result,) = key.ends()
    assert isinstance(result, Finished)
    assert (result.outcome, result.finished_at, decision.wants_permit) == (ends_as, DEADLINE, BUDGET)
    assert key.head == replace(READY, prepared=prepared("B"), waiting_first=1, waiting_next=1)


@pytest.mark.parametrize("proof", [Proof.NOT_SENT, Proof.WAIT, Proof.OUR_FAULT, Proof.REFUSED])
def test_a_deadline_that_passes_while_the_call_is_open_counts_when_the_answer_comes(proof: Proof) -> None:
    """An attempt that was not executed is not made anew after the deadline."""
    key = sent(prepared(deadline_at=T + SECOND_MS))
    decision = key.tell(answered(proof), at=T + 2 * SECOND_MS)
    (result,) = key.ends()
    assert isinstance(result, Finished)
    assert (result.outcome, result.reason, decision.calls) == (Outcome.EXPIRED, Reason.DEADLINE_PASSED, ())
    assert key.parts() == {}


def test_an_unknown_outcome_past_the_deadline_still_gets_its_whole_window() -> None:
    """Then it is not held: its time is over."""
    key = sent(prepared(deadline_at=T + SECOND_MS))
    key.tell(answered(Proof.UNKNOWN), at=T + 2 * SECOND_MS)
    assert key.head is not None
    assert (key.head.is_past_deadline, key.head.timer) == (
        True,
        Timer(T + 2 * SECOND_MS + WINDOW, is_behind_evidence=True),
    )
    key.wake()
    (result,) = key.ends()
    assert isinstance(result, Finished)
    assert (result.outcome, result.reason) == (Outcome.UNDETERMINED, Reason.RUN_UNKNOWN)


def test_an_answer_past_the_deadline_that_names_the_workflow_still_starts_it() -> None:
    """It did run: completion says what became of it."""
    key = sent(prepared(deadline_at=T + SECOND_MS))
    key.tell(answered(Proof.DONE, W1), at=T + 2 * SECOND_MS)
    assert [type(end) for end in key.ends()] == [Started]
    assert key.parts() == {f"known/{W1}": KnownWorkflow("A", Timer(key.now + 9 * DAY_MS, is_behind_evidence=True))}


def test_an_intent_that_nobody_answers_becomes_unknown_after_a_margin() -> None:
    """Its owner died: the call may have been sent."""
    key = sent()
    key.wake()
    assert key.head == replace(
        INTENT,
        phase=LaunchPhase.UNKNOWN,
        why="no answer came before the call's deadline",
        timer=Timer(T + 45 * SECOND_MS + WINDOW, is_behind_evidence=True),
        closes_at=T + 45 * SECOND_MS + WINDOW,
    )
    assert key.runs == [("A", 1)]


def test_an_unknown_run_is_held_when_its_window_closes_in_vain() -> None:
    """It is told once; the request's deadline is all that is left to wait for."""
    key = unknown()
    before = key.head
    assert before is not None
    now = T + 20 * SECOND_MS + WINDOW
    expected = replace(before, phase=LaunchPhase.HELD, timer=Timer(DEADLINE, is_behind_evidence=True))
    assert key.wake() == Decision(
        {"head": expected}, outputs=(Progressed(prepared().origin, Step.HELD, now, attempt=1),)
    )


def test_a_timer_that_was_set_anew_has_nothing_to_say() -> None:
    """Only the due time that the part carries now counts."""
    key = sent()
    assert key.tell(TimerFired("head", DEADLINE)) == Decision()
    assert key.tell(TimerFired("w/0000000000000000", T)) == Decision()


def test_a_timer_fires_at_its_time_whatever_a_new_owners_clock_says() -> None:
    """The deadline has passed when its timer says so: the request is not held a second time."""
    key = held()
    key.tell(TimerFired("head", DEADLINE), at=DEADLINE - MINUTE_MS)
    (result,) = key.ends()
    assert isinstance(result, Finished)
    assert (result.outcome, result.finished_at) == (Outcome.UNDETERMINED, DEADLINE)
