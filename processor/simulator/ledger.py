"""What the simulator really executed: in memory, bounded, and in a file that survives a crash.

The file holds JSON lines. A line of kind `run` is a whole entry; lines of kind `walked`, `awaiting`, `finished` and
`answered` change the entry of the same `workflowId`; `record`, `case` and `parameters` are what was created; `link`,
`token` and `mail` are what was issued for an end user, and `used` says that it was walked: their `id` is a hash, the
secret itself is in no file. A line is in the file before the call is answered.
"""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from processor.simulator.bodies import ledger_entry
from processor.simulator.model import Answered, Content, Link, Run

CHANGES = frozenset({"walked", "awaiting", "finished", "answered"})


class Ledger:
    """The executed runs in order of execution, by workflow id."""

    def __init__(self, runs_max: int, path: Path | None = None) -> None:
        self._runs_max = runs_max
        self._file = None if path is None else path.open("ab", buffering=0)
        self._runs: dict[str, Run] = {}
        self.seq = 0

    def run(self, workflow_id: str) -> Run | None:
        """Return a run that is still kept."""
        return self._runs.get(workflow_id)

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs that are still kept, oldest first."""
        return tuple(self._runs.values())

    @property
    def first_seq(self) -> int:
        """The lowest number still kept; what lies below was forgotten."""
        return self.seq - len(self._runs) + 1

    def page(self, since: int, limit: int) -> list[Run]:
        """Return at most `limit` runs whose number is above `since`."""
        skipped = max(0, since - self.first_seq + 1)
        return list(islice(self._runs.values(), skipped, skipped + limit))

    def executed(self, run: Run) -> None:
        """Write a run down before anybody hears of it."""
        if self._file is not None:
            self._append({"kind": "run", **ledger_entry(run)})
        self.keep(run)

    def keep(self, run: Run) -> None:
        """Hold a run in memory; the oldest goes when there are too many."""
        self._runs[run.workflow_id] = run
        self.seq = run.seq
        if len(self._runs) > self._runs_max:
            del self._runs[next(iter(self._runs))]

    def finished(self, run: Run) -> None:
        """Write the end of a run down."""
        change = {"workflowId": run.workflow_id, "status": run.status, "finishedAt": run.finished_at}
        self._append({"kind": "finished", **change, "endsAt": run.ends_at, "finalStatus": run.final_status})

    def walked(self, run: Run) -> None:
        """Write down that the end user of a waiting run came, and what will become of it."""
        change = {"endsAt": run.ends_at, "finalStatus": run.final_status, "decision": run.decision}
        self._append({"kind": "walked", "workflowId": run.workflow_id, **change})

    def awaiting(self, run: Run) -> None:
        """Write down that the end user is done while the run goes on."""
        self._append({"kind": "awaiting", "workflowId": run.workflow_id, "status": run.status})

    def issued(self, link: Link) -> None:
        """Write down a link, token or mail."""
        self._append(
            {
                "kind": link.kind,
                "id": link.id,
                "definitionId": link.asked.definition_id,
                "caseId": link.asked.case_id,
                "recordId": link.asked.record_id,
                "parametersId": link.asked.parameters_id,
                "workflowId": None if link.run is None else link.run.workflow_id,
                "issuedAt": link.issued_at,
                "expiresAt": link.expires_at,
                "walksAt": link.walks_at,
                "answered": link.answered,
            }
        )

    def used(self, link: Link, run: Run) -> None:
        """Write down which run came of a link."""
        self._append({"kind": "used", "id": link.id, "workflowId": run.workflow_id})

    def was_answered(self, run: Run, answered: Answered) -> None:
        """Correct what the caller heard, where it is not what was planned."""
        if run.answered is not answered:
            run.answered = answered
            self._append({"kind": "answered", "workflowId": run.workflow_id, "answered": answered})

    def created(self, kind: str, content: Content) -> None:
        """Write down a record, a case or a parameter set."""
        body = orjson.Fragment(content.body)
        self._append({"kind": kind, "id": content.id, "owner": content.owner, "at": content.created_at, "body": body})

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append(self, line: dict[str, object]) -> None:
        """Hand one line to the operating system, which keeps it when this process dies."""
        if self._file is not None:
            self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


def drop_torn_line(path: Path) -> None:
    """Cut off a last line that a crash left half written."""
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole != len(content):
        os.truncate(path, whole)


def lines_in(path: Path) -> Iterator[dict[str, Any]]:
    """Read the whole lines of a ledger file in order, also while it grows; raises ValueError on one that is no JSON."""
    if path.exists():
        with path.open("rb") as file:
            yield from (orjson.loads(line) for line in file if line.endswith(b"\n"))


def entries_in(path: Path) -> list[dict[str, Any]]:
    """Read the runs of a ledger file in order of execution, each with its later changes."""
    entries: dict[str, dict[str, Any]] = {}
    for line in lines_in(path):
        kind = line.pop("kind")
        if kind == "run":
            entries[line["workflowId"]] = line
        elif kind in CHANGES:
            entries[line["workflowId"]].update(line)
    return list(entries.values())
