"""Which observed workflow is the run of which request: nothing but evidence joins them.

Rules:
- An observation fits only a request of the same provider profile, and of the same record and case where both say one.
- One that carries our own reference fits the request that the reference names, if its webhook came after that was
  prepared, less a margin for clocks: a reference can be copied into a workflow that is none of ours.
- Any other fits a request if its webhook came after the request's oldest intent that may have been executed, less
  that margin.
- A request adopts what names it by itself, unless the catalogue says that it adopts nothing. What only shows its
  record it adopts only where nobody else could have started a workflow there: the record or case was made for it or
  is declared exclusive, and the catalogue adopts by record.
- It adopts only what is unambiguous both ways: one workflow fits the request, and the workflow fits no other
  request. A request that ended without its run being known counts as one, and so does one whose call may still be
  open, one whose end user holds a link, and one of which more than one run may show itself.
- Where the catalogue says that of several links only the newest can have been used, an older one of the same
  definition fits nothing any more that came after the intent of the next newer one.

Source: the provider's API finds no run by record, so a webhook of an unknown workflow is the only trace of a run
whose answer was lost.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from processor.core.catalogue import Adoption, Workflow
from processor.core.keys import canonical_id
from processor.core.launch_parts import since_of
from processor.core.messages import Observed, Prepared
from processor.core.model import ApiVersion, Instant
from processor.core.proof import Operation
from processor.core.state import GaveUp, Issued, Launching, LaunchPhase


@dataclass(frozen=True, slots=True)
class Claim:
    """A request whose run is not known, so that an unclaimed workflow may be it."""

    prepared: Prepared
    since: Instant | None  # When its oldest intent was written that may have been executed; None: none may.
    is_adopting: bool  # Whether it may adopt by itself what names it.
    is_alone: bool = False  # Whether it may adopt by itself also what only shows its record.
    link_at: Instant | None = None  # When the intent of its newest link was written, if it may have one.
    newest_of: str | None = None  # The definition whose newest link alone counts.
    until: Instant | None = None  # When a newer link took the place of its own.

    @property
    def request_id(self) -> str:
        """Id of the request."""
        return self.prepared.origin.request_id


def claim_of_head(head: Launching, workflow: Workflow | None) -> Claim | None:
    """Return the claim of a key's active request; None when nothing of it was ever sent.

    While its call is open the answer tells the id, so until then it adopts nothing. Nor does one more link: whoever
    used the first one did not wait for it. What that call may have started counts all the same.
    """
    since = since_of(head)
    if head.attempt == 0 or (head.link_attempt > 1 and (since is None or head.operation is not Operation.RUN)):
        return None
    is_open = head.phase is LaunchPhase.INTENT or head.link_attempt > 1
    link_at = None if head.operation is Operation.RUN else since
    return _claim(head.prepared, workflow, since, is_adopting=not is_open, is_own=not head.is_disputed, link_at=link_at)


def claim_of_issued(issued: Issued, workflow: Workflow | None) -> Claim | None:
    """Return the claim of a request whose end user has a link; None when its workflow is known for sure."""
    if issued.workflow_id is not None:
        return None if issued.doubt_at is None else Claim(issued.prepared, issued.doubt_at, is_adopting=False)
    return _claim(
        issued.prepared,
        workflow,
        issued.intent_at,
        is_adopting=True,
        is_own=not issued.is_disputed,
        link_at=issued.link_at,
    )


def claim_of_gave_up(gave_up: GaveUp, workflow: Workflow | None) -> Claim:
    """Return the claim of a request that left: a late trace amends its result, if it left without a run."""
    return _claim(
        gave_up.prepared,
        workflow,
        gave_up.intent_at,
        is_adopting=not gave_up.has_run,
        is_own=not gave_up.is_disputed,
        link_at=gave_up.link_at,
    )


def superseded(claims: Sequence[Claim]) -> list[Claim]:
    """Return the claims, each with the instant at which a newer link took the place of its own."""
    return [replace(claim, until=_superseded_at(claim, claims)) for claim in claims]


def is_witnessed(prepared: Prepared, workflow: Workflow | None) -> bool:
    """Whether a read of the case shows what ran for this request: the case was made for it, and says so."""
    return (
        prepared.is_own
        and prepared.case_id is not None
        and prepared.origin.api is ApiVersion.CASES
        and workflow is not None
        and workflow.case_workflow_path is not None
        and workflow.adoption is Adoption.RECORD
    )


def is_fitting(claim: Claim, observed: Observed, clock_margin_ms: int) -> bool:
    """Whether an observed workflow can be the run of a request."""
    if not _is_of_same_record(claim.prepared, observed):
        return False
    if observed.request_id is not None:
        is_made_since = observed.received_at >= claim.prepared.prepared_at - clock_margin_ms
        return is_made_since and observed.request_id == claim.request_id
    if claim.since is None or observed.received_at < claim.since - clock_margin_ms:
        return False
    return claim.until is None or observed.received_at < claim.until


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
        fits = tuple(seen for seen in fits if seen.request_id is not None) or (fits if claim.is_alone else ())
        if len(fits) == 1 and not any(
            other.request_id != claim.request_id and is_fitting(other, fits[0], clock_margin_ms) for other in claims
        ):
            return claim, fits[0]
    return None


def earliest(first: Observed, second: Observed) -> Observed:
    """Return which of two observations of one workflow counts: the one whose webhook came first.

    A workflow that was heard of before an intent is not its run, however often it calls. Whom either names stays.
    """
    one, other = (first, second) if first.received_at <= second.received_at else (second, first)
    return one if one.request_id is not None else replace(one, request_id=other.request_id)


def _claim(  # noqa: PLR0913  # what makes a claim
    prepared: Prepared,
    workflow: Workflow | None,
    since: Instant | None,
    *,
    is_adopting: bool,
    is_own: bool,
    link_at: Instant | None,
) -> Claim:
    is_adopting = is_adopting and workflow is not None and workflow.adoption is not Adoption.NONE
    is_alone = is_adopting and is_own and _is_alone(prepared, workflow)
    newest_of = workflow.definition if workflow is not None and workflow.is_newest_link else None
    return Claim(prepared, since, is_adopting, is_alone, link_at, newest_of)


def _superseded_at(claim: Claim, claims: Sequence[Claim]) -> Instant | None:
    link_at = claim.link_at
    if link_at is None or claim.newest_of is None:
        return None
    newer = [
        other.link_at
        for other in claims
        if other.newest_of == claim.newest_of and other.link_at is not None and other.link_at > link_at
    ]
    return min(newer, default=None)


def _is_alone(prepared: Prepared, workflow: Workflow | None) -> bool:
    """Whether nobody but this request can have started a workflow on its record or case."""
    has_record = prepared.record_id is not None or prepared.case_id is not None
    if not has_record or workflow is None or workflow.adoption is not Adoption.RECORD:
        return False
    return prepared.is_own or workflow.is_exclusive


def _is_of_same_record(prepared: Prepared, observed: Observed) -> bool:
    """Ids count within a profile; one that a side does not give says nothing, for the key alone brought it here."""
    if observed.provider != prepared.origin.provider:
        return False
    ids = ((prepared.record_id, observed.record_id), (prepared.case_id, observed.case_id))
    return all(ours is None or theirs is None or canonical_id(ours) == canonical_id(theirs) for ours, theirs in ids)
