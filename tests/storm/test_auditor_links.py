"""The auditor sees what goes wrong with links, mails, repeated runs and shared records: each rule broken by hand."""

from dataclasses import replace
from uuid import uuid5

import pytest

from tests.support.audit_runs import NAMESPACE
from tests.support.auditor import audit
from tests.support.testimony import Evidence, Issued, Link, Progress, Published, Result, Run, Terms


def named(event: str, attempt: int | str, request_id: str) -> str:
    """Give the id of an event."""
    return str(uuid5(NAMESPACE, f"{event}/{attempt}/{request_id}"))


def result(request_id: str, workflow_id: str | None, outcome: str = "COMPLETED", **other: object) -> Result:
    """Give the result of a request as it should be; its record has the number of the request."""
    good = Result(
        request_id=request_id,
        revision=1,
        outcome=outcome,
        workflow_id=workflow_id,
        record_id=request_id.replace("r", "c"),
        status="COMPLETED",
        reason={"UNDETERMINED": "run-unknown", "EXPIRED": "deadline-passed"}.get(outcome),
        event_id=named("OnboardingFinished", 1, request_id),
        key=b"k",
        partition=0,
        offset=int(request_id[2:]),
        definition_id="d",
    )
    return replace(good, **other)  # type: ignore[arg-type]  # fields of the row


def run(request_id: str, workflow_id: str, **other: object) -> Run:
    """Give a run of a request."""
    record_id = request_id.replace("r", "c")
    good = Run(1, workflow_id, request_id, record_id, "COMPLETED", is_finished=True, answered="yes", definition_id="d")
    return replace(good, **other)  # type: ignore[arg-type]  # fields of the row


def issued(request_id: str = "r-1", attempt: int = 1, secret_hash: str | None = "s-1", **other: object) -> Issued:  # noqa: S107  # a name in a test
    """Give a link event as it should be."""
    event_id = named("OnboardingLinkIssued", attempt, request_id)
    good = Issued(request_id, attempt, secret_hash, event_id, b"k", 0, attempt)
    return replace(good, **other)  # type: ignore[arg-type]  # fields of the row


def told(step: str, attempt: int | None = 1, workflow_id: str | None = None, request_id: str = "r-1") -> Progress:
    """Give a progress event."""
    name = named(f"OnboardingProgressed/{step}", attempt or 0, request_id)
    return Progress(request_id, step, attempt, workflow_id, name)


def evidence(terms: Terms, **other: object) -> Evidence:
    """Give what one request leaves that ended well."""
    good = Evidence(
        published=[Published("r-1", b"k", 0, 0, workflow="w")],
        results=[result("r-1", "w-1")],
        runs=[run("r-1", "w-1")],
        records=["c-1"],
        webhooks={"w-1": 5_000},
        progress=[told("ACCEPTED", None), told("STARTED", 1, "w-1")],
        started=[("w-1", "r-1")],
        terms={"w": replace(terms, definition_id="d")},
        settled_ms=1_000,
    )
    return replace(good, **other)  # type: ignore[arg-type]  # fields of the row


WALKED = run("r-1", "w-1", is_walked=True, answered="no")
ONE_MORE = [Published("r-1", b"k", 0, 0, workflow="w"), Published("r-1", b"k", 0, 1, workflow="w", link_attempt=2)]
LINK = evidence(Terms(mode="link"), runs=[WALKED], issued=[issued()], links=[Link("s-1", "link", "r-1", "yes", "w-1")])
TWO_LINKS = replace(
    LINK,
    published=ONE_MORE,
    issued=[issued(), issued(attempt=2, secret_hash="s-2")],
    links=[Link("s-1", "link", "r-1", "yes", None), Link("s-2", "link", "r-1", "yes", "w-1")],
)
MAIL = evidence(
    Terms(mode="mail"),
    runs=[WALKED],
    issued=[issued(secret_hash=None)],
    links=[Link("s-1", "mail", "r-1", "no", "w-1")],
)
VERSION_3 = evidence(
    Terms(api=3, mode="link"),
    published=ONE_MORE,
    results=[result("r-1", "w-2", record_id=None)],
    runs=[run("r-1", "w-1", record_id=None), run("r-1", "w-2", record_id=None)],
    issued=[issued(), issued(attempt=2, secret_hash="s-2")],
    links=[Link("s-1", "link", "r-1", "yes", None), Link("s-2", "link", "r-1", "yes", "w-2")],
    started=[("w-1", "r-1"), ("w-2", "r-1")],
)
REPEATED = evidence(
    Terms(may_rerun=True),
    results=[result("r-1", "w-2", attempts=2, is_rerun=True)],
    runs=[run("r-1", "w-1", answered="no", executed_at=1_000), run("r-1", "w-2", executed_at=6_000)],
    webhooks={"w-2": 7_000},
)
# Two requests on one record, each with its run.
SHARED = evidence(
    Terms(is_own=False),
    published=[Published("r-1", b"k", 0, 0, workflow="w"), Published("r-2", b"k", 0, 1, workflow="w")],
    results=[result("r-1", "w-1"), result("r-2", "w-2", record_id="c-1")],
    runs=[run("r-1", "w-1"), run("r-2", "w-2", record_id="c-1")],
    webhooks={"w-1": 5_000, "w-2": 5_000},
)
PEOPLE = replace(
    SHARED,
    published=[replace(each, subject_reference="S-1") for each in SHARED.published],
    terms={"w": Terms(definition_id="d", is_own=False, is_reusing=True)},
)
UNKNOWN = result("r-1", None, "UNDETERMINED")
LATE = [result("r-1", None, "EXPIRED")]
GOOD: dict[str, Evidence] = {
    "a link": LINK,
    "one more link": TWO_LINKS,
    "a mail": MAIL,
    "one more start of version 3": VERSION_3,
    "a repeated run": REPEATED,
    "a shared record": SHARED,
    "a person who comes again": PEOPLE,
    "a shared record that two may have used": replace(
        SHARED,
        results=[UNKNOWN, result("r-2", None, "UNDETERMINED", record_id="c-1")],
        started=[],
        progress=[],
    ),
    "a run that only a person may give away": replace(
        evidence(Terms(is_adopted=False)), results=[UNKNOWN], started=[], progress=[]
    ),
    "a refused further link": replace(LINK, published=ONE_MORE, progress=[told("LINK_REFUSED", 2)]),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_as_promised_has_no_violations(name: str) -> None:
    """Everything that the API offers, once, as it should be: nothing to say."""
    assert audit(GOOD[name]).violations == ()


BROKEN: dict[str, Evidence] = {
    # Runs.
    "executed 2 times": replace(REPEATED, results=[result("r-1", "w-2", attempts=2)]),
    "executed 3 times": replace(REPEATED, runs=[*REPEATED.runs, run("r-1", "w-3")]),
    "executed 1 times": replace(LINK, runs=[replace(WALKED, is_walked=False)]),
    "executed 2 times: w-1, w-2": replace(VERSION_3, published=ONE_MORE[:1], issued=[issued()]),
    "an end user started it, and its workflow has none": evidence(Terms(), runs=[WALKED]),
    "says that it was repeated, and it may not be": evidence(Terms(), results=[result("r-1", "w-1", is_rerun=True)]),
    "repeated although w-1 was told of 900 ms": replace(REPEATED, webhooks={"w-1": 1_900, "w-2": 7_000}),
    "a workflow of another record or case": replace(SHARED, runs=[run("r-1", "w-1"), run("r-2", "w-2")]),
    "a workflow of another definition": evidence(Terms(), runs=[run("r-1", "w-1", definition_id="e")]),
    "a workflow of the provider second": evidence(Terms(), runs=[run("r-1", "w-1", provider="second")]),
    "r-2: COMPLETED names a workflow of r-1": replace(
        SHARED,
        results=[UNKNOWN, result("r-2", "w-1", record_id="c-1")],
        started=[],
        progress=[],
        webhooks={"w-2": 1},
    ),
    "w-1: named by the results of r-1 and r-2": replace(
        SHARED, results=[SHARED.results[0], result("r-2", "w-1", "EXPIRED", record_id="c-1", reason="given-up")]
    ),
    "w-1: started for r-1 and r-2": replace(SHARED, started=[("w-1", "r-1"), ("W-1", "r-2")]),
    "w-1: started for r-1 and r-2 ": replace(
        SHARED, progress=[*SHARED.progress, told("STARTED", 1, "w-1", request_id="r-2")]
    ),
    "stays UNDETERMINED although a webhook of its workflow came": replace(
        SHARED, results=[UNKNOWN, SHARED.results[1]], started=[], progress=[]
    ),
    "stays EXPIRED although a webhook of its workflow came": replace(LINK, results=LATE),
    "the person S-1 has 2 records or cases": replace(
        PEOPLE, results=[PEOPLE.results[0], result("r-2", "w-2")], runs=[run("r-1", "w-1"), run("r-2", "w-2")]
    ),
    # Links.
    "a link that nobody asked for": replace(LINK, terms={"w": Terms(definition_id="d")}, runs=[run("r-1", "w-1")]),
    "a link that nobody asked for ": replace(LINK, issued=[issued(), issued("r-9", secret_hash=None)]),
    "link 2, which nobody asked for": replace(TWO_LINKS, published=ONE_MORE[:1]),
    "2 events of link 1": replace(TWO_LINKS, issued=[issued(), issued(secret_hash="s-2", offset=2)]),
    "event id x of link 1": replace(LINK, issued=[issued(event_id="x")]),
    "link 1 has another key": replace(LINK, issued=[issued(key=b"other")]),
    "its links do not stand in order": replace(
        TWO_LINKS, issued=[issued(offset=3), issued(attempt=2, secret_hash="s-2", offset=2)]
    ),
    "one link in 2 events": replace(TWO_LINKS, issued=[issued(), issued(attempt=2)]),
    "link 1 was never made": replace(LINK, issued=[issued(secret_hash="s-9")]),
    "link 1 is one of r-2": replace(LINK, links=[Link("s-1", "link", "r-2", "yes", "w-1")]),
    "a mailed link was published too": replace(MAIL, issued=[issued()]),
    "told of 1 mails, and 0 were sent": replace(MAIL, links=[]),
    "2 mails for 1 links": replace(MAIL, links=[*MAIL.links, Link("s-2", "mail", "r-1", "no", None)]),
    "NOT_STARTED, but mailed": replace(
        MAIL, results=[result("r-1", None, "NOT_STARTED")], runs=[], issued=[], progress=[]
    ),
    "NOT_STARTED, but a link was issued": replace(
        LINK, results=[result("r-1", None, "NOT_STARTED")], runs=[], progress=[]
    ),
    # Progress.
    "STARTED of attempt 1 told 2 times": replace(LINK, progress=[told("STARTED", 1, "w-1")] * 2),
    "link 2 was issued and refused": replace(TWO_LINKS, progress=[told("LINK_REFUSED", 2)]),
}


@pytest.mark.parametrize("violation", BROKEN)
def test_each_broken_promise_is_seen(violation: str) -> None:
    """Every rule, broken once, is the one thing that the auditor complains of."""
    violations = audit(BROKEN[violation]).violations
    assert [each for each in violations if violation.strip() in each] == list(violations) != []


def test_the_newest_link_may_have_a_run_that_an_older_one_started() -> None:
    """Where the catalogue says so, nobody asks whose link was walked, as long as one request has the run."""
    newest = replace(
        SHARED,
        results=[result("r-1", None, "EXPIRED"), result("r-2", "w-1", record_id="c-1")],
        runs=[run("r-1", "w-1", is_walked=True)],
        progress=[],
        started=[("w-1", "r-2")],
        terms={"w": Terms(definition_id="d", mode="link", is_own=False, is_newest=True)},
    )
    assert audit(newest).violations == ()


def test_a_give_up_of_a_link_says_what_was_made_and_who_came() -> None:
    """How many links there were and how many were handed out, and what became of those who came."""
    nobody = replace(LINK, results=LATE, runs=[], links=[replace(LINK.links[0], used_by=None)], started=[], progress=[])
    assert audit(nobody).explanations == (
        "r-1: EXPIRED (deadline-passed); 1 made for its end user, 1 handed out; nobody came; stands",
    )
    (late,) = audit(replace(LINK, results=LATE)).explanations
    assert "1 handed out; its end user came; it ended COMPLETED; a webhook came" in late
    (left,) = audit(GOOD["a run that only a person may give away"]).explanations
    assert left.endswith("a webhook came; whose it is a person must say; stands")


def test_a_report_counts_by_workflow_what_links_and_repetitions_there_were() -> None:
    """A row for each count that is not zero; a line for each workflow where there are several."""
    shown = str(audit(replace(REPEATED, terms={**REPEATED.terms, "unused": Terms()})))
    assert "results of repeated runs           1" in shown
    assert "w: 1 COMPLETED" in shown
    assert "unused: none" in shown
