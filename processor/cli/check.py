"""`processor check`: everything that can be known before a role is started."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from processor.adapters import registry
from processor.adapters.catalogue_file import catalogue_of
from processor.adapters.profile_file import read_profile
from processor.adapters.topic_rules import Grade, judge
from processor.adapters.topic_specs import TopicSpec, subjects_of
from processor.cli.check_provider import Wanted, provider_findings
from processor.cli.check_secrecy import secrecy_findings
from processor.cli.findings import Finding, finding_json, is_bad, say_findings
from processor.cli.options import AsJson
from processor.cli.output import say, say_json, say_table
from processor.cli.profile_check import profile_findings
from processor.cli.run import Roles, settings_of
from processor.cli.starting import keep_clients_quiet, specs_for
from processor.cli.topics import admin_for
from processor.core.catalogue import Catalogue
from processor.errors import ProcessorError, SettingsInvalid
from processor.roles.process import Role
from processor.settings import DEFAULT_PROFILE, Settings, effective
from processor.settings_loading import Setting, all_settings, default_text

app = typer.Typer(add_completion=False, rich_markup_mode=None)
BROKER_VARIABLE = "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"
REGISTRY_VARIABLE = "PROCESSOR_SCHEMA_REGISTRY__URL"
WORKFLOWS_SHOWN_MAX = 3  # More would make the table wider than a screen.
RESULTS_KEY = "resultsTopic (catalogue)"


@app.command(epilog="Example: processor check --json")
def check(
    roles: Roles = None,
    *,
    profile: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Compare with a provider profile that `probe` wrote.")
    ] = None,
    provider: Annotated[str, typer.Option(help="Profile of the settings that it was written of.")] = DEFAULT_PROFILE,
    as_json: AsJson = False,
) -> None:
    """Check settings, catalogue, topics, schemas, credentials, webhook keys and clock, of these roles or of all.

    Nothing is run or created at the provider. Shows the effective settings with secrets masked. Exit code 1 when
    something would not work, 2 when the settings or the catalogue are wrong.
    """
    keep_clients_quiet()
    settings = settings_of(roles or [])
    catalogue = catalogue_of(settings)
    seen = [] if profile is None else _of_profile_file(profile, settings, catalogue, provider)
    outside = _outside(settings, specs_for(settings, catalogue), roles or [])
    findings = [*catalogue_findings(catalogue), *secrecy_findings(settings), *seen, *outside]
    if as_json:
        say_json({"settings": effective(settings), "findings": [finding_json(each) for each in findings]})
    else:
        say_table(("setting", "value"), changed_settings(settings))
        say("all other settings have their defaults\n")
        say_findings(findings)
    if is_bad(findings):
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


def catalogue_findings(catalogue: Catalogue) -> list[Finding]:
    """Return that the catalogue is good: one that is not ends the command with all that is wrong."""
    names = sorted(catalogue.workflows)
    shown = ", ".join([*names[:WORKFLOWS_SHOWN_MAX], *(["…"] if len(names) > WORKFLOWS_SHOWN_MAX else [])])
    return [Finding("catalogue", "workflows", Grade.GOOD, f"{len(names)}: {shown}", "PROCESSOR_WORKFLOWS__FILE")]


def _of_profile_file(file: Path, settings: Settings, catalogue: Catalogue, provider: str) -> list[Finding]:
    if settings.profile(provider) is None:
        raise typer.BadParameter(f"there are {', '.join(settings.profiles())}", param_hint="--provider")
    return profile_findings(read_profile(file), settings, catalogue, provider)


def _outside(settings: Settings, specs: Sequence[TopicSpec], roles: Sequence[Role]) -> list[Finding]:
    """Return what is to be said of everything that these roles talk to; none named: all of them."""
    named = set(roles) or set(Role)
    is_calling = named != {Role.INGESTOR}
    servers = settings.kafka.bootstrap_servers
    findings = _tried("broker", servers, BROKER_VARIABLE, lambda: _of_broker(settings, specs))
    if is_calling:
        url = settings.schema_registry.url
        findings += _tried("registry", url, REGISTRY_VARIABLE, lambda: _of_registry(settings, specs))
    wanted = Wanted(credentials=is_calling, webhook_keys=Role.INGESTOR in named)
    return [*findings, *provider_findings(settings, wanted)]


def _tried(area: str, name: str, variable: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    """Return findings, or that there was no way to find anything."""
    try:
        return look()
    except SettingsInvalid:
        raise
    except ProcessorError as error:
        remedy = "see that it runs and can be reached from here"
        return [Finding(area, name, Grade.PROBLEM, str(error), variable, remedy)]


def _of_broker(settings: Settings, specs: Sequence[TopicSpec]) -> list[Finding]:
    servers = settings.kafka.bootstrap_servers
    brokers, held = admin_for(settings).held((spec.name for spec in specs), settings.readers())
    found = Finding("broker", servers, Grade.GOOD, f"{brokers} broker{'' if brokers == 1 else 's'}", BROKER_VARIABLE)
    variables = {name: f"PROCESSOR_TOPICS__{field.upper()}" for field, name in settings.topics if isinstance(name, str)}
    topics = [
        Finding("topic", each.topic, each.grade, each.text, variables.get(each.topic, RESULTS_KEY), each.remedy)
        for each in judge(specs, held)
    ]
    return [found, *topics]


def _grade(found: registry.Finding) -> Grade:
    if not found.is_good:
        return Grade.PROBLEM
    return Grade.WARNING if found.warnings else Grade.GOOD


def _id(found: registry.Finding) -> str:
    return "" if found.schema_id is None else f" as {found.schema_id}"


def _of_registry(settings: Settings, specs: Iterable[TopicSpec]) -> list[Finding]:
    return [
        Finding(
            "schema",
            each.subject,
            _grade(each),
            "; ".join((f"{each.record} is {each.verdict}{_id(each)}", *each.warnings)),
            REGISTRY_VARIABLE,
            each.remedy or ("`processor schemas check` says how" if each.warnings else ""),
        )
        for each in registry.check(registry.registry_for(settings.schema_registry), subjects_of(specs))
    ]
