"""The provider's calls: what is sent, when, as whom, and what is made of the answer, over fakes and over sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import orjson
import pytest
from pydantic import SecretStr

from processor.adapters.access_token import credentials
from processor.adapters.api_requests import path_segment
from processor.adapters.calling import ApiCall
from processor.adapters.credential import Credentials
from processor.adapters.http import HttpClient, HttpFailure, HttpSettings, Reason
from processor.adapters.http_httpx import HttpxClient
from processor.adapters.workflows_api import WorkflowsApi
from processor.core.catalogue import CaseTemplate, Catalogue, RecordTemplate, Workflow
from processor.core.messages import CallAnswered, Create, ReadResult, ReadStatus, ResultRead, StartWorkflow, StatusRead
from processor.core.model import ApiVersion
from processor.core.proof import Operation, Proof
from processor.errors import SettingsInvalid
from processor.settings import ApiSettings, CredentialKind
from processor.simulator.server import Simulator, wall_clock
from processor.simulator.settings import settings_from
from tests.adapters.fake_http import Answer, FakeCredential, FakeHttp, json_answer, one_for_all
from tests.adapters.faulty_server import Behaviour, answer, read_then_hang_up, read_then_reset, serving
from tests.adapters.http_adapters import ADAPTERS

NOW = 1_750_000_000_000
BASE_URL = "http://provider.test/base"
OLD, NEW = ("authorization", "Bearer old"), ("authorization", "Bearer new")
CATALOGUE = Catalogue(
    {
        "people": Workflow("people", "definition-2", record=RecordTemplate("my people", {}), parameters={}),
        "cases": Workflow("cases", "definition-1", api=ApiVersion.CASES, case=CaseTemplate({}), parameters={}),
    }
)
RUN = StartWorkflow("people", "request-1", 1, "record-1", "case-1", "parameters-1", NOW + 5_000, NOW + 35_000)
RECORD = Create(Operation.CREATE_RECORD, "people", "request-1", 1, b'{"name":"Ada"}')
OK = json_answer(200, {"id": "w-1", "recordId": "record-1", "status": "RUNNING"})
UNAUTHORIZED = json_answer(401, {})


class Calling:
    """The API over a fake client and credential, with what its listener was told and a clock that stands."""

    def __init__(self, *answers: Answer, headers: tuple[tuple[str, str] | None, ...] = (OLD,), **given: object) -> None:
        self.http = FakeHttp(*answers)
        self.credential = FakeCredential(*headers)
        self.told: list[tuple[str, str]] = []
        self.now = NOW
        api = ApiSettings.model_validate({"base_url": BASE_URL, **given})
        self.api = WorkflowsApi(
            CATALOGUE,
            api,
            self.http,
            one_for_all(self.credential),
            clock=lambda: self.now,
            tell=lambda operation, label, _: self.told.append((operation.value, label)),
        )

    async def sent(self, call: ApiCall) -> tuple[str, dict[str, str], object]:
        """Make a call; returns its request line, its headers and its body as JSON."""
        await self.api.perform(call)
        request = self.http.requests[-1]
        body = orjson.loads(request.body) if request.body is not None else None
        return f"{request.method} {request.url.removeprefix(BASE_URL)}", dict(request.headers), body


CREATE_CASE = Create(Operation.CREATE_CASE, "cases", "request-1", 1, b'{"firstName":"Ada"}')
PARAMETERS = Create(Operation.SET_PARAMETERS, "cases", "request-1", 1, b'{"n":[1]}')
REQUESTS: dict[str, tuple[ApiCall, int, str, object]] = {
    "record": (RECORD, 2, "POST /tables/my%20people/records", {"name": "Ada"}),
    "case": (CREATE_CASE, 1, "POST /cases", {"firstName": "Ada"}),
    "parameters": (
        PARAMETERS,
        1,
        "POST /parameters",
        {"workflowDefinitionId": "definition-1", "parameters": {"n": [1]}},
    ),
    "run of version 2": (
        RUN,
        2,
        "POST /workflows/run",
        {"workflowDefinitionId": "definition-2", "recordId": "record-1", "parametersId": "parameters-1"},
    ),
    "run of version 1": (
        replace(RUN, workflow="cases"),
        1,
        "POST /workflows/run",
        {"workflowDefinitionId": "definition-1", "caseId": "case-1", "parametersId": "parameters-1"},
    ),
    "run of nothing": (
        replace(RUN, record_id=None, parameters_id=None),
        2,
        "POST /workflows/run",
        {"workflowDefinitionId": "definition-2"},
    ),
    "status": (ReadStatus("cases", "w-1", 1), 1, "GET /workflows/w-1", None),
    "status of a stranger": (ReadStatus(None, "w-1", 1), 2, "GET /workflows/w-1", None),
    "status of a workflow that left": (ReadStatus("gone", "w-1", 1), 2, "GET /workflows/w-1", None),
    "result": (ReadResult("people", "w:1 é", 1), 2, "GET /workflows/w%3A1%20%C3%A9/result", None),
}


@pytest.mark.parametrize("case", REQUESTS)
async def test_each_call_is_sent_as_the_provider_documents_it(case: str) -> None:
    """Path, version, credential and body; ids that were not made are left out."""
    call, version, line, body = REQUESTS[case]
    told_line, headers, told_body = await Calling(OK).sent(call)
    assert (told_line, told_body) == (line, body)
    assert headers["accept"] == f"application/json;version={version}"
    assert headers["authorization"] == "Bearer old"
    assert headers.get("content-type") == ("application/json" if body is not None else None)


async def test_names_and_places_are_settings() -> None:
    """What the provider does not document can be set without a new build."""
    calling = Calling(
        OK,
        parameters_path="/v1/sets",
        parameters_definition_member="definition",
        parameters_member="values",
        content_type="application/json;version=2",
        version=1,
    )
    line, headers, body = await calling.sent(PARAMETERS)
    assert (line, body) == ("POST /v1/sets", {"definition": "definition-1", "values": {"n": [1]}})
    assert headers["content-type"] == "application/json;version=2"
    assert (await calling.sent(ReadStatus(None, "w-1", 1)))[1]["accept"] == "application/json;version=1"


async def test_the_idempotency_key_tells_calls_apart() -> None:
    """A repeated creation has the key of the first, a new attempt to run has its own; no key shows a request id."""
    calling = Calling(OK)

    async def key(call: ApiCall) -> str:
        return (await calling.sent(call))[1]["idempotency-key"]

    assert await key(RECORD) == await key(replace(RECORD, attempt=2))
    assert await key(RUN) == await key(RUN)
    different: list[ApiCall] = [
        RUN,
        replace(RUN, attempt=2),
        replace(RUN, request_id="request-2\r\n\ud83d"),
        RECORD,
        PARAMETERS,
    ]
    keys = [await key(call) for call in different]
    assert len(set(keys)) == len(different)
    assert all(len(one) == 32 and one.isalnum() for one in keys)


async def test_a_read_has_no_idempotency_key() -> None:
    """It is harmless by itself."""
    assert "idempotency-key" not in (await Calling(OK).sent(ReadResult("people", "w-1", 1)))[1]


UNSENDABLE: dict[str, tuple[ApiCall, Proof]] = {
    "run of a workflow that left": (replace(RUN, workflow="gone"), Proof.NOT_SENT),
    "record of a workflow that left": (replace(RECORD, workflow="gone"), Proof.NOT_SENT),
    "record of a workflow without one": (replace(RECORD, workflow="cases"), Proof.NOT_SENT),
    "text that no JSON can hold": (replace(RUN, record_id="\ud83d"), Proof.NOT_SENT),
    "run at its time": (replace(RUN, send_before=NOW), Proof.NOT_SENT),
    "run after its deadline": (replace(RUN, deadline_at=NOW - 1), Proof.NOT_SENT),
    "status of an odd id": (ReadStatus("people", "../auth", 1), Proof.REFUSED),
    "result of an odd id": (ReadResult("people", "", 1), Proof.REFUSED),
}


@pytest.mark.parametrize("case", UNSENDABLE)
async def test_what_cannot_be_sent_is_said_without_a_request(case: str) -> None:
    """Not sent where that may change; refused where the id can never be an address."""
    call, proof = UNSENDABLE[case]
    calling = Calling(OK)
    assert (await calling.api.perform(call)).proof is proof
    assert (calling.http.requests, calling.told) == ([], [])


@pytest.mark.parametrize(
    "text, segment",
    [
        ("9e8d7c6b-0000-4000-8000-0000000000e1", "9e8d7c6b-0000-4000-8000-0000000000e1"),
        ("a.b_c~d", "a.b_c~d"),
        ("a b", "a%20b"),
        ("...", "..."),
        ("x" * 200, "x" * 200),
        ("x" * 201, None),
        (".", None),
        ("..", None),
        ("a/b", None),
        ("a\\b", None),
        ("a%2fb", None),
        ("a?b", None),
        ("a#b", None),
        ("a\nb", None),
        ("\ud83d", None),
    ],
)
def test_an_id_never_leads_to_another_address(text: str, segment: str | None) -> None:
    """It is one quoted segment of the path, or none."""
    assert path_segment(text) == segment


DEADLINES: list[tuple[ApiCall, float]] = [
    (RECORD, 15.0),
    (ReadStatus("people", "w-1", 1), 15.0),
    (ReadResult("people", "w-1", 1), 15.0),
    (RUN, 30.0),
    (replace(RUN, deadline_at=NOW + 7_500), 7.5),
]


@pytest.mark.parametrize("call, deadline_s", DEADLINES)
async def test_a_call_has_the_deadline_of_its_kind(call: ApiCall, deadline_s: float) -> None:
    """A run also ends before the deadline that its intent wrote down."""
    calling = Calling(OK)
    await calling.api.perform(call)
    assert calling.http.requests[0].deadline_s == deadline_s


async def test_without_a_token_nothing_is_sent() -> None:
    """The gate is closed then; a call that slipped through says so and spends nothing."""
    calling = Calling(OK, headers=(None,))
    assert (calling.api.is_ready(), calling.api.why_not()) == (False, "told so")
    told = await calling.api.perform(RUN)
    assert (told.proof, told.why, calling.http.requests) == (Proof.NOT_SENT, "no access token", [])


@pytest.mark.parametrize("call", [RUN, RECORD, ReadStatus("people", "w-1", 1)])
async def test_401_renews_the_token_and_repeats_once(call: ApiCall) -> None:
    """The repeat is the same call with the new token, and the listener hears of the last answer."""
    calling = Calling(UNAUTHORIZED, OK, headers=(OLD, NEW))
    told = await calling.api.perform(call)
    assert told.proof is Proof.DONE
    assert calling.credential.renewals == [OLD]
    first, second = calling.http.requests
    assert [header for header in second.headers if header not in first.headers] == [NEW]
    assert (second.url, second.body) == (first.url, first.body)
    assert second.deadline_s <= first.deadline_s
    assert [label for _, label in calling.told] == ["200"]


AFTER_401: dict[str, tuple[tuple[Answer, ...], tuple[tuple[str, str] | None, ...], Proof, int]] = {
    "401 again": ((UNAUTHORIZED,), (OLD, NEW), Proof.OUR_FAULT, 2),
    "no other token exists": ((UNAUTHORIZED,), (OLD,), Proof.OUR_FAULT, 1),
    "no token for now": ((UNAUTHORIZED,), (OLD, None), Proof.WAIT, 1),
    "the repeat is not sent": ((UNAUTHORIZED, HttpFailure(Reason.CONNECT)), (OLD, NEW), Proof.NOT_SENT, 2),
    "the repeat is not answered": ((UNAUTHORIZED, HttpFailure(Reason.TIMEOUT)), (OLD, NEW), Proof.UNKNOWN, 2),
    "the repeat is refused": ((UNAUTHORIZED, json_answer(422, {})), (OLD, NEW), Proof.REFUSED, 2),
}


@pytest.mark.parametrize("case", AFTER_401)
async def test_what_comes_after_401_decides(case: str) -> None:
    """Nothing was executed before; while no token is to be had, the fault is not the workflow's."""
    answers, headers, proof, requests = AFTER_401[case]
    calling = Calling(*answers, headers=headers)
    assert (await calling.api.perform(RUN)).proof is proof
    assert len(calling.http.requests) == requests


async def test_no_run_is_repeated_after_its_time() -> None:
    """A renewal may take longer than the run has left; not executed, it may come again."""
    calling = Calling(UNAUTHORIZED, OK, headers=(OLD, NEW))
    told = await calling.api.perform(replace(RUN, deadline_at=NOW + 1, send_before=NOW + 1))
    assert told.proof in {Proof.WAIT, Proof.DONE}
    endless = Endless(OLD)
    api = WorkflowsApi(
        CATALOGUE,
        ApiSettings(base_url=BASE_URL),
        calling.http,
        one_for_all(endless),
        clock=lambda: NOW,
        tell=lambda *_: None,
    )
    calling.http.answers = [UNAUTHORIZED]
    told = await api.perform(replace(RUN, deadline_at=NOW + 20))
    assert (told.proof, told.why) == (Proof.WAIT, "HTTP 401, no new access token now")


READ = ReadStatus("people", "workflow-1", 1)


@pytest.mark.parametrize("call,kind", [(RECORD, "create"), (PARAMETERS, "create"), (RUN, "start"), (READ, "read")])
async def test_each_kind_of_calls_has_its_credential(call: ApiCall, kind: str) -> None:
    """Creations, starts and reads may be somebody else's each; a 401 renews only the one that met it."""
    held = {kind: FakeCredential(("authorization", f"{kind}"), NEW) for kind in CredentialKind}
    http = FakeHttp(UNAUTHORIZED, OK)
    api = WorkflowsApi(
        CATALOGUE, ApiSettings(base_url=BASE_URL), http, Credentials(held), clock=lambda: NOW, tell=lambda *_: None
    )
    await api.perform(call)
    assert [dict(request.headers)["authorization"] for request in http.requests] == [kind, NEW[1]]
    assert [one for one, credential in held.items() if credential.renewals] == [kind]


class Endless(FakeCredential):
    """Never done with a renewal."""

    async def renew(self, stale: tuple[str, str]) -> tuple[str, str] | None:
        await asyncio.Event().wait()
        return stale


@pytest.mark.parametrize("failure", [409, 429, 500, 503])
async def test_no_other_answer_is_followed_by_a_second_request(failure: int) -> None:
    """Whether and when to repeat is the decider's to say."""
    calling = Calling(json_answer(failure, {}), headers=(OLD, NEW))
    await calling.api.perform(RUN)
    assert len(calling.http.requests) == 1
    assert calling.told == [("run", str(failure))]


async def test_the_listener_hears_why_there_is_no_answer() -> None:
    """A word of the closed list of reasons."""
    calling = Calling(HttpFailure(Reason.DISCONNECTED))
    await calling.api.perform(RECORD)
    assert calling.told == [("create-record", "disconnected")]


async def test_an_answer_that_breaks_the_reading_is_unknown() -> None:
    """A mistake of ours while reading may not lose the call: it was sent."""
    calling = Calling(json_answer(422, {}))
    del calling.now  # The clock is broken from here on.
    told = await calling.api.perform(RECORD)
    assert (told.proof, told.why) == (Proof.UNKNOWN, "unreadable answer, AttributeError")


def test_a_version_that_this_build_does_not_speak_stops_the_start() -> None:
    """Nothing of such a workflow could be sent as meant."""
    catalogue = Catalogue({"three": Workflow("three", "d", api=ApiVersion.TABLES)})
    with pytest.raises(SettingsInvalid, match="three"):
        WorkflowsApi(
            catalogue,
            ApiSettings(),
            FakeHttp(OK),
            one_for_all(FakeCredential(OLD)),
            clock=lambda: NOW,
            tell=lambda *_: None,
        )


def over(client: HttpClient, base_url: str) -> WorkflowsApi:
    """Return the API over a real client, with a token that never changes and the real clock."""
    api = ApiSettings(base_url=base_url)
    return WorkflowsApi(
        CATALOGUE, api, client, one_for_all(FakeCredential(OLD)), clock=wall_clock, tell=lambda *_: None
    )


def run_now() -> StartWorkflow:
    """Return a run whose time has come."""
    now = wall_clock()
    return replace(RUN, send_before=now + 5_000, deadline_at=now + 35_000)


LENGTH_20 = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n"
BEHAVIOURS: dict[str, tuple[Behaviour, Proof]] = {
    "hung up after reading the run": (read_then_hang_up, Proof.UNKNOWN),
    "reset after reading the run": (read_then_reset, Proof.UNKNOWN),
    "answer cut": (answer(LENGTH_20 + b'{"id":"w-1"}'), Proof.UNKNOWN),
    "not HTTP": (answer(b"hello\r\n\r\n"), Proof.UNKNOWN),
    "refusal cut": (answer(LENGTH_20.replace(b"200 OK", b"422 No")), Proof.UNKNOWN),
    "refusal whole": (answer(b"HTTP/1.1 422 No\r\nContent-Length: 2\r\n\r\n{}"), Proof.REFUSED),
    "answer whole": (answer(LENGTH_20.replace(b"20\r", b"12\r") + b'{"id":"w-1"}'), Proof.DONE),
}


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_what_a_faulty_server_leaves_of_a_run(adapter: str) -> None:
    """Read and hung up is unknown, not reached is not sent, whichever client is used; never is it sent twice."""
    client = ADAPTERS[adapter](HttpSettings())
    for case, (behaviour, proof) in BEHAVIOURS.items():
        async with serving(behaviour) as server:
            base_url = f"http://127.0.0.1:{server.port}"
            assert (await over(client, base_url).perform(run_now())).proof is proof, case
            assert len(server.requests) == 1, case
    refused = await over(client, base_url).perform(run_now())  # Nobody listens there any more.
    assert (refused.proof, refused.why) == (Proof.NOT_SENT, "connect")
    await client.close()


@asynccontextmanager
async def simulated(**given: object) -> AsyncIterator[tuple[Simulator, WorkflowsApi]]:
    """Start a simulator, and the whole API over it with real clients and a real token."""
    simulator = Simulator(settings_from({"complete_at_once_rate": 1.0, **given}))
    api = ApiSettings(
        base_url=await simulator.start(), key=SecretStr("simulator-key"), secret=SecretStr("simulator-secret")
    )
    control, calls = HttpxClient(HttpSettings()), ADAPTERS["pyreqwest"](HttpSettings())
    held = credentials(api, control, lambda *_: None)
    held.start()
    try:
        await held.ready()
        yield simulator, WorkflowsApi(CATALOGUE, api, calls, held, clock=wall_clock, tell=lambda *_: None)
    finally:
        await held.close()
        await calls.close()
        await control.close()
        await simulator.stop()


async def made(api: WorkflowsApi, call: Create) -> str:
    """Create something and return its id."""
    told = await api.perform(call)
    assert isinstance(told, CallAnswered)
    assert (told.proof, told.why) == (Proof.DONE, "HTTP 201")
    assert told.made_id is not None
    return told.made_id


async def ran(api: WorkflowsApi, call: StartWorkflow) -> str:
    """Run a workflow and return its id."""
    told = await api.perform(call)
    assert isinstance(told, CallAnswered)
    assert told.proof is Proof.DONE, told.why
    assert told.made_id is not None
    return told.made_id


async def test_a_whole_onboarding_at_the_simulator() -> None:
    """Record, parameters, run, status and result of version 2; then a case of version 1, with a revoked token."""
    async with simulated() as (simulator, api):
        record_id = await made(api, RECORD)
        parameters_id = await made(api, replace(PARAMETERS, workflow="people"))
        run = replace(run_now(), record_id=record_id, case_id=None, parameters_id=parameters_id)
        workflow_id = await ran(api, run)
        status = await api.perform(ReadStatus("people", workflow_id, 1))
        assert status == StatusRead(1, Proof.DONE, "COMPLETED", record_id, None, None, "HTTP 200")
        result = await api.perform(ReadResult("people", workflow_id, 1))
        assert isinstance(result, ResultRead)
        assert result.proof is Proof.DONE
        assert len((result.body or "").encode()) == result.body_bytes > 0
        simulator.revoke_tokens()
        case_id = await made(api, CREATE_CASE)
        run = replace(run_now(), workflow="cases", record_id=None, case_id=case_id, parameters_id=None)
        workflow_id = await ran(api, run)
        status = await api.perform(ReadStatus("cases", workflow_id, 1))
        assert status == StatusRead(1, Proof.DONE, "COMPLETED", None, case_id, None, "HTTP 200")
        executed = [(entry.definition_id, entry.record_id, entry.case_id) for entry in simulator.ledger.runs]
        assert executed == [("definition-2", record_id, None), ("definition-1", None, case_id)]


FAULTS: dict[str, tuple[dict[str, object], Proof, int]] = {
    "throttled": ({"throttled_rate": 1.0}, Proof.WAIT, 0),
    "forbidden": ({"forbidden": True}, Proof.OUR_FAULT, 0),
    "down": ({"outage": True}, Proof.UNKNOWN, 0),
    "executed and failed": ({"run_5xx_executed_rate": 1.0}, Proof.UNKNOWN, 1),
    "executed and hung up": ({"run_hung_up_rate": 1.0}, Proof.UNKNOWN, 1),
    "executed and silent": ({"run_silent_rate": 1.0}, Proof.UNKNOWN, 1),
}


async def test_the_simulator_s_faults_prove_what_they_should() -> None:
    """No proof says that nothing ran where the ledger shows a run."""
    async with simulated(definitions="definition-2") as (simulator, api):
        bare = replace(RUN, record_id=None, case_id=None, parameters_id=None)
        unknown = replace(bare, workflow="cases", case_id="9e8d7c6b-0000-4000-8000-0000000000e1")
        now = wall_clock()
        told = await api.perform(replace(unknown, send_before=now + 5_000, deadline_at=now + 5_000))
        assert told.proof is Proof.OUR_FAULT
        for case, (faults, proof, runs) in FAULTS.items():
            before = len(simulator.ledger.runs)
            simulator.change_faults(**faults)
            now = wall_clock()
            told = await api.perform(replace(bare, send_before=now + 5_000, deadline_at=now + 200))
            assert (told.proof, len(simulator.ledger.runs) - before) == (proof, runs), case
            simulator.change_faults(**dict.fromkeys(faults, 0.0) | {"forbidden": False, "outage": False})
