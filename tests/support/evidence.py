"""Reads what the auditor judges: our topics from their beginning, and the providers' ledger files."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.events import decoded
from tests.support.reading import Record, all_records
from tests.support.testimony import Evidence, Issued, Link, Progress, Published, Result, Run, Terms

STARTED = "custody"  # The header that tells our own *started* from everything else on the topic of workflows.
LINK_KINDS = frozenset({"link", "token", "mail"})
Lines = list[dict[str, Any]]


def gather(
    bootstrap_servers: str,
    application_id: str,
    ledger_files: Mapping[str, Path],
    terms: Mapping[str, Terms] = {},
    settled_ms: int = 0,
) -> Evidence:
    """Read everything; what upstream published and nobody can decode is left out, as it has no request id.

    `ledger_files` is by provider profile; `terms` and `settled_ms` are what catalogue and settings say.
    """

    def topic(name: str) -> list[Record]:
        return all_records(bootstrap_servers, f"{application_id}.{name}")

    ledgers = {provider: _lines(file) for provider, file in ledger_files.items()}
    workflows = topic("workflows")
    return Evidence(
        published=list(_published(topic("requests"))),
        results=[_result(record) for record in topic("results")],
        runs=[run for provider, lines in ledgers.items() for run in _runs(provider, lines)],
        records=_made([line for lines in ledgers.values() for line in lines]),
        webhooks=_webhooks(workflows),
        dead_letters=Counter(record.headers["dlq.reason"].decode() for record in topic("dead-letters")),
        links=[link for lines in ledgers.values() for link in _links(lines)],
        issued=[_issued(record) for record in topic("links")],
        progress=[_progress(record) for record in topic("progress")],
        started=[
            (record.key.decode(), record.headers["request-id"].decode())
            for record in workflows
            if record.key and STARTED in record.headers
        ],
        terms=terms,
        settled_ms=settled_ms,
    )


def _lines(ledger_file: Path) -> Lines:
    return [json.loads(line) for line in ledger_file.read_text(encoding="utf-8").splitlines()]


def _published(records: list[Record]) -> Iterator[Published]:
    for record in records:
        try:
            request = decoded("OnboardingRequested", record.value or b"")
        except (ValueError, EOFError, IndexError):
            continue
        yield Published(
            request_id=request["requestId"],
            key=record.key,
            partition=record.partition,
            offset=record.offset,
            workflow=request["workflow"],
            link_attempt=request["linkAttempt"] or 1,
            subject_reference=(request["subject"] or {}).get("reference"),
        )


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
        case_id=event["caseId"],
        definition_id=event["definitionId"],
        attempts=event["attempts"],
        is_rerun=bool(event["isRerun"]),
        candidates=tuple(event["candidates"]),
    )


def _issued(record: Record) -> Issued:
    event = decoded("OnboardingLinkIssued", record.value or b"")
    secret = event["token"] or _secret_in(event["link"])
    return Issued(
        request_id=event["requestId"],
        attempt=event["attempt"],
        secret_hash=None if secret is None else sha256(secret.encode()).hexdigest(),
        event_id=str(event["eventId"]),
        key=record.key,
        partition=record.partition,
        offset=record.offset,
    )


def _secret_in(link: str | None) -> str | None:
    """Take the secret out of a link: its token, or the end of its path."""
    if link is None:
        return None
    parts = urlsplit(link)
    token = parse_qs(parts.query).get("token")
    return token[0] if token else parts.path.rpartition("/")[2]


def _progress(record: Record) -> Progress:
    event = decoded("OnboardingProgressed", record.value or b"")
    return Progress(event["requestId"], event["step"], event["attempt"], event["workflowId"], str(event["eventId"]))


def _webhooks(records: list[Record]) -> dict[str, int]:
    """Return when the first webhook of each workflow was stored: its record holds raw JSON, in which the id stands."""
    found: dict[str, int] = {}
    for record in records:
        key = (record.key or b"").decode()
        if STARTED not in record.headers and f'"{key}"'.encode() in (record.value or b""):
            found[key] = min(record.at, found.get(key, record.at))
    return found


def _made(lines: Lines) -> list[str]:
    """Return the ids of records and cases in order; two providers have one clock here."""
    made = [line for line in lines if line["kind"] in {"record", "case"}]
    return [line["id"] for line in sorted(made, key=lambda line: int(line["at"]))]


def _runs(provider: str, lines: Lines) -> list[Run]:
    """Fold the lines about each run into one value: its later changes win."""
    entries: dict[str, dict[str, Any]] = {}
    for line in lines:
        if line["kind"] in {"run", "walked", "finished", "answered"}:
            entries.setdefault(line["workflowId"], {}).update(line)
    return [
        Run(
            seq=entry["seq"],
            workflow_id=entry["workflowId"],
            # Of a record that several share, the parameters alone say whose it is.
            request_id=(entry["parameters"] or {}).get("ref") or (entry["columns"] or {}).get("ref"),
            record_id=entry["recordId"],
            final_status=entry["finalStatus"],
            is_finished=entry["finishedAt"] is not None,
            answered=entry["answered"],
            case_id=entry["caseId"],
            definition_id=entry["definitionId"],
            provider=provider,
            is_walked=entry["origin"] == "link",
            executed_at=entry["executedAt"],
        )
        for entry in entries.values()
    ]


def _links(lines: Lines) -> list[Link]:
    """Return what was made for end users; whose it is say its parameters, or those of its run."""
    of_parameters = {line["id"]: line["body"].get("ref") for line in lines if line["kind"] == "parameters"}
    of_runs = {line["workflowId"]: (line["parameters"] or {}).get("ref") for line in lines if line["kind"] == "run"}
    used_by = {line["id"]: line["workflowId"] for line in lines if line["kind"] == "used"}
    return [
        Link(
            secret_hash=line["id"],
            mode=line["kind"],
            request_id=of_parameters.get(line["parametersId"]) or of_runs.get(line["workflowId"]),
            answered=line["answered"],
            used_by=used_by.get(line["id"]),
        )
        for line in lines
        if line["kind"] in LINK_KINDS
    ]
