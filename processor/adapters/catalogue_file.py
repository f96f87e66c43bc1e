"""Reads workflows.yaml: the whole file is checked, and every problem told with file, line, name and remedy."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from processor.adapters.yaml_section import Problems, Section, compose
from processor.core.catalogue import (
    Adoption,
    CaseTemplate,
    Catalogue,
    Mode,
    PollPolicy,
    RecordTemplate,
    ResultShape,
    UnknownPolicy,
    Workflow,
)
from processor.core.model import DAY_MS, ApiVersion
from processor.core.paths import compile_path

DEADLINE_MS_MAX = 90 * DAY_MS  # Request ids are remembered no longer than that, and duplicates must be recognised.

# The members of POST /cases, as the provider documents them.
CASE_MEMBERS = (
    "firstName",
    "lastName",
    "personalNumber",
    "email",
    "phone",
    "companyName",
    "companyNumber",
    "companyAddress",
    "documents",
)

_LATER = "is not available in this version"
_APIS = {"1": None, "2": None, "3": f"{_LATER}; write 1 (cases) or 2 (records)"}
_MODES = {"run": None, **dict.fromkeys(("link", "link-send", "token"), f"{_LATER}; write run")}
_ADOPTIONS = {"record": None, "none": None, "parameters": f"{_LATER}; write record or none"}
_POLICIES = {"hold": None, "rerun": f"{_LATER}; write hold"}
_SHAPES: Mapping[str, str | None] = {"full": None, "selected": None, "none": None}

_KEYS = (
    "api",
    "mode",
    "definition",
    "record",
    "case",
    "parameters",
    "adoption",
    "statuses",
    "result",
    "resultsTopic",
    "deadline",
    "unknown",
    "poll",
)
_NAME = re.compile(r"^[A-Za-z0-9._-]{1,100}$")
_TOPIC = re.compile(r"^[A-Za-z0-9._-]{1,249}$")


def load_catalogue(
    path: Path,
    *,
    api: ApiVersion = ApiVersion.RECORDS,
    results_topic: str = "onboarding.results",
) -> Catalogue:
    """Return the catalogue; raises SettingsInvalid that names every problem in the file.

    `api` holds for workflows that name no version, `results_topic` for those that name no topic.
    """
    problems = Problems(path.name)
    top = Section(compose(path), "", problems, ("version", "workflows"))
    if not top.names():
        problems.refuse()
    if top.text("version") != "1":
        top.problem("version", "this build reads version 1; write `version: 1`")
    named = top.section("workflows", None)
    if named is None or not named.names():
        top.problem("workflows", "there is no workflow; write at least one below `workflows:`")
    workflows = {name: _workflow(named, name, api) for name in named.names()} if named else {}
    problems.refuse()
    return Catalogue({name: found for name, found in workflows.items() if found}, results_topic)


def fault_fingerprint(workflow: Workflow, credentials_hash: str) -> str:
    """Return a short hash of all that a refusal could be the fault of: what we send, where, and as whom.

    It changes when an operator mends the workflow or its credentials, and with nothing else.
    """
    sent = (
        workflow.definition,
        int(workflow.api),
        dataclasses.asdict(workflow.record) if workflow.record else None,
        dataclasses.asdict(workflow.case) if workflow.case else None,
        workflow.parameters,
        credentials_hash,
    )
    return hashlib.sha256(json.dumps(sent, sort_keys=True).encode()).hexdigest()[:16]


def _workflow(named: Section, name: str, api: ApiVersion) -> Workflow | None:
    if not _NAME.match(name):
        named.problem(name, "a name is 1 to 100 of A-Z a-z 0-9 . _ -; rename it")
    section = named.section(name, _KEYS)
    if section is None:
        named.problem(name, "it is empty; write at least `definition:` below it")
        return None
    if not section.has("definition"):
        section.problem("definition", "it is missing; write the provider's workflowDefinitionId")
    given = {
        "definition": section.text("definition"),
        "api": _number(section.word("api", _APIS), api),
        "mode": _choice(Mode, section.word("mode", _MODES)),
        "record": _record(section),
        "case": _case(section),
        "parameters": _parameters(section),
        "adoption": _choice(Adoption, section.word("adoption", _ADOPTIONS)),
        "deadline_ms": section.duration_ms("deadline"),
        "results_topic": _topic(section),
        **_statuses(section),
        **_result(section),
        **_unknown(section),
        **_poll(section),
    }
    workflow = Workflow(name=name, **_present({"definition": "", **_present(given)}))
    if workflow.record is None and workflow.case is None and not section.has("adoption"):
        workflow = dataclasses.replace(workflow, adoption=Adoption.NONE)
    for key, text in _contradictions(workflow):
        section.problem(key, text)
    return workflow


def _present(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given, so that the value's own defaults stand for the rest."""
    return {name: value for name, value in given.items() if value is not None}


def _number(word: str | None, default: ApiVersion) -> ApiVersion:
    return ApiVersion(int(word)) if word else default


def _choice(kind: type[Mode | Adoption | UnknownPolicy | ResultShape], word: str | None) -> Any:  # noqa: ANN401
    return kind(word) if word else None


def _is_left_out(section: Section, key: str) -> bool:
    """Whether the key is absent, or says `none`."""
    return not section.has(key) or (section.is_text(key) and section.text(key) == "none")


def _record(section: Section) -> RecordTemplate | None:
    if _is_left_out(section, "record"):
        return None
    record = section.section("record", ("table", "columns"))
    if record is None:
        return None
    table = record.text("table")
    if table is None and not record.has("table"):
        record.problem("table", "it is missing; write the id of the provider's table")
    return RecordTemplate(table or "", _paths(record, "columns"))


def _case(section: Section) -> CaseTemplate | None:
    if _is_left_out(section, "case"):
        return None
    section.section("case", CASE_MEMBERS)
    return CaseTemplate(_paths(section, "case"))


def _parameters(section: Section) -> Mapping[str, str] | None:
    return None if _is_left_out(section, "parameters") else _paths(section, "parameters")


def _paths(section: Section, key: str) -> Mapping[str, str]:
    """Return a mapping to dotted paths into the request, each of which a request can have."""
    paths = section.mapping(key)
    inner = section.section(key, None)
    for name, path in paths.items():
        try:
            compile_path(path)
        except ValueError as error:
            if inner:
                inner.problem(name, str(error))
    return paths


def _topic(section: Section) -> str | None:
    topic = section.text("resultsTopic")
    if topic is not None and not _TOPIC.match(topic):
        section.problem("resultsTopic", "a topic is 1 to 249 of A-Z a-z 0-9 . _ -; rename it")
    return topic


def _statuses(section: Section) -> dict[str, Any]:
    statuses = section.section("statuses", ("success", "failure", "running"))
    if statuses is None:
        return {}
    words = {key: statuses.texts(key) for key in ("success", "failure", "running")}
    if words["success"] == ():
        statuses.problem("success", "without a success status nothing ever completes; write at least one")
    return {key: frozenset(word.upper() for word in given) for key, given in words.items() if given is not None}


def _result(section: Section) -> dict[str, Any]:
    result = section.section("result", ("publish", "paths", "decision"))
    if result is None:
        return {}
    shape = _choice(ResultShape, result.word("publish", _SHAPES))
    paths = result.texts("paths")
    if shape is ResultShape.SELECTED and not paths:
        result.problem("paths", "publish: selected needs them; write like [output.decision, output.score]")
    if shape is not ResultShape.SELECTED and paths:
        result.problem("paths", "they are used with publish: selected only; write that, or leave them out")
    decision = result.text("decision")
    for key, path in [*(("paths", path) for path in paths or ()), *((("decision", decision),) if decision else ())]:
        if not all(path.split(".")):
            result.problem(key, f"path {path!r} has an empty word; write one name between two dots")
    return {"result_shape": shape, "result_paths": paths, "decision_path": decision}


def _unknown(section: Section) -> dict[str, Any]:
    unknown = section.section("unknown", ("policy", "adoptionWindow"))
    if unknown is None:
        return {}
    return {
        "unknown_policy": _choice(UnknownPolicy, unknown.word("policy", _POLICIES)),
        "adoption_window_ms": unknown.duration_ms("adoptionWindow"),
    }


def _poll(section: Section) -> dict[str, Any]:
    poll = section.section("poll", ("first", "max"))
    if poll is None:
        return {}
    given = {"first_ms": poll.duration_ms("first"), "max_ms": poll.duration_ms("max")}
    policy = PollPolicy(**_present(given))
    if policy.first_ms > policy.max_ms:
        poll.problem("first", "the first wait is longer than the longest; lower first, or raise max")
    return {"poll": policy}


def _contradictions(workflow: Workflow) -> Iterator[tuple[str, str]]:
    """Yield key and text of what is good by itself but not together."""
    if workflow.record and workflow.case:
        yield "case", "a workflow makes a record (api 2) or a case (api 1), not both; leave one out"
    elif workflow.api is ApiVersion.CASES and not workflow.case:
        yield "api", "version 1 runs a workflow for a case; write `case:`, or api 2"
    elif workflow.api is ApiVersion.RECORDS and workflow.case:
        yield "case", "version 2 runs a workflow for a record; write `record:`, or api 1"
    if workflow.adoption is Adoption.RECORD and not (workflow.record or workflow.case):
        yield "adoption", "no record or case is made by which a run could be told; write one, or `adoption: none`"
    if both := sorted(workflow.success & workflow.failure):
        yield "statuses", f"{both[0]} is success and failure; write the other list without it"
    if workflow.deadline_ms > DEADLINE_MS_MAX:
        yield "deadline", "at most 90d, for duplicates are remembered no longer; lower it"
    if workflow.adoption_window_ms >= workflow.deadline_ms:
        yield "unknown", "the adoption window must end before the deadline; lower adoptionWindow"
