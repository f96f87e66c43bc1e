"""The HTTP port: what is sent, what comes back, and what a failure proves about the server.

Every adapter behind it passes one contract suite. A request is sent at most once, follows no redirect, and no cookie is
kept. Whether a failed request may have reached the server is never guessed: `NOT_SENT` is only what ended before its
first byte could leave.

Through a proxy an https:// server is reached by a tunnel (CONNECT; RFC 9110, 9.3.6): what fails before it stands was
not sent, what fails later is as without a proxy. To an http:// server the proxy itself passes the request on, so once
it has read it nothing is proved, and an answer may be the proxy's own.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

USER_AGENT = "onboarding-workflow-processor"

# The answer headers that callers read; adapters copy no others, for each copy is paid on every call.
ANSWER_HEADERS = ("content-type", "retry-after")


class Sent(StrEnum):
    """What a failure proves about the request."""

    NOT_SENT = "not_sent"  # No byte of it reached the server: it may be sent again.
    UNKNOWN = "unknown"  # The server may have executed it, or may yet.


class Reason(StrEnum):
    """Why there is no answer; a closed list, fit for metric labels."""

    DNS = "dns"  # The host name was not resolved.
    CONNECT = "connect"  # Refused, unreachable, or reset before the connection stood.
    CONNECT_TIMEOUT = "connect_timeout"  # The connection, TLS included, did not stand in time.
    TLS = "tls"  # The handshake failed, mostly because the certificate is not trusted.
    PROXY = "proxy"  # The proxy opened no tunnel: it refused, wants another password, cannot reach the server, hung up.
    POOL = "pool"  # No connection slot became free in time.
    INVALID_REQUEST = "invalid_request"  # No HTTP can be made of it: a mistake of ours.
    CLOSED = "closed"  # The client was closed before.
    TIMEOUT = "timeout"  # The total deadline passed.
    DISCONNECTED = "disconnected"  # Hung up or reset before an answer began.
    MALFORMED = "malformed"  # Not HTTP, or an encoding that we did not ask for.
    TRUNCATED = "truncated"  # The answer began and its body ended early.
    TOO_LARGE = "too_large"  # The body is above the limit.
    OTHER = "other"  # Anything new.


# Only what ends before the first byte of the request can leave. Whatever is not listed is unknown.
_NOT_SENT = frozenset(
    {
        Reason.DNS,
        Reason.CONNECT,
        Reason.CONNECT_TIMEOUT,
        Reason.TLS,
        Reason.PROXY,
        Reason.POOL,
        Reason.INVALID_REQUEST,
        Reason.CLOSED,
    }
)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request; `deadline_s` is in total: the wait for a slot, connect, send, and the whole answer."""

    method: str
    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes | None = field(repr=False)
    deadline_s: float


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A complete answer of any status; `headers` holds those of `ANSWER_HEADERS` that came, in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HttpFailure:
    """There is no complete answer; adapters may give a reason that is `NOT_SENT` only with proof."""

    reason: Reason
    status: int | None = None  # Of an answer that is too large: its head came, and its body was not read to the end.

    @property
    def sent(self) -> Sent:
        """Say whether the request can have reached the server."""
        return Sent.NOT_SENT if self.reason in _NOT_SENT else Sent.UNKNOWN


class HttpClient(Protocol):
    """A client for one event loop."""

    async def send(self, request: HttpRequest) -> HttpAnswer | HttpFailure:
        """Send once and return the complete answer or the failure; raises nothing but `CancelledError`.

        A cancelled send proves nothing: the request may have left, or may still leave, until its deadline.
        """

    async def close(self) -> None:
        """End what is still open, as a failure, and close all connections; to be awaited before the process ends."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An http:// proxy that all requests go through; the user name and password are for the proxy alone."""

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Limits of one client, whom it trusts, and its proxy; the environment's proxies are never taken.

    `connect_timeout_s` must lie well below every deadline: a deadline that passes while connecting proves nothing, so a
    server behind a black hole would make every call unknown. `keep_alive_s` must lie below the server's own.
    """

    connect_timeout_s: float = 5.0
    slot_timeout_s: float = 5.0
    keep_alive_s: float = 30.0
    connections_max: int = 256
    body_bytes_max: int = 1024 * 1024
    ca_file: str | None = None  # PEM, trusted beside the usual authorities; verification itself cannot be switched off.
    proxy: Proxy | None = None


class Slots:
    """How many requests may be open at once.

    It is our own count, because the libraries' pools keep the slot of a cancelled request.
    """

    def __init__(self, slots_max: int, timeout_s: float) -> None:
        self._slots_max = slots_max
        self._free = asyncio.Semaphore(slots_max)
        self._timeout_s = timeout_s

    async def take(self, deadline_s: float) -> float | None:
        """Take a slot and return the seconds left of the deadline, or None when none came free in time."""
        if not self._free.locked():
            await self._free.acquire()  # Returns without a turn of the loop.
            return deadline_s
        started = time.monotonic()
        try:
            async with asyncio.timeout(min(self._timeout_s, deadline_s)):
                await self._free.acquire()
        except TimeoutError:
            return None
        return deadline_s - (time.monotonic() - started)

    def give_back(self) -> None:
        """Free a slot that was taken."""
        self._free.release()

    async def drain(self) -> None:
        """Wait until every slot was given back; to be called once, as two would wait for each other."""
        for _ in range(self._slots_max):
            await self._free.acquire()
        for _ in range(self._slots_max):
            self._free.release()
