"""A raw-socket HTTP server that misbehaves as told, and counts every request that it read to its end."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field

Behaviour = Callable[["Exchange"], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class Exchange:
    """One connection, as a behaviour sees it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    server: "FaultyServer"

    async def read_request(self) -> bytes:
        """Read one request with its body and note it; raises `IncompleteReadError` at the end of the connection."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if line)
        body = await self.reader.readexactly(int(fields.get(b"content-length", b"0")))
        self.server.requests.append(head + body)
        return body

    async def write(self, data: bytes) -> None:
        """Write and wait until the kernel took it."""
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass
class FaultyServer:
    """Where it listens and what it saw."""

    port: int = 0
    scheme: str = "http"
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    @property
    def origin(self) -> str:
        """A URL without a path."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """A URL with a path that a log must not show."""
        return f"{self.origin}/secret-path?token=secret-token"


@contextlib.asynccontextmanager
async def serving(behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncIterator[FaultyServer]:
    """Serve each connection with `behaviour`, which ends when the client leaves; the connection is closed after it."""
    server = FaultyServer(scheme="http" if tls is None else "https")
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            await behaviour(Exchange(reader, writer, server))
        tasks.discard(task)
        with contextlib.suppress(OSError):
            writer.close()

    listener = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """Yield the URL of a port that answers no SYN: its backlog is full, and the kernel drops what comes on top."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            filler = sockets.enter_context(socket.socket())
            filler.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


def answer(data: bytes) -> Behaviour:
    """Read one request, write these bytes, close."""

    async def behave(exchange: Exchange) -> None:
        await exchange.read_request()
        await exchange.write(data)

    return behave


def keep_answering(data: bytes = OK) -> Behaviour:
    """Answer every request of a connection with these bytes."""

    async def behave(exchange: Exchange) -> None:
        while True:
            await exchange.read_request()
            await exchange.write(data)

    return behave


def drip(head: bytes, tail: bytes, every_s: float) -> Behaviour:
    """Answer with `head` at once, then one byte of `tail` after another."""

    async def behave(exchange: Exchange) -> None:
        await exchange.read_request()
        await exchange.write(head)
        for byte in tail:
            await asyncio.sleep(every_s)
            await exchange.write(bytes([byte]))

    return behave


async def read_then_hang_up(exchange: Exchange) -> None:
    """Read the whole request, then close without a word."""
    await exchange.read_request()


async def read_then_reset(exchange: Exchange) -> None:
    """Read the whole request, then reset the connection."""
    await exchange.read_request()
    exchange.reset()


async def reset_while_reading(exchange: Exchange) -> None:
    """Read the beginning of a request, then reset the connection."""
    await exchange.reader.read(1)
    exchange.reset()


async def hang_up(exchange: Exchange) -> None:
    """Close at once, reading nothing."""
    exchange.writer.close()


async def read_then_say_nothing(exchange: Exchange) -> None:
    """Read the whole request and never answer."""
    await exchange.read_request()
    await exchange.reader.read()


async def say_nothing(exchange: Exchange) -> None:
    """Accept and do nothing while the connection lasts."""
    await asyncio.sleep(3600)
    exchange.writer.close()
