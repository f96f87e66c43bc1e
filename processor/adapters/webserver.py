"""The two HTTP applications: the webhook routes for the provider, and the operations port for Kubernetes.

A webhook route reads raw bytes under caps of size, time and memory before anything else is done, and answers
refusals as RFC 9457 problem documents that never repeat what was sent.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, TypeAlias

from aiohttp import web

from processor.adapters.webhook_intake import Handled

Network: TypeAlias = IPv4Network | IPv6Network
Accept: TypeAlias = Callable[[Sequence[str], bytes], Awaitable[Handled]]

SIGNATURE_HEADER: Final = "JWS-SIGNATURE"
STUCK: Final = ("the process is stuck",)
KEEP_OPEN: Final = frozenset({HTTPStatus.ACCEPTED, HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE})


class Health(StrEnum):
    """The word of the operations port."""

    OK = "ok"
    DEGRADED = "degraded"  # Something outside keeps some of the work from being done.
    UNAVAILABLE = "unavailable"  # The process itself lacks something.


class BodyRefusal(StrEnum):
    """Why a request was answered before its signature was looked at."""

    PATH_UNKNOWN = "path-unknown"
    METHOD_REFUSED = "method-refused"
    NETWORK_REFUSED = "network-refused"
    BODY_TOO_LARGE = "body-too-large"
    BODY_TOO_SLOW = "body-too-slow"
    BODY_BROKEN = "body-broken"
    MEMORY_FULL = "memory-full"


@dataclass(frozen=True, slots=True)
class WebhookLimits:
    """What one request, and all of them together, may cost.

    The provider waits 10 s for an answer: reading, fetching a key and the broker's answer must fit together.
    """

    body_bytes_max: int = 256 * 1_024
    read_timeout_s: float = 4.0
    held_bytes_max: int = 64 * 1_024 * 1_024  # Bodies being read or published, all together.
    retry_after_s: int = 5  # The provider's own spacing.


class _Refused(Exception):
    """A request that ends before its signature is looked at."""

    def __init__(self, status: HTTPStatus, reason: BodyRefusal, detail: str) -> None:
        super().__init__(detail)
        self.handled = Handled(status, reason, detail, 0)


class _WebhookRoutes:
    def __init__(
        self,
        accepting: Mapping[str, Accept],
        observe: Callable[[Handled, float], None],
        limits: WebhookLimits,
        networks: Sequence[Network],
    ) -> None:
        self._accepting = accepting
        self._observe = observe
        self._limits = limits
        self._networks = networks
        self._held_bytes = 0

    async def answer(self, request: web.Request) -> web.Response:
        loop = asyncio.get_running_loop()
        began_at_s = loop.time()
        handled = await self._handle(request)
        self._observe(handled, loop.time() - began_at_s)
        return _answer(handled, self._limits.retry_after_s)

    async def _handle(self, request: web.Request) -> Handled:
        chunks: list[bytes] = []
        try:
            accept = self._route(request)
            self._check_sender(request.remote)
            await self._read(request, chunks)
            return await accept(request.headers.getall(SIGNATURE_HEADER, []), b"".join(chunks))
        except _Refused as refused:
            return refused.handled
        finally:
            self._held_bytes -= sum(map(len, chunks))

    def _route(self, request: web.Request) -> Accept:
        accept = self._accepting.get(request.path)
        if accept is None:
            raise _Refused(HTTPStatus.NOT_FOUND, BodyRefusal.PATH_UNKNOWN, "no webhooks are taken under this path")
        if request.method != "POST":
            status = HTTPStatus.METHOD_NOT_ALLOWED
            raise _Refused(status, BodyRefusal.METHOD_REFUSED, "webhooks come by POST")
        return accept

    def _check_sender(self, remote: str | None) -> None:
        if not self._networks:
            return
        address = ip_address(remote) if remote else None
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped  # How a socket of both families shows an IPv4 sender.
        if address is None or not any(address in network for network in self._networks):
            raise _Refused(HTTPStatus.FORBIDDEN, BodyRefusal.NETWORK_REFUSED, "the address is in no allowed network")

    async def _read(self, request: web.Request, chunks: list[bytes]) -> None:
        """Collect the raw body; what is collected so far stands in `chunks` also when this raises."""
        size = 0
        too_large = _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, BodyRefusal.BODY_TOO_LARGE, "the body is too large")
        if (request.content_length or 0) > self._limits.body_bytes_max:
            raise too_large
        try:
            async with asyncio.timeout(self._limits.read_timeout_s):
                while chunk := await request.content.readany():
                    size += len(chunk)
                    if size > self._limits.body_bytes_max:
                        raise too_large
                    self._hold(chunk, chunks)
        except TimeoutError:
            raise _Refused(
                HTTPStatus.REQUEST_TIMEOUT, BodyRefusal.BODY_TOO_SLOW, "the body did not come in time"
            ) from None
        except (web.RequestPayloadError, ConnectionError):
            raise _Refused(HTTPStatus.BAD_REQUEST, BodyRefusal.BODY_BROKEN, "the body ended too early") from None

    def _hold(self, chunk: bytes, chunks: list[bytes]) -> None:
        if self._held_bytes + len(chunk) > self._limits.held_bytes_max:
            raise _Refused(HTTPStatus.SERVICE_UNAVAILABLE, BodyRefusal.MEMORY_FULL, "too many bodies at once")
        self._held_bytes += len(chunk)
        chunks.append(chunk)


def webhook_app(
    accepting: Mapping[str, Accept],
    *,
    observe: Callable[[Handled, float], None],
    limits: WebhookLimits,
    networks: Sequence[Network] = (),
) -> web.Application:
    """Make the application that takes webhooks by POST under each of these paths, and nothing else.

    `observe` hears of each request and the seconds it took. `networks` lists the addresses that may send, as the
    TCP connection shows them (behind a proxy: the proxy's); empty means everybody.
    """
    app = web.Application(client_max_size=limits.body_bytes_max)
    # One handler for whatever comes, so that what is sent to a wrong path is counted too.
    app.router.add_route("*", "/{path:.*}", _WebhookRoutes(accepting, observe, limits, networks).answer)
    return app


def ops_app(
    *,
    is_alive: Callable[[], bool],
    unready: Callable[[], Iterable[str]],
    degraded: Callable[[], Iterable[str]],
    holding: Callable[[], Mapping[str, Sequence[str]]],
    metrics: Callable[[], tuple[bytes, str]],
) -> web.Application:
    """Make the application of the operations port: /livez, /readyz, /healthz and /metrics.

    `unready` names what this process lacks before work can be done (nothing: ready), `degraded` what outside of it
    keeps some of the work from being done. `holding` names what holds calls back right now, for each provider profile
    of which any are. Both are told with readiness and change nothing of it: others would be as badly off, and what
    goes on must not end. `metrics` gives the exposition and its content type.
    """

    async def livez(_: web.Request) -> web.Response:
        return _health(() if is_alive() else STUCK)

    async def readyz(_: web.Request) -> web.Response:
        missing = (*(() if is_alive() else STUCK), *unready())
        return _health(missing, tuple(degraded()), holding=holding())

    async def exposition(_: web.Request) -> web.Response:
        body, content_type = metrics()
        return web.Response(body=body, headers={"Content-Type": content_type})

    app = web.Application()
    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/healthz", readyz)
    app.router.add_get("/metrics", exposition)
    return app


def _health(
    missing: tuple[str, ...], degraded: tuple[str, ...] = (), *, holding: Mapping[str, Sequence[str]] | None = None
) -> web.Response:
    word = Health.UNAVAILABLE if missing else Health.DEGRADED if degraded else Health.OK
    reasons = {} if word is Health.OK else {"reasons": (*missing, *degraded)}
    held = {} if holding is None else {"holding": holding}
    status = HTTPStatus.SERVICE_UNAVAILABLE if missing else HTTPStatus.OK
    return web.json_response({"status": word, **reasons, **held}, status=status)


def _answer(handled: Handled, retry_after_s: int) -> web.Response:
    if handled.status == HTTPStatus.ACCEPTED:
        return web.Response(status=HTTPStatus.ACCEPTED)
    problem = {
        "type": "about:blank",
        "title": handled.status.phrase,
        "status": handled.status.value,
        "detail": handled.detail,
        "reason": str(handled.reason),
    }
    response = web.Response(
        status=handled.status,
        body=json.dumps(problem).encode(),
        headers={"Content-Type": "application/problem+json"},
    )
    if handled.status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(retry_after_s)
    if handled.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = f'{SIGNATURE_HEADER} alg="RS256"'  # RFC 9110, 15.5.2 wants one.
    if handled.status == HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["Allow"] = "POST"
    if handled.status not in KEEP_OPEN:
        response.force_close()  # The rest of the body is still to come, and nobody wants it.
    return response
