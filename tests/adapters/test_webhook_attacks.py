"""What attackers send over the wire: framing tricks, wrong paths and methods, heads without end. None gets in."""

import asyncio
import json
import re
from http import HTTPStatus

import pytest

from processor.adapters.web_listener import ListenerLimits
from processor.adapters.webserver import BodyRefusal
from tests.adapters.webhook_support import (
    BODY,
    LIMITS,
    FakeIngestor,
    exchange,
    private_key,
    request_bytes,
    serving,
    sign,
)

LISTENER = ListenerLimits(keepalive_timeout_s=1.0, linger_s=0.02, connections_max=64, drain_s=0.5)
GENUINE = request_bytes()
SIGNATURE = f"JWS-SIGNATURE: {sign()}"


def _request(*lines: str, body: bytes = b"", first: str = "POST /webhooks HTTP/1.1") -> bytes:
    return "\r\n".join([first, "Host: a", *lines, "", ""]).encode("latin-1") + body


def _chunked(body: bytes, size: bytes | None = None) -> bytes:
    return (b"%x" % len(body) if size is None else size) + b"\r\n" + body + b"\r\n0\r\n\r\n"


async def _statuses(ingestor: FakeIngestor, sent: bytes) -> list[int]:
    """Send bytes and give the status of every answer until the other side hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", ingestor.port)
    writer.write(sent)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] ([1-5]\d\d) ", answer)]


LENGTH = f"Content-Length: {len(BODY)}"
CHUNKED = "Transfer-Encoding: chunked"
INNER = len(GENUINE)

# What a proxy and we might frame differently. Behind each stands a genuine request that must not be taken as a second
# one, and the outer one is not believed: its bytes are nobody's.
SMUGGLED = {
    "length and chunks": _request(LENGTH, CHUNKED, body=b"0\r\n\r\n" + GENUINE),
    "chunks and length": _request(CHUNKED, "Content-Length: 5", body=b"0\r\n\r\n" + GENUINE),
    "two lengths": _request("Content-Length: 0", f"Content-Length: {INNER}", body=GENUINE),
    "a list of lengths": _request(f"Content-Length: 0, {INNER}", body=GENUINE),
    "a length with a sign": _request("Content-Length: +0", body=GENUINE),
    "a negative length": _request("Content-Length: -1", body=GENUINE),
    "a hexadecimal length": _request("Content-Length: 0x0", body=GENUINE),
    "a length that is no number": _request("Content-Length: zero", body=GENUINE),
    "a length beyond all numbers": _request("Content-Length: " + "9" * 40, body=GENUINE),
    "chunks, misspelt": _request("Transfer-Encoding: xchunked", body=_chunked(GENUINE)),
    "chunks are not last": _request("Transfer-Encoding: chunked, identity", body=_chunked(GENUINE)),
    "chunks twice": _request(CHUNKED, CHUNKED, body=b"0\r\n\r\n" + GENUINE),
    "a blank before the colon": _request("Transfer-Encoding : chunked", body=b"0\r\n\r\n" + GENUINE),
    "a folded header": _request("Transfer-Encoding:\r\n chunked", LENGTH, body=b"0\r\n\r\n" + GENUINE),
    "a chunk size with a sign": _request(CHUNKED, body=_chunked(b"", b"+0") + GENUINE),
    "a chunk size beyond all numbers": _request(CHUNKED, body=_chunked(b"x", b"f" * 40) + GENUINE),
    "a chunk that is longer than it says": _request(CHUNKED, body=b"1\r\nxx\r\n0\r\n\r\n" + GENUINE),
    "a request inside a body": _request(f"Content-Length: {INNER}", body=GENUINE),
    "a request inside a chunk": _request(CHUNKED, body=_chunked(GENUINE)),
    "a request behind a giant": _request("Content-Length: 999999999", body=GENUINE),
    "a request behind a wrong path": _request(
        f"Content-Length: {INNER}", body=GENUINE, first="POST /elsewhere HTTP/1.1"
    ),
    "a body with GET": _request(f"Content-Length: {INNER}", body=GENUINE, first="GET /webhooks HTTP/1.1"),
    "a line feed alone": GENUINE.replace(b"\r\n", b"\n", 1).replace(SIGNATURE.encode(), b"X: y"),
    "a NUL in a header": _request("X: a\x00b", LENGTH, SIGNATURE, body=BODY),
    "a carriage return in a header": _request(f"X: a\r{SIGNATURE}", LENGTH, body=BODY),
    "no version": b"POST /webhooks\r\n\r\n" + GENUINE,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + GENUINE,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + GENUINE,
}


@pytest.mark.parametrize("name", SMUGGLED)
async def test_no_request_is_smuggled(name: str) -> None:
    """Ambiguous framing is refused and the connection ends; nothing inside it is taken as a request of its own."""
    async with serving(LIMITS, LISTENER) as ingestor:
        statuses = await _statuses(ingestor, SMUGGLED[name])
        assert statuses
        assert set(statuses) <= {400, 401, 404, 405, 413}, statuses
        assert ingestor.published == []
        assert (await exchange(ingestor.port, GENUINE))[0] == 202


OVERSIZED = {
    "a signature of 9 KiB": _request(f"JWS-SIGNATURE: {'A' * 9_000}", LENGTH, body=BODY),
    "a header of 100 KiB": _request(f"X: {'A' * 100_000}", LENGTH, body=BODY),
    "a path of 9 KiB": _request(LENGTH, SIGNATURE, body=BODY, first=f"POST /{'a' * 9_000} HTTP/1.1"),
    "a query of 9 KiB": _request(LENGTH, SIGNATURE, body=BODY, first=f"POST /webhooks?{'a' * 9_000} HTTP/1.1"),
    "ten thousand headers": _request(*("X: y" for _ in range(10_000)), LENGTH, body=BODY),
}


@pytest.mark.parametrize("name", OVERSIZED)
async def test_an_oversized_head_is_refused(name: str) -> None:
    """Heads have their bounds before anything in them is looked at."""
    async with serving(LIMITS, LISTENER) as ingestor:
        assert (await _statuses(ingestor, OVERSIZED[name]))[:1] in ([400], [401])
        assert ingestor.published == []


@pytest.mark.parametrize(
    "first, status, reason",
    [
        ("GET /webhooks HTTP/1.1", 405, BodyRefusal.METHOD_REFUSED),
        ("HEAD /webhooks HTTP/1.1", 405, BodyRefusal.METHOD_REFUSED),
        ("PUT /webhooks HTTP/1.1", 405, BodyRefusal.METHOD_REFUSED),
        ("DELETE /webhooks HTTP/1.1", 405, BodyRefusal.METHOD_REFUSED),
        ("OPTIONS /webhooks HTTP/1.1", 405, BodyRefusal.METHOD_REFUSED),
        ("TRACE /webhooks HTTP/1.1", 405, BodyRefusal.METHOD_REFUSED),
        ("POST / HTTP/1.1", 404, BodyRefusal.PATH_UNKNOWN),
        ("POST /webhooks/ HTTP/1.1", 404, BodyRefusal.PATH_UNKNOWN),
        ("POST //webhooks HTTP/1.1", 404, BodyRefusal.PATH_UNKNOWN),
        ("POST /webhooks/third HTTP/1.1", 404, BodyRefusal.PATH_UNKNOWN),
        ("POST /webhooks/default HTTP/1.1", 404, BodyRefusal.PATH_UNKNOWN),
        ("POST /webhooks/second/ HTTP/1.1", 404, BodyRefusal.PATH_UNKNOWN),
        ("POST /WEBHOOKS HTTP/1.1", 404, BodyRefusal.PATH_UNKNOWN),
        ("POST /webhooks%00 HTTP/1.1", 404, BodyRefusal.PATH_UNKNOWN),
        ("GET /metrics HTTP/1.1", 404, BodyRefusal.PATH_UNKNOWN),
        ("GET /readyz HTTP/1.1", 404, BodyRefusal.PATH_UNKNOWN),
    ],
)
async def test_there_is_nothing_but_the_routes(first: str, status: int, reason: str) -> None:
    """Another path or method is refused, genuine or not, and counted: a wrong address at the provider must be seen."""
    async with serving(LIMITS, LISTENER) as ingestor:
        assert await _statuses(ingestor, _request(LENGTH, SIGNATURE, body=BODY, first=first)) == [status]
        assert [handled.reason for handled in ingestor.handled] == [reason]
        assert (ingestor.published, ingestor.set_aside) == ([], [])


@pytest.mark.parametrize("target", ["/webhooks?kid=x", "http://elsewhere/webhooks", "/webhooks#part"])
async def test_what_stands_around_the_path_changes_nothing(target: str) -> None:
    """A query, a host or a fragment is no part of the path."""
    async with serving(LIMITS, LISTENER) as ingestor:
        sent = _request(LENGTH, SIGNATURE, body=BODY, first=f"POST {target} HTTP/1.1")
        assert await _statuses(ingestor, sent) == [202]


async def test_each_profile_has_a_path_of_its_own() -> None:
    """What comes under a profile's path is of that profile; paths share connections and limits, nothing else."""
    async with serving(LIMITS, LISTENER) as ingestor:
        for path in ("/webhooks", "/webhooks/second"):
            assert (await exchange(ingestor.port, request_bytes(path=path)))[0] == 202
        assert ingestor.providers == ["default", "second"]
        assert [handled.provider for handled in ingestor.handled] == ["default", "second"]
        forged = request_bytes(path="/webhooks/second", signature=sign(key=private_key("attacker")))
        assert (await exchange(ingestor.port, forged))[0] == 401


async def test_a_client_that_waits_for_leave_gets_it() -> None:
    """`Expect: 100-continue` is answered before the body, whatever the body will be."""
    async with serving(LIMITS, LISTENER) as ingestor:
        sent = _request("Expect: 100-continue", LENGTH, SIGNATURE, body=BODY)
        assert await _statuses(ingestor, sent) == [100, 202]
        odd = _request("Expect: the unexpected", LENGTH, SIGNATURE, body=BODY)
        assert (await _statuses(ingestor, odd))[0] in {202, 417}


async def test_a_refusal_says_what_and_no_more() -> None:
    """A problem document with a word of a closed list, and no echo of what was sent."""
    async with serving(LIMITS, LISTENER) as ingestor:
        sent = _request(LENGTH, body=BODY, first="POST /canary-4711 HTTP/1.1")
        status, _, body = await exchange(ingestor.port, sent)
        problem = json.loads(body)
        assert (status, problem["reason"]) == (HTTPStatus.NOT_FOUND, BodyRefusal.PATH_UNKNOWN)
        assert b"canary" not in body
