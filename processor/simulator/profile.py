"""A provider profile: what was found out about a real workspace, as settings of the simulator.

A YAML file; every key but `version` may be left out, and what is left out stays as documented:

    version: 1
    webhook:                  # where each member was seen, as dotted paths of which the first counts;
      workflowId: [data.id]   # one without a path was not seen, and is left out of the webhooks
      status: [data.status]
      kind: [type]
      recordId: []
      caseId: []
      definitionId: [data.definition]
    parameters: {path: /parameters, definitionMember: workflowDefinitionId, valuesMember: parameters, idPath: id}
    statusWords: [RUNNING, AWAITING, COMPLETED]   # in the order seen: the first runs, the last ended well
    statusShowsRecord: true
    run: {idPath: id}
    result: {available: true}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from processor.simulator.webhooks import MEMBERS

VERSION = 1
PARAMETERS = {
    "path": "parameters_path",
    "definitionMember": "parameters_definition_member",
    "valuesMember": "parameters_values_member",
    "idPath": "parameters_id_path",
}
KEYS = ("version", "webhook", "parameters", "statusWords", "statusShowsRecord", "run", "result")


def profile_settings(path: Path) -> dict[str, object]:
    """Read a profile as flat settings of the simulator.

    Raises OSError when the file cannot be read, ValueError with a sentence when it is no profile.
    """
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
        return _settings(given)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        place = "" if where is None else f", line {where.line + 1}"
        raise ValueError(f"{path}{place}: this is not YAML") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _settings(given: object) -> dict[str, object]:
    whole = _object("the file", given, KEYS)
    if whole.get("version") != VERSION:
        raise ValueError(f"`version` must be {VERSION}; another version is for another build")
    settings: dict[str, object] = {}
    if "webhook" in whole:
        seen = _object("`webhook`", whole["webhook"], tuple(MEMBERS))
        settings["webhook_shape"] = {name: _first_path(name, seen.get(name)) for name in MEMBERS}
    for name, value in _object("`parameters`", whole.get("parameters", {}), tuple(PARAMETERS)).items():
        settings[PARAMETERS[name]] = _text(f"`parameters.{name}`", value)
    for name, value in _object("`run`", whole.get("run", {}), ("idPath",)).items():
        settings["run_id_path"] = _text(f"`run.{name}`", value)
    for name, value in _object("`result`", whole.get("result", {}), ("available",)).items():
        settings["results_available"] = _boolean(f"`result.{name}`", value)
    if "statusShowsRecord" in whole:
        settings["status_hides_record"] = not _boolean("`statusShowsRecord`", whole["statusShowsRecord"])
    if "statusWords" in whole:
        settings |= _words(whole["statusWords"])
    return settings


def _words(given: object) -> dict[str, object]:
    """Give each status word its meaning by its place."""
    words = _texts("`statusWords`", given)
    if not words:
        raise ValueError("`statusWords` must name the words in the order in which they were seen")
    settings: dict[str, object] = {"completed_status": words[-1]}
    if len(words) > 1:
        settings["running_status"] = words[0]
    if len(words) > 2:  # noqa: PLR2004  # one between the first and the last
        settings["awaiting_status"] = words[1]
    return settings


def _first_path(name: str, given: object) -> str:
    paths = _texts(f"`webhook.{name}`", given or [])
    return paths[0] if paths else ""


def _object(what: str, given: object, known: tuple[str, ...]) -> Mapping[str, Any]:
    """Read an object of known keys."""
    if not isinstance(given, dict):
        raise ValueError(f"{what} must be an object of {', '.join(known)}")  # noqa: TRY004  # a value of YAML, not a type
    unknown = sorted(str(key) for key in given if key not in known)
    if unknown:
        raise ValueError(f"{what} has the unknown key {', '.join(unknown)}; known are {', '.join(known)}")
    return given


def _texts(what: str, given: object) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(each, str) and each for each in given):
        raise ValueError(f"{what} must be a list of texts")
    return given


def _text(what: str, given: object) -> str:
    if not isinstance(given, str) or not given:
        raise ValueError(f"{what} must be a text")
    return given


def _boolean(what: str, given: object) -> bool:
    if not isinstance(given, bool):
        raise ValueError(f"{what} must be true or false")  # noqa: TRY004  # as above
    return given
