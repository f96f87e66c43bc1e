"""The simulated provider as a process of its own, and what a test may ask of it.

`python -m tests.support.provider SETTINGS` serves one; SETTINGS is a JSON object of the simulator's fields.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from processor.simulator.server import serve
from processor.simulator.settings import settings_from

KEY, SECRET = "simulator-key", "simulator-secret"
VERSION_2 = "application/json;version=2"


class Provider:
    """A running simulator; its ledger is the file at `ledger_file`."""

    def __init__(self, directory: Path, group: int, **given: object) -> None:
        """Start it and wait until it serves; `group` is the process group to join."""
        self.ledger_file = directory / "ledger.jsonl"
        settings = json.dumps({"ledger_file": str(self.ledger_file), **given})
        command = (sys.executable, "-m", "tests.support.provider", settings)
        with (directory / "provider.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, process_group=group
            )
        assert self._process.stdout is not None, "its address comes over a pipe"
        self.url = self._process.stdout.readline().decode().strip()
        assert self.url, f"the provider did not start; see {log.name}"
        self._client = httpx.Client(base_url=self.url, timeout=10)

    @contextmanager
    def faults(self, **given: object) -> Iterator[None]:
        """Put other values in force for some faults while the block runs."""
        before = self._client.get("/_simulator/faults").json()
        self.change_faults(**given)
        try:
            yield
        finally:
            self.change_faults(**{name: before[name] for name in given})

    def change_faults(self, **given: object) -> None:
        """Put other values in force for some faults."""
        self._client.post("/_simulator/faults", json=given).raise_for_status()

    def send_webhooks_to(self, *ports: int) -> None:
        """Send webhooks to these ports of this machine in turn."""
        self._client.post("/_simulator/targets", json={"urls": [str(port) for port in ports]}).raise_for_status()

    def send_webhook(self, workflow_id: str, status: str = "COMPLETED") -> int:
        """Send one webhook, signed, once; return the receiver's status."""
        body = {"body": {"workflowId": workflow_id, "status": status}}
        answer = self._client.post("/_simulator/webhook", json=body)
        answer.raise_for_status()
        return int(answer.json()["status"])

    def counters(self) -> dict[str, Any]:
        """Return how often each route answered what, and how much was executed."""
        counted: dict[str, Any] = self._client.get("/_simulator/counters").json()
        return counted

    def runs(self) -> list[dict[str, Any]]:
        """Return the ledger: what was executed, in order."""
        entries: list[dict[str, Any]] = self._client.get("/_simulator/ledger?limit=10000").json()["entries"]
        return entries

    def lines(self, kind: str) -> list[dict[str, Any]]:
        """Return the lines of one kind that the ledger file holds, in order: `record`, `parameters`, …."""
        lines = [json.loads(line) for line in self.ledger_file.read_text(encoding="utf-8").splitlines()]
        return [line for line in lines if line["kind"] == kind]

    def runs_of(self, request_id: str) -> list[dict[str, Any]]:
        """Return what was executed for one request, which is told by the column `ref`."""
        return [run for run in self.runs() if (run["columns"] or {}).get("ref") == request_id]

    def run_foreign(self, record_id: str | None = None) -> str:
        """Execute a workflow that nobody here asked for; return its id."""
        token = self._client.post("/auth/authorize", json={"key": KEY, "secret": SECRET}).json()["accessToken"]
        headers = {"Accept": VERSION_2, "Authorization": f"Bearer {token}"}
        asked = {"workflowDefinitionId": "foreign", "recordId": record_id}
        answer = self._client.post("/workflows/run", json=asked, headers=headers)
        answer.raise_for_status()
        return str(answer.json()["id"])

    def stop(self) -> None:
        """End it as a crash would; what it executed stays in the ledger file."""
        self._client.close()
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def main() -> None:
    """Serve until told to stop; the address stands on the first line of standard output."""

    def tell(url: str) -> None:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()

    serve(settings_from(json.loads(sys.argv[1])), port=0, on_ready=tell)


if __name__ == "__main__":
    main()
