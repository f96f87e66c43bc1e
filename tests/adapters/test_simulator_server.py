"""The simulator over real sockets of this machine: what callers see on the wire."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from processor.simulator.ledger import entries_in
from processor.simulator.schedule import Schedule, Timer
from processor.simulator.server import Simulator, wall_clock
from processor.simulator.settings import settings_from
from tests.support.waiting import eventually

RUN = {"workflowDefinitionId": "d-1"}


@asynccontextmanager
async def running(**given: object) -> AsyncIterator[tuple[Simulator, aiohttp.ClientSession]]:
    """Start a simulator, and a client that holds a token and asks for version 2."""
    simulator = Simulator(settings_from({"completion_ms": 5, **given}))
    base_url = await simulator.start()
    try:
        async with aiohttp.ClientSession(base_url, headers={"Accept": "application/json;version=2"}) as client:
            credentials = {"key": "simulator-key", "secret": "simulator-secret"}
            async with client.post("/auth/authorize", json=credentials) as answer:
                client.headers["Authorization"] = f"Bearer {(await answer.json())['accessToken']}"
            yield simulator, client
    finally:
        await simulator.stop()


async def told(client: aiohttp.ClientSession, line: str, body: object = None) -> tuple[int, Any]:
    """Make one call, given as `METHOD /path`; returns its status and its JSON."""
    method, path = line.split(" ")
    async with client.request(method, path, json=body) as answer:
        text = await answer.text()
        return answer.status, json.loads(text) if text else None


async def test_a_whole_onboarding_over_http() -> None:
    """Record, parameters, run, status, result; then the ledger and the counters tell of it."""
    async with running() as (simulator, client):
        _, record = await told(client, "POST /tables/people/records", {"ref": "r-1"})
        _, parameters = await told(client, "POST /parameters", RUN | {"parameters": {"n": 1}})
        ids = {"recordId": record["id"], "parametersId": parameters["id"]}
        status, run = await told(client, "POST /workflows/run", RUN | ids)
        assert (status, run["status"]) == (200, "RUNNING")
        await eventually(lambda: simulator.counters.finished == 1)
        assert (await told(client, f"GET /workflows/{run['id']}"))[1] == run | {"status": "COMPLETED"}
        assert (await told(client, f"GET /workflows/{run['id']}/result"))[0] == 200
        status, ledger = await told(client, "GET /_simulator/ledger?since=0")
        (entry,) = ledger["entries"]
        assert (entry["workflowId"], entry["recordId"]) == (run["id"], record["id"])
        assert (entry["columns"], entry["parameters"]) == ({"ref": "r-1"}, {"n": 1})
        assert (entry["answered"], entry["status"]) == ("yes", "COMPLETED")
        assert entry["finishedAt"] >= entry["endsAt"] == entry["executedAt"] + 5
        assert (await told(client, "GET /_simulator/ledger?since=1"))[1]["entries"] == []
        _, counters = await told(client, "GET /_simulator/counters")
        assert counters["routes"]["POST /workflows/run"] == {"200": 1}
        assert (counters["executed"], counters["finished"], counters["held"]["record"]) == (1, 1, 1)
        assert len(simulator.ledger.runs) == 1


async def test_the_ledger_can_be_read_as_json_lines() -> None:
    """One entry a line, paged as the other form."""
    async with running() as (_, client):
        for _ in range(3):
            await told(client, "POST /workflows/run", RUN)
        async with client.get("/_simulator/ledger?format=jsonl&since=1&limit=1") as answer:
            assert answer.content_type == "application/x-ndjson"
            assert [json.loads(line)["seq"] for line in (await answer.text()).splitlines()] == [2]


async def test_faults_change_while_it_runs() -> None:
    """What is posted counts at once; what is unknown is refused by name and changes nothing."""
    async with running() as (simulator, client):
        assert (await told(client, "POST /_simulator/faults", {"forbidden": True, "latency_ms": "1..2"}))[0] == 200
        assert (await told(client, "POST /workflows/run", RUN))[0] == 403
        status, refusal = await told(client, "POST /_simulator/faults", {"forbiden": False})
        assert status == 400
        assert "forbiden" in refusal["errors"][0]["message"]
        assert (await told(client, "GET /_simulator/faults"))[1]["latency_ms"] == "1..2"
        simulator.change_faults(forbidden=False)
        assert (await told(client, "POST /workflows/run", RUN))[0] == 200
        assert (await told(client, "POST /_simulator/revoke"))[0] == 204
        assert (await told(client, "POST /workflows/run", RUN))[0] == 401


async def test_the_most_calls_at_once_are_counted() -> None:
    """For each route and for all of them, so that a limit of calls in flight can be checked from outside."""
    async with running() as (simulator, client):
        simulator.change_faults(latency_ms=20)
        calls = [told(client, "POST /workflows/run", RUN) for _ in range(3)]
        await asyncio.gather(*calls, told(client, "POST /cases", {}))
        _, counters = await told(client, "GET /_simulator/counters")
        assert counters["peaks"] == {"POST /auth/authorize": 1, "POST /workflows/run": 3, "POST /cases": 1}
        assert (counters["peak"], counters["over_limit"]) == (4, 0)


async def test_a_link_is_walked_over_http() -> None:
    """The simulator's own route plays the end user, and tells the workflow id that the provider does not."""
    async with running(user_absent_rate=1) as (simulator, client):
        status, issued = await told(client, "POST /link", RUN)
        assert status == 201
        status, walked = await told(client, "POST /_simulator/walk", issued)
        assert (status, walked) == (200, {"workflowId": simulator.ledger.runs[0].workflow_id})
        assert (await told(client, "POST /_simulator/walk", issued))[0] == 404
        _, counters = await told(client, "GET /_simulator/counters")
        assert (counters["links"], counters["held"]["link"]) == ({"link": 1, "walked": 1}, 1)


@pytest.mark.parametrize(
    "line, body",
    [
        ("GET /_simulator/ledger?since=x", None),
        ("POST /_simulator/targets", {"urls": "8080"}),
        ("POST /_simulator/targets", {"urls": ["ftp://x"]}),
        ("POST /_simulator/webhook", {"body": {}}),
        ("POST /_simulator/webhook", {"body": {}, "url": "http://127.0.0.1:1", "signature": "odd"}),
    ],
)
async def test_a_control_call_that_cannot_be_read_is_refused(line: str, body: object) -> None:
    """A mistake in a test's own call is an answer, not a stack trace."""
    async with running() as (_, client):
        assert (await told(client, line, body))[0] == 400
        assert (await told(client, "GET /_simulator/nothing"))[0] == 404


async def test_latency_delays_the_answer_and_not_the_execution() -> None:
    """A caller that gives up during the latency has run its workflow, and the ledger says that it heard nothing."""
    async with running() as (simulator, client):
        simulator.change_faults(latency_ms=60_000)
        call = asyncio.create_task(told(client, "POST /workflows/run", RUN))
        await eventually(lambda: simulator.ledger.runs != ())
        assert not call.done()
        call.cancel()
        await eventually(lambda: simulator.ledger.runs[0].answered == "no")
        assert simulator.counters.routes["POST /workflows/run"] == {"caller-gone": 1}


async def test_a_hung_up_call_was_executed() -> None:
    """The connection closes after the whole request was read, which no caller may take for `not sent`."""
    async with running(run_hung_up_rate=1) as (simulator, client):
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await told(client, "POST /workflows/run", RUN)
        assert [run.answered for run in simulator.ledger.runs] == ["dropped"]


async def test_a_silent_call_was_executed_and_ends_with_its_connection() -> None:
    """It is held open for the time of the setting, then closed."""
    async with running(run_silent_rate=1, silence_s=0.05) as (simulator, client):
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await told(client, "POST /workflows/run", RUN)
        assert [run.answered for run in simulator.ledger.runs] == ["no"]
        assert simulator.counters.routes["POST /workflows/run"] == {"silent": 1}


@pytest.mark.parametrize(
    "faults, outcome",
    [
        ({}, "200"),
        ({"run_silent_rate": 1, "silence_s": 0.01}, "silent"),
        ({"run_hung_up_rate": 1}, "hung-up"),
    ],
)
async def test_the_counters_can_be_read_whatever_became_of_a_call(faults: dict[str, object], outcome: str) -> None:
    """One that was hung up or silent is counted by a word, as every other one by its status."""
    async with running(**faults) as (_, client):
        with suppress(aiohttp.ServerDisconnectedError):
            await told(client, "POST /workflows/run", RUN)
        status, counters = await told(client, "GET /_simulator/counters")
        assert (status, counters["routes"]["POST /workflows/run"]) == (200, {outcome: 1})


async def test_the_counters_can_be_read_after_a_silent_call_whose_caller_went() -> None:
    """It counts as silent."""
    async with running(run_silent_rate=1) as (simulator, client):
        call = asyncio.create_task(told(client, "POST /workflows/run", RUN))
        await eventually(lambda: simulator.ledger.runs != ())
        call.cancel()
        await eventually(lambda: "POST /workflows/run" in simulator.counters.routes)
        status, counters = await told(client, "GET /_simulator/counters")
        assert (status, counters["routes"]["POST /workflows/run"]) == (200, {"silent": 1})


async def test_a_429_and_a_large_body_look_as_documented() -> None:
    """The header of the one, the status of the other."""
    async with running(throttled_rate=1, retry_after_s=3, body_bytes_max=100) as (_, client):
        async with client.post("/workflows/run", json=RUN) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "3")
        assert (await told(client, "POST /workflows/run", RUN | {"x": "y" * 100}))[0] == 413


async def test_a_port_that_is_taken_is_an_error() -> None:
    """The second simulator closes what it opened and says why."""
    async with running() as (_, client):
        assert client._base_url is not None  # noqa: SLF001  # aiohttp has no public name for it
        with pytest.raises(OSError, match="in use"):
            await Simulator().start(port=client._base_url.port or 0)  # noqa: SLF001  # as above


async def test_what_is_due_sooner_is_done_sooner_and_one_failing_action_stops_no_other() -> None:
    """The timer follows the head of the schedule, whatever came first and whatever it raises."""
    seen: list[str] = []
    schedule = Schedule()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: seen.append(str(context["exception"])))
    timer = Timer(schedule, wall_clock)
    schedule.at(wall_clock() + 60_000, lambda _now: seen.append("too soon"))
    schedule.at(0, lambda _now: dict[str, str]()["nothing"])
    schedule.at(0, lambda _now: seen.append("done"))
    await eventually(lambda: len(seen) == 2)
    timer.stop()
    assert seen == ["'nothing'", "done"]


SERVE = """
import sys
from processor.simulator.schedule import Schedule, Timer
from processor.simulator.server import serve
from processor.simulator.settings import settings_from
settings = settings_from({"ledger_file": sys.argv[1], "auth_required": False, "completion_ms": 60_000})
serve(settings, port=0, on_ready=lambda url: print(url, flush=True))
"""


def served(ledger_file: Path) -> tuple["subprocess.Popen[str]", str]:
    """Start a simulator in a process of its own; returns it and its base URL."""
    process = subprocess.Popen([sys.executable, "-c", SERVE, str(ledger_file)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


@pytest.mark.slow
async def test_a_killed_simulator_comes_back_with_its_ledger(tmp_path: Path) -> None:
    """What was executed before `kill -9` is in the file and known to the next process, which ends on SIGTERM with 0."""
    path = tmp_path / "ledger.jsonl"
    process, base_url = served(path)
    async with aiohttp.ClientSession(headers={"Accept": "application/json;version=2"}) as client:
        _, run = await told(client, f"POST {base_url}/workflows/run", RUN)
        process.kill()
        process.communicate()
        assert [entry["workflowId"] for entry in entries_in(path)] == [run["id"]]
        process, base_url = served(path)
        assert await told(client, f"GET {base_url}/workflows/{run['id']}") == (200, run)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 0
