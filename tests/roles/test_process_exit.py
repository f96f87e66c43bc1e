"""SIGTERM ends `processor run` with exit code 0, every time, whatever is there and whatever is not.

A process that ended at once after closing the HTTP client aborted in one run out of six before its adapter learned
to wait; one run therefore says nothing.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.root import ROOT

pytestmark = pytest.mark.slow

RUNS = 50
ENVIRON = {
    "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "PROCESSOR_SCHEMA_REGISTRY__URL": "http://127.0.0.1:1",
    "PROCESSOR_API__BASE_URL": "http://127.0.0.1:1",
    "PROCESSOR_API__KEY": "key",
    "PROCESSOR_API__SECRET": "secret",
    "PROCESSOR_WORKFLOWS__FILE": str(ROOT / "workflows.example.yaml"),
    "PROCESSOR_WEBHOOK__PORT": "0",
    "PROCESSOR_OPS__PORT": "0",
    "PROCESSOR_KAFKA__OPERATION_TIMEOUT_S": "0.3",  # A stop waits for the look-up that is under way.
}


def started(lines: Iterator[bytes]) -> bool:
    """Read a log until the process says that it started."""
    return any(b'"process.started"' in line for line in lines)


def exit_code(directory: Path) -> int:
    """Start all roles without any server, end them by SIGTERM once they run, and return the exit code."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PROCESSOR_")}
    environ |= ENVIRON | {"PROCESSOR_STATE__DIRECTORY": str(directory)}
    command = (sys.executable, "-m", "processor", "run")
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None, "it is a pipe"
        assert started(iter(process.stdout.readline, b"")), "it did not start"
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        return process.wait(60)


def test_sigterm_ends_with_zero_every_time(tmp_path: Path) -> None:
    """Fifty starts and stops of all roles while nothing outside answers."""
    with ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(lambda _: exit_code(tmp_path), range(RUNS)))
    assert codes == [0] * RUNS
