"""Repeating a run of unknown outcome where the catalogue wants it: only once all evidence is judged, and said so."""

from dataclasses import replace

import pytest

from processor.core.catalogue import Catalogue, UnknownPolicy, Workflow
from processor.core.launch import Fact, Launch
from processor.core.messages import (
    AwaitEvidence,
    EvidenceJudged,
    Finished,
    Judge,
    Progressed,
    Resolution,
    Resumed,
    Started,
    Step,
    TimerFired,
    VerdictReached,
)
from processor.core.model import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Outcome, Reason, Timer
from processor.core.proof import Operation, Proof
from processor.core.state import Decision, LaunchPhase
from tests.core.launching import (
    AFTER,
    AGAIN,
    DEADLINE,
    MAILED,
    NEVER_EXECUTED,
    W1,
    W2,
    WINDOW,
    Key,
    T,
    answered,
    certain,
    decided,
    gathering,
    in_phase,
    issued,
    mailed,
    observed,
    prepared,
    proved,
    sent,
    unknown,
)

CLOSED = T + 20 * SECOND_MS + WINDOW  # When the window of `unknown` closes.


def repeated() -> Key:
    """Return a key whose second attempt is open after the first left no trace."""
    key = certain()
    key.wake()
    key.permit()
    return key


def test_when_the_window_closes_in_vain_all_evidence_is_waited_for() -> None:
    """Of webhooks that came until then and a margin for clocks; the only timer is the request's deadline."""
    key = unknown(prepared(name=AGAIN))
    before = key.head
    assert before is not None
    until = CLOSED + 2 * MINUTE_MS
    deadline = Timer(DEADLINE, is_behind_evidence=True)
    expected = replace(before, phase=LaunchPhase.GATHERING, closes_at=until, timer=deadline, is_waiting=True)
    assert key.wake() == Decision({"head": expected}, (AwaitEvidence("A", 1, until),))


def test_a_new_owner_waits_for_the_same_evidence() -> None:
    """However often it changes, the instant does not move."""
    key = gathering()
    assert key.tell(Resumed("head"), at=key.now + MINUTE_MS).calls == (AwaitEvidence("A", 1, CLOSED + 2 * MINUTE_MS),)


def test_no_evidence_is_waited_for_that_the_call_could_still_bring() -> None:
    """An answer may be unknown long before the call has settled, and a window may be short."""
    key = sent(prepared(name=AGAIN))
    workflow = replace(key.launch.catalogue.workflows[AGAIN], adoption_window_ms=0)
    key.launch = Launch(replace(key.launch.catalogue, workflows={AGAIN: workflow}))
    key.tell(answered(Proof.UNKNOWN))
    key.wake()
    assert key.calls[-1] == AwaitEvidence("A", 1, T + 45 * SECOND_MS + 2 * MINUTE_MS)


def test_what_completion_saw_is_read_before_the_run_is_repeated() -> None:
    """The timer is behind evidence: it fires when the input is read to an end that was looked up after this."""
    key = gathering()
    before = key.head
    assert before is not None
    expected = replace(
        before, phase=LaunchPhase.CERTAIN, timer=Timer(key.now, is_behind_evidence=True), is_waiting=False
    )
    assert key.tell(EvidenceJudged("A", 1)) == Decision({"head": expected})
    decision = key.wake()
    assert decision.wants_permit == f"default/{AGAIN}"
    head = key.head
    assert head is not None
    assert (head.phase, head.doubt_at, head.intent_at, head.reruns) == (LaunchPhase.READY, T, None, 1)
    key.permit()
    assert key.runs == [("A", 1), ("A", 2)]


def test_a_timer_that_fires_without_evidence_repeats_nothing() -> None:
    """One that had to wait an hour fires whatever is read, for example after an outage: then all is gathered anew."""
    key = certain()
    now = key.now + HOUR_MS
    timer = key.state["head"].timer
    assert timer is not None
    decision = key.tell(TimerFired("head", timer.due_at), at=now)
    assert (key.phase, decision.calls) == (LaunchPhase.GATHERING, (AwaitEvidence("A", 1, now + 2 * MINUTE_MS),))
    key.tell(EvidenceJudged("A", 1))
    assert key.wake().wants_permit is not None


@pytest.mark.parametrize("fact", [EvidenceJudged("A", 2), EvidenceJudged("B", 1)])
def test_evidence_of_another_attempt_or_request_says_nothing(fact: Fact) -> None:
    """The wait of a request that left may be answered late."""
    assert gathering().tell(fact) == Decision()


@pytest.mark.parametrize("phase", sorted(set(LaunchPhase) - {LaunchPhase.GATHERING}))
def test_evidence_counts_in_no_phase_but_gathering(phase: LaunchPhase) -> None:
    """Whatever it says, nobody asked."""
    assert in_phase(phase).tell(EvidenceJudged("A", 1)) == Decision()


@pytest.mark.parametrize("reach", [gathering, certain])
@pytest.mark.parametrize(
    "fact", [observed(), answered(Proof.DONE, W1), proved(Proof.DONE, W1), decided(Resolution.STARTED, W1)]
)
def test_a_trace_that_comes_in_time_starts_the_request_instead(reach: type, fact: Fact) -> None:
    """Nothing is run again, and nothing says that it was."""
    key = reach()
    key.tell(fact)
    (started,) = key.ends()
    assert isinstance(started, Started)
    assert (started.workflow_id, started.is_rerun, len(key.runs)) == (W1, False, 1)


@pytest.mark.parametrize("reach", [gathering, certain])
@pytest.mark.parametrize("proof", NEVER_EXECUTED)
def test_a_proof_that_it_was_not_executed_ends_the_wait(reach: type, proof: Proof) -> None:
    """Then the next attempt repeats nothing."""
    key = reach()
    key.tell(proved(proof))
    head = key.head
    assert head is not None
    assert (head.phase in {LaunchPhase.GATHERING, LaunchPhase.CERTAIN}, head.reruns) == (False, 0)


@pytest.mark.parametrize("reach", [gathering, certain])
def test_a_person_need_not_wait_for_evidence(reach: type) -> None:
    """Who knows that it did not run may say so; who does not, may give up."""
    key = reach()
    other = key.copy()
    assert key.tell(decided(Resolution.NOT_EXECUTED)).wants_permit is not None
    other.tell(decided(Resolution.GIVE_UP))
    assert [end.outcome for end in other.ends() if isinstance(end, Finished)] == [Outcome.UNDETERMINED]


def test_a_request_whose_evidence_never_comes_is_given_up_at_its_deadline() -> None:
    """Without limit otherwise."""
    key = gathering()
    key.wake()
    (result,) = key.ends()
    assert isinstance(result, Finished)
    assert (result.outcome, result.reason, result.is_rerun) == (Outcome.UNDETERMINED, Reason.RUN_UNKNOWN, False)


def test_a_run_is_not_repeated_past_the_deadline() -> None:
    """Evidence may be judged just before."""
    key = gathering()
    key.tell(EvidenceJudged("A", 1), at=DEADLINE - 1)
    key.now = DEADLINE
    key.wake()
    assert [end.outcome for end in key.ends() if isinstance(end, Finished)] == [Outcome.UNDETERMINED]
    assert len(key.runs) == 1


def test_a_catalogue_that_wants_it_no_more_holds_the_request() -> None:
    """Also when the evidence is judged already."""
    key = certain()
    workflow = replace(key.launch.catalogue.workflows[AGAIN], unknown_policy=UnknownPolicy.HOLD)
    key.launch = Launch(replace(key.launch.catalogue, workflows={AGAIN: workflow}))
    decision = key.wake()
    assert (key.phase, [output.step for output in decision.outputs if isinstance(output, Progressed)]) == (
        LaunchPhase.HELD,
        [Step.HELD],
    )


@pytest.mark.parametrize("seen", [(W1,), (W1, W2)], ids=["one", "two"])
@pytest.mark.parametrize("came", ["in the window", "while gathering", "when certain"])
def test_what_may_have_run_is_not_repeated_but_held(*, seen: tuple[str, ...], came: str) -> None:
    """Only nothing at all is repeated: on a shared record a workflow is a candidate, and a person decides."""
    key = sent(prepared(name=AGAIN, is_own=False))
    key.tell(answered(Proof.UNKNOWN))
    if came == "in the window":
        key.tell(*map(observed, seen))
    key.wake()
    if came != "in the window":
        if came == "while gathering":
            key.tell(*map(observed, seen))
        key.tell(EvidenceJudged("A", 1))
        if came == "when certain":
            key.tell(*map(observed, seen))
        key.wake()
    assert (key.phase, key.runs) == (LaunchPhase.HELD, [("A", 1)])


def test_two_workflows_on_a_record_of_its_own_are_for_a_person_too() -> None:
    """One of them ran; which, nobody can tell."""
    key = sent(prepared(name=AGAIN))
    key.tell(observed(W1), observed(W2), answered(Proof.UNKNOWN))
    key.wake()
    assert (key.phase, key.runs) == (LaunchPhase.HELD, [("A", 1)])


def test_a_takeover_after_the_policy_has_changed_holds_what_gathered() -> None:
    """Completion may keep no marks any more, so that nobody would ever answer; a person is asked."""
    key = sent(prepared(name=AGAIN))
    key.tell(answered(Proof.UNKNOWN))
    key.wake()
    before = key.phase
    key.launch = Launch(Catalogue({AGAIN: Workflow(AGAIN, "definition-3", unknown_policy=UnknownPolicy.HOLD)}))
    key.tell(Resumed("head"))
    assert (before, key.phase) == (LaunchPhase.GATHERING, LaunchPhase.HELD)


def test_the_result_of_a_repeated_run_says_so() -> None:
    """Whoever counts on one run must know."""
    key = repeated()
    done, ended = key.copy(), key.copy()
    done.tell(answered(Proof.DONE, W2, attempt=2))
    (started,) = done.ends()
    assert isinstance(started, Started)
    assert (started.workflow_id, started.is_rerun, started.attempts, started.started_at) == (W2, True, 2, T)
    ended.tell(answered(Proof.UNKNOWN, attempt=2), decided(Resolution.GIVE_UP, attempt=2), observed())
    result, amendment = ended.ends()
    assert [result.is_rerun, amendment.is_rerun] == [True, True]


@pytest.mark.parametrize("unknown_attempts, is_rerun", [(1, False), (2, True)])
def test_only_what_may_have_run_twice_counts_as_repeated(unknown_attempts: int, *, is_rerun: bool) -> None:
    """An attempt that was not sent repeats nothing."""
    key = repeated()
    if unknown_attempts == 2:
        key.tell(answered(Proof.UNKNOWN, attempt=2))
        key.wake()
        key.tell(EvidenceJudged("A", 2))
        key.wake()
        key.permit()
    key.tell(answered(Proof.NOT_SENT, attempt=unknown_attempts + 1), observed())
    assert [(end.workflow_id, end.is_rerun) for end in key.ends()] == [(W1, is_rerun)]


def test_a_trace_of_the_first_attempt_wins_while_the_second_was_not_sent() -> None:
    """The same as after a person's word."""
    key = certain()
    key.wake()
    decision = key.tell(observed())
    assert ([end.workflow_id for end in key.ends()], decision.wants_permit) == ([W1], None)


@pytest.mark.parametrize("fact", [observed(), proved(Proof.DONE, W1)])
def test_a_trace_of_the_first_attempt_is_named_once_the_second_has_run(fact: Fact) -> None:
    """Both may have run; a person has to look."""
    key = repeated()
    key.tell(fact, answered(Proof.DONE, W2, attempt=2))
    (started,) = key.ends()
    assert isinstance(started, Started)
    assert (started.workflow_id, started.candidates, started.is_rerun) == (W2, (W1,), True)


@pytest.mark.parametrize("fact", [observed(), proved(Proof.DONE, W1)])
def test_a_trace_of_the_first_attempt_counts_if_the_second_was_not_executed(fact: Fact) -> None:
    """No third one is made."""
    key = repeated()
    key.tell(fact)
    decision = key.tell(answered(Proof.NOT_SENT, attempt=2))
    assert ([end.workflow_id for end in key.ends()], decision.wants_permit) == ([W1], None)


def test_a_second_attempt_of_unknown_outcome_is_repeated_after_the_same_wait() -> None:
    """Not for ever: after three repetitions a person decides."""
    key = Key()
    key.tell(prepared(name=AGAIN))
    for attempt in (1, 2, 3, 4):
        key.permit()
        key.tell(answered(Proof.UNKNOWN, attempt=attempt))
        assert key.phase is LaunchPhase.UNKNOWN
        key.wake()
        if attempt < 4:
            key.tell(EvidenceJudged("A", attempt))
            key.wake()
    assert (len(key.runs), key.head is not None and key.head.phase) == (4, LaunchPhase.HELD)
    key.tell(decided(Resolution.NOT_EXECUTED, attempt=4))
    key.permit()
    key.tell(answered(Proof.UNKNOWN, attempt=5))
    key.wake()
    assert (len(key.runs), key.head is not None and key.head.phase) == (5, LaunchPhase.HELD)


def test_a_repeated_run_that_is_refused_leaves_the_first_one_unknown() -> None:
    """Nobody said that the first was not executed: it is not refused for good, and a trace amends it."""
    key = repeated()
    key.tell(answered(Proof.REFUSED, attempt=2))
    assert key.calls[-1] == Judge(Operation.RUN, AGAIN, "A", 2)
    key.tell(VerdictReached(2, is_our_fault=False, request_id="A"))
    (result,) = key.ends()
    assert isinstance(result, Finished)
    assert (result.outcome, result.reason, result.is_rerun) == (Outcome.UNDETERMINED, Reason.RUN_UNKNOWN, False)
    key.tell(observed())
    assert [end.revision for end in key.ends()] == [1, 2]


def test_a_mail_is_repeated_in_the_same_way() -> None:
    """Its end user may get two; the result says so."""
    request = prepared(name=MAILED)
    key = Key()
    workflow = replace(key.launch.catalogue.workflows[MAILED], unknown_policy=UnknownPolicy.RERUN)
    key.launch = Launch(replace(key.launch.catalogue, workflows={MAILED: workflow}))
    key.tell(request)
    key.permit()
    key.tell(mailed(Proof.UNKNOWN))
    key.wake()
    key.tell(EvidenceJudged("A", 1))
    key.wake()
    key.permit()
    key.tell(mailed(attempt=2))
    kept = key.issued()
    assert kept is not None
    assert (key.links(), kept.intent_at, kept.is_rerun) == ([1], T, True)
    key.tell(observed(at=T + DAY_MS))
    (started,) = key.ends()
    assert isinstance(started, Started)
    assert (started.is_rerun, started.attempts) == (True, 2)


def test_a_record_is_blocked_while_evidence_is_gathered() -> None:
    """One launch at a time, as ever."""
    key = gathering()
    key.tell(prepared("B", is_own=False))
    assert key.wants is None


def test_the_other_run_of_a_repeated_request_is_never_taken_for_that_of_another() -> None:
    """It may show itself long after its request went on with one of them; it is forgotten with all else."""
    key = issued()
    key.tell(prepared("B", is_own=False, name=AGAIN))
    key.permit()
    key.tell(answered(Proof.UNKNOWN, request_id="B"))
    key.wake()
    key.tell(EvidenceJudged("B", 1))
    key.wake()
    key.permit()
    key.tell(answered(Proof.DONE, W2, attempt=2, request_id="B"))
    assert [end.workflow_id for end in key.ends("B")] == [W2]
    by_proof = key.copy()
    key.tell(observed(W1, at=key.now))
    kept = key.issued()
    assert kept is not None
    assert (key.ends("A"), kept.has_candidates) == ([], True)
    assert by_proof.tell(proved(Proof.DONE, W1, request_id="B")).outputs == ()
    assert by_proof.tell(observed(W1, at=key.now)) == Decision()
    key.pass_time(AFTER)
    assert key.state == {}


def test_the_other_run_of_an_amended_request_amends_nothing_any_more() -> None:
    """One amendment, whatever else of it shows itself."""
    key = repeated()
    key.tell(answered(Proof.UNKNOWN, attempt=2), decided(Resolution.GIVE_UP, attempt=2), observed())
    key.tell(observed(W2, at=key.now), proved(Proof.DONE, "w-3"))
    assert [end.revision for end in key.ends()] == [1, 2]
    key.pass_time(AFTER)
    assert key.state == {}
