"""A workflow that gives way to a newer one of the same request, as one more link of version 3 asks for."""

from dataclasses import replace

import pytest

from processor.core.completion import Fact
from processor.core.messages import CustodyUnreadable, Started
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
def test_a_running_workflow_gives_way_without_a_result(facts: list[Fact]) -> None:
    """Custody passes to the newer one, and nothing of the older counts any more; a failure read once is no end."""
    run = Run()
    run.told(*facts)
    newer = NEWER if facts[0] is STARTED else OTHER_NEWER
    results = run.results()
    assert run.told(replaced(newer)).outputs == (newer,)
    assert run.head.timer == Timer(DEADLINE + 8 * DAY_MS, is_behind_evidence=True)
    late: list[Fact] = [facts[0], webhook(), status("COMPLETED"), result(), replaced(newer)]
    assert [run.told(fact) for fact in late] == [Decision()] * len(late)
    assert (run.phase, run.results()) == (CompletionPhase.ENDED, results)


def test_a_newer_workflow_is_followed_in_the_revision_of_the_older() -> None:
    """After EXPIRED, as after custody for an amendment, only an amendment may still follow."""
    amending = Run()
    amending.told(replace(STARTED, revision=2, told_by=Witness.WEBHOOK))
    for run in (expired(), amending):
        assert run.told(replaced()).outputs == (replace(NEWER, revision=2),)
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
