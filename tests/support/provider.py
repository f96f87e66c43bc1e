"""The simulated provider as a process of its own, and what a test may ask of it.

`python -m tests.support.provider PORT SETTINGS` serves one; SETTINGS is a JSON object of the simulator's fields.
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
from tests.support.ports import free_port

KEY, SECRET = "simulator-key", "simulator-secret"
VERSION_2 = "application/json;version=2"


class Provider:
    """A running simulator; its ledger is the file at `ledger_file`."""

    def __init__(self, directory: Path, group: int, **given: object) -> None:
        """Start it and wait until it serves; `group` is the process group to join."""
        self.ledger_file = directory / "ledger.jsonl"
        self._log_file = directory / "provider.log"
        self._settings: dict[str, object] = {"ledger_file": str(self.ledger_file), **given}
        self._group = group
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._client = httpx.Client(base_url=self.url, timeout=10)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, also again after a crash: it knows its ledger, and sends webhooks to the same ports."""
        assert self._process is None, "the provider runs already"
        command = (sys.executable, "-m", "tests.support.provider", str(self._port), json.dumps(self._settings))
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, process_group=self._group
            )
        assert self._process.stdout is not None, "it says over a pipe that it serves"
        assert self._process.stdout.readline(), f"the provider did not start; see {self._log_file}"

    def crash(self) -> None:
        """End it at once: connections are refused until it is started again; what it executed stays in the ledger."""
        process = self._process
        if process is None:
            return
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        self._process = None

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
        self._settings["webhook_urls"] = targets = [str(port) for port in ports]
        self._client.post("/_simulator/targets", json={"urls": targets}).raise_for_status()

    def send_webhooks_to_url(self, *urls: str) -> None:
        """Send webhooks to these addresses in turn."""
        self._settings["webhook_urls"] = targets = list(urls)
        self._client.post("/_simulator/targets", json={"urls": targets}).raise_for_status()

    def revoke_tokens(self) -> None:
        """Make every access token invalid."""
        self._client.post("/_simulator/revoke").raise_for_status()

    def rotate_credentials(self, key: str, secret: str) -> None:
        """Know no other key and secret from now on; access tokens of those before stay valid until they are revoked."""
        self._client.post("/_simulator/credentials", json={"key": key, "secret": secret}).raise_for_status()

    def revoke_former_tokens(self) -> None:
        """Make the access tokens of former credentials invalid."""
        self._client.post("/_simulator/credentials/revoke").raise_for_status()

    def send_webhook(self, workflow_id: str) -> int:
        """Send one webhook, signed, once; return the receiver's status."""
        body = {"body": {"workflowId": workflow_id, "status": "COMPLETED"}}
        answer = self._client.post("/_simulator/webhook", json=body)
        answer.raise_for_status()
        return int(answer.json()["status"])

    def walk(self, **named: str) -> str:
        """Let the user of a `link`, `token`, `workflowId`, `recordId` or `caseId` come; return the workflow's id."""
        answer = self._client.post("/_simulator/walk", json=named)
        answer.raise_for_status()
        return str(answer.json()["workflowId"])

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

    def run(self, workflow_id: str) -> dict[str, Any]:
        """Return what was executed under a workflow id."""
        (run,) = [run for run in self.runs() if run["workflowId"] == workflow_id]
        return run

    def runs_with(self, ref: str) -> list[dict[str, Any]]:
        """Return what was executed with a parameter or column `ref` of this value."""
        return [
            run for run in self.runs() if ref in {(run[part] or {}).get("ref") for part in ("parameters", "columns")}
        ]

    def create_record(self, table: str = "people", **columns: object) -> str:
        """Make a record as another service of the same company would; return its id."""
        answer = self._client.post(f"/tables/{table}/records", json=columns, headers=self._headers())
        answer.raise_for_status()
        return str(answer.json()["id"])

    def create_case(self, **members: object) -> str:
        """Make a case, likewise."""
        answer = self._client.post("/cases", json=members, headers=self._headers("application/json"))
        answer.raise_for_status()
        return str(answer.json()["caseId"])

    def _headers(self, accept: str = VERSION_2) -> dict[str, str]:
        token = self._client.post("/auth/authorize", json={"key": KEY, "secret": SECRET}).json()["accessToken"]
        return {"Accept": accept, "Authorization": f"Bearer {token}"}

    def run_foreign(self, record_id: str | None = None) -> str:
        """Execute a workflow that nobody here asked for; return its id."""
        asked = {"workflowDefinitionId": "foreign", "recordId": record_id}
        answer = self._client.post("/workflows/run", json=asked, headers=self._headers())
        answer.raise_for_status()
        return str(answer.json()["id"])

    def close(self) -> None:
        """End it for good."""
        self._client.close()
        self.crash()


def main() -> None:
    """Serve until told to stop; a line on standard output says from when."""

    def tell(url: str) -> None:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()

    serve(settings_from(json.loads(sys.argv[2])), port=int(sys.argv[1]), on_ready=tell)


if __name__ == "__main__":
    main()
