"""The JSON that the provider sends, built from values; shapes as in docs/provider-api.md."""

from datetime import UTC, datetime

import orjson

from processor.simulator.model import COMPLETED, Content, Generation, Run


def error_body(fingerprint: str, code: str, message: str) -> bytes:
    """Build the documented ErrorResponse."""
    return orjson.dumps({"fingerprint": fingerprint, "errors": [{"code": code, "message": message}]})


def record_body(record: Content) -> bytes:
    """Build a record: its columns and the provider's own members, which win over columns of the same name."""
    moment = iso(record.created_at)
    own = {"id": record.id, "version": 1, "createdAt": moment, "updatedAt": moment}
    return orjson.dumps(orjson.loads(record.body) | own)


def case_body(case: Content) -> bytes:
    """Build a case, its members sorted into party details; `owner` of a case is its party."""
    given = orjson.loads(case.body)
    return orjson.dumps(
        {
            "createdDate": iso(case.created_at),
            "caseId": case.id,
            "partyId": case.owner,
            "partyDetails": {
                "personal": {
                    name: given.get(name) for name in ("firstName", "lastName", "personalNumber", "email", "phone")
                },
                "business": {name: given.get(name) for name in ("companyNumber", "companyName", "companyAddress")},
                "documents": given.get("documents") or [],
            },
        }
    )


def status_body(run: Run, generation: Generation, *, is_record_hidden: bool) -> bytes:
    """Build the answer of a run and of a status read, which are the same."""
    body: dict[str, str | None] = {"id": run.workflow_id, "status": run.status}
    if generation is Generation.G1:
        body["caseId"] = run.case_id
    elif not is_record_hidden:
        body["recordId"] = run.record_id
    return orjson.dumps(body)


def result_body(run: Run, generation: Generation) -> bytes:
    """Build a result: nested, with a decision and with made-up personal data, always the same for one run."""
    is_good = run.final_status == COMPLETED
    person = {
        "firstName": "Simulated",
        "lastName": f"Person-{run.seq}",
        "personalNumber": f"{90_000_000_000 + run.seq}",
        "email": f"person-{run.seq}@example.test",
        "phone": {"countryCode": "48", "number": f"{500_000_000 + run.seq}"},
    }
    body = {
        "id": run.workflow_id,
        "createdDate": iso(run.executed_at),
        "status": run.status,
        "output": {
            "decision": run.decision if is_good else None,
            "score": run.seq * 37 % 101,
            "checks": [{"name": name, "passed": is_good} for name in ("identity", "sanctions", "address")],
            "subject": {"personal": person, "nationality": "PL"},
        },
    }
    if generation is Generation.G1:
        return orjson.dumps(body | {"caseId": run.case_id, "partyDetails": {"personal": person}})
    return orjson.dumps(body | {"recordId": run.record_id})


def webhook_body(run: Run) -> bytes:
    """Build the webhook that tells of a run's end; the shape is ours, the provider documents none."""
    return orjson.dumps(
        {"workflowId": run.workflow_id, "caseId": run.case_id, "recordId": run.record_id, "status": run.status}
    )


def ledger_entry(run: Run) -> dict[str, object]:
    """Build what the ledger says of a run; `columns` and `parameters` are the content it ran with."""
    return {
        "seq": run.seq,
        "workflowId": run.workflow_id,
        "definitionId": run.definition_id,
        "recordId": run.record_id,
        "caseId": run.case_id,
        "parametersId": run.parameters_id,
        "columns": orjson.Fragment(run.columns),
        "parameters": orjson.Fragment(run.parameters),
        "executedAt": run.executed_at,
        "endsAt": run.ends_at,
        "finalStatus": run.final_status,
        "decision": run.decision,
        "status": run.status,
        "finishedAt": run.finished_at,
        "answered": run.answered,
    }


def iso(at: int) -> str:
    """Write an instant as ISO 8601 with its offset."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat()
