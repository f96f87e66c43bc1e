"""Which observed workflow is the run of which request: nothing but evidence joins them.

Rules:
- An observation fits a request when it shows the same record or case and its webhook came after the request's
  oldest intent that may have been executed, less a margin for clocks.
- A request adopts by itself only where nobody else could have started a workflow on its record: the record or case
  was made for it, and the catalogue adopts by record.
- It adopts only what is unambiguous both ways: one workflow fits the request, and the workflow fits no other
  request. A request that ended undetermined counts as one, and so does one whose call may still be open.

Source: the provider's API finds no run by record, so a webhook of an unknown workflow is the only trace of a run
whose answer was lost.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from processor.core.catalogue import Adoption, Workflow
from processor.core.keys import canonical_id
from processor.core.launch_parts import since_of
from processor.core.messages import Observed, Prepared
from processor.core.model import Instant
from processor.core.state import GaveUp, Launching, LaunchPhase


@dataclass(frozen=True, slots=True)
class Claim:
    """A request whose run is not known, so that an unclaimed workflow may be it."""

    prepared: Prepared
    since: Instant  # When its oldest intent was written that may have been executed.
    is_adopting: bool  # Whether it may adopt by itself.

    @property
    def request_id(self) -> str:
        """Id of the request."""
        return self.prepared.origin.request_id


def claim_of_head(head: Launching, workflow: Workflow | None) -> Claim | None:
    """Return the claim of a key's active request; None when nothing of it can have been executed.

    While its call is open the answer tells the id, so until then it adopts nothing.
    """
    since = since_of(head)
    if since is None:
        return None
    is_adopting = head.phase is not LaunchPhase.INTENT and _is_alone(head.prepared, workflow)
    return Claim(head.prepared, since, is_adopting)


def claim_of_gave_up(gave_up: GaveUp, workflow: Workflow | None) -> Claim:
    """Return the claim of a request that ended without its run being known: a late trace amends its result."""
    return Claim(gave_up.prepared, gave_up.intent_at, _is_alone(gave_up.prepared, workflow))


def is_fitting(claim: Claim, observed: Observed, clock_margin_ms: int) -> bool:
    """Whether an observed workflow can be the run of a request."""
    is_late_enough = observed.received_at >= claim.since - clock_margin_ms
    return is_late_enough and _is_of_same_record(claim.prepared, observed)


def fitting(claim: Claim, observations: Iterable[Observed], clock_margin_ms: int) -> tuple[Observed, ...]:
    """Return the observed workflows that can be the run of a request."""
    return tuple(observed for observed in observations if is_fitting(claim, observed, clock_margin_ms))


def adoption(
    claims: Sequence[Claim], observations: Sequence[Observed], clock_margin_ms: int
) -> tuple[Claim, Observed] | None:
    """Return the first pair of a request and a workflow that can only belong together, None when there is none.

    `observations` are those of workflows that no request has claimed yet.
    """
    for claim in claims:
        fits = fitting(claim, observations, clock_margin_ms) if claim.is_adopting else ()
        if len(fits) == 1 and not any(
            is_fitting(other, fits[0], clock_margin_ms) for other in claims if other is not claim
        ):
            return claim, fits[0]
    return None


def earliest(first: Observed, second: Observed) -> Observed:
    """Return which of two observations of one workflow counts: the one whose webhook came first.

    A workflow that was heard of before an intent is not its run, however often it calls.
    """
    return first if first.received_at <= second.received_at else second


def _is_alone(prepared: Prepared, workflow: Workflow | None) -> bool:
    has_record = prepared.record_id is not None or prepared.case_id is not None
    return prepared.is_own and has_record and workflow is not None and workflow.adoption is Adoption.RECORD


def _is_of_same_record(prepared: Prepared, observed: Observed) -> bool:
    """An id that one side does not give says nothing: the observation was sent to this key for a reason."""
    ids = ((prepared.record_id, observed.record_id), (prepared.case_id, observed.case_id))
    return all(ours is None or theirs is None or canonical_id(ours) == canonical_id(theirs) for ours, theirs in ids)
