"""A returning subject's record or case: made once, used again while it is young enough, and never called our own."""

from dataclasses import replace
from itertools import permutations

import pytest

from processor.core.messages import Create, Prepared, Resumed, TimerFired, VerdictReached
from processor.core.model import DAY_MS, OnboardingRequest, Subject, Timer
from processor.core.proof import Proof
from processor.core.state import KnownSubject
from tests.core.lanes import DEADLINE, NOW, REQUEST, Lane, answered, arrived, named

PERSON = REQUEST.subject or Subject()


def subjects(lane: Lane) -> list[KnownSubject]:
    """What the lane knows of subjects."""
    return [part for part in lane.state.values() if isinstance(part, KnownSubject)]


def asked(request_id: str, workflow: str = "returning", **changes: object) -> OnboardingRequest:
    return named(request_id, workflow=workflow, **changes)


def met(lane: Lane, request: OnboardingRequest, now: int, made_id: str) -> Prepared:
    """Let a request arrive and everything be made that it needs; return what it is handed over with."""
    count = len(lane.prepared())
    lane.told(arrived(request), now=now)
    while len(lane.prepared()) == count:
        lane.done(made_id, now)
    return lane.prepared()[-1]


def test_the_record_of_a_returning_subject_is_used_again() -> None:
    """The first is the first request's own; the second gets the same, shared, and nothing is made."""
    lane = Lane()
    first = met(lane, asked("request-1"), NOW, "rec-1")
    assert (first.record_id, first.is_own) == ("rec-1", True)
    assert subjects(lane) == [KnownSubject("rec-1", None, NOW, Timer(NOW + 90 * DAY_MS))]
    decision = lane.told(arrived(asked("request-2")), now=NOW + DAY_MS)
    assert decision.calls == ()
    second = lane.prepared()[-1]
    assert (second.record_id, second.is_own, second.launch_key) == ("rec-1", False, first.launch_key)


def test_a_case_is_used_again_too() -> None:
    """The same in version 1."""
    lane = Lane()
    first = met(lane, asked("request-1", "returning-case"), NOW, "Case-1")
    second = met(lane, asked("request-2", "returning-case"), NOW, "Case-2")
    assert (first.case_id, first.is_own) == ("Case-1", True)
    assert (second.case_id, second.is_own) == ("Case-1", False)


def test_a_case_that_is_mailed_to_is_used_again_only_for_the_same_address() -> None:
    """The provider mails to the case's own address: not to an old one, nor to one that another workflow gave it."""
    lane = Lane()

    def case_for(request_id: str, workflow: str, email: str, made_id: str) -> str | None:
        subject = replace(PERSON, email=email)
        return met(lane, asked(request_id, workflow, subject=subject), NOW, made_id).case_id

    assert case_for("request-0", "returning-case", "new@example.test", "case-0") == "case-0"
    assert case_for("request-1", "returning-mail", "old@example.test", "case-1") == "case-1"
    assert case_for("request-2", "returning-mail", "new@example.test", "case-2") == "case-2"
    assert case_for("request-3", "returning-mail", " old@example.test ", "case-3") == "case-1"
    assert case_for("request-4", "returning-case", "old@example.test", "case-4") == "case-0"
    assert not any("example.test" in name for name in lane.state)


@pytest.mark.parametrize(
    "other",
    [
        asked("request-2", subject=replace(PERSON, reference="customer-8")),
        asked("request-2", subject=replace(PERSON, reference="Customer-7")),
        asked("request-2", tenant="tenant-2"),
        asked("request-2", tenant=None),
        asked("request-2", "returning-company"),
        asked("request-2", "returning-elsewhere"),
        asked("request-2", "returning-case"),
        asked("request-2", "linked"),
    ],
)
def test_what_belongs_to_another_is_not_used(other: OnboardingRequest) -> None:
    """Reference, tenant, profile, table and kind must be the same, and the workflow must want it."""
    lane = Lane()
    met(lane, asked("request-1"), NOW, "one-1")
    prepared = met(lane, other, NOW, "one-2")
    assert (prepared.record_id or prepared.case_id, prepared.is_own) == ("one-2", True)


@pytest.mark.parametrize("subject", [None, replace(PERSON, reference=None), replace(PERSON, reference=" ")])
def test_a_subject_without_reference_is_always_new(subject: Subject | None) -> None:
    """Nobody is taken for somebody else by name."""
    lane = Lane()
    met(lane, asked("request-1", subject=subject), NOW, "rec-1")
    assert subjects(lane) == []
    assert met(lane, asked("request-2", subject=subject), NOW, "rec-2").record_id == "rec-2"


def test_what_the_request_brings_wins_and_is_not_remembered() -> None:
    """Upstream's own id is used for this request only."""
    lane = Lane()
    met(lane, asked("request-1"), NOW, "rec-1")
    lane.told(arrived(asked("request-2", record_id="REC-9")))
    assert lane.prepared()[-1].record_id == "REC-9"
    assert [known.record_id for known in subjects(lane)] == ["rec-1"]
    assert met(lane, asked("request-3"), NOW, "rec-3").record_id == "rec-1"


def test_its_age_counts_from_when_it_was_made() -> None:
    """Use does not make it younger: after its time a new one is made, and that counts from then on."""
    lane = Lane()
    met(lane, asked("request-1"), NOW, "rec-1")
    last = NOW + 90 * DAY_MS - 1
    assert met(lane, asked("request-2"), last, "rec-2").record_id == "rec-1"
    assert met(lane, asked("request-3"), last + 1, "rec-3").record_id == "rec-3"
    assert subjects(lane) == [KnownSubject("rec-3", None, last + 1, Timer(last + 1 + 90 * DAY_MS))]


def test_a_workflow_takes_nothing_older_than_it_says() -> None:
    """Two workflows share what is made in one table, each by its own measure."""
    lane = Lane()
    met(lane, asked("request-1"), NOW, "rec-1")
    assert met(lane, asked("request-2", "returning-soon"), NOW + DAY_MS - 1, "rec-2").record_id == "rec-1"
    assert met(lane, asked("request-3", "returning-soon"), NOW + DAY_MS, "rec-3").record_id == "rec-3"


def test_a_subject_is_forgotten_by_its_timer_and_not_by_an_older_one() -> None:
    """A timer that was set for the one before has nothing to say about the one of now."""
    lane = Lane()
    met(lane, asked("request-1", "returning-soon"), NOW, "rec-1")
    met(lane, asked("request-2", "returning-soon"), NOW + DAY_MS, "rec-2")
    (name,) = [name for name, part in lane.state.items() if isinstance(part, KnownSubject)]
    assert "customer" not in name
    assert lane.told(TimerFired(name, NOW + DAY_MS), now=NOW + DAY_MS).changes == {}
    forgets = TimerFired(name, NOW + 2 * DAY_MS)
    assert lane.told(forgets, now=forgets.due_at).changes == {name: None}


def test_requests_that_came_together_share_what_the_first_of_them_makes() -> None:
    """It is looked for when a request becomes active: the second one waited for the first."""
    lane = Lane()
    lane.told(arrived(asked("request-1")), arrived(asked("request-2")), arrived(asked("request-3")))
    lane.done("rec-1")
    assert [(found.origin.request_id, found.record_id, found.is_own) for found in lane.prepared()] == [
        ("request-1", "rec-1", True),
        ("request-2", "rec-1", False),
        ("request-3", "rec-1", False),
    ]
    assert "head" not in lane.state


def test_after_a_crash_the_record_is_made_once_more_and_the_one_we_hold_is_shared() -> None:
    """A creation whose answer died leaves litter; everybody gets the one whose answer came."""
    lane = Lane()
    lane.told(arrived(asked("request-1")), arrived(asked("request-2")))
    (again,) = lane.told(Resumed("head")).calls
    assert isinstance(again, Create)
    late = answered(Proof.DONE, "rec-0", attempt=1)
    assert lane.told(late).outputs == ()
    lane.done("rec-1")
    assert [found.record_id for found in lane.prepared()] == ["rec-1", "rec-1"]


@pytest.mark.parametrize("end", ["refused", "expired"])
def test_what_was_never_made_is_made_for_the_next(end: str) -> None:
    """A request that ends without a record leaves nothing to be used again."""
    lane = Lane()
    lane.told(arrived(asked("request-1", deadline_at=DEADLINE - 1)), arrived(asked("request-2")))
    if end == "refused":
        lane.told(answered(Proof.REFUSED), VerdictReached(1, is_our_fault=False, request_id="request-1"))
    else:
        lane.told(TimerFired("head", DEADLINE - 1), now=DEADLINE - 1)
    assert subjects(lane) == []
    assert lane.head.request.origin.request_id == "request-2"
    lane.done("rec-2")
    assert (lane.prepared()[0].record_id, lane.prepared()[0].is_own) == ("rec-2", True)


def test_in_every_order_of_arrival_each_subject_has_one_record() -> None:
    """Whoever comes first has it made, and everybody else of the same subject shares it."""
    people = {"a-1": "A", "a-2": "A", "b-1": "B", "b-2": "B"}
    for order in permutations(people):
        lane = Lane()
        for request_id in order:
            lane.told(arrived(asked(request_id, subject=replace(PERSON, reference=people[request_id]))))
        while "head" in lane.state:
            lane.done(f"rec-{len(lane.calls)}")
        assert len(lane.calls) == 2
        records = {found.origin.request_id: found.record_id for found in lane.prepared()}
        assert records["a-1"] == records["a-2"] != records["b-1"] == records["b-2"]
        owners = [found.origin.request_id[0] for found in lane.prepared() if found.is_own]
        assert sorted(owners) == ["a", "b"]
