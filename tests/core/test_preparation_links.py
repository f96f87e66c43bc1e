"""One more link: the same request with a higher link attempt, once it was handed over."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations

import pytest

from processor.core.catalogue import Mode
from processor.core.messages import DeadLettered, LinkAsked, RequestArrived
from processor.core.model import OnboardingRequest
from processor.core.preparation import Preparation
from processor.core.state import Decision, KnownRequest
from tests.core.lanes import CATALOGUE, NOW, Lane, arrived, named, origin

LINKED = named("request-1", workflow="linked")


def again(link_attempt: int, request: OnboardingRequest = LINKED) -> RequestArrived:
    return arrived(replace(request, link_attempt=link_attempt))


def handed_over(request: OnboardingRequest = LINKED) -> Lane:
    """A lane whose one request was handed over."""
    lane = Lane()
    lane.told(arrived(request))
    while "head" in lane.state:
        lane.done("REC-1")
    return lane


def dead(decision: Decision) -> list[str]:
    """The reasons of dead letters."""
    return [output.reason for output in decision.outputs if isinstance(output, DeadLettered)]


def attempts(lane: Lane) -> list[int]:
    """The links that were asked for, in order."""
    return [output.link_attempt for output in lane.outputs if isinstance(output, LinkAsked)]


def test_one_more_link_is_asked_of_where_the_request_went() -> None:
    """Launch hears of it under its own key, with what the event itself brings back; the number is remembered."""
    lane = handed_over()
    decision = lane.told(again(2), now=NOW + 9)
    known = lane.state["known/request-1"]
    assert isinstance(known, KnownRequest)
    assert (known.launch_key, known.link_attempt) == ("rec-1", 2)
    expected = replace(origin(LINKED), accepted_at=NOW + 9, deadline_at=origin(LINKED).deadline_at + 9)
    assert decision == Decision({"known/request-1": known}, outputs=(LinkAsked("rec-1", expected, 2, NOW + 9),))


@pytest.mark.parametrize("workflow", ["linked", "widget", "mailed", "inline-bare", "returning-case"])
def test_every_mode_with_an_end_user_can_issue_one_more(workflow: str) -> None:
    """Links, tokens and mails, in every version."""
    request = named("request-1", workflow=workflow, columns={"mail": "a@b"})
    if workflow == "widget":
        request = replace(request, record_id="REC-1")
    lane = handed_over(request)
    lane.told(again(2, request))
    assert attempts(lane) == [2]
    assert lane.prepared()[0].launch_key == next(
        output.launch_key for output in lane.outputs if isinstance(output, LinkAsked)
    )


@pytest.mark.parametrize("number", [-1, 0, 1, 2])
def test_a_number_that_was_asked_for_before_is_a_duplicate(number: int) -> None:
    """It changes nothing, as any repeated request."""
    lane = handed_over()
    lane.told(again(2))
    assert lane.told(again(number)) == Decision()


def test_numbers_may_be_left_out() -> None:
    """Upstream counts as it likes; only a higher one is new."""
    lane = handed_over()
    for number in (5, 3, 6, 5):
        lane.told(again(number))
    assert attempts(lane) == [5, 6]


def test_before_the_first_link_nothing_more_is_asked() -> None:
    """Its link is coming; the number is not used up, so it may be asked for later."""
    lane = Lane()
    lane.told(arrived(LINKED))
    assert lane.told(again(2)) == Decision()
    lane.done("REC-1")
    lane.told(again(2))
    assert attempts(lane) == [2]


def test_a_link_of_an_unknown_request_is_no_new_request() -> None:
    """Its first event is missing: another key, forgotten, or never published. It goes to the dead letters."""
    lane = Lane()
    decision = lane.told(again(2))
    assert dead(decision) == ["link-of-unknown-request"]
    assert (decision.changes, decision.calls) == ({}, ())


@pytest.mark.parametrize("workflow", ["bare", "inline", "nobody-knows"])
def test_a_workflow_without_links_issues_no_more(workflow: str) -> None:
    """A plain run, whatever its version: the event goes to the dead letters, the request is untouched."""
    request = named("request-1", workflow=workflow)
    lane = handed_over(request)
    decision = lane.told(again(2, request))
    assert dead(decision) == ["no-link-mode"]
    assert decision.changes == {}


def test_a_workflow_that_has_become_a_plain_run_issues_no_more() -> None:
    """The catalogue of now decides, for it says how a link would be issued."""
    lane = handed_over()
    workflows = {**CATALOGUE.workflows, "linked": replace(CATALOGUE.workflows["linked"], mode=Mode.RUN)}
    moved = Preparation(replace(CATALOGUE, workflows=workflows))
    assert dead(moved.decide(lane.state, again(2), NOW)) == ["no-link-mode"]


def test_other_content_is_a_conflict_and_asks_for_nothing() -> None:
    """A link is for the request as it was."""
    lane = handed_over()
    assert dead(lane.told(again(2, replace(LINKED, columns={"score": 8})))) == ["conflict"]
    assert attempts(lane) == []


def test_a_plain_run_writes_nothing_more_when_it_is_handed_over() -> None:
    """Only where a link can be asked for is it kept where the request went."""
    for workflow, is_kept in (("returning", False), ("inline", False), ("linked", True)):
        lane = Lane()
        lane.told(arrived(named("request-1", workflow=workflow)))
        assert ("known/request-1" in lane.done("REC-1").changes) is is_kept


ORDERS = ("first", "made", 2, 2, 3)


def orders() -> Iterator[tuple[str | int, ...]]:
    """All orders in which the event, its repetitions with higher numbers and the record's answer can come."""
    return iter(sorted(set(permutations(ORDERS)), key=str))


def test_in_every_order_each_number_is_asked_for_once_and_only_upwards() -> None:
    """Whatever comes before the hand-over leaves no trace; nothing is asked for twice, or of nobody."""
    count = 0
    for order in orders():
        lane, is_known, is_made, highest, expected = Lane(), False, False, 1, []
        for step in order:
            if step == "first":
                lane.told(arrived(LINKED))
                is_known = True
            elif step == "made":
                if not is_known or is_made:
                    continue
                lane.done("REC-1")
                is_made = True
            else:
                assert isinstance(step, int)
                told = dead(lane.told(again(step)))
                assert told == ([] if is_known else ["link-of-unknown-request"])
                if is_made and step > highest:
                    highest = step
                    expected.append(step)
        assert attempts(lane) == expected, order
        assert len(lane.prepared()) == int(is_made)
        count += 1
    assert count == 60
