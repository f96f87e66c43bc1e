"""What the simulated provider makes of each version: the third one's own start, and what none may be asked for."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from processor.simulator.ledger import entries_in
from tests.adapters.simulator_world import DEFINITION, FOREIGN_ID, G1, G2, START, World

NO_VERSION = "application/json"
BACKGROUND = {"workflowDefinitionId": DEFINITION, "locale": "en", "parameters": {"orderId": "A-17"}}
MEMBERS = {
    "id",
    "workspaceId",
    "workflowDefinitionId",
    "parameters",
    "name",
    "revision",
    "status",
    "locale",
    "expiresAt",
    "uiOptions",
    "executionType",
    "executionVersion",
    "origin",
}


def ahead(**duration: float) -> str:
    """Write an instant some time after the start."""
    return (datetime.fromtimestamp(START / 1000, UTC) + timedelta(**duration)).isoformat()


def test_a_version_3_start_runs_in_the_background() -> None:
    """Its answer and its status are the same object, whatever version the reader asks for; it echoes the parameters."""
    world = World()
    started = world.told("POST /workflows", BACKGROUND | {"recordId": FOREIGN_ID}, accept=NO_VERSION)
    assert set(started) == MEMBERS
    assert (started["status"], started["executionType"], started["expiresAt"]) == ("RUNNING", "BACKGROUND", None)
    assert started["parameters"] == {"orderId": "A-17"}
    world.later(100)
    for accept in (NO_VERSION, G1, G2):
        assert world.told(f"GET /workflows/{started['id']}", accept=accept) == started | {"status": "COMPLETED"}
    assert world.told(f"GET /workflows/{started['id']}/result", accept=NO_VERSION)["output"]["decision"]
    (run,) = world.provider.ledger.runs
    assert (run.origin, run.record_id, run.asked.parameters) == ("api", FOREIGN_ID, b'{"orderId":"A-17"}')
    assert [told["recordId"] for _, told in world.webhooks] == [FOREIGN_ID]


def test_version_3_may_have_no_result_to_read() -> None:
    """Whether the path exists there is unknown, so both can be played."""
    world = World(version_3_results=False, complete_at_once_rate=1)
    started = world.told("POST /workflows", BACKGROUND, accept=NO_VERSION)
    assert world.ask(f"GET /workflows/{started['id']}/result").status == 404
    run = orjson.loads(world.run().body)
    assert world.ask(f"GET /workflows/{run['id']}/result").status == 200


@pytest.mark.parametrize(
    "change, status",
    [
        ({}, 200),
        ({"locale": None}, 400),
        ({"locale": 1}, 400),
        ({"parameters": None}, 400),
        ({"parameters": []}, 400),
        ({"parameters": {}}, 200),
        ({"workflowDefinitionId": None}, 400),
        ({"workflowDefinitionId": "unknown"}, 404),
        ({"recordId": "no-uuid"}, 400),
        ({"recordId": FOREIGN_ID}, 404),
        ({"expiresAt": ahead(minutes=29)}, 400),
        ({"expiresAt": ahead(minutes=30)}, 200),
        ({"expiresAt": ahead(days=30)}, 200),
        ({"expiresAt": ahead(days=30, seconds=1)}, 400),
        ({"expiresAt": "2023-11-15T10:00:00"}, 400),
        ({"expiresAt": "2023-11-15T10:00:00Z"}, 200),
        ({"expiresAt": "soon"}, 400),
        ({"expiresAt": 1_700_010_000}, 400),
        ({"parameters": {"a": "simulator-refuses-run"}}, 400),
    ],
)
def test_a_version_3_start_is_checked(change: dict[str, object], status: int) -> None:
    """Locale and parameters are required; an expiry lies 30 minutes to 30 days ahead."""
    world = World(definitions=DEFINITION, unknown_ids_refused=True)
    assert world.ask("POST /workflows", BACKGROUND | change, accept=NO_VERSION).status == status
    assert len(world.provider.ledger.runs) == (status == 200)


def test_a_version_3_start_for_a_user_tells_link_and_token_and_waits() -> None:
    """The workflow id is known at once; the run goes on when its user comes, and only once."""
    world = World(user_definitions=DEFINITION, user_absent_rate=1, awaiting_rate=1)
    started = world.told("POST /workflows", BACKGROUND, accept=NO_VERSION)
    assert set(started) == MEMBERS | {"token", "link"}
    assert started["link"] == f"https://link.transactionlink.io/?token={started['token']}"
    world.later(1_000_000)
    shown = world.told(f"GET /workflows/{started['id']}", accept=NO_VERSION)
    assert (set(shown), shown["status"]) == (MEMBERS, "RUNNING")
    assert world.walk(link=started["link"]) == (200, started["id"])
    assert world.walk(token=started["token"])[0] == 404
    world.later(100)
    assert world.told(f"GET /workflows/{started['id']}", accept=NO_VERSION)["status"] == "COMPLETED"
    assert [told["status"] for _, told in world.webhooks] == ["AWAITING", "COMPLETED"]


def test_a_test_walks_a_version_3_run_by_its_workflow_id() -> None:
    """Such a run may have no record to name it by."""
    world = World(user_definitions=DEFINITION, user_absent_rate=1)
    ids = [world.told("POST /workflows", BACKGROUND, accept=NO_VERSION)["id"] for _ in range(2)]
    assert [world.walk(workflowId=each) for each in (*reversed(ids), "none")] == [
        (200, ids[1]),
        (200, ids[0]),
        (404, ""),
    ]


def test_the_user_of_version_3_comes_by_themselves() -> None:
    """After the time of the setting, if the caller heard the link at all."""
    world = World(user_definitions=DEFINITION, user_walks_ms=500)
    world.told("POST /workflows", BACKGROUND, accept=NO_VERSION)
    world.later(600)
    assert [run.status for run in world.provider.ledger.runs] == ["COMPLETED"]
    lost = World(user_definitions=DEFINITION, user_walks_ms=500, run_silent_rate=1)
    lost.ask("POST /workflows", BACKGROUND, accept=NO_VERSION)
    lost.later(600)
    assert [run.status for run in lost.provider.ledger.runs] == ["RUNNING"]


@pytest.mark.parametrize("definitions", [DEFINITION, ""])
def test_a_version_3_run_expires(definitions: str) -> None:
    """With nobody coming, or with background work that takes too long; expiry is an end like others."""
    world = World(user_definitions=definitions, user_absent_rate=1, completion_ms=10_000_000)
    started = world.told("POST /workflows", BACKGROUND | {"expiresAt": ahead(minutes=30)}, accept=NO_VERSION)
    world.later(30 * 60_000 - 1)
    assert world.webhooks == []
    world.later(1)
    assert world.told(f"GET /workflows/{started['id']}", accept=NO_VERSION)["status"] == "EXPIRED"
    assert [told["status"] for _, told in world.webhooks] == ["EXPIRED"]
    assert world.walk(link=started.get("link", "none"))[0] == 404


def test_version_3_runs_survive_a_crash(tmp_path: Path) -> None:
    """The next process shows the same object, lets the users come, and ends what expires."""
    path = str(tmp_path / "ledger.jsonl")
    settings = {"ledger_file": path, "user_definitions": DEFINITION, "user_absent_rate": 1}
    world = World(**settings)
    body = BACKGROUND | {"expiresAt": ahead(minutes=40)}
    walked, waiting, coming = (world.told("POST /workflows", body, accept=NO_VERSION) for _ in range(3))
    assert world.walk(token=walked["token"])[0] == 200
    heir = World(**settings)
    assert heir.walk(token=walked["token"])[0] == 404
    assert heir.walk(token=coming["token"])[0] == 200
    shown = heir.told(f"GET /workflows/{waiting['id']}", accept=NO_VERSION)
    assert shown == {name: value for name, value in waiting.items() if name in MEMBERS}
    heir.later(3_000_000)
    entries = entries_in(Path(path))
    assert [entry["status"] for entry in entries] == ["COMPLETED", "EXPIRED", "COMPLETED"]
    assert [entry["finalStatus"] for entry in entries] == ["COMPLETED", "EXPIRED", "COMPLETED"]
    assert all(entry["endsAt"] for entry in entries)


@pytest.mark.parametrize(
    "line, body, accept, status",
    [
        ("POST /workflows", BACKGROUND, G2, 404),
        ("POST /workflows", BACKGROUND, f"{NO_VERSION};version=1", 404),
        ("POST /workflows", BACKGROUND, "*/*", 200),
        ("POST /workflows", BACKGROUND, f"{NO_VERSION};version=3", 406),
        ("POST /tables/t/records", {}, f"{NO_VERSION};version=1", 404),
        ("POST /tables/t/records", {}, NO_VERSION, 201),
        ("POST /tables/t/records", {}, G2, 201),
        ("POST /cases", {}, G2, 201),
        ("POST /workflows/run", {"workflowDefinitionId": DEFINITION, "recordId": FOREIGN_ID}, NO_VERSION, 400),
        ("POST /workflows/run", {"workflowDefinitionId": DEFINITION, "caseId": FOREIGN_ID}, G2, 400),
        (
            "POST /workflows/run",
            {"workflowDefinitionId": DEFINITION, "caseId": FOREIGN_ID, "recordId": FOREIGN_ID},
            G1,
            400,
        ),
    ],
)
def test_a_call_of_the_wrong_version_fails(line: str, body: dict[str, object], accept: str, status: int) -> None:
    """Without the version header a version 2 body is one of version 1, and has no case."""
    assert World().ask(line, body, accept=accept).status == status


@pytest.mark.parametrize(
    "accept, status",
    [
        ("text/html", 406),
        ("text/plain;version=2", 406),
        ("text/html, application/xml;q=0.9", 406),
        ("text/html, */*;q=0.8", 201),
        ("application/*", 201),
        ("APPLICATION/JSON; version=1", 201),
        ("", 201),
    ],
)
def test_who_takes_no_json_is_not_answered(accept: str, status: int) -> None:
    """The provider speaks nothing else; only a webhook key is plain text."""
    world = World()
    assert world.ask("POST /cases", {}, accept=accept).status == status
    assert world.ask(f"GET /auth/webhooks/key/{FOREIGN_ID}", accept="text/plain").status == 404
    assert World(strict=False).ask("POST /cases", {}, accept=accept).status == 201


def test_a_run_of_version_2_read_as_version_1_shows_no_case() -> None:
    """What the real provider says is unknown; here it is 200."""
    world = World()
    run = orjson.loads(world.run(recordId=FOREIGN_ID).body)
    expected = {"id": run["id"], "status": "RUNNING", "caseId": None}
    assert world.told(f"GET /workflows/{run['id']}", accept=NO_VERSION) == expected


def test_strictness_can_be_switched_off() -> None:
    """Then a call is taken for what it can be read as."""
    world = World(strict=False)
    assert world.ask("POST /workflows", BACKGROUND, accept=G2).status == 200
    assert world.ask("POST /tables/t/records", {}, accept=f"{NO_VERSION};version=1").status == 201
    assert world.ask("POST /cases", {"unknown": 1}).status == 201
    assert world.run(caseId=FOREIGN_ID).status == 200


@pytest.mark.parametrize(
    "members, status",
    [
        ({"personalNumber": "00000000000", "email": None, "lastName": ""}, 201),
        ({"phone": {"countryCode": "48", "number": "500500500"}, "documents": []}, 201),
        ({"documents": [{"resourceId": "r", "resourceName": "n", "resourcePath": "p"}]}, 201),
        ({"personalNumber": 1}, 400),
        ({"phone": "48500500500"}, 400),
        ({"phone": {"number": 500}}, 400),
        ({"phone": {"unknown": "1"}}, 400),
        ({"documents": {}}, 400),
        ({"documents": ["r"]}, 400),
        ({"documents": [{"resourceId": 1}]}, 400),
        ({"surname": "Example"}, 400),
    ],
)
def test_a_case_has_its_documented_members_and_types(members: dict[str, object], status: int) -> None:
    """All of them are optional, none is of another type, and there are no others."""
    assert World().ask("POST /cases", members, accept=G1).status == status


def test_a_case_tells_what_its_last_run_found_out() -> None:
    """The old way to a result: empty members are filled, and the output is there; ids only where that is set."""
    for settings in ({}, {"case_shows_workflow": True}):
        world = World(**settings)
        made = world.told("POST /cases", {"firstName": "Ada"}, accept=G1)
        run = world.told(
            "POST /workflows/run", {"workflowDefinitionId": DEFINITION, "caseId": made["caseId"]}, accept=G1
        )
        running = world.told(f"GET /cases/{made['caseId']}", accept=G1)
        assert running == made | ({"workflowId": run["id"], "status": "RUNNING"} if settings else {})
        world.later(100)
        done = world.told(f"GET /cases/{made['caseId']}", accept=G1)
        result = world.told(f"GET /workflows/{run['id']}/result", accept=G1)
        assert (done["partyDetails"], done["output"]) == (result["partyDetails"], result["output"])
        assert result["partyId"] == made["partyId"]
        assert done["partyDetails"]["personal"]["firstName"] == "Ada"
        assert done["partyDetails"]["personal"]["lastName"] == "Person-1"
        assert ("workflowId" in done) == bool(settings)


def test_an_organisation_token_is_sent_bare() -> None:
    """It opens every route; behind `Bearer` it is no token, and there may be others or none."""
    world = World(auth_required=True)

    def status(authorization: str) -> int:
        return world.ask("POST /workflows", BACKGROUND, accept=NO_VERSION, authorization=authorization).status

    assert [status("tot_simulator"), status("Bearer tot_simulator"), status("tot_other")] == [200, 401, 401]
    world = World(auth_required=True, organisation_tokens="tot_a,tot_other")
    assert [status("tot_simulator"), status("tot_a"), status("tot_other")] == [401, 200, 200]
    good = {"key": "simulator-key", "secret": "simulator-secret"}
    assert status(f"Bearer {world.told('POST /auth/authorize', good)['accessToken']}") == 200
