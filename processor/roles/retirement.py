"""Clients that were replaced, until nobody can be waiting for them any more."""

import asyncio
from typing import Protocol


class Closable(Protocol):
    """What holds connections."""

    async def close(self) -> None:
        """Give them back."""


class Retirement:
    """Closes what was replaced when its last use has ended; belongs to the running event loop."""

    def __init__(self) -> None:
        self._closing: set[asyncio.Task[None]] = set()

    def take(self, link: Closable, longest_s: float) -> None:
        """Close this in a while: nobody uses it for longer."""
        closing = asyncio.create_task(_close_after(link, longest_s))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close now what still waits."""
        for closing in self._closing:
            closing.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)


async def _close_after(link: Closable, longest_s: float) -> None:
    try:
        await asyncio.sleep(longest_s)
    finally:
        await link.close()
