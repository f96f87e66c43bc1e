"""Waiting in tests for what nobody tells of: it is looked at again and again, for a bounded time."""

import asyncio
import time
from collections.abc import Callable, Iterable

from tests.support.worker import Worker


def wait_until(is_so: Callable[[], bool], what: str, workers: Iterable[Worker] = (), *, timeout_s: float = 20) -> None:
    """Wait until something is so; raises AssertionError that says what was not, and what each worker logged last."""
    give_up_at = time.monotonic() + timeout_s
    while not is_so():
        for worker in workers:
            worker.assert_alive()
        if time.monotonic() > give_up_at:
            logs = "\n".join(f"{each.log_file.name}:\n{each.log_tail(1_500)}" for each in workers)
            raise AssertionError(f"not within {timeout_s:g} s: {what}\n{logs}")
        time.sleep(0.05)


async def eventually(is_so: Callable[[], bool]) -> None:
    """Wait until something is so, for a few seconds at most."""
    async with asyncio.timeout(5):
        while not is_so():  # noqa: ASYNC110  # a thread, a file or a foreign object changes it
            await asyncio.sleep(0.002)
