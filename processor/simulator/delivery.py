"""Sends webhooks: a fixed number at a time, each attempt to the next target, repeated as the provider documents."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import aiohttp

from processor.simulator.model import JSON, Counters, Webhook
from processor.simulator.schedule import Schedule
from processor.simulator.settings import SimulatorSettings
from processor.simulator.signing import HEADER, Signer


class Delivery:
    """A queue of webhooks and the workers that send them; belongs to the running event loop."""

    def __init__(
        self, settings: SimulatorSettings, schedule: Schedule, counters: Counters, clock: Callable[[], int]
    ) -> None:
        self.urls = settings.webhook_urls
        self._settings = settings
        self._schedule = schedule
        self._counters = counters
        self._clock = clock
        self._attempts = 0
        self._queue: asyncio.Queue[Webhook] = asyncio.Queue()
        # Anything but 2xx is a failure, a redirect too; what a receiver answers is of no interest.
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=settings.webhook_timeout_s),
            connector=aiohttp.TCPConnector(limit=settings.webhook_concurrency),
        )
        self._workers = [asyncio.create_task(self._work()) for _ in range(settings.webhook_concurrency)]

    def send(self, body: bytes, signer: Callable[[], Signer]) -> None:
        """Sign a body and deliver it soon; without a target nothing is signed or sent."""
        if self.urls:
            self._queue.put_nowait(Webhook(body, signer().sign(body)))

    async def attempt(self, webhook: Webhook, url: str | None = None) -> int:
        """Deliver once, to `url` or the next target; returns the status, 0 when there was no answer."""
        if url is None:
            url = self.urls[self._attempts % len(self.urls)]
            self._attempts += 1
        headers = {"Content-Type": JSON}
        if webhook.signature is not None:
            headers[HEADER] = webhook.signature
        try:
            async with self._session.post(url, data=webhook.body, headers=headers, allow_redirects=False) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return 0

    async def stop(self) -> None:
        """Drop what is not delivered yet, as a crash would."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        await self._session.close()

    async def _work(self) -> None:
        while True:
            webhook = await self._queue.get()
            status = await self.attempt(webhook) if self.urls else 0
            self._counters.webhooks["attempts"] += 1
            if 200 <= status < 300:  # noqa: PLR2004  # a success of HTTP
                self._counters.webhooks["delivered"] += 1
            elif webhook.attempt < self._settings.webhook_retries:
                self._repeat(webhook)
            else:
                self._counters.webhooks["given_up"] += 1

    def _repeat(self, webhook: Webhook) -> None:
        """Put a webhook back, to be sent again after the documented time."""
        again = replace(webhook, attempt=webhook.attempt + 1)
        due_at = self._clock() + int(self._settings.webhook_retry_s * 1000)
        self._schedule.at(due_at, lambda _now: self._queue.put_nowait(again))
