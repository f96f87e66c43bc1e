"""What is sent for each call of the provider's API, in each version; and what is never sent."""

from dataclasses import replace

import pytest

from processor.adapters.api_requests import path_segment
from processor.adapters.calling import ApiCall
from processor.core.model import ApiVersion, StartInputs
from processor.core.proof import Operation, Proof
from tests.adapters.api_calls import (
    CASE,
    FOR_A_PERSON,
    NOW,
    OK,
    PARAMETERS,
    READ_CASE,
    RECORD,
    RESULT,
    RUN,
    STATUS,
    Calling,
    start,
)

V1, V2, V3 = ApiVersion.CASES, ApiVersion.RECORDS, ApiVersion.TABLES
ACCEPT = {V1: "application/json;version=1", V2: "application/json;version=2", V3: "application/json"}
DEFINITION = "workflowDefinitionId"
LINK, SEND, TOKEN = Operation.ISSUE_LINK, Operation.SEND_LINK, Operation.ISSUE_TOKEN

Sent = tuple[ApiCall, ApiVersion, str, object]
CREATIONS: dict[str, Sent] = {
    "record": (RECORD, V2, "POST /tables/my%20people/records", {"name": "Ada"}),
    "record of version 3": (
        replace(RECORD, workflow="tables", api=V3),
        V3,
        "POST /tables/people/records",
        {"name": "Ada"},
    ),
    "case": (CASE, V1, "POST /cases", {"firstName": "Ada"}),
    "parameters": (PARAMETERS, V1, "POST /parameters", {DEFINITION: "definition-1", "parameters": {"n": [1]}}),
    "parameters of version 2": (
        replace(PARAMETERS, workflow="people", api=V2),
        V2,
        "POST /parameters",
        {DEFINITION: "definition-2", "parameters": {"n": [1]}},
    ),
}
RUNS: dict[str, Sent] = {
    "run": (
        RUN,
        V2,
        "POST /workflows/run",
        {DEFINITION: "definition-2", "recordId": "record-1", "parametersId": "parameters-1"},
    ),
    "run of version 1": (
        replace(RUN, workflow="cases", api=V1),
        V1,
        "POST /workflows/run",
        {DEFINITION: "definition-1", "caseId": "case-1", "parametersId": "parameters-1"},
    ),
    "run of nothing": (
        replace(RUN, record_id=None, parameters_id=None),
        V2,
        "POST /workflows/run",
        {DEFINITION: "definition-2"},
    ),
    "run of version 3": (
        replace(start(Operation.RUN, V3, inputs=StartInputs(b'{"a":[1]}', "de")), expires_at=NOW + 3_600_999),
        V3,
        "POST /workflows",
        {
            DEFINITION: "definition-3",
            "locale": "de",
            "parameters": {"a": [1]},
            "expiresAt": "2025-06-15T16:06:40Z",
            "recordId": "record-1",
        },
    ),
    "run of version 3, bare": (
        replace(start(Operation.RUN, V3), record_id=None),
        V3,
        "POST /workflows",
        {DEFINITION: "definition-3", "locale": "pl", "parameters": {}, "expiresAt": None, "recordId": None},
    ),
    "run pinned to an older version than the catalogue's": (
        replace(RUN, workflow="tables", api=V1),
        V1,
        "POST /workflows/run",
        {DEFINITION: "definition-3", "caseId": "case-1", "parametersId": "parameters-1"},
    ),
}
LINKS: dict[str, Sent] = {
    "token of version 1": (
        start(TOKEN, V1),
        V1,
        "POST /token",
        {DEFINITION: "definition-1", "caseId": "case-1"},
    ),
    "token": (
        replace(start(TOKEN, V2, inputs=FOR_A_PERSON), parameters_id="parameters-1"),
        V2,
        "POST /token",
        {DEFINITION: "definition-2", "recordId": "record-1", "parametersId": "parameters-1", "lang": "en"},
    ),
    "link of version 1": (
        start(LINK, V1, inputs=FOR_A_PERSON),
        V1,
        "POST /link",
        {DEFINITION: "definition-1", "caseId": "case-1", "lang": "en"},
    ),
    "link": (start(LINK, V2), V2, "POST /link", {DEFINITION: "definition-2", "recordId": "record-1"}),
    "mail of version 1, to the case's address": (
        start(SEND, V1, inputs=FOR_A_PERSON),
        V1,
        "POST /link/send",
        {DEFINITION: "definition-1", "caseId": "case-1", "lang": "en"},
    ),
    "mail": (
        start(SEND, V2, inputs=FOR_A_PERSON),
        V2,
        "POST /link/send",
        {DEFINITION: "definition-2", "recordId": "record-1", "lang": "en", "email": "ada@example.test"},
    ),
}
READS: dict[str, Sent] = {
    "status of version 1": (replace(STATUS, api=V1), V1, "GET /workflows/w-1", None),
    "status": (STATUS, V2, "GET /workflows/w-1", None),
    "status of version 3": (replace(STATUS, api=V3), V3, "GET /workflows/w-1", None),
    "status of a stranger": (replace(STATUS, workflow=None, api=V1), V1, "GET /workflows/w-1", None),
    "status of a workflow that left": (replace(STATUS, workflow="gone", api=V1), V1, "GET /workflows/w-1", None),
    "result": (replace(RESULT, workflow_id="w:1 é"), V2, "GET /workflows/w%3A1%20%C3%A9/result", None),
    "result of version 3": (replace(RESULT, api=V3), V3, "GET /workflows/w-1/result", None),
    "result from the case": (replace(RESULT, api=V1, case_id="case-1"), V1, "GET /cases/case-1", None),
    "case": (READ_CASE, V1, "GET /cases/case-1", None),
}
REQUESTS = CREATIONS | RUNS | LINKS | READS


@pytest.mark.parametrize("case", REQUESTS)
async def test_each_call_is_sent_as_the_provider_documents_it(case: str) -> None:
    """Path, version, credential and body; ids that were not made are left out."""
    call, version, line, body = REQUESTS[case]
    told_line, headers, told_body = await Calling(OK).sent(call)
    assert (told_line, told_body) == (line, body)
    assert headers["accept"] == ACCEPT[version]
    assert headers["authorization"] == "Bearer old"
    assert headers.get("content-type") == ("application/json" if body is not None else None)


async def test_parameters_of_version_3_leave_as_they_were_rendered() -> None:
    """Numbers keep their digits, and escapes stay as they are."""
    calling = Calling(OK)
    rendered = b'{"amount":1.10,"name":"\\ud83d"}'
    await calling.api.perform(start(Operation.RUN, V3, inputs=StartInputs(rendered)))
    assert b'"parameters":%b,' % rendered in (calling.http.requests[0].body or b"")


async def test_names_and_places_are_settings() -> None:
    """What the provider does not document can be set without a new build."""
    calling = Calling(
        OK,
        parameters_path="/v1/sets",
        parameters_definition_member="definition",
        parameters_member="values",
        content_type="application/json;version=2",
    )
    line, headers, body = await calling.sent(PARAMETERS)
    assert (line, body) == ("POST /v1/sets", {"definition": "definition-1", "values": {"n": [1]}})
    assert headers["content-type"] == "application/json;version=2"


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
    assert "idempotency-key" not in (await Calling(OK).sent(RESULT))[1]


UNSENDABLE: dict[str, tuple[ApiCall, Proof]] = {
    "run of a workflow that left": (replace(RUN, workflow="gone"), Proof.NOT_SENT),
    "record of a workflow that left": (replace(RECORD, workflow="gone"), Proof.NOT_SENT),
    "record of a workflow without one": (replace(RECORD, workflow="cases"), Proof.NOT_SENT),
    "text that no JSON can hold": (replace(RUN, record_id="\ud83d"), Proof.NOT_SENT),
    "run at its time": (replace(RUN, send_before=NOW), Proof.NOT_SENT),
    "run after its deadline": (replace(RUN, deadline_at=NOW - 1), Proof.NOT_SENT),
    "status of an odd id": (replace(STATUS, workflow_id="../auth"), Proof.REFUSED),
    "result of an odd id": (replace(RESULT, workflow_id=""), Proof.REFUSED),
    "result from an odd case": (replace(RESULT, case_id="a/b"), Proof.REFUSED),
    "case of an odd id": (replace(READ_CASE, case_id="../auth"), Proof.REFUSED),
    "case of a workflow that left": (replace(READ_CASE, workflow="gone"), Proof.NOT_SENT),
    "link of version 3": (start(LINK, V3), Proof.NOT_SENT),
    "end beyond the calendar": (replace(start(Operation.RUN, V3), expires_at=10**18), Proof.NOT_SENT),
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
