"""Two builds of the processor on one machine: that of this tree, and a release of before from the history."""

import io
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.root import ROOT

PREVIOUS_VERSION, PREVIOUS_COMMIT = "0.1.0", "df53694"
DISTRIBUTION = "onboarding_processor"
# The release may lose what came while a partition moved to it (CHANGELOG, 0.2.0, Fixed). With that alone mended, what
# is left to judge is the update.
MENDED_FILE, FAULTY, MENDED = "processor/adapters/kafka.py", "OFFSET_END", "OFFSET_BEGINNING"


class HistoryMissing(Exception):
    """The release is not in this clone; the text says how to get it."""


@dataclass(frozen=True, slots=True)
class Build:
    """How processes of one build are started."""

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)


CURRENT = Build("current", (sys.executable, "-m", "processor", "run"), {"IMAGE_REVISION": "current"})


def previous(directory: Path) -> Build:
    """Return the release of before, put into a directory; it shares the packages of this environment.

    Raises HistoryMissing in a clone without history.
    """
    names = ("archive", PREVIOUS_COMMIT, "processor", "schemas")
    done = subprocess.run(("git", *names), cwd=ROOT, capture_output=True, check=False)
    if done.returncode != 0:
        raise HistoryMissing(
            f"the release {PREVIOUS_VERSION} ({PREVIOUS_COMMIT}) is not in this clone: fetch its history"
        )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(directory, filter="data")
    _mend(directory / MENDED_FILE)
    told = directory / f"{DISTRIBUTION}-{PREVIOUS_VERSION}.dist-info"
    told.mkdir()  # Found before that of the installed package, so that the build says its own version.
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {PREVIOUS_VERSION}\n")
    # -P: neither the working directory nor anything else comes before the path.
    command = (sys.executable, "-P", "-m", "processor", "run")
    return Build("previous", command, {"PYTHONPATH": str(directory), "IMAGE_REVISION": "previous"})


def _mend(source: Path) -> None:
    text = source.read_text(encoding="utf-8")
    assert FAULTY in text, "the release has no such fault: judge it as it is"
    source.write_text(text.replace(FAULTY, MENDED), encoding="utf-8")
