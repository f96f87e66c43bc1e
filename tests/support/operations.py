"""A catalogue with every operation in every version of the API, and the simulated provider that it is for."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.provider import Provider
from tests.support.worker import watchdog
from tests.support.world import World, world

SECOND_TOKEN = "tot_of-the-second-workspace"  # of a simulator

CASE = """case:
      firstName: subject.firstName
      lastName: subject.lastName
      personalNumber: subject.personalNumber
      email: subject.email
      phone: subject.phone
      companyName: subject.companyName
      companyNumber: subject.companyNumber
      companyAddress: subject.companyAddress
      documents: subject.documents"""
RECORD = "record: {table: people, columns: {fullName: subject.lastName, ref: requestId}}"
PARAMETERS = "parameters: {ref: requestId, orderId: attributes.orderId}"
REFERENCE = "parameters: {ref: requestId, ours: reference}"
RERUN = "unknown: {policy: rerun, adoptionWindow: 1s}"
HOLD = "unknown: {policy: hold, adoptionWindow: 1s}"

# Name -> lines of the catalogue; a name says version and what is special.
WORKFLOWS: Mapping[str, tuple[str, ...]] = {
    "v1-run": ("api: 1", CASE, PARAMETERS),
    "v1-plain": ("api: 1", CASE, "reuse: none"),
    "v1-old-result": ("api: 1", CASE, "reuse: none", "result: {publish: full, from: case}"),
    "v1-witness": ("api: 1", CASE, "reuse: none", "caseRead: {workflowId: workflowId, status: status}", HOLD),
    "v1-link": ("api: 1", "mode: link", CASE, PARAMETERS, "reuse: none"),
    "v1-token": ("api: 1", "mode: token", CASE, "reuse: none"),
    "v1-link-send": ("api: 1", "mode: link-send", CASE, "reuse: none"),
    "v2-run": ("api: 2", RECORD, PARAMETERS),
    "v2-given": ("api: 2", "record: given", PARAMETERS),
    "v2-bare": ("api: 2", PARAMETERS, "adoption: none"),
    "v2-reuse": ("api: 2", RECORD, "reuse: 90d"),
    "v2-shared": ("api: 2", "record: given", HOLD),
    "v2-exclusive": ("api: 2", "record: given", "exclusive: true", HOLD),
    "v2-rerun": ("api: 2", RECORD, RERUN),
    "v2-link": ("api: 2", "mode: link", RECORD, PARAMETERS),
    "v2-token": ("api: 2", "mode: token", RECORD),
    "v2-link-send": ("api: 2", "mode: link-send", RECORD),
    "v2-two-links": ("api: 2", "mode: link", "record: given", "exclusive: true"),
    "v2-newest-link": ("api: 2", "mode: link", "record: given", "exclusive: true", "links: newest"),
    "v3-run": ("api: 3", RECORD, PARAMETERS),
    "v3-given": ("api: 3", "record: given", PARAMETERS),
    "v3-bare": ("api: 3", REFERENCE, "adoption: parameters"),
    "v3-link": ("api: 3", "mode: link", PARAMETERS, "adoption: none"),
    "v3-token": ("api: 3", "mode: token", RECORD, PARAMETERS),
    "second-run": ("api: 3", "provider: second", RECORD, PARAMETERS),
}


def definition_of(name: str) -> str:
    """Return the provider's definition id of a workflow."""
    return f"00000000-0000-4000-8000-{[*WORKFLOWS].index(name):012}"


def catalogue(changes: Mapping[str, tuple[str, ...]] = {}) -> str:
    """Return the catalogue; `changes` replaces the lines of some workflows."""
    text = "version: 1\nworkflows:\n"
    for name, lines in {**WORKFLOWS, **changes}.items():
        common = [f"definition: {definition_of(name)}", "deadline: 60s", "poll: {first: 1s, max: 2s}"]
        if not any(line.startswith("result:") for line in lines):
            common.append("result: {publish: full, decision: output.decision}")
        text += f"  {name}:\n" + "".join(f"    {line}\n" for line in (*common, *lines))
    return text


SIMULATOR: Mapping[str, object] = {
    "definitions": [definition_of(name) for name in WORKFLOWS] + ["foreign"],
    "user_definitions": [
        definition_of(name) for name, lines in WORKFLOWS.items() if any("mode:" in line for line in lines)
    ],
    "user_walks_ms": 100,
    "case_shows_workflow": True,
}


@contextmanager
def operations(bootstrap_servers: str, directory: Path) -> Iterator[tuple[World, Provider]]:
    """Make an installation for this catalogue; the second workspace takes an organisation token only."""
    second_directory = directory / "second"
    second_directory.mkdir()
    with watchdog() as group:
        second = Provider(second_directory, group, webhook_retry_s=1, organisation_tokens=[SECOND_TOKEN])
        settings = {
            "PROCESSOR_PROVIDERS__SECOND__BASE_URL": second.url,
            "PROCESSOR_PROVIDERS__SECOND__TOKEN": SECOND_TOKEN,
            "PROCESSOR_PROVIDERS__SECOND__CALL_DEADLINE_S": "2",
            "PROCESSOR_PROVIDERS__SECOND__RUN_DEADLINE_S": "3",
            "PROCESSOR_PROVIDERS__SECOND__CONNECT_TIMEOUT_S": "0.5",
            "PROCESSOR_ENGINE__WEBHOOK_GRACE_S": "0.3",
            "PROCESSOR_ENGINE__CLOCK_MARGIN_S": "1",
            "PROCESSOR_ENGINE__MARK_INTERVAL_S": "0.5",
        }
        try:
            with world(
                bootstrap_servers, directory, workflows=catalogue(), simulator=SIMULATOR, settings=settings
            ) as made:
                yield made, second
        finally:
            second.close()


def subject(reference: str, **given: Any) -> dict[str, Any]:  # noqa: ANN401  # members of the event's subject
    """Return a whole person."""
    return {
        "reference": reference,
        "firstName": "Ada",
        "lastName": "Example",
        "personalNumber": "00000000000",
        "email": "ada@example.test",
        "phone": {"countryCode": "48", "number": "500500500"},
        "companyName": "Example Ltd",
        "companyNumber": "0000000001",
        "companyAddress": "1 Sample St",
        "documents": [{"resourceId": "d-1", "resourceName": "id.png", "resourcePath": "/files/d-1"}],
        **given,
    }
