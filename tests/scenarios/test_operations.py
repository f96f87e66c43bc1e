"""Every operation of the API, in every version it exists in: from a request's event to what comes of it."""

import pytest

from tests.scenarios.conftest import Everything
from tests.support.operations import subject

pytestmark = pytest.mark.broker


def of_versions(*names: str) -> pytest.MarkDecorator:
    """Run a scenario for several workflows."""
    return pytest.mark.parametrize("workflow", names)


# --- authorize -------------------------------------------------------------------------------------------------------


@of_versions("v1-run", "v2-run", "v3-run")
def test_a_token_that_was_revoked_is_renewed(every: Everything, request_id: str, workflow: str) -> None:
    """Key and secret bring a bearer token in every version; a 401 costs one renewal and no request."""
    every.provider.revoke_tokens()
    result, _ = every.done(workflow, request_id)
    assert result["attempts"] == 1


def test_an_organisation_token_is_sent_bare(every: Everything, request_id: str) -> None:
    """The second workspace takes nothing else; its webhooks come in by a path of their own."""
    every.ask("second-run", request_id)
    result = every.world.result(request_id)
    assert (result["outcome"], result["completedBy"]) == ("COMPLETED", "WEBHOOK")
    assert [run["workflowId"] for run in every.second.runs_with(request_id)] == [result["workflowId"]]
    assert every.provider.runs_with(request_id) == []


# --- cases, records --------------------------------------------------------------------------------------------------


def test_a_case_holds_every_documented_field(every: Everything, request_id: str) -> None:
    """Names, number, address, phone and documents go into the case, and the workflow runs for it."""
    result, run = every.done("v1-run", request_id)
    (case,) = [line for line in every.provider.lines("case") if line["id"] == result["caseId"]]
    assert case["body"] == {name: value for name, value in subject("").items() if name != "reference"}
    assert (run["caseId"], result["recordId"]) == (result["caseId"], None)


def test_a_returning_person_has_the_case_of_before(every: Everything, request_id: str) -> None:
    """Requests with one message key and subject reference share a case; another person gets another."""
    cases = []
    for number, reference in enumerate(("S-1", "S-1", "S-2")):
        one = f"{request_id}-{number}"
        person = subject(f"{reference}-{request_id}")
        result, _ = every.done("v1-run", one, key=f"S-{request_id}", subject=person)
        cases.append(result["caseId"])
    assert cases[0] == cases[1] != cases[2]


@of_versions("v2-run", "v3-run")
def test_a_record_is_made_by_the_column_mapping(every: Everything, request_id: str, workflow: str) -> None:
    """The columns of the catalogue, read from the request, are the record's; the workflow runs for it."""
    result, run = every.done(workflow, request_id)
    assert run["columns"] == {"fullName": "Example", "ref": request_id}
    assert run["recordId"] == result["recordId"]


@of_versions("v2-given", "v3-given")
def test_a_given_record_is_used(every: Everything, request_id: str, workflow: str) -> None:
    """The request brings a record's id; no other is made."""
    record_id = every.provider.create_record(ref=request_id)
    result, run = every.done(workflow, request_id, recordId=record_id)
    assert (run["recordId"], result["recordId"]) == (record_id, record_id)


@of_versions("v2-given", "v3-given")
def test_a_record_that_must_be_given_and_is_not(every: Everything, request_id: str, workflow: str) -> None:
    """The result says which member is missing, and nothing is run."""
    every.ask(workflow, request_id)
    result = every.world.result(request_id)
    assert (result["outcome"], result["reason"]) == ("NOT_STARTED", "invalid-request")
    assert "recordId" in result["message"]


@of_versions("v2-bare", "v3-bare")
def test_a_workflow_runs_without_a_record(every: Everything, request_id: str, workflow: str) -> None:
    """Neither record nor case: the workflow has its parameters only."""
    result, run = every.done(workflow, request_id)
    assert (run["recordId"], run["caseId"], result["recordId"]) == (None, None, None)
    assert run["parameters"]["ref"] == request_id


def test_a_returning_subject_has_the_record_of_before(every: Everything, request_id: str) -> None:
    """Where the catalogue says `reuse`, requests of one subject share a record."""
    person = subject(f"S-{request_id}")
    first, _ = every.done("v2-reuse", f"{request_id}-1", key=request_id, subject=person)
    second, _ = every.done("v2-reuse", f"{request_id}-2", key=request_id, subject=person)
    assert first["recordId"] == second["recordId"] is not None


# --- parameters, runs ------------------------------------------------------------------------------------------------


@of_versions("v1-run", "v2-run", "v3-run")
def test_parameters_reach_the_run(every: Everything, request_id: str, workflow: str) -> None:
    """As a parameter set in versions 1 and 2, in the start call itself in version 3."""
    _, run = every.done(workflow, request_id)
    assert run["parameters"] == {"ref": request_id, "orderId": f"O-{request_id}"}
    assert (run["parametersId"] is None) == workflow.startswith("v3")


@of_versions("v1-plain", "v2-reuse")
def test_a_workflow_without_parameters_skips_them(every: Everything, request_id: str, workflow: str) -> None:
    """No parameter set is made that nobody asked for."""
    _, run = every.done(workflow, request_id)
    assert run["parametersId"] is None


def test_a_version_3_start_says_language_and_end(every: Everything, request_id: str) -> None:
    """The locale is the request's, and the provider ends the run by itself within its own window."""
    _, run = every.done("v3-run", request_id, locale="pl")
    execution = run["execution"]
    assert execution["locale"] == "pl"
    ahead_ms = execution["expiresAt"] - run["executedAt"]
    assert 30 * 60_000 <= ahead_ms <= 30 * 86_400_000


@of_versions("v1-run", "v2-run", "v3-run")
def test_a_run_that_ends_in_its_own_answer(every: Everything, request_id: str, workflow: str) -> None:
    """The start call already says COMPLETED: the result follows without a webhook."""
    with every.provider.faults(complete_at_once_rate=1, webhook_lost_rate=1):
        result, _ = every.done(workflow, request_id)
    assert result["completedBy"] == "RUN_ANSWER"


# --- status, result --------------------------------------------------------------------------------------------------


@of_versions("v1-run", "v2-run", "v3-run")
def test_a_status_read_tells_what_no_webhook_told(every: Everything, request_id: str, workflow: str) -> None:
    """Three shapes, of which only id and status count; a word that nobody listed ends nothing."""
    with every.provider.faults(webhook_lost_rate=1, running_status="THINKING"):
        result, _ = every.done(workflow, request_id)
    assert (result["completedBy"], result["status"]) == ("POLL", "COMPLETED")


@of_versions("v1-run", "v2-run", "v3-run", "v1-old-result")
def test_a_result_is_published(every: Everything, request_id: str, workflow: str) -> None:
    """From the workflow, and where the catalogue says so from the case, as before version 2."""
    result, _ = every.done(workflow, request_id)
    assert result["result"] is not None
    assert ("partyDetails" in result["result"]) == workflow.startswith("v1")


@of_versions("v1-run", "v2-run", "v3-run")
def test_a_result_that_is_late_is_waited_for(every: Everything, request_id: str, workflow: str) -> None:
    """The path answers 404 for a moment after the end."""
    with every.provider.faults(result_delay_ms=1_500):
        result, _ = every.done(workflow, request_id)
    assert (result["resultOmitted"], result["reason"]) == (None, None)


def test_a_status_update_ends_nothing(every: Everything, request_id: str) -> None:
    """A webhook of a long run is a hint: the run ends when its status does."""
    with every.provider.faults(status_update_rate=1, completion_ms=600):
        result, _ = every.done("v2-run", request_id)
    assert result["status"] == "COMPLETED"
