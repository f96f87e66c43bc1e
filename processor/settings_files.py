"""Which files settings come from and name, what these hold now, and what of it a running process takes up.

Contents are compared by hash and read through links, as Kubernetes swaps a mounted volume by one. A hash of a secret
leaves this process no more than the secret does.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

from pydantic import BaseModel

from processor.kafka_properties import FILE_ENDINGS
from processor.settings import DEFAULT_PROFILE, ApiSettings, Settings
from processor.settings_loading import PREFIX, SECRETS_VARIABLE

Contents: TypeAlias = Mapping[Path, str]  # File -> hash of what it holds; empty where it cannot be read.

FILE_BYTES_MAX = 4 * 1024 * 1024  # What a bundle of all the world's authorities stays far below.

# Who we are and whom we trust. All else is the same from start to stop.
_KAFKA = ("sasl_username", "sasl_password", "properties")
_REGISTRY = ("username", "password", "ca_file")
_PROFILE = ("key", "secret", "token", "credentials", "ca_file")

_Section = TypeVar("_Section", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class SettingsSource:
    """Where settings come from; `load` raises SettingsInvalid."""

    environ: Mapping[str, str]
    load: Callable[[], Settings]

    def files(self) -> Iterator[Path]:
        """Yield the files that are read when settings are loaded."""
        for name, value in self.environ.items():
            is_file = name.endswith("_FILE") and not name.endswith("__FILE")  # That one is a setting called `file`.
            if name.startswith(PREFIX) and value and (is_file or name == SECRETS_VARIABLE):
                yield Path(value)

    @property
    def can_be_read_again(self) -> bool:
        """Whether all of them are plain files; a pipe gives its secret to the first reader, and holds up the next."""
        return all(file.is_file() or file.is_dir() for file in self.files())


def process_files(settings: Settings) -> Iterator[Path]:
    """Yield the files that clients of Kafka and the schema registry read when they are made."""
    yield from (Path(value) for name, value in settings.kafka.properties.items() if name.endswith(FILE_ENDINGS))
    if settings.schema_registry.ca_file is not None:
        yield settings.schema_registry.ca_file


def profile_files(api: ApiSettings) -> Iterator[Path]:
    """Yield the files that clients of a provider profile read when they are made."""
    if api.ca_file is not None:
        yield api.ca_file


def client_files(settings: Settings) -> Iterator[Path]:
    """Yield the files that clients read when they are made."""
    yield from process_files(settings)
    for api in settings.profiles().values():
        yield from profile_files(api)


def contents_of(files: Iterable[Path]) -> Contents:
    """Return what regular files hold now; a directory stands for the files in it."""
    return {file: _hash(file) for named in files for file in _files_in(named)}


def taking_up(served: Settings, loaded: Settings) -> Settings:
    """Return what is served, with who we are and whom we trust as they were loaded now."""
    taken = with_process(served, loaded)
    for name in served.profiles():
        taken = with_profile(taken, name, loaded)
    return taken


def with_process(served: Settings, loaded: Settings) -> Settings:
    """Return what is served, with what clients of Kafka and the registry are told as it was loaded."""
    kafka = _with(served.kafka, loaded.kafka, _KAFKA)
    registry = _with(served.schema_registry, loaded.schema_registry, _REGISTRY)
    return served.model_copy(update={"kafka": kafka, "schema_registry": registry})


def with_profile(served: Settings, name: str, loaded: Settings) -> Settings:
    """Return what is served, with a provider profile as it was loaded; one that is not there any more stays."""
    if name == DEFAULT_PROFILE:
        return served.model_copy(update={"api": _with(served.api, loaded.api, _PROFILE)})
    if name not in loaded.providers:
        return served
    changed = _with(served.providers[name], loaded.providers[name], _PROFILE)
    return served.model_copy(update={"providers": {**served.providers, name: changed}})


def _with(served: _Section, loaded: _Section, fields: Iterable[str]) -> _Section:
    return served.model_copy(update={name: getattr(loaded, name) for name in fields})


def _files_in(named: Path) -> list[Path]:
    try:
        return sorted(file for file in named.iterdir() if file.is_file()) if named.is_dir() else [named]
    except OSError:
        return [named]


def _hash(file: Path) -> str:
    try:
        if not file.is_file():  # Of a pipe only the first reader gets something.
            return ""
        with file.open("rb") as opened:
            return hashlib.sha256(opened.read(FILE_BYTES_MAX)).hexdigest()
    except OSError:
        return ""
