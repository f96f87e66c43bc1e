"""The parts of a launch key by name, and the numbers that launch goes by.

"head" is the active request and "w/<number>" those that wait behind it; "request/<request id>" stands for every
request that came, since one is passed on at most once in its life; "known/<workflow id>" for workflows that a request
claimed, "seen/<workflow id>" for observations that nobody claimed yet, "issued/<request id>" for requests whose end
user has a link or token, "gave/<request id>" for those that left while a run of theirs may still show itself. The
queue is numbered in the head and may have holes, so that it is never searched.
"""

from dataclasses import dataclass

from processor.core.keys import canonical_id
from processor.core.messages import Prepared, Started
from processor.core.model import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Instant, Timer, Witness
from processor.core.state import GaveUp, Launching, LaunchPhase
from processor.errors import SettingsInvalid

REQUEST = "request/"
KNOWN = "known/"
SEEN = "seen/"
GAVE = "gave/"
ISSUED = "issued/"

UNSENT = frozenset({LaunchPhase.READY, LaunchPhase.BACKING_OFF, LaunchPhase.SUSPECT})
# The outcome of the last attempt is unknown.
DOUBTFUL = frozenset({LaunchPhase.UNKNOWN, LaunchPhase.HELD, LaunchPhase.GATHERING, LaunchPhase.CERTAIN})
# A call, a verdict or a permit lives in memory only.
WAITING = frozenset({LaunchPhase.READY, LaunchPhase.SUSPECT, LaunchPhase.GATHERING})


@dataclass(frozen=True, slots=True)
class LaunchPolicy:
    """How patient launch is and what it remembers; milliseconds."""

    send_window_ms: int = 5 * SECOND_MS  # From the intent to the first byte; later the call is withdrawn.
    run_deadline_ms: int = 30 * SECOND_MS  # From the first byte to the end of the call.
    intent_margin_ms: int = 10 * SECOND_MS  # After that a new owner takes an intent's outcome as unknown.
    clock_margin_ms: int = 2 * MINUTE_MS  # How far the clocks of ingestor and submitter may differ.
    adoption_window_ms: int = 15 * MINUTE_MS  # Where the catalogue no longer has the workflow.
    amendment_ms: int = 8 * DAY_MS  # After the deadline: how long a late trace still amends a result.
    memory_ms: int = 9 * DAY_MS  # After the deadline: longer than completion knows a workflow (8 days).
    candidates_max: int = 16  # Unclaimed observations a key.
    evidence_wait_ms: int = HOUR_MS  # A timer behind evidence fires after that, whatever is read.
    reruns_max: int = 3  # After so many the provider is at fault every time, and a person decides.

    def __post_init__(self) -> None:
        """Raise SettingsInvalid where a limit would break a rule of adoption."""
        if self.candidates_max < 2:  # noqa: PLR2004  # Two are ambiguous; one alone would be adopted.
            raise SettingsInvalid("candidates_max must be at least 2, else dropping a candidate makes one unambiguous")
        if self.memory_ms <= self.amendment_ms:
            raise SettingsInvalid("memory_ms must exceed amendment_ms, else what was forgotten can be adopted again")


@dataclass(frozen=True, slots=True)
class Run:
    """A workflow that is known to be the run of a request, and who told."""

    workflow_id: str
    told_by: Witness
    status: str | None


@dataclass(frozen=True, slots=True)
class Link:
    """What an end user starts a workflow with; link and token are bearer secrets."""

    link: str | None = None
    token: str | None = None
    lives_ms: int | None = None  # From its answer on, where that says so.

    @property
    def is_there(self) -> bool:
        """Whether there is anything that an end user could use."""
        return self.link is not None or self.token is not None


NO_LINK = Link()  # As when it was mailed.


def request_of(head: Launching) -> str:
    """Return the id of a head's request."""
    return head.prepared.origin.request_id


def since_of(head: Launching) -> Instant | None:
    """Return when the oldest intent of the active request was written that may have run, None when none may."""
    return head.intent_at if head.doubt_at is None else head.doubt_at


def oldest_doubt(head: Launching) -> Instant:
    """Return since when a run of this request may have been seen; where no intent is left, since it was prepared."""
    since = since_of(head)
    return head.prepared.prepared_at if since is None else since


def is_repeated(head: Launching) -> bool:
    """Whether more than one attempt of the active request may have been executed, as the catalogue demands.

    Each repetition left one of unknown outcome behind; the last attempt counts unless it was taken back.
    """
    return head.reruns + (head.intent_at is not None) > 1 and head.reruns > 0


def deadline_of(prepared: Prepared) -> Timer:
    """Return the timer that ends a request which was not started."""
    return Timer(prepared.origin.deadline_at, is_behind_evidence=True)


def known_name(workflow_id: str) -> str:
    """Return the name of the part that says who claimed a workflow."""
    return KNOWN + canonical_id(workflow_id)


def seen_name(workflow_id: str) -> str:
    """Return the name of the part that holds an unclaimed observation."""
    return SEEN + canonical_id(workflow_id)


def new_head(
    prepared: Prepared, waiting_first: int, waiting_next: int, *, attempt: int = 0, link_attempt: int = 1
) -> Launching:
    """Return the head of a launch key whose active request is this one; `attempt` is the last one made of it."""
    return Launching(
        prepared=prepared,
        phase=LaunchPhase.READY,
        attempt=attempt,
        failures=0,
        intent_at=None,
        send_before=None,
        call_deadline_at=None,
        is_past_deadline=False,
        why="",
        waiting_first=waiting_first,
        waiting_next=waiting_next,
        timer=deadline_of(prepared),
        is_waiting=True,
        link_attempt=link_attempt,
    )


def custody(claim: GaveUp, run: Run, revision: int, candidates: tuple[str, ...]) -> Started:
    """Return the message that passes a request on to completion, with other workflows that may be runs of it."""
    return Started(
        origin=claim.prepared.origin,
        workflow_id=run.workflow_id,
        record_id=claim.prepared.record_id,
        case_id=claim.prepared.case_id,
        status=run.status,
        started_at=claim.intent_at,
        told_by=run.told_by,
        attempts=claim.attempts,
        revision=revision,
        candidates=candidates,
        is_rerun=claim.is_rerun,
    )
