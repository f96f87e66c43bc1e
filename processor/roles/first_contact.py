"""Whether an ingestor has ever found its broker: until then each webhook is answered 503, and readiness says so.

Once found it stays found: an outage later is told by each answer, and must not take every ingestor out of service.
"""

import asyncio
from collections.abc import Callable, Iterator

import structlog

from processor.errors import BrokerUnavailable

log = structlog.stdlib.get_logger()

RETRY_S = 2.0


class FirstContact:
    """Looks for the broker in the background, until it is found once; belongs to the running event loop."""

    def __init__(self, find: Callable[[], None], *, retry_s: float = RETRY_S) -> None:
        """`find` blocks on a thread, and raises BrokerUnavailable as long as webhooks could not be written."""
        self._find = find
        self._retry_s = retry_s
        self._missing: str | None = "the broker was not asked yet"
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._looking = asyncio.create_task(self._look())

    async def stop(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    def unready(self) -> Iterator[str]:
        """Name why webhooks cannot be taken yet."""
        if self._missing is not None:
            yield f"webhooks: {self._missing}"

    async def _look(self) -> None:
        while self._missing is not None:
            try:
                await asyncio.to_thread(self._find)
            except BrokerUnavailable as error:
                if str(error) != self._missing:
                    log.warning("process.waiting", exc_info=error)
                self._missing = str(error)
                await asyncio.sleep(self._retry_s)
            else:
                self._missing = None
