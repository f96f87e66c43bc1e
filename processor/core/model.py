"""The nouns: what a request is, what of it comes back on its result, and the closed lists of words.

An instant is an `int`: milliseconds since the epoch, UTC. Nothing here reads a clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TypeAlias

Instant: TypeAlias = int
JsonValue: TypeAlias = "str | int | float | bool | Sequence[JsonValue] | Mapping[str, JsonValue] | None"

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

DEADLINE_MS_MAX = 90 * DAY_MS  # From acceptance on; what stands for a request is kept until then, and a while.


class ApiVersion(IntEnum):
    """Generation of the provider's API that a workflow speaks."""

    CASES = 1
    RECORDS = 2
    TABLES = 3


DEFAULT_PROVIDER = "default"  # The profile that the settings below `api` describe.


class Outcome(StrEnum):
    """What became of the run; it says nothing about the applicant."""

    COMPLETED = "COMPLETED"  # The workflow ran to its end.
    FAILED = "FAILED"  # The provider says that it ended badly.
    NOT_STARTED = "NOT_STARTED"  # Refused for good, by us or by the provider.
    EXPIRED = "EXPIRED"  # The request's deadline passed.
    UNDETERMINED = "UNDETERMINED"  # We cannot know, or a person gave up.


class Witness(StrEnum):
    """Who told us first of a workflow's end (`completedBy`) or of its start."""

    RUN_ANSWER = "RUN_ANSWER"
    WEBHOOK = "WEBHOOK"
    POLL = "POLL"
    OPERATOR = "OPERATOR"


class Reason(StrEnum):
    """Why a request did not complete: a closed list that consumers may switch on."""

    UNKNOWN_WORKFLOW = "unknown-workflow"
    INVALID_REQUEST = "invalid-request"
    REFUSED_BY_PROVIDER = "refused-by-provider"
    DEADLINE_PASSED = "deadline-passed"
    ENDED_BADLY = "ended-badly"
    RESULT_UNAVAILABLE = "result-unavailable"
    RUN_UNKNOWN = "run-unknown"
    WORKFLOW_CLAIMED_TWICE = "workflow-claimed-twice"
    CUSTODY_UNREADABLE = "custody-unreadable"
    GIVEN_UP = "given-up"


@dataclass(frozen=True, slots=True)
class Phone:
    """A telephone number as the provider splits it; both parts are text."""

    country_code: str | None = None
    number: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A file that was uploaded at the provider before."""

    resource_id: str | None = None
    resource_name: str | None = None
    resource_path: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """The person or company to be onboarded; every member is optional and personal data."""

    reference: str | None = None
    kind: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    personal_number: str | None = None
    email: str | None = None
    phone: Phone | None = None
    company_name: str | None = None
    company_number: str | None = None
    company_address: str | None = None
    documents: tuple[Document, ...] = ()


@dataclass(frozen=True, slots=True)
class OnboardingRequest:
    """One onboarding request event, decoded; JSON objects and lists are already parsed."""

    request_id: str
    workflow: str
    requested_at: Instant
    deadline_at: Instant | None = None
    subject: Subject | None = None
    record_id: str | None = None
    case_id: str | None = None
    columns: Mapping[str, JsonValue] = field(default_factory=dict)
    parameters: Mapping[str, JsonValue] = field(default_factory=dict)
    locale: str | None = None
    tenant: str | None = None
    source_system: str | None = None
    correlation_id: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    link_attempt: int = 1  # Above 1 it asks for one more link or token of a request that was published before.


@dataclass(frozen=True, slots=True)
class Origin:
    """What of a request must come back on its result, and by which API it is served: it travels with custody.

    API version and provider profile are those of the moment when the request was accepted, so that a workflow can be
    moved to others while runs of the old ones are still open. The deadline is the one that counts: `deadline_from`.
    """

    request_id: str
    workflow: str
    key: bytes | None
    results_topic: str
    requested_at: Instant
    accepted_at: Instant
    deadline_at: Instant
    subject_reference: str | None = None
    tenant: str | None = None
    source_system: str | None = None
    correlation_id: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    traceparent: str | None = None
    api: ApiVersion = ApiVersion.RECORDS
    provider: str = DEFAULT_PROVIDER


def deadline_from(wanted_at: Instant | None, deadline_ms: int, now: Instant) -> Instant:
    """Return the deadline of a request accepted now: what is wanted or `deadline_ms` from now, 90 days at most."""
    deadline_at = now + deadline_ms if wanted_at is None else wanted_at
    return min(deadline_at, now + DEADLINE_MS_MAX)


@dataclass(frozen=True, slots=True)
class StartInputs:
    """What the call that starts a workflow carries of the request itself; personal data."""

    parameters: bytes | None = field(default=None, repr=False)  # A JSON object; version 3 has no parameter sets.
    locale: str | None = None  # Language for the end user.
    email: str | None = field(default=None, repr=False)  # Where the provider mails the link to.


@dataclass(frozen=True, slots=True)
class Timer:
    """When a part of the state wants to be woken.

    `is_behind_evidence`: it ends, gives up or forgets something, so it must not fire before the input
    has been read to where it ended after `due_at`.
    """

    due_at: Instant
    is_behind_evidence: bool = False
