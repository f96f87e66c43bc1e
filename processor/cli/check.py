"""`processor check`: everything that can be known before a role is started."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from processor.adapters import registry
from processor.adapters.access_token import credential
from processor.adapters.http import HttpSettings
from processor.adapters.http_httpx import HttpxClient
from processor.adapters.topic_rules import Grade, judge
from processor.adapters.topic_specs import TopicSpec, subjects_of
from processor.cli.output import AsJson, say, say_json, say_table
from processor.cli.run import RoleName, RoleNames, settings_of
from processor.cli.starting import catalogue_for, keep_clients_quiet, registry_for, specs_for
from processor.cli.topics import admin_for
from processor.core.catalogue import Catalogue
from processor.errors import ProcessorError, SettingsInvalid
from processor.settings import Settings, effective
from processor.settings_loading import Setting, all_settings, default_text

app = typer.Typer(add_completion=False, rich_markup_mode=None)
NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `grade` is a Grade's word or `not checked`."""

    area: str
    name: str
    grade: str
    text: str
    remedy: str = ""


@app.command(epilog="Example: processor check --json")
def check(roles: RoleNames = None, *, as_json: AsJson = False) -> None:
    """Check settings, catalogue, topics, schemas and credentials, of these roles or of all.

    Shows the effective settings with secrets masked. Exit code 1 when something would not work, 2 when the settings or
    the catalogue are wrong.
    """
    keep_clients_quiet()
    settings = settings_of(roles or [])
    catalogue = catalogue_for(settings)
    findings = [_catalogue_finding(catalogue), *_outside(settings, specs_for(settings, catalogue), roles or [])]
    if as_json:
        say_json({"settings": effective(settings), "findings": [_finding_json(each) for each in findings]})
    else:
        say_table(("setting", "value"), changed_settings(settings))
        say("all other settings have their defaults\n")
        rows = [(each.area, each.name, each.grade, each.text, each.remedy) for each in findings]
        say_table(("area", "name", "grade", "finding", "what to do"), rows)
    if any(each.grade == Grade.PROBLEM for each in findings):
        raise typer.Exit(1)


def changed_settings(settings: Settings) -> list[tuple[str, str]]:
    """Return variable and value of each setting that is not at its default; secrets are masked."""
    shown, defaults = effective(settings), effective(Settings(application_id=settings.application_id))
    return [
        (setting.variable, _as_text(_at(shown, setting)))
        for setting in all_settings()
        if _at(shown, setting) != _at(defaults, setting) or setting.path == ("application_id",)
    ]


def _at(tree: Mapping[str, Any], setting: Setting) -> Any:  # noqa: ANN401  # any plain value
    value: Any = tree
    for name in setting.path:
        value = value[name]
    return value


def _as_text(value: Any) -> str:  # noqa: ANN401  # as above
    if isinstance(value, dict):
        return ", ".join(f"{name}={inner}" for name, inner in value.items())
    return default_text(tuple(value) if isinstance(value, list) else value)


def _catalogue_finding(catalogue: Catalogue) -> Finding:
    names = sorted(catalogue.workflows)
    return Finding("catalogue", ", ".join(names), Grade.GOOD, f"{len(names)} workflows")


def _outside(settings: Settings, specs: Sequence[TopicSpec], roles: Sequence[RoleName]) -> list[Finding]:
    """Return what is to be said of everything that roles talk to."""
    is_ingestor_only = set(roles) == {RoleName.INGESTOR}
    findings = _tried("broker", settings.kafka.bootstrap_servers, lambda: _of_broker(settings, specs))
    if is_ingestor_only:
        return findings
    findings += _tried("registry", settings.schema_registry.url, lambda: _of_registry(settings, specs))
    return [*findings, *_tried("api", settings.api.base_url, lambda: [_of_api(settings)])]


def _tried(area: str, name: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    """Return findings, or that there was no way to find anything."""
    try:
        return look()
    except SettingsInvalid:
        raise
    except ProcessorError as error:
        return [Finding(area, name, Grade.PROBLEM, str(error), "see that it runs and can be reached from here")]


def _of_broker(settings: Settings, specs: Sequence[TopicSpec]) -> list[Finding]:
    brokers, held = admin_for(settings).held(spec.name for spec in specs)
    found = Finding(
        "broker", settings.kafka.bootstrap_servers, Grade.GOOD, f"{brokers} broker{'' if brokers == 1 else 's'}"
    )
    topics = [Finding("topic", each.topic, each.grade, each.text, each.remedy) for each in judge(specs, held)]
    return [found, *topics]


def _of_registry(settings: Settings, specs: Iterable[TopicSpec]) -> list[Finding]:
    return [
        Finding(
            "schema",
            each.subject,
            Grade.GOOD if each.is_good else Grade.PROBLEM,
            f"{each.record} is {each.verdict}" + (f" as {each.schema_id}" if each.schema_id is not None else ""),
            each.remedy,
        )
        for each in registry.check(registry_for(settings), subjects_of(specs))
    ]


def _of_api(settings: Settings) -> Finding:
    """Authorize once, and nothing else: no call of the provider is harmless but this one."""
    api = settings.api
    if api.token is not None:
        return Finding("api", api.base_url, NOT_CHECKED, "an organisation token is proved by the first call only")
    why = asyncio.run(_why_not_authorized(settings))
    if why is None:
        return Finding("api", api.base_url, Grade.GOOD, "it takes our key and secret")
    remedy = "mend PROCESSOR_API__BASE_URL, PROCESSOR_API__KEY or PROCESSOR_API__SECRET"
    return Finding("api", api.base_url, Grade.PROBLEM, f"no token: {why}", remedy)


async def _why_not_authorized(settings: Settings) -> str | None:
    """Return why no token can be had, None when one was."""
    api = settings.api
    answered = asyncio.Event()
    ca_file = None if api.ca_file is None else str(api.ca_file)
    client = HttpxClient(HttpSettings(connect_timeout_s=api.connect_timeout_s, ca_file=ca_file))
    try:
        asked = credential(api, client, lambda *_: answered.set())
        asked.start()
        try:
            await asyncio.wait_for(answered.wait(), api.call_deadline_s + api.connect_timeout_s)
        except TimeoutError:
            return "no answer in time"
        finally:
            await asked.close()
        return asked.why_not()
    finally:
        await client.close()


def _finding_json(finding: Finding) -> Mapping[str, str]:
    return {
        "area": finding.area,
        "name": finding.name,
        "grade": finding.grade,
        "finding": finding.text,
        "remedy": finding.remedy,
    }
