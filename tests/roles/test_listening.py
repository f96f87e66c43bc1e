"""An address that a process cannot listen on ends it with a sentence that names the setting and the remedy."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from processor.roles.listening import refusal
from tests.support.root import ROOT

ENVIRON = {
    "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "PROCESSOR_API__BASE_URL": "http://127.0.0.1:1",
    "PROCESSOR_WORKFLOWS__FILE": str(ROOT / "workflows.example.yaml"),
    "PROCESSOR_OPS__PORT": "0",
    "PROCESSOR_OPS__HOST": "127.0.0.1",
    "PROCESSOR_WEBHOOK__PORT": "0",
    "PROCESSOR_WEBHOOK__HOST": "127.0.0.1",
}


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("section", ["OPS", "WEBHOOK"])
def test_a_port_that_is_taken_is_named_with_its_setting(section: str, taken: int, tmp_path: Path) -> None:
    """As every wrong setting does, it ends the process with exit code 2 and one line on standard error."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PROCESSOR_")}
    given = {f"PROCESSOR_{section}__PORT": str(taken), "PROCESSOR_STATE__DIRECTORY": str(tmp_path)}
    command = (sys.executable, "-m", "processor", "run", "ingestor")
    ended = subprocess.run(command, cwd=ROOT, env=environ | ENVIRON | given, capture_output=True, check=False)
    assert (ended.returncode, ended.stderr.decode()) == (
        2,
        f"PROCESSOR_{section}__PORT: 127.0.0.1:{taken} is taken; choose another port, or end what listens there\n",
    )


@pytest.mark.parametrize(
    "error, told",
    [
        (
            PermissionError(errno.EACCES, "x"),
            "__PORT: host:80 may not be listened on by this user; choose a port above",
        ),
        (OSError(errno.EADDRNOTAVAIL, "x"), "__HOST: host cannot be listened on (Cannot assign requested address);"),
        (socket.gaierror(socket.EAI_NONAME, "x"), "__HOST: host cannot be listened on (no such host);"),
        (UnicodeError("label too long"), "__HOST: host cannot be listened on (no such host);"),
    ],
)
def test_each_reason_has_its_setting(error: Exception, told: str) -> None:
    """A host that is none of ours is no matter of the port."""
    assert refusal("webhook", "host", 80, error).startswith(f"PROCESSOR_WEBHOOK{told}")
