"""How a request's result is put together, so that every decider fills the same fields the same way.

Nothing here decides an outcome. Callers add with `dataclasses.replace` what only they know.
"""

from dataclasses import replace

from processor.core.launch_parts import is_repeated
from processor.core.messages import Finished, Prepared, Started
from processor.core.model import Instant, Origin, Outcome, Reason
from processor.core.state import Issued, Launching


def finished(origin: Origin, outcome: Outcome, now: Instant, *, reason: Reason | None, message: str | None) -> Finished:
    """Return the result (revision 1) of a request of which no run is known: no workflow, no record, no attempt.

    `message` says the reason in words and holds no personal data.
    """
    return Finished(
        origin=origin,
        revision=1,
        outcome=outcome,
        decision=None,
        status=None,
        workflow_id=None,
        record_id=None,
        case_id=None,
        result=None,
        result_hash=None,
        result_bytes=None,
        result_omitted=None,
        started_at=None,
        finished_at=now,
        seen_at=None,
        completed_by=None,
        attempts=0,
        reason=reason,
        message=message,
    )


def finished_prepared(prepared: Prepared, outcome: Outcome, now: Instant, *, reason: Reason, message: str) -> Finished:
    """Return the result of a request whose creations were done and that never set out to run."""
    bare = finished(prepared.origin, outcome, now, reason=reason, message=message)
    return replace(bare, record_id=prepared.record_id, case_id=prepared.case_id)


def finished_launching(head: Launching, outcome: Outcome, now: Instant, *, reason: Reason, message: str) -> Finished:
    """Return the result of a launch key's active request: `started_at` is its oldest intent that may have run."""
    bare = finished_prepared(head.prepared, outcome, now, reason=reason, message=message)
    started_at = head.intent_at if head.doubt_at is None else head.doubt_at
    return replace(bare, started_at=started_at, attempts=head.attempt, is_rerun=is_repeated(head))


def finished_issued(issued: Issued, outcome: Outcome, now: Instant, *, reason: Reason, message: str) -> Finished:
    """Return the result of a request whose end user got a link and, as far as is known, did not use it."""
    bare = finished_prepared(issued.prepared, outcome, now, reason=reason, message=message)
    return replace(bare, started_at=issued.intent_at, attempts=issued.attempts, is_rerun=issued.is_rerun)


def finished_started(
    started: Started, outcome: Outcome, now: Instant, *, reason: Reason | None = None, message: str | None = None
) -> Finished:
    """Return the result of a request whose workflow is known, in the revision that custody was given for."""
    return replace(
        finished(started.origin, outcome, now, reason=reason, message=message),
        revision=started.revision,
        status=started.status,
        workflow_id=started.workflow_id,
        record_id=started.record_id,
        case_id=started.case_id,
        started_at=started.started_at,
        attempts=started.attempts,
        candidates=started.candidates,
        is_rerun=started.is_rerun,
    )
