"""`processor run` as a process that a test starts, asks, stops and kills."""

import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.ports import free_port
from tests.support.root import ROOT


@contextmanager
def watchdog() -> Iterator[int]:
    """Give a process group whose members are killed when the block is left, or when this process is gone."""
    script = 'trap "" INT TERM HUP; read -r _; kill -9 0'  # Its input ends in both cases.
    process = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, process_group=0)
    assert process.stdin is not None, "the watchdog is started with a pipe"
    try:
        yield process.pid
    finally:
        process.stdin.close()
        process.wait()


class Worker:
    """One `processor run` on ports of its own; it can be killed and started again."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], log_file: Path, group: int) -> None:
        self.webhook_port, self.ops_port = free_port(), free_port()
        self.log_file = log_file
        self._command = tuple(command)
        ports = {"PROCESSOR_WEBHOOK__PORT": str(self.webhook_port), "PROCESSOR_OPS__PORT": str(self.ops_port)}
        self._environ = {**environ, **ports}
        self._group = group
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; `is_ready` says when it works."""
        assert self._process is None, "the worker runs already"
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=self._group,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None, "the worker is not started"
        return self._process.pid

    def is_ready(self) -> bool:
        """Whether it says that it works; raises AssertionError when it has ended by itself."""
        self.assert_alive()
        try:
            return httpx.get(f"http://127.0.0.1:{self.ops_port}/readyz", timeout=2).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def readiness(self) -> dict[str, Any]:
        """Return what it says of itself; raises HTTPError when it does not answer."""
        answer: dict[str, Any] = httpx.get(f"http://127.0.0.1:{self.ops_port}/readyz", timeout=5).json()
        return answer

    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def exit_code(self) -> int | None:
        """Return how it ended by itself; None while it runs, and after it was stopped from here."""
        return self._process.poll() if self._process else None

    def assert_alive(self) -> None:
        """Raise AssertionError with the end of its log when it has ended by itself."""
        code = self.exit_code()
        assert code is None, f"the processor ended with {code}; its log ends with:\n{self.log_tail()}"

    def log_tail(self, characters: int = 3_000) -> str:
        """Return the end of its log."""
        return self.log_file.read_text(errors="replace")[-characters:]

    def kill(self) -> None:
        """End it as a crash of its machine would."""
        self._stop(signal.SIGKILL, 10)

    def terminate(self, timeout_s: float = 30) -> int:
        """Ask it to stop and return its exit code; raises TimeoutExpired when it takes longer."""
        return self._stop(signal.SIGTERM, timeout_s)

    def _stop(self, how: signal.Signals, timeout_s: float) -> int:
        process = self._process
        if process is None:
            return 0
        process.send_signal(how)
        code = process.wait(timeout_s)
        self._process = None
        return code
