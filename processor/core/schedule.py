"""When to try again: back-off after failures and the wait between polls.

Nothing here draws random numbers: the jitter comes from a hash of what is waiting, so that a decision can be
replayed and two keys still do not come back at the same moment.
"""

from hashlib import blake2b

from processor.core.model import MINUTE_MS, SECOND_MS, Instant

DOUBLINGS_MAX = 20  # Bounds the exponent: 2 ** failures of a long outage would be a number of many digits.
ASKED_WAIT_MS_MAX = 15 * MINUTE_MS  # Longest `Retry-After` that is honoured.
POLL_SPREAD_PARTS = 4  # A poll comes at most one part in four before its full wait.


def backoff_ms(failures: int, *, seed: str, first_ms: int = 1_000, max_ms: int = 300_000) -> int:
    """Say how long to wait after that many failures in a row, in milliseconds: full jitter, at least 1.

    The wait lies evenly between 1 and `first_ms` doubled with each failure after the first, up to `max_ms`.
    `seed` names what waits, for example a request id.
    """
    longest_ms = _doubled_ms(failures - 1, first_ms, max_ms)
    return 1 + _hash(seed, failures) % longest_ms


def retry_ms(failures: int, *, seed: str, asked_ms: int | None = None, least_ms: int = 0) -> int:
    """Say how long to wait before a call is repeated, in milliseconds.

    Where the server asked for a wait (`Retry-After`) that holds, up to 15 minutes, and up to a second of jitter
    more; else the back-off. Never less than `least_ms`.
    """
    if asked_ms is not None:
        wait_ms = min(max(asked_ms, 0), ASKED_WAIT_MS_MAX) + backoff_ms(1, seed=seed, first_ms=SECOND_MS)
    else:
        wait_ms = backoff_ms(failures, seed=seed)
    return max(wait_ms, least_ms)


def next_poll_at(now: Instant, polls: int, *, seed: str, first_ms: int, max_ms: int) -> Instant:
    """Say when to poll after `polls` polls in vain: each doubles the wait up to `max_ms`, less up to a quarter."""
    return now + doubled_wait_ms(polls, seed=seed, first_ms=first_ms, max_ms=max_ms)


def doubled_wait_ms(polls: int, *, seed: str, first_ms: int, max_ms: int) -> int:
    """Say how long to wait after `polls` polls in vain, as `next_poll_at`."""
    wait_ms = _doubled_ms(polls, first_ms, max_ms)
    return wait_ms - spread_ms(wait_ms, seed, polls)


def spread_ms(wait_ms: int, seed: str, polls: int) -> int:
    """Say how much sooner a poll comes than its full wait, so that runs started together are not polled together."""
    return _hash(seed, polls) % (wait_ms // POLL_SPREAD_PARTS + 1)


def _doubled_ms(times: int, first_ms: int, max_ms: int) -> int:
    return max(1, min(max_ms, first_ms << max(0, min(times, DOUBLINGS_MAX))))


def _hash(seed: str, number: int) -> int:
    return int.from_bytes(blake2b(f"{number}/{seed}".encode(errors="replace"), digest_size=8).digest())
