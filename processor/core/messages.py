"""Everything that crosses a decider's border: facts in, calls and messages out, and the parts of its state.

Facts are in the past tense, calls in the imperative. A decider gets `(state, fact, now)` and returns a
`Decision`; its state is a mapping from part name to part, and parts and internal messages are what
`schemas/internal` describes byte by byte.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from processor.core.model import Instant, OnboardingRequest, Origin, Outcome, Reason, Timer, Witness
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
    """A creation or a run was called: what that proves, and the id that was made.

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


@dataclass(frozen=True, slots=True)
class ResultRead:
    """A result read was answered. `body` is opaque JSON text, None when it was above the cap."""

    attempt: int
    proof: Proof
    body: str | None
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
    body: bytes


@dataclass(frozen=True, slots=True)
class RunWorkflow:
    """Run the workflow: never repeated while its outcome is unknown.

    It starts before `send_before` or not at all, and ends before `deadline_at`.
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


@dataclass(frozen=True, slots=True)
class Judge:
    """Wait until it is clear whether a refusal is genuine or our own fault."""

    operation: Operation
    workflow: str
    request_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class ReadStatus:
    """Read a workflow's status; `workflow` is None for one that we did not start (yet)."""

    workflow: str | None
    workflow_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class ReadResult:
    """Read a completed workflow's result."""

    workflow: str
    workflow_id: str
    attempt: int


Call: TypeAlias = Create | RunWorkflow | Judge | ReadStatus | ReadResult

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


class Step(StrEnum):
    """What `OnboardingProgressed` tells."""

    ACCEPTED = "ACCEPTED"
    STARTED = "STARTED"
    HELD = "HELD"


@dataclass(frozen=True, slots=True)
class Progressed:
    """A request reached a step; no personal data."""

    origin: Origin
    step: Step
    at: Instant
    workflow_id: str | None = None
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """The input message that is being decided goes to the dead letters, with its bytes."""

    reason: str
    message: str


Output: TypeAlias = Prepared | Observed | Started | Finished | Progressed | DeadLettered

# --- parts of the state ------------------------------------------------------------------------------------------
# Every part has `timer` (when it wants to be woken) and `is_waiting` (a call or permit of it lives in memory only,
# so a new owner must be told to ask again).


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """An accepted request before its creations are done; bodies are the JSON to send, rendered at arrival."""

    origin: Origin
    record_body: bytes | None
    case_body: bytes | None
    parameters_body: bytes | None
    record_id: str | None
    case_id: str | None
    is_own: bool
    timer: Timer | None
    is_waiting: bool = False


class Activity(StrEnum):
    """What the head of a preparation lane is doing."""

    CREATING = "creating"  # The call of `operation` is open, or about to be.
    BACKING_OFF = "backing-off"
    SUSPECT = "suspect"  # Refused; genuine or our own fault is being judged.


@dataclass(frozen=True, slots=True)
class Preparing:
    """The head of a preparation lane: its active request, and the numbers of those that wait behind it."""

    request: PendingRequest
    operation: Operation
    activity: Activity
    attempt: int
    parameters_id: str | None
    why: str
    waiting_first: int
    waiting_next: int
    timer: Timer | None
    is_waiting: bool


@dataclass(frozen=True, slots=True)
class KnownRequest:
    """A request id that was accepted, and the digest of what it said; kept until the duplicate memory ends.

    `launch` remembers the id alone: there the digest is empty.
    """

    digest: bytes
    timer: Timer | None
    is_waiting: bool = False


class LaunchPhase(StrEnum):
    """Where the active request of a launch key stands."""

    READY = "ready"  # Wants a permit.
    BACKING_OFF = "backing-off"  # Not sent, or asked to wait; READY again at its timer.
    INTENT = "intent"  # The call may be open; written before any byte was sent.
    SUSPECT = "suspect"  # Refused; genuine or our own fault is being judged.
    UNKNOWN = "unknown"  # The outcome is unknown; the adoption window is open.
    HELD = "held"  # Unknown, window over: a late observation or a person ends it.


@dataclass(frozen=True, slots=True)
class Launching:
    """The head of a launch key: its active request, and the numbers of those that wait behind it."""

    prepared: Prepared
    phase: LaunchPhase
    attempt: int
    failures: int  # In a row, for the back-off.
    intent_at: Instant | None
    send_before: Instant | None
    call_deadline_at: Instant | None
    is_past_deadline: bool  # The request's deadline passed while its call was open.
    why: str
    waiting_first: int
    waiting_next: int
    timer: Timer | None
    is_waiting: bool
    doubt_at: Instant | None = None  # The oldest intent of an earlier attempt that only a person called not executed.
    has_candidates: bool = False  # Whether observations may be kept for this key; False spares the search for them.


@dataclass(frozen=True, slots=True)
class WaitingLaunch:
    """A prepared request behind another one of the same record."""

    prepared: Prepared
    timer: Timer | None
    is_waiting: bool = False


@dataclass(frozen=True, slots=True)
class KnownWorkflow:
    """A workflow id that was claimed by a request of this record."""

    request_id: str
    timer: Timer | None
    is_waiting: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """An observation that nobody claimed yet."""

    observed: Observed
    timer: Timer | None
    is_waiting: bool = False


@dataclass(frozen=True, slots=True)
class GaveUp:
    """A request that ended UNDETERMINED here: a late observation still brings its amendment."""

    prepared: Prepared
    intent_at: Instant
    attempts: int
    timer: Timer | None
    is_waiting: bool = False


class CompletionPhase(StrEnum):
    """Where a workflow stands."""

    EARLY = "early"  # A webhook came before our own start; the grace period runs.
    OBSERVING = "observing"  # Grace over: a status read asks which record it belongs to.
    FORGETTING = "forgetting"  # Told to launch, or nobody's; remembered a while so that repeats cost nothing.
    RUNNING = "running"  # Started by us; the end is not known.
    FETCHING = "fetching"  # The API said that it ended well; its result is on the way.
    EXPIRED = "expired"  # The deadline passed; a late real outcome still brings an amendment.
    ENDED = "ended"  # The last result is out. Final.


@dataclass(frozen=True, slots=True)
class WorkflowState:
    """The head of a workflow id."""

    phase: CompletionPhase
    workflow_id: str  # As the provider spells it.
    started: Started | None  # Its `revision` is that of the next result: 2 after EXPIRED.
    webhook_at: Instant | None  # When the first webhook came that no status read has refuted yet.
    has_hint: bool  # A webhook came while the open read was already under way: read again.
    status: str | None  # As last read.
    attempt: int  # Number of the open or last call.
    polls: int  # Polls in a row since the last hint; while observing, how often the provider knew no such workflow.
    failures: int  # Failed reads in a row, for the back-off.
    poll_at: Instant | None
    closes_at: Instant  # When the phase ends by itself: grace over, deadline, amendment window over, forgotten.
    ended_badly_reads: int
    ended_at: Instant | None  # When a final status was first read.
    seen_by: Witness | None  # Who told of the end first; before it: a start that came with a final status.
    claimed_by: tuple[str, ...]  # Requests that claimed this workflow id later and were refused.
    timer: Timer | None
    is_waiting: bool


Part: TypeAlias = (
    Preparing
    | PendingRequest
    | KnownRequest
    | Launching
    | WaitingLaunch
    | KnownWorkflow
    | Candidate
    | GaveUp
    | WorkflowState
)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a decider answers: changed parts (None deletes), calls to make once committed, messages to publish.

    `wants_permit`: the engine must bring `PermitGranted` for this workflow as soon as slot, budget and token
    are there. At most one permit is wanted a key.
    """

    changes: Mapping[str, Part | None] = field(default_factory=dict)
    calls: tuple[Call, ...] = ()
    outputs: tuple[Output, ...] = ()
    wants_permit: str | None = None
