"""Everything that crosses a decider's border: facts in, calls and messages out.

Facts are in the past tense, calls in the imperative. A decider gets `(state, fact, now)` and returns a `Decision`
(`core/state.py`); what crosses a topic of our own is described byte by byte in `schemas/internal`.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from processor.core.model import (
    DEFAULT_PROVIDER,
    ApiVersion,
    Instant,
    OnboardingRequest,
    Origin,
    Outcome,
    Reason,
    StartInputs,
    Witness,
)
from processor.core.proof import Operation, Proof

# --- facts: the engine's -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The timer of one part of the state is due."""

    part: str
    due_at: Instant


@dataclass(frozen=True, slots=True)
class Resumed:
    """A new owner found a part that waits for a call or a permit which died with the old owner."""

    part: str


@dataclass(frozen=True, slots=True)
class PermitGranted:
    """A slot, the budget and a valid token are ours until `until`; the call made of it must start before."""

    until: Instant


# --- facts: input messages ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RequestArrived:
    """An onboarding request event was read, under its message key."""

    request: OnboardingRequest
    key: bytes | None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """Custody of a request passes to `launch`: all its repeatable creations are done."""

    origin: Origin
    launch_key: str
    record_id: str | None
    case_id: str | None
    is_own: bool  # The record or case was made for this request alone.
    parameters_id: str | None
    prepared_at: Instant
    inputs: StartInputs | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """A workflow that completion does not know showed itself at the provider, for this record or case."""

    launch_key: str
    workflow_id: str
    record_id: str | None
    case_id: str | None
    status: str
    received_at: Instant  # When its first webhook came.
    observed_at: Instant
    request_id: str | None = None  # Whom our own reference names, where the provider's answer holds one.
    provider: str = DEFAULT_PROVIDER  # The profile at which it showed itself.


@dataclass(frozen=True, slots=True)
class LinkAsked:
    """Upstream asks for one more link or token of a request that was handed over before. Carries no custody."""

    launch_key: str
    origin: Origin  # Of the event that asks.
    link_attempt: int
    asked_at: Instant


@dataclass(frozen=True, slots=True)
class LinkOver:
    """The workflow behind a version 3 link has ended: no further link of its request is to be issued."""

    launch_key: str
    request_id: str


@dataclass(frozen=True, slots=True)
class CallProved:
    """What a call of a former owner of this partition proved; evidence, so it needs no fence."""

    launch_key: str
    request_id: str
    attempt: int
    proof: Proof
    workflow_id: str | None
    status: str | None
    why: str
    proved_at: Instant
    operation: Operation = Operation.RUN


class Resolution(StrEnum):
    """What a person decided about a held request."""

    STARTED = "started"  # It did run: this is its workflow id.
    NOT_EXECUTED = "not-executed"  # The provider said so: run it again.
    GIVE_UP = "give-up"  # End it UNDETERMINED.


@dataclass(frozen=True, slots=True)
class OperatorDecided:
    """A person decided about one request; refused visibly when attempt or phase no longer fit."""

    launch_key: str
    decision_id: str
    request_id: str
    attempt: int
    resolution: Resolution
    workflow_id: str | None
    decided_at: Instant


@dataclass(frozen=True, slots=True)
class Started:
    """Custody of a request passes to `completion`: this workflow is its run."""

    origin: Origin
    workflow_id: str
    record_id: str | None
    case_id: str | None
    status: str | None  # As the run answer or the observation said it.
    started_at: Instant  # When the intent was written.
    told_by: Witness
    attempts: int
    revision: int
    candidates: tuple[str, ...] = ()  # Other workflows that may be runs of this request, for a person to look at.
    is_rerun: bool = False  # An attempt of unknown outcome was repeated, as the catalogue demands.


@dataclass(frozen=True, slots=True)
class Replaced:
    """A workflow that a request holds gives way to a newer one, which was started at upstream's wish."""

    workflow_id: str  # The one that gives way, if its end is not known yet.
    started: Started  # What its custody passes on with.


@dataclass(frozen=True, slots=True)
class WebhookReceived:
    """A genuine webhook: its raw body and what configured paths found in it. A hint, never the truth."""

    workflow_id: str
    received_at: Instant
    status: str | None
    kind: str | None
    record_id: str | None
    case_id: str | None
    definition_id: str | None
    key_id: str
    body: bytes
    provider: str = DEFAULT_PROVIDER


@dataclass(frozen=True, slots=True)
class CustodyUnreadable:
    """A message that carried custody could not be decoded; its headers still name the request."""

    state_key: str
    request_id: str
    workflow: str
    key: bytes | None
    results_topic: str
    at: Instant


# --- facts: answers ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallAnswered:
    """A creation or a start was called: what that proves, and the id that was made.

    `why` holds HTTP status, error codes and fingerprint only, never the provider's message.
    """

    operation: Operation
    attempt: int
    proof: Proof
    made_id: str | None
    status: str | None
    wait_ms: int | None
    why: str
    request_id: str = ""  # Whose call it was: attempts are numbered within a request, not within a key.
    link: str | None = field(default=None, repr=False)  # A bearer secret, as is the token.
    token: str | None = field(default=None, repr=False)
    expires_ms: int | None = None  # How long link or token work from now on, where the answer says so.


@dataclass(frozen=True, slots=True)
class VerdictReached:
    """Whether a refusal is about this request, or one of many that are our own fault."""

    attempt: int
    is_our_fault: bool
    request_id: str = ""  # As in `CallAnswered`.


@dataclass(frozen=True, slots=True)
class StatusRead:
    """A status read was answered; REFUSED means that the provider knows no such workflow."""

    attempt: int
    proof: Proof
    status: str | None
    record_id: str | None
    case_id: str | None
    wait_ms: int | None
    why: str
    our_reference: str | None = None  # Our own one, as `core/reference.py` writes it, where the answer holds one.


@dataclass(frozen=True, slots=True)
class CaseRead:
    """A case was read: which workflow ran on it, as far as the answer says."""

    request_id: str
    attempt: int
    proof: Proof
    workflow_id: str | None
    status: str | None
    wait_ms: int | None
    why: str


@dataclass(frozen=True, slots=True)
class EvidenceJudged:
    """Completion has judged every webhook that came before an instant: what it saw is on its way to launch."""

    request_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class ResultRead:
    """A result read was answered. `body` is opaque JSON text, None when it was above the cap."""

    attempt: int
    proof: Proof
    body: str | None = field(repr=False)
    body_bytes: int
    body_hash: str | None
    wait_ms: int | None
    why: str


# --- calls -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Create:
    """Make a record, a case or a parameter set; `body` is the JSON to send."""

    operation: Operation
    workflow: str
    request_id: str
    attempt: int
    body: bytes = field(repr=False)
    provider: str = DEFAULT_PROVIDER
    api: ApiVersion = ApiVersion.RECORDS


@dataclass(frozen=True, slots=True)
class StartWorkflow:
    """Start the workflow: run it, or issue or mail the link with which its end user starts it.

    It begins before `send_before` or not at all, and ends before `deadline_at`. A run and a mail are never repeated
    while their outcome is unknown.
    """

    workflow: str
    request_id: str
    attempt: int
    record_id: str | None
    case_id: str | None
    parameters_id: str | None
    send_before: Instant
    deadline_at: Instant
    is_own: bool = True  # As in `Prepared`: a 404 then speaks of the definition, not of what upstream named.
    operation: Operation = Operation.RUN
    provider: str = DEFAULT_PROVIDER
    api: ApiVersion = ApiVersion.RECORDS
    inputs: StartInputs | None = None
    expires_at: Instant | None = None  # When the provider is to end it by itself; version 3 only.


@dataclass(frozen=True, slots=True)
class Judge:
    """Wait until it is clear whether a refusal is genuine or our own fault."""

    operation: Operation
    workflow: str
    request_id: str
    attempt: int
    provider: str = DEFAULT_PROVIDER


@dataclass(frozen=True, slots=True)
class ReadStatus:
    """Read a workflow's status; `workflow` is None for one that we did not start (yet)."""

    workflow: str | None
    workflow_id: str
    attempt: int
    provider: str = DEFAULT_PROVIDER
    api: ApiVersion = ApiVersion.RECORDS


@dataclass(frozen=True, slots=True)
class ReadResult:
    """Read a completed workflow's result; from its case where `case_id` is given, as version 1 once did."""

    workflow: str
    workflow_id: str
    attempt: int
    provider: str = DEFAULT_PROVIDER
    api: ApiVersion = ApiVersion.RECORDS
    case_id: str | None = None


@dataclass(frozen=True, slots=True)
class ReadCase:
    """Read a case that was made for one request alone: it may show the workflow that ran on it."""

    workflow: str
    request_id: str
    case_id: str
    attempt: int
    provider: str = DEFAULT_PROVIDER


@dataclass(frozen=True, slots=True)
class AwaitEvidence:
    """Wait until completion has judged every webhook that came before `until`; however long that takes."""

    request_id: str
    attempt: int
    until: Instant


Call: TypeAlias = Create | StartWorkflow | Judge | ReadStatus | ReadResult | ReadCase | AwaitEvidence

# --- messages out ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finished:
    """A request's one result, or its amendment (`revision` 2)."""

    origin: Origin
    revision: int
    outcome: Outcome
    decision: str | None
    status: str | None
    workflow_id: str | None
    record_id: str | None
    case_id: str | None
    result: str | None
    result_hash: str | None
    result_bytes: int | None
    result_omitted: str | None  # Why there is no `result`: not-configured, too-large or unavailable.
    started_at: Instant | None
    finished_at: Instant  # When the decider ended it.
    seen_at: Instant | None  # When the end was first hinted at by a webhook, or read.
    completed_by: Witness | None
    attempts: int
    reason: Reason | None
    message: str | None
    candidates: tuple[str, ...] = ()  # Workflows that may belong to it, for a person to look at.
    is_rerun: bool = False  # As in `Started`: the workflow may have been run more than once.


class Step(StrEnum):
    """What `OnboardingProgressed` tells."""

    ACCEPTED = "ACCEPTED"
    STARTED = "STARTED"
    HELD = "HELD"
    LINK_REFUSED = "LINK_REFUSED"  # One more link was asked for, and there will be none.


@dataclass(frozen=True, slots=True)
class Progressed:
    """A request reached a step; no personal data."""

    origin: Origin
    step: Step
    at: Instant
    workflow_id: str | None = None
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class LinkIssued:
    """A link or token was issued, or mailed by the provider. Link and token are bearer secrets."""

    origin: Origin
    link_attempt: int
    link: str | None = field(repr=False)
    token: str | None = field(repr=False)
    issued_at: Instant
    expires_at: Instant | None
    record_id: str | None
    case_id: str | None


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """The input message that is being decided goes to the dead letters, with its bytes."""

    reason: str
    message: str


Output: TypeAlias = (
    Prepared | LinkAsked | LinkOver | Observed | Started | Replaced | Finished | LinkIssued | Progressed | DeadLettered
)
