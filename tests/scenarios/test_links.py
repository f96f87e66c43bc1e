"""Links, mails and tokens: what the end user gets, and the result when the person is done."""

from typing import Any

import pytest

from tests.scenarios.conftest import Everything
from tests.support.onboarding import milliseconds
from tests.support.operations import subject

pytestmark = pytest.mark.broker


def of_versions(*names: str) -> pytest.MarkDecorator:
    """Run a scenario for several workflows."""
    return pytest.mark.parametrize("workflow", names)


def has_secret(issued: dict[str, Any], workflow: str) -> bool:
    """Whether the event holds what the workflow's mode issues, and nothing else."""
    found = {name for name in ("link", "token") if issued[name] is not None}
    wanted = {"link": {"link"}, "token": {"token"}, "link-send": set()}[workflow.partition("-")[2]]
    return found == wanted or (workflow.startswith("v3") and wanted <= found)


@of_versions("v1-link", "v1-token", "v1-link-send", "v2-link", "v2-token", "v2-link-send", "v3-link", "v3-token")
def test_the_result_follows_when_the_person_is_done(every: Everything, request_id: str, workflow: str) -> None:
    """What is issued goes to the links topic under the request's key; the workflow that the person starts is ours."""
    every.ask(workflow, request_id)
    issued = every.world.link(request_id)
    assert has_secret(issued, workflow), "link or token as the mode says"
    assert (issued["workflow"], issued["subjectReference"]) == (workflow, f"S-{request_id}")
    result = every.world.result(request_id)
    assert result["outcome"] == "COMPLETED", result
    assert (result["recordId"], result["caseId"]) == (issued["recordId"], issued["caseId"])
    assert len(every.world.results(request_id)) == 1


@of_versions("v1-link", "v2-link", "v3-link")
def test_an_awaiting_webhook_ends_nothing(every: Everything, request_id: str, workflow: str) -> None:
    """The user is done and background tasks run on: the completed one follows."""
    with every.provider.faults(awaiting_rate=1, completion_ms=1_000):
        every.ask(workflow, request_id)
        result = every.world.result(request_id)
    assert (result["outcome"], result["status"]) == ("COMPLETED", "COMPLETED")


def test_version_2_mails_no_link_without_an_address(every: Everything, request_id: str) -> None:
    """The result says what is missing; nothing was mailed."""
    every.ask("v2-link-send", request_id, subject=subject("S", email=None))
    result = every.world.result(request_id)
    assert (result["outcome"], result["reason"]) == ("NOT_STARTED", "invalid-request")
    assert "mail" in result["message"]
    assert every.world.links(request_id) == []


@of_versions("v1-link", "v1-token", "v2-link", "v2-token", "v3-link", "v3-token", "v2-link-send")
def test_one_more_link_is_issued_when_upstream_asks(every: Everything, request_id: str, workflow: str) -> None:
    """An event of the same id with a higher number brings a new link; the result is still one, of the newer walk."""
    with every.provider.faults(user_absent_rate=1):
        every.ask(workflow, request_id)
        first = every.world.link(request_id)
    every.ask(workflow, request_id, linkAttempt=2)
    every.ask(workflow, request_id, linkAttempt=2)
    second = every.world.link(request_id, attempt=2)
    if workflow != "v2-link-send":
        assert (first["link"], first["token"]) != (second["link"], second["token"])
    result = every.world.result(request_id)
    assert result["outcome"] == "COMPLETED", result
    assert [issued["attempt"] for issued in every.world.links(request_id)] == [1, 2]
    assert len(every.world.results(request_id)) == 1


@of_versions("v1-token", "v2-link", "v3-link")
def test_no_more_links_for_a_request_that_has_ended(every: Everything, request_id: str, workflow: str) -> None:
    """It is refused visibly, and the result stands."""
    every.ask(workflow, request_id)
    every.world.result(request_id)
    every.ask(workflow, request_id, linkAttempt=2)
    every.world.wait_until(lambda: "LINK_REFUSED" in every.world.steps(request_id), "the refusal told")
    assert len(every.world.links(request_id)) == 1
    assert len(every.world.results(request_id)) == 1


@of_versions("v1-link", "v2-token")
def test_a_link_whose_answer_was_lost_is_issued_again(every: Everything, request_id: str, workflow: str) -> None:
    """The lost one is useless to anybody, so it is repeated, after the call is over for good."""
    kind = workflow.partition("-")[2]
    before = len(every.provider.lines(kind))
    with every.provider.faults(run_hung_up_rate=1):
        every.ask(workflow, request_id)
        every.world.wait_until(lambda: len(every.provider.lines(kind)) > before, "the first try")
    result = every.world.result(request_id)
    assert result["outcome"] == "COMPLETED"
    assert len(every.world.links(request_id)) == 1


def test_a_mail_is_never_sent_twice(every: Everything, request_id: str) -> None:
    """Its answer was lost; the person walked the link that was mailed all the same, and that is the request's run."""
    with every.provider.faults(run_hung_up_rate=1):
        every.ask("v2-link-send", request_id)
        result = every.world.result(request_id)
    assert (result["outcome"], result["attempts"]) == ("COMPLETED", 1)
    assert [mail["recordId"] for mail in every.provider.lines("mail")].count(result["recordId"]) == 1


def test_a_person_who_never_comes(every: Everything, request_id: str) -> None:
    """At the deadline the request has expired; one who comes late amends that."""
    with every.provider.faults(user_absent_rate=1):
        every.ask("v2-link", request_id, deadlineAt=(milliseconds() + 4_000) * 1_000)
        link = every.world.link(request_id)["link"]
        first = every.world.result(request_id)
    assert (first["outcome"], first["reason"]) == ("EXPIRED", "deadline-passed")
    every.provider.walk(link=link)
    assert every.world.result(request_id, revision=2)["outcome"] == "COMPLETED"


def test_two_links_for_one_record(every: Everything, request_id: str) -> None:
    """Whose run it is that shows itself, nobody can tell: both expire and name the candidate."""
    record_id = every.provider.create_record(ref=request_id)
    deadline = (milliseconds() + 6_000) * 1_000
    ids = [f"{request_id}-{number}" for number in (1, 2)]
    with every.provider.faults(user_absent_rate=1):
        for one in ids:
            every.ask("v2-two-links", one, recordId=record_id, deadlineAt=deadline)
        links = [every.world.link(one)["link"] for one in ids]
    workflow_id = every.provider.walk(link=links[1])
    results = [every.world.result(one) for one in ids]
    assert [result["outcome"] for result in results] == ["EXPIRED", "EXPIRED"]
    assert [result["candidates"] for result in results] == [[workflow_id], [workflow_id]]


def test_of_two_links_for_one_record_the_newest_counts(every: Everything, request_id: str) -> None:
    """Where the catalogue says so, a newer link is the only one that can have been used."""
    record_id = every.provider.create_record(ref=request_id)
    ids = [f"{request_id}-{number}" for number in (1, 2)]
    with every.provider.faults(user_absent_rate=1):
        links = []
        for one in ids:
            every.ask("v2-newest-link", one, recordId=record_id)
            links.append(every.world.link(one)["link"])
    workflow_id = every.provider.walk(link=links[1])
    assert every.world.result(ids[1])["workflowId"] == workflow_id
    assert every.world.results(ids[0]) == []
