"""The HTTP port on httpx: by a setting, and for control calls, where its cost does not matter.

It keeps no connection alive: httpcore takes bytes left over from one answer for the answer to the next request.
"""

import asyncio
import logging
import re
import socket
import ssl
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from processor.adapters.http import (
    ANSWER_HEADERS,
    USER_AGENT,
    HttpAnswer,
    HttpFailure,
    HttpRequest,
    HttpSettings,
    Proxy,
    Reason,
    Sent,
    Slots,
)

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2.

# The first that fits.
_REASONS: dict[type[Exception], Reason] = {
    httpx.ConnectTimeout: Reason.CONNECT_TIMEOUT,
    httpx.ProxyError: Reason.PROXY,  # Raised for a refused tunnel only.
    httpx.UnsupportedProtocol: Reason.INVALID_REQUEST,
    httpx.TimeoutException: Reason.TIMEOUT,
    httpx.NetworkError: Reason.DISCONNECTED,
}


class HttpxClient:
    """An `HttpClient` that opens a connection for each request."""

    def __init__(self, settings: HttpSettings) -> None:
        # httpx logs every URL, httpcore every header: ids, links and tokens.
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._client = _build(settings)
        self._slots = Slots(settings.connections_max, settings.slot_timeout_s)
        self._body_bytes_max = settings.body_bytes_max
        self._connect_timeout_s = settings.connect_timeout_s
        self._is_proxied = settings.proxy is not None

    async def send(self, request: HttpRequest) -> HttpAnswer | HttpFailure:
        """Send once; see the port."""
        left_s = await self._slots.take(request.deadline_s)
        if left_s is None:
            return HttpFailure(Reason.POOL)
        try:
            if self._client.is_closed:
                return HttpFailure(Reason.CLOSED)
            return await self._exchange(request, left_s)
        finally:
            self._slots.give_back()

    async def close(self) -> None:
        """Close; see the port."""
        if self._client.is_closed:
            return
        await self._client.aclose()
        await self._slots.drain()

    async def _exchange(self, request: HttpRequest, left_s: float) -> HttpAnswer | HttpFailure:
        try:
            prepared = self._prepare(request)
        except Exception:  # noqa: BLE001 - nothing is sent before, whatever went wrong
            return HttpFailure(Reason.INVALID_REQUEST)
        # httpx has no total time-out: a byte now and then holds a call for ever.
        limit = asyncio.timeout(left_s)
        way = _Way(limit, connect_timeout_s=self._connect_timeout_s, deadline_s=left_s)
        if self._is_proxied:
            prepared.extensions["trace"] = way.told
        try:
            async with limit:
                return await self._answer(prepared)
        except TimeoutError:
            return HttpFailure(way.timed_out())
        except Exception as error:  # noqa: BLE001 - the caller must always learn what is known of the request
            return HttpFailure(way.failed(error))

    def _prepare(self, request: HttpRequest) -> httpx.Request:
        # h11 refuses these only once the request is under way, when nothing can be proved any more.
        if not all(_TOKEN.fullmatch(name) and value.isprintable() for name, value in request.headers):
            raise ValueError("a header is not HTTP")
        if not _TOKEN.fullmatch(request.method):
            raise ValueError("the method is not HTTP")
        return self._client.build_request(
            request.method, request.url, headers=list(request.headers), content=request.body
        )

    async def _answer(self, prepared: httpx.Request) -> HttpAnswer | HttpFailure:
        response = await self._client.send(prepared, stream=True)
        try:
            return await self._read(response)
        except httpx.ReadError:
            return HttpFailure(Reason.TRUNCATED)
        finally:
            await response.aclose()

    async def _read(self, response: httpx.Response) -> HttpAnswer | HttpFailure:
        # Nothing is decompressed here, so that a bomb stays as small as it came; an encoded body is refused.
        if response.headers.get("content-encoding", "identity") != "identity":
            return HttpFailure(Reason.MALFORMED)
        body = bytearray()
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > self._body_bytes_max:
                return HttpFailure(Reason.TOO_LARGE, response.status_code)
        named = ((name, response.headers.get(name)) for name in ANSWER_HEADERS)
        headers = {name: value for name, value in named if value is not None and value.isascii()}
        return HttpAnswer(response.status_code, headers, bytes(body))


class _Way:
    """Whether a request still waits for its tunnel; that is limited here, as httpx limits only TCP and TLS.

    httpcore tells of each step of each request that it sends. While the last one is our CONNECT, ours has not begun;
    where it tells of nothing, nothing is proved.
    """

    def __init__(self, limit: asyncio.Timeout, *, connect_timeout_s: float, deadline_s: float) -> None:
        now_s = asyncio.get_running_loop().time()
        self._limit = limit
        self._connect_until_s = now_s + connect_timeout_s
        self._deadline_at_s = now_s + deadline_s
        self._is_tunnel = False

    async def told(self, _step: str, facts: Mapping[str, Any]) -> None:
        """Take in one step, as httpx's extension `trace` tells it."""
        if "request" not in facts:
            return
        is_tunnel = facts["request"].method == b"CONNECT"
        if is_tunnel is not self._is_tunnel and not self._limit.expired():
            self._limit.reschedule(
                min(self._connect_until_s, self._deadline_at_s) if is_tunnel else self._deadline_at_s
            )
        self._is_tunnel = is_tunnel

    def timed_out(self) -> Reason:
        """Say why, when the limit passed."""
        is_deadline = self._deadline_at_s <= self._connect_until_s
        return Reason.CONNECT_TIMEOUT if self._is_tunnel and not is_deadline else Reason.TIMEOUT

    def failed(self, error: Exception) -> Reason:
        """Say why the request failed: whatever ended while the tunnel was not there, the proxy ended."""
        reason = reason_in(error)
        return Reason.PROXY if self._is_tunnel and HttpFailure(reason).sent is Sent.UNKNOWN else reason


def reason_in(error: Exception) -> Reason:
    """Say why a request failed; httpx tells the connect phase by type, the rest of the protocol only in words."""
    if isinstance(error, httpx.ConnectError):
        return _connect_reason(error)
    if isinstance(error, httpx.RemoteProtocolError):
        return _protocol_reason(str(error))
    return next((reason for kind, reason in _REASONS.items() if isinstance(error, kind)), Reason.OTHER)


def _connect_reason(error: httpx.ConnectError) -> Reason:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return Reason.DNS
        if isinstance(cause, ssl.SSLError):
            return Reason.TLS
        cause = cause.__cause__ or cause.__context__
    return Reason.CONNECT


def _protocol_reason(words: str) -> Reason:
    if words.startswith("Server disconnected"):
        return Reason.DISCONNECTED
    if words.startswith("peer closed connection without sending complete message body"):
        return Reason.TRUNCATED
    return Reason.MALFORMED


def proxy_of(proxy: Proxy | None) -> httpx.Proxy | None:
    """Return a proxy as httpx takes it."""
    if proxy is None:
        return None
    auth = None if proxy.username is None else (proxy.username, proxy.password or "")
    return httpx.Proxy(proxy.url, auth=auth)


def _build(settings: HttpSettings) -> httpx.AsyncClient:
    trusted = httpx.create_ssl_context()
    if settings.ca_file is not None:
        trusted.load_verify_locations(cafile=settings.ca_file)
    return httpx.AsyncClient(
        verify=trusted,
        proxy=proxy_of(settings.proxy),
        trust_env=False,
        follow_redirects=False,
        timeout=httpx.Timeout(None, connect=settings.connect_timeout_s),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        headers={"user-agent": USER_AGENT, "accept-encoding": "identity", "connection": "close"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    )
