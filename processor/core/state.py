"""Parts of the deciders' state, and what a decider answers.

The state of a key is a mapping from part name to part; a decision names the parts that it changes. Every part has
`timer` (when it wants to be woken) and `is_waiting` (a call or permit of it lives in memory only, so a new owner must
be told to ask again). `schemas/internal` describes them byte by byte.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from processor.core.messages import Call, Observed, Output, Prepared, Started
from processor.core.model import DEFAULT_PROVIDER, ApiVersion, Instant, Origin, StartInputs, Timer, Witness
from processor.core.proof import Operation

HEAD = "head"  # The part of each key that says where it stands.


def waiting_name(number: int) -> str:
    """Return the name of the part that holds a waiting request."""
    return f"w/{number:016x}"


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """An accepted request before its creations are done; bodies are the JSON to send, rendered at arrival."""

    origin: Origin
    record_body: bytes | None = field(repr=False)
    case_body: bytes | None = field(repr=False)
    parameters_body: bytes | None = field(repr=False)
    record_id: str | None
    case_id: str | None
    is_own: bool
    timer: Timer | None
    is_waiting: bool = False
    inputs: StartInputs | None = None
    is_for_link: bool = False  # An end user starts it, with a link or token: one more of these may be asked for.
    subject_part: str | None = None  # Name of the part that knows the subject's record or case, where it is reused.
    reuse_ms: int = 0  # How old that may be.


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
    launch_key: str | None = None  # Where it was handed over to, if one more link may be asked for.
    link_attempt: int = 1  # The highest that was asked for.


@dataclass(frozen=True, slots=True)
class KnownSubject:
    """The record or case that was made for a subject, to be used again; forgotten when it is too old."""

    record_id: str | None
    case_id: str | None
    made_at: Instant
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
    GATHERING = "gathering"  # Unknown, to be run again: not before completion has judged every webhook so far.
    CERTAIN = "certain"  # Completion has; what it saw is being read before it is run again.


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
    doubt_at: Instant | None = None  # The oldest intent of an earlier attempt that is not proved to be not executed.
    has_candidates: bool = False  # Whether observations may be kept for this key; False spares the search for them.
    link_attempt: int = 1  # Above 1 it is one more link of a request that has one already.
    reruns: int = 0  # How often an attempt of unknown outcome was repeated, as the catalogue demands.
    reads: int = 0  # How often the case was read in vain.
    operation: Operation = Operation.RUN  # The call of the last intent.
    closes_at: Instant | None = None  # UNKNOWN: end of the window. GATHERING: what came before it must be judged.
    is_mailed: bool = False  # An earlier attempt is proved to have mailed its link.
    is_disputed: bool = False  # What it may have run can be another request's too: only what names it is its own.


@dataclass(frozen=True, slots=True)
class WaitingLaunch:
    """A prepared request behind another one of the same record."""

    prepared: Prepared
    timer: Timer | None
    is_waiting: bool = False
    link_attempt: int = 1


@dataclass(frozen=True, slots=True)
class Issued:
    """A request whose end user has a link or token: it goes on when a workflow shows itself on its record.

    `workflow_id` is that of a version 3 start, which is known: then completion has custody, and this part only serves
    to issue one more link.
    """

    prepared: Prepared
    intent_at: Instant  # When the intent of the first of its links was written.
    link_at: Instant  # The same of its newest link.
    attempts: int  # Attempts so far, also those to issue one more link.
    link_attempt: int  # Number of its newest link.
    asked_attempt: int  # The highest number that was asked for.
    workflow_id: str | None
    timer: Timer | None
    is_waiting: bool = False
    has_candidates: bool = False  # Observations fit it that it may not adopt by itself: a person decides.
    reads: int = 0  # How often the case was read in vain.
    doubt_at: Instant | None = None  # Since when a newer workflow of it may run under an id that nobody told us.
    is_rerun: bool = False  # An attempt of unknown outcome was repeated, as the catalogue demands.
    is_disputed: bool = False  # As in `Launching`.


@dataclass(frozen=True, slots=True)
class KnownWorkflow:
    """A workflow id that was claimed by a request of this record."""

    request_id: str
    timer: Timer | None
    is_waiting: bool = False
    spelling: str | None = None  # The provider's, where it is not that of the part's name.


@dataclass(frozen=True, slots=True)
class Candidate:
    """An observation that nobody claimed yet."""

    observed: Observed
    timer: Timer | None
    is_waiting: bool = False
    told_by: Witness = Witness.WEBHOOK  # POLL: a read of its case showed it.


@dataclass(frozen=True, slots=True)
class GaveUp:
    """A request that left while a run of it may still show itself; one that left without any is amended by it."""

    prepared: Prepared
    intent_at: Instant
    attempts: int
    timer: Timer | None
    is_waiting: bool = False
    is_rerun: bool = False
    link_at: Instant | None = None  # When the intent of its newest link was written, where it has one.
    is_disputed: bool = False  # As in `Launching`.
    is_many: bool = False  # More than one run of it may show itself.
    has_run: bool = False  # It went on with one of them: any other amends nothing, and is nobody else's by itself.


class CompletionPhase(StrEnum):
    """Where a workflow stands."""

    EARLY = "early"  # A webhook came before our own start; the grace period runs.
    OBSERVING = "observing"  # Grace over: a status read asks which record it belongs to.
    FORGETTING = "forgetting"  # Told to launch, or nobody's; remembered a while so that repeats cost nothing.
    REPLACED = "replaced"  # It gave way before our own start of it came: that one passes on to the newer workflow.
    RUNNING = "running"  # Started by us; the end is not known.
    FETCHING = "fetching"  # The API said that it ended well; its result is on the way.
    EXPIRED = "expired"  # The deadline passed; a late real outcome still brings an amendment.
    ENDED = "ended"  # The last result is out. Final.


@dataclass(frozen=True, slots=True)
class WorkflowState:
    """The head of a workflow id."""

    phase: CompletionPhase
    workflow_id: str  # As the provider spells it.
    started: Started | None  # Its `revision` is that of the next result: 2 after EXPIRED. REPLACED: the newer one.
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
    provider: str = DEFAULT_PROVIDER  # Whose webhook made us know it.
    silent: tuple[ApiVersion, ...] = ()  # While observing: versions whose answer did not say whom it belongs to.
    running_at: Instant | None = None  # When a read last said that it still runs.
    is_hinted: bool = False  # A webhook came since the start: the end is near, so polls begin anew with short waits.
    refused: tuple[ApiVersion, ...] = ()  # While observing: versions that know no such workflow.
    is_told: bool = False  # Launch heard of it: a further webhook says nothing new.
    newer: Started | None = None  # It gives way to this one, unless the next read says that it has ended.


Part: TypeAlias = (
    Preparing
    | PendingRequest
    | KnownRequest
    | KnownSubject
    | Launching
    | WaitingLaunch
    | KnownWorkflow
    | Candidate
    | Issued
    | GaveUp
    | WorkflowState
)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a decider answers: changed parts (None deletes), calls to make once committed, messages to publish.

    `wants_permit`: the engine must bring `PermitGranted` for this budget (`budget_of`) as soon as slot, rate and token
    are there. At most one permit is wanted a key.
    """

    changes: Mapping[str, Part | None] = field(default_factory=dict)
    calls: tuple[Call, ...] = ()
    outputs: tuple[Output, ...] = ()
    wants_permit: str | None = None
