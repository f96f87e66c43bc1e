"""The edge where time comes in: from here on `now` is an argument."""

import time

# Anchored once, so that it never goes back when the system's clock is set.
_EPOCH_NS = time.time_ns() - time.monotonic_ns()  # noqa: TID251


def wall_clock() -> int:
    """Return milliseconds since the epoch: the one place where deciders' time comes from; it never goes back."""
    return (_EPOCH_NS + time.monotonic_ns()) // 1_000_000
