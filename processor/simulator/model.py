"""The simulator's nouns: a call and its answer, a run, a webhook, and what is counted."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Generation(StrEnum):
    """The version of the API that a call asks for in `Accept`; none means the first."""

    G1 = "1"
    G2 = "2"


class Conduct(StrEnum):
    """What the server does with the connection of a call."""

    ANSWER = "answered"
    SILENT = "silent"  # Holds it open and says nothing.
    HANG_UP = "hung-up"  # Closes it without an answer.


class Answered(StrEnum):
    """What a caller heard of an executed run."""

    YES = "yes"  # Its answer, workflow id included.
    ERROR = "error"  # A 5xx without the workflow id.
    NO = "no"  # Nothing: never answered, or the caller had gone.
    DROPPED = "dropped"  # A closed connection.


RUNNING = "RUNNING"
COMPLETED = "COMPLETED"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request, as far as a handler needs it; `at` is its instant."""

    args: tuple[str, ...]  # What stood in the placeholders of the path.
    query: str
    generation: Generation
    body: bytes
    at: int


@dataclass(slots=True)
class Run:
    """One executed workflow; only its end and what the caller heard change."""

    seq: int  # 1 for the first execution; never reused.
    workflow_id: str
    definition_id: str
    case_id: str | None
    record_id: str | None
    parameters_id: str | None
    columns: bytes  # The content of the record or case, as JSON; `null` where it was made elsewhere.
    parameters: bytes  # The content of the parameters, as JSON.
    executed_at: int
    ends_at: int
    final_status: str
    decision: str
    answered: Answered
    finished_at: int | None = None

    @property
    def status(self) -> str:
        """What the API says of it now."""
        return RUNNING if self.finished_at is None else self.final_status


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call gets; `run` is the execution that it tells of."""

    status: int
    body: bytes
    media_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    conduct: Conduct = Conduct.ANSWER
    run: Run | None = None


class Refused(Exception):
    """The provider refuses a call with this status and a documented ErrorResponse."""

    def __init__(self, status: int, code: str, message: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Content:
    """A record, a case or a parameter set: `owner` is its table or definition, `body` its JSON."""

    id: str
    owner: str
    body: bytes
    created_at: int


@dataclass(frozen=True, slots=True)
class Webhook:
    """One message to deliver; `attempt` counts from 0."""

    body: bytes
    signature: str | None
    attempt: int = 0


@dataclass(slots=True)
class Counters:
    """How often each route answered what, and what became of the webhooks."""

    routes: dict[str, Counter[str]] = field(default_factory=dict)
    webhooks: Counter[str] = field(default_factory=Counter)
    executed: int = 0
    finished: int = 0

    def count(self, route: str, outcome: str) -> None:
        """Count one call; `outcome` is its HTTP status, or what became of its connection."""
        by_outcome = self.routes.get(route)
        if by_outcome is None:
            by_outcome = self.routes[route] = Counter()
        by_outcome[outcome] += 1
