"""The kinds of requests that a storm mixes: what the catalogue says of each, and how often it comes.

Half of the requests are plain runs of version 2. The rest speak everything else that the API has: cases, version 3,
links, tokens and mails, shared records, runs that may be repeated, and a second workspace.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tests.support.testimony import Terms

RECORD = "record: {table: people, columns: {fullName: subject.lastName, ref: requestId}}"
CASE = "case: {lastName: subject.lastName, email: subject.email}"
BY_ID = "parameters: {ref: requestId}"
BY_REFERENCE = "adoption: parameters"  # Version 3 shows a workflow's parameters, not its record.
GIVEN = "record: given"
ALONE = "exclusive: true"
DEADLINE_S = 35  # Of each request; one whose outcome stays unknown ends then.
SHORT_DEADLINE_S = 12  # Of some that an end user starts: here many come too late.
ADOPTION_WINDOW_S = 5
VERSION_3 = 3


@dataclass(frozen=True, slots=True)
class Kind:
    """One workflow of the catalogue; its requests come in proportion to `share`."""

    share: float
    lines: tuple[str, ...]
    terms: Terms
    pool: str | None = None  # Of which records its requests are for.


def _kind(share: float, terms: Terms, *lines: str, pool: str | None = None) -> Kind:
    """Return a kind whose parameters name the request, in version 3 by our own reference too."""
    mode = f"mode: {'link-send' if terms.mode == 'mail' else terms.mode}"
    parameters = "parameters: {ref: requestId, ours: reference}" if terms.api == VERSION_3 else BY_ID
    return Kind(share, (f"api: {terms.api}", mode, f"provider: {terms.provider}", parameters, *lines), terms, pool)


KINDS: Mapping[str, Kind] = {
    "plain": _kind(50, Terms(), RECORD),
    "case": _kind(5, Terms(api=1), CASE, "reuse: none"),
    "case-again": _kind(4, Terms(api=1, is_own=False, is_reusing=True), CASE, ALONE),
    "record-again": _kind(2, Terms(is_own=False, is_adopted=False, is_reusing=True), RECORD, "reuse: 90d"),
    "shared": _kind(4, Terms(is_own=False), GIVEN, ALONE, pool="runs"),
    "given": _kind(1.5, Terms(is_own=False, is_adopted=False), GIVEN, pool="runs"),
    "repeated": _kind(
        5, Terms(provider="second", may_rerun=True), RECORD, "unknown: {policy: rerun, adoptionWindow: 1s}"
    ),
    "version-3": _kind(4, Terms(api=3), RECORD),
    "bare": _kind(3, Terms(api=3), BY_REFERENCE),
    "second": _kind(3, Terms(provider="second"), RECORD),
    "second-token": _kind(1.5, Terms(provider="second", mode="token"), RECORD),
    "link-1": _kind(2, Terms(api=1, mode="link"), CASE, "reuse: none"),
    "token-1": _kind(1.5, Terms(api=1, mode="token"), CASE, "reuse: none"),
    "mail-1": _kind(2, Terms(api=1, mode="mail"), CASE, "reuse: none"),
    "link-2": _kind(2.5, Terms(mode="link"), RECORD),
    "token-2": _kind(1.5, Terms(mode="token"), RECORD),
    "mail-2": _kind(2.5, Terms(mode="mail"), RECORD),
    "link-3": _kind(2, Terms(api=3, mode="link"), BY_REFERENCE),
    "token-3": _kind(2, Terms(api=3, mode="token"), RECORD),
    "links": _kind(1, Terms(mode="link", is_own=False), GIVEN, ALONE, pool="links"),
    "newest-link": _kind(
        1, Terms(mode="link", is_own=False, is_newest=True), GIVEN, ALONE, "links: newest", pool="newest"
    ),
}
POOLS: Mapping[str, int] = {"runs": 40, "links": 10, "newest": 10}  # How many records the requests of a pool share.


def terms() -> dict[str, Terms]:
    """Return what the auditor may hold each workflow to."""
    return {name: replace(kind.terms, definition_id=definition_of(name)) for name, kind in KINDS.items()}


def definition_of(name: str) -> str:
    """Return the provider's definition id of a workflow."""
    return f"00000000-0000-4000-8000-{[*KINDS].index(name):012}"


def storm_catalogue() -> str:
    """Return the catalogue of a storm."""
    text = "version: 1\nworkflows:\n"
    for name, kind in KINDS.items():
        common = [
            f"definition: {definition_of(name)}",
            "result: {publish: full, decision: output.decision}",
            f"deadline: {DEADLINE_S}s",
            "poll: {first: 1s, max: 5s}",
        ]
        if not any(line.startswith("unknown:") for line in kind.lines):
            common.append(f"unknown: {{policy: hold, adoptionWindow: {ADOPTION_WINDOW_S}s}}")
        text += f"  {name}:\n" + "".join(f"    {line}\n" for line in (*common, *kind.lines))
    return text
