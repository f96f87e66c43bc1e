"""A workflow that gives way to a newer one of the same request, as one more link of version 3 asks for."""

from dataclasses import replace

import pytest

from processor.core.completion import Fact
from processor.core.messages import CustodyUnreadable, Resumed, Started, StatusRead
from processor.core.model import DAY_MS, Timer, Witness
from processor.core.proof import Proof
from processor.core.state import CompletionPhase, Decision
from tests.core.workflows import (
    DEADLINE,
    ID,
    NEWER,
    NOW,
    ORIGIN,
    STARTED,
    Run,
    replaced,
    result,
    started,
    status,
    webhook,
)

OTHER = started(origin=replace(ORIGIN, request_id="request-2"))
OTHER_NEWER = replace(NEWER, origin=OTHER.origin)
UNREADABLE = CustodyUnreadable("9e8d-1", "request-1", "person-check", b"customer-7", "onboarding.results", NOW)


def expired() -> Run:
    """A workflow whose request ended at its deadline."""
    run = Run()
    run.told(STARTED)
    while run.phase is not CompletionPhase.EXPIRED:
        run.wakes_and_hears("RUNNING")
    return run


@pytest.mark.parametrize(
    "facts",
    [
        [STARTED],
        [STARTED, webhook()],
        [STARTED, webhook(), status("RUNNING")],
        [STARTED, webhook(), status("FAILED")],
        [STARTED, webhook(), status(None, proof=Proof.UNKNOWN)],
        [OTHER, STARTED],
    ],
)
@pytest.mark.parametrize("answer", [status("RUNNING"), status("ODD"), status(None), status(None, proof=Proof.REFUSED)])
def test_a_running_workflow_gives_way_without_a_result(facts: list[Fact], answer: StatusRead) -> None:
    """A read behind the replacement finds no end: custody passes on, and nothing of the older counts any more."""
    run = Run()
    run.told(*facts)
    newer = NEWER if facts[0] is STARTED else OTHER_NEWER
    results = run.results()
    was_open = run.head.is_waiting
    run.told(replaced(newer))
    assert run.told(replaced(newer)) == Decision()
    if was_open:
        assert run.told(replace(answer, attempt=run.head.attempt)).outputs == ()  # Asked before the replacement came.
    if not run.head.is_waiting:
        run.wakes()
    assert run.told(replace(answer, attempt=run.head.attempt)).outputs == (newer,)
    assert run.head.newer is None
    assert run.head.timer is not None
    assert run.head.timer.due_at >= DEADLINE + 8 * DAY_MS
    late: list[Fact] = [facts[0], webhook(), status("COMPLETED"), result(), replaced(newer)]
    assert [run.told(fact) for fact in late] == [Decision()] * len(late)
    assert (run.phase, run.results()) == (CompletionPhase.ENDED, results)


@pytest.mark.parametrize("before", [[], [webhook()], [webhook(), status("FAILED")]])
def test_a_workflow_that_had_ended_when_its_replacement_came_is_the_result(before: list[Fact]) -> None:
    """Its webhook is on its way: the read behind the replacement finds the end, and the newer one is dropped."""
    for word, outcome in (("COMPLETED", "COMPLETED"), ("FAILED", "FAILED")):
        run = Run()
        run.told(STARTED, *before, replaced())
        for _ in range(3):
            if run.phase is CompletionPhase.RUNNING:
                if not run.head.is_waiting:
                    run.wakes()
                run.told(status(word, run.head.attempt))
        if run.phase is CompletionPhase.FETCHING:
            run.told(result(run.head.attempt))
        assert run.results() == [f"request-1 {outcome} 1"]
        assert (run.phase, run.head.newer, [o for o in run.outputs if isinstance(o, Started)]) == ("ended", None, [])


def test_a_read_that_fails_before_it_gives_way_is_repeated_until_the_deadline() -> None:
    """Then the newer one has custody, with the same deadline: it is what ends the request."""
    run = Run()
    run.told(STARTED, replaced())
    now = NOW
    while not run.outputs:
        if run.head.is_waiting:
            run.told(status(None, run.head.attempt, proof=Proof.UNKNOWN), now=now)
        assert run.head.timer is not None
        now = run.head.timer.due_at
        run.wakes()
    assert (now, run.outputs, run.phase) == (DEADLINE, [NEWER], CompletionPhase.ENDED)


def test_a_new_owner_reads_again_before_it_gives_way() -> None:
    """The replacement is part of the state."""
    run = Run()
    run.told(STARTED, replaced())
    (call,) = run.told(Resumed("head")).calls
    assert run.told(status("RUNNING", call.attempt)).outputs == (NEWER,)


def test_a_newer_workflow_is_followed_in_the_revision_of_the_older() -> None:
    """After EXPIRED, as after custody for an amendment, only an amendment may still follow."""
    amending = Run()
    amending.told(replace(STARTED, revision=2, told_by=Witness.WEBHOOK))
    for run in (expired(), amending):
        run.told(replaced())
        run.told(status("RUNNING", run.head.attempt))
        assert run.outputs[-1] == replace(NEWER, revision=2)
        assert run.phase is CompletionPhase.ENDED


@pytest.mark.parametrize(
    "facts",
    [
        [STARTED, webhook(), status("COMPLETED")],
        [STARTED, webhook(), status("COMPLETED"), result()],
    ],
)
def test_a_workflow_that_ended_does_not_give_way(facts: list[Fact]) -> None:
    """Its request has its result, or is about to."""
    run = Run()
    run.told(*facts)
    assert run.told(replaced()) == Decision()


@pytest.mark.parametrize("before", [[], [webhook()]])
@pytest.mark.parametrize("start", [STARTED, replace(STARTED, revision=2)])
def test_a_replacement_waits_for_the_start_of_what_it_replaces(before: list[Fact], start: Started) -> None:
    """Where links are asked for in a hurry, the start of the second may still lie in the partition of the first."""
    run = Run()
    run.told(*before)
    assert run.told(replaced()).outputs == ()
    assert run.told(replaced()) == run.told(webhook()) == Decision()
    assert run.head.timer == Timer(DEADLINE + 8 * DAY_MS, is_behind_evidence=True)
    assert run.told(start).outputs == (replace(NEWER, revision=start.revision),)
    assert run.told(start) == run.told(webhook()) == run.told(replaced()) == Decision()
    assert (run.phase, run.calls) == (CompletionPhase.ENDED, [])


def test_a_replacement_of_an_asked_for_workflow_stops_the_asking() -> None:
    """The read that is open brings nothing: the workflow is known to be our own now."""
    run = Run()
    run.told(webhook())
    run.wakes()
    run.told(replaced())
    assert run.told(status("COMPLETED")) == Decision()
    assert run.told(STARTED).outputs == (NEWER,)


def test_a_replacement_whose_older_start_never_comes_is_forgotten() -> None:
    """The older one was not taken, or is forgotten: its request has its result either way."""
    run = Run()
    run.told(replaced())
    assert run.wakes() == Decision({"head": None})


def test_an_unreadable_start_of_what_was_replaced_costs_nothing() -> None:
    """The newer workflow's start says all of it again; that of another request ends as ever."""
    run = Run()
    run.told(replaced())
    run.told(replace(UNREADABLE, request_id="request-2"))
    assert run.results() == ["request-2 UNDETERMINED 1"]
    assert run.told(UNREADABLE).outputs == (NEWER,)
    assert run.told(UNREADABLE) == Decision()


def test_a_request_that_was_refused_here_may_go_on_with_a_newer_workflow() -> None:
    """Its UNDETERMINED is amended; the workflow that another one holds stays as it is."""
    run = Run()
    run.told(STARTED, OTHER)
    before = run.head
    assert run.told(replaced(OTHER_NEWER)).outputs == (replace(OTHER_NEWER, revision=2),)
    assert run.head == before
    unread = Run()
    unread.told(UNREADABLE)
    assert unread.told(replaced()).outputs == (replace(NEWER, revision=2),)


def test_a_request_that_never_came_here_replaces_nothing() -> None:
    """Its start is on its way, and ends it as one that claims another's workflow."""
    run = Run()
    run.told(STARTED)
    assert run.told(replaced(OTHER_NEWER)) == Decision()
    run.told(OTHER)
    assert run.results() == ["request-2 UNDETERMINED 1"]
    waiting = Run()
    waiting.told(replaced(), OTHER)
    assert waiting.results() == ["request-2 UNDETERMINED 1"]


@pytest.mark.parametrize("before", [[], [STARTED]])
def test_a_workflow_does_not_replace_itself(before: list[Fact]) -> None:
    """A provider that answers a second start with the first workflow must not cost the request its custody."""
    run = Run()
    run.told(*before)
    assert run.told(replaced(replace(NEWER, workflow_id=ID.lower()))) == Decision()
