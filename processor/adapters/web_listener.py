"""A listening socket for an aiohttp application, with a bound on everything a stranger can hold open.

Mind aiohttp's defaults: it keeps a silent connection, and one that sent half a request head, for an hour, and
it decompresses bodies, which changes the bytes that a signature covers.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Final, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

REFUSAL: Final = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """What connections may cost.

    aiohttp has one clock for silence between requests and for a request head that does not end:
    `keepalive_timeout_s`, counted from the connection's begin or its last answer.
    """

    keepalive_timeout_s: float = 30.0
    linger_s: float = 1.0  # How long the rest of a refused body is read and dropped, so that the answer is seen.
    connections_max: int = 2_048
    backlog: int = 512
    drain_s: float = 10.0  # How long a stop waits for requests that were taken in; longer than one may take.
    head_line_bytes_max: int = 8_190


class WebListener:
    """Serves one application on one address until stopped."""

    def __init__(self, app: web.Application, limits: ListenerLimits) -> None:
        self._app = app
        self._limits = limits
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen, and say on which port (another than asked for only when that was 0).

        Raises:
            OSError: the address cannot be had.

        """
        limits = self._limits
        self._runner = web.AppRunner(
            self._app,
            access_log=None,
            logger=_web_log(),
            auto_decompress=False,
            keepalive_timeout=limits.keepalive_timeout_s,
            lingering_time=limits.linger_s,
            max_line_size=limits.head_line_bytes_max,
            max_field_size=limits.head_line_bytes_max,
            shutdown_timeout=limits.drain_s,
        )
        await self._runner.setup()
        site = _BoundedSite(self._runner, host, port, limits)
        await site.start()
        return site.port

    async def stop(self) -> None:
        """Take no new connections, let open requests end within `drain_s`, and close all."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()


class _BoundedSite(web.BaseSite):
    """As aiohttp's `TCPSite`, but one connection too many gets a short answer and no memory."""

    def __init__(self, runner: web.AppRunner, host: str, port: int, limits: ListenerLimits) -> None:
        super().__init__(runner, backlog=limits.backlog)
        self._host = host
        self.port = port
        self._connections_max = limits.connections_max

    @property
    def name(self) -> str:
        return f"http://{self._host}:{self.port}"

    async def start(self) -> None:
        await super().start()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, self._host, self.port, backlog=self._backlog)
        self.port = self._server.sockets[0].getsockname()[1]

    def _protocol(self) -> asyncio.Protocol:
        server = self._runner.server
        if server is None or len(server.connections) >= self._connections_max:
            return _Refuse()
        return server()


class _Refuse(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        connection = cast("asyncio.Transport", transport)  # uvloop's are no instances of it.
        connection.write(REFUSAL)
        connection.close()


def _web_log() -> logging.Logger:
    """Give aiohttp a logger that says nothing about what strangers send: malformed HTTP is theirs, not ours."""
    log = logging.getLogger("processor.web")
    if _is_ours not in log.filters:
        log.addFilter(_is_ours)
    return log


def _is_ours(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)
