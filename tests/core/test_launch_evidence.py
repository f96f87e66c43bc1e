"""What becomes of a run of unknown outcome: a trace adopts it, a proof tells, a person decides, a deadline ends it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from processor.core.launch import Fact
from processor.core.messages import (
    Candidate,
    DeadLettered,
    Decision,
    Finished,
    GaveUp,
    KnownWorkflow,
    LaunchPhase,
    Part,
    Prepared,
    Progressed,
    Resolution,
    Started,
    Step,
    VerdictReached,
)
from processor.core.model import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Outcome, Reason, Timer, Witness
from processor.core.proof import Proof
from tests.core.launching import (
    CHECK,
    DEADLINE,
    RECORD,
    UNADOPTED,
    W1,
    W2,
    Key,
    T,
    answered,
    decided,
    held,
    observed,
    prepared,
    proved,
    sent,
    unknown,
)

NEVER_EXECUTED = [Proof.NOT_SENT, Proof.WAIT, Proof.OUR_FAULT, Proof.REFUSED]
FORGOTTEN = Timer(DEADLINE + 9 * DAY_MS, is_behind_evidence=True)
ADOPTED = Started(prepared().origin, W1, RECORD, None, "RUNNING", T, Witness.WEBHOOK, attempts=1, revision=1)
AFTER = DEADLINE + 60 * DAY_MS


def given_up(request: Prepared | None = None) -> Key:
    """Return a key whose request ended without its run being known."""
    key = held(request)
    key.wake()
    return key


def doubted(request: Prepared | None = None) -> Key:
    """Return a key whose first attempt a person called not executed; it wants a permit for the second."""
    key = held(request)
    key.tell(decided(Resolution.NOT_EXECUTED))
    return key


def second_sent() -> Key:
    """Return a key whose second attempt is open while the first one is in doubt."""
    key = doubted()
    key.permit()
    return key


# Observations


@pytest.mark.parametrize("key", [unknown(), held()], ids=["unknown", "held"])
def test_an_observation_that_fits_adopts_an_unknown_run(key: Key) -> None:
    """The record was made for this request, so a workflow on it is its run."""
    key = key.copy()
    expected = Decision(
        {f"known/{W1}": KnownWorkflow("A", FORGOTTEN), "head": None},
        outputs=(ADOPTED, Progressed(prepared().origin, Step.STARTED, key.now, W1, 1)),
    )
    assert key.tell(observed()) == expected
    assert key.tell(observed()) == Decision()


@pytest.mark.parametrize("seconds, is_its_run", [(-121, False), (-120, True), (0, True), (86_400, True)])
def test_a_webhook_from_before_the_intent_shows_another_run(seconds: int, *, is_its_run: bool) -> None:
    """Two minutes are left for clocks that differ."""
    key = unknown()
    key.tell(observed(at=T + seconds * SECOND_MS))
    assert (key.phase is None) is is_its_run
    assert (f"seen/{W1}" in key.state) is False


def test_an_observation_while_the_call_is_open_waits_for_its_answer() -> None:
    """The answer tells the id; should it not, the observation does."""
    key = sent()
    assert key.tell(observed()).outputs == ()
    assert key.state[f"seen/{W1}"] == Candidate(observed(), None)
    told, lost = key.copy(), key.copy()
    told.tell(answered(Proof.DONE, W1))
    assert told.parts() == {f"known/{W1}": KnownWorkflow("A", FORGOTTEN)}
    lost.tell(answered(Proof.UNKNOWN))
    assert lost.parts() == told.parts()
    assert lost.ends() == [ADOPTED]


def test_an_observation_of_another_workflow_than_the_answer_names_is_forgotten() -> None:
    """Then it is somebody else's."""
    key = sent()
    key.tell(observed(W2), answered(Proof.DONE, W1))
    assert key.parts() == {f"known/{W1}": KnownWorkflow("A", FORGOTTEN)}
    assert key.ends()[0] == replace(ADOPTED, told_by=Witness.RUN_ANSWER)


@pytest.mark.parametrize("proof", NEVER_EXECUTED)
def test_what_was_seen_during_a_call_that_was_not_executed_is_nobodys(proof: Proof) -> None:
    """No candidate stays behind, and none is taken for the run."""
    key = sent()
    key.tell(observed(), answered(proof))
    assert set(key.parts()) == {"head"}
    assert key.head is not None
    assert not key.head.has_candidates


@pytest.mark.parametrize("phase", [None, LaunchPhase.READY, LaunchPhase.BACKING_OFF, LaunchPhase.SUSPECT])
def test_what_is_seen_while_nothing_can_have_run_is_nobodys(phase: LaunchPhase | None) -> None:
    """No state is kept for it."""
    key = Key()
    if phase is not None:
        key.tell(prepared())
    if phase in {LaunchPhase.BACKING_OFF, LaunchPhase.SUSPECT}:
        key.permit()
        key.tell(answered(Proof.NOT_SENT if phase is LaunchPhase.BACKING_OFF else Proof.REFUSED))
    assert key.phase is phase
    assert key.tell(observed()) == Decision()


def test_a_workflow_that_a_request_claimed_is_never_adopted_by_another() -> None:
    """Its webhooks may be late by days."""
    key = sent()
    key.tell(prepared("B"), answered(Proof.DONE, W1))
    key.permit()
    key.tell(answered(Proof.UNKNOWN, request_id="B"))
    assert key.tell(observed(W1.upper(), at=key.now)) == Decision()
    assert key.phase is LaunchPhase.UNKNOWN


def test_two_workflows_that_fit_are_shown_to_a_person() -> None:
    """Neither is adopted, nor when the window closes; both stand in the result if nobody decides."""
    key = sent()
    key.tell(observed(W1), observed(W2), answered(Proof.UNKNOWN))
    key.wake()
    assert key.phase is LaunchPhase.HELD
    key.wake()
    (result,) = key.ends()
    assert isinstance(result, Finished)
    assert (result.outcome, result.reason, result.candidates) == (
        Outcome.UNDETERMINED,
        Reason.RUN_UNKNOWN,
        (W1, W2),
    )
    assert (result.started_at, result.attempts, result.message) == (
        T,
        1,
        "whether the workflow was started is not known: its call was not answered and no trace of it came",
    )


@pytest.mark.parametrize("request_on_it", [prepared(is_own=False), prepared(name=UNADOPTED)])
def test_a_run_on_a_record_that_others_may_use_is_adopted_by_a_person_only(request_on_it: Prepared) -> None:
    """Somebody else may have started a workflow on it, or the catalogue says that records tell nothing."""
    key = held(request_on_it)
    key.tell(observed())
    assert (key.phase, f"seen/{W1}" in key.state) == (LaunchPhase.HELD, True)
    key.wake()
    assert [end.candidates for end in key.ends()] == [(W1,)]
    assert key.tell(observed(W2, at=key.now)).outputs == ()
    key.pass_time(AFTER)
    assert (len(key.ends()), key.state) == (1, {})


def test_a_request_without_a_record_adopts_nothing_by_itself() -> None:
    """There is nothing by which a run could be recognised."""
    key = Key()
    key.tell(replace(prepared(), record_id=None, is_own=True))
    key.permit()
    key.tell(answered(Proof.UNKNOWN), observed())
    assert key.phase is LaunchPhase.UNKNOWN


def test_an_observation_of_another_record_does_not_fit() -> None:
    """Where both sides give an id it must be the same, in whatever spelling."""
    key = unknown()
    assert key.tell(replace(observed(), record_id="other")) == Decision()
    assert [type(output) for output in key.tell(replace(observed(), record_id=None, case_id="c")).outputs] == [
        Started,
        Progressed,
    ]


def test_of_a_workflow_that_calls_often_the_first_webhook_counts() -> None:
    """One that was heard of before the intent is not its run, in whatever order the news arrive."""
    key = sent()
    key.tell(observed(at=T + HOUR_MS), observed(at=T - HOUR_MS))
    assert set(key.parts()) == {"head"}
    key = sent()
    key.tell(observed(at=T + HOUR_MS), observed(at=T + 2 * HOUR_MS))
    assert key.state[f"seen/{W1}"] == Candidate(observed(at=T + HOUR_MS), None)


def test_candidates_are_bounded_and_the_oldest_go_first() -> None:
    """Sixteen a key; what is dropped leaves the rest as ambiguous as it was."""
    key = held(prepared(is_own=False))
    for number in range(20):
        key.tell(observed(f"w-{number:02}", at=T + number))
    seen = sorted(name for name in key.state if name.startswith("seen/"))
    assert seen == [f"seen/w-{number:02}" for number in range(4, 20)]


# Late answers, and proofs of former owners


@pytest.mark.parametrize("tell", [answered, proved])
@pytest.mark.parametrize("key", [sent(), unknown(), held()], ids=["intent", "unknown", "held"])
def test_a_late_answer_and_its_proof_say_the_same(key: Key, tell: type) -> None:
    """Also after the call was given up on: the workflow id starts the request."""
    key = key.copy()
    key.tell(tell(Proof.DONE, W1))
    assert key.ends() == [replace(ADOPTED, told_by=Witness.RUN_ANSWER)]
    assert key.tell(tell(Proof.DONE, W1)) == Decision()


@pytest.mark.parametrize("tell", [answered, proved])
@pytest.mark.parametrize("key", [sent(), unknown(), held()], ids=["intent", "unknown", "held"])
@pytest.mark.parametrize(
    "proof, phase",
    [
        (Proof.NOT_SENT, LaunchPhase.BACKING_OFF),
        (Proof.WAIT, LaunchPhase.BACKING_OFF),
        (Proof.OUR_FAULT, LaunchPhase.READY),
        (Proof.REFUSED, LaunchPhase.SUSPECT),
    ],
)
def test_a_proof_that_a_call_was_not_executed_frees_the_request(
    key: Key, tell: type, proof: Proof, phase: LaunchPhase
) -> None:
    """The attempt is taken back from any phase in which it might have run."""
    key = key.copy()
    key.tell(tell(proof))
    assert key.head is not None
    assert (key.phase, key.head.intent_at, key.head.doubt_at) == (phase, None, None)


@pytest.mark.parametrize("tell", [answered, proved])
@pytest.mark.parametrize("key", [unknown(), held()], ids=["unknown", "held"])
@pytest.mark.parametrize("proof, made_id", [(Proof.UNKNOWN, None), (Proof.DONE, None)])
def test_a_late_answer_that_says_no_more_changes_nothing(
    key: Key, tell: type, proof: Proof, made_id: str | None
) -> None:
    """The window is not opened again."""
    assert key.copy().tell(tell(proof, made_id)) == Decision()


@pytest.mark.parametrize("proof", NEVER_EXECUTED)
def test_a_proof_past_the_deadline_expires_a_held_request_instead_of_trying_again(proof: Proof) -> None:
    """It did not run, and now it is too late for it."""
    key = held()
    key.tell(proved(proof), at=DEADLINE)
    (result,) = key.ends()
    assert isinstance(result, Finished)
    assert (result.outcome, key.parts()) == (Outcome.EXPIRED, {})


@pytest.mark.parametrize("proof", [*NEVER_EXECUTED, Proof.UNKNOWN])
@pytest.mark.parametrize("attempt", [0, 2])
def test_what_another_attempt_did_not_do_says_nothing_about_this_one(proof: Proof, attempt: int) -> None:
    """Only the open attempt can be taken back."""
    assert held().tell(proved(proof, attempt=attempt)) == Decision()
    assert sent().tell(answered(proof, attempt=attempt)) == Decision()


@pytest.mark.parametrize("back", [(), (answered(Proof.NOT_SENT, attempt=2),), (answered(Proof.REFUSED, attempt=2),)])
@pytest.mark.parametrize("tell", [answered, proved])
def test_a_proof_of_an_older_attempt_wins_while_no_newer_one_may_have_run(back: tuple[Fact, ...], tell: type) -> None:
    """Ready, backing off or being judged: the newer attempt is not made."""
    key = doubted()
    if back:
        key.permit()
        key.tell(*back)
    decision = key.tell(tell(Proof.DONE, W1))
    (started,) = key.ends()
    assert isinstance(started, Started)
    assert (started.workflow_id, started.told_by, decision.wants_permit) == (W1, Witness.RUN_ANSWER, None)
    assert key.phase is None


def test_a_proof_of_an_older_attempt_is_only_recorded_while_the_newer_one_may_run() -> None:
    """Its workflow is never adopted by anybody, and the result names it."""
    key = second_sent()
    assert key.tell(proved(Proof.DONE, W1)).changes == {f"known/{W1}": KnownWorkflow("A", FORGOTTEN)}
    assert key.tell(observed(W1)) == Decision()
    key.tell(answered(Proof.DONE, W2, attempt=2))
    (started,) = key.ends()
    assert isinstance(started, Started)
    assert (started.workflow_id, started.candidates, started.attempts) == (W2, (W1,), 2)


@pytest.mark.parametrize("proof", NEVER_EXECUTED)
def test_a_recorded_run_counts_when_the_newer_attempt_was_not_executed(proof: Proof) -> None:
    """No third attempt is made of a request that is known to have run."""
    key = second_sent()
    key.tell(proved(Proof.DONE, W1))
    decision = key.tell(answered(proof, attempt=2))
    assert [end.workflow_id for end in key.ends()] == [W1]
    assert (decision.calls, decision.wants_permit, key.phase) == ((), None, None)


def test_a_recorded_run_counts_when_a_person_rules_the_newer_attempt_out() -> None:
    """The same holds for what a person finds out about the newer one."""
    key = second_sent()
    key.tell(proved(Proof.DONE, W1), answered(Proof.UNKNOWN, attempt=2))
    assert key.tell(decided(Resolution.NOT_EXECUTED, attempt=2)).wants_permit is None
    assert [end.workflow_id for end in key.ends()] == [W1]


def test_a_recorded_run_stands_in_the_result_when_the_newer_attempt_stays_unknown() -> None:
    """Both may have run: a person has to look."""
    key = second_sent()
    key.tell(proved(Proof.DONE, W1), answered(Proof.UNKNOWN, attempt=2))
    key.wake()
    key.wake()
    (result,) = key.ends()
    assert isinstance(result, Finished)
    assert (result.outcome, result.candidates) == (Outcome.UNDETERMINED, (W1,))


def test_a_proof_without_an_id_that_an_older_attempt_ran_opens_the_doubt_again() -> None:
    """Whatever a person said: the request is known to have run, so it is not run again."""
    key = doubted()
    key.tell(proved(Proof.DONE))
    assert key.phase is LaunchPhase.UNKNOWN
    key.tell(observed())
    assert [end.workflow_id for end in key.ends()] == [W1]


def test_a_trace_of_an_attempt_that_a_person_ruled_out_still_adopts_it() -> None:
    """A workflow is never knowingly run twice, also where a person was wrong."""
    key = doubted()
    decision = key.tell(observed())
    assert [(end.workflow_id, end.revision) for end in key.ends()] == [(W1, 1)]
    assert decision.wants_permit is None


def test_a_trace_of_a_ruled_out_attempt_waits_while_the_next_one_is_open() -> None:
    """It is the run if the next one was not executed, and is named beside it if it was."""
    key = second_sent()
    key.tell(observed())
    not_sent, done = key.copy(), key.copy()
    not_sent.tell(answered(Proof.NOT_SENT, attempt=2))
    assert [end.workflow_id for end in not_sent.ends()] == [W1]
    done.tell(answered(Proof.DONE, W2, attempt=2))
    (started,) = done.ends()
    assert isinstance(started, Started)
    assert (started.workflow_id, started.candidates) == (W2, (W1,))
    assert set(done.parts()) == {f"known/{W2}"}


def test_a_ruled_out_attempt_that_shows_itself_after_the_deadline_amends_the_result() -> None:
    """The request expired because a person was wrong."""
    key = doubted()
    key.pass_time(DEADLINE)
    key.tell(observed())
    expired, amendment = key.ends()
    assert isinstance(expired, Finished)
    assert (expired.outcome, expired.attempts, expired.started_at) == (Outcome.EXPIRED, 1, T)
    assert amendment == replace(ADOPTED, revision=2)


# Requests that ended without their run being known


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
    """What could have been the forgotten one's is dropped with it."""
    key = held(prepared(deadline_at=DEADLINE))
    key.tell(decided(Resolution.GIVE_UP), at=T + HOUR_MS)
    key.tell(prepared("B", is_own=False, deadline_at=DEADLINE - DAY_MS))
    key.permit()
    key.tell(answered(Proof.UNKNOWN, request_id="B"))
    key.tell(observed(at=key.now), decided(Resolution.GIVE_UP, request_id="B"))
    assert {"gave/A", "gave/B", f"seen/{W1}"} <= set(key.state)
    key.wake("gave/B")
    assert "gave/A" in key.state
    assert f"seen/{W1}" not in key.state
    assert [end.revision for end in key.ends()] == [1]


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


# Persons


@pytest.mark.parametrize("key", [unknown(), held()], ids=["unknown", "held"])
def test_a_person_who_knows_the_workflow_starts_the_request(key: Key) -> None:
    """Custody says who told."""
    key = key.copy()
    key.tell(decided(Resolution.STARTED, W1))
    assert key.ends() == [replace(ADOPTED, told_by=Witness.OPERATOR, status=None)]


def test_a_person_may_choose_among_candidates_and_recorded_runs() -> None:
    """A workflow that this very request is known to have run may be named too."""
    key = held(prepared(is_own=False))
    key.tell(observed(W1), observed(W2), decided(Resolution.STARTED, W2))
    assert [end.workflow_id for end in key.ends()] == [W2]
    assert set(key.parts()) == {f"known/{W2}"}
    key = second_sent()
    key.tell(proved(Proof.DONE, W1), answered(Proof.UNKNOWN, attempt=2))
    key.tell(decided(Resolution.STARTED, W1, attempt=2))
    assert [end.workflow_id for end in key.ends()] == [W1]


def test_a_person_who_rules_an_attempt_out_lets_the_next_one_be_made() -> None:
    """The doubt stays in the state, so that a trace of the attempt still wins."""
    key = held()
    before = key.head
    assert before is not None
    decision = key.tell(decided(Resolution.NOT_EXECUTED))
    assert decision == Decision(
        {
            "head": replace(
                before,
                phase=LaunchPhase.READY,
                intent_at=None,
                send_before=None,
                call_deadline_at=None,
                why="a person found that the attempt was not executed",
                timer=Timer(DEADLINE, is_behind_evidence=True),
                is_waiting=True,
                doubt_at=T,
            )
        },
        wants_permit=CHECK,
    )
    key.permit()
    assert key.runs == [("A", 1), ("A", 2)]


def test_a_person_who_rules_an_attempt_out_past_the_deadline_expires_the_request() -> None:
    """There is no time left to make another one; a trace would still amend it."""
    key = sent(prepared(deadline_at=T + SECOND_MS))
    key.tell(answered(Proof.UNKNOWN), decided(Resolution.NOT_EXECUTED), at=T + 2 * SECOND_MS)
    (result,) = key.ends()
    assert isinstance(result, Finished)
    assert (result.outcome, set(key.parts())) == (Outcome.EXPIRED, {"gave/A"})


def test_a_person_who_gives_up_ends_the_request_until_a_trace_comes() -> None:
    """The window for the amendment counts from the deadline, not from the decision."""
    key = held()
    key.tell(decided(Resolution.GIVE_UP))
    (result,) = key.ends()
    assert isinstance(result, Finished)
    assert (result.outcome, result.reason) == (Outcome.UNDETERMINED, Reason.GIVEN_UP)
    assert key.state["gave/A"].timer == Timer(DEADLINE + 8 * DAY_MS, is_behind_evidence=True)


@pytest.mark.parametrize("resolution", Resolution)
@pytest.mark.parametrize("phase", [None, *set(LaunchPhase) - {LaunchPhase.UNKNOWN, LaunchPhase.HELD}])
def test_a_decision_about_a_run_that_is_not_unknown_is_refused_visibly(
    phase: LaunchPhase | None, resolution: Resolution
) -> None:
    """Not sent, open, or ended: the decision changes nothing and goes to the dead letters."""
    key = Key()
    if phase is not None:
        key = sent()
    if phase is LaunchPhase.READY:
        key = Key()
        key.tell(prepared())
    elif phase is LaunchPhase.BACKING_OFF:
        key.tell(answered(Proof.NOT_SENT))
    elif phase is LaunchPhase.SUSPECT:
        key.tell(answered(Proof.REFUSED))
    assert key.phase is phase
    message = "no run is unknown here: the request has not been sent, its call is open, or it has ended"
    assert key.tell(decided(resolution, W1)) == Decision(outputs=(DeadLettered("decision-refused", message),))


@pytest.mark.parametrize(
    "fact",
    [
        decided(Resolution.NOT_EXECUTED, attempt=2),
        decided(Resolution.GIVE_UP, attempt=0),
        decided(Resolution.STARTED, W2, request_id="B"),
        decided(Resolution.STARTED),
        decided(Resolution.STARTED, "  "),
        decided(Resolution.STARTED, W1.upper()),
    ],
)
def test_a_decision_that_does_not_fit_is_refused_visibly(fact: Fact) -> None:
    """Another attempt, another request, no workflow named, or one that belongs to another request."""
    key = sent()
    key.tell(prepared("Z"), answered(Proof.DONE, W1))
    key.permit()
    key.tell(answered(Proof.UNKNOWN, request_id="Z"))
    is_about_z = getattr(fact, "request_id", "") == "A"
    decision = key.tell(replace(fact, request_id="Z") if is_about_z else fact)  # type: ignore[arg-type]
    assert decision.changes == {}
    assert [(type(output), getattr(output, "reason", "")) for output in decision.outputs] == [
        (DeadLettered, "decision-refused")
    ]


@pytest.mark.parametrize("resolution", Resolution)
def test_the_same_decision_twice_is_harmless(resolution: Resolution) -> None:
    """The second one is refused, also when the next attempt is unknown again."""
    key = held()
    key.tell(decided(resolution, W1))
    state = dict(key.state)
    assert [type(output) for output in key.tell(decided(resolution, W1)).outputs] == [DeadLettered]
    assert key.state == state
    if resolution is Resolution.NOT_EXECUTED:
        key.permit()
        key.tell(answered(Proof.UNKNOWN, attempt=2))
        assert [type(output) for output in key.tell(decided(resolution, W1)).outputs] == [DeadLettered]
        assert key.phase is LaunchPhase.UNKNOWN


class Unsearchable(dict[str, Part]):
    """A state in which parts can be looked up by name and not searched."""

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("the state was searched")


class LongKey(Key):
    """A key with so much state that a search would be felt."""

    def view(self) -> Mapping[str, Part]:
        """Return the state, to be looked up by name only."""
        state = Unsearchable()
        state.update(self.state)
        return state


def test_nothing_on_the_normal_path_searches_the_state() -> None:
    """Only what may have run without an answer is worth a search."""
    key = LongKey()
    key.tell(prepared(), prepared("B"), prepared("A"))
    for request_id, workflow_id in (("A", W1), ("B", W2)):
        for attempt, proof in enumerate((Proof.NOT_SENT, Proof.REFUSED, Proof.OUR_FAULT), start=1):
            key.permit()
            key.tell(answered(proof, attempt=attempt, request_id=request_id))
            if key.phase is LaunchPhase.BACKING_OFF:
                key.wake()
            key.tell(VerdictReached(attempt, is_our_fault=True, request_id=request_id))
        key.permit()
        key.tell(answered(Proof.DONE, workflow_id, attempt=4, request_id=request_id))
    assert [end.workflow_id for request_id in "AB" for end in key.ends(request_id)] == [W1, W2]
    with pytest.raises(AssertionError, match="searched"):
        key.tell(observed("w-3"))
