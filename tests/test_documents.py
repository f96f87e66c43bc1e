"""The documents say what is: links lead somewhere, and every name in them is a name of the code."""

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from processor.adapters.dead_letters import Coordinates, Fault, dead_letter_headers
from processor.adapters.event_headers import event_headers
from processor.cli.main import COMMANDS
from processor.roles.machines import CUSTODY, REQUEST_ID, REQUEST_KEY, RESULTS_TOPIC, WORKFLOW
from processor.settings import DECIDERS, Settings
from processor.settings_loading import (
    FILE_VARIABLE,
    PROVIDERS_PREFIX,
    SECRETS_VARIABLE,
    all_settings,
    profile_settings,
)
from processor.telemetry import Metrics
from tests.support.root import ROOT

DECISIONS = ROOT / "docs" / "decisions"
READMES = [ROOT / folder / "README.md" for folder in ("examples", "helm", "kit", "schemas")]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *READMES])
SUFFIXES = {"counter": ("_total",), "histogram": ("", "_bucket", "_sum", "_count"), "gauge": ("",)}

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@cache
def text_of(document: Path) -> str:
    """Read one document."""
    return document.read_text(encoding="utf-8")


@cache
def anchors(document: Path) -> frozenset[str]:
    """Return what a link can follow after `#`, made of headings as code hosts make it."""
    headings = re.findall(r"^#+ (.+)$", text_of(document), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


def broken_links(document: Path, root: Path = ROOT) -> Iterator[str]:
    """Give every link of a document that leads nowhere below the root; addresses elsewhere are not followed."""
    for link in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", text_of(document)):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        is_there = target.is_relative_to(root) and target.exists()
        if not is_there or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            yield link


@cache
def variables() -> frozenset[str]:
    """Return every environment variable that the settings read."""
    settings = list(all_settings())
    files = {f"{setting.variable}_FILE" for setting in settings if setting.is_secret}
    return frozenset({setting.variable for setting in settings} | files | {FILE_VARIABLE, SECRETS_VARIABLE})


def is_variable(name: str) -> bool:
    """Say whether a name is a setting; one that ends in `_` stands for all that begin so."""
    profile = re.match(r"PROCESSOR_PROVIDERS__([A-Z0-9_]+?)__", name)
    known = variables() | {one.variable for one in profile_settings(profile[1].lower())} if profile else variables()
    is_beginning = name.endswith("_")
    return any(one.startswith(name) for one in {*known, PROVIDERS_PREFIX}) if is_beginning else name in known


def unknown_variables(text: str) -> list[str]:
    """Return the names in a text that look like settings and are none."""
    return sorted({name for name in re.findall(r"\bPROCESSOR_[A-Z0-9_]*", text) if not is_variable(name)})


@cache
def metric_names() -> frozenset[str]:
    """Return every name under which a metric of ours can be queried."""
    registry = CollectorRegistry()
    Metrics(registry)
    return frozenset(metric.name + suffix for metric in registry.collect() for suffix in SUFFIXES[metric.type])


def unknown_metrics(text: str) -> list[str]:
    """Return the names in a text that look like metrics and are none."""
    return sorted(set(re.findall(r"\bonboarding_[a-z0-9_]+", text)) - metric_names())


def unknown_commands(text: str) -> list[str]:
    """Return the commands in the code of a text that there are not."""
    return sorted(set(re.findall(r"(?<=[`\n|])\s*processor ([a-z]+)\b", text)) - set(COMMANDS))


@every_document
def test_links_lead_somewhere(document: Path) -> None:
    """Whoever follows a link from where it stands finds the file, and the heading where it names one."""
    assert list(broken_links(document)) == []


@every_document
def test_settings_that_are_named_exist(document: Path) -> None:
    """Whoever copies the name of a setting sets something."""
    assert unknown_variables(text_of(document)) == []


@every_document
def test_metrics_that_are_named_exist(document: Path) -> None:
    """Whoever builds an alert on the name of a metric gets one."""
    assert unknown_metrics(text_of(document)) == []


@every_document
def test_commands_that_are_named_exist(document: Path) -> None:
    """Whoever types a command from a document gets what it promises."""
    assert unknown_commands(text_of(document)) == []


def test_the_page_of_interfaces_names_every_topic_and_group() -> None:
    """Integrators find each default name, with `<id>` for the application id."""
    page = text_of(ROOT / "docs" / "interfaces.md")
    settings = Settings(application_id="APPLICATION")
    topics = [name for name in settings.topics.model_dump().values() if isinstance(name, str)]
    names = [*topics, *(settings.group_id(decider) for decider in DECIDERS)]
    shown = [f"`{name.replace('APPLICATION', '<id>')}`" for name in names]
    assert [name for name in shown if name not in page] == []


def test_the_page_of_interfaces_names_every_header_and_command() -> None:
    """Integrators find each header that we read or write, and each command."""
    page = text_of(ROOT / "docs" / "interfaces.md")
    public = event_headers("OnboardingFinished", "id", 0, source="urn:x", traceparent="x")
    letters = dead_letter_headers((), Fault("r", "T", "m"), Coordinates("t", 0, 0), failed_at=0, version="1")
    names = {*(name for name, _ in (*public, *letters)), CUSTODY, REQUEST_ID, REQUEST_KEY, RESULTS_TOPIC, WORKFLOW}
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []
    assert [name for name in COMMANDS if f"`processor {name}" not in page] == []


def test_every_dependency_has_its_reason() -> None:
    """What is installed and what is explained are the same packages."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"].values()
    declared = [*project["project"]["dependencies"], *(name for group in groups for name in group)]
    rows = re.findall(r"^\| (`.+?) \|", text_of(DECISIONS / "0014-dependencies.md"), re.MULTILINE)
    explained = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert {re.split(r"[\[><=;\s]", name)[0] for name in declared} == explained


def test_a_decision_says_what_it_costs_and_what_would_change_it() -> None:
    """Each has a number of its own, its title, and the four parts that make it more than a statement."""
    numbers = [path.name[:4] for path in sorted(DECISIONS.glob("*.md"))]
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]
    for path in DECISIONS.glob("*.md"):
        assert text_of(path).startswith(f"# {path.name[:4]} "), path.name
        for part in ("**Context.**", "**Decision.**", "**Costs.**", "**What would change our mind.**"):
            assert part in text_of(path), f"{path.name} lacks {part}"


def test_a_name_that_is_none_is_seen() -> None:
    """The rules above can fail: each finds what it looks for."""
    good = "`PROCESSOR_API__…`, `PROCESSOR_PROVIDERS__…`, `PROCESSOR_PROVIDERS__EU_BANK__TOKEN`"
    assert unknown_variables(f"{good} `PROCESSOR_KAFKA__BOOTSTRAP_SERVER`, `PROCESSOR_PROVIDERS__EU__TOKENS`") == [
        "PROCESSOR_KAFKA__BOOTSTRAP_SERVER",
        "PROCESSOR_PROVIDERS__EU__TOKENS",
    ]
    assert unknown_metrics("onboarding_results_total onboarding_result_total") == ["onboarding_result_total"]
    assert unknown_commands("`processor resume x` and `processor resumes x`") == ["resumes"]


def test_a_link_that_leads_nowhere_is_seen(tmp_path: Path) -> None:
    """A link out of the repository, and one to a file that is not there, are both broken."""
    document = tmp_path / "docs" / "page.md"
    document.parent.mkdir()
    links = "[self](#a-page) [gone](gone.md) [up](..) [out](../..) [elsewhere](https://example.com) [lost](#nowhere)"
    document.write_text(f"# A page\n{links}\n")
    assert list(broken_links(document, tmp_path)) == ["gone.md", "../..", "#nowhere"]


def test_every_test_that_the_readme_names_is_there() -> None:
    """A row of the table that nothing shows any more must not stay."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"\[test_\w+\]\((tests/[\w/]+\.py)\): ([^|]+)\|", text)
    named = [(file, name) for file, names in rows for name in re.findall(r"`(\w+)`", names)]
    missing = [name for file, name in named if f"def test_{name}(" not in (ROOT / file).read_text(encoding="utf-8")]
    assert missing == []
    assert len(rows) == 13, "one row for each operation"
