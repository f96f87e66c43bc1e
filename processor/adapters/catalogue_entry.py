"""One workflow of workflows.yaml: its keys read one by one, each absent one left to its default, then seen whole."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

from processor.adapters.api_requests import ID_CHARS_MAX, path_segment
from processor.adapters.catalogue_rules import contradictions
from processor.adapters.yaml_section import Section
from processor.core.acceptance import is_locale
from processor.core.catalogue import (
    Adoption,
    CaseTemplate,
    Mode,
    PollPolicy,
    RecordTemplate,
    ResultShape,
    ResultSource,
    UnknownPolicy,
    Workflow,
)
from processor.core.model import DAY_MS, DEFAULT_PROVIDER, ApiVersion
from processor.core.paths import RequestPath, compile_parameter_path, compile_path

LINK_DEADLINE_MS = 30 * DAY_MS  # People take their time.
WINDOWS_IN_DEADLINE = 4  # The default adoption window leaves time for a person, or for another run.
CASE_REUSE_MS = 90 * DAY_MS  # The provider advises one case for a returning person.

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

GIVEN, NONE = "given", "none"  # Of a record or case: the request brings its id; there is none.

_KEYS = (
    "api",
    "provider",
    "mode",
    "definition",
    "record",
    "case",
    "parameters",
    "adoption",
    "exclusive",
    "links",
    "reuse",
    "locale",
    "email",
    "statuses",
    "result",
    "caseRead",
    "resultsTopic",
    "deadline",
    "unknown",
    "poll",
)
_NAME = re.compile(r"^[A-Za-z0-9._-]{1,100}$")
_TOPIC = re.compile(r"^[A-Za-z0-9._-]{1,249}$")


def read_workflow(named: Section, name: str, providers: Mapping[str, ApiVersion]) -> Workflow | None:
    """Return the workflow of that name, as far as it can be read; every problem of it is noted.

    `providers` holds the version of the API that workflows of each profile speak unless they say another.
    """
    if not _NAME.match(name):
        named.problem(name, "a name is 1 to 100 of A-Z a-z 0-9 . _ -; rename it")
    section = named.section(name, _KEYS)
    if section is None:
        named.problem(name, "it is empty; write at least `definition:` below it")
        return None
    _check_definition(section)
    provider = _provider(section, providers)
    given = {
        "definition": section.text("definition") or "",
        "provider": provider,
        "api": _api(section) or providers.get(provider),
        "mode": _choice(section, "mode", Mode),
        "parameters": _parameters(section),
        "adoption": _choice(section, "adoption", Adoption),
        "deadline_ms": section.duration_ms("deadline"),
        "results_topic": _topic(section),
        "locale": _locale(section),
        "email_path": _email(section),
        "is_exclusive": section.flag("exclusive"),
        "is_newest_link": section.word("links", ("newest", "all")) == "newest",
        **_record(section),
        **_case(section),
        **_statuses(section),
        **_result(section),
        **_case_read(section),
        **_unknown(section),
        **_poll(section),
    }
    workflow = Workflow(name=name, **_present(given))
    workflow = _with_defaults(section, workflow, is_window_given=given.get("adoption_window_ms") is not None)
    for key, text in contradictions(workflow):
        section.problem(key, text)
    return workflow


def _check_definition(section: Section) -> None:
    if not section.has("definition"):
        section.problem("definition", "it is missing; write the provider's workflowDefinitionId")
    elif (definition := section.text("definition")) is not None and not definition.strip():
        section.problem("definition", "it is blank; write the provider's workflowDefinitionId")


def _with_defaults(section: Section, workflow: Workflow, *, is_window_given: bool) -> Workflow:
    """Return the workflow with those defaults that depend on what else it says."""
    defaults: dict[str, Any] = {"reuse_ms": _reuse_ms(section, workflow)}
    is_without = not (workflow.record or workflow.case or workflow.is_record_given or workflow.is_case_given)
    if is_without and not section.has("adoption"):
        defaults["adoption"] = Adoption.NONE
    if workflow.mode is not Mode.RUN and not section.has("deadline"):
        defaults["deadline_ms"] = LINK_DEADLINE_MS
    elif not is_window_given:
        defaults["adoption_window_ms"] = min(workflow.adoption_window_ms, workflow.deadline_ms // WINDOWS_IN_DEADLINE)
    return replace(workflow, **defaults)


def _reuse_ms(section: Section, workflow: Workflow) -> int | None:
    if not section.has("reuse"):
        return CASE_REUSE_MS if workflow.case is not None and workflow.api is ApiVersion.CASES else None
    return None if _is_text(section, "reuse", NONE) else section.duration_ms("reuse")


def _present(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given, so that the value's own defaults stand for the rest."""
    return {name: value for name, value in given.items() if value is not None}


def _choice(section: Section, key: str, kind: type[StrEnum]) -> Any:  # noqa: ANN401  # a member of `kind`
    word = section.word(key, [str(member) for member in kind])
    return kind(word) if word else None


def _is_text(section: Section, key: str, text: str) -> bool:
    return section.is_text(key) and section.text(key) == text


def _provider(section: Section, providers: Mapping[str, ApiVersion]) -> str:
    name = section.text("provider") or DEFAULT_PROVIDER
    if name not in providers:
        known = ", ".join(sorted(providers))
        section.problem("provider", f"no provider profile {name!r} is set; write one of {known}, or set it")
    return name


def _api(section: Section) -> ApiVersion | None:
    word = section.word("api", [str(int(version)) for version in ApiVersion])
    return ApiVersion(int(word)) if word else None


def _is_there(section: Section, key: str) -> bool:
    """Whether the key says how something is made, and not that there is none or that requests give it."""
    if not section.has(key) or _is_text(section, key, NONE) or _is_text(section, key, GIVEN):
        return False
    if section.is_text(key):
        section.problem(key, f"write {GIVEN}, {NONE}, or how it is made as `name: value` lines below it")
        return False
    return True


def _record(section: Section) -> dict[str, Any]:
    if not _is_there(section, "record"):
        return {"is_record_given": _is_text(section, "record", GIVEN)}
    record = section.section("record", ("table", "columns"))
    if record is None:
        return {}
    table = record.text("table")
    if table is None and not record.has("table"):
        record.problem("table", "it is missing; write the id of the provider's table")
    elif table is not None and (not table.strip() or path_segment(table) is None):
        text = f"a table is one id of 1 to {ID_CHARS_MAX} printable characters, without / \\ ? # %"
        record.problem("table", f"{text}; write the id of the provider's table")
    return {"record": RecordTemplate(table or "", _paths(record, "columns"))}


def _case(section: Section) -> dict[str, Any]:
    if not _is_there(section, "case"):
        return {"is_case_given": _is_text(section, "case", GIVEN)}
    section.section("case", CASE_MEMBERS)
    return {"case": CaseTemplate(_paths(section, "case"))}


def _parameters(section: Section) -> Mapping[str, str] | None:
    if not section.has("parameters") or _is_text(section, "parameters", NONE):
        return None
    return _paths(section, "parameters", compile_parameter_path)


def _paths(section: Section, key: str, compiled: Callable[[str], RequestPath] = compile_path) -> Mapping[str, str]:
    """Return a mapping to dotted paths into the request, each of which a request can have."""
    paths = section.mapping(key)
    inner = section.section(key, None)
    for name, path in paths.items():
        if inner and not name.strip():
            inner.problem(name, "the name before the colon is blank; write the provider's name, or leave the line out")
        try:
            compiled(path)
        except ValueError as error:
            if inner:
                inner.problem(name, str(error))
    return paths


def _email(section: Section) -> str | None:
    path = section.text("email")
    if path is not None:
        try:
            compile_path(path)
        except ValueError as error:
            section.problem("email", str(error))
    return path


def _locale(section: Section) -> str | None:
    locale = section.text("locale")
    if locale is not None and not is_locale(locale):
        section.problem("locale", "a locale is 2 to 35 of A-Z a-z 0-9 -; write it like en or pt-BR")
    return locale


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
    result = section.section("result", ("publish", "paths", "decision", "from"))
    if result is None:
        return {}
    shape = _choice(result, "publish", ResultShape)
    paths = result.texts("paths")
    if shape is ResultShape.SELECTED and not paths:
        result.problem("paths", "publish: selected needs them; write like [output.decision, output.score]")
    if shape is not ResultShape.SELECTED and paths:
        result.problem("paths", "they are used with publish: selected only; write that, or leave them out")
    for path in paths or ():
        _check_words(result, "paths", path)
    return {
        "result_shape": shape,
        "result_paths": paths,
        "decision_path": _path_in_answer(result, "decision"),
        "result_source": _choice(result, "from", ResultSource),
    }


def _case_read(section: Section) -> dict[str, Any]:
    case_read = section.section("caseRead", ("workflowId", "status"))
    if case_read is None:
        return {}
    if not case_read.has("workflowId"):
        case_read.problem("workflowId", "it is missing; write where the case shows the id of the workflow that ran")
    return {
        "case_workflow_path": _path_in_answer(case_read, "workflowId"),
        "case_status_path": _path_in_answer(case_read, "status"),
    }


def _path_in_answer(section: Section, key: str) -> str | None:
    """Return a dotted path into the provider's JSON."""
    path = section.text(key)
    if path is not None:
        _check_words(section, key, path)
    return path


def _check_words(section: Section, key: str, path: str) -> None:
    if not all(path.split(".")):
        section.problem(key, f"path {path!r} has an empty word; write one name between two dots")


def _unknown(section: Section) -> dict[str, Any]:
    unknown = section.section("unknown", ("policy", "adoptionWindow"))
    if unknown is None:
        return {}
    return {
        "unknown_policy": _choice(unknown, "policy", UnknownPolicy),
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
