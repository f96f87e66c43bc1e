"""The HTTP port through a proxy: what ends before the tunnel stands was not sent, all else is as without a proxy."""

import asyncio
import base64
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
import trustme

from processor.adapters.http import HttpAnswer, HttpClient, HttpFailure, HttpRequest, HttpSettings, Proxy, Reason, Sent
from processor.adapters.http_pyreqwest import PyreqwestClient
from processor.core.proof import Ending, Operation, Proof, proof_of
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
    reset_while_reading,
    say_nothing,
    serving,
)
from tests.adapters.http_adapters import ADAPTERS, LONG_S, SHORT_S, Build, post
from tests.adapters.test_http_contract import BODY_BYTES_MAX, UNKNOWN
from tests.support.egress_proxy import OPENED, EgressProxy, egress_proxy
from tests.support.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST = "provider.invalid"  # RFC 6761: no name server knows it; the proxy does.
URL = f"https://{HOST}/secret-path?token=secret-token"
USER, PASSWORD = "egress-user", "secret-pä:ssword"  # A colon may stand in the password alone (RFC 7617, 2).
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode())
CONNECT_S = 1.5  # A stall of a busy machine must not look like a proxy that does not answer.


@dataclass(frozen=True)
class Authority:
    """Who signed the provider's certificate, and that certificate."""

    ca_file: str
    tls: ssl.SSLContext


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make both."""
    made, pem = trustme.CA(), tmp_path_factory.mktemp("ca") / "ca.pem"
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.issue_cert(HOST).configure_cert(tls)
    made.cert_pem.write_to_path(str(pem))
    return Authority(str(pem), tls)


@contextlib.asynccontextmanager
async def built(
    build: Build, proxy: str, *, ca_file: str | None = None, connect_s: float = CONNECT_S
) -> AsyncIterator[HttpClient]:
    """Give a client whose requests all go through the proxy."""
    client = build(HttpSettings(connect_timeout_s=connect_s, ca_file=ca_file, proxy=Proxy(proxy, USER, PASSWORD)))
    yield client
    await client.close()


async def test_a_request_goes_through_the_tunnel_as_it_was_given(build: Build, authority: Authority) -> None:
    """The proxy learns host and port, looks the name up itself, and sees nothing else; the server sees no proxy."""
    async with serving(keep_answering(), authority.tls) as server:
        with egress_proxy({f"{HOST}:443": server.port}, (USER, PASSWORD)) as proxy:
            async with built(build, proxy.url, ca_file=authority.ca_file) as client:
                headers = (("authorization", "Bearer secret-token"), ("x-a", "1"))
                told = await client.send(HttpRequest("POST", URL, headers, b"secret-body", 5.0))
    assert isinstance(told, HttpAnswer)
    assert (told.status, told.body) == (200, b"{}")
    (asked,), (arrived,) = proxy.asked, server.requests
    assert asked.startswith(f"CONNECT {HOST}:443 HTTP/1.1\r\n".encode())
    assert BASIC in asked
    assert b"secret" not in asked
    assert arrived.startswith(b"POST /secret-path?token=secret-token HTTP/1.1\r\n")
    assert arrived.endswith(b"\r\n\r\nsecret-body")
    assert b"x-a: 1" in arrived.lower().split(b"\r\n")
    assert b"proxy" not in arrived.lower()


async def test_the_certificate_behind_the_tunnel_must_be_trusted(build: Build, authority: Authority) -> None:
    """Else a proxy could read everything."""
    async with serving(keep_answering(), authority.tls) as server:
        with egress_proxy({f"{HOST}:443": server.port}) as proxy:
            async with built(build, proxy.url) as client:
                assert await client.send(post(URL)) == HttpFailure(Reason.TLS)
    assert server.requests == []


REFUSED = b"HTTP/1.1 %s\r\nContent-Length: 2\r\n\r\nno"
NO_TUNNEL: dict[str, Behaviour] = {
    "host not allowed": answer(REFUSED % b"403 Forbidden"),
    "password": answer(REFUSED % b"407 Proxy Authentication Required"),
    "server away": answer(REFUSED % b"502 Bad Gateway"),
    "overloaded": answer(REFUSED % b"503 Service Unavailable"),
    "server too slow": answer(REFUSED % b"504 Gateway Timeout"),
    "elsewhere": answer(b"HTTP/1.1 302 Found\r\nLocation: http://login.invalid/\r\nContent-Length: 0\r\n\r\n"),
    "read all, hung up": read_then_hang_up,
    "read all, reset": read_then_reset,
    "reset while reading": reset_while_reading,
    "hung up at once": hang_up,
    "half a status line": answer(b"HTTP/1.1 2"),
    "half a head": answer(b"HTTP/1.1 200 OK\r\nVia: "),
    "not HTTP": answer(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "headers without end": answer(b"HTTP/1.1 200 OK\r\n" + b"X-A: a\r\n" * 200_000),
}


@pytest.mark.parametrize("case", NO_TUNNEL)
async def test_a_tunnel_that_is_not_opened_was_not_sent(build: Build, case: str) -> None:
    """The request waits for the tunnel, so whatever the proxy does instead, no byte of it has left."""
    async with serving(NO_TUNNEL[case]) as proxy, built(build, proxy.origin) as client:
        told = await client.send(post(URL))
    assert told == HttpFailure(Reason.PROXY)
    assert told.sent is Sent.NOT_SENT
    assert b"secret" not in b"".join(proxy.requests)


async def test_a_proxy_that_cannot_be_reached_was_not_sent(build: Build) -> None:
    """As a server that cannot be: refused, unknown by name, or silent before the connection stands."""
    async with built(build, f"http://127.0.0.1:{free_port()}") as client:
        for url in (URL, f"http://{HOST}/"):
            assert await client.send(post(url)) == HttpFailure(Reason.CONNECT)
    async with built(build, "http://nobody.invalid:3128") as client:
        assert await client.send(post(URL)) in {HttpFailure(Reason.DNS), HttpFailure(Reason.CONNECT_TIMEOUT)}
    with black_hole() as url:
        async with built(build, url, connect_s=SHORT_S) as client:
            assert await client.send(post(URL)) == HttpFailure(Reason.CONNECT_TIMEOUT)


async def opened_then_silent(exchange: Exchange) -> None:
    """Open the tunnel, and let nothing through."""
    await exchange.read_request()
    await exchange.write(OPENED)
    await exchange.reader.read()
    await asyncio.sleep(3600)


SLOW_TUNNELS: dict[str, Behaviour] = {
    "never answers": read_then_say_nothing,
    "never reads": say_nothing,
    "answers by bytes": drip(b"", OPENED, SHORT_S / 3),
    "opens, no handshake": opened_then_silent,
}


@pytest.mark.parametrize("case", SLOW_TUNNELS)
async def test_a_tunnel_that_takes_too_long_was_not_sent(build: Build, case: str) -> None:
    """A proxy may wait for a server that drops packets longer than we do: the connect time-out holds for it too."""
    async with serving(SLOW_TUNNELS[case]) as proxy, built(build, proxy.origin, connect_s=SHORT_S) as client:
        async with asyncio.timeout(LONG_S / 2):  # Long before the deadline.
            told = await client.send(post(URL))
        assert told == HttpFailure(Reason.CONNECT_TIMEOUT)
        assert told.sent is Sent.NOT_SENT
        assert await client.send(post(URL, deadline_s=SHORT_S / 3)) == HttpFailure(Reason.TIMEOUT)


async def test_the_connect_time_out_ends_with_the_tunnel(build: Build, authority: Authority) -> None:
    """An answer may take longer than connecting, up to the deadline; then it is unknown."""

    async def behave(exchange: Exchange) -> None:
        await exchange.read_request()
        await asyncio.sleep(0.9)
        await exchange.write(OK)

    async with serving(behave, authority.tls) as server:
        with egress_proxy({f"{HOST}:443": server.port}) as proxy:
            async with built(build, proxy.url, ca_file=authority.ca_file, connect_s=0.6) as client:
                told = await asyncio.gather(*(client.send(post(URL, deadline_s=s)) for s in (0.8, LONG_S)))
    assert told[0] == HttpFailure(Reason.TIMEOUT)
    assert isinstance(told[1], HttpAnswer)
    assert len(server.requests) == 2


@dataclass(frozen=True)
class Way:
    """A client, its proxy, and which port of this machine each host stands for there."""

    client: HttpClient
    proxy: EgressProxy
    hosts: dict[str, int]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ADAPTERS)
async def way(request: pytest.FixtureRequest, authority: Authority) -> AsyncIterator[Way]:
    """Build each adapter once, for all failures behind the proxy: none may spoil the next."""
    hosts: dict[str, int] = {}
    with egress_proxy(hosts) as proxy:
        settings = HttpSettings(
            connect_timeout_s=CONNECT_S,
            body_bytes_max=BODY_BYTES_MAX,
            ca_file=authority.ca_file,
            proxy=Proxy(proxy.url),
        )
        client = ADAPTERS[request.param](settings)
        yield Way(client, proxy, hosts)
        await client.close()


@pytest.mark.parametrize("case", UNKNOWN)
async def test_behind_a_tunnel_failures_prove_what_they_did_without(way: Way, authority: Authority, case: str) -> None:
    """The server may have executed what it read, so none of these may be repeated blindly."""
    behaviour, reasons = UNKNOWN[case]
    before = len(way.proxy.asked)
    async with serving(behaviour, authority.tls) as server:
        way.hosts[f"{HOST}:443"] = server.port
        told = await way.client.send(post(URL))
    assert isinstance(told, HttpFailure)
    assert told.sent is Sent.UNKNOWN
    assert told.reason in reasons
    assert len(server.requests) <= 1
    assert (server.connections, len(way.proxy.asked) - before) == (1, 1)


async def test_the_fast_adapter_keeps_tunnels(authority: Authority) -> None:
    """One tunnel carries one request after another."""
    async with serving(keep_answering(), authority.tls) as server:
        with egress_proxy({f"{HOST}:443": server.port}) as proxy:
            async with built(PyreqwestClient, proxy.url, ca_file=authority.ca_file) as client:
                for _ in range(5):
                    assert isinstance(await client.send(post(URL)), HttpAnswer)
    assert (len(server.requests), len(proxy.asked)) == (5, 1)


async def test_a_tunnel_that_is_cut_while_a_request_is_in_it_proves_nothing(build: Build, authority: Authority) -> None:
    """Nor is the request sent once more, on a tunnel that was kept as little as on a new one."""

    async def behave(exchange: Exchange) -> None:
        await exchange.read_request()
        await exchange.write(OK)
        await exchange.read_request()

    async with serving(behave, authority.tls) as server:
        with egress_proxy({f"{HOST}:443": server.port}) as proxy:
            async with built(build, proxy.url, ca_file=authority.ca_file) as client:
                assert isinstance(await client.send(post(URL)), HttpAnswer)
                told = await client.send(post(URL, body=b"second"))
                if isinstance(client, PyreqwestClient):  # The other one opened a new tunnel, and was answered.
                    assert told == HttpFailure(Reason.DISCONNECTED)
    assert [request.endswith(b"second") for request in server.requests] == [False, True]


async def test_to_a_server_without_tls_the_proxy_passes_requests_on(build: Build) -> None:
    """In absolute form (RFC 9112, 3.2.2); who we are at the proxy is told to the proxy alone."""
    async with serving(keep_answering()) as server:
        with egress_proxy({f"{HOST}:80": server.port}, (USER, PASSWORD)) as proxy:
            async with built(build, proxy.url) as client:
                assert isinstance(await client.send(post(f"http://{HOST}/a?b=1")), HttpAnswer)
    assert proxy.asked[0].startswith(f"POST http://{HOST}/a?b=1 HTTP/1.1\r\n".encode())
    assert server.requests[0].startswith(b"POST /a?b=1 HTTP/1.1\r\n")
    assert BASIC in proxy.asked[0]
    assert b"proxy" not in server.requests[0].lower()


@pytest.mark.parametrize("case", UNKNOWN)
async def test_without_a_tunnel_a_failure_behind_the_proxy_proves_nothing(way: Way, case: str) -> None:
    """Once it has read the request, the proxy may have passed it on."""
    behaviour, reasons = UNKNOWN[case]
    async with serving(behaviour) as server:
        way.hosts[f"{HOST}:80"] = server.port
        told = await way.client.send(post(f"http://{HOST}/"))
    assert isinstance(told, HttpFailure)
    assert told.sent is Sent.UNKNOWN
    assert told.reason in reasons
    assert len(server.requests) <= 1
    assert server.connections == 1


PROXY_FAILURES = {"hung up": read_then_hang_up, "reset": read_then_reset}


@pytest.mark.parametrize("case", PROXY_FAILURES)
async def test_without_a_tunnel_a_proxy_that_leaves_proves_nothing(build: Build, case: str) -> None:
    """It had read the request."""
    async with serving(PROXY_FAILURES[case]) as proxy, built(build, proxy.origin) as client:
        assert await client.send(post(f"http://{HOST}/")) == HttpFailure(Reason.DISCONNECTED)
    assert len(proxy.requests) == 1


@pytest.mark.parametrize("status", [407, 500, 502, 503, 504])
async def test_without_a_tunnel_a_proxys_own_answer_proves_nothing(build: Build, status: int) -> None:
    """It may have passed the request on before the server was lost."""
    async with serving(answer(REFUSED % b"%d No" % status)) as proxy, built(build, proxy.origin) as client:
        told = await client.send(post(f"http://{HOST}/"))
    assert isinstance(told, HttpAnswer)
    assert told.status == status
    assert proof_of(Operation.RUN, Ending.WHOLE, told.status) is Proof.UNKNOWN


@pytest.fixture
def environment_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name a proxy in every variable that HTTP clients read; nobody listens there."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        for spelt in (name, name.lower()):
            monkeypatch.setenv(spelt, f"http://127.0.0.1:{free_port()}")


@pytest.mark.usefixtures("environment_proxy")
async def test_a_proxy_of_the_environment_is_never_taken(build: Build, authority: Authority) -> None:
    """What the environment holds for other programs must not see our requests, with a proxy of ours or without."""
    direct = build(HttpSettings())
    async with serving(keep_answering()) as server:
        assert isinstance(await direct.send(post(server.url)), HttpAnswer)
    await direct.close()
    async with serving(keep_answering(), authority.tls) as server:
        with egress_proxy({f"{HOST}:443": server.port}) as proxy:
            async with built(build, proxy.url, ca_file=authority.ca_file) as client:
                assert isinstance(await client.send(post(URL)), HttpAnswer)


async def test_neither_password_nor_url_reaches_a_log(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the proxy does; what we hold of it hides the password too."""
    caplog.set_level(logging.DEBUG)
    told = []
    for behaviour in (NO_TUNNEL["password"], read_then_hang_up, read_then_reset):
        async with serving(behaviour) as proxy, built(build, proxy.origin) as client:
            told += [await client.send(post(URL)), await client.send(post(f"http://{HOST}/secret"))]
    shown = caplog.text + repr((told, HttpSettings(proxy=Proxy("http://proxy:3128", USER, PASSWORD))))
    assert "secret" not in shown
    assert BASIC.decode() not in shown
