"""The simulator's nouns: a call and its answer, a run, a link, a webhook, and what is counted."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Generation(StrEnum):
    """The version of the API that a call asks for in `Accept`; the third has paths of its own instead."""

    G1 = "1"
    G2 = "2"


class Conduct(StrEnum):
    """What the server does with the connection of a call."""

    ANSWER = "answered"
    SILENT = "silent"  # Holds it open and says nothing.
    HANG_UP = "hung-up"  # Closes it without an answer.


class Answered(StrEnum):
    """What a caller heard of an executed run or an issued link."""

    YES = "yes"  # Its answer.
    ERROR = "error"  # A 5xx without the workflow id.
    NO = "no"  # Nothing: never answered, or the caller had gone, or nobody had called.
    DROPPED = "dropped"  # A closed connection.


class Origin(StrEnum):
    """What executed a workflow: a call, or a person who walked a link or token."""

    API = "api"
    LINK = "link"


class LinkKind(StrEnum):
    """What was issued for an end user."""

    LINK = "link"
    TOKEN = "token"  # noqa: S105  # the kind, no secret
    MAIL = "mail"  # A link that the provider sends itself.


class WebhookKind(StrEnum):
    """The three kinds of webhooks that the provider documents."""

    COMPLETED = "completed"  # Any end, a bad one too.
    AWAITING = "awaiting"  # The user is done, background tasks run on.
    STATUS_UPDATE = "status-update"


JSON = "application/json"


class Call(NamedTuple):  # Made for each call, and three times as fast as a frozen dataclass.
    """One HTTP request, as far as a handler needs it; `at` is its instant."""

    args: tuple[str, ...]  # What stood in the placeholders of the path.
    query: str
    generation: Generation
    body: bytes
    at: int


@dataclass(frozen=True, slots=True)
class Content:
    """A record, a case or a parameter set: `owner` is its table or definition, `body` its JSON."""

    id: str
    owner: str
    body: bytes
    created_at: int


class Asked(NamedTuple):  # As above.
    """What a start asks for, and the content that it will run with."""

    definition_id: str
    case_id: str | None
    record_id: str | None
    parameters_id: str | None
    columns: bytes  # The content of the record or case, as JSON; `null` where it was made elsewhere.
    parameters: bytes  # The content of the parameters, as JSON.


@dataclass(frozen=True, slots=True)
class Execution:
    """What a start of version 3 says besides; such a run shows the object of that version."""

    locale: str
    expires: str | None  # expiresAt as it was given.
    expires_at: int | None
    has_user: bool


@dataclass(slots=True)
class Run:
    """One executed workflow; only its status, its end and what the caller heard change."""

    seq: int  # 1 for the first execution; never reused.
    workflow_id: str
    asked: Asked
    origin: Origin
    execution: Execution | None  # None before version 3.
    executed_at: int
    ends_at: int | None  # None while its user has not come.
    final_status: str
    decision: str | None  # What the result will say; None for a bad end.
    answered: Answered
    status: str  # What the API says of it now.
    finished_at: int | None = None

    @property
    def definition_id(self) -> str:
        """The definition that it runs."""
        return self.asked.definition_id

    @property
    def case_id(self) -> str | None:
        """The case that it is about."""
        return self.asked.case_id

    @property
    def record_id(self) -> str | None:
        """The record that it is about."""
        return self.asked.record_id


@dataclass(slots=True)
class Link:
    """A link, token or mail for an end user; its secret is not kept, only what recognises it."""

    id: str  # SHA-256 of the secret, in hex.
    kind: LinkKind
    asked: Asked
    run: Run | None  # What a start of version 3 executed already; None where the walk will execute it.
    issued_at: int
    expires_at: int | None
    walks_at: int | None  # When the user comes by themselves; None for never.
    answered: Answered
    is_ended: bool = False  # Used, or made useless by a newer one.


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
class Webhook:
    """One message to deliver; `attempt` counts from 0."""

    body: bytes
    signature: str | None
    attempt: int = 0


@dataclass(slots=True)
class Counters:
    """How often each route answered what, and what became of the webhooks and links."""

    routes: dict[str, Counter[str]] = field(default_factory=dict)
    webhooks: Counter[str] = field(default_factory=Counter)
    links: Counter[str] = field(default_factory=Counter)
    executed: int = 0
    finished: int = 0
    over_limit: int = 0  # Calls answered 429 by `calls_per_second_max`.
    peak: int = 0  # The most calls that were being answered at once.
    peaks: dict[str, int] = field(default_factory=dict)  # The same for each route.
    _open: Counter[str] = field(default_factory=Counter)
    _open_total: int = 0

    def count(self, route: str, outcome: str) -> None:
        """Count one call; `outcome` is its HTTP status, or what became of its connection."""
        by_outcome = self.routes.get(route)
        if by_outcome is None:
            by_outcome = self.routes[route] = Counter()
        by_outcome[str(outcome)] += 1  # A plain text, for nothing else can be a member of JSON.

    def begin(self, route: str) -> None:
        """Note that a call is being answered."""
        self._open_total += 1
        self._open[route] += 1
        self.peak = max(self.peak, self._open_total)
        if self._open[route] > self.peaks.get(route, 0):
            self.peaks[route] = self._open[route]

    def end(self, route: str) -> None:
        """Note that it is not any more."""
        self._open_total -= 1
        self._open[route] -= 1
