"""Two bases for images without an engine or an image registry: Debian by debootstrap, and what of it a runtime needs.

They are made once and kept in `.cache`. The second has no shell and no tools: what runs there needs none.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

SUITE = "bookworm"
PACKAGES = "ca-certificates,python3,python3-venv"
TOOLS = ("buildah", "crun", "debootstrap")
TIMEOUT_S = 600
# In the mounted root "$1": the first for both, the second for the runtime's.
WITHOUT_DOCUMENTS = 'rm -rf "$1"/var/cache/apt/archives "$1"/usr/share/doc "$1"/usr/share/locale "$1"/usr/share/man'
WITHOUT_TOOLS = """
find "$1/usr/bin" "$1/usr/sbin" -mindepth 1 ! -name 'python3*' -delete
rm -rf "$1"/usr/share/perl* "$1"/usr/lib/*/perl* "$1"/usr/share/python-wheels "$1"/usr/lib/apt "$1"/var/lib/apt
"""


def tool_missing() -> str | None:
    """Say what is missing here to make bases; None where nothing is."""
    if os.geteuid() != 0:
        return "only root may run debootstrap and buildah without an engine"
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    return f"apt-get install {' '.join(missing)}" if missing else None


class DebianBases:
    """The bases, in a storage of buildah's of their own."""

    def __init__(self, folder: Path) -> None:
        """Make the bases that are not in the folder yet; raises AssertionError where a tool fails."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        recipe = f"{SUITE}\n{PACKAGES}\n{WITHOUT_DOCUMENTS}\n{WITHOUT_TOOLS}"
        stamp = hashlib.sha256(recipe.encode()).hexdigest()[:12]
        self._build, self._runtime = f"localhost/debian-python:{stamp}", f"localhost/debian-python-bare:{stamp}"
        with self._locked():
            if self.buildah("images", "--quiet", "--filter", f"reference={self._runtime}").strip() == "":
                self._make()

    def arguments(self) -> Mapping[str, str]:
        """Return the arguments of a build on these bases."""
        return {"PYTHON_IMAGE": self._build, "RUNTIME_IMAGE": self._runtime}

    def buildah(self, *arguments: str) -> str:
        """Run a command of buildah's and return what it prints; raises AssertionError where it fails."""
        where = ("--root", str(self._folder / "storage"), "--runroot", str(self._folder / "run"))
        return _run("buildah", *where, "--storage-driver", "vfs", *arguments)

    def _make(self) -> None:
        container = self.buildah("from", "scratch").strip()
        with tempfile.TemporaryDirectory(prefix="debootstrap-", dir=self._folder) as directory:
            _run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, directory)
            _run("sh", "-euc", WITHOUT_DOCUMENTS, "sh", directory)
            self.buildah("add", "--quiet", container, directory, "/")
        self.buildah("commit", "--quiet", container, self._build)
        _run("sh", "-euc", WITHOUT_TOOLS, "sh", self.buildah("mount", container).strip())
        self.buildah("commit", "--quiet", "--rm", container, self._runtime)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process at a time make the bases."""
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    said = done.stderr[-3_000:] or done.stdout[-3_000:]
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{said}"
    return done.stdout
