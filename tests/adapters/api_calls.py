"""What the suites of the API adapter share: calls of every operation in every version; the API over a fake client."""

from dataclasses import replace

import orjson

from processor.adapters.calling import ApiCall
from processor.adapters.workflows_api import WorkflowsApi
from processor.core.catalogue import CaseTemplate, Catalogue, RecordTemplate, Workflow
from processor.core.messages import Create, ReadCase, ReadResult, ReadStatus, StartWorkflow
from processor.core.model import ApiVersion, StartInputs
from processor.core.proof import Operation
from processor.settings import ApiSettings
from tests.adapters.fake_http import Answer, FakeCredential, FakeHttp, json_answer, one_for_all

V1, V2, V3 = ApiVersion
NOW = 1_750_000_000_000
BASE_URL = "http://provider.test/base"
OLD, NEW = ("authorization", "Bearer old"), ("authorization", "Bearer new")
CATALOGUE = Catalogue(
    {
        "people": Workflow("people", "definition-2", record=RecordTemplate("my people", {}), parameters={}),
        "cases": Workflow(
            "cases",
            "definition-1",
            api=V1,
            case=CaseTemplate({}),
            parameters={},
            case_workflow_path="workflowId",
            case_status_path="status",
        ),
        "tables": Workflow("tables", "definition-3", api=V3, record=RecordTemplate("people", {}), locale="pl"),
    }
)
OK = json_answer(200, {"id": "w-1", "recordId": "record-1", "status": "RUNNING"})
UNAUTHORIZED = json_answer(401, {})

RECORD = Create(Operation.CREATE_RECORD, "people", "request-1", 1, b'{"name":"Ada"}')
CASE = Create(Operation.CREATE_CASE, "cases", "request-1", 1, b'{"firstName":"Ada"}', api=V1)
PARAMETERS = Create(Operation.SET_PARAMETERS, "cases", "request-1", 1, b'{"n":[1]}', api=V1)
RUN = StartWorkflow("people", "request-1", 1, "record-1", "case-1", "parameters-1", NOW + 5_000, NOW + 35_000)
STATUS = ReadStatus("people", "w-1", 1)
RESULT = ReadResult("people", "w-1", 1)
READ_CASE = ReadCase("cases", "request-1", "case-1", 1)
FOR_A_PERSON = StartInputs(locale="en", email="ada@example.test")


def start(operation: Operation, api: ApiVersion, *, inputs: StartInputs | None = None) -> StartWorkflow:
    """Return a start in a version, by its workflow of the catalogue."""
    workflow = {V1: "cases", V2: "people", V3: "tables"}[api]
    record_id, case_id = (None, "case-1") if api is V1 else ("record-1", None)
    times = (NOW + 5_000, NOW + 35_000)
    return StartWorkflow(
        workflow, "request-1", 1, record_id, case_id, None, *times, operation=operation, api=api, inputs=inputs
    )


# Calls of every operation, in every version that has it.
LINKS = (Operation.ISSUE_TOKEN, Operation.ISSUE_LINK, Operation.SEND_LINK)
CREATIONS: list[ApiCall] = [
    RECORD,
    replace(RECORD, workflow="tables", api=V3),
    CASE,
    PARAMETERS,
    replace(PARAMETERS, workflow="people", api=V2),
]
STARTS: list[ApiCall] = [
    *(start(Operation.RUN, version, inputs=StartInputs(b'{"orderId":"A-17"}')) for version in ApiVersion),
    *(start(operation, version, inputs=FOR_A_PERSON) for operation in LINKS for version in (V1, V2)),
]
READS: list[ApiCall] = [
    replace(STATUS, api=V1),
    STATUS,
    replace(STATUS, api=V3),
    replace(STATUS, workflow=None),
    READ_CASE,
]
RESULTS: list[ApiCall] = [RESULT, replace(RESULT, api=V3), replace(RESULT, api=V1, case_id="case-1")]
CALLS = [*CREATIONS, *STARTS, *READS, *RESULTS]


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
