"""Links, tokens and mails of the simulated provider, and the users who walk them."""

from pathlib import Path
from typing import Any

import pytest

from processor.simulator.ledger import entries_in, lines_in
from processor.simulator.model import Conduct
from tests.adapters.simulator_world import DEFINITION, FOREIGN_ID, G1, G2, START, World

OTHER = "other-definition"
EMAIL = {"email": "ada@example.test"}
NOBODY_COMES = {"user_absent_rate": 1}


def asked(**members: object) -> dict[str, object]:
    """Build the body of a token or link for a record."""
    return {"workflowDefinitionId": DEFINITION, "recordId": FOREIGN_ID, **members}


def walked(world: World, **named: object) -> int:
    """Let the user come; returns the status."""
    return world.walk(**named)[0]


@pytest.mark.parametrize("line", ["POST /token", "POST /link", "POST /link/send"])
def test_what_is_issued_tells_no_workflow_and_executes_none(line: str) -> None:
    """The answer is 201 with a secret; the workflow comes when the user does, and then as any other."""
    world = World(user_walks_ms=500)
    said = world.told(line, asked(**EMAIL, lang="en"))
    if line == "POST /token":
        assert said == {"token": said["token"], "expiryDuration": 3600, "tokenType": "Bearer"}
        assert said["token"].count(".") == 2
    else:
        assert set(said) == {"link"}
        assert said["link"].startswith("https://link.transactionlink.io/")
    world.later(499)
    assert world.provider.ledger.seq == 0
    world.later(1)
    (run,) = world.provider.ledger.runs
    assert (run.origin, run.record_id, run.seq, run.answered) == ("link", FOREIGN_ID, 1, "no")
    shown = {"id": run.workflow_id, "recordId": FOREIGN_ID}
    assert world.told(f"GET /workflows/{run.workflow_id}") == shown | {"status": "RUNNING"}
    world.later(100)
    assert world.told(f"GET /workflows/{run.workflow_id}") == shown | {"status": "COMPLETED"}
    assert [(at, told["workflowId"], told["type"]) for at, told in world.webhooks] == [
        (600, run.workflow_id, "completed")
    ]


@pytest.mark.parametrize(
    "line, body, accept, status",
    [
        ("POST /link", {"workflowDefinitionId": DEFINITION}, G2, 201),
        ("POST /link", {"workflowDefinitionId": DEFINITION}, G1, 400),
        ("POST /link", asked(), G1, 400),
        ("POST /link", {"workflowDefinitionId": DEFINITION, "caseId": FOREIGN_ID}, G1, 201),
        ("POST /link", {"workflowDefinitionId": DEFINITION, "caseId": FOREIGN_ID}, G2, 400),
        ("POST /link", {"recordId": FOREIGN_ID}, G2, 400),
        ("POST /link", asked(recordId="no-uuid"), G2, 400),
        ("POST /link", asked(lang=1), G2, 400),
        ("POST /link", asked(parametersId=[]), G2, 400),
        ("POST /link", asked(workflowDefinitionId="unknown"), G2, 404),
        ("POST /link", asked(workflowDefinitionId=OTHER), G2, 400),
        ("POST /token", asked(workflowDefinitionId=OTHER), G2, 400),
        ("POST /link/send", asked(), G2, 400),
        ("POST /link/send", asked(email="nobody"), G2, 400),
        ("POST /link/send", asked(**EMAIL), G2, 201),
        ("POST /workflows/run", asked(), G2, 400),
        ("POST /workflows/run", asked(workflowDefinitionId=OTHER), G2, 200),
    ],
)
def test_links_are_for_definitions_with_a_user_and_runs_for_those_without(
    line: str, body: dict[str, object], accept: str, status: int
) -> None:
    """Each version has its subject; a mail of version 2 needs an address."""
    world = World(definitions=[DEFINITION, OTHER], user_definitions=[DEFINITION], **NOBODY_COMES)
    assert world.ask(line, body, accept=accept).status == status


def test_a_mail_of_version_1_goes_to_the_address_of_the_case() -> None:
    """Without one there is nobody to send it to; a case made elsewhere may have one."""
    world = World()
    for given, status in (({}, 400), (EMAIL, 201)):
        case_id = world.told("POST /cases", given, accept=G1)["caseId"]
        body = {"workflowDefinitionId": DEFINITION, "caseId": case_id}
        assert world.ask("POST /link/send", body, accept=G1).status == status
    body = {"workflowDefinitionId": DEFINITION, "caseId": FOREIGN_ID}
    assert world.ask("POST /link/send", body, accept=G1).status == 201


def test_foreign_subjects_of_links_are_refused_where_that_is_set() -> None:
    """A record that the simulator did not make is 404, as for a run."""
    assert World(unknown_ids_refused=True).ask("POST /link", asked()).status == 404


def test_a_link_is_walked_once_and_within_its_life() -> None:
    """A second walk finds nothing, nor does one after the life of the link, nor one of a stranger."""
    world = World(link_s=60, **NOBODY_COMES)
    link = world.told("POST /link", asked())["link"]
    assert walked(world, link=link) == 200
    assert walked(world, link=link) == 404
    late = world.told("POST /link", asked())["link"]
    world.later(60_000)
    assert walked(world, link=late) == 404
    assert walked(world, link="https://link.transactionlink.io/unknown") == 404
    assert walked(world, token="unknown") == 404
    assert walked(world) == 400
    assert len(world.provider.ledger.runs) == 1


def test_a_test_walks_by_token_record_or_case_and_is_told_the_workflow() -> None:
    """The newest of a record or case is walked, of one definition where that is named."""
    world = World(**NOBODY_COMES)
    token = world.told("POST /token", asked())["token"]
    assert walked(world, token=token) == 200
    world.told("POST /link", asked())
    world.told("POST /link", asked(workflowDefinitionId=OTHER))
    assert walked(world, recordId=FOREIGN_ID, workflowDefinitionId=DEFINITION) == 200
    assert world.walk(recordId=FOREIGN_ID.upper()) == (200, world.provider.ledger.runs[-1].workflow_id)
    assert [run.definition_id for run in world.provider.ledger.runs] == [DEFINITION, DEFINITION, OTHER]
    world.told("POST /link", {"workflowDefinitionId": DEFINITION, "caseId": FOREIGN_ID}, accept=G1)
    assert walked(world, caseId=FOREIGN_ID) == 200
    assert walked(world, caseId=FOREIGN_ID) == 404


@pytest.mark.parametrize(
    "settings, first, second, status",
    [
        ({}, "POST /link", "POST /link", 404),
        ({}, "POST /link", "POST /link/send", 404),
        ({}, "POST /link", "POST /token", 200),
        ({"links_expire_previous": False}, "POST /link", "POST /link", 200),
    ],
)
def test_a_newer_link_makes_the_previous_one_useless(
    settings: dict[str, object], first: str, second: str, status: int
) -> None:
    """It counts per record and definition, for links and mails; a token ends no link."""
    world = World(**settings, **NOBODY_COMES)
    link = world.told(first, asked())["link"]
    elsewhere = world.told(first, asked(workflowDefinitionId=OTHER))["link"]
    world.told(second, asked(**EMAIL))
    assert walked(world, link=link) == status
    assert walked(world, link=elsewhere) == 200


def test_the_user_comes_with_the_newest_link_only() -> None:
    """Whoever was sent a second link, or given a token, does not come twice."""
    world = World(user_walks_ms=100, links_expire_previous=False)
    for line in ("POST /link", "POST /link/send", "POST /token"):
        world.told(line, asked(**EMAIL))
        world.later(10)
    world.later(1000)
    assert len(world.provider.ledger.runs) == 1
    assert world.counters.links == {"link": 1, "mail": 1, "token": 1, "walked": 1}


def test_a_user_can_stay_away_or_come_too_late() -> None:
    """Then nothing is executed, and nothing tells of it."""
    for faults in (NOBODY_COMES, {"user_walks_ms": 60_000, "link_s": 60}):
        world = World(**faults)
        world.told("POST /link", asked())
        world.later(100_000)
        assert world.provider.ledger.runs == ()
        assert world.webhooks == []


@pytest.mark.parametrize(
    "fault, line, conduct, runs",
    [
        ("run_5xx_unexecuted_rate", "POST /link/send", Conduct.ANSWER, 0),
        ("run_5xx_executed_rate", "POST /link/send", Conduct.ANSWER, 1),
        ("run_silent_rate", "POST /link/send", Conduct.SILENT, 1),
        ("run_silent_rate", "POST /link", Conduct.SILENT, 0),
        ("run_hung_up_rate", "POST /token", Conduct.HANG_UP, 0),
        ("run_ghost_rate", "POST /link/send", Conduct.SILENT, 1),
    ],
)
def test_a_mail_arrives_whatever_the_caller_heard(fault: str, line: str, conduct: Conduct, runs: int) -> None:
    """A link or token whose answer was lost is in nobody's hands; a mail is."""
    world = World(**{fault: 1, "ghost_delay_ms": 50})
    assert world.ask(line, asked(**EMAIL)).conduct is conduct
    world.later(5000)
    assert len(world.provider.ledger.runs) == runs


def test_awaiting_comes_between_the_user_and_the_end() -> None:
    """The user is done, background tasks run on: a status of its own, and a webhook of its own kind."""
    world = World(awaiting_rate=1, status_update_rate=1, user_walks_ms=10)
    world.told("POST /link", asked())
    world.later(60)
    (run,) = world.provider.ledger.runs
    assert world.told(f"GET /workflows/{run.workflow_id}")["status"] == "AWAITING"
    world.later(1000)
    told = [(at, told["type"], told["status"]) for at, told in world.webhooks]
    assert told == [(60, "awaiting", "AWAITING"), (110, "completed", "COMPLETED")]


def test_status_updates_tell_of_runs_without_a_user() -> None:
    """They say that it runs; they are lost and doubled as other webhooks are."""
    for lost, expected in ((0, [(50, "status-update", "RUNNING"), (100, "completed", "COMPLETED")]), (1, [])):
        world = World(status_update_rate=1, awaiting_rate=1, webhook_lost_rate=lost)
        world.run()
        world.later(100)
        assert [(at, told["type"], told["status"]) for at, told in world.webhooks] == expected


def lines_of(path: Path, *kinds: str) -> list[dict[str, Any]]:
    """Read the lines of some kinds."""
    return [line for line in lines_in(path) if line["kind"] in kinds]


def test_links_survive_a_crash_and_their_secrets_are_in_no_file(tmp_path: Path) -> None:
    """The next process knows them by their hash: it ends those that were superseded, and lets the users come."""
    path = tmp_path / "ledger.jsonl"
    world = World(ledger_file=str(path), user_walks_ms=1000)
    record_id = world.told("POST /tables/t/records", {"ref": "r-1"})["id"]
    used, old, new = (
        world.told(line, asked(recordId=record_id, **EMAIL))["link"]
        for line in ("POST /link", "POST /link", "POST /link/send")
    )
    assert walked(world, link=used) == 404
    assert walked(world, link=new) == 200
    token = world.told("POST /token", asked(recordId=record_id))["token"]
    text = path.read_text(encoding="utf-8")
    assert not any(secret.rpartition("/")[2] in text for secret in (used, old, new, token))
    issued = lines_of(path, "link", "token", "mail")
    assert [line["kind"] for line in issued] == ["link", "link", "mail", "token"]
    assert {(line["recordId"], line["definitionId"]) for line in issued} == {(record_id, DEFINITION)}

    heir = World(ledger_file=str(path), user_walks_ms=1000)
    assert [walked(heir, link=link) for link in (used, old, new)] == [404, 404, 404]
    heir.later(2000)
    entries = entries_in(path)
    assert [(entry["origin"], entry["status"], entry["columns"]) for entry in entries] == [
        ("link", "COMPLETED", {"ref": "r-1"})
    ] * 2
    assert entries[1]["executedAt"] == START + 1000


def test_links_in_memory_are_bounded() -> None:
    """The oldest go first."""
    world = World(contents_max=2, **NOBODY_COMES)
    links = [world.told("POST /link", {"workflowDefinitionId": DEFINITION})["link"] for _ in range(4)]
    assert [walked(world, link=link) for link in links] == [404, 404, 200, 200]
    assert world.provider.held()["link"] == 2
