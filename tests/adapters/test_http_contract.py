"""The contract of the HTTP port: every adapter, over real sockets, against a server that misbehaves."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import trustme
from pyreqwest.exceptions import (
    BodyDecodeError,
    BuilderError,
    ConnectError,
    ConnectTimeoutError,
    DetailedPyreqwestError,
    ReadTimeoutError,
    RequestPanicError,
)

from processor.adapters.http import HttpAnswer, HttpClient, HttpFailure, HttpRequest, HttpSettings, Reason, Sent
from processor.adapters.http_pyreqwest import reason_in
from tests.adapters.faulty_server import (
    OK,
    Behaviour,
    Exchange,
    answer,
    black_hole,
    drip,
    hang_up,
    keep_answering,
    read_then_hang_up,
    read_then_reset,
    read_then_say_nothing,
    say_nothing,
    serving,
)
from tests.adapters.http_adapters import ADAPTERS, LONG_S, SHORT_S, Build, post
from tests.support.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONNECT_S = 1.5  # A stall of a busy machine must not look like a host that does not answer.
BODY_BYTES_MAX = 1024 * 1024


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ADAPTERS)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[HttpClient]:
    """Build each adapter once, for all tests: no failure of one may spoil the next."""
    built = ADAPTERS[request.param](HttpSettings(connect_timeout_s=CONNECT_S, body_bytes_max=BODY_BYTES_MAX))
    yield built
    await built.close()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ANSWERS: dict[str, tuple[bytes, int, bytes]] = {
    "json": (OK, 200, b"{}"),
    "chunked": (CHUNKED + b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", 200, b"{}"),
    "until it closes": (b"HTTP/1.0 200 OK\r\n\r\n{}", 200, b"{}"),
    "no body": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "redirect": (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 302, b""),
    "redirect that would repeat": (b"HTTP/1.1 307 Go\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n", 307, b""),
    "server error": (b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno", 503, b"no"),
    "status nobody knows": (b"HTTP/1.1 599 Odd\r\nContent-Length: 2\r\n\r\nno", 599, b"no"),
    "continue, then the answer": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"{}"),
    "early hints, then the answer": (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 3 + OK, 200, b"{}"),
    "named identity": (OK.replace(b"\r\n\r\n", b"\r\nContent-Encoding: identity\r\n\r\n"), 200, b"{}"),
    "header that is not ASCII": (OK.replace(b"\r\n\r\n", b"\r\nX-Odd: \xe9\xff\r\n\r\n"), 200, b"{}"),
    "as large as allowed": (b"HTTP/1.0 200 OK\r\n\r\n" + b"a" * BODY_BYTES_MAX, 200, b"a" * BODY_BYTES_MAX),
}


@pytest.mark.parametrize("case", ANSWERS)
async def test_a_complete_answer_of_any_status_is_an_answer(client: HttpClient, case: str) -> None:
    """No status is an error here, and no redirect is followed."""
    sent, status, body = ANSWERS[case]
    async with serving(answer(sent)) as server:
        told = await client.send(post(server.url))
        assert isinstance(told, HttpAnswer)
        assert (told.status, told.body) == (status, body)
        assert len(server.requests) == 1


async def test_only_the_headers_that_are_read_come_back(client: HttpClient) -> None:
    """Names are in lower case; one that is not ASCII counts as absent."""
    head = OK.replace(b"\r\n\r\n", b"\r\nRetry-After: 7\r\nX-Other: 1\r\n\r\n")
    async with serving(answer(head)) as server:
        told = await client.send(post(server.url))
    assert isinstance(told, HttpAnswer)
    assert told.headers == {"content-type": "application/json", "retry-after": "7"}
    async with serving(answer(OK.replace(b"\r\n\r\n", b"\r\nRetry-After: \xff\r\n\r\n"))) as server:
        told = await client.send(post(server.url))
    assert isinstance(told, HttpAnswer)
    assert told.headers == {"content-type": "application/json"}


async def test_a_request_leaves_as_it_was_given(client: HttpClient) -> None:
    """The body is the bytes given, the headers are there, no encoding is asked for, and a GET has no body."""
    async with serving(keep_answering()) as server:
        await client.send(
            HttpRequest("POST", server.url, (("Authorization", "Bearer t"), ("X-A", "1")), b"\x00\xff", 5.0)
        )
        await client.send(HttpRequest("GET", server.url, (), None, 5.0))
    posted, got = (request.lower() for request in server.requests)
    assert posted.startswith(b"post /secret-path?token=secret-token http/1.1\r\n")
    assert posted.endswith(b"\r\n\r\n\x00\xff")
    for line in (b"authorization: bearer t", b"x-a: 1", b"accept-encoding: identity", b"content-length: 2"):
        assert line in posted.split(b"\r\n")
    assert got.startswith(b"get ")
    assert got.endswith(b"\r\n\r\n")
    assert b"content-length" not in got


async def test_a_cookie_is_not_kept(client: HttpClient) -> None:
    """A session of the server's would tie requests together."""
    async with serving(keep_answering(OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: s=1; Path=/\r\n\r\n"))) as server:
        await client.send(post(server.url))
        await client.send(post(server.url))
    assert len(server.requests) == 2
    assert not any(b"cookie" in request.lower() for request in server.requests)


async def test_a_refused_connection_was_not_sent(client: HttpClient) -> None:
    """Nobody listens there."""
    told = await client.send(post(f"http://127.0.0.1:{free_port()}/"))
    assert told == HttpFailure(Reason.CONNECT)
    assert told.sent is Sent.NOT_SENT


async def test_a_name_that_is_not_resolved_was_not_sent(client: HttpClient) -> None:
    """RFC 6761 keeps .invalid free for ever; where no name server answers, the connect time-out comes first."""
    told = await client.send(post("http://nobody.invalid/"))
    assert told in {HttpFailure(Reason.DNS), HttpFailure(Reason.CONNECT_TIMEOUT)}


async def test_a_connection_that_never_stands_was_not_sent(client: HttpClient) -> None:
    """The connect time-out proves it, where the deadline would prove nothing."""
    with black_hole() as url:
        told = await client.send(post(url))
        assert told == HttpFailure(Reason.CONNECT_TIMEOUT)
        assert told.sent is Sent.NOT_SENT
        assert await client.send(post(url, deadline_s=SHORT_S / 3)) == HttpFailure(Reason.TIMEOUT)


async def test_a_handshake_that_never_ends_was_not_sent(client: HttpClient) -> None:
    """The connect time-out includes TLS."""
    async with serving(say_nothing) as server:
        told = await client.send(post(f"https://127.0.0.1:{server.port}/"))
    assert told == HttpFailure(Reason.CONNECT_TIMEOUT)


async def test_tls_to_a_server_without_it_was_not_sent(client: HttpClient) -> None:
    """It answers the handshake with something else."""

    async def behave(exchange: Exchange) -> None:
        await exchange.reader.read(1)
        await exchange.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(behave) as server:
        told = await client.send(post(f"https://127.0.0.1:{server.port}/"))
    assert isinstance(told, HttpFailure)
    assert told.sent is Sent.NOT_SENT
    assert told.reason is Reason.TLS


async def test_an_untrusted_certificate_was_not_sent(build: Build, tmp_path: Path) -> None:
    """Verification is always on; the authority of the CA file is trusted, beside others in the same file."""
    ours, other = trustme.CA(), trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.issue_cert("127.0.0.1").configure_cert(tls)
    pem = tmp_path / "ca.pem"
    pem.write_bytes(other.cert_pem.bytes() + ours.cert_pem.bytes())
    async with serving(keep_answering(), tls) as server:
        stranger, friend = build(HttpSettings()), build(HttpSettings(ca_file=str(pem)))
        told = await stranger.send(post(server.url))
        assert told == HttpFailure(Reason.TLS)
        assert told.sent is Sent.NOT_SENT
        assert server.requests == []
        assert isinstance(await friend.send(post(server.url)), HttpAnswer)
        assert len(server.requests) == 1
        await stranger.close()
        await friend.close()


INVALID: dict[str, tuple[str, str, tuple[str, str]]] = {
    "no url": ("POST", "nonsense", ("x-a", "1")),
    "scheme": ("POST", "ftp://127.0.0.1/", ("x-a", "1")),
    "line break": ("POST", "", ("x-a", "1\r\nx-b: 2")),
    "header name": ("POST", "", ("x a", "1")),
    "method": ("PO ST", "", ("x-a", "1")),
}


@pytest.mark.parametrize("case", INVALID)
async def test_what_is_no_http_is_not_sent(client: HttpClient, case: str) -> None:
    """A header with a line break could smuggle a second request."""
    method, url, header = INVALID[case]
    async with serving(keep_answering()) as server:
        told = await client.send(HttpRequest(method, url or server.url, (header,), b"", LONG_S))
    assert told == HttpFailure(Reason.INVALID_REQUEST)
    assert told.sent is Sent.NOT_SENT
    assert server.requests == []


async def test_a_closed_client_sends_nothing(build: Build) -> None:
    """Closing twice does no harm."""
    closed = build(HttpSettings())
    await closed.close()
    await closed.close()
    async with serving(keep_answering()) as server:
        assert await closed.send(post(server.url)) == HttpFailure(Reason.CLOSED)
    assert server.connections == 0


GZIP_BOMB = gzip.compress(b"\0" * (32 * BODY_BYTES_MAX))
UNKNOWN: dict[str, tuple[Behaviour, set[Reason]]] = {
    "read all, hung up": (read_then_hang_up, {Reason.DISCONNECTED}),
    "read all, reset": (read_then_reset, {Reason.DISCONNECTED}),
    "hung up at once": (hang_up, {Reason.DISCONNECTED}),
    "half a status line": (answer(b"HTTP/1.1 2"), {Reason.DISCONNECTED}),
    "half a head": (answer(b"HTTP/1.1 200 OK\r\nContent-"), {Reason.DISCONNECTED}),
    "continue, then nothing": (answer(b"HTTP/1.1 100 Continue\r\n\r\n"), {Reason.DISCONNECTED}),
    "malformed header": (answer(b"HTTP/1.1 200 OK\r\nbro ken\r\n\r\n"), {Reason.MALFORMED}),
    "two lengths": (
        answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} "),
        {Reason.MALFORMED},
    ),
    "not HTTP": (answer(b"SSH-2.0-OpenSSH_9.6\r\n"), {Reason.MALFORMED, Reason.DISCONNECTED}),
    "huge header": (answer(b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * BODY_BYTES_MAX + b"\r\n\r\n"), {Reason.MALFORMED}),
    "headers without end": (answer(b"HTTP/1.1 200 OK\r\n" + b"X-A: a\r\n" * 200_000), {Reason.MALFORMED}),
    "shorter than said": (answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"), {Reason.TRUNCATED}),
    "chunk cut": (answer(CHUNKED + b"5\r\n{}"), {Reason.TRUNCATED}),
    "last chunk missing": (answer(CHUNKED + b"2\r\n{}\r\n"), {Reason.TRUNCATED}),
    "chunk without size": (answer(CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n"), {Reason.MALFORMED}),
    "body too large": (answer(b"HTTP/1.0 200 OK\r\n\r\n" + b"a" * (BODY_BYTES_MAX + 1)), {Reason.TOO_LARGE}),
    "said too large": (
        answer(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"a" * (2 * BODY_BYTES_MAX)),
        {Reason.TOO_LARGE, Reason.TRUNCATED},
    ),
    "gzip bomb": (
        answer(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(GZIP_BOMB) + GZIP_BOMB),
        {Reason.MALFORMED},
    ),
}


@pytest.mark.parametrize("case", UNKNOWN)
async def test_once_connected_no_failure_proves_anything(client: HttpClient, case: str) -> None:
    """The server may have executed what it read, so none of these may be repeated blindly."""
    behaviour, reasons = UNKNOWN[case]
    async with serving(behaviour) as server:
        told = await client.send(post(server.url))
        assert isinstance(told, HttpFailure)
        assert told.sent is Sent.UNKNOWN
        assert told.reason in reasons
        assert len(server.requests) <= 1
        assert server.connections == 1


async def test_a_server_that_wants_a_certificate_of_ours_proves_nothing(build: Build, tmp_path: Path) -> None:
    """TLS 1.3 refuses a client only after the client's handshake is done, when the request may be on its way."""
    ours = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.verify_mode = ssl.CERT_REQUIRED
    ours.configure_trust(tls)
    ours.issue_cert("127.0.0.1").configure_cert(tls)
    ours.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    client = build(HttpSettings(ca_file=str(tmp_path / "ca.pem")))
    async with serving(keep_answering(), tls) as server:
        told = await client.send(post(server.url))
    assert told == HttpFailure(Reason.DISCONNECTED)
    assert told.sent is Sent.UNKNOWN
    await client.close()


async def test_reset_in_the_middle_of_a_body_is_truncated(client: HttpClient) -> None:
    """The status came, the rest is lost."""

    async def behave(exchange: Exchange) -> None:
        await exchange.read_request()
        await exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")
        await asyncio.sleep(0.02)
        exchange.reset()

    async with serving(behave) as server:
        assert await client.send(post(server.url)) == HttpFailure(Reason.TRUNCATED)


SLOW: dict[str, Behaviour] = {
    "never answers": read_then_say_nothing,
    "never reads": say_nothing,
    "status line by bytes": drip(b"", OK, 0.03),
    "body by bytes": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", b"a" * 99, 0.03),
    "continues for ever": drip(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 99, 0.001),
}


async def test_the_deadline_is_total(client: HttpClient) -> None:
    """A byte now and then does not extend it, and what it cuts off is unknown."""
    loop = asyncio.get_running_loop()

    async def told_by(behaviour: Behaviour) -> tuple[HttpAnswer | HttpFailure, float]:
        async with serving(behaviour) as server:
            started = loop.time()
            return await client.send(post(server.url, deadline_s=SHORT_S)), loop.time() - started

    told = dict(zip(SLOW, await asyncio.gather(*map(told_by, SLOW.values())), strict=True))
    assert {case: failure for case, (failure, _) in told.items()} == dict.fromkeys(SLOW, HttpFailure(Reason.TIMEOUT))
    assert all(SHORT_S * 0.9 <= took_s < SHORT_S + 1.0 for _, took_s in told.values())
    assert HttpFailure(Reason.TIMEOUT).sent is Sent.UNKNOWN


CONNECT, SEND = "client error (Connect)", "client error (SendRequest)"
CAUSES: tuple[tuple[type[DetailedPyreqwestError], tuple[str, ...], Reason], ...] = (
    (ConnectError, (CONNECT, "tcp connect error", "Connection refused (os error 111)"), Reason.CONNECT),
    (ConnectError, (CONNECT, "dns error"), Reason.DNS),
    (ConnectError, (CONNECT, "invalid peer certificate: UnknownIssuer"), Reason.TLS),
    (ConnectTimeoutError, (CONNECT, "operation timed out"), Reason.CONNECT_TIMEOUT),
    (ConnectTimeoutError, ("operation timed out",), Reason.TIMEOUT),
    (ConnectTimeoutError, (f"error sending request for url (http://h/{CONNECT})",), Reason.TIMEOUT),
    (ConnectError, (SEND, "connection closed before message completed"), Reason.DISCONNECTED),
    (ConnectError, (CONNECT, SEND), Reason.DISCONNECTED),
    (ConnectError, (), Reason.DISCONNECTED),
    (ReadTimeoutError, ("operation timed out",), Reason.TIMEOUT),
    (BodyDecodeError, ("end of file before message length reached",), Reason.TRUNCATED),
    (BodyDecodeError, ("anything else",), Reason.MALFORMED),
    (BuilderError, ("URL scheme is not allowed",), Reason.INVALID_REQUEST),
    (RequestPanicError, ("new",), Reason.OTHER),
)


@pytest.mark.parametrize("kind, causes, reason", CAUSES)
async def test_pyreqwest_is_judged_by_its_causes(
    kind: type[DetailedPyreqwestError], causes: tuple[str, ...], reason: Reason
) -> None:
    """Neither its type nor a text inside a URL proves that nothing was sent."""
    assert reason_in(kind("", {"causes": [{"message": cause} for cause in causes]})) is reason


async def test_what_nobody_knows_is_unknown() -> None:
    """An exception of no known kind, or without causes, proves nothing."""
    assert reason_in(RuntimeError("new")) is Reason.OTHER
    assert reason_in(ConnectError("", {"causes": None})) is Reason.DISCONNECTED
