"""When a workflow is polled, by what its runs taught."""

import random
from itertools import pairwise

import pytest

from processor.core.catalogue import PollPolicy
from processor.core.model import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from processor.core.polling import (
    EDGES_MS,
    ENDS_LEAST,
    ENDS_MAX,
    NOTHING,
    TIMES_MAX,
    Lesson,
    Lessons,
    learned,
    next_wait_ms,
    told_after_all,
)
from processor.core.schedule import doubled_wait_ms

POLICY = PollPolicy(5 * SECOND_MS, 5 * MINUTE_MS)


def lesson(*took_s: float, times: int = 100, missed: float = 0) -> Lesson:
    """Return what that many runs of each of those lengths taught, of which a share was told by no webhook."""
    lessons: Lessons = {}
    for number in range(times):
        for seconds in took_s:
            took_ms = round(seconds * 1000)
            is_told = (number + 1) * missed % 1 >= missed
            lessons = learned(lessons, "w", took_ms, took_ms, is_told=is_told)
    return lessons["w"]


def waits(taught: Lesson, age_ms: int = 0, policy: PollPolicy = POLICY) -> tuple[int, int]:
    """Return the shortest and the longest wait at that age, over many runs."""
    found = [next_wait_ms(taught, policy, age_ms, 0, seed=f"run-{number}") for number in range(200)]
    return min(found), max(found)


def polls_of(taught: Lesson, took_ms: int) -> list[int]:
    """Return at which ages a run that takes so long is polled until it has ended."""
    age_ms = 0
    ages: list[int] = []
    while age_ms < took_ms:
        age_ms += next_wait_ms(taught, POLICY, age_ms, len(ages), seed="run")
        ages.append(age_ms)
    return ages


@pytest.mark.parametrize("polls", range(12))
@pytest.mark.parametrize("ends", [0, 1, ENDS_LEAST - 1])
def test_until_enough_runs_have_ended_the_wait_is_doubled_by_each_poll(ends: int, polls: int) -> None:
    """A process that just started polls as if there were nothing to learn."""
    taught = lesson(60, times=ends) if ends else NOTHING
    wait_ms = next_wait_ms(taught, POLICY, 7_000, polls, seed="a")
    assert wait_ms == doubled_wait_ms(polls, seed="a", first_ms=POLICY.first_ms, max_ms=POLICY.max_ms)


def test_while_webhooks_work_the_first_poll_comes_when_one_is_overdue() -> None:
    """Nearly every run has been told by then; only what lasts unusually long is asked about."""
    shortest, longest = waits(lesson(30, 40, 50, 60, 70, 80))
    assert 75 * SECOND_MS < shortest < longest < 150 * SECOND_MS


def test_the_more_webhooks_are_missed_the_sooner_a_poll_comes() -> None:
    """The chance that an end lies unseen grows with the share of webhooks that never come."""
    longest = [waits(lesson(30, 40, 50, 60, 70, 80, missed=missed))[1] for missed in (0, 0.1, 0.3, 1)]
    assert longest == sorted(longest, reverse=True)
    assert longest[0] > 1.3 * longest[-1]


def test_without_webhooks_polls_come_where_runs_use_to_end() -> None:
    """Not before the shortest of them, and then often: that saves more than any fixed wait can."""
    ages = polls_of(lesson(100, 110, 120, missed=1), 125 * SECOND_MS)
    assert ages[0] > 80 * SECOND_MS
    assert 2 <= len(ages) <= 6


def test_a_run_that_outlasts_all_others_is_polled_ever_more_slowly() -> None:
    """Its age doubles with each poll, up to the longest wait, for nothing says when it will end."""
    ages = polls_of(lesson(10, missed=1), HOUR_MS)
    gaps = [later - earlier for earlier, later in pairwise(ages)]
    assert gaps[-1] > 250 * SECOND_MS
    assert len(ages) < 25


@pytest.mark.parametrize("missed", [0, 0.05, 1])
@pytest.mark.parametrize("took_s", [0, 0.01, 1, 60, 7_200, 100 * DAY_MS / 1000])
@pytest.mark.parametrize("age_ms", [0, 1, 5_000, HOUR_MS, 400 * DAY_MS])
def test_waits_keep_their_bounds_whatever_was_learnt(missed: float, took_s: float, age_ms: int) -> None:
    """Never later than the longest wait, and sooner than the first only by the spread."""
    shortest, longest = waits(lesson(took_s, missed=missed), age_ms)
    assert 0.875 * POLICY.first_ms <= shortest <= longest <= POLICY.max_ms


def test_runs_that_start_together_are_not_polled_together() -> None:
    """The spread depends on the run."""
    taught = lesson(60)
    assert len({next_wait_ms(taught, POLICY, 0, 0, seed=f"run-{number}") for number in range(200)}) > 100


def test_a_webhook_behind_the_poll_takes_the_miss_back() -> None:
    """A poll that was faster says nothing against webhooks; what was never missed stays at nothing."""
    missed = {"w": lesson(60, missed=1)}
    assert told_after_all(missed, "w")["w"].unheard == missed["w"].unheard - 1
    assert told_after_all({}, "w")["w"].unheard == 0


def test_what_is_remembered_is_bounded_and_gives_way_to_what_is_new() -> None:
    """A workflow that takes longer than it used to is polled later, and webhooks that stay away are noticed soon."""
    lessons: Lessons = {"w": lesson(20, times=5_000)}
    assert sum(lessons["w"].took) <= TIMES_MAX
    for _ in range(2 * TIMES_MAX):
        lessons = learned(lessons, "w", 200_000, 200_000, is_told=True)
    assert waits(lessons["w"])[0] > 100 * SECOND_MS
    for _ in range(ENDS_MAX):
        lessons = learned(lessons, "w", 200_000, 200_000, is_told=False)
    assert lessons["w"].unheard / lessons["w"].ends > 0.5


def test_workflows_learn_for_themselves() -> None:
    """What one takes says nothing of another."""
    lessons = learned({"a": lesson(60)}, "b", 1, 1, is_told=False)
    assert lessons["a"] == lesson(60)
    assert (lessons["b"].ends, lessons["b"].unheard) == (1, 1)


def test_polls_do_not_drift_away_from_the_ends_that_they_find() -> None:
    """An end found by a poll lies somewhere before it: else every poll would make the next ones later."""
    draw = random.Random(7)
    lessons: Lessons = {}
    delays = []
    for number in range(3_000):
        took_ms = round(60_000 * draw.uniform(0.7, 1.3))
        ages = [0, *polls_of(lessons.get("w", NOTHING), took_ms)]
        lessons = learned(lessons, "w", ages[-2], ages[-1], is_told=False)
        delays.append(ages[-1] - took_ms)
        assert ages[-1] - took_ms < 2 * MINUTE_MS, number
    first, last = delays[500:1_000], delays[-500:]
    assert sum(last) / len(last) < 16 * SECOND_MS
    assert sum(last) < 1.2 * sum(first)


@pytest.mark.parametrize("took_ms", [0, 1, 250, 251, EDGES_MS[-1], EDGES_MS[-1] + 1, 10**15])
def test_every_length_has_its_place(took_ms: int) -> None:
    """Also a run that lasts longer than anything that is told apart."""
    assert sum(learned({}, "w", 0, took_ms, is_told=True)["w"].took) == pytest.approx(1)
    assert sum(learned({}, "w", took_ms, 0, is_told=True)["w"].took) == pytest.approx(1)
