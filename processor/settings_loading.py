"""Reads settings from the environment, a file and mounted secrets, and refuses what contradicts itself.

The later of these wins: defaults, the file that PROCESSOR_SETTINGS_FILE names, files in PROCESSOR_SECRETS_DIRECTORY
named like the variables, the environment, overrides of a command. All problems are told at once, each under the
name of its environment variable; values of secrets and of librdkafka properties are never repeated.
"""

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias, get_args

import yaml
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from processor.errors import SettingsInvalid
from processor.settings import DEFAULT_PROFILE, ApiSettings, CredentialKind, Settings, profile_prefix
from processor.settings_relations import file_problems, relation_problems

PREFIX = "PROCESSOR_"
FILE_VARIABLE = "PROCESSOR_SETTINGS_FILE"
SECRETS_VARIABLE = "PROCESSOR_SECRETS_DIRECTORY"
SECRET_BYTES_MAX = 64 * 1024

_SHOWN_MAX = 60
_UNSHOWN = frozenset({("kafka", "properties")})

PROVIDERS = "providers"
PROVIDERS_PREFIX = f"{PREFIX}{PROVIDERS.upper()}__"

SettingPath: TypeAlias = tuple[str, ...]


class Need(StrEnum):
    """What a command talks to, and so which settings it cannot do without."""

    KAFKA = "kafka"
    REGISTRY = "registry"
    API = "api"


EVERYTHING = frozenset(Need)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as people see it."""

    variable: str
    path: SettingPath
    default: object
    description: str
    is_secret: bool


@dataclass(frozen=True, slots=True)
class _Given:
    """A value, and where it came from."""

    value: object
    source: str


def all_settings(section: type[BaseModel] = Settings, path: SettingPath = ()) -> Iterator[Setting]:
    """Yield every setting, in the order of the tree; those of further profiles, `profile_settings` yields."""
    for name, info in section.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from all_settings(inner, (*path, name))
        elif (*path, name) != (PROVIDERS,):
            yield _setting((*path, name), info)


def profile_settings(name: str) -> Iterator[Setting]:
    """Yield every setting of a further profile of the provider."""
    return all_settings(ApiSettings, (PROVIDERS, name))


def load_settings(
    environ: Mapping[str, str],
    *,
    needs: frozenset[Need] = EVERYTHING,
    overrides: Mapping[str, object] | None = None,
    are_files_tried: bool = True,
) -> Settings:
    """Return the settings; raises SettingsInvalid that names every problem, its variable and its remedy.

    `overrides` is nested like the tree. Relations between settings are checked once each of them is good by itself, and
    so are, if `are_files_tried`, the files that clients read.
    """
    problems: list[str] = []
    given: dict[SettingPath, _Given] = {}
    from_file, from_command = _from_file(environ, problems), _flat(overrides or {}, "the command")
    secret_files = _secret_files(environ, problems)
    profiles = {path[1] for path in (*from_file, *from_command) if path[0] == PROVIDERS and len(path) > 1}
    profiles |= set(_profiles_in((*_ours(environ), *secret_files)))
    known = (*all_settings(), *(setting for name in sorted(profiles) for setting in profile_settings(name)))
    settings = {setting.path: setting for setting in known}
    for layer in (
        from_file,
        _from_secret_files(secret_files, settings, problems),
        _from_environment(environ, settings, problems),
        from_command,
    ):
        given |= layer
    try:
        tree = Settings.model_validate(_nested(given))
    except ValidationError as error:
        problems += [_explain(path, problem, settings, given) for path, problem in _of_pydantic(error)]
    else:
        problems += _missing(tree, needs)
        problems += relation_problems(tree)
        problems += file_problems(tree) if are_files_tried else ()
    if problems:
        raise SettingsInvalid("\n".join(problems))
    return tree


def _variable(path: SettingPath) -> str:
    """Return the variable of a setting; `_` stands for the `-` of a profile's name."""
    return PREFIX + "__".join(path).upper().replace("-", "_")


def _profiles_in(variables: Iterable[str]) -> Iterator[str]:
    """Yield the profiles that variables name."""
    for variable in variables:
        name, level, _ = variable.removeprefix(PROVIDERS_PREFIX).partition("__")
        if variable.startswith(PROVIDERS_PREFIX) and name and level:
            yield name.lower().replace("_", "-")


def _setting(path: SettingPath, info: FieldInfo) -> Setting:
    return Setting(
        variable=_variable(path),
        path=path,
        default=info.default,
        description=info.description or "",
        is_secret=SecretStr in (info.annotation, *get_args(info.annotation)),
    )


def _from_file(environ: Mapping[str, str], problems: list[str]) -> dict[SettingPath, _Given]:
    name = environ.get(FILE_VARIABLE)
    if not name:
        return {}
    try:
        read = yaml.safe_load(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"{FILE_VARIABLE}: {name} cannot be read ({error.strerror}); mount it, or unset the variable")
        return {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        problems.append(f"{FILE_VARIABLE}: {where} is not valid YAML; mend it there")
        return {}
    if read is not None and not isinstance(read, dict):
        problems.append(f"{FILE_VARIABLE}: {name} must be a mapping of sections such as `kafka:`")
        return {}
    return _flat(read or {}, name)


def _secret_files(environ: Mapping[str, str], problems: list[str]) -> dict[str, Path]:
    """Return every file of the secrets directory under the variable that it is named like."""
    name = environ.get(SECRETS_VARIABLE)
    if not name:
        return {}
    try:
        if Path(name).is_dir():
            return {file.name.upper(): file for file in sorted(Path(name).iterdir()) if file.is_file()}
    except OSError as error:
        problems.append(f"{SECRETS_VARIABLE}: {name} cannot be read ({error.strerror}); mount the secret there")
    else:
        problems.append(f"{SECRETS_VARIABLE}: {name} is no directory; mount the secret there, or unset the variable")
    return {}


def _from_secret_files(
    files: Mapping[str, Path],
    settings: Mapping[SettingPath, Setting],
    problems: list[str],
) -> dict[SettingPath, _Given]:
    found: dict[SettingPath, _Given] = {}
    for setting in settings.values():
        if file := files.get(setting.variable):
            found |= _read_secret(setting, str(file), SECRETS_VARIABLE, problems)
    return found


def _from_environment(
    environ: Mapping[str, str],
    settings: Mapping[SettingPath, Setting],
    problems: list[str],
) -> dict[SettingPath, _Given]:
    by_variable = {setting.variable: setting for setting in settings.values()}
    by_file_variable = {f"{setting.variable}_FILE": setting for setting in settings.values() if setting.is_secret}
    names = [*by_variable, *by_file_variable, FILE_VARIABLE, SECRETS_VARIABLE]
    found: dict[SettingPath, _Given] = {}
    for name in _ours(environ):
        value = environ[name]
        if setting := by_variable.get(name):
            found[setting.path] = _Given(value, "the environment")
        elif setting := by_file_variable.get(name):
            if setting.variable in environ:
                problems.append(f"{name}: {setting.variable} is set too; unset one of them")
            found |= _read_secret(setting, value, name, problems)
        elif name not in {FILE_VARIABLE, SECRETS_VARIABLE}:
            problems.append(f"{name}: there is no such setting; {_nearest(name, names)}")
    return found


def _ours(environ: Mapping[str, str]) -> list[str]:
    """Return variables of ours, without those that Kubernetes makes of a service whose name begins like us."""
    hosts = [name.removesuffix("_SERVICE_HOST") for name in environ if name.endswith("_SERVICE_HOST")]
    links = tuple(f"{host}_{kind}" for host in hosts for kind in ("SERVICE_", "PORT"))
    return sorted(name for name in environ if name.startswith(PREFIX) and not name.startswith(links))


def _read_secret(
    setting: Setting,
    file: str,
    variable: str,
    problems: list[str],
) -> dict[SettingPath, _Given]:
    try:
        with Path(file).open("rb") as opened:
            data = opened.read(SECRET_BYTES_MAX + 1)
        text = data.decode()
    except OSError as error:
        problems.append(f"{variable}: {file} cannot be read ({error.strerror}); mount the secret there")
        return {}
    except UnicodeDecodeError:
        problems.append(f"{variable}: {file} is no UTF-8 text; write the secret as text")
        return {}
    if setting.is_secret and not text.strip():  # As a file is while it is being written.
        problems.append(f"{variable}: {file} is empty; write the secret there")
        return {}
    if len(data) > SECRET_BYTES_MAX:
        problems.append(f"{variable}: {file} is larger than {SECRET_BYTES_MAX} bytes; it is no secret of ours")
        return {}
    return {setting.path: _Given(text.rstrip("\r\n"), os.path.basename(file))}  # noqa: PTH119  # a name, not a path


def _flat(nested: Mapping[Any, object], source: str, path: SettingPath = ()) -> dict[SettingPath, _Given]:
    flat: dict[SettingPath, _Given] = {}
    for name, value in nested.items():
        inner = (*path, str(name))
        if isinstance(value, Mapping) and inner not in _UNSHOWN:
            flat |= _flat(value, source, inner)
        else:
            flat[inner] = _Given(value, source)
    return flat


def _nested(given: Mapping[SettingPath, _Given]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, value in given.items():
        section = nested
        for name in path[:-1]:
            inner = section.setdefault(name, {})
            if not isinstance(inner, dict):  # A section that somebody gave as a value: pydantic says so.
                break
            section = inner
        else:
            section[path[-1]] = value.value
    return nested


def _of_pydantic(error: ValidationError) -> Iterator[tuple[SettingPath, str]]:
    for problem in error.errors(include_url=False, include_input=False):
        path = tuple(str(step) for step in problem["loc"] if step != "[key]")  # Pydantic's mark of a mapping's name.
        match problem["type"]:
            case "extra_forbidden":
                yield path, ""
            case "model_type":
                yield path, "it is a section; write its settings below it"
            case _:
                yield path, problem["msg"].removeprefix("Value error, ")


def _explain(
    path: SettingPath,
    problem: str,
    settings: Mapping[SettingPath, Setting],
    given: Mapping[SettingPath, _Given],
) -> str:
    """Say in one line which setting is wrong, with what value and from where, and what would be right."""
    known = next((path[:length] for length in range(len(path), 0, -1) if path[:length] in settings), None)
    source = given.get(known or path, _Given(None, "the settings file"))
    if known is None:
        name = _variable(path)
        names = [setting.variable for setting in settings.values()]
        wrong = problem or f"there is no such setting; {_nearest(name, names)}"
        return f"{name} (from {source.source}): {wrong}"
    setting = settings[known]
    value = str(source.value)
    is_shown = not setting.is_secret and known not in _UNSHOWN and "@" not in value
    shown = f", not {value[:_SHOWN_MAX]!r}" if is_shown else ""
    default = "" if setting.default in (None, "") else f" (default {default_text(setting.default)})"
    text = f"{problem[:1].lower()}{problem[1:]}"
    return f"{setting.variable} (from {source.source}): {text}{shown}; it means: {setting.description}{default}"


def default_text(default: object) -> str:
    """Return a default as it would be written in the environment."""
    if isinstance(default, tuple):
        return ",".join(default)
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, dict):
        return "{}"
    return str(int(default)) if isinstance(default, float) and default.is_integer() else str(default)


def _nearest(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.8)
    if close:
        return f"is {close[0]} meant?"
    return "docs/settings.md lists all of them; unset it"


def _missing(tree: Settings, needs: frozenset[Need]) -> Iterator[str]:
    if Need.KAFKA in needs and not tree.kafka.bootstrap_servers:
        yield "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS is not set; set it to brokers such as kafka-0:9092,kafka-1:9092"
    if Need.REGISTRY in needs and not tree.schema_registry.url:
        yield "PROCESSOR_SCHEMA_REGISTRY__URL is not set; set it to an address such as https://registry:8081"
    if Need.API in needs:
        for name, api in tree.profiles().items():
            yield from _missing_of_api(profile_prefix(name), api)
        if DEFAULT_PROFILE not in tree.profiles() and tree.api != ApiSettings():
            yield "PROCESSOR_API__BASE_URL is not set, though other settings of its profile are; set it, or unset those"


def _missing_of_api(prefix: str, api: ApiSettings) -> Iterator[str]:
    if not api.base_url:
        yield f"{prefix}BASE_URL is not set; set it to the address of the provider's API"
    kinds = (CredentialKind.CREATE, CredentialKind.START, CredentialKind.READ)
    if not all(api.credential(kind).is_given for kind in kinds):
        yield (
            f"{prefix}KEY and {prefix}SECRET are not set; set both, or {prefix}TOKEN, directly or by a file "
            f"({prefix}KEY_FILE, …)"
        )
