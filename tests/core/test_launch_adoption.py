"""Which run of unknown outcome an observation adopts, and which it leaves to a person."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from processor.core.catalogue import Adoption, Catalogue
from processor.core.messages import Finished, Prepared, Progressed, Started, Step, VerdictReached
from processor.core.model import HOUR_MS, SECOND_MS, Outcome, Reason, Witness
from processor.core.proof import Proof
from processor.core.state import Candidate, Decision, KnownWorkflow, LaunchPhase, Part
from tests.core.launching import (
    ADOPTED,
    AFTER,
    FORGOTTEN,
    LAUNCH,
    NEVER_EXECUTED,
    UNADOPTED,
    W1,
    W2,
    Key,
    T,
    answered,
    held,
    observed,
    prepared,
    sent,
    unknown,
)


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


def test_of_two_requests_that_name_one_workflow_the_first_claim_stands() -> None:
    """Both pass custody on: completion knows one request a workflow and ends the other one visibly."""
    key = sent()
    key.tell(prepared("B"), answered(Proof.DONE, W1))
    key.permit()
    key.tell(answered(Proof.DONE, W1, request_id="B"))
    assert [end.workflow_id for request_id in "AB" for end in key.ends(request_id)] == [W1, W1]
    assert key.parts() == {f"known/{W1}": KnownWorkflow("A", FORGOTTEN)}


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


def test_the_candidates_are_looked_at_once_more_when_the_window_closes() -> None:
    """By then the catalogue may say that records tell."""
    key = unknown(prepared(name=UNADOPTED))
    key.tell(observed())
    assert key.phase is LaunchPhase.UNKNOWN
    workflows = {UNADOPTED: replace(LAUNCH.catalogue.workflows[UNADOPTED], adoption=Adoption.RECORD)}
    key.launch = replace(LAUNCH, catalogue=Catalogue(workflows))
    key.wake()
    assert [end.workflow_id for end in key.ends()] == [W1]


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


def test_an_observation_of_another_profile_does_not_fit() -> None:
    """Two workspaces may give the same record id: ids count within a profile."""
    elsewhere = prepared()
    key = unknown(replace(elsewhere, origin=replace(elsewhere.origin, provider="branch")))
    assert key.tell(observed()) == Decision()
    key.tell(replace(observed(), provider="branch"))
    assert [end.workflow_id for end in key.ends()] == [W1]


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
    assert key.tell(observed(W1)) == Decision()
    with pytest.raises(AssertionError, match="searched"):
        key.tell(observed("w-3"))
