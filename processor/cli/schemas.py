"""`processor schemas`: registers the schemas of public events, checks those that are registered, judges files."""

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit, urlunsplit

import typer

from processor.adapters import registry
from processor.adapters.catalogue_file import catalogue_of
from processor.adapters.registry import WANTED_LEVEL, Finding, Topics, Verdict
from processor.adapters.schema_files import PUBLIC_RECORDS
from processor.adapters.schema_rules import Flaw, flaws, same_as
from processor.adapters.topic_rules import Grade
from processor.adapters.topic_specs import subjects_of
from processor.cli.options import AsJson, Registry
from processor.cli.output import complain, say_json, say_table
from processor.cli.starting import overrides_of, settings_for, specs_for
from processor.settings import Settings
from processor.settings_loading import Need

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Register the schemas of public events, check those that are registered, judge files.",
)
Named = Annotated[
    list[str] | None,
    typer.Option(
        "--topic", metavar="TOPIC=RECORD", help="Only this one, instead of all topics of settings and catalogue."
    ),
]


@app.command(epilog="Example: processor schemas register --dry-run")
def register(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    topic: Named = None,
    as_json: AsJson = False,
    schema_registry: Registry = None,
) -> None:
    """Register each schema that its topic lacks; exit code 1 when the registry holds something incompatible."""
    settings = _settings(schema_registry)
    client = registry.registry_for(settings.schema_registry)
    findings = registry.register(client, _topics(settings, topic), dry_run=dry_run)
    _tell(findings, settings.schema_registry.url, as_json=as_json, may_be_missing=dry_run)


@app.command(epilog="Example: processor schemas check --json")
def check(topic: Named = None, as_json: AsJson = False, schema_registry: Registry = None) -> None:
    """Say for each topic whether its schema is registered; exit code 1 when one is not."""
    settings = _settings(schema_registry)
    findings = registry.check(registry.registry_for(settings.schema_registry), _topics(settings, topic))
    _tell(findings, settings.schema_registry.url, as_json=as_json)


@app.command(epilog="Example: processor schemas lint our/OnboardingRequested.avsc")
def lint(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, metavar="FILE…")],
    as_json: AsJson = False,
) -> None:
    """Judge schema files by every released version and our rules, offline; exit code 1 when one breaks somebody."""
    judged = [found for file in files for found in _judged(file)]
    if as_json:
        say_json({"findings": [found.as_json() for found in judged]})
    else:
        rows = [(found.file, found.grade, found.place, found.text) for found in judged]
        say_table(("file", "grade", "place", "finding"), rows)
    if any(found.grade is Grade.PROBLEM for found in judged):
        raise typer.Exit(1)


def topics_of(settings: Settings) -> Topics:
    """Return topic -> record of every public topic, those that workflows name included."""
    return subjects_of(specs_for(settings, catalogue_of(settings)))


@dataclass(frozen=True, slots=True)
class Judged:
    """One thing about one schema file."""

    file: Path
    grade: Grade
    place: str
    text: str

    def as_json(self) -> dict[str, str]:
        """Return it for programs."""
        return {"file": str(self.file), "grade": self.grade, "place": self.place, "finding": self.text}


def _judged(file: Path) -> Iterator[Judged]:
    """Give what is to be said about a file; a released version is good as it is, whatever came after it."""
    text = file.read_text(encoding="utf-8", errors="replace")
    version = same_as(text)
    found = flaws(text) if version is None else ()
    for flaw in found:
        yield Judged(file, _grade(flaw), flaw.place, flaw.text)
    if not found:
        like = "it reads every released version, and is read by it" if version is None else f"it is version {version}"
        yield Judged(file, Grade.GOOD, json.loads(text)["name"], like)


def _grade(flaw: Flaw) -> Grade:
    return Grade.PROBLEM if flaw.is_breaking else Grade.WARNING


def _topics(settings: Settings, named: Sequence[str] | None) -> Topics:
    """Return topic -> record: those that are named, else all; without a catalogue one can only name."""
    if not named:
        return topics_of(settings)
    pairs = [text.partition("=") for text in named]
    for topic, _, record in pairs:
        if not topic or record not in PUBLIC_RECORDS:
            records = ", ".join(PUBLIC_RECORDS)
            raise typer.BadParameter(f"write TOPIC=RECORD; records are {records}", param_hint="--topic")
    return {topic: record for topic, _, record in pairs}


def _settings(url: str | None) -> Settings:
    return settings_for(Need.REGISTRY, overrides=overrides_of(schema_registry=url))


def _tell(findings: Sequence[Finding], url: str, *, as_json: bool, may_be_missing: bool = False) -> None:
    if as_json:
        say_json({"findings": [finding_json(finding, url) for finding in findings]})
    else:
        say_table(
            ("subject", "record", "verdict", "id", "level", "what to do"),
            [(each.subject, each.record, each.verdict, each.schema_id, each.level, each.remedy) for each in findings],
        )
        for finding in findings:
            for warning in finding.warnings:
                complain(f"{finding.subject}: {warning}")
            if not finding.is_level_wanted:
                complain(f"  {level_command(finding, url)}")
    if not all(finding.is_good or (may_be_missing and finding.verdict is Verdict.MISSING) for finding in findings):
        raise typer.Exit(1)


def level_command(finding: Finding, url: str) -> str:
    """Return the command that gives a subject the compatibility level that it should have."""
    first = urlsplit(url.split(",", maxsplit=1)[0].strip())
    bare = urlunsplit(first._replace(netloc=first.netloc.rpartition("@")[2])).rstrip("/")
    body = json.dumps({"compatibility": WANTED_LEVEL})
    kind = "Content-Type: application/vnd.schemaregistry.v1+json"
    return shlex.join(("curl", "-X", "PUT", "-H", kind, "--data", body, f"{bare}/config/{finding.subject}"))


def finding_json(finding: Finding, url: str) -> dict[str, object]:
    """Return a finding for programs."""
    return {
        "topic": finding.topic,
        "subject": finding.subject,
        "record": finding.record,
        "verdict": finding.verdict,
        "schemaId": finding.schema_id,
        "remedy": finding.remedy,
        "level": finding.level,
        "warnings": list(finding.warnings),
        "setLevel": None if finding.is_level_wanted else level_command(finding, url),
    }
