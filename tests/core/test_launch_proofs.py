"""What a late answer, the proof of a former owner or a trace of an older attempt says about a run."""

from dataclasses import replace

import pytest

from processor.core.launch import Fact
from processor.core.messages import Finished, Resolution, Started
from processor.core.model import Outcome, Witness
from processor.core.proof import Proof
from processor.core.state import Decision, KnownWorkflow, LaunchPhase
from tests.core.launching import (
    ADOPTED,
    DEADLINE,
    FORGOTTEN,
    NEVER_EXECUTED,
    W1,
    W2,
    Key,
    T,
    answered,
    decided,
    doubted,
    held,
    observed,
    proved,
    second_sent,
    sent,
    unknown,
)


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


def test_a_proof_wins_over_an_answer_that_said_the_attempt_was_never_sent() -> None:
    """It names a workflow, so the request is not run a third time."""
    key = sent()
    key.tell(answered(Proof.OUR_FAULT))
    key.permit()
    key.tell(proved(Proof.DONE, W1), answered(Proof.NOT_SENT, attempt=2))
    assert [end.workflow_id for end in key.ends()] == [W1]


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
