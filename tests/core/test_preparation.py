"""What a request becomes before its run: at the door, and with each answer."""

from dataclasses import replace

import pytest

from processor.core.messages import (
    Create,
    DeadLettered,
    Finished,
    Judge,
    Prepared,
    Progressed,
    Step,
    TimerFired,
    VerdictReached,
)
from processor.core.model import (
    DAY_MS,
    ApiVersion,
    JsonValue,
    OnboardingRequest,
    Outcome,
    Reason,
    Timer,
)
from processor.core.preparation import Fact
from processor.core.proof import Operation, Proof
from processor.core.rendering import content_digest
from processor.core.results import finished
from processor.core.schedule import retry_ms
from processor.core.state import Activity, Decision, KnownRequest, PendingRequest, Preparing
from tests.core.lanes import (
    CREATE_RECORD,
    DEADLINE,
    NOW,
    PARAMETERS_BODY,
    PREPARATION,
    RECORD_BODY,
    REQUEST,
    Lane,
    answered,
    arrived,
    named,
    origin,
)


def test_a_request_is_accepted_known_and_its_record_made_first() -> None:
    """Acceptance writes the id down until 8 days after the deadline and begins with the first creation."""
    content = content_digest(REQUEST)
    assert content is not None
    pending = PendingRequest(origin(), RECORD_BODY, None, PARAMETERS_BODY, None, None, is_own=False, timer=None)
    assert PREPARATION.decide({}, arrived(), NOW) == Decision(
        changes={
            "known/request-1": KnownRequest(content, Timer(DEADLINE + 8 * DAY_MS)),
            "head": Preparing(
                pending, Operation.CREATE_RECORD, Activity.CREATING, 1, None, "", 0, 0, Timer(DEADLINE), is_waiting=True
            ),
        },
        calls=(CREATE_RECORD,),
        outputs=(Progressed(origin(), Step.ACCEPTED, NOW),),
    )


def test_a_made_record_leads_on_to_the_parameters_and_then_to_launch() -> None:
    """Each id is kept before the next call; custody passes under the record, which is the request's own."""
    lane = Lane()
    lane.told(arrived())
    assert lane.told(answered(Proof.DONE, "REC-1")).calls == (
        Create(Operation.SET_PARAMETERS, "person-check", "request-1", 2, PARAMETERS_BODY),
    )
    assert lane.head.request.record_body is None
    done = answered(Proof.DONE, "par-1", operation=Operation.SET_PARAMETERS, attempt=2)
    assert lane.told(done, now=NOW + 9) == Decision(
        changes={"head": None},
        outputs=(Prepared(origin(), "rec-1", "REC-1", None, is_own=True, parameters_id="par-1", prepared_at=NOW + 9),),
    )


def test_a_case_is_made_from_the_subject_and_the_launch_is_keyed_by_it() -> None:
    """Version 1 runs on a case; topic and deadline are those of the workflow."""
    lane = Lane()
    request = named("request-1", workflow="of-cases")
    body = b'{"lastName":"Example","phone":{"countryCode":"48","number":"500500500"}}'
    create = Create(Operation.CREATE_CASE, "of-cases", "request-1", 1, body, api=ApiVersion.CASES)
    assert lane.told(arrived(request)).calls == (create,)
    lane.told(answered(Proof.DONE, "Case-1", operation=Operation.CREATE_CASE))
    expected = origin(request, NOW + DAY_MS, "results.cases")
    assert lane.outputs[1] == Prepared(
        expected, "case-1", None, "Case-1", is_own=True, parameters_id=None, prepared_at=NOW
    )


def test_a_workflow_without_creations_is_handed_over_at_once() -> None:
    """Nothing is to be made, so no lane is taken; without a record the launch is keyed by the request."""
    request = named("Request-2", workflow="bare")
    decision = PREPARATION.decide({}, arrived(request), NOW)
    assert set(decision.changes) == {"known/Request-2"}
    assert decision.calls == ()
    assert decision.outputs[1] == Prepared(
        origin(request), "Request-2", None, None, is_own=False, parameters_id=None, prepared_at=NOW
    )


@pytest.mark.parametrize(
    "workflow, record_id, case_id, operations, launch_key",
    [
        ("person-check", " REC-9 ", None, [Operation.SET_PARAMETERS], "rec-9"),
        ("person-check", "  ", None, [Operation.CREATE_RECORD], None),
        ("bare", "REC-9", "CASE-9", [], "rec-9"),
        ("bare", None, "CASE-9", [], "request-1"),
        ("of-cases", "REC-9", "CASE-9", [], "case-9"),
        ("given-case", None, "CASE-9", [], "case-9"),
    ],
)
def test_what_upstream_made_before_is_used_and_never_called_our_own(
    workflow: str, record_id: str | None, case_id: str | None, operations: list[Operation], launch_key: str | None
) -> None:
    """An id that the request gives spares the creation, where the workflow's API has a use for it."""
    request = named("request-1", workflow=workflow, record_id=record_id, case_id=case_id)
    decision = PREPARATION.decide({}, arrived(request), NOW)
    assert [call.operation for call in decision.calls if isinstance(call, Create)] == operations
    prepared = [output for output in decision.outputs if isinstance(output, Prepared)]
    assert all((found.launch_key, found.is_own) == (launch_key, False) for found in prepared)
    assert len(prepared) == (0 if operations else 1)
    if launch_key and operations:
        head = decision.changes["head"]
        assert isinstance(head, Preparing)
        assert (head.request.record_id, head.request.is_own) == ("REC-9", False)


@pytest.mark.parametrize(
    "again",
    [
        REQUEST,
        replace(REQUEST, requested_at=NOW, deadline_at=NOW + 1, tenant="other", correlation_id=None, attributes={}),
        replace(REQUEST, locale="pl", source_system="other", columns={"score": 7}),
    ],
)
def test_the_same_request_again_changes_nothing(again: OnboardingRequest) -> None:
    """Only workflow, subject, parameters, columns and ids say whether it is the same; also after its end."""
    lane = Lane()
    lane.told(arrived())
    assert lane.told(arrived(again)) == Decision()
    lane.told(answered(Proof.REFUSED), VerdictReached(1, is_our_fault=False, request_id="request-1"))
    assert lane.told(arrived(again), now=NOW + DAY_MS) == Decision()


@pytest.mark.parametrize(
    "other",
    [
        named("request-1", workflow="bare"),
        named("request-1", subject=None),
        named("request-1", subject=replace(REQUEST.subject, last_name="Other") if REQUEST.subject else None),
        named("request-1", parameters={"amount": 1}),
        named("request-1", columns={"score": 8}),
        named("request-1", columns={"score": "7"}),
        named("request-1", record_id="rec-1"),
        named("request-1", case_id="case-1"),
    ],
)
def test_the_same_id_with_other_content_is_a_conflict_and_the_first_stands(other: OnboardingRequest) -> None:
    """The second goes to the dead letters with its bytes; nothing about the first changes."""
    lane = Lane()
    lane.told(arrived())
    decision = lane.told(arrived(other))
    assert [output.reason for output in decision.outputs if isinstance(output, DeadLettered)] == ["conflict"]
    assert (decision.changes, decision.calls) == ({}, ())


def test_two_spellings_of_a_given_id_are_no_conflict() -> None:
    """The provider's ids are compared in one spelling."""
    lane = Lane()
    lane.told(arrived(named("request-1", record_id="REC-1")))
    assert lane.told(arrived(named("request-1", record_id=" rec-1"))) == Decision()


def test_an_id_is_forgotten_when_its_memory_ends() -> None:
    """The timer of the known id deletes it, and nothing else."""
    lane = Lane()
    lane.told(arrived())
    forgets = TimerFired("known/request-1", DEADLINE + 8 * DAY_MS)
    assert lane.told(forgets, now=forgets.due_at) == Decision({"known/request-1": None})


@pytest.mark.parametrize(
    "deadline_at, forgotten_at",
    [(NOW + DAY_MS, NOW + 9 * DAY_MS), (NOW + 400 * DAY_MS, NOW + 98 * DAY_MS), (NOW - DAY_MS, NOW + 8 * DAY_MS)],
)
def test_an_id_is_known_for_8_days_after_its_deadline_and_98_at_most(deadline_at: int, forgotten_at: int) -> None:
    """Memory is bounded although upstream may set a deadline of years."""
    known = PREPARATION.decide({}, arrived(replace(REQUEST, deadline_at=deadline_at)), NOW).changes["known/request-1"]
    assert known is not None
    assert known.timer == Timer(forgotten_at)


@pytest.mark.parametrize("request_id", ["", "   ", "x" * 257])
def test_a_request_without_a_usable_id_is_dead_lettered(request_id: str) -> None:
    """No result could name it, so its bytes go to the dead letters and nothing is remembered."""
    decision = PREPARATION.decide({}, arrived(named(request_id)), NOW)
    assert [output.reason for output in decision.outputs if isinstance(output, DeadLettered)] == ["invalid"]
    assert (decision.changes, decision.calls) == ({}, ())


def test_values_nested_beyond_reason_are_dead_lettered() -> None:
    """What cannot be written cannot be compared either."""
    nested: JsonValue = "x"
    for _ in range(100_000):
        nested = [nested]
    decision = PREPARATION.decide({}, arrived(named("request-1", columns={"score": nested})), NOW)
    assert decision == Decision(outputs=(DeadLettered("invalid", "a value is nested too deeply"),))


@pytest.mark.parametrize(
    "request_, outcome, reason",
    [
        (named("request-1", workflow="nobody-knows"), Outcome.NOT_STARTED, Reason.UNKNOWN_WORKFLOW),
        (named("request-1", deadline_at=NOW), Outcome.EXPIRED, Reason.DEADLINE_PASSED),
        (named("request-1", columns={"score": float("nan")}), Outcome.NOT_STARTED, Reason.INVALID_REQUEST),
        (named("request-1", workflow="given-case"), Outcome.NOT_STARTED, Reason.INVALID_REQUEST),
    ],
)
def test_a_request_that_can_never_run_ends_at_the_door(
    request_: OnboardingRequest, outcome: Outcome, reason: Reason
) -> None:
    """It gets its result at once, its id is known all the same, and the lane stays free."""
    decision = PREPARATION.decide({}, arrived(request_), NOW)
    (result,) = decision.outputs
    assert isinstance(result, Finished)
    assert (result.revision, result.outcome, result.reason, result.attempts) == (1, outcome, reason, 0)
    assert set(decision.changes) == {"known/request-1"}
    assert decision.calls == ()


@pytest.mark.parametrize("proof", [Proof.NOT_SENT, Proof.UNKNOWN, Proof.DONE])
def test_a_creation_that_gave_no_id_is_repeated_after_a_back_off(proof: Proof) -> None:
    """Creations are harmless, so even an unknown outcome is repeated; DONE without an id is unknown."""
    lane = Lane()
    lane.told(arrived())
    decision = lane.told(answered(proof))
    due_at = NOW + retry_ms(1, seed="request-1/create-record")
    assert (decision.calls, decision.outputs) == ((), ())
    assert (lane.head.activity, lane.head.timer, lane.head.is_waiting) == (Activity.BACKING_OFF, Timer(due_at), False)
    assert lane.told(TimerFired("head", due_at), now=due_at).calls == (replace(CREATE_RECORD, attempt=2),)


def test_a_second_unknown_outcome_is_repeated_slowly() -> None:
    """Each unknown creation may leave litter at the provider, so there are at least 30 s between two more."""
    lane = Lane()
    lane.told(arrived(), answered(Proof.UNKNOWN), TimerFired("head", NOW + 1), answered(Proof.UNKNOWN, attempt=2))
    assert lane.head.timer == Timer(NOW + 30_000)


def test_a_wait_that_the_provider_asks_for_is_kept() -> None:
    """429 says when to come again; the attempt is repeated not sooner."""
    lane = Lane()
    lane.told(arrived(), answered(Proof.WAIT, wait_ms=60_000))
    assert lane.head.timer is not None
    assert NOW + 60_000 < lane.head.timer.due_at <= NOW + 61_000


def test_a_back_off_ends_at_the_deadline_at_the_latest() -> None:
    """The one timer of the head is the sooner of both."""
    lane = Lane()
    lane.told(arrived(named("request-1", deadline_at=NOW + 1)), answered(Proof.WAIT, wait_ms=60_000))
    assert lane.head.timer == Timer(NOW + 1)


def test_our_own_fault_is_called_again_and_waits_at_the_gate() -> None:
    """Wrong credentials refuse nobody: the call is made anew and held until the fault is mended."""
    lane = Lane()
    lane.told(arrived())
    assert lane.told(answered(Proof.OUR_FAULT)).calls == (replace(CREATE_RECORD, attempt=2),)
    assert (lane.head.activity, lane.head.timer) == (Activity.CREATING, Timer(DEADLINE))


def test_a_refusal_is_judged_before_it_ends_anything() -> None:
    """Several refusals in a row may be our own fault; then the request goes on, else it was NOT_STARTED."""
    lane = Lane()
    lane.told(arrived())
    assert lane.told(answered(Proof.REFUSED, why="422 code-7")).calls == (
        Judge(Operation.CREATE_RECORD, "person-check", "request-1", 1),
    )
    assert (lane.head.activity, lane.head.is_waiting) == (Activity.SUSPECT, True)
    fault = Lane(dict(lane.state))
    assert fault.told(VerdictReached(1, is_our_fault=True, request_id="request-1")).calls == (
        replace(CREATE_RECORD, attempt=2),
    )
    result = finished(origin(), Outcome.NOT_STARTED, NOW, reason=Reason.REFUSED_BY_PROVIDER, message="422 code-7")
    assert lane.told(VerdictReached(1, is_our_fault=False, request_id="request-1")) == Decision(
        {"head": None}, outputs=(replace(result, attempts=1),)
    )


@pytest.mark.parametrize(
    "late",
    [
        answered(Proof.DONE, "rec-1", attempt=2),
        answered(Proof.DONE, "rec-1", operation=Operation.SET_PARAMETERS),
        answered(Proof.DONE, "rec-1", request_id="request-0"),
        VerdictReached(1, is_our_fault=False, request_id="request-1"),
    ],
)
def test_an_answer_that_the_open_call_did_not_ask_for_is_ignored(late: Fact) -> None:
    """Another attempt, operation or request: the answer of a call that no longer counts."""
    lane = Lane()
    lane.told(arrived())
    assert lane.told(late) == Decision()


@pytest.mark.parametrize("attempt, request_id", [(2, "request-1"), (1, "request-0")])
def test_a_verdict_on_another_attempt_or_request_is_ignored(attempt: int, request_id: str) -> None:
    """A judge that comes late must not end the next request of the lane."""
    lane = Lane()
    lane.told(arrived(), answered(Proof.REFUSED))
    assert lane.told(VerdictReached(attempt, is_our_fault=False, request_id=request_id)) == Decision()
