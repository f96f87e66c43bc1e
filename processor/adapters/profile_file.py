"""A provider profile: what a probe found out about a real workspace, as a YAML file.

`processor probe` writes it, `processor check` compares it with settings and catalogue, and `processor simulate` plays
it. It holds names of members, paths and status words; no value of anybody's.

    version: 1
    webhook:                  # dotted paths where each member was seen; one without a path was not
      workflowId: [workflowId]
      status: [status]
      kind: [type]
      recordId: [recordId]
      caseId: []
      definitionId: []
    parameters: {path: /parameters, definitionMember: workflowDefinitionId, valuesMember: parameters, idPath: id}
    statusWords: [RUNNING, COMPLETED]   # in the order seen: the first runs, the last ended well
    statusShowsRecord: true
    run: {idPath: id}
    result: {available: true}

Every key but `version` may be left out: then it was not seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import yaml

from processor.adapters.yaml_section import Problems, Section, compose

VERSION: Final = 1
WEBHOOK_MEMBERS: Final = ("workflowId", "status", "kind", "recordId", "caseId", "definitionId")
PARAMETERS_MEMBERS: Final = ("path", "definitionMember", "valuesMember", "idPath")

_KEYS = ("version", "webhook", "parameters", "statusWords", "statusShowsRecord", "run", "result")


@dataclass(frozen=True, slots=True)
class ProviderProfile:
    """What was seen; None or nothing where it was not."""

    webhook: Mapping[str, tuple[str, ...]] | None = None  # Member -> paths.
    parameters: Mapping[str, str] = field(default_factory=dict)  # Of `PARAMETERS_MEMBERS`.
    status_words: tuple[str, ...] = ()
    is_record_shown: bool | None = None  # Whether a status tells the record or case of its run.
    run_id_path: str | None = None
    is_result_available: bool | None = None


def read_profile(path: Path) -> ProviderProfile:
    """Return the profile in a file; raises SettingsInvalid that names every problem with its line."""
    problems = Problems(path.name)
    top = Section(compose(path), "", problems, _KEYS)
    if top.text("version") != str(VERSION):
        top.problem("version", f"this build reads version {VERSION}; write `version: {VERSION}`")
    webhook = top.section("webhook", WEBHOOK_MEMBERS)
    parameters = top.section("parameters", PARAMETERS_MEMBERS)
    run = top.section("run", ("idPath",))
    result = top.section("result", ("available",))
    profile = ProviderProfile(
        webhook=None if webhook is None else {name: webhook.texts(name) or () for name in WEBHOOK_MEMBERS},
        parameters=_texts(parameters),
        status_words=top.texts("statusWords") or (),
        is_record_shown=top.flag("statusShowsRecord"),
        run_id_path=None if run is None else run.text("idPath"),
        is_result_available=None if result is None else result.flag("available"),
    )
    problems.refuse()
    return profile


def profile_text(profile: ProviderProfile) -> str:
    """Return a profile as the text of its file."""
    seen: dict[str, object] = {"version": VERSION}
    if profile.webhook is not None:
        seen["webhook"] = {name: list(profile.webhook.get(name, ())) for name in WEBHOOK_MEMBERS}
    if profile.parameters:
        seen["parameters"] = dict(profile.parameters)
    if profile.status_words:
        seen["statusWords"] = list(profile.status_words)
    if profile.is_record_shown is not None:
        seen["statusShowsRecord"] = profile.is_record_shown
    if profile.run_id_path is not None:
        seen["run"] = {"idPath": profile.run_id_path}
    if profile.is_result_available is not None:
        seen["result"] = {"available": profile.is_result_available}
    return yaml.safe_dump(seen, sort_keys=False, default_flow_style=None, width=120)


def _texts(section: Section | None) -> dict[str, str]:
    if section is None:
        return {}
    return {name: text for name in PARAMETERS_MEMBERS if (text := section.text(name)) is not None}
