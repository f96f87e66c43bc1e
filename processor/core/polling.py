"""When to poll a workflow, learnt from its runs that ended: how long they took, and of how many no webhook told.

The rule: a poll is worth a call when an end can be expected to lie unseen for some time, twice `poll.first`. At any
moment an end lies unseen with the chance that the run has ended since we last read that it runs and that no webhook
told; these chances, summed over time, are the time to be expected. So, while webhooks work, a poll comes when one is
overdue; without them, polls come where runs use to end. Never sooner than `poll.first`, never later than `poll.max`.
Until enough runs have ended each wait is twice the one before, and what outlasts all of them doubles its age.

What was learnt is in memory only: a process that starts learns it anew, and an aborted transaction may teach it twice.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, TypeAlias

from processor.core.catalogue import PollPolicy
from processor.core.schedule import doubled_wait_ms, spread_ms

ENDS_LEAST: Final = 20  # So many must have ended before they count for more than the plain schedule.
ENDS_MAX: Final = (
    128  # So many ends are counted before the older count half: we notice soon that webhooks stay away ...
)
TIMES_MAX: Final = 512  # ... and this is as many times as are counted: how long runs take changes slowly.
WORTH: Final = 2  # The time unseen that is worth a call, in `poll.first`.
EDGES_MS: Final = tuple(int(250 * 2 ** (number / 4)) for number in range(97))  # A quarter of a second to 48 days.


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the ended runs of one workflow taught, the later ones counting more."""

    took: tuple[float, ...] = (0.0,) * (len(EDGES_MS) + 1)  # How many took up to each edge; at the end those above.
    ends: float = 0
    unheard: float = 0  # Of these ends: no webhook told.


Lessons: TypeAlias = Mapping[str, Lesson]  # By the workflow's name.
NOTHING: Final = Lesson()


def next_wait_ms(lesson: Lesson, policy: PollPolicy, age_ms: int, polls: int, *, seed: str) -> int:
    """Say how long to wait before a run is polled that still ran, or was just started, `age_ms` after its start."""
    if lesson.ends < ENDS_LEAST:
        return doubled_wait_ms(polls, seed=seed, first_ms=policy.first_ms, max_ms=policy.max_ms)
    worth_at_ms = _worth_at_ms(lesson, age_ms, WORTH * policy.first_ms)
    wait_ms = min(max(worth_at_ms - age_ms, policy.first_ms), policy.max_ms)
    return wait_ms - spread_ms(wait_ms // 2, seed, polls)


def _worth_at_ms(lesson: Lesson, age_ms: int, worth_ms: int) -> int:
    """Say at which age the time that an end can be expected to lie unseen has grown to `worth_ms`."""
    missed = (lesson.unheard + 1) / (lesson.ends + 1)
    here = bisect_left(EDGES_MS, age_ms)
    ended, running = 0.0, sum(lesson.took[here:]) + 1  # One more run that outlasts them all.
    unseen_ms, from_ms = 0.0, age_ms
    for times, edge_ms in zip(lesson.took[here:], EDGES_MS[here:], strict=False):
        ended, running = ended + times / 2, running - times / 2  # As in the middle of the bucket ...
        chance = missed * ended / (missed * ended + running)
        unseen_ms += chance * (edge_ms - from_ms)
        if unseen_ms >= worth_ms:
            return round(edge_ms - (unseen_ms - worth_ms) / chance)
        ended, running, from_ms = ended + times / 2, running - times / 2, edge_ms  # ... and at its end.
    return 2 * age_ms


def learned(lessons: Lessons, workflow: str, ran_ms: int, took_ms: int, *, is_told: bool) -> Lessons:
    """Return the lessons with one more run: it still ran `ran_ms` after its start, and had ended after `took_ms`.

    It counts evenly over the time between: with the time of the poll alone, each poll would make the next ones later.
    `is_told`: by a webhook.
    """
    lesson = lessons.get(workflow, NOTHING)
    took, from_ms = [*lesson.took], min(ran_ms, took_ms - 1)
    first, last = bisect_left(EDGES_MS, from_ms), bisect_left(EDGES_MS, took_ms)
    edges_ms = (from_ms, *EDGES_MS[first:last], took_ms)
    for bucket, (lower_ms, upper_ms) in enumerate(pairwise(edges_ms), first):
        took[bucket] += (upper_ms - lower_ms) / (took_ms - from_ms)
    if sum(took) > TIMES_MAX:
        took = [times / 2 for times in took]
    share = 0.5 if lesson.ends >= ENDS_MAX else 1
    ends, unheard = lesson.ends * share + 1, lesson.unheard * share + (not is_told)
    return {**lessons, workflow: Lesson(tuple(took), ends, unheard)}


def told_after_all(lessons: Lessons, workflow: str) -> Lessons:
    """Return the lessons after the webhook of a run came behind the poll that had found its end."""
    lesson = lessons.get(workflow, NOTHING)
    return {**lessons, workflow: replace(lesson, unheard=max(0, lesson.unheard - 1))}
