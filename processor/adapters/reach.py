"""Whether the provider is there at all: while it is not, no call is begun, so that an outage spends no attempts.

Rules:
- A connection that does not come about says at once that the provider is away; so do several answers in a row that
  only a provider in trouble gives (5xx, a deadline that passed, a connection that was cut).
- While it is away nothing starts. Only probes go out: the renewal of the token while there is none, then reads of a
  workflow that does not exist, never a call that may not be repeated; the first read that is answered, whatever it
  says but for 5xx, ends it. All instances probe, each at a moment of its own.
- Calls that were open when it went away end by themselves.

Whether it ever took a call of ours is noted beside that: who was never taken may be set up wrongly.

A run that is never begun has no intent, so a kill in the middle of an outage leaves nothing unknown.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import Final
from uuid import UUID

from processor.adapters.calling import Api, ApiCall, ApiFact
from processor.adapters.credential import Header
from processor.adapters.http import HttpAnswer, HttpClient, HttpFailure, HttpRequest, Reason

TROUBLES_MAX: Final = 5  # In a row, over all kinds of calls: chance alone does not get there.
PROBE_WAIT_S: Final = 0.25  # At most, before the first probe; doubled after each one in vain, up to the longest.
PROBE_WAIT_S_MAX: Final = 5.0
UNAUTHORIZED: Final = 401
SERVER_ERROR: Final = 500
NO_WORKFLOW: Final = UUID(int=0)

_NO_CONNECTION: Final = frozenset({Reason.DNS, Reason.CONNECT, Reason.CONNECT_TIMEOUT, Reason.TLS, Reason.PROXY})
_TROUBLE: Final = frozenset({Reason.TIMEOUT, Reason.DISCONNECTED})


class Contact(IntEnum):
    """What ever came of calling the provider: the best of it."""

    NONE = 0  # It never answered, or as only a provider in trouble does.
    REFUSED = 1  # It answered, and never but that it does not know us.
    MADE = 2


class Reach:
    """An HTTP client that notes whether the provider answers; belongs to one event loop."""

    def __init__(  # noqa: PLR0913  # what it sends, and the two outside things that tests set
        self,
        client: HttpClient,
        base_url: str,
        *,
        probe_deadline_s: float,
        authorization: Callable[[], Header | None],
        tell: Callable[[str | None], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Send with `client`; `tell` hears why the provider counts as away, and None when it is back.

        `authorization` gives the header of a probe, `chance` a number from 0 to 1.
        """
        self.why_away: str | None = None
        self.contact = Contact.NONE
        self._client = client
        self._authorization = authorization
        self._tell = tell
        self._sleep = sleep
        self._chance = chance
        self._troubles = 0
        self._probe_url = f"{base_url}/workflows/{NO_WORKFLOW}"
        self._probe_deadline_s = probe_deadline_s

    @property
    def is_there(self) -> bool:
        """Whether calls may begin; may be asked on any thread."""
        return self.why_away is None

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
            await self._sleep(wait_s * self._chance())
            wait_s = min(2 * wait_s, PROBE_WAIT_S_MAX)
            answer = await self._client.send(self._probe())
            self.contact = max(self.contact, _contact_by(answer))
            if _is_life(answer):
                self.why_away, self._troubles = None, 0
                self._tell(None)

    def _probe(self) -> HttpRequest:
        header = self._authorization()
        headers = (("accept", "application/json"), *((header,) if header is not None else ()))
        return HttpRequest("GET", self._probe_url, headers, None, self._probe_deadline_s)

    def _learn(self, answer: HttpAnswer | HttpFailure) -> None:
        self.contact = max(self.contact, _contact_by(answer))
        if isinstance(answer, HttpAnswer):
            self._troubles = self._troubles + 1 if answer.status >= SERVER_ERROR else 0
        elif answer.reason in _TROUBLE:
            self._troubles += 1
        is_away = self._troubles >= TROUBLES_MAX or _is_unconnected(answer)
        if is_away and self.is_there:  # While it is away only a probe says otherwise: late answers are of before.
            self.why_away = f"HTTP {answer.status}" if isinstance(answer, HttpAnswer) else answer.reason.value
            self._tell(self.why_away)


class ReachableProvider:
    """A `Provider`: an API, and whether it can be reached."""

    def __init__(self, api: Api, reach: Reach) -> None:
        self._api = api
        self._reach = reach

    async def perform(self, call: ApiCall) -> ApiFact:
        """Make one call."""
        return await self._api.perform(call)

    @property
    def has_token(self) -> bool:
        """Whether a call made now would find a token."""
        return self._api.is_ready()

    @property
    def is_away(self) -> bool:
        """Whether the provider counts as away."""
        return not self._reach.is_there

    async def ready(self) -> None:
        """Wait until there is a token, whose renewal probes as well, and then until a read is answered."""
        while self.is_away or not self.has_token:
            await self._api.ready()
            await self._reach.back()


def _is_unconnected(answer: HttpAnswer | HttpFailure) -> bool:
    return isinstance(answer, HttpFailure) and answer.reason in _NO_CONNECTION


def _contact_by(answer: HttpAnswer | HttpFailure) -> Contact:
    if not isinstance(answer, HttpAnswer) or not _is_life(answer):
        return Contact.NONE
    return Contact.REFUSED if answer.status == UNAUTHORIZED else Contact.MADE


def _is_life(answer: HttpAnswer | HttpFailure) -> bool:
    return isinstance(answer, HttpAnswer) and answer.status < SERVER_ERROR
