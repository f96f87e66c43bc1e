"""A directory of files as Kubernetes mounts a Secret: links through one link, which is swapped when they change."""

from collections.abc import Mapping
from pathlib import Path


class MountedFiles:
    """Files that change all at once; each is a link to `..data/NAME`, and `..data` a link to their revision."""

    def __init__(self, directory: Path, files: Mapping[str, str | None]) -> None:
        self.directory = directory
        self._files: dict[str, str] = {}
        self._revision = 0
        directory.mkdir(parents=True, exist_ok=True)
        self.change(files)

    def change(self, files: Mapping[str, str | None]) -> None:
        """Put other contents into these files, None takes one away; the others stay."""
        given = {**self._files, **files}
        self._files = {name: text for name, text in given.items() if text is not None}
        self._revision += 1
        revision = self.directory / f"..{self._revision}"
        revision.mkdir()
        for name, text in self._files.items():
            (revision / name).write_text(text, encoding="utf-8")
        fresh = self.directory / "..data_tmp"
        fresh.symlink_to(revision.name)
        fresh.replace(self.directory / "..data")
        for name in given:
            if name not in self._files:
                (self.directory / name).unlink()
            elif not (self.directory / name).is_symlink():
                (self.directory / name).symlink_to(f"..data/{name}")

    def path(self, name: str) -> Path:
        """Return where a file is read."""
        return self.directory / name
