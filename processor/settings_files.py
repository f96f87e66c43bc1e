"""Which files settings come from and name, and what a running process takes up of what these hold now."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from processor.file_copies import KeptFiles
from processor.kafka_properties import FILE_ENDINGS, FILES_IN_PLACE
from processor.settings import DEFAULT_PROFILE, ApiSettings, Settings
from processor.settings_loading import PREFIX, SECRETS_VARIABLE

# Who we are and whom we trust. All else is the same from start to stop.
_KAFKA = ("sasl_username", "sasl_password", "properties")
_REGISTRY = ("username", "password", "ca_file")
_PROFILE = ("key", "secret", "token", "credentials", "ca_file", "proxy_username", "proxy_password")

_Section = TypeVar("_Section", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class SettingsSource:
    """Where settings come from; `load` raises SettingsInvalid, and does not try the files that clients read."""

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


def process_reading(settings: Settings, kept: KeptFiles) -> Settings:
    """Return settings by which clients of Kafka and the registry read copies of the files."""
    kafka, registry = settings.kafka, settings.schema_registry
    files = {name: Path(value) for name, value in kafka.properties.items() if name.endswith(FILE_ENDINGS)}
    copied = {name for name, file in files.items() if file in kept.copies} - FILES_IN_PLACE
    properties = {**kafka.properties, **{name: str(kept.path(files[name])) for name in copied}}
    ca_file = None if registry.ca_file is None else kept.path(registry.ca_file)
    return settings.model_copy(
        update={
            "kafka": kafka.model_copy(update={"properties": properties}),
            "schema_registry": registry.model_copy(update={"ca_file": ca_file}),
        }
    )


def profile_reading(settings: Settings, name: str, kept: KeptFiles) -> Settings:
    """Return settings by which clients of a provider profile read copies of the files."""
    api = settings.profiles()[name]
    if api.ca_file is None:
        return settings
    return _with_api(settings, name, api.model_copy(update={"ca_file": kept.path(api.ca_file)}))


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
    before, now = served.profiles()[name], loaded.profile(name)
    return served if now is None else _with_api(served, name, _with(before, now, _PROFILE))


def _with_api(settings: Settings, name: str, api: ApiSettings) -> Settings:
    if name == DEFAULT_PROFILE:
        return settings.model_copy(update={"api": api})
    return settings.model_copy(update={"providers": {**settings.providers, name: api}})


def _with(served: _Section, loaded: _Section, fields: Iterable[str]) -> _Section:
    return served.model_copy(update={name: getattr(loaded, name) for name in fields})
