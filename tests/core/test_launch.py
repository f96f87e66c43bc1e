"""How a request is launched: taken once, one at a time, and made anew only when the last attempt was not executed."""

from dataclasses import replace
from typing import get_args

import pytest

from processor.core.launch import RULES, Fact, Launch
from processor.core.launch_parts import LaunchPolicy
from processor.core.messages import (
    AwaitEvidence,
    CaseRead,
    CustodyUnreadable,
    EvidenceJudged,
    Finished,
    Judge,
    LinkOver,
    PermitGranted,
    Progressed,
    Resolution,
    Resumed,
    Started,
    StartWorkflow,
    Step,
    TimerFired,
    VerdictReached,
)
from processor.core.model import DAY_MS, MINUTE_MS, SECOND_MS, Instant, Origin, Outcome, Reason, Timer, Witness
from processor.core.proof import Operation, Proof
from processor.core.results import finished, finished_launching, finished_prepared
from processor.core.schedule import retry_ms
from processor.core.state import Decision, KnownRequest, KnownWorkflow, LaunchPhase, WaitingLaunch
from processor.errors import SettingsInvalid
from tests.core.launching import (
    BUDGET,
    CHECK,
    DEADLINE,
    FORGOTTEN,
    INTENT,
    LAUNCH,
    READY,
    RECORD,
    W1,
    WINDOW,
    Key,
    T,
    answered,
    asked,
    decided,
    held,
    in_phase,
    observed,
    prepared,
    proved,
    sent,
)

UNSENT = replace(READY, attempt=1)
STARTED = Started(prepared().origin, W1, RECORD, None, "RUNNING", T, Witness.RUN_ANSWER, attempts=1, revision=1)
TOLD_STARTED = Progressed(prepared().origin, Step.STARTED, T, W1, 1)
ONE_OF_EACH: tuple[Fact, ...] = (
    prepared("B"),
    observed(),
    proved(Proof.UNKNOWN, attempt=9),
    decided(Resolution.GIVE_UP),
    CustodyUnreadable(RECORD, "B", CHECK, b"k", "onboarding.results", T),
    PermitGranted(T + MINUTE_MS),
    answered(Proof.UNKNOWN, attempt=9),
    asked(),
    LinkOver(RECORD, "A"),
    CaseRead("A", 1, Proof.DONE, W1, None, None, ""),
    EvidenceJudged("A", 9),
    VerdictReached(9, is_our_fault=False, request_id="A"),
    TimerFired("head", T),
    Resumed("head"),
)


def test_there_is_a_rule_for_every_fact_in_every_phase() -> None:
    """A missing pair would come back after each restart."""
    assert set(RULES) == {(phase, fact) for phase in (None, *LaunchPhase) for fact in get_args(Fact)}
    assert {type(fact) for fact in ONE_OF_EACH} == set(get_args(Fact))


@pytest.mark.parametrize("phase", LaunchPhase)
@pytest.mark.parametrize("fact", ONE_OF_EACH, ids=lambda fact: type(fact).__name__)
def test_no_fact_is_too_much_for_any_phase(phase: LaunchPhase, fact: Fact) -> None:
    """Every rule can be applied: none raises, and an idle key takes every fact too."""
    in_phase(phase).tell(fact)
    Key().tell(fact)


def test_the_first_request_of_a_record_wants_a_permit_at_once() -> None:
    """Nothing is in its way; its deadline is the only timer."""
    assert LAUNCH.decide({}, prepared(), T) == Decision(
        {"request/A": KnownRequest(b"", FORGOTTEN), "head": READY}, wants_permit=BUDGET
    )


@pytest.mark.parametrize("phase", LaunchPhase)
def test_a_request_is_taken_once_in_its_life(phase: LaunchPhase) -> None:
    """A request that came before changes nothing, wherever it stands."""
    assert in_phase(phase).tell(prepared()) == Decision()


@pytest.mark.parametrize(
    "way_out",
    [
        (answered(Proof.DONE, W1),),
        (answered(Proof.REFUSED), VerdictReached(1, is_our_fault=False, request_id="A")),
        (answered(Proof.UNKNOWN), decided(Resolution.GIVE_UP)),
    ],
)
def test_a_request_that_has_left_is_not_taken_again(way_out: tuple[Fact, ...]) -> None:
    """Started, refused or given up: its id is remembered."""
    key = sent()
    key.tell(*way_out)
    assert key.head is None
    assert key.tell(prepared()) == Decision()


def test_an_expired_request_is_not_taken_again() -> None:
    """The memory outlives the deadline by nine days, and then it ends."""
    key = sent()
    key.tell(answered(Proof.OUR_FAULT))
    key.pass_time(DEADLINE + 9 * DAY_MS - 1)
    assert key.tell(prepared()) == Decision()
    key.pass_time(DEADLINE + 9 * DAY_MS)
    assert key.state == {}


def test_requests_of_a_record_run_one_at_a_time_in_the_order_they_came() -> None:
    """The next one becomes ready in the decision that ends the active one."""
    key = sent()
    key.tell(prepared("B", is_own=False), prepared("C", is_own=False))
    assert key.state["w/0000000000000000"] == WaitingLaunch(
        prepared("B", is_own=False), Timer(DEADLINE, is_behind_evidence=True)
    )
    decision = key.tell(answered(Proof.DONE, W1))
    assert decision.wants_permit == BUDGET
    assert decision.changes["head"] == replace(
        READY, prepared=prepared("B", is_own=False), waiting_first=1, waiting_next=2
    )
    assert set(key.parts()) == {"head", "w/0000000000000001", f"known/{W1}"}


def test_a_request_that_expires_while_it_waits_leaves_a_hole_that_is_skipped() -> None:
    """It ends at its own deadline, whatever the active one does."""
    key = held()
    key.tell(prepared("B", deadline_at=T + DAY_MS), prepared("C"))
    decision = key.wake("w/0000000000000000")
    expected = finished_prepared(
        prepared("B", deadline_at=T + DAY_MS),
        Outcome.EXPIRED,
        T + DAY_MS,
        reason=Reason.DEADLINE_PASSED,
        message="the deadline passed before the workflow was started",
    )
    assert decision == Decision({"w/0000000000000000": None}, outputs=(expected,))
    key.tell(decided(Resolution.STARTED, W1))
    assert key.head == replace(READY, prepared=prepared("C"), waiting_first=2, waiting_next=2)


def test_when_nobody_waits_the_head_is_deleted() -> None:
    """An idle key keeps what it knows and nothing else, even after a queue full of holes."""
    key = held()
    key.tell(prepared("B", deadline_at=T + DAY_MS))
    key.wake("w/0000000000000000")
    key.tell(decided(Resolution.STARTED, W1))
    assert key.parts() == {f"known/{W1}": KnownWorkflow("A", FORGOTTEN)}


def test_a_permit_writes_the_intent_and_calls_the_run() -> None:
    """The intent says until when the call may be sent and when it has ended; the timer leaves a margin after that."""
    key = Key()
    key.tell(prepared())
    assert key.permit() == Decision(
        {"head": INTENT},
        (StartWorkflow(CHECK, "A", 1, RECORD, None, "parameters-1", T + 5 * SECOND_MS, T + 35 * SECOND_MS),),
    )


def test_a_call_is_sent_while_its_permit_holds() -> None:
    """A permit that ends before the send window bounds the call; one that has ended is asked for again."""
    key = Key()
    key.tell(prepared())
    assert key.tell(PermitGranted(T)) == Decision(wants_permit=BUDGET)
    decision = key.tell(PermitGranted(T + SECOND_MS))
    (call,) = decision.calls
    assert isinstance(call, StartWorkflow)
    assert (call.send_before, call.deadline_at) == (T + SECOND_MS, T + 31 * SECOND_MS)


@pytest.mark.parametrize("phase", sorted(set(LaunchPhase) - {LaunchPhase.READY}))
def test_a_permit_is_used_in_no_phase_but_ready(phase: LaunchPhase) -> None:
    """A second permit must never become a second call."""
    assert in_phase(phase).tell(PermitGranted(T + MINUTE_MS)) == Decision()


def test_a_permit_after_the_deadline_expires_the_request() -> None:
    """Nothing is started that nobody waits for any more."""
    key = Key()
    key.tell(prepared())
    assert [type(output) for output in key.permit(at=DEADLINE).outputs] == [Finished]
    assert (key.runs, key.phase) == ([], None)


def test_an_answer_with_the_workflow_id_starts_the_request() -> None:
    """Custody passes to completion, and the id is remembered as this request's."""
    assert sent().tell(answered(Proof.DONE, W1)) == Decision(
        {f"known/{W1}": KnownWorkflow("A", FORGOTTEN), "head": None}, outputs=(STARTED, TOLD_STARTED)
    )


def test_an_id_is_known_in_one_spelling_and_passed_on_as_the_provider_spells_it() -> None:
    """The webhook may spell it in another case than the answer."""
    key = sent()
    decision = key.tell(answered(Proof.DONE, f" {W1.upper()}"))
    assert f"known/{W1}" in key.state
    assert decision.outputs[0] == replace(STARTED, workflow_id=W1.upper())


@pytest.mark.parametrize("answer", [answered(Proof.UNKNOWN), answered(Proof.DONE), answered(Proof.DONE, " ")])
def test_an_answer_without_an_id_leaves_the_outcome_unknown(answer: Fact) -> None:
    """The window for adoption opens; nothing is called."""
    key = sent()
    why = getattr(answer, "why", "")
    window = Timer(T + WINDOW, is_behind_evidence=True)
    opened = replace(INTENT, phase=LaunchPhase.UNKNOWN, why=why, timer=window, closes_at=T + WINDOW)
    assert key.tell(answer) == Decision({"head": opened})


def test_the_window_closes_at_the_deadline_if_that_comes_sooner() -> None:
    """A result is due at the deadline; a late trace amends it."""
    deadline_at = T + MINUTE_MS
    key = sent(prepared(deadline_at=deadline_at))
    key.tell(answered(Proof.UNKNOWN))
    assert key.state["head"].timer == Timer(deadline_at, is_behind_evidence=True)


@pytest.mark.parametrize("proof", [Proof.NOT_SENT, Proof.WAIT])
def test_a_call_that_was_not_executed_is_made_anew_after_a_back_off(proof: Proof) -> None:
    """The attempt is taken back, and the next one needs a new permit and a new intent."""
    key = sent()
    wait_ms = retry_ms(1, seed="A/1")
    backing_off = replace(
        UNSENT,
        phase=LaunchPhase.BACKING_OFF,
        failures=1,
        why=f"said {proof}",
        timer=Timer(T + wait_ms),
        is_waiting=False,
    )
    assert key.tell(answered(proof)) == Decision({"head": backing_off})
    ready = replace(UNSENT, failures=1, why=f"said {proof}")
    assert key.wake() == Decision({"head": ready}, wants_permit=BUDGET)
    key.permit()
    assert key.runs == [("A", 1), ("A", 2)]


def test_a_wait_that_the_server_asks_for_is_kept() -> None:
    """`Retry-After` holds, within the bounds of the schedule."""
    key = sent()
    key.tell(replace(answered(Proof.WAIT), wait_ms=MINUTE_MS))
    assert key.state["head"].timer == Timer(T + retry_ms(1, seed="A/1", asked_ms=MINUTE_MS))


def test_a_back_off_never_outlasts_the_deadline() -> None:
    """The request ends at its deadline, behind evidence, instead of trying once more."""
    key = sent(prepared(deadline_at=T + 10))
    key.tell(replace(answered(Proof.WAIT), wait_ms=MINUTE_MS))
    assert key.state["head"].timer == Timer(T + 10, is_behind_evidence=True)
    key.wake()
    assert [type(end) for end in key.ends()] == [Finished]


def test_our_own_fault_waits_for_a_permit_and_counts_as_no_failure() -> None:
    """The gate holds permits back until the fault is mended; the request loses nothing."""
    why = f"said {Proof.OUR_FAULT}"
    assert sent().tell(answered(Proof.OUR_FAULT)) == Decision({"head": replace(UNSENT, why=why)}, wants_permit=BUDGET)


def test_a_refusal_is_judged_before_it_ends_a_request() -> None:
    """Many refusals at once are our own fault, not the requests'."""
    suspect = replace(UNSENT, phase=LaunchPhase.SUSPECT, why=f"said {Proof.REFUSED}")
    judge = Judge(Operation.RUN, CHECK, "A", 1)
    assert sent().tell(answered(Proof.REFUSED)) == Decision({"head": suspect}, (judge,))


def test_a_genuine_refusal_ends_the_request_with_what_the_provider_said() -> None:
    """The reason is a closed word, the message holds codes only."""
    key = in_phase(LaunchPhase.SUSPECT)
    head = key.head
    assert head is not None
    result = finished_launching(
        head, Outcome.NOT_STARTED, T, reason=Reason.REFUSED_BY_PROVIDER, message=f"said {Proof.REFUSED}"
    )
    decision = key.tell(VerdictReached(1, is_our_fault=False, request_id="A"))
    assert decision == Decision({"head": None}, outputs=(result,))
    assert (result.attempts, result.record_id, result.started_at) == (1, RECORD, None)


def test_a_refusal_that_was_our_fault_is_tried_again() -> None:
    """The verdict brings the request back to where it wants a permit."""
    key = in_phase(LaunchPhase.SUSPECT)
    decision = key.tell(VerdictReached(1, is_our_fault=True, request_id="A"))
    assert decision == Decision({"head": replace(UNSENT, why=f"said {Proof.REFUSED}")}, wants_permit=BUDGET)


@pytest.mark.parametrize(
    "verdict",
    [
        VerdictReached(2, is_our_fault=False, request_id="A"),
        VerdictReached(1, is_our_fault=False, request_id="B"),
        VerdictReached(1, is_our_fault=False),
    ],
)
def test_a_verdict_about_another_attempt_or_request_says_nothing(verdict: VerdictReached) -> None:
    """The judge of a request that expired may speak while the next one is being judged."""
    assert in_phase(LaunchPhase.SUSPECT).tell(verdict) == Decision()


@pytest.mark.parametrize("phase", sorted(set(LaunchPhase) - {LaunchPhase.SUSPECT}))
def test_a_verdict_counts_in_no_phase_but_suspect(phase: LaunchPhase) -> None:
    """Whatever it says, nobody asked."""
    assert in_phase(phase).tell(VerdictReached(1, is_our_fault=False, request_id="A")) == Decision()


@pytest.mark.parametrize("made_id", [None, W1])
@pytest.mark.parametrize("proof", Proof)
@pytest.mark.parametrize("request_id", ["B", "", "Z"])
def test_an_answer_of_another_request_is_never_taken_for_this_ones(
    proof: Proof, made_id: str | None, request_id: str
) -> None:
    """Attempts are numbered within a request, so the id of the request is compared too."""
    key = sent()
    key.tell(prepared("B"))
    before = key.head
    key.tell(answered(proof, made_id, request_id=request_id))
    assert key.head == before
    assert key.ends("A") == []


@pytest.mark.parametrize("phase", LaunchPhase)
def test_a_new_owner_asks_again_for_what_lives_in_memory_only(phase: LaunchPhase) -> None:
    """A permit and a verdict; never a run, which its timer or evidence decides."""
    expected = {
        LaunchPhase.READY: Decision(wants_permit=BUDGET),
        LaunchPhase.SUSPECT: Decision(calls=(Judge(Operation.RUN, CHECK, "A", 1),)),
        LaunchPhase.GATHERING: Decision(calls=(AwaitEvidence("A", 1, T + 20 * SECOND_MS + WINDOW + 2 * MINUTE_MS),)),
    }
    assert in_phase(phase).tell(Resumed("head")) == expected.get(phase, Decision())


def test_custody_that_cannot_be_read_ends_a_request_that_is_not_known() -> None:
    """Nothing vanishes; what the headers say comes back on the result, once."""
    key = Key()
    fact = CustodyUnreadable(RECORD, "A", CHECK, b"k", "onboarding.results", T)
    origin = Origin("A", CHECK, b"k", "onboarding.results", T, T, T)
    message = "the message that carried this request between two steps could not be read"
    result = finished(origin, Outcome.UNDETERMINED, T, reason=Reason.CUSTODY_UNREADABLE, message=message)
    assert key.tell(fact).outputs == (result,)
    assert key.tell(fact) == Decision()
    assert key.tell(prepared()) == Decision()


@pytest.mark.parametrize("phase", LaunchPhase)
def test_custody_that_cannot_be_read_leaves_a_known_request_alone(phase: LaunchPhase) -> None:
    """The active request goes on, and so does one that waits."""
    key = in_phase(phase)
    key.tell(prepared("B"))
    for request_id in ("A", "B"):
        assert key.tell(CustodyUnreadable(RECORD, request_id, CHECK, b"k", "onboarding.results", T)) == Decision()


def test_a_workflow_that_the_catalogue_lost_can_still_end() -> None:
    """A request in flight outlives a change of the catalogue; its run is not adopted without one."""
    key = Key(Launch(replace(LAUNCH.catalogue, workflows={})))
    key.tell(prepared())
    key.permit()
    key.tell(answered(Proof.UNKNOWN), observed())
    assert key.head is not None
    assert (key.head.phase, key.head.has_candidates, key.head.timer) == (
        LaunchPhase.UNKNOWN,
        True,
        Timer(T + WINDOW, is_behind_evidence=True),
    )


@pytest.mark.parametrize("limits", [{"candidates_max": 1}, {"memory_ms": 8 * DAY_MS}])
def test_a_limit_that_would_break_a_rule_is_refused(limits: dict[str, Instant]) -> None:
    """One candidate kept would look unambiguous; an id forgotten too soon could be adopted."""
    with pytest.raises(SettingsInvalid):
        LaunchPolicy(**limits)
