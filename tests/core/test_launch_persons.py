"""What a person may decide about a run of unknown outcome, and what is refused visibly."""

from dataclasses import replace

import pytest

from processor.core.launch import Fact
from processor.core.launch_parts import DOUBTFUL
from processor.core.messages import DeadLettered, Finished, Resolution
from processor.core.model import DAY_MS, SECOND_MS, Outcome, Reason, Timer, Witness
from processor.core.proof import Proof
from processor.core.state import Decision, LaunchPhase
from tests.core.launching import (
    ADOPTED,
    BUDGET,
    DEADLINE,
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
    second_sent,
    sent,
    unknown,
)


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
                closes_at=None,
            )
        },
        wants_permit=BUDGET,
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
@pytest.mark.parametrize("phase", [None, *sorted(set(LaunchPhase) - DOUBTFUL)])
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
