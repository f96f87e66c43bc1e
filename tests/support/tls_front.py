"""TLS before a server that speaks none: each connection is decrypted and passed on; the certificate may change."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import trustme

from tests.support.in_thread import in_thread
from tests.support.pumping import passed_both_ways


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

    async def listen(self) -> asyncio.Server:
        """Take connections from now on."""
        server = await asyncio.start_server(self._pass, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.close()
            return
        await passed_both_ways((reader, writer), (back, forth))


@contextmanager
def tls_front(target_port: int, leaf: trustme.LeafCert) -> Iterator[TlsFront]:
    """Serve TLS before a port of this machine, in a thread, while the block runs."""
    front = TlsFront(target_port, leaf)
    with in_thread(front.listen, "tls-front"):
        yield front
