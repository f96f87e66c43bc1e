"""How a workflow that an end user starts is launched: which call, what becomes of its answer, when it is made again."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from processor.core.catalogue import Catalogue, Mode
from processor.core.launch import Fact
from processor.core.launch_calls import expires_at, operation_of
from processor.core.messages import (
    Finished,
    Judge,
    LinkIssued,
    Prepared,
    Progressed,
    Resolution,
    Started,
    StartWorkflow,
    Step,
    VerdictReached,
)
from processor.core.model import (
    DAY_MS,
    MINUTE_MS,
    SECOND_MS,
    ApiVersion,
    Instant,
    Outcome,
    Reason,
    StartInputs,
    Timer,
    Witness,
)
from processor.core.proof import Operation, Proof
from processor.core.schedule import retry_ms
from processor.core.state import Decision, Issued, KnownWorkflow, LaunchPhase
from tests.core.launching import (
    BUDGET,
    CHECK,
    DEADLINE,
    FORGOTTEN,
    LAUNCH,
    LINKED,
    MAILED,
    NEVER_EXECUTED,
    RECORD,
    TOKENED,
    W1,
    Key,
    T,
    answered,
    asked,
    decided,
    held,
    issued,
    linked,
    mailed,
    observed,
    prepared,
    proved,
    ran,
    sent,
    unknown,
)

V3 = prepared(name=LINKED, api=ApiVersion.TABLES)
ISSUED = LinkIssued(prepared(name=LINKED).origin, 1, "https://link", None, T, T + MINUTE_MS, RECORD, None)
KEPT = Issued(
    prepared=prepared(name=LINKED),
    intent_at=T,
    link_at=T,
    attempts=1,
    link_attempt=1,
    asked_attempt=1,
    workflow_id=None,
    timer=Timer(DEADLINE, is_behind_evidence=True),
)


def call_of(request: Prepared) -> StartWorkflow:
    """Return the call that starts a request."""
    (call,) = sent(request).calls
    assert isinstance(call, StartWorkflow)
    return call


@pytest.mark.parametrize(
    "name, api, operation",
    [
        (CHECK, ApiVersion.CASES, Operation.RUN),
        (CHECK, ApiVersion.RECORDS, Operation.RUN),
        (CHECK, ApiVersion.TABLES, Operation.RUN),
        (LINKED, ApiVersion.CASES, Operation.ISSUE_LINK),
        (LINKED, ApiVersion.RECORDS, Operation.ISSUE_LINK),
        (LINKED, ApiVersion.TABLES, Operation.RUN),
        (TOKENED, ApiVersion.RECORDS, Operation.ISSUE_TOKEN),
        (TOKENED, ApiVersion.TABLES, Operation.RUN),
        (MAILED, ApiVersion.CASES, Operation.SEND_LINK),
        (MAILED, ApiVersion.RECORDS, Operation.SEND_LINK),
        ("lost-from-the-catalogue", ApiVersion.RECORDS, Operation.RUN),
    ],
)
def test_mode_and_version_say_which_call_starts_a_workflow(name: str, api: ApiVersion, operation: Operation) -> None:
    """Version 3 starts every kind by one call; the caller sends nothing of a workflow that it does not know."""
    assert operation_of(LAUNCH.catalogue.find(name), api) is operation
    call = call_of(prepared(name=name, api=api))
    assert (call.operation, call.api) == (operation, api)


@pytest.mark.parametrize("fact", [linked(Proof.REFUSED), answered(Proof.REFUSED)])
def test_provider_and_operation_come_with_the_call_and_with_the_question_after_a_refusal(fact: Fact) -> None:
    """Each provider profile judges what is refused there."""
    request = prepared(name=LINKED if fact == linked(Proof.REFUSED) else CHECK)
    request = replace(request, origin=replace(request.origin, provider="bank"))
    key = sent(request)
    key.tell(fact)
    start, judge = key.calls
    assert isinstance(start, StartWorkflow)
    assert judge == Judge(start.operation, request.origin.workflow, "A", 1, "bank")
    assert start.provider == "bank"


@pytest.mark.parametrize(
    "name, api, inputs, expected",
    [
        (CHECK, ApiVersion.RECORDS, None, None),
        (CHECK, ApiVersion.TABLES, None, StartInputs(locale="en")),
        (CHECK, ApiVersion.TABLES, StartInputs(b"{}"), StartInputs(b"{}", "en")),
        (LINKED, ApiVersion.RECORDS, None, StartInputs(locale="en")),
        (LINKED, ApiVersion.RECORDS, StartInputs(locale="pl"), StartInputs(locale="pl")),
        (MAILED, ApiVersion.RECORDS, StartInputs(email="a@b.test"), StartInputs(locale="en", email="a@b.test")),
    ],
)
def test_the_workflows_locale_stands_in_where_a_call_names_one(
    name: str, api: ApiVersion, inputs: StartInputs | None, expected: StartInputs | None
) -> None:
    """A plain run of version 1 or 2 carries nothing of the request."""
    assert call_of(replace(prepared(name=name, api=api), inputs=inputs)).inputs == expected


def test_a_mail_that_has_no_address_is_not_called() -> None:
    """The catalogue has changed to link-send since the request came: it could only be refused."""
    key = Key()
    key.tell(prepared(), prepared("B"))
    mailed_now = replace(LAUNCH.catalogue.workflows[CHECK], mode=Mode.LINK_SEND)
    key.launch = replace(LAUNCH, catalogue=Catalogue({CHECK: mailed_now}))
    assert key.permit().wants_permit == BUDGET
    (result,) = key.ends()
    assert isinstance(result, Finished)
    assert (result.outcome, result.reason, result.attempts) == (Outcome.NOT_STARTED, Reason.INVALID_REQUEST, 0)
    assert result.message is not None
    assert result.message.startswith("link-send mails to an address, and there is none")
    assert key.runs == []


def test_one_more_link_that_would_be_mailed_to_nobody_is_refused() -> None:
    """The request goes on with the link that it has."""
    key = issued()
    mailed_now = replace(LAUNCH.catalogue.workflows[LINKED], mode=Mode.LINK_SEND)
    key.launch = replace(LAUNCH, catalogue=Catalogue({LINKED: mailed_now}))
    key.tell(asked())
    key.permit()
    assert (key.links(), key.ends(), len(key.runs)) == ([1, -2], [], 1)


@pytest.mark.parametrize(
    "deadline_at, expected",
    [
        (T, T + 31 * MINUTE_MS),
        (T + 31 * MINUTE_MS, T + 31 * MINUTE_MS),
        (T + 7 * DAY_MS, T + 7 * DAY_MS),
        (T + 90 * DAY_MS, T + 30 * DAY_MS - MINUTE_MS),
    ],
)
def test_version_3_ends_a_workflow_by_itself_as_near_to_the_deadline_as_it_can(
    deadline_at: Instant, expected: Instant
) -> None:
    """Its window is 30 minutes to 30 days ahead; a minute on each side is left for clocks."""
    assert expires_at(deadline_at, T) == expected
    assert call_of(V3).expires_at == DEADLINE
    assert call_of(prepared(name=LINKED)).expires_at is None


def test_a_link_goes_to_its_end_user_and_the_record_is_free() -> None:
    """Nobody knows the workflow yet; the request keeps its custody here until its deadline."""
    key = sent(prepared(name=LINKED))
    decision = key.tell(linked())
    assert decision == Decision({"issued/A": KEPT, "head": None}, outputs=(ISSUED,))


def test_the_next_request_of_the_record_does_not_wait_for_the_end_user() -> None:
    """An issued link blocks nothing."""
    key = sent(prepared(name=LINKED))
    key.tell(prepared("B"))
    assert key.tell(linked()).wants_permit == BUDGET
    key.permit()
    key.tell(answered(Proof.DONE, W1, request_id="B"))
    assert [end.workflow_id for end in key.ends("B")] == [W1]
    assert key.issued() == KEPT


@pytest.mark.parametrize("operation", [Operation.ISSUE_LINK, Operation.ISSUE_TOKEN])
@pytest.mark.parametrize("answer", [linked(Proof.UNKNOWN), linked(link=None)])
def test_a_link_whose_answer_was_lost_is_issued_again_after_the_call_has_settled(
    answer: Fact, operation: Operation
) -> None:
    """Nobody holds the lost one. Not before the call's deadline and a margin, for an older link could end a newer."""
    request = prepared(name=LINKED if operation is Operation.ISSUE_LINK else TOKENED)
    key = sent(request)
    key.tell(replace(answer, operation=operation))  # type: ignore[arg-type]
    assert key.head is not None
    assert (key.phase, key.head.intent_at, key.head.doubt_at) == (LaunchPhase.BACKING_OFF, None, None)
    assert key.head.timer == Timer(T + 45 * SECOND_MS + retry_ms(1, seed="A/1"))
    key.wake()
    key.permit()
    key.tell(replace(linked(attempt=2), operation=operation))
    assert (key.runs, key.links(), key.phase) == ([("A", 1), ("A", 2)], [1], None)


def test_a_link_that_nobody_answered_is_issued_again() -> None:
    """A new owner finds the intent; what was called dies with its answer."""
    key = sent(prepared(name=LINKED))
    key.wake()
    assert key.head is not None
    assert (key.phase, key.head.timer) == (
        LaunchPhase.BACKING_OFF,
        Timer(T + 45 * SECOND_MS + retry_ms(1, seed="A/1")),
    )


def test_a_late_answer_still_brings_its_link_while_no_newer_one_was_asked_for() -> None:
    """A newer link ends the older one, so after that its answer is of no use."""
    key = sent(prepared(name=LINKED))
    key.wake()
    late, again = key.copy(), key.copy()
    late.tell(linked())
    assert (late.links(), late.phase, late.runs) == ([1], None, [("A", 1)])
    again.wake()
    again.permit()
    assert again.tell(linked()) == Decision()
    again.tell(linked(Proof.NOT_SENT, attempt=2))
    assert again.tell(linked()) == Decision()


@pytest.mark.parametrize("proof", NEVER_EXECUTED)
def test_a_link_that_was_not_issued_waits_or_ends_as_a_run_does(proof: Proof) -> None:
    """Refusals are judged, our own faults wait, the rest is tried again."""
    key, run = sent(prepared(name=LINKED)), sent()
    key.tell(linked(proof))
    run.tell(answered(proof))
    assert key.phase is run.phase
    if proof is Proof.REFUSED:
        key.tell(VerdictReached(1, is_our_fault=False, request_id="A"))
        (result,) = key.ends()
        assert isinstance(result, Finished)
        assert (result.outcome, key.parts()) == (Outcome.NOT_STARTED, {})


def test_a_token_goes_out_as_a_link_does() -> None:
    """The same part waits for its use."""
    key = sent(prepared(name=TOKENED))
    answer = replace(linked(), operation=Operation.ISSUE_TOKEN, link=None, token="secret", expires_ms=None)
    (output,) = key.tell(answer).outputs
    expected = replace(ISSUED, origin=prepared(name=TOKENED).origin, link=None, token="secret", expires_at=None)
    assert output == expected


def test_a_mailed_link_is_told_of_without_the_link() -> None:
    """It is its end user's alone, also where the provider's answer shows it."""
    key = sent(prepared(name=MAILED))
    request = prepared(name=MAILED)
    decision = key.tell(mailed())
    expected = replace(ISSUED, origin=request.origin, link=None, expires_at=None)
    assert decision == Decision({"issued/A": replace(KEPT, prepared=request), "head": None}, outputs=(expected,))


@pytest.mark.parametrize("way", [mailed(Proof.UNKNOWN), None])
def test_a_mail_of_unknown_outcome_is_never_sent_again(way: Fact | None) -> None:
    """Window, held, adopted, or undetermined: as a run."""
    key = sent(prepared(name=MAILED))
    key.wake() if way is None else key.tell(way)
    phases = [key.phase]
    key.wake()
    assert [*phases, key.phase] == [LaunchPhase.UNKNOWN, LaunchPhase.HELD]
    adopted, ended = key.copy(), key.copy()
    adopted.tell(observed())
    assert [end.workflow_id for end in adopted.ends()] == [W1]
    ended.wake()
    (result,) = ended.ends()
    assert isinstance(result, Finished)
    assert (result.outcome, ended.runs) == (Outcome.UNDETERMINED, [("A", 1)])


@pytest.mark.parametrize("reach", [sent, unknown, held])
def test_a_late_proof_that_a_mail_went_out_waits_for_its_use(reach: Callable[[Prepared], Key]) -> None:
    """The end user has the link."""
    request = prepared(name=MAILED)
    key = reach(request)
    key.tell(replace(proved(Proof.DONE), operation=Operation.SEND_LINK))
    assert (key.links(), key.phase, key.issued()) == ([1], None, replace(KEPT, prepared=request))


def test_a_mail_that_a_person_took_for_not_sent_is_not_repeated_once_it_is_proved() -> None:
    """Ready: it is not sent again. Open: if the second one was not sent, there is no third."""
    key = held(prepared(name=MAILED))
    key.tell(decided(Resolution.NOT_EXECUTED))
    proof = replace(proved(Proof.DONE), operation=Operation.SEND_LINK)
    ready, again = key.copy(), key.copy()
    assert ready.tell(proof).wants_permit is None
    assert (ready.links(), ready.phase) == ([1], None)
    again.permit()
    again.tell(proof)
    unsent, lost = again.copy(), again.copy()
    assert unsent.tell(mailed(Proof.NOT_SENT, attempt=2)).wants_permit is None
    lost.tell(mailed(Proof.UNKNOWN, attempt=2))
    for done in (unsent, lost):
        assert (done.links(), done.phase, len(done.runs)) == ([1], None, 2)


def test_a_mail_of_unknown_outcome_counts_as_sent_once_an_older_one_is_proved() -> None:
    """Then its end user has a link, and the request waits for its use instead of for a person."""
    key = held(prepared(name=MAILED))
    key.tell(decided(Resolution.NOT_EXECUTED))
    key.permit()
    key.tell(mailed(Proof.UNKNOWN, attempt=2))
    key.tell(replace(proved(Proof.DONE), operation=Operation.SEND_LINK))
    assert (key.links(), key.phase) == ([1], None)
    assert key.issued() is not None


def test_a_run_of_version_3_starts_the_request_and_brings_its_link() -> None:
    """Custody passes on as ever; what is kept only serves to issue one more link."""
    key = sent(V3)
    decision = key.tell(ran())
    started = Started(V3.origin, W1, RECORD, None, "RUNNING", T, Witness.RUN_ANSWER, attempts=1, revision=1)
    link = replace(ISSUED, origin=V3.origin, token="token", expires_at=None)
    assert decision == Decision(
        {
            f"known/{W1}": KnownWorkflow("A", FORGOTTEN),
            "issued/A": replace(KEPT, prepared=V3, workflow_id=W1),
            "head": None,
        },
        outputs=(started, Progressed(V3.origin, Step.STARTED, T, W1, 1), link),
    )
    key.wake("issued/A")
    assert (key.issued(), len(key.ends())) == (None, 1)


@pytest.mark.parametrize("way", ["answer", "proof", "observed", "person"])
def test_a_run_of_version_3_whose_link_was_lost_is_started_all_the_same(way: str) -> None:
    """The run exists; upstream may ask for one more link."""
    key = sent(V3) if way in {"answer", "proof"} else unknown(V3)
    match way:
        case "answer":
            key.tell(ran(link=None))
        case "proof":
            key.tell(proved(Proof.DONE, W1))
        case "observed":
            key.tell(observed())
        case _:
            key.tell(decided(Resolution.STARTED, W1))
    assert [end.workflow_id for end in key.ends()] == [W1]
    assert key.links() == []
    kept = key.issued()
    assert kept is not None
    assert (kept.workflow_id, kept.link_attempt) == (W1, 1)


def test_a_run_of_version_3_without_an_end_user_keeps_nothing_for_links() -> None:
    """Whatever its answer holds beside the id."""
    key = sent(prepared(api=ApiVersion.TABLES))
    key.tell(ran())
    assert (key.links(), set(key.parts())) == ([], {f"known/{W1}"})


def test_a_run_of_version_3_of_unknown_outcome_is_never_repeated() -> None:
    """Its link is lost, and the run may be there."""
    key = sent(V3)
    key.tell(answered(Proof.UNKNOWN))
    assert key.phase is LaunchPhase.UNKNOWN


def test_a_workflow_that_became_a_link_after_its_run_was_ruled_out_keeps_the_trace_of_the_run() -> None:
    """The catalogue may change between two attempts: the operation of each is its own."""
    key = held()
    key.tell(decided(Resolution.NOT_EXECUTED))
    workflows = {CHECK: replace(LAUNCH.catalogue.workflows[CHECK], mode=LAUNCH.catalogue.workflows[LINKED].mode)}
    key.launch = replace(LAUNCH, catalogue=replace(LAUNCH.catalogue, workflows=workflows))
    key.permit()
    by_proof, early = key.copy(), key.copy()
    by_proof.tell(linked(attempt=2))
    kept = by_proof.issued()
    assert kept is not None
    assert (kept.intent_at, kept.link_at) == (T, by_proof.now)
    by_proof.tell(proved(Proof.DONE, W1))
    early.tell(proved(Proof.DONE, W1), linked(attempt=2))
    for key in (by_proof, early):
        assert [(end.workflow_id, end.revision) for end in key.ends()] == [(W1, 1)]
        assert (key.issued(), key.phase) == (None, None)


def test_a_mode_that_changes_while_a_run_is_open_does_not_make_it_repeatable() -> None:
    """What was called is what counts."""
    key = sent()
    workflows = {CHECK: replace(LAUNCH.catalogue.workflows[CHECK], mode=LAUNCH.catalogue.workflows[LINKED].mode)}
    key.launch = replace(LAUNCH, catalogue=replace(LAUNCH.catalogue, workflows=workflows))
    key.wake()
    assert key.phase is LaunchPhase.UNKNOWN


def test_a_link_that_comes_after_the_deadline_ends_with_its_request() -> None:
    """Behind evidence, so that a use that was seen in time still counts."""
    key = sent(prepared(name=LINKED, deadline_at=T + SECOND_MS))
    key.tell(linked(), at=T + 2 * SECOND_MS)
    key.wake("issued/A")
    (result,) = key.ends()
    assert isinstance(result, Finished)
    assert (result.outcome, set(key.parts())) == (Outcome.EXPIRED, {"gave/A"})
