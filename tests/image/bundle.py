"""Runs a program in the root of an image by crun, as Kubernetes' `restricted` would have it, on the host's network.

`python -m tests.image.bundle BUNDLE` does it: the variables that BUNDLE names come from its environment, standard
input, output and exit code are the program's, and SIGTERM is handed on. When it is killed, the program dies with it.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

CLONE_NEWNS, CLONE_NEWPID = 0x00020000, 0x20000000
# A crun that finds both generations of control groups mounted refuses to run, even where it is to use none of them.
START = """
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs none /sys/fs/cgroup
exec crun --cgroup-manager=disabled --root "$1/state" run --bundle "$1" "$2"
"""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What is run, and in what surroundings."""

    root: str
    user: str
    environment: tuple[str, ...]  # NAME=VALUE, as the image has it.
    variables: tuple[str, ...]  # Names of those that come from outside.
    program: tuple[str, ...]
    writable: Mapping[str, str]  # Directory outside -> path inside.
    readable: Mapping[str, str]  # File outside -> path inside.

    def to_json(self) -> str:
        """Return it as an argument of this program."""
        return json.dumps(asdict(self))

    @classmethod
    def of_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))

    def specification(self, environ: Mapping[str, str]) -> dict[str, Any]:
        """Return it in the words of the OCI runtime specification."""
        user, _, group = self.user.partition(":")
        given = [f"{name}={environ[name]}" for name in self.variables if name in environ]
        system = [
            _mount("/proc", "proc"),
            _mount("/dev", "tmpfs", "nosuid", "mode=755"),
            _mount("/tmp", "tmpfs", "nosuid", "nodev", "mode=1777"),  # noqa: S108  # a path inside
        ]
        writable = [_bind(source, path, "rw") for source, path in self.writable.items()]
        readable = [_bind(source, path, "ro") for source, path in self.readable.items()]
        return {
            "ociVersion": "1.0.2",
            "process": {
                "terminal": False,
                "user": {"uid": int(user), "gid": int(group)},
                "args": list(self.program),
                "env": [*self.environment, *given],
                "cwd": "/",
                "capabilities": {},
                "noNewPrivileges": True,
            },
            "root": {"path": self.root, "readonly": True},
            "mounts": [*system, *writable, *readable],
            "linux": {"namespaces": [{"type": each} for each in ("mount", "pid", "ipc", "uts")]},
        }


def _mount(path: str, kind: str, *options: str) -> dict[str, Any]:
    return {"destination": path, "type": kind, "source": kind, "options": list(options)}


def _bind(source: str, path: str, access: str) -> dict[str, Any]:
    return {"destination": path, "type": "bind", "source": source, "options": ["bind", access]}


def main() -> None:
    """Run the bundle and end as it ends."""
    bundle = Bundle.of_json(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="bundle-") as directory:
        specification = bundle.specification(os.environ)
        Path(directory, "config.json").write_text(json.dumps(specification), encoding="utf-8")
        # The child is the first process of its namespace: whoever kills it kills the container too. It stays in our
        # process group, so whoever kills the group kills it.
        assert ctypes.CDLL(None).unshare(CLONE_NEWNS | CLONE_NEWPID) == 0, "only root may make namespaces"
        child = subprocess.Popen(["sh", "-euc", START, "sh", directory, f"test-{uuid4().hex}"])
        signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        code = child.wait()
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
