"""The auditor sees what it is there for: each rule broken by hand, once."""

from dataclasses import replace
from uuid import uuid5

import pytest

from tests.support.audit_runs import NAMESPACE
from tests.support.auditor import audit
from tests.support.testimony import Evidence, Published, Result, Run


def result(outcome: str = "COMPLETED", revision: int = 1, **other: object) -> Result:
    """Give a result of request r-1, as it should be."""
    good = Result(
        request_id="r-1",
        revision=revision,
        outcome=outcome,
        workflow_id="w-1",
        record_id="c-1",
        status="COMPLETED",
        reason={"UNDETERMINED": "run-unknown", "EXPIRED": "deadline-passed"}.get(outcome),
        event_id=str(uuid5(NAMESPACE, f"OnboardingFinished/{revision}/r-1")),
        key=b"k",
        partition=0,
        offset=revision,
    )
    return replace(good, **other)  # type: ignore[arg-type]  # fields of the row


RUN = Run(1, "W-1", "r-1", "c-1", "COMPLETED", is_finished=True, answered="yes")
REQUEST = Published("r-1", b"k", 0, 0)
SECOND = Published("r-2", b"k", 0, 1)
GOOD = Evidence([REQUEST], [result()], [RUN], records=["c-1"], webhooks={"w-1": 0})
RUN_OF_SECOND = Run(2, "w-2", "r-2", "c-2", "COMPLETED", is_finished=True, answered="yes")
OF_SECOND = result(
    request_id="r-2",
    workflow_id="w-2",
    record_id="c-2",
    event_id=str(uuid5(NAMESPACE, "OnboardingFinished/1/r-2")),
    offset=2,
)


def test_what_is_as_promised_has_no_violations() -> None:
    """A request, its run, its result: nothing to say; a repeated request and somebody else's run change that not."""
    foreign = Run(2, "w-9", None, None, "COMPLETED", is_finished=True, answered="yes")
    report = audit(replace(GOOD, published=[REQUEST, replace(REQUEST, offset=7)], runs=[RUN, foreign]))
    assert (report.violations, report.explanations) == ((), ())
    assert (report.requests, report.runs, report.foreign_runs) == (1, 2, 1)
    assert report.outcomes == {"COMPLETED": 1}


def test_a_give_up_may_be_amended_once() -> None:
    """UNDETERMINED, then what really happened: both are counted, and the ledger explains the first."""
    report = audit(replace(GOOD, results=[result("UNDETERMINED", workflow_id=None), result(revision=2)]))
    assert report.violations == ()
    assert (report.outcomes, report.amendments) == ({"UNDETERMINED": 1}, {"COMPLETED": 1})
    (explanation,) = report.explanations
    assert explanation.startswith(
        "r-1: UNDETERMINED (run-unknown); its answer was sent and not written down; it ended "
    )
    assert explanation.endswith("COMPLETED; a webhook came; amended to COMPLETED")


@pytest.mark.parametrize(
    "answered,explained",
    [("error", "answered with an error"), ("no", "never answered"), ("dropped", "the connection was cut")],
)
def test_an_explanation_says_what_the_caller_heard(answered: str, explained: str) -> None:
    """A give-up that stands names the fault that made it, and that no webhook told of the run."""
    silent = replace(GOOD, results=[result("UNDETERMINED", workflow_id=None)], webhooks={})
    report = audit(replace(silent, runs=[replace(RUN, answered=answered)]))
    assert report.violations == ()
    (explanation,) = report.explanations
    assert explained in explanation
    assert explanation.endswith("no webhook came; stands")


def test_an_explanation_says_when_nothing_was_executed() -> None:
    """A request that expired before it was run has nothing in the ledger."""
    (explanation,) = audit(replace(GOOD, results=[result("EXPIRED")], runs=[])).explanations
    assert "the provider executed nothing" in explanation


BROKEN: dict[str, Evidence] = {
    "0 results of revision 1": replace(GOOD, results=[]),
    "2 results of revision 1": replace(GOOD, results=[result(), result(offset=9)]),
    "a result that nobody asked for": replace(GOOD, published=[]),
    "revision 3": replace(GOOD, results=[result(), result(revision=3)]),
    "2 amendments": replace(GOOD, results=[result("EXPIRED"), result(revision=2), result(revision=2, offset=9)]),
    "COMPLETED was amended to COMPLETED": replace(GOOD, results=[result(), result(revision=2)]),
    "an amendment that says EXPIRED": replace(GOOD, results=[result("EXPIRED"), result("EXPIRED", revision=2)]),
    "does not stand behind": replace(GOOD, results=[result("EXPIRED", offset=3), result(revision=2)]),
    "event id": replace(GOOD, results=[result(event_id="e")]),
    "another key": replace(GOOD, results=[result(key=b"other")]),
    "executed 2 times": replace(GOOD, runs=[RUN, replace(RUN, seq=2, workflow_id="w-2")]),
    "NOT_STARTED, but executed": replace(GOOD, results=[result("NOT_STARTED", workflow_id=None)]),
    "names a workflow that was never executed": replace(GOOD, runs=[]),
    "names a workflow of r-2": replace(GOOD, runs=[replace(RUN, request_id="r-2")]),
    "its workflow still runs": replace(GOOD, runs=[replace(RUN, is_finished=False)]),
    "but its workflow ended FAILED": replace(GOOD, runs=[replace(RUN, final_status="FAILED")]),
    "stays EXPIRED": replace(GOOD, results=[result("EXPIRED")]),
    "stays UNDETERMINED": replace(GOOD, results=[result("UNDETERMINED", workflow_id=None)]),
    "prepared before r-1": Evidence(
        [REQUEST, SECOND], [result(), OF_SECOND], [RUN, RUN_OF_SECOND], records=["c-2", "c-1"]
    ),
}


@pytest.mark.parametrize("violation", BROKEN)
def test_each_broken_promise_is_seen(violation: str) -> None:
    """Every rule, broken once, is the one thing that the auditor complains of."""
    violations = audit(BROKEN[violation]).violations
    assert [each for each in violations if violation in each] == list(violations) != []


def test_a_result_of_a_request_without_key_has_its_request_id_as_key() -> None:
    """Null keys do not come back: the request id stands for them."""
    without = replace(GOOD, published=[replace(REQUEST, key=None)])
    assert audit(replace(without, results=[result(key=b"r-1")])).violations == ()
    assert audit(without).violations == ("r-1: its result has another key",)


def test_a_report_shows_its_counts_and_its_violations() -> None:
    """What a person reads after a storm: a row for each count, a line for each thing that is wrong."""
    shown = str(audit(replace(GOOD, results=[], dead_letters={"bad-avro": 2})))
    assert "dead letter bad-avro               2" in shown
    assert shown.endswith("VIOLATION r-1: 0 results of revision 1")
