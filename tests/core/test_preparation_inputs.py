"""What the start of each mode and version is given of a request, and what ends one that lacks it."""

from dataclasses import replace

import pytest

from processor.core.messages import Create, Finished, Judge, Prepared
from processor.core.model import ApiVersion, OnboardingRequest, Outcome, Reason, StartInputs, Subject
from processor.core.proof import Operation, Proof
from processor.core.reference import REFERENCE_MARK, read_reference, reference_of
from processor.core.state import Decision
from tests.core.lanes import NOW, PREPARATION, REQUEST, Lane, answered, arrived, named

PERSON = replace(REQUEST.subject or Subject(), email="ada@example.test")


def ended(decision: Decision) -> Finished:
    """The one output of a decision, which must be a result."""
    (result,) = decision.outputs
    assert isinstance(result, Finished)
    return result


def inputs_of(request: OnboardingRequest) -> StartInputs | None:
    """What a request is handed over with, once everything was made for it."""
    lane = Lane()
    lane.told(arrived(request))
    while not lane.prepared():
        lane.done("made-1")
    return lane.prepared()[0].inputs


@pytest.mark.parametrize(
    "request_, inputs",
    [
        (REQUEST, None),
        (named("request-1", workflow="bare", locale="pl"), None),
        (named("request-1", workflow="of-cases"), None),
        (named("request-1", workflow="linked"), StartInputs(locale="de")),
        (named("request-1", workflow="linked", locale="pt-BR"), StartInputs(locale="pt-BR")),
        (named("request-1", workflow="linked", locale=" "), StartInputs(locale="de")),
        (named("request-1", workflow="widget", record_id="rec-1"), StartInputs(locale="en")),
        (
            named("request-1", workflow="mailed", columns={"mail": " ada@example.test "}),
            StartInputs(locale="en", email="ada@example.test"),
        ),
        (named("request-1", workflow="mailed-case", subject=PERSON), StartInputs(locale="en")),
        (named("request-1", workflow="mailed-case", case_id="case-1"), StartInputs(locale="en")),
        (named("request-1", workflow="mailed-given-case", case_id="case-1"), StartInputs(locale="en")),
        (named("request-1", workflow="inline-bare"), StartInputs(parameters=b"{}", locale="en")),
    ],
)
def test_a_start_is_given_what_its_mode_and_version_send(
    request_: OnboardingRequest, inputs: StartInputs | None
) -> None:
    """A plain run of versions 1 and 2 is given nothing; an address is of version 2 only, which has no case to ask."""
    assert inputs_of(request_) == inputs


@pytest.mark.parametrize(
    "request_, told",
    [
        (named("request-1", workflow="given-record"), "recordId is missing"),
        (named("request-1", workflow="given-record", record_id=" "), "recordId is missing"),
        (named("request-1", workflow="given-record", case_id="case-1"), "recordId is missing"),
        (named("request-1", workflow="given-case", record_id="rec-1"), "caseId is missing"),
        (named("request-1", workflow="linked", locale="pl_PL"), "locale is no language tag"),
        (named("request-1", workflow="inline-bare", locale="x" * 36), "locale is no language tag"),
        (named("request-1", workflow="mailed"), "link-send mails to an address, and there is none at columns.mail"),
        (named("request-1", workflow="mailed", columns={"mail": 7}), "there is none at columns.mail"),
        (named("request-1", workflow="mailed", columns={"mail": " "}), "there is none at columns.mail"),
        (named("request-1", workflow="mailed-case"), "there is none at subject.email"),
    ],
)
def test_a_request_that_lacks_what_its_start_needs_ends_at_the_door(request_: OnboardingRequest, told: str) -> None:
    """The message names member or path, and no value; nothing is made for it."""
    decision = PREPARATION.decide({}, arrived(request_), NOW)
    result = ended(decision)
    assert (result.outcome, result.reason) == (Outcome.NOT_STARTED, Reason.INVALID_REQUEST)
    assert result.message is not None
    assert told in result.message
    assert "pl_PL" not in result.message
    assert decision.calls == ()


FORGED = reference_of("victims-record", "victims-request")


@pytest.mark.parametrize("text", [FORGED, f"see {FORGED}", FORGED[:20], REFERENCE_MARK])
@pytest.mark.parametrize(
    "workflow, member, part",
    [
        ("person-check", "columns", "column of the record"),
        ("of-cases", "subject", "member of the case"),
        ("commented", "parameters", "parameter"),
        ("commented-inline", "parameters", "parameter"),
    ],
)
def test_a_request_that_brings_a_reference_of_ours_ends_at_the_door(
    workflow: str, member: str, part: str, text: str
) -> None:
    """Planted in a run it would name another request as the one whose run it is; the message repeats no value."""
    subject = Subject(reference="customer-8", last_name=text)
    values = {"columns": {"score": [text]}, "subject": subject, "parameters": {"comment": {text: 1}}}
    decision = PREPARATION.decide({}, arrived(named("request-1", workflow=workflow, **{member: values[member]})), NOW)
    result = ended(decision)
    assert (result.outcome, result.reason) == (Outcome.NOT_STARTED, Reason.INVALID_REQUEST)
    assert (result.message, decision.calls) == (
        f"a {part} holds a reference of ours (onboarding-ref:), which only this service may write",
        (),
    )


@pytest.mark.parametrize("workflow", ["commented", "commented-inline"])
def test_our_own_reference_stands_beside_other_parameters(workflow: str) -> None:
    """What we plant ourselves is no reason to refuse a request, nor is a reference in a member that is not sent."""
    lane = Lane()
    lane.told(arrived(named("request-1", workflow=workflow, parameters={"comment": "hello"}, columns={"x": FORGED})))
    while not lane.prepared():
        lane.done("rec-1")
    assert [output for output in lane.outputs if isinstance(output, Finished)] == []


def test_version_3_has_its_parameters_in_the_start() -> None:
    """No parameter set is made; our own reference names the record, so it is filled in when that is known."""
    lane = Lane()
    decision = lane.told(arrived(named("request-1", workflow="inline")))
    assert [call.operation for call in decision.calls if isinstance(call, Create)] == [Operation.CREATE_RECORD]
    lane.done("REC-1")
    (prepared,) = lane.prepared()
    assert prepared.parameters_id is None
    assert prepared.inputs is not None
    assert reference_in(prepared.inputs.parameters) == ("rec-1", "request-1")


def test_versions_1_and_2_have_our_reference_in_the_parameter_set() -> None:
    """It is filled in when the record is made, before the set is."""
    lane = Lane()
    lane.told(arrived(named("request-1", workflow="referred")))
    (create,) = lane.done("REC-1").calls
    assert isinstance(create, Create)
    assert create.operation is Operation.SET_PARAMETERS
    assert reference_in(create.body) == ("rec-1", "request-1")
    (again,) = lane.told(answered(Proof.OUR_FAULT, operation=Operation.SET_PARAMETERS, attempt=2)).calls
    assert again == replace(create, attempt=3)


def reference_in(parameters: bytes | None) -> tuple[str, str] | None:
    """Launch key and request id of our reference in a body that holds nothing else."""
    assert parameters is not None
    return read_reference(parameters.decode().removeprefix('{"ours":"').removesuffix('"}'))


def test_calls_and_custody_are_pinned_to_profile_and_version_of_the_arrival() -> None:
    """A workflow may be moved while its requests are under way; they stay with what was made for them."""
    lane = Lane()
    lane.told(arrived(named("request-1", workflow="linked")))
    (create,) = lane.calls
    assert isinstance(create, Create)
    assert (create.provider, create.api) == ("second", ApiVersion.RECORDS)
    (judge,) = lane.told(answered(Proof.REFUSED)).calls
    assert isinstance(judge, Judge)
    assert judge.provider == "second"
    lane = Lane()
    lane.told(arrived(named("request-1", workflow="inline-bare")))
    (prepared,) = lane.prepared()
    assert isinstance(prepared, Prepared)
    assert (prepared.origin.provider, prepared.origin.api) == ("default", ApiVersion.TABLES)
