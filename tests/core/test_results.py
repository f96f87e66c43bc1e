"""How a result is filled: what is not known stays empty, and what custody carries comes back."""

from dataclasses import replace

from processor.core.messages import Started
from processor.core.model import Outcome, Reason, Witness
from processor.core.results import finished, finished_launching, finished_prepared, finished_started
from tests.core.launching import RECORD, W1, W2, T, doubted, prepared

ORIGIN = prepared().origin
BARE = finished(ORIGIN, Outcome.EXPIRED, T, reason=Reason.DEADLINE_PASSED, message="late")


def test_a_bare_result_claims_nothing() -> None:
    """No record, no workflow, no attempt, no witness; revision 1."""
    filled = {name for name in BARE.__dataclass_fields__ if getattr(BARE, name) not in (None, 0, ())}
    assert filled == {"origin", "revision", "outcome", "finished_at", "reason", "message"}
    assert BARE.revision == 1


def test_the_result_of_a_prepared_request_names_its_record() -> None:
    """The record exists at the provider although nothing ran on it."""
    result = finished_prepared(prepared(), Outcome.EXPIRED, T, reason=Reason.DEADLINE_PASSED, message="late")
    assert result == replace(BARE, record_id=RECORD)


def test_the_result_of_an_active_request_dates_from_its_oldest_intent_that_may_have_run() -> None:
    """An attempt that only a person ruled out counts."""
    head = doubted().head
    assert head is not None
    result = finished_launching(head, Outcome.EXPIRED, T + 9, reason=Reason.DEADLINE_PASSED, message="late")
    assert result == replace(BARE, finished_at=T + 9, record_id=RECORD, attempts=1, started_at=T)


def test_the_result_of_a_started_request_carries_what_custody_said() -> None:
    """Revision, workflow, start, attempts and other possible runs."""
    started = Started(ORIGIN, W1, RECORD, None, "RUNNING", T, Witness.POLL, attempts=2, revision=2, candidates=(W2,))
    assert finished_started(started, Outcome.FAILED, T) == replace(
        BARE,
        outcome=Outcome.FAILED,
        reason=None,
        message=None,
        revision=2,
        status="RUNNING",
        workflow_id=W1,
        record_id=RECORD,
        started_at=T,
        attempts=2,
        candidates=(W2,),
    )
