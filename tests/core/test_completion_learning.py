"""What completion learns about polling from the runs that end, and that it decides nothing else by it."""

from dataclasses import replace

import pytest

from processor.core.completion import Fact
from processor.core.messages import Replaced, TimerFired
from processor.core.model import SECOND_MS, Witness
from processor.core.polling import Lessons, learned
from processor.core.state import CompletionPhase, Decision
from tests.core.workflows import (
    COMPLETION,
    NEWER,
    NOW,
    ORIGIN,
    STARTED,
    Run,
    of_workflow,
    result,
    started,
    status,
    webhook,
)

BEGUN_AT = STARTED.started_at


class LearningRun(Run):
    """A run whose decider learns as the role's does."""

    def told(self, *facts: Fact, now: int = NOW) -> Decision:
        """Fold facts, learning from each decision."""
        decision = Decision()
        for fact in facts:
            decision = super().told(fact, now=now)
            self.completion = self.completion.taught(fact, decision)
        return decision


def lesson_of(took_ms: int, *, is_told: bool, ran_ms: int | None = None) -> Lessons:
    return learned({}, "person-check", took_ms if ran_ms is None else ran_ms, took_ms, is_told=is_told)


def poll(run: Run, word: str) -> int:
    """Let the timer fire and the provider answer; return when."""
    assert run.head.timer is not None
    now = run.head.timer.due_at
    run.wakes()
    run.told(status(word, run.head.attempt), now=now)
    return now


def test_a_run_that_a_webhook_told_counts_with_the_time_of_the_webhook() -> None:
    """It took as long as until the webhook, which says of its delivery too."""
    run = LearningRun()
    run.told(STARTED, webhook(NOW + 70), status("COMPLETED"), result(), now=NOW + 99)
    assert run.completion.lessons == lesson_of(NOW + 70 - BEGUN_AT, is_told=True)


def test_a_run_that_polls_found_ended_between_two_of_them() -> None:
    """The last read that said that it runs bounds it from below; no webhook told."""
    run = LearningRun()
    run.told(STARTED)
    ran_at, ended_at = poll(run, "RUNNING"), poll(run, "COMPLETED")
    run.told(result(3), now=ended_at)
    assert run.completion.lessons == lesson_of(ended_at - BEGUN_AT, is_told=False, ran_ms=ran_at - BEGUN_AT)


@pytest.mark.parametrize("is_result_read", [True, False])
def test_a_webhook_that_comes_behind_the_poll_was_not_missed(*, is_result_read: bool) -> None:
    """While the result is on its way, or after it; its repetitions change nothing."""
    run = LearningRun()
    run.told(STARTED)
    ended_at = poll(run, "COMPLETED")
    hints: list[Fact] = [webhook(ended_at + 1), webhook(ended_at + 2)]
    rest: list[Fact] = [result(2)]
    run.told(*(rest + hints if is_result_read else hints + rest), now=ended_at)
    lesson = run.completion.lessons["person-check"]
    assert (lesson.ends, lesson.unheard, run.head.webhook_at) == (1, 0, ended_at + 1)
    assert run.told(webhook(ended_at + 3)) == Decision()
    assert run.results() == ["request-1 COMPLETED 1"]


def test_a_run_that_ended_badly_teaches_as_well() -> None:
    """Its end is an end."""
    run = LearningRun()
    run.told(STARTED, webhook(), status("FAILED"))
    poll(run, "FAILED")
    assert run.completion.lessons == lesson_of(NOW - BEGUN_AT, is_told=True)


@pytest.mark.parametrize(
    "facts",
    [
        [started(status="COMPLETED"), status("COMPLETED"), result()],
        [started(status="COMPLETED", told_by=Witness.OPERATOR), Replaced("9E8D-1", NEWER)],
        [replace(STARTED, revision=2), webhook(), status("COMPLETED"), result()],
        [STARTED, started(origin=replace(ORIGIN, request_id="request-2"))],
        [STARTED, webhook(), Replaced("9E8D-1", NEWER)],
        [STARTED, webhook(), status("RUNNING")],
    ],
)
def test_what_says_nothing_of_times_and_webhooks_teaches_nothing(facts: list[Fact]) -> None:
    """Ends in the start's answer, amendments, refused claims, workflows that gave way or still run."""
    run = LearningRun()
    run.told(*facts)
    assert run.completion == COMPLETION


def test_only_the_time_of_the_next_poll_depends_on_what_was_learnt() -> None:
    """The first poll comes when the webhook is overdue, the state is otherwise the same."""
    lessons: Lessons = {}
    for _ in range(100):
        lessons = learned(lessons, "person-check", 60_000, 60_000, is_told=True)
    wise, plain = Run(completion=replace(COMPLETION, lessons=lessons)), Run()
    wise.told(STARTED)
    plain.told(STARTED)
    assert wise.head.poll_at is not None
    assert wise.head.poll_at - BEGUN_AT > 55 * SECOND_MS
    assert replace(wise.head, poll_at=plain.head.poll_at, timer=plain.head.timer) == plain.head
    other = Run(completion=wise.completion)
    other.told(of_workflow("own-words"))
    assert other.head.poll_at == plain.head.poll_at


def test_after_a_webhook_polls_begin_anew_with_short_waits_whatever_was_learnt() -> None:
    """It may say that the person is done and background tasks run on: the end is near."""
    lessons: Lessons = {}
    for _ in range(100):
        lessons = learned(lessons, "person-check", 600_000, 600_000, is_told=True)
    run = Run(completion=replace(COMPLETION, lessons=lessons))
    run.told(STARTED, webhook(), status("AWAITING"))
    assert run.head.poll_at is not None
    assert run.head.poll_at - NOW <= 5 * SECOND_MS
    again_at = poll(run, "AWAITING")
    assert run.head.poll_at - again_at <= 10 * SECOND_MS


def test_a_webhook_of_an_ended_workflow_without_a_witness_changes_nothing() -> None:
    """A repeated timer neither."""
    run = LearningRun()
    run.told(STARTED, Replaced("9E8D-1", NEWER), status("RUNNING"))
    assert run.phase is CompletionPhase.ENDED
    assert run.told(webhook()) == run.told(TimerFired("head", NOW)) == Decision()
