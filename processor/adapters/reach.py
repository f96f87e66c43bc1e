"""Whether the provider is there at all: while it is not, no call is begun, so that an outage spends no attempts.

Rules:
- A connection that does not come about says at once that the provider is away; so do several answers in a row that
  only a provider in trouble gives (5xx, a deadline that passed, a connection that was cut).
- While it is away nothing starts. Only probes go out, reads that anybody may make, never a call that may not be
  repeated; the first one that is answered, whatever it says but for 5xx, ends it.
- Calls that were open when it went away end by themselves.

A run that is never begun has no intent, so a kill in the middle of an outage leaves nothing unknown.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

from processor.adapters.calling import ApiCall, ApiFact, Provider
from processor.adapters.http import HttpAnswer, HttpClient, HttpFailure, HttpRequest, Reason

TROUBLES_MAX: Final = 5  # In a row, over all kinds of calls: chance alone does not get there.
PROBE_WAIT_S: Final = 0.25  # After the first probe in vain; doubled up to the longest.
PROBE_WAIT_S_MAX: Final = 5.0
SERVER_ERROR: Final = 500
NO_WORKFLOW: Final = UUID(int=0)

_NO_CONNECTION: Final = frozenset({Reason.DNS, Reason.CONNECT, Reason.CONNECT_TIMEOUT, Reason.TLS})
_TROUBLE: Final = frozenset({Reason.TIMEOUT, Reason.DISCONNECTED})


class Reach:
    """An HTTP client that notes whether the provider answers; belongs to one event loop."""

    def __init__(
        self,
        client: HttpClient,
        base_url: str,
        *,
        probe_deadline_s: float,
        tell: Callable[[str | None], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Send with `client`; `tell` hears why the provider counts as away, and None when it is back."""
        self.is_there = True
        self._client = client
        self._tell = tell
        self._sleep = sleep
        self._troubles = 0
        self._probe = HttpRequest(
            "GET",
            f"{base_url}/workflows/{NO_WORKFLOW}",
            (("accept", "application/json"),),
            None,
            probe_deadline_s,
        )

    async def send(self, request: HttpRequest) -> HttpAnswer | HttpFailure:
        """Send once, and learn from what comes back."""
        answer = await self._client.send(request)
        self._learn(answer)
        return answer

    async def close(self) -> None:
        """Close the client."""
        await self._client.close()

    async def back(self) -> None:
        """Return when the provider is there; probes until then."""
        wait_s = PROBE_WAIT_S
        while not self.is_there:
            if _is_life(await self._client.send(self._probe)):
                self.is_there, self._troubles = True, 0
                self._tell(None)
                return
            await self._sleep(wait_s)
            wait_s = min(2 * wait_s, PROBE_WAIT_S_MAX)

    def _learn(self, answer: HttpAnswer | HttpFailure) -> None:
        if isinstance(answer, HttpAnswer):
            self._troubles = self._troubles + 1 if answer.status >= SERVER_ERROR else 0
        elif answer.reason in _TROUBLE:
            self._troubles += 1
        is_away = self._troubles >= TROUBLES_MAX or _is_unconnected(answer)
        if is_away and self.is_there:  # While it is away only a probe says otherwise: late answers are of before.
            self.is_there = False
            self._tell(f"HTTP {answer.status}" if isinstance(answer, HttpAnswer) else answer.reason.value)


class ReachableProvider:
    """A provider that counts as ready only while it can be reached."""

    def __init__(self, provider: Provider, reach: Reach) -> None:
        self._provider = provider
        self._reach = reach

    async def perform(self, call: ApiCall) -> ApiFact:
        """Make one call."""
        return await self._provider.perform(call)

    def is_ready(self) -> bool:
        """Whether a call made now would find the provider, and a token."""
        return self._reach.is_there and self._provider.is_ready()

    async def ready(self) -> None:
        """Wait until both are there."""
        await self._reach.back()
        await self._provider.ready()


def _is_unconnected(answer: HttpAnswer | HttpFailure) -> bool:
    return isinstance(answer, HttpFailure) and answer.reason in _NO_CONNECTION


def _is_life(answer: HttpAnswer | HttpFailure) -> bool:
    return isinstance(answer, HttpAnswer) and answer.status < SERVER_ERROR
