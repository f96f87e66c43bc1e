"""One Java server as a child process that never outlives the process that started it."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.root import ROOT

_POM = Path(__file__).resolve().parent / "jars" / "pom.xml"
# C1 only: such a server lives for minutes, and its own compiling would take a core from what is tested.
SMALL_HEAP = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class ServerMissing(Exception):
    """A real server cannot be had here; the text says how to get it."""


class ServerFailed(Exception):
    """A real server did not come up; the text ends with what it logged last."""


def cached(server: str) -> Path:
    """Return the folder in which `make jars` put a server (`kafka` or `apicurio`) of the pinned version.

    Raises ServerMissing when it is not there.
    """
    pinned = re.search(rf"<{server}\.version>([^<]+)<", _POM.read_text(encoding="utf-8"))
    assert pinned is not None, f"the POM pins no version of {server}"
    folder = ROOT / ".cache" / server / pinned[1]
    if not (ROOT / ".cache" / "jars.stamp").exists() or not folder.is_dir():
        raise ServerMissing(f"{server} {pinned[1]} is not in .cache: run `make jars` (needs Java 17 and Maven)")
    return folder


def listens(port: int) -> bool:
    """Say whether somebody accepts connections on a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class JavaServer:
    """A JVM with a fixed command line, started and stopped any number of times."""

    def __init__(self, arguments: Sequence[str], log_file: Path, is_ready: Callable[[], bool]) -> None:
        self._command = ("java", *arguments)
        self._log_file = log_file
        self._is_ready = is_ready
        self._java: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    def start(self, *, timeout_s: float = 60) -> None:
        """Start the JVM and return when it serves.

        Raises ServerFailed when it dies or is not ready in time.
        """
        assert self._java is None, "the server runs already"
        with self._log_file.open("ab") as log:
            self._java = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._watchdog = _watch(self._java.pid)
        deadline = time.monotonic() + timeout_s
        while not self._is_ready():
            if self._java.poll() is not None or time.monotonic() > deadline:
                self.stop(signal.SIGKILL)
                tail = self._log_file.read_text(errors="replace")[-2_000:]
                raise ServerFailed(f"{self._command[-2:]} did not come up; its log ends with:\n{tail}")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGTERM, *, timeout_s: float = 20) -> None:
        """Stop the JVM, by default in order; does nothing when it does not run."""
        java, watchdog = self._java, self._watchdog
        self._java = self._watchdog = None
        if watchdog is not None:
            watchdog.kill()  # Before the JVM, so that it can never kill a stranger with the same pid.
            watchdog.wait()
            assert watchdog.stdin is not None, "the watchdog is started with a pipe"
            watchdog.stdin.close()
        if java is None:
            return
        java.send_signal(signal.SIGCONT)
        java.send_signal(how)
        try:
            java.wait(timeout_s)
        except subprocess.TimeoutExpired:
            java.kill()
            java.wait()

    def signal(self, which: signal.Signals) -> None:
        """Send a signal to the running JVM; after SIGSTOP it stands still when this returns."""
        assert self._java is not None, "the server does not run"
        self._java.send_signal(which)
        if which is signal.SIGSTOP:
            os.waitid(os.P_PID, self._java.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)


def _watch(pid: int) -> subprocess.Popen[bytes]:
    """Start a shell that kills `pid` when this process is gone: then its standard input ends."""
    script = 'trap "" INT TERM HUP; read -r _; kill -9 "$1"'
    return subprocess.Popen(["sh", "-c", script, "sh", str(pid)], stdin=subprocess.PIPE, start_new_session=True)
