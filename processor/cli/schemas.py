"""`processor schemas`: registers the schemas of public events, or checks those that are registered."""

from collections.abc import Sequence
from typing import Annotated

import typer

from processor.adapters import registry
from processor.adapters.registry import Finding, Topics
from processor.adapters.topic_specs import subjects_of
from processor.cli.output import AsJson, say_json, say_table
from processor.cli.starting import catalogue_for, overrides_of, settings_for, specs_for
from processor.settings import Settings
from processor.settings_loading import Need

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Register the schemas of public events, or check those that are registered.",
)
Url = Annotated[str | None, typer.Option("--schema-registry", help="Instead of the setting.")]


@app.command(epilog="Example: processor schemas register --dry-run")
def register(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    as_json: AsJson = False,
    schema_registry: Url = None,
) -> None:
    """Register each schema that its topic lacks; exit code 1 when the registry holds something incompatible."""
    settings = _settings(schema_registry)
    findings = registry.register(registry.registry_for(settings.schema_registry), topics_of(settings), dry_run=dry_run)
    _tell(findings, as_json=as_json, may_be_missing=dry_run)


@app.command(epilog="Example: processor schemas check --json")
def check(as_json: AsJson = False, schema_registry: Url = None) -> None:
    """Say for each topic whether its schema is registered; exit code 1 when one is not."""
    settings = _settings(schema_registry)
    _tell(registry.check(registry.registry_for(settings.schema_registry), topics_of(settings)), as_json=as_json)


def topics_of(settings: Settings) -> Topics:
    """Return topic -> record of every public topic, those that workflows name included."""
    return subjects_of(specs_for(settings, catalogue_for(settings)))


def _settings(url: str | None) -> Settings:
    return settings_for(Need.REGISTRY, overrides=overrides_of(schema_registry=url))


def _tell(findings: Sequence[Finding], *, as_json: bool, may_be_missing: bool = False) -> None:
    if as_json:
        say_json({"findings": [finding_json(finding) for finding in findings]})
    else:
        say_table(
            ("subject", "record", "verdict", "id", "what to do"),
            [(found.subject, found.record, found.verdict, found.schema_id, found.remedy) for found in findings],
        )
    is_bad = [
        not finding.is_good and not (may_be_missing and finding.verdict is registry.Verdict.MISSING)
        for finding in findings
    ]
    if any(is_bad):
        raise typer.Exit(1)


def finding_json(finding: Finding) -> dict[str, object]:
    """Return a finding for programs."""
    return {
        "topic": finding.topic,
        "subject": finding.subject,
        "record": finding.record,
        "verdict": finding.verdict,
        "schemaId": finding.schema_id,
        "remedy": finding.remedy,
    }
