"""Workflows that nobody started here, that two requests claim, or whose start cannot be read."""

from dataclasses import replace

import pytest

from processor.core.completion import CLAIMS_MAX, Fact
from processor.core.messages import CustodyUnreadable, Observed, ReadStatus, Resumed, Started, StatusRead
from processor.core.model import DAY_MS, MINUTE_MS, ApiVersion, Origin, Outcome, Reason, Timer, Witness
from processor.core.proof import Proof
from processor.core.results import finished, finished_started
from processor.core.schedule import retry_ms
from processor.core.state import CompletionPhase, Decision, WorkflowState
from tests.core.workflows import (
    COMPLETION,
    ID,
    NOW,
    ORIGIN,
    POLICY,
    STARTED,
    Run,
    read_status,
    result,
    started,
    status,
    webhook,
)

GRACE_OVER = NOW + 10_000
OTHER = started(origin=replace(ORIGIN, request_id="request-2"))
UNREADABLE = CustodyUnreadable("9e8d-1", "request-1", "person-check", b"customer-7", "onboarding.results", NOW)


def observing() -> Run:
    """A workflow whose grace period is over and whose read is open."""
    run = Run()
    run.told(webhook())
    run.wakes()
    return run


def test_a_webhook_that_overtakes_our_own_start_waits_for_it() -> None:
    """A hint without a start asks nobody; the timer of its grace period waits for evidence."""
    decision = COMPLETION.decide({}, webhook(NOW - 1), NOW)
    early = WorkflowState(
        phase=CompletionPhase.EARLY,
        workflow_id=ID,
        started=None,
        webhook_at=NOW - 1,
        has_hint=False,
        status=None,
        attempt=0,
        polls=0,
        failures=0,
        poll_at=None,
        closes_at=GRACE_OVER,
        ended_badly_reads=0,
        ended_at=None,
        seen_by=None,
        claimed_by=(),
        timer=Timer(GRACE_OVER, is_behind_evidence=True),
        is_waiting=False,
    )
    assert decision == Decision({"head": early})


def test_the_start_that_comes_in_time_reads_at_once() -> None:
    """Whatever the grace period has come to: waiting, asking, or asked."""
    told = observing()
    told.told(status("COMPLETED"), now=GRACE_OVER)
    for run, attempt in ((Run(), 1), (observing(), 2), (told, 2)):
        run.told(webhook())
        assert run.told(STARTED).calls == (read_status(attempt),)
        run.told(status("COMPLETED", attempt), result(attempt + 1))
        assert run.results() == ["request-1 COMPLETED 1"]


def test_a_workflow_that_nobody_started_is_asked_for_and_told_to_launch() -> None:
    """One read tells the record; launch hears of it under the canonical key, with the time of the first webhook."""
    run = Run()
    run.told(webhook(NOW - 1), webhook(NOW + 1))
    assert run.wakes().calls == (read_status(1, workflow=None),)
    answer = status("COMPLETED", record_id="REC-7")
    assert run.told(answer, now=GRACE_OVER).outputs == (
        Observed("rec-7", ID, "REC-7", None, "COMPLETED", received_at=NOW - 1, observed_at=GRACE_OVER),
    )
    assert run.told(webhook(), status("COMPLETED"), Resumed("head")) == Decision()
    assert (run.phase, run.head.timer) == (
        CompletionPhase.FORGETTING,
        Timer(GRACE_OVER + 10 * MINUTE_MS, is_behind_evidence=True),
    )
    assert run.wakes() == Decision({"head": None})


def test_a_workflow_of_version_1_is_told_under_its_case() -> None:
    """Where the answer names no record, the case is the key."""
    run = observing()
    run.told(status(None, record_id=None, case_id="CASE-7"), now=GRACE_OVER)
    assert run.outputs == [Observed("case-7", ID, None, "CASE-7", "", received_at=NOW, observed_at=GRACE_OVER)]


@pytest.mark.parametrize(
    "answers",
    [
        [status("COMPLETED", attempt, record_id=None) for attempt in (1, 2, 3)],
        [status("COMPLETED", attempt, record_id=" ") for attempt in (1, 2, 3)],
    ],
)
def test_a_workflow_without_a_trace_is_forgotten_unannounced(answers: list[StatusRead]) -> None:
    """No record in any version's answer: there is nobody to tell."""
    run = observing()
    for answer in answers[:-1]:
        run.told(answer, now=GRACE_OVER)
        assert run.phase is CompletionPhase.OBSERVING
        if not run.head.is_waiting:
            run.wakes()
    run.told(answers[-1], now=GRACE_OVER)
    assert (run.head.phase, run.outputs) == (CompletionPhase.FORGETTING, [])


def judged(run: Run) -> int:
    """Let every version refuse until the workflow is nobody's; return when it is."""
    now = GRACE_OVER
    while run.phase is CompletionPhase.OBSERVING:
        if not run.head.is_waiting:
            assert run.head.timer is not None
            now = run.head.timer.due_at
            run.wakes()
        run.told(status(None, run.head.attempt, proof=Proof.REFUSED), now=now)
    return now


def test_a_workflow_that_no_version_knows_for_five_minutes_is_nobodys() -> None:
    """It may be slow to appear; a foreign one costs a handful of reads."""
    run = observing()
    assert judged(run) == GRACE_OVER + POLICY.refused_ms
    assert (run.phase, run.outputs) == (CompletionPhase.FORGETTING, [])
    assert {call.api for call in run.calls if isinstance(call, ReadStatus)} == set(ApiVersion)
    assert 5 <= len(run.calls) <= 8


def test_a_version_that_does_not_answer_is_waited_for_although_all_others_refuse() -> None:
    """It may be the one that knows the workflow; after a day it is given up, for the others did answer."""
    run = observing()
    now = GRACE_OVER
    for _ in range(1_000):
        if not run.head.is_waiting:
            assert run.head.timer is not None
            now = run.head.timer.due_at
            run.wakes()
        if run.phase is not CompletionPhase.OBSERVING:
            break
        last = run.calls[-1]
        assert isinstance(last, ReadStatus)
        proof = Proof.UNKNOWN if last.api is ApiVersion.CASES else Proof.REFUSED
        run.told(status(None, last.attempt, proof=proof), now=now)
    assert (now, run.phase, run.outputs) == (GRACE_OVER + DAY_MS, CompletionPhase.FORGETTING, [])


def test_a_newer_webhook_of_a_workflow_that_was_nobodys_makes_us_ask_anew() -> None:
    """The provider knows it after all, and launch hears of it with the time of the first webhook."""
    run = observing()
    now = judged(run)
    assert run.told(webhook(NOW), now=now) == Decision()
    (call,) = run.told(webhook(now + 1), now=now + 1).calls
    assert run.phase is CompletionPhase.OBSERVING
    run.told(status("COMPLETED", call.attempt), now=now + 2)
    assert run.outputs == [Observed("rec-1", ID, "rec-1", None, "COMPLETED", received_at=NOW, observed_at=now + 2)]
    assert run.told(webhook(now + 3), now=now + 3) == Decision()


def test_webhooks_without_end_of_a_foreign_workflow_cost_a_bounded_number_of_reads() -> None:
    """Its answers name nobody, whatever comes."""
    run = observing()
    for second in range(1_000):
        while run.phase is CompletionPhase.OBSERVING:
            run.told(status("RUNNING", run.head.attempt, record_id=None))
        run.told(webhook(NOW + second + 1))
    assert len(run.calls) < POLICY.unknown_reads_max + len(ApiVersion)
    assert run.wakes() == Decision({"head": None})


@pytest.mark.parametrize("proof", [Proof.OUR_FAULT, Proof.NOT_SENT, Proof.UNKNOWN, Proof.WAIT, None])
def test_an_unknown_workflow_is_kept_as_long_as_no_read_is_answered(proof: Proof | None) -> None:
    """Its webhook may be the only trace of a run whose answer was lost: no outage, however long, may lose it."""
    run = observing()
    for _ in range(1_500):
        assert run.head.timer is not None
        now = run.head.timer.due_at
        run.wakes()
        if run.head.is_waiting and proof is not None:
            run.told(status(None, run.head.attempt, proof=proof), now=now)
    assert now > GRACE_OVER + 2 * DAY_MS
    assert (run.phase, run.outputs) == (CompletionPhase.OBSERVING, [])
    if not run.head.is_waiting:
        run.wakes()
    run.told(status("COMPLETED", run.head.attempt), now=now)
    assert [type(output) for output in run.outputs] == [Observed]


@pytest.mark.parametrize("proof", [Proof.OUR_FAULT, Proof.NOT_SENT, Proof.UNKNOWN, Proof.WAIT])
def test_a_failed_read_of_an_unknown_workflow_is_repeated_ever_more_slowly(proof: Proof) -> None:
    """A day without the provider costs a read every few minutes."""
    run = observing()
    run.told(status(None, proof=proof), now=GRACE_OVER)
    assert run.head.timer == Timer(GRACE_OVER + retry_ms(1, seed=ID))
    (second,) = run.wakes().calls
    (third,) = run.told(Resumed("head")).calls
    assert isinstance(second, ReadStatus)
    assert isinstance(third, ReadStatus)
    assert [replace(call, api=ApiVersion.RECORDS) for call in (second, third)] == [
        read_status(2, workflow=None),
        read_status(3, workflow=None),
    ]
    attempts = 3
    now = GRACE_OVER
    while now < GRACE_OVER + DAY_MS:
        assert run.head.timer is not None
        now = run.head.timer.due_at
        run.wakes()
        attempts += 1
        run.told(status(None, run.head.attempt, proof=proof), now=now)
    assert attempts < 24 * 60


@pytest.mark.parametrize(
    "facts",
    [
        [STARTED],
        [STARTED, webhook(), status("COMPLETED")],
        [STARTED, webhook(), status("COMPLETED"), result()],
    ],
)
def test_a_workflow_that_two_requests_claim_belongs_to_the_first(facts: list[Fact]) -> None:
    """The second ends UNDETERMINED, once, with the workflow as a candidate; the first does not notice."""
    run = Run()
    run.told(*facts)
    undetermined = finished_started(
        OTHER,
        Outcome.UNDETERMINED,
        NOW,
        reason=Reason.WORKFLOW_CLAIMED_TWICE,
        message="another request holds this workflow",
    )
    before = run.head
    decision = run.told(OTHER)
    assert decision.outputs == (replace(undetermined, status=None, workflow_id=None, candidates=(ID,)),)
    assert decision.changes == {"head": replace(before, claimed_by=("request-2",))}
    assert run.told(OTHER) == run.told(STARTED) == Decision()


def test_an_amendment_that_claims_the_workflow_of_another_is_dropped() -> None:
    """Its request has its result, and "we still do not know" amends nothing."""
    run = Run()
    assert run.told(STARTED, replace(OTHER, revision=2)).outputs == ()
    assert run.told(replace(OTHER, revision=2)) == Decision()


def test_the_memory_of_claims_is_bounded() -> None:
    """A provider that gives one id to every run must not make our state grow without end."""
    run = Run()
    run.told(STARTED)
    for number in range(CLAIMS_MAX + 9):
        run.told(started(origin=replace(ORIGIN, request_id=f"other-{number}")))
    assert len(run.head.claimed_by) == CLAIMS_MAX
    assert run.head.claimed_by[-1] == f"other-{CLAIMS_MAX + 8}"


@pytest.mark.parametrize("before", [[], [webhook()]])
def test_a_start_that_cannot_be_read_ends_its_request_undetermined(before: list[Fact]) -> None:
    """Custody was ours, so the result is too; the workflow is remembered, so that nothing of it counts any more."""
    run = Run()
    run.told(*before)
    origin = Origin("request-1", "person-check", b"customer-7", "onboarding.results", NOW, NOW, NOW)
    undetermined = finished(
        origin,
        Outcome.UNDETERMINED,
        NOW,
        reason=Reason.CUSTODY_UNREADABLE,
        message="the message that carried this request to its end cannot be read",
    )
    assert run.told(UNREADABLE).outputs == (replace(undetermined, candidates=("9e8d-1",)),)
    assert (run.phase, run.head.closes_at) == (CompletionPhase.ENDED, NOW + 8 * DAY_MS)
    assert run.told(UNREADABLE) == run.told(STARTED) == run.told(webhook()) == Decision()
    run.told(OTHER)
    assert run.results() == ["request-1 UNDETERMINED 1", "request-2 UNDETERMINED 1"]


@pytest.mark.parametrize(
    "held, results",
    [(STARTED, []), (OTHER, ["request-1 UNDETERMINED 1"])],
)
def test_a_start_that_cannot_be_read_of_a_known_request_changes_nothing(held: Started, results: list[str]) -> None:
    """A repetition in an unreadable form: the request is in custody; that of another one ends and is remembered."""
    run = Run()
    run.told(held, UNREADABLE, UNREADABLE)
    assert run.results() == results
    assert run.phase is CompletionPhase.RUNNING


def test_a_run_that_launch_adopted_keeps_the_time_of_its_webhook() -> None:
    """The observation went to launch, the start came back: the webhook of then is what told of the end."""
    run = observing()
    run.told(status("COMPLETED"), now=GRACE_OVER)
    adopted = started(status="COMPLETED", told_by=Witness.WEBHOOK)
    assert run.told(adopted, now=GRACE_OVER + 5).calls == (read_status(2),)
    assert (run.head.seen_by, run.head.webhook_at) == (Witness.WEBHOOK, NOW)
