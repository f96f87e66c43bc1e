"""Room on disk for what one command must not leave behind: personal data.

A command that is killed cannot clean up. The kernel then gives up its lock, and the next command deletes what it left.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import Final

PREFIX: Final = "onboarding-move-"
LOCK: Final = "in-use.lock"  # Only a directory with such a file is ours to delete.
_PRIVATE = 0o600


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """Give a new private directory, which is gone afterwards, as are those of commands of ours that were killed."""
    delete_abandoned()
    directory, lock = _locked_directory()
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def delete_abandoned() -> None:
    """Delete the directories of this user that no living command holds."""
    for lock_file in Path(gettempdir()).glob(f"{PREFIX}*/{LOCK}"):
        with suppress(OSError):  # It is in use, or has been deleted meanwhile.
            if lock_file.parent.lstat().st_uid == os.geteuid():
                _delete_abandoned(lock_file)


def _delete_abandoned(lock_file: Path) -> None:
    lock = os.open(lock_file, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(lock_file.parent)
    finally:
        os.close(lock)


def _locked_directory() -> tuple[Path, int]:
    """Make a directory and lock it; another one where somebody deleted it before the lock was taken."""
    while True:
        directory = Path(mkdtemp(prefix=PREFIX))
        lock = os.open(directory / LOCK, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (directory / LOCK).exists():
            return directory, lock
        os.close(lock)
