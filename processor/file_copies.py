"""Copies of files in memory, at paths that this process can read: what others write meanwhile does not change them.

In memory, for a key must not lie on a disk, and nothing is left behind when the process is killed.
"""

import fcntl
import os
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

Contents: TypeAlias = Mapping[Path, str]  # File -> hash of what it holds; empty where it cannot be read.

FILE_BYTES_MAX = 4 * 1024 * 1024  # What a bundle of all the world's authorities stays far below.


class FileCopy:
    """Bytes at a path that can be read as long as this value lives."""

    def __init__(self, held: bytes) -> None:
        number = os.memfd_create("copy", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        weakref.finalize(self, os.close, number)
        with open(number, "wb", closefd=False) as opened:  # it has no path yet
            opened.write(held)
        fcntl.fcntl(number, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
        self.path = Path(f"/proc/self/fd/{number}")


@dataclass(frozen=True, slots=True)
class KeptFiles:
    """What files held at one moment, and copies of those that could be read whole; equal when they held the same."""

    contents: Contents
    copies: Mapping[Path, FileCopy] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, files: Iterable[Path]) -> "KeptFiles":
        """Read each file once; a directory, and what is missing, is read where it lies."""
        named = tuple(files)
        held = {file: _held(file) for each in named for file in _files_in(each)}
        contents = {file: _hash(data) for file, data in held.items()}
        if not hasattr(os, "memfd_create"):  # Linux alone has files in memory; elsewhere is for development.
            return cls(contents)
        whole = {file: data for file, data in held.items() if data is not None and len(data) < FILE_BYTES_MAX}
        return cls(contents, {file: FileCopy(whole[file]) for file in named if file in whole})

    def path(self, file: Path) -> Path:
        """Return where its copy is read, or itself where there is none."""
        copy = self.copies.get(file)
        return file if copy is None else copy.path


def contents_of(files: Iterable[Path]) -> Contents:
    """Return what regular files hold now, read through links; a directory stands for the files in it."""
    return {file: _hash(_held(file)) for named in files for file in _files_in(named)}


def written_at(files: Iterable[Path]) -> Mapping[Path, int]:
    """Return when files were last written: what is equal before and after was not written in between."""
    return {file: _written_at(file) for named in files for file in (named, *_files_in(named))}


def _files_in(named: Path) -> list[Path]:
    try:
        return sorted(file for file in named.iterdir() if file.is_file()) if named.is_dir() else [named]
    except OSError:
        return [named]


def _held(file: Path) -> bytes | None:
    try:
        if not file.is_file():  # Of a pipe only the first reader gets something.
            return None
        with file.open("rb") as opened:
            return opened.read(FILE_BYTES_MAX)
    except OSError:
        return None


def _hash(held: bytes | None) -> str:
    return "" if held is None else sha256(held).hexdigest()


def _written_at(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0
