"""What the deadline ends, and what may still be said after it."""

from dataclasses import replace

import pytest

from processor.core.messages import Finished, TimerFired
from processor.core.model import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Outcome, Reason, Timer, Witness
from processor.core.proof import Proof
from processor.core.results import finished_started
from processor.core.schedule import next_poll_at
from processor.core.state import CompletionPhase, Decision
from tests.core.workflows import (
    DEADLINE,
    ID,
    NOW,
    STARTED,
    Run,
    read_status,
    result,
    started,
    status,
    webhook,
)

FIRST_POLL = next_poll_at(NOW, 0, seed=ID, first_ms=5 * SECOND_MS, max_ms=5 * MINUTE_MS)


def expired(now: int = DEADLINE) -> Finished:
    message = "the deadline passed before the workflow's end was known"
    bare = finished_started(STARTED, Outcome.EXPIRED, now, reason=Reason.DEADLINE_PASSED, message=message)
    return replace(bare, status="RUNNING")


def near_the_deadline() -> Run:
    """A workflow whose next timer is its deadline."""
    run = Run()
    run.told(STARTED)
    run.told(TimerFired("head", FIRST_POLL), status("RUNNING"), now=DEADLINE - 1_000)
    assert run.head.timer == Timer(DEADLINE, is_behind_evidence=True)
    return run


def test_the_deadline_ends_a_request_expired_and_the_state_waits_for_the_real_end() -> None:
    """The timer waits for evidence; after it the workflow is still asked for, slowly, for 8 days."""
    run = near_the_deadline()
    decision = run.wakes()
    assert (decision.outputs, decision.calls) == ((expired(),), ())
    assert (run.phase, run.head.closes_at) == (CompletionPhase.EXPIRED, DEADLINE + 8 * DAY_MS)
    while run.phase is not None:
        assert run.head.timer is not None
        last_at = run.head.timer.due_at
        run.wakes_and_hears("RUNNING")
    assert last_at == DEADLINE + 8 * DAY_MS
    assert run.results() == ["request-1 EXPIRED 1"]
    assert 8 * 24 < len(run.calls) < 8 * 24 * 2


@pytest.mark.parametrize("word, outcome", [("COMPLETED", "COMPLETED"), ("FAILED", "FAILED")])
def test_a_real_outcome_after_the_deadline_is_published_once_as_revision_2(word: str, outcome: str) -> None:
    """A late webhook makes us read; the amendment names the same request and is the last word."""
    run = near_the_deadline()
    run.wakes()
    assert run.told(webhook(DEADLINE + 9), now=DEADLINE + 9).calls == (read_status(2),)
    run.told(status(word, 2), now=DEADLINE + 9)
    if word == "FAILED":
        run.wakes()
        run.told(status(word, 3), now=DEADLINE + 9)
    run.told(result(3), now=DEADLINE + 9)
    assert run.results() == ["request-1 EXPIRED 1", f"request-1 {outcome} 2"]
    assert (run.phase, run.head.closes_at) == (CompletionPhase.ENDED, DEADLINE + 9 + 8 * DAY_MS)
    assert run.told(webhook(), STARTED) == Decision()


def test_the_deadline_between_two_reads_of_a_failure_says_only_that_it_passed() -> None:
    """A failure status that was not confirmed is nobody's word for the end."""
    run = Run()
    run.told(STARTED, webhook(), status("FAILED"), now=DEADLINE - 1)
    assert run.wakes().outputs == (replace(expired(), status="FAILED"),)
    run.wakes()
    run.told(status("FAILED", 2), now=DEADLINE + 5_000)
    assert run.results() == ["request-1 EXPIRED 1", "request-1 FAILED 2"]


def test_a_poll_alone_finds_the_late_outcome_too() -> None:
    """Amendments do not depend on webhooks."""
    run = near_the_deadline()
    run.wakes()
    run.wakes()
    run.told(status("COMPLETED", 2), now=DEADLINE + HOUR_MS)
    run.told(result(3), now=DEADLINE + HOUR_MS)
    assert run.results() == ["request-1 EXPIRED 1", "request-1 COMPLETED 2"]


def test_an_open_read_at_the_deadline_still_brings_its_answer() -> None:
    """The request ends on time; the answer of the read amends it."""
    run = Run()
    run.told(STARTED, webhook(DEADLINE - 1), now=DEADLINE - 1)
    assert run.wakes().outputs == (expired(),)
    run.told(status("COMPLETED", 1), result(2), now=DEADLINE + 1)
    assert run.results() == ["request-1 EXPIRED 1", "request-1 COMPLETED 2"]


def test_a_result_that_is_on_its_way_at_the_deadline_comes_as_the_amendment() -> None:
    """EXPIRED at the deadline although the end is known; its result follows as revision 2."""
    run = Run()
    run.told(STARTED, webhook(), status("COMPLETED"), now=DEADLINE - 1)
    run.wakes()
    assert (run.phase, run.results()) == (CompletionPhase.FETCHING, ["request-1 EXPIRED 1"])
    run.told(result(2), now=DEADLINE + 1)
    assert run.results() == ["request-1 EXPIRED 1", "request-1 COMPLETED 2"]


def test_a_known_good_end_is_told_even_when_its_result_never_comes() -> None:
    """At the end of the amendment window COMPLETED is published without the result, rather than nothing."""
    run = Run()
    run.told(STARTED, webhook(), status("COMPLETED"), result(proof=Proof.UNKNOWN), now=DEADLINE - 1)
    while run.head.phase is not CompletionPhase.ENDED:
        run.wakes_and_hears("RUNNING")
    assert run.results() == ["request-1 EXPIRED 1", "request-1 COMPLETED 2"]
    assert isinstance(run.outputs[-1], Finished)
    assert run.outputs[-1].result_omitted == "unavailable"


@pytest.mark.parametrize("word, results", [("COMPLETED", ["request-1 COMPLETED 2"]), ("RUNNING", [])])
def test_custody_of_an_amendment_ends_with_an_outcome_or_in_silence(word: str, results: list[str]) -> None:
    """After UNDETERMINED the request has its result: only COMPLETED or FAILED may follow, never EXPIRED."""
    run = Run()
    run.told(started(revision=2, told_by=Witness.WEBHOOK), webhook())
    assert run.head.closes_at == NOW + 8 * DAY_MS
    run.told(status(word))
    if word == "COMPLETED":
        run.told(result(2))
    while run.phase is not None:
        run.wakes_and_hears("RUNNING")
    assert (run.phase, run.results()) == (None, results)
