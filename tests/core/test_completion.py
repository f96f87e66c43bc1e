"""How a workflow that a request holds comes to its end."""

from dataclasses import replace
from typing import get_args

import pytest

from processor.core.completion import CLOSING, RULES, Fact
from processor.core.messages import Finished, Resumed, TimerFired
from processor.core.model import DAY_MS, MINUTE_MS, SECOND_MS, Outcome, Reason, Timer, Witness
from processor.core.proof import Proof
from processor.core.results import finished_started
from processor.core.schedule import next_poll_at, retry_ms
from processor.core.state import CompletionPhase, Decision, WorkflowState
from tests.core.workflows import (
    BODY,
    COMPLETION,
    DEADLINE,
    ID,
    NOW,
    ORIGIN,
    POLICY,
    STARTED,
    Run,
    of_workflow,
    read_result,
    read_status,
    result,
    started,
    status,
    webhook,
)

FIRST_POLL = next_poll_at(NOW, 0, seed=ID, first_ms=5 * SECOND_MS, max_ms=5 * MINUTE_MS)
RUNNING = WorkflowState(
    phase=CompletionPhase.RUNNING,
    workflow_id=ID,
    started=STARTED,
    webhook_at=None,
    has_hint=False,
    status="RUNNING",
    attempt=0,
    polls=1,
    failures=0,
    poll_at=FIRST_POLL,
    closes_at=DEADLINE,
    ended_badly_reads=0,
    ended_at=None,
    seen_by=None,
    claimed_by=(),
    timer=Timer(FIRST_POLL),
    is_waiting=False,
)
COMPLETED = replace(
    finished_started(STARTED, Outcome.COMPLETED, NOW),
    status="COMPLETED",
    decision="ACCEPT",
    result=BODY,
    result_hash="hash-1",
    result_bytes=len(BODY),
    seen_at=NOW,
    completed_by=Witness.WEBHOOK,
)


def test_a_started_workflow_is_polled_first_after_the_first_wait() -> None:
    """Custody is written down with the time of the first poll; nothing is read yet."""
    assert COMPLETION.decide({}, STARTED, NOW) == Decision({"head": RUNNING})


def test_a_webhook_makes_us_read_and_the_success_status_fetches_the_result() -> None:
    """Hint, status, result, one event; then nothing that comes changes anything."""
    run = Run()
    run.told(STARTED)
    assert run.told(webhook()).calls == (read_status(1),)
    assert run.told(status("COMPLETED")).calls == (read_result(2),)
    assert run.told(result()).outputs == (COMPLETED,)
    late: list[Fact] = [STARTED, webhook(), status("FAILED", 2), result(2), Resumed("head"), TimerFired("head", NOW)]
    assert [run.told(fact) for fact in late] == [Decision()] * len(late)


def test_an_ended_workflow_keeps_no_attributes_and_is_forgotten_8_days_after_the_deadline() -> None:
    """What is remembered serves only to recognise repetitions."""
    run = Run()
    run.told(STARTED, webhook(), status("COMPLETED"), result())
    assert run.head.started is not None
    assert (run.head.started.origin.attributes, run.head.started.origin.subject_reference) == ({}, None)
    assert run.head.timer == Timer(DEADLINE + 8 * DAY_MS, is_behind_evidence=True)
    assert run.wakes() == Decision({"head": None})


def test_a_far_deadline_does_not_keep_an_ended_workflow_for_years() -> None:
    """Its memory ends 98 days after the end at the latest."""
    run = Run()
    run.told(
        started(origin=replace(ORIGIN, deadline_at=NOW + 9_999 * DAY_MS)), webhook(), status("COMPLETED"), result()
    )
    assert run.head.closes_at == NOW + 98 * DAY_MS


@pytest.mark.parametrize("word", ["COMPLETED", "completed", " Completed "])
def test_words_of_the_provider_are_compared_whatever_their_case(word: str) -> None:
    """Only the raw word is published."""
    run = Run()
    run.told(STARTED, webhook(), status(word))
    assert run.phase is CompletionPhase.FETCHING
    assert run.head.status == word


def test_a_workflow_of_the_catalogue_has_its_own_words() -> None:
    """What ends it well or badly is configured; the default words then mean still running."""
    run = Run()
    assert run.told(of_workflow("own-words"), webhook(), status("COMPLETED")).calls == ()
    run.told(webhook(), status("done", 2))
    assert run.phase is CompletionPhase.FETCHING


@pytest.mark.parametrize("workflow", ["no-result", "removed-from-the-catalogue"])
def test_a_workflow_that_publishes_no_result_ends_with_its_status(workflow: str) -> None:
    """No result is read where none may be published; an entry that is gone publishes nothing either."""
    run = Run()
    run.told(of_workflow(workflow), webhook())
    (ended,) = run.told(status("COMPLETED")).outputs
    assert isinstance(ended, Finished)
    assert (ended.outcome, ended.result, ended.result_omitted) == (Outcome.COMPLETED, None, "not-configured")


@pytest.mark.parametrize(
    "facts, witness, seen_at",
    [
        ([started(status="COMPLETED"), status("COMPLETED")], Witness.RUN_ANSWER, NOW),
        ([started(status="COMPLETED", told_by=Witness.WEBHOOK), status("COMPLETED")], Witness.WEBHOOK, NOW),
        ([STARTED, webhook(NOW - 3), status("COMPLETED")], Witness.WEBHOOK, NOW - 3),
        ([webhook(NOW - 9), STARTED, status("COMPLETED")], Witness.WEBHOOK, NOW - 9),
        ([STARTED, TimerFired("head", FIRST_POLL), status("COMPLETED")], Witness.POLL, NOW),
        ([STARTED, TimerFired("head", FIRST_POLL), webhook(NOW - 3), status("COMPLETED")], Witness.WEBHOOK, NOW - 3),
        # A read that says "still running" refutes what was said before it.
        (
            [started(status="COMPLETED"), status("RUNNING"), Resumed("head"), webhook(NOW - 1), status("COMPLETED", 2)],
            Witness.WEBHOOK,
            NOW - 1,
        ),
        (
            [STARTED, webhook(NOW - 3), status("RUNNING"), webhook(NOW - 1), status("COMPLETED", 2)],
            Witness.WEBHOOK,
            NOW - 1,
        ),
    ],
)
def test_the_first_to_tell_of_the_end_is_named(facts: list[Fact], witness: Witness, seen_at: int) -> None:
    """The run answer, a webhook before the read that found it, or the poll alone; and when that was."""
    run = Run()
    run.told(*facts)
    assert run.phase is CompletionPhase.FETCHING
    (ended,) = run.told(result(run.head.attempt)).outputs
    assert isinstance(ended, Finished)
    assert (ended.completed_by, ended.seen_at) == (witness, seen_at)


def test_a_refuted_webhook_leaves_the_end_to_the_poll() -> None:
    """The provider may send a webhook for a step that is not the end."""
    run = Run()
    run.told(STARTED, webhook(), status("AWAITING"))
    due_at = run.head.poll_at
    assert due_at is not None
    run.told(TimerFired("head", due_at), status("COMPLETED", 2), now=due_at)
    (ended,) = run.told(result(3), now=due_at).outputs
    assert isinstance(ended, Finished)
    assert (ended.completed_by, ended.seen_at) == (Witness.POLL, due_at)


def test_each_read_in_vain_doubles_the_wait_until_a_webhook_comes() -> None:
    """A lost webhook costs one poll interval, and a webhook starts the short waits anew."""
    run = Run()
    run.told(STARTED)
    now, waits = NOW, []
    for attempt in range(1, 10):
        assert run.head.poll_at is not None
        waits.append(run.head.poll_at - now)
        now = run.head.poll_at
        run.told(TimerFired("head", now), status("RUNNING", attempt), now=now)
    bounds = [min(300_000, 5_000 * 2**polls) for polls in range(9)]
    assert all(bound * 0.75 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))
    run.told(webhook(now), status("RUNNING", 10), now=now)
    assert run.head.poll_at is not None
    assert run.head.poll_at - now <= 5_000


def test_a_status_that_nobody_listed_means_still_running() -> None:
    """Only listed words end a workflow, for the provider's list is unknown; so does a missing word."""
    for word in ("AWAITING", "SOMETHING_NEW", "", None):
        run = Run()
        run.told(STARTED, webhook(), status(word))
        assert (run.phase, run.head.is_waiting, run.outputs) == (CompletionPhase.RUNNING, False, [])


def test_a_workflow_that_is_not_there_yet_is_asked_for_again() -> None:
    """404 right after the run may be a slow copy at the provider; it ends nothing."""
    run = Run()
    run.told(STARTED, webhook(), status(None, proof=Proof.REFUSED))
    assert (run.phase, run.head.is_waiting, run.head.failures) == (CompletionPhase.RUNNING, False, 0)
    assert run.head.poll_at == next_poll_at(NOW, 0, seed=ID, first_ms=5_000, max_ms=300_000)
    assert run.head.webhook_at == NOW


@pytest.mark.parametrize("proof", [Proof.OUR_FAULT, Proof.NOT_SENT, Proof.UNKNOWN])
def test_a_failed_read_is_repeated_after_a_back_off_and_ends_nothing(proof: Proof) -> None:
    """Reads are harmless; they are repeated until the deadline."""
    run = Run()
    run.told(STARTED, webhook())
    now = NOW
    for attempt in range(1, 30):
        run.told(status(None, attempt, proof=proof), now=now)
        assert run.head.poll_at == now + retry_ms(attempt, seed=ID)
        now = run.head.poll_at
        assert run.told(TimerFired("head", now), now=now).calls == (read_status(attempt + 1),)
    run.told(status("COMPLETED", 30), now=now)
    assert (run.phase, run.head.failures) == (CompletionPhase.FETCHING, 0)


def test_a_wait_that_the_provider_asks_for_is_kept() -> None:
    """429 on a read says when to come again."""
    run = Run()
    run.told(STARTED, webhook(), status(None, proof=Proof.WAIT, wait_ms=60_000))
    assert run.head.poll_at is not None
    assert NOW + 60_000 < run.head.poll_at <= NOW + 61_000


def test_a_webhook_during_an_open_read_makes_us_read_once_more() -> None:
    """The open read may have been answered before the end; a hundred webhooks cost one read more."""
    run = Run()
    run.told(STARTED, webhook(), *[webhook()] * 100)
    assert run.calls == [read_status(1)]
    assert run.told(status("RUNNING")).calls == (read_status(2),)
    assert run.told(status("RUNNING", 2)).calls == ()


def test_a_webhook_during_a_late_poll_starts_the_short_waits_anew() -> None:
    """The end is near when a webhook comes, so the provider's slow copies are not waited for five minutes."""
    run = Run()
    run.told(STARTED)
    for attempt in range(1, 10):
        run.wakes()
        run.told(status("RUNNING", attempt))
    run.wakes()
    run.told(webhook(), status("RUNNING", 10), status("RUNNING", 11))
    assert run.head.poll_at is not None
    assert run.head.poll_at - NOW <= 5_000


def test_an_answer_of_an_older_read_is_ignored() -> None:
    """Only the last read counts; its attempt says so."""
    run = Run()
    run.told(STARTED, webhook(), Resumed("head"))
    assert run.told(status("FAILED", 1)) == Decision()
    run.told(status("RUNNING", 2))
    assert run.told(status("FAILED", 2)) == Decision()


def test_a_lost_answer_is_asked_for_again_ever_more_slowly() -> None:
    """While a read is open its timer stands at 10 minutes, doubled with each loss, so that no reads pile up."""
    run = Run()
    run.told(STARTED, webhook())
    waits = []
    for _ in range(8):
        assert run.head.timer is not None
        before = run.head.timer.due_at
        run.wakes()
        assert run.head.timer is not None
        waits.append((run.head.timer.due_at - before) // MINUTE_MS)
    assert waits == [20, 40, 80, 160, 320, 320, 320, 320]
    assert len(run.calls) == 9


@pytest.mark.parametrize(
    "facts, call",
    [
        ([STARTED, webhook()], read_status(2)),
        ([STARTED, webhook(), status("COMPLETED")], read_result(3)),
        ([STARTED], None),
    ],
)
def test_a_new_owner_reads_again_what_was_open(facts: list[Fact], call: object) -> None:
    """Reads die with their process; where none was open the timer goes on."""
    run = Run()
    run.told(*facts)
    assert run.told(Resumed("head")).calls == (() if call is None else (call,))


def test_a_failure_status_counts_when_a_second_read_repeats_it() -> None:
    """The provider's failure words are not documented, so one read is not enough; webhooks do not hurry it."""
    run = Run()
    run.told(STARTED, webhook(), status("REJECTED"))
    assert (run.outputs, run.head.timer) == ([], Timer(NOW + 5_000))
    assert run.told(webhook()).calls == ()
    assert run.wakes().calls == (read_status(2),)
    failed = replace(
        finished_started(
            STARTED,
            Outcome.FAILED,
            NOW + 5_000,
            reason=Reason.ENDED_BADLY,
            message="the provider says that it ended badly, read twice",
        ),
        status="REJECTED",
        completed_by=Witness.WEBHOOK,
        seen_at=NOW,
    )
    assert run.told(status("REJECTED", 2), now=NOW + 5_000).outputs == (failed,)
    assert run.phase is CompletionPhase.ENDED


def test_a_webhook_after_the_first_failure_status_is_not_the_first_to_tell() -> None:
    """The poll found the end; the webhook that came before the second read only repeats it."""
    run = Run()
    run.told(STARTED)
    run.told(TimerFired("head", FIRST_POLL), status("FAILED"), now=FIRST_POLL)
    run.told(webhook(FIRST_POLL + 1))
    run.wakes()
    (failed,) = run.told(status("FAILED", 2), now=FIRST_POLL + 5_000).outputs
    assert isinstance(failed, Finished)
    assert (failed.completed_by, failed.seen_at) == (Witness.POLL, FIRST_POLL)


def test_a_failure_status_that_is_not_repeated_is_taken_back() -> None:
    """The second read decides: still running, or ended well after all; the count begins anew."""
    run = Run()
    run.told(STARTED, webhook(), status("FAILED"))
    run.wakes()
    run.told(status("RUNNING", 2))
    assert (run.head.ended_badly_reads, run.head.ended_at, run.head.seen_by) == (0, None, None)
    run.wakes()
    run.told(status("FAILED", 3))
    assert run.outputs == []
    run.wakes()
    assert run.told(status("COMPLETED", 4)).calls == (read_result(5),)


def test_a_result_that_is_refused_is_waited_for_and_then_left_out() -> None:
    """The result may come later than the status: five minutes, then COMPLETED without it."""
    run = Run()
    run.told(STARTED, webhook(), status("COMPLETED"), result(proof=Proof.REFUSED), now=NOW)
    assert run.head.poll_at == NOW + retry_ms(1, seed=ID)
    run.wakes()
    run.told(result(3, proof=Proof.REFUSED), now=NOW + 5 * MINUTE_MS - 1)
    run.wakes()
    (ended,) = run.told(result(4, proof=Proof.REFUSED), now=NOW + 5 * MINUTE_MS).outputs
    assert isinstance(ended, Finished)
    assert (ended.outcome, ended.result, ended.result_omitted, ended.reason) == (
        Outcome.COMPLETED,
        None,
        "unavailable",
        Reason.RESULT_UNAVAILABLE,
    )


@pytest.mark.parametrize("proof", [Proof.OUR_FAULT, Proof.NOT_SENT, Proof.UNKNOWN, Proof.WAIT])
def test_a_result_that_cannot_be_read_now_is_waited_for_until_the_deadline(proof: Proof) -> None:
    """Missing permission or an outage loses no result: the request waits."""
    run = Run()
    run.told(STARTED, webhook(), status("COMPLETED"))
    run.told(result(proof=proof), now=NOW + 6 * DAY_MS)
    assert (run.phase, run.outputs) == (CompletionPhase.FETCHING, [])
    assert run.wakes().calls == (read_result(3),)


def test_a_result_above_the_limit_is_left_out_with_size_and_hash() -> None:
    """Every record must fit its topic; the consumer learns what is missing."""
    run = Run()
    run.told(STARTED, webhook(), status("COMPLETED"))
    (ended,) = run.told(result(size=POLICY.result_bytes_max + 1)).outputs
    assert ended == replace(
        COMPLETED, result=None, result_bytes=POLICY.result_bytes_max + 1, result_omitted="too-large"
    )


def test_every_phase_has_a_rule_for_every_fact_and_for_its_close() -> None:
    """A missing pair would stop a partition in production instead of this test."""
    assert set(RULES) == {(phase, fact) for phase in (None, *CompletionPhase) for fact in get_args(Fact)}
    assert set(CLOSING) == set(CompletionPhase)


def test_a_timer_of_an_older_state_is_ignored() -> None:
    """Only the timer that stands in the state counts."""
    run = Run()
    run.told(STARTED)
    assert run.told(TimerFired("head", DEADLINE), now=DEADLINE) == Decision()
