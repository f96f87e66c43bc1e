"""An HTTP proxy as stands before the internet: tunnels, requests in absolute form, a list of hosts, a password."""

import asyncio
import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from tests.support.in_thread import in_thread
from tests.support.pumping import passed_both_ways

OPENED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class EgressProxy:
    """Passes on to the hosts that it knows; `asked` holds the head of every request that it read.

    `hosts` are the names with ports that it serves, and the port of this machine that each stands for.
    """

    def __init__(self, hosts: Mapping[str, int], credentials: tuple[str, str] | None = None) -> None:
        self.port = 0
        self.asked: list[bytes] = []
        self.credentials = credentials
        self._hosts = hosts

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    async def listen(self) -> asyncio.Server:
        """Take connections from now on."""
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.asked.append(head)
            await self._serve(head, reader, writer)
        writer.close()

    async def _serve(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, target = head.split(b" ", 2)[:2]
        is_tunnel = method == b"CONNECT"
        place = target.decode() if is_tunnel else _place(target.decode())
        if not self._is_known(head):
            await _refuse(writer, b"407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=egress")
        elif place not in self._hosts:
            await _refuse(writer, b"403 Forbidden")
        else:
            try:
                back, forth = await asyncio.open_connection("127.0.0.1", self._hosts[place])
            except OSError:
                await _refuse(writer, b"502 Bad Gateway")
                return
            writer.write(OPENED if is_tunnel else b"")
            forth.write(b"" if is_tunnel else _in_origin_form(head))
            await passed_both_ways((reader, writer), (back, forth))

    def _is_known(self, head: bytes) -> bool:
        if self.credentials is None:
            return True
        expected = base64.b64encode(":".join(self.credentials).encode())
        return b"proxy-authorization: basic " + expected.lower() in head.lower() and expected in head


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 80}"


def _in_origin_form(head: bytes) -> bytes:
    """Return the head that the server gets (RFC 9112, 3.2.1): nothing for the proxy, and one request a connection."""
    first, *rest = head.split(b"\r\n")
    method, url, version = first.split(b" ")
    parts = urlsplit(url)
    path = parts.path + (b"?" + parts.query if parts.query else b"")
    kept = [line for line in rest if not line.lower().startswith((b"proxy-", b"connection:"))]
    return b"\r\n".join((b" ".join((method, path, version)), b"Connection: close", *kept))


async def _refuse(writer: asyncio.StreamWriter, status: bytes) -> None:
    writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
    await writer.drain()


@contextmanager
def egress_proxy(hosts: Mapping[str, int], credentials: tuple[str, str] | None = None) -> Iterator[EgressProxy]:
    """Run one in a thread while the block runs."""
    proxy = EgressProxy(hosts, credentials)
    with in_thread(proxy.listen, "egress-proxy"):
        yield proxy
