"""TLS before a server that speaks none: each connection is decrypted and passed on; the certificate may change."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import trustme

PIECE_BYTES = 65_536


class TlsFront:
    """Made by `tls_front`; `connections` counts the handshakes since the certificate was last changed."""

    def __init__(self, target_port: int, leaf: trustme.LeafCert) -> None:
        self.port = 0
        self.connections = 0
        self._target_port = target_port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.show(leaf)

    @property
    def url(self) -> str:
        """Its address."""
        return f"https://127.0.0.1:{self.port}"

    def show(self, leaf: trustme.LeafCert) -> None:
        """Show this certificate to whoever connects from now on; open connections stay."""
        leaf.configure_cert(self._context)
        self.connections = 0

    async def serve(self, is_ready: threading.Event) -> None:
        """Serve until cancelled."""
        server = await asyncio.start_server(self._pass, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        is_ready.set()
        async with server:
            await server.serve_forever()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.close()
            return
        ways = [asyncio.create_task(_pump(reader, forth)), asyncio.create_task(_pump(back, writer))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        for end in (writer, forth):
            end.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()


@contextmanager
def tls_front(target_port: int, leaf: trustme.LeafCert) -> Iterator[TlsFront]:
    """Serve TLS before a port of this machine, in a thread, while the block runs."""
    front, is_ready = TlsFront(target_port, leaf), threading.Event()
    loop = asyncio.new_event_loop()
    serving = loop.create_task(front.serve(is_ready))

    def run() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(serving)

    thread = threading.Thread(target=run, name="tls-front", daemon=True)
    thread.start()
    assert is_ready.wait(10), "it listens at once"
    try:
        yield front
    finally:
        loop.call_soon_threadsafe(serving.cancel)
        thread.join(10)
