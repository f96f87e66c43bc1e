"""What the simulated provider does with each call: no sockets, and a clock that is a number."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from processor.simulator.ledger import entries_in
from processor.simulator.model import Answer, Conduct
from processor.simulator.routing import ROUTES, Router
from tests.adapters.simulator_world import DEFINITION, FOREIGN_ID, G1, G2, START, World


def test_each_route_is_found_and_nothing_else() -> None:
    """A path has one route at most; placeholders give what stands in them."""
    find = Router().find
    for route in ROUTES:
        path = "/" + "/".join("x" if part.startswith("{") else part for part in route.segments)
        found = find(route.method, path)
        assert found is not None
        assert found[0] is route
    assert find("GET", "/workflows/run/x/y") is None
    assert find("DELETE", "/cases/1") is None
    assert find("GET", "/") is None


def test_a_record_is_made_and_read_back() -> None:
    """The answer is the record's columns and the provider's own members."""
    world = World()
    columns = {"text": "Ada", "json": {"a": [1, None]}, "id": "mine"}
    made = world.told("POST /tables/people/records", columns)
    assert made == {
        **columns,
        "id": made["id"],
        "version": 1,
        "createdAt": "2023-11-14T22:13:20+00:00",
        "updatedAt": "2023-11-14T22:13:20+00:00",
    }
    assert made["id"] != "mine"
    assert world.told(f"GET /tables/people/records/{made['id']}") == made
    assert world.ask(f"GET /tables/others/records/{made['id']}").status == 404


def test_a_case_is_made_and_read_back() -> None:
    """Version 1 sorts what is known of a person and a company into party details."""
    world = World()
    made = world.told("POST /cases", {"firstName": "Ada", "companyName": "Example Ltd"}, accept=G1)
    assert made["partyDetails"]["personal"]["firstName"] == "Ada"
    assert made["partyDetails"]["business"]["companyName"] == "Example Ltd"
    assert made["partyDetails"]["documents"] == []
    assert world.told(f"GET /cases/{made['caseId']}") == made
    assert world.ask("GET /cases/unknown").status == 404


def test_a_version_2_run_goes_from_running_to_its_result() -> None:
    """Run, status, result and webhook speak of one workflow and one record."""
    world = World()
    record_id = world.told("POST /tables/people/records", {"ref": "r-1"})["id"]
    parameters = {"workflowDefinitionId": DEFINITION, "parameters": {"orderId": "A-17"}}
    parameters_id = world.told("POST /parameters", parameters)["id"]
    run = orjson.loads(world.run(recordId=record_id, parametersId=parameters_id).body)
    assert run == {"id": run["id"], "recordId": record_id, "status": "RUNNING"}
    assert world.ask(f"GET /workflows/{run['id']}/result").status == 404
    world.later(99)
    assert world.told(f"GET /workflows/{run['id']}") == run
    world.later(1)
    assert world.told(f"GET /workflows/{run['id']}") == run | {"status": "COMPLETED"}
    result = world.told(f"GET /workflows/{run['id']}/result")
    assert result["output"]["decision"] in {"approved", "rejected", "review"}
    assert result["output"]["subject"]["personal"]["email"].endswith("@example.test")
    assert "partyDetails" not in result
    told = {"type": "completed", "workflowId": run["id"], "caseId": None, "recordId": record_id, "status": "COMPLETED"}
    assert world.webhooks == [(100, told)]


def test_a_version_1_run_needs_a_case_and_tells_of_it() -> None:
    """Without the version header the old shape counts, also for reading."""
    world = World()
    case_id = world.told("POST /cases", {"lastName": "Example"}, accept=G1)["caseId"]
    body = {"workflowDefinitionId": DEFINITION, "caseId": case_id}
    run = world.told("POST /workflows/run", body, accept=G1)
    assert run == {"id": run["id"], "caseId": case_id, "status": "RUNNING"}
    world.later(100)
    result = world.told(f"GET /workflows/{run['id']}/result", accept="*/*")
    assert result["caseId"] == case_id
    assert result["partyDetails"]["personal"]["lastName"]
    without_case = {"workflowDefinitionId": DEFINITION, "recordId": FOREIGN_ID}
    assert world.ask("POST /workflows/run", without_case, accept=G1).status == 400


@pytest.mark.parametrize(
    "line, body, status",
    [
        ("POST /workflows/run", b"{", 400),
        ("POST /workflows/run", [], 400),
        ("POST /workflows/run", {}, 400),
        ("POST /workflows/run", {"workflowDefinitionId": 1}, 400),
        ("POST /workflows/run", {"workflowDefinitionId": "unknown"}, 404),
        ("POST /workflows/run", {"workflowDefinitionId": DEFINITION, "recordId": "no-uuid"}, 400),
        ("POST /workflows/run", {"workflowDefinitionId": DEFINITION, "recordId": FOREIGN_ID}, 404),
        ("POST /workflows/run", {"workflowDefinitionId": DEFINITION, "parametersId": FOREIGN_ID}, 404),
        ("POST /workflows/run", {"workflowDefinitionId": DEFINITION, "parametersId": 1}, 400),
        ("POST /parameters", {"workflowDefinitionId": "unknown", "parameters": {}}, 404),
        ("POST /parameters", {"workflowDefinitionId": DEFINITION, "parameters": []}, 400),
        ("POST /tables/people/records", b"\xff", 400),
        ("GET /workflows/unknown", None, 404),
        ("GET /nowhere", None, 404),
    ],
)
def test_bad_calls_are_refused_in_the_documented_shape(line: str, body: object, status: int) -> None:
    """A refusal has a fingerprint and a list of errors, and nothing is executed."""
    world = World(definitions=DEFINITION, unknown_ids_refused=True)
    answer = world.ask(line, body)
    assert answer.status == status
    refusal = orjson.loads(answer.body)
    assert set(refusal) == {"fingerprint", "errors"}
    assert [set(error) for error in refusal["errors"]] == [{"code", "message"}]
    assert world.provider.ledger.runs == ()


def test_ids_from_elsewhere_are_accepted_unless_that_is_refused() -> None:
    """A request may bring a record that the simulator did not make."""
    assert World().run(recordId=FOREIGN_ID).status == 200


def test_content_type_and_version_are_checked() -> None:
    """Two mistakes of configuration that a real server answers at once."""
    world = World()
    body = {"workflowDefinitionId": DEFINITION}
    assert world.ask("POST /workflows/run", body, content_type="text/plain").status == 415
    assert world.ask("POST /workflows/run", body, content_type=G2).status == 200
    assert world.ask("POST /workflows/run", body, accept="application/json; version=3").status == 406
    assert world.ask("POST /workflows/run", body, accept="application/json; version=2").status == 200


def test_tokens_are_needed_expire_and_are_renewed() -> None:
    """Authorize gives tokens for a key and a secret; refresh gives another for the refresh token."""
    world = World(auth_required=True, token_s=60)
    good = {"key": "simulator-key", "secret": "simulator-secret"}
    assert world.ask("POST /auth/authorize", {"key": "simulator-key"}).status == 400
    assert world.ask("POST /auth/authorize", good | {"secret": "x"}).status == 401
    tokens = world.told("POST /auth/authorize", good)
    assert (tokens["expiryDuration"], tokens["tokenType"]) == (60, "Bearer")
    assert tokens["accessToken"].count(".") == 2

    def status(authorization: str) -> int:
        return world.ask("POST /cases", {}, authorization=authorization).status

    assert [status(""), status(tokens["accessToken"]), status("Bearer x")] == [401, 401, 401]
    assert status(f"Bearer {tokens['accessToken']}") == 201
    world.later(60_000)
    assert status(f"Bearer {tokens['accessToken']}") == 401
    renewed = world.told("POST /auth/refresh", {"refreshToken": tokens["refreshToken"]})
    assert status(f"Bearer {renewed['accessToken']}") == 201
    world.api.credentials.revoke()
    assert status(f"Bearer {renewed['accessToken']}") == 401
    assert world.ask("POST /auth/refresh", {"refreshToken": renewed["accessToken"]}).status == 401


@pytest.mark.parametrize(
    "fault, line, status",
    [
        ({"outage": True}, "POST /workflows/run", 503),
        ({"outage": True}, "POST /auth/authorize", 503),
        ({"outage_every_s": 10, "outage_for_s": 10}, "POST /cases", 503),
        ({"forbidden": True}, "POST /workflows/run", 403),
        ({"credentials_refused": True}, "POST /auth/authorize", 401),
        ({"keys_down": True}, f"GET /auth/webhooks/key/{FOREIGN_ID}", 503),
        ({"throttled_rate": 1}, "POST /workflows/run", 429),
        ({"throttled_rate": 1}, "GET /workflows/x", 429),
    ],
)
def test_a_fault_before_the_handler_executes_nothing(fault: dict[str, object], line: str, status: int) -> None:
    """Each switch answers with its status on every route it is about."""
    world = World(**fault)
    assert world.ask(line, {"workflowDefinitionId": DEFINITION}).status == status
    assert world.provider.ledger.runs == ()
    assert world.provider.contents.counts() == {"record": 0, "case": 0, "parameters": 0}


def test_an_outage_window_comes_at_the_end_of_each_period() -> None:
    """Two seconds of each ten are dark, and the rest is as always."""
    world = World(outage_every_s=10, outage_for_s=2)
    seen = []
    for _ in range(20):
        seen.append(world.ask("POST /cases", {}).status)
        world.later(1000)
    assert seen == ([201] * 8 + [503] * 2) * 2


def test_a_429_says_when_to_come_again() -> None:
    """The header stands there unless it is switched off."""
    assert World(throttled_rate=1, retry_after_s=7).ask("POST /cases", {}).headers == (("Retry-After", "7"),)
    assert World(throttled_rate=1, retry_after_s=0).ask("POST /cases", {}).headers == ()


def test_5xx_of_reads_and_creations_spares_runs() -> None:
    """Runs have rates of their own, because it matters whether they were executed."""
    world = World(error_5xx_rate=1)
    assert world.ask("POST /cases", {}).status in {500, 502, 503, 504}
    assert world.ask("GET /cases/x").status in {500, 502, 503, 504}
    assert world.run().status == 200
    assert world.provider.contents.counts()["case"] == 0


@pytest.mark.parametrize(
    "fault, conduct, statuses, answered",
    [
        ("run_5xx_unexecuted_rate", Conduct.ANSWER, (500, 502, 503, 504), []),
        ("run_5xx_executed_rate", Conduct.ANSWER, (500, 502, 503, 504), ["error"]),
        ("run_silent_rate", Conduct.SILENT, (200,), ["no"]),
        ("run_hung_up_rate", Conduct.HANG_UP, (200,), ["dropped"]),
        ("run_ghost_rate", Conduct.SILENT, (0,), []),
    ],
)
def test_the_ledger_tells_the_truth_about_a_run(
    fault: str, conduct: Conduct, statuses: tuple[int, ...], answered: list[str]
) -> None:
    """What the caller hears says nothing about what was executed; the ledger does."""
    world = World(**{fault: 1})
    answer = world.run()
    assert answer.conduct is conduct
    assert answer.status in statuses
    assert [run.answered for run in world.provider.ledger.runs] == answered


def test_a_ghost_is_executed_long_after_the_caller_gave_up() -> None:
    """Nothing is in the ledger until its time has come; then it runs to its end, webhook included."""
    world = World(run_ghost_rate=1, ghost_delay_ms=60_000)
    world.run()
    world.later(59_999)
    assert world.provider.ledger.seq == 0
    world.later(1)
    (run,) = world.provider.ledger.runs
    assert (run.executed_at - START, run.answered, run.status) == (60_000, "no", "RUNNING")
    world.later(100)
    assert [told["status"] for _, told in world.webhooks] == ["COMPLETED"]


def test_a_run_can_end_at_once() -> None:
    """The answer itself says so, and a webhook follows all the same."""
    world = World(complete_at_once_rate=1)
    assert orjson.loads(world.run().body)["status"] == "COMPLETED"
    world.later(0)
    assert [at for at, _ in world.webhooks] == [0]


def test_a_run_can_fail() -> None:
    """Its status is the failure word, its result has no decision."""
    world = World(failed_rate=1, failed_status="REJECTED")
    workflow_id = orjson.loads(world.run().body)["id"]
    world.later(100)
    assert world.told(f"GET /workflows/{workflow_id}")["status"] == "REJECTED"
    assert world.told(f"GET /workflows/{workflow_id}/result")["output"]["decision"] is None


@pytest.mark.parametrize(
    "fault, expected",
    [
        ({}, [100]),
        ({"webhook_lost_rate": 1}, []),
        ({"webhook_doubled_rate": 1}, [100, 100]),
        ({"webhook_delay_ms": 50}, [150]),
        ({"webhook_lost_rate": 1, "webhook_doubled_rate": 1}, []),
    ],
)
def test_webhooks_are_lost_doubled_and_delayed(fault: dict[str, object], expected: list[int]) -> None:
    """The milliseconds after the run at which a webhook leaves."""
    world = World(**fault)
    world.run()
    world.later(1000)
    assert [at for at, _ in world.webhooks] == expected


def test_a_result_can_come_later_than_the_end() -> None:
    """The status says COMPLETED while the result still answers 404."""
    world = World(result_delay_ms=30)
    workflow_id = orjson.loads(world.run().body)["id"]
    world.later(129)
    assert world.told(f"GET /workflows/{workflow_id}")["status"] == "COMPLETED"
    assert world.ask(f"GET /workflows/{workflow_id}/result").status == 404
    world.later(1)
    assert world.ask(f"GET /workflows/{workflow_id}/result").status == 200


def test_the_record_can_be_hidden() -> None:
    """It is unknown whether the provider tells the record; without it no run can be adopted by record."""
    assert "recordId" not in orjson.loads(World(status_hides_record=True).run(recordId=FOREIGN_ID).body)


def test_marked_content_is_refused() -> None:
    """A marker in a record refuses its creation, another one refuses the run on it or with it."""
    world = World()
    assert world.ask("POST /tables/t/records", {"text": "simulator-refuses-record"}).status == 400
    record_id = world.told("POST /tables/t/records", {"text": "simulator-refuses-run"})["id"]
    assert world.run(recordId=record_id).status == 400
    values = {"workflowDefinitionId": DEFINITION, "parameters": {"a": "simulator-refuses-run"}}
    assert world.run(parametersId=world.told("POST /parameters", values)["id"]).status == 400
    assert world.provider.ledger.runs == ()
    assert World(refused_rate=0).ask("POST /cases", {"firstName": "simulator-refuses-record"}).status == 201


MIXED = {
    "latency_ms": "1..9",
    "completion_ms": "50..500",
    "complete_at_once_rate": 0.2,
    "failed_rate": 0.2,
    "webhook_lost_rate": 0.2,
    "webhook_doubled_rate": 0.2,
    "webhook_delay_ms": "0..50",
    "throttled_rate": 0.1,
    "run_5xx_unexecuted_rate": 0.1,
    "run_5xx_executed_rate": 0.1,
    "run_silent_rate": 0.1,
    "run_hung_up_rate": 0.1,
    "run_ghost_rate": 0.1,
    "ghost_delay_ms": "100..900",
}


def history(seed: int) -> tuple[list[Answer], list[Any]]:
    """Run a hundred workflows under every fault; returns all answers and webhooks."""
    world = World(seed=seed, **MIXED)
    answers = []
    for _ in range(100):
        answers.append(world.run())
        world.later(10)
    world.later(2000)
    return answers, world.webhooks


def test_the_seed_decides_everything() -> None:
    """The same calls at the same instants meet the same ids, faults, ends and webhooks; another seed others."""
    first = history(1)
    assert history(1) == first
    assert history(2) != first
    answers, webhooks = first
    assert len({answer.conduct for answer in answers}) == 3
    assert {"COMPLETED", "FAILED"} == {told["status"] for _, told in webhooks}


def test_memory_is_bounded() -> None:
    """The oldest runs and contents are forgotten; the ledger says from which number on it knows."""
    world = World(runs_max=3, contents_max=2)
    for _ in range(5):
        world.run()
        world.told("POST /cases", {})
    assert [run.seq for run in world.provider.ledger.runs] == [3, 4, 5]
    assert world.provider.ledger.first_seq == 3
    assert world.provider.contents.counts()["case"] == 2


def test_the_ledger_is_paged_by_number() -> None:
    """Whoever has read up to a number asks for what came after it, also when some of it is forgotten."""
    world = World(runs_max=4)
    for _ in range(6):
        world.run()
    pages = [[run.seq for run in world.provider.ledger.page(since, 2)] for since in (0, 2, 4, 5, 6, 9)]
    assert pages == [[3, 4], [3, 4], [5, 6], [6], [], []]


def test_the_ledger_file_survives_a_crash(tmp_path: Path) -> None:
    """A new process takes up runs, ends and contents, cuts off a torn line, and draws other ids."""
    path = tmp_path / "ledger.jsonl"
    world = World(ledger_file=str(path), run_hung_up_rate=1)
    record_id = world.told("POST /tables/t/records", b'{\n "ref": "r-1"\n}')["id"]
    world.run(recordId=record_id)
    world.later(100)
    world.run(recordId=record_id)
    with path.open("ab") as file:
        file.write(b'{"kind":"run","seq":3,"workf')
    assert len(entries_in(path)) == 2

    heir = World(ledger_file=str(path))
    ended, running = heir.provider.ledger.runs
    assert [ended.status, running.status] == ["COMPLETED", "RUNNING"]
    assert orjson.loads(running.asked.columns) == {"ref": "r-1"}
    assert heir.told(f"GET /tables/t/records/{record_id}")["ref"] == "r-1"
    heir.run(recordId=record_id)
    heir.later(1000)
    assert len(heir.webhooks) == 2  # The first one was told of before the crash.
    entries = entries_in(path)
    assert [(entry["seq"], entry["status"], entry["answered"]) for entry in entries] == [
        (1, "COMPLETED", "dropped"),
        (2, "COMPLETED", "dropped"),
        (3, "COMPLETED", "yes"),
    ]
    assert len({entry["workflowId"] for entry in entries}) == 3
    assert {entry["columns"]["ref"] for entry in entries} == {"r-1"}


def test_no_id_comes_twice_from_one_ledger_file(tmp_path: Path) -> None:
    """The seed alone would give the second process the ids of the first."""
    for _ in range(3):
        World(ledger_file=str(tmp_path / "ledger.jsonl")).run()
    assert len({entry["workflowId"] for entry in entries_in(tmp_path / "ledger.jsonl")}) == 3
