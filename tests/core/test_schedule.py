"""When we try again: bounded, spread, and the same on every replay."""

from itertools import pairwise

import pytest

from processor.core.model import MINUTE_MS, SECOND_MS
from processor.core.schedule import ASKED_WAIT_MS_MAX, backoff_ms, next_poll_at, retry_ms

SEEDS = tuple(f"request-{number}" for number in range(400))


@pytest.mark.parametrize(
    "failures, longest_ms",
    [(0, 1_000), (1, 1_000), (2, 2_000), (5, 16_000), (9, 256_000), (10, 300_000), (10**18, 300_000)],
)
def test_backoff_lies_evenly_between_nothing_and_a_doubling_bound(failures: int, longest_ms: int) -> None:
    """Full jitter: each failure doubles the bound up to five minutes, and the waits fill the whole range below it."""
    waits = [backoff_ms(failures, seed=seed) for seed in SEEDS]
    assert 1 <= min(waits) < longest_ms * 0.05
    assert longest_ms * 0.95 < max(waits) <= longest_ms
    assert 0.4 < sum(waits) / len(waits) / longest_ms < 0.6


def test_backoff_is_the_same_on_every_replay() -> None:
    """The jitter comes from the seed and the count alone, and differs from failure to failure."""
    assert backoff_ms(4, seed="a") == backoff_ms(4, seed="a")
    assert len({backoff_ms(12, seed="a", max_ms=10**9), backoff_ms(13, seed="a", max_ms=10**9)}) == 2


def test_a_seed_that_is_not_valid_unicode_still_gives_a_wait() -> None:
    """An id with a lone surrogate must not park its key."""
    assert backoff_ms(1, seed="\ud800") >= 1


@pytest.mark.parametrize(
    "asked_ms, least_ms, low_ms, high_ms",
    [
        (None, 0, 1, 4_000),
        (None, 30_000, 30_000, 30_000),
        (60_000, 0, 60_001, 61_000),
        (-5, 0, 1, 1_000),
        (10**12, 0, ASKED_WAIT_MS_MAX + 1, ASKED_WAIT_MS_MAX + 1_000),
    ],
)
def test_a_wait_that_the_server_asked_for_is_kept_within_bounds(
    asked_ms: int | None, least_ms: int, low_ms: int, high_ms: int
) -> None:
    """`Retry-After` holds up to 15 minutes and is spread by a second; without it the back-off holds."""
    waits = [retry_ms(3, seed=seed, asked_ms=asked_ms, least_ms=least_ms) for seed in SEEDS]
    assert low_ms <= min(waits) <= max(waits) <= high_ms


def test_each_poll_in_vain_doubles_the_wait_up_to_the_longest() -> None:
    """Polls come at most a quarter early and never later than the longest wait."""
    waits = [next_poll_at(7, polls, seed="w", first_ms=5 * SECOND_MS, max_ms=5 * MINUTE_MS) - 7 for polls in range(40)]
    bounds = [min(5 * MINUTE_MS, 5 * SECOND_MS * 2**polls) for polls in range(40)]
    assert all(bound * 0.75 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))
    assert all(earlier < later for earlier, later in pairwise(waits[:6]))


def test_runs_started_together_are_not_polled_together() -> None:
    """The spread depends on the workflow, so a thousand runs of one moment do not ask in one moment."""
    polls = {next_poll_at(0, 0, seed=seed, first_ms=5 * SECOND_MS, max_ms=5 * MINUTE_MS) for seed in SEEDS}
    assert len(polls) > 150
