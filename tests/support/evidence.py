"""Reads what the auditor judges: our topics from their beginning, and the provider's ledger file."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.auditor import Evidence, Published, Result, Run
from tests.support.events import decoded
from tests.support.reading import Record, all_records

STARTED = "custody"  # The header that tells our own *started* from a webhook on the topic of workflows.


def gather(bootstrap_servers: str, application_id: str, ledger_file: Path) -> Evidence:
    """Read everything; what upstream published and nobody can decode is left out, as it has no request id."""

    def topic(name: str) -> list[Record]:
        return all_records(bootstrap_servers, f"{application_id}.{name}")

    lines = [json.loads(line) for line in ledger_file.read_text(encoding="utf-8").splitlines()]
    return Evidence(
        published=list(_published(topic("requests"))),
        results=[_result(record) for record in topic("results")],
        runs=_runs(lines),
        records=[line["id"] for line in lines if line["kind"] == "record"],
        webhooks=frozenset(
            record.key.decode() for record in topic("workflows") if record.key and STARTED not in record.headers
        ),
        dead_letters=Counter(record.headers["dlq.reason"].decode() for record in topic("dead-letters")),
    )


def _published(records: list[Record]) -> Iterator[Published]:
    for record in records:
        try:
            request = decoded("OnboardingRequested", record.value or b"")
        except (ValueError, EOFError, IndexError):
            continue
        yield Published(request["requestId"], record.key, record.partition, record.offset)


def _result(record: Record) -> Result:
    event = decoded("OnboardingFinished", record.value or b"")
    return Result(
        request_id=event["requestId"],
        revision=event["revision"],
        outcome=event["outcome"],
        workflow_id=event["workflowId"],
        record_id=event["recordId"],
        status=event["status"],
        reason=event["reason"],
        event_id=str(event["eventId"]),
        key=record.key,
        partition=record.partition,
        offset=record.offset,
    )


def _runs(lines: list[dict[str, Any]]) -> list[Run]:
    """Fold the lines about each run into one value: its later changes win."""
    entries: dict[str, dict[str, Any]] = {}
    for line in lines:
        if line["kind"] in {"run", "finished", "answered"}:
            entries.setdefault(line["workflowId"], {}).update(line)
    return [
        Run(
            seq=entry["seq"],
            workflow_id=entry["workflowId"],
            request_id=(entry["columns"] or {}).get("ref") or (entry["parameters"] or {}).get("ref"),
            record_id=entry["recordId"],
            final_status=entry["finalStatus"],
            is_finished=entry["finishedAt"] is not None,
            answered=entry["answered"],
        )
        for entry in entries.values()
    ]
