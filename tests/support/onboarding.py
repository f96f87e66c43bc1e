"""Requests to publish, and the catalogue that they name a workflow of."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DEFINITION = "3b2d8a4f-579f-4e2e-a51c-f859e532fe8c"
CATALOGUE = """\
version: 1
workflows:
  person-check:
    definition: {definition}
    record: {{table: people, columns: {{fullName: subject.lastName, ref: requestId}}}}
    parameters: {{ref: requestId, orderId: attributes.orderId}}
    adoption: record
    statuses: {{success: [COMPLETED], failure: [FAILED]}}
    result: {{publish: full, decision: output.decision}}
    deadline: {deadline}
    unknown: {{policy: hold, adoptionWindow: {window}}}
    poll: {{first: {poll_first}, max: {poll_max}}}
"""


def catalogue(
    definition: str = DEFINITION,
    *,
    deadline: str = "60s",
    window: str = "1s",
    poll_first: str = "1s",
    poll_max: str = "5s",
) -> str:
    """Return a catalogue with the one workflow `person-check`."""
    times = {"deadline": deadline, "window": window, "poll_first": poll_first, "poll_max": poll_max}
    return CATALOGUE.format(definition=definition, **times)


@dataclass(frozen=True, slots=True)
class Request:
    """A request to publish; the deadline comes from the catalogue where there is none."""

    request_id: str
    key: str | None = None
    workflow: str = "person-check"
    last_name: str = "Example"
    deadline_at: int | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)  # Other members of the event.

    @property
    def record(self) -> dict[str, Any]:
        """The event."""
        return {
            "requestId": self.request_id,
            "workflow": self.workflow,
            "requestedAt": milliseconds() * 1000,
            "deadlineAt": None if self.deadline_at is None else self.deadline_at * 1000,
            "subject": {"reference": f"S-{self.request_id}", "lastName": self.last_name},
            "attributes": dict(self.attributes),
            **self.more,
        }


def milliseconds() -> int:
    """Return the machine's clock: milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000  # noqa: TID251  # a test plays upstream, which has a clock of its own
