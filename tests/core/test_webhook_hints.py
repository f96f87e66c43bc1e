"""Webhooks of every kind are hints: they make completion read, and decide nothing; a copy of one changes nothing."""

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from processor.core.messages import Call, ReadResult, ReadStatus, WebhookReceived
from processor.core.state import CompletionPhase
from tests.core.workflows import NOW, STARTED, Run, result, status, webhook

COPIES = 100
KINDS = [
    ("workflow.completed", "COMPLETED"),
    ("workflow.awaiting", "AWAITING"),
    ("workflow.status", "RUNNING"),
    ("workflow.status", "FAILED"),
    ("something.new", "SOMETHING_NEW"),
    (None, None),
]


def _webhook(kind: str | None, word: str | None) -> WebhookReceived:
    return replace(webhook(), kind=kind, status=word)


@pytest.mark.parametrize("kind, word", KINDS)
def test_no_kind_of_webhook_ends_anything(kind: str | None, word: str | None) -> None:
    """Whatever a webhook claims, a status read follows and its answer counts: awaiting is not the end."""
    run = Run()
    run.told(STARTED)
    run.told(_webhook(kind, word))
    assert [type(call) for call in run.calls] == [ReadStatus]
    run.told(status("AWAITING", run.head.attempt))
    assert (run.phase, run.results()) == (CompletionPhase.RUNNING, [])
    run.told(_webhook("workflow.completed", "COMPLETED"))
    run.told(status("COMPLETED", run.head.attempt))
    run.told(result(run.head.attempt))
    assert run.results() == ["request-1 COMPLETED 1"]


@pytest.mark.parametrize("kind, word", KINDS)
def test_no_kind_of_webhook_begins_anything(kind: str | None, word: str | None) -> None:
    """For a workflow that nobody started here, each kind waits for a start in the same way."""
    run, plain = Run(), Run()
    run.told(_webhook(kind, word))
    plain.told(webhook())
    assert (run.state, run.calls, run.outputs) == (plain.state, [], [])


def _answered(run: Run, call: Call) -> None:
    """Let the provider answer truthfully: the workflow has ended well."""
    run.told(status("COMPLETED", call.attempt) if isinstance(call, ReadStatus) else result(call.attempt))


def _histories() -> Iterator[tuple[str, list[int]]]:
    """Give how many of the copies come before the start, at each of the reads, and after the end."""
    for at, name in enumerate(("before the start", "while the status is read", "while the result is read", "after")):
        yield name, [COPIES if place == at else 0 for place in range(4)]
    chance = random.Random(14)
    for seed in range(20):
        places = [chance.randrange(4) for _ in range(COPIES)]
        yield f"spread, {seed}", [places.count(place) for place in range(4)]


@pytest.mark.parametrize("copies", [pytest.param(copies, id=name) for name, copies in _histories()])
def test_a_hundred_copies_of_a_webhook_make_one_result(copies: list[int]) -> None:
    """Wherever in a workflow's history they come: one status read, one result read, one result."""
    run = Run()
    run.told(*[webhook()] * copies[0])
    run.told(STARTED, webhook())
    for place, kind in ((1, ReadStatus), (2, ReadResult)):
        call = run.calls[-1]
        assert isinstance(call, kind)
        run.told(*[webhook()] * copies[place])
        _answered(run, call)
    run.told(*[webhook()] * copies[3])
    assert [type(call) for call in run.calls] == [ReadStatus, ReadResult]
    assert run.results() == ["request-1 COMPLETED 1"]


def test_copies_that_come_during_a_read_make_one_more() -> None:
    """They may be younger than what the provider was about to answer, all of them together."""
    run = Run()
    run.told(STARTED, webhook())
    run.told(*[webhook()] * COPIES)
    run.told(status("RUNNING", 1))
    assert [call.attempt for call in run.calls] == [1, 2]
    run.told(status("RUNNING", 2))
    assert len(run.calls) == 2
    assert run.results() == []


def test_copies_of_a_webhook_of_a_foreign_workflow_cost_one_read() -> None:
    """A workflow that nobody started here is asked about once, however often somebody tells of it."""
    run = Run()
    run.told(*[webhook()] * COPIES)
    run.wakes()
    run.told(*[webhook()] * COPIES, now=NOW + 10_000)
    run.told(status("COMPLETED", 1), now=NOW + 10_000)
    run.told(*[webhook()] * COPIES, now=NOW + 20_000)
    assert [type(call) for call in run.calls] == [ReadStatus]
    assert run.results() == []
