"""Findings: what was looked at, how good it is, which setting it is about, and what to do."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from processor.adapters.topic_rules import Grade
from processor.cli.output import say_table

NOT_CHECKED: Final = "not checked"
COLUMNS: Final = ("area", "name", "grade", "finding", "setting", "what to do")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    `grade` is a Grade's word or `not checked`; `setting` names the variable, or the key of the catalogue, that it is
    about.
    """

    area: str
    name: str
    grade: str
    text: str
    setting: str = ""
    remedy: str = ""


def is_bad(findings: Iterable[Finding]) -> bool:
    """Say whether something would not work."""
    return any(finding.grade == Grade.PROBLEM for finding in findings)


def rows_of(findings: Iterable[Finding]) -> list[tuple[str, ...]]:
    """Return the cells of a table with `COLUMNS`."""
    return [(each.area, each.name, each.grade, each.text, each.setting, each.remedy) for each in findings]


def say_findings(findings: Iterable[Finding]) -> None:
    """Print findings as a table."""
    say_table(COLUMNS, rows_of(findings))


def finding_json(finding: Finding) -> Mapping[str, str]:
    """Return a finding for programs."""
    return {
        "area": finding.area,
        "name": finding.name,
        "grade": str(finding.grade),
        "finding": finding.text,
        "setting": finding.setting,
        "remedy": finding.remedy,
    }
