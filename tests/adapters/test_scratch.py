"""What a command puts on disk is gone when it is: at its end, or, where it was killed, with the next command."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from processor.adapters.scratch import LOCK, PREFIX, scratch_directory

HOLDS = """\
from processor.adapters.scratch import scratch_directory
with scratch_directory() as directory:
    (directory / "deep").mkdir()
    (directory / "deep" / "state").write_text("personal data")
    print(directory, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the directory in which temporary ones are made."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)  # It is looked up once for each process.
    return tmp_path


@contextmanager
def another_command() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Run a command that holds a directory, until it is killed at the latest at the end of the block."""
    command = (sys.executable, "-c", HOLDS)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None, "it says where"
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_it_is_private_and_gone_at_the_end() -> None:
    """However the command ends by itself."""
    with pytest.raises(ZeroDivisionError), scratch_directory() as directory:
        assert directory.stat().st_mode & 0o077 == 0
        (directory / "state").write_text("personal data")
        raise ZeroDivisionError
    assert not directory.exists()


def test_what_a_killed_command_left_is_deleted_by_the_next_one() -> None:
    """Whole, whatever was in it."""
    with another_command() as (process, left):
        process.kill()
        process.wait()
        assert (left / "deep" / "state").read_text() == "personal data"
        with scratch_directory() as mine:
            assert not left.exists()
            assert mine.exists()


def test_a_command_that_lives_keeps_its_own() -> None:
    """Two commands side by side do not touch each other."""
    with another_command() as (_, theirs), scratch_directory():
        assert (theirs / "deep" / "state").exists()


def test_what_is_not_ours_is_left_alone(place: Path) -> None:
    """Neither a directory without our lock, though its name begins alike, nor what a link leads to."""
    notes = place / f"{PREFIX}notes"
    elsewhere = place / "elsewhere"
    for directory in (notes, elsewhere):
        directory.mkdir()
    (elsewhere / LOCK).touch()
    (place / f"{PREFIX}link").symlink_to(elsewhere)
    with scratch_directory():
        assert notes.exists()
        assert (elsewhere / LOCK).exists()
