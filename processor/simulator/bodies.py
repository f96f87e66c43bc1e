"""The JSON that the provider sends, built from values; shapes as in docs/provider-api.md."""

from datetime import UTC, datetime
from typing import Any

import orjson

from processor.simulator.model import Content, Execution, Generation, Run

WORKSPACE_ID = "simulator"
# What a definition is called and what its runs begin with; the API has no call that changes them.
REVISION = 1
EXECUTION_VERSION = 1


def error_body(fingerprint: str, code: str, message: str) -> bytes:
    """Build the documented ErrorResponse."""
    return orjson.dumps({"fingerprint": fingerprint, "errors": [{"code": code, "message": message}]})


def record_body(record: Content) -> bytes:
    """Build a record: its columns and the provider's own members, which win over columns of the same name."""
    moment = iso(record.created_at)
    own = {"id": record.id, "version": 1, "createdAt": moment, "updatedAt": moment}
    return orjson.dumps(orjson.loads(record.body) | own)


def case_body(case: Content, run: Run | None, *, shows_workflow: bool) -> bytes:
    """Build a case; once its last run has ended, it holds what the run found out, as the result does."""
    body = _case(case, run)
    if run is not None and run.finished_at is not None:
        body["output"] = _output(run)
    if run is not None and shows_workflow:
        body |= {"workflowId": run.workflow_id, "status": run.status}
    return orjson.dumps(body)


def status_body(run: Run, generation: Generation, *, is_record_hidden: bool) -> bytes:
    """Build the answer of a run and of a status read, which are the same.

    What the real one says of a run of version 2 to a reader of version 1 is unknown: here 200, and no case.
    """
    if run.execution is not None:
        return orjson.dumps(_execution(run, run.execution))
    body: dict[str, str | None] = {"id": run.workflow_id, "status": run.status}
    if generation is Generation.G1:
        body["caseId"] = run.case_id
    elif not is_record_hidden:
        body["recordId"] = run.record_id
    return orjson.dumps(body)


def started_body(run: Run, token: str, link: str) -> bytes:
    """Build the answer of a start of version 3 for an end user, the only one that tells token and link."""
    assert run.execution is not None, "only a start of version 3 answers with token and link"
    return orjson.dumps(_execution(run, run.execution) | {"token": token, "link": link})


def result_body(run: Run, generation: Generation, case: Content | None) -> bytes:
    """Build a result: nested, with a decision and with made-up personal data, always the same for one run."""
    body = {
        "id": run.workflow_id,
        "createdDate": iso(run.executed_at),
        "status": run.status,
        "output": _output(run),
    }
    if generation is not Generation.G1 or run.execution is not None:
        return orjson.dumps(body | {"recordId": run.record_id})
    details = {"personal": _person(run)} if case is None else _case(case, run)["partyDetails"]
    party_id = None if case is None else case.owner
    return orjson.dumps(body | {"caseId": run.case_id, "partyId": party_id, "partyDetails": details})


def ledger_entry(run: Run) -> dict[str, object]:
    """Build what the ledger says of a run; `columns` and `parameters` are the content it ran with."""
    execution = run.execution
    return {
        "seq": run.seq,
        "workflowId": run.workflow_id,
        "definitionId": run.definition_id,
        "recordId": run.record_id,
        "caseId": run.case_id,
        "parametersId": run.asked.parameters_id,
        "columns": orjson.Fragment(run.asked.columns),
        "parameters": orjson.Fragment(run.asked.parameters),
        "origin": run.origin,
        "execution": None
        if execution is None
        else {
            "locale": execution.locale,
            "expires": execution.expires,
            "expiresAt": execution.expires_at,
            "hasUser": execution.has_user,
        },
        "executedAt": run.executed_at,
        "endsAt": run.ends_at,
        "finalStatus": run.final_status,
        "decision": run.decision,
        "status": run.status,
        "finishedAt": run.finished_at,
        "answered": run.answered,
    }


def placed(body: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """Put a value at a dotted path of `body`, making the objects on the way; returns `body`."""
    *way, last = path.split(".")
    inner = body
    for name in way:
        inner = inner.setdefault(name, {})
    inner[last] = value
    return body


def moved(body: bytes, name: str, path: str) -> bytes:
    """Put a member of a JSON object at a dotted path instead."""
    given = orjson.loads(body)
    return orjson.dumps(placed(given, path, given.pop(name)))


def iso(at: int) -> str:
    """Write an instant as ISO 8601 with its offset."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat()


def _case(case: Content, run: Run | None) -> dict[str, Any]:
    """Sort what is known of a case into party details; `owner` of a case is its party.

    A run that ended tells what nobody had given.
    """
    given = orjson.loads(case.body)
    found = {} if run is None or run.finished_at is None else _person(run)
    personal = ("firstName", "lastName", "personalNumber", "email", "phone")
    return {
        "createdDate": iso(case.created_at),
        "caseId": case.id,
        "partyId": case.owner,
        "partyDetails": {
            "personal": {name: given.get(name) or found.get(name) for name in personal},
            "business": {name: given.get(name) for name in ("companyNumber", "companyName", "companyAddress")},
            "documents": given.get("documents") or [],
        },
    }


def _execution(run: Run, execution: Execution) -> dict[str, Any]:
    """Build the object of version 3; it does not tell the record, but echoes the parameters."""
    return {
        "id": run.workflow_id,
        "workspaceId": WORKSPACE_ID,
        "workflowDefinitionId": run.definition_id,
        "parameters": orjson.Fragment(run.asked.parameters),
        "name": f"Simulated workflow {run.definition_id}",
        "revision": REVISION,
        "status": run.status,
        "locale": execution.locale,
        "expiresAt": execution.expires,
        "uiOptions": {},
        "executionType": "INTERACTIVE" if execution.has_user else "BACKGROUND",
        "executionVersion": EXECUTION_VERSION,
        "origin": "API",
    }


def _person(run: Run) -> dict[str, Any]:
    return {
        "firstName": "Simulated",
        "lastName": f"Person-{run.seq}",
        "personalNumber": f"{90_000_000_000 + run.seq}",
        "email": f"person-{run.seq}@example.test",
        "phone": {"countryCode": "48", "number": f"{500_000_000 + run.seq}"},
    }


def _output(run: Run) -> dict[str, Any]:
    is_good = run.decision is not None
    return {
        "decision": run.decision,
        "score": run.seq * 37 % 101,
        "checks": [{"name": name, "passed": is_good} for name in ("identity", "sanctions", "address")],
        "subject": {"personal": _person(run), "nationality": "PL"},
    }
