"""The provider's API against the simulator: whole onboardings in each version, and what its faults prove."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from pydantic import SecretStr

from processor.adapters.access_token import credentials
from processor.adapters.http import HttpSettings
from processor.adapters.http_httpx import HttpxClient
from processor.adapters.http_pyreqwest import PyreqwestClient
from processor.adapters.workflows_api import WorkflowsApi
from processor.core.messages import (
    CallAnswered,
    CaseRead,
    Create,
    ReadCase,
    ReadResult,
    ReadStatus,
    ResultRead,
    StartWorkflow,
    StatusRead,
)
from processor.core.model import HOUR_MS, ApiVersion, StartInputs
from processor.core.proof import Operation, Proof
from processor.core.reference import reference_of
from processor.settings import ApiSettings
from processor.simulator.server import Simulator, wall_clock
from processor.simulator.settings import settings_from
from tests.adapters.api_calls import CASE, CATALOGUE, FOR_A_PERSON, PARAMETERS, RECORD, RUN, start

BY_PERSON = "definition-1,definition-2,definition-3"


@asynccontextmanager
async def simulated(*, has_token: bool = False, **given: object) -> AsyncIterator[tuple[Simulator, WorkflowsApi]]:
    """Start a simulator, and the whole API over it with real clients and a real token."""
    simulator = Simulator(settings_from({"complete_at_once_rate": 1.0, **given}))
    secrets = (
        {"token": SecretStr("tot_simulator")}
        if has_token
        else {"key": SecretStr("simulator-key"), "secret": SecretStr("simulator-secret")}
    )
    api = ApiSettings.model_validate({"base_url": await simulator.start(), **secrets})
    control, calls = HttpxClient(HttpSettings()), PyreqwestClient(HttpSettings())
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


def soon(call: StartWorkflow, **changed: object) -> StartWorkflow:
    """Return a start whose time has come, with other members changed."""
    now = wall_clock()
    return replace(call, send_before=now + 5_000, deadline_at=now + 35_000, **changed)  # type: ignore[arg-type]


async def answered(api: WorkflowsApi, call: Create | StartWorkflow) -> CallAnswered:
    """Make a call that is done."""
    told = await api.perform(call)
    assert isinstance(told, CallAnswered)
    assert told.proof is Proof.DONE, told.why
    return told


async def made(api: WorkflowsApi, call: Create | StartWorkflow) -> str:
    """Create or run something and return its id."""
    told = await answered(api, call)
    assert told.made_id is not None
    return told.made_id


async def has_result(api: WorkflowsApi, call: ReadResult) -> str:
    """Read a result that is there."""
    told = await api.perform(call)
    assert isinstance(told, ResultRead)
    assert told.proof is Proof.DONE, told.why
    assert told.body is not None
    assert len(told.body.encode()) == told.body_bytes > 0
    return told.body


async def test_an_onboarding_with_a_record() -> None:
    """Version 2: record, parameters, run that is completed at once, status and result; then a revoked token."""
    async with simulated() as (simulator, api):
        record_id = await made(api, RECORD)
        parameters_id = await made(api, replace(PARAMETERS, workflow="people", api=ApiVersion.RECORDS))
        simulator.revoke_tokens()
        run = await answered(api, soon(RUN, record_id=record_id, case_id=None, parameters_id=parameters_id))
        assert run.status == "COMPLETED"
        workflow_id = run.made_id or ""
        status = await api.perform(ReadStatus("people", workflow_id, 1))
        assert status == StatusRead(1, Proof.DONE, "COMPLETED", record_id, None, None, "HTTP 200")
        await has_result(api, ReadResult("people", workflow_id, 1))
        assert [(entry.definition_id, entry.record_id) for entry in simulator.ledger.runs] == [
            ("definition-2", record_id)
        ]


async def test_an_onboarding_with_a_case() -> None:
    """Version 1: case, parameters, run, status; the result from its own path and from the case, which shows the run."""
    v1 = ApiVersion.CASES
    async with simulated(case_shows_workflow=True) as (simulator, api):
        case_id = await made(api, CASE)
        parameters_id = await made(api, PARAMETERS)
        workflow_id = await made(api, soon(start(Operation.RUN, v1), case_id=case_id, parameters_id=parameters_id))
        status = await api.perform(ReadStatus("cases", workflow_id, 1, api=v1))
        assert status == StatusRead(1, Proof.DONE, "COMPLETED", None, case_id, None, "HTTP 200")
        by_workflow = await has_result(api, ReadResult("cases", workflow_id, 1, api=v1))
        by_case = await has_result(api, ReadResult("cases", workflow_id, 1, api=v1, case_id=case_id))
        assert case_id in by_workflow
        assert case_id in by_case
        shown = await api.perform(ReadCase("cases", "request-1", case_id, 1))
        assert shown == CaseRead("request-1", 1, Proof.DONE, workflow_id, "COMPLETED", None, "HTTP 200")
        assert [(entry.definition_id, entry.case_id) for entry in simulator.ledger.runs] == [("definition-1", case_id)]


async def test_an_onboarding_of_version_3() -> None:
    """Record, run with inline parameters by an organisation token; the status repeats our reference."""
    v3, ours = ApiVersion.TABLES, reference_of("request-1", "request-1")
    async with simulated(has_token=True) as (simulator, api):
        record_id = await made(api, replace(RECORD, workflow="tables", api=v3))
        inputs = StartInputs(b'{"orderId":"A-17","reference":"%b"}' % ours.encode())
        run = await answered(
            api,
            soon(start(Operation.RUN, v3, inputs=inputs), record_id=record_id, expires_at=wall_clock() + HOUR_MS),
        )
        assert (run.link, run.token, run.expires_ms) == (None, None, None)
        status = await api.perform(ReadStatus("tables", run.made_id or "", 1, api=v3))
        assert status == StatusRead(1, Proof.DONE, "COMPLETED", None, None, None, "HTTP 200", ours)
        await has_result(api, ReadResult("tables", run.made_id or "", 1, api=v3))
        (entry,) = simulator.ledger.runs
        assert (entry.definition_id, entry.record_id) == ("definition-3", record_id)


@pytest.mark.parametrize("version", [ApiVersion.CASES, ApiVersion.RECORDS])
async def test_links_tokens_and_mails(version: ApiVersion) -> None:
    """Each is issued with the life that its answer names, and none tells a workflow."""
    async with simulated(definitions=BY_PERSON, user_definitions=BY_PERSON) as (_, api):
        creation = replace(CASE, body=b'{"email":"ada@example.test"}') if version is ApiVersion.CASES else RECORD
        made_id = await made(api, creation)
        ids: dict[str, str] = {"case_id" if version is ApiVersion.CASES else "record_id": made_id}

        async def issued(operation: Operation) -> CallAnswered:
            told = await answered(api, soon(start(operation, version, inputs=FOR_A_PERSON), **ids))
            assert (told.made_id, told.status, told.why) == (None, None, "HTTP 201")
            return told

        token = await issued(Operation.ISSUE_TOKEN)
        assert (bool(token.token), token.link, token.expires_ms) == (True, None, 3_600_000)
        for operation in (Operation.ISSUE_LINK, Operation.SEND_LINK):
            link = await issued(operation)
            assert (bool(link.link), link.token, link.expires_ms) == (True, None, None)


async def test_a_start_of_version_3_for_a_person() -> None:
    """One answer tells workflow, link and token, and how long they live."""
    async with simulated(definitions=BY_PERSON, user_definitions=BY_PERSON) as (_, api):
        call = soon(start(Operation.RUN, ApiVersion.TABLES), record_id=None, expires_at=wall_clock() + HOUR_MS)
        told = await answered(api, call)
        assert all((told.made_id, told.link, told.token))
        assert HOUR_MS - 10_000 < (told.expires_ms or 0) <= HOUR_MS


async def test_a_mail_of_version_2_without_an_address_is_refused() -> None:
    """The provider cannot know where to."""
    async with simulated() as (_, api):
        told = await api.perform(soon(start(Operation.SEND_LINK, ApiVersion.RECORDS), record_id=None))
        assert (told.proof, told.why.partition(", fingerprint")[0]) == (
            Proof.REFUSED,
            "HTTP 400, codes MISSING_MEMBER",
        )


async def test_two_versions_side_by_side() -> None:
    """A workflow that moved on is still read in the version of its run."""
    async with simulated() as (_, api):
        case_id = await made(api, CASE)
        old = await made(api, soon(start(Operation.RUN, ApiVersion.CASES), workflow="people", case_id=case_id))
        new = await made(api, soon(RUN, record_id=None, parameters_id=None))
        told = await api.perform(ReadStatus("people", old, 1, api=ApiVersion.CASES))
        assert told == StatusRead(1, Proof.DONE, "COMPLETED", None, case_id, None, "HTTP 200")
        told = await api.perform(ReadStatus("people", new, 1))
        assert told == StatusRead(1, Proof.DONE, "COMPLETED", None, None, None, "HTTP 200")


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
    bare = replace(RUN, record_id=None, case_id=None, parameters_id=None)
    async with simulated(definitions="definition-2") as (simulator, api):
        unknown = soon(bare, workflow="cases", api=ApiVersion.CASES, case_id="9e8d7c6b-0000-4000-8000-0000000000e1")
        assert (await api.perform(unknown)).proof is Proof.OUR_FAULT
        for case, (faults, proof, runs) in FAULTS.items():
            before = len(simulator.ledger.runs)
            simulator.change_faults(**faults)
            told = await api.perform(replace(soon(bare), deadline_at=wall_clock() + 200))
            assert (told.proof, len(simulator.ledger.runs) - before) == (proof, runs), case
            simulator.change_faults(**dict.fromkeys(faults, 0.0) | {"forbidden": False, "outage": False})
