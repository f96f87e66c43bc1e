"""The webhook route over real sockets: what is slow, huge, broken or compressed, and the operations port."""

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from ipaddress import ip_network

import pytest
import uvloop

from processor.adapters.jws import SignatureVerifier
from processor.adapters.web_listener import ListenerLimits, WebListener
from processor.adapters.webhook_intake import Ports, WebhookIntake
from processor.adapters.webserver import BodyRefusal, WebhookLimits, ops_app, webhook_app
from processor.core.webhook import BodyPaths
from tests.adapters.webhook_support import (
    BODY,
    LIMITS,
    LISTENER,
    FakeIngestor,
    answer_of,
    exchange,
    find_key,
    is_closed,
    private_key,
    request_bytes,
    serving,
    sign,
)


async def test_a_genuine_webhook_is_answered_202() -> None:
    """The raw body reaches the publisher unchanged, and two webhooks share one connection."""
    async with serving() as ingestor:
        reader, writer = await asyncio.open_connection("127.0.0.1", ingestor.port)
        for _ in range(2):
            writer.write(request_bytes())
            status, _, body = await answer_of(reader)
            assert (status, body) == (202, b"")
        writer.close()
        assert ingestor.published == [BODY, BODY]


async def test_no_answer_leaves_before_the_broker_has_it() -> None:
    """While the broker hesitates, the sender waits; the 202 follows the acknowledgement."""
    async with serving() as ingestor:
        ingestor.may_acknowledge.clear()
        answer = asyncio.create_task(exchange(ingestor.port, request_bytes()))
        done, _ = await asyncio.wait([answer], timeout=0.05)
        assert not done
        ingestor.may_acknowledge.set()
        assert (await answer)[0] == 202


async def test_a_broker_that_is_down_asks_the_sender_to_come_again() -> None:
    """503 with Retry-After, as a problem document."""
    async with serving() as ingestor:
        ingestor.is_broker_down = True
        status, headers, body = await exchange(ingestor.port, request_bytes())
        assert (status, headers["retry-after"], headers["content-type"]) == (503, "5", "application/problem+json")
        assert json.loads(body)["reason"] == "broker-unavailable"
        ingestor.is_broker_down = False
        assert (await exchange(ingestor.port, request_bytes()))[0] == 202


@pytest.mark.parametrize(
    "sent, reason",
    [
        (b"POST /webhooks HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", "signature-missing"),
        (request_bytes(extra=(f"jws-signature: {sign()}",)), "signature-repeated"),
        (request_bytes(signature="canary-4711"), "signature-malformed"),
        (request_bytes(signature=sign(key=private_key("attacker"))), "signature-wrong"),
    ],
)
async def test_a_forgery_is_answered_401(sent: bytes, reason: str) -> None:
    """The answer says what was wrong, and nothing of what was sent."""
    async with serving() as ingestor:
        status, headers, body = await exchange(ingestor.port, sent)
        problem = json.loads(body)
        assert (status, problem["status"], problem["title"], problem["reason"]) == (401, 401, "Unauthorized", reason)
        assert headers["content-type"] == "application/problem+json"
        assert headers["www-authenticate"].startswith("JWS-SIGNATURE")
        assert b"canary" not in body
        assert ingestor.published == []


async def test_an_unreadable_genuine_webhook_is_accepted_and_set_aside() -> None:
    """The provider did nothing wrong, so it hears 202; the bytes are kept."""
    async with serving() as ingestor:
        assert (await exchange(ingestor.port, request_bytes(b"new shape")))[0] == 202
        assert (ingestor.published, ingestor.set_aside) == ([], [b"new shape"])
        assert ingestor.handled[0].reason == "webhook-not-json"


async def test_a_compressed_body_is_verified_as_it_came() -> None:
    """Content-Encoding changes nothing: the signature covers the raw bytes, and no bomb is ever unpacked."""
    packed = gzip.compress(BODY)
    async with serving() as ingestor:
        sent = request_bytes(packed, extra=("Content-Encoding: gzip",))
        assert (await exchange(ingestor.port, sent))[0] == 202
        assert ingestor.set_aside == [packed]


async def test_a_chunked_body_is_put_together() -> None:
    """Transfer-Encoding belongs to the transport: the signature covers what was in the chunks."""
    head = f"POST /webhooks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nJWS-SIGNATURE: {sign()}\r\n\r\n"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (BODY[:7], BODY[7:])) + b"0\r\n\r\n"
    async with serving() as ingestor:
        assert (await exchange(ingestor.port, head.encode() + chunks))[0] == 202
        assert ingestor.published == [BODY]


async def test_a_declared_giant_is_refused_before_its_body() -> None:
    """A length above the cap is answered 413 at once, and the connection ends."""
    head = b"POST /webhooks HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n"
    async with serving() as ingestor:
        reader, writer = await asyncio.open_connection("127.0.0.1", ingestor.port)
        writer.write(head)
        assert (await answer_of(reader))[0] == 413
        assert await is_closed(reader)
        writer.close()
        assert ingestor.handled[0].reason == BodyRefusal.BODY_TOO_LARGE


async def test_an_undeclared_giant_is_refused_while_it_comes() -> None:
    """A chunked body is counted as it arrives; past the cap it is dropped."""
    head = b"POST /webhooks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving() as ingestor:
        status, _, _ = await exchange(ingestor.port, head + b"1000\r\n" + b"x" * 4_096 + b"\r\n1\r\nx\r\n")
        assert status == 413
        assert ingestor.published == []


async def test_a_slow_body_is_left() -> None:
    """A byte now and then does not hold a request open: the whole body has one deadline, and 408 follows."""
    head = b"POST /webhooks HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"
    async with serving() as ingestor:
        reader, writer = await asyncio.open_connection("127.0.0.1", ingestor.port)
        writer.write(head)
        answer = asyncio.create_task(answer_of(reader))
        for _ in range(20):
            if answer.done():
                break
            writer.write(b"x")
            await asyncio.sleep(0.02)
        assert (await answer)[0] == 408
        assert await is_closed(reader)
        writer.close()


@pytest.mark.parametrize(
    "sent", [b"", b"POST /webhooks HT", b"POST /webhooks HTTP/1.1\r\nHost: a\r\nX-Half: ", request_bytes() + b"POST /"]
)
async def test_a_silent_or_half_sent_head_is_left(sent: bytes) -> None:
    """A connection that sends nothing, or a head that does not end, is closed within the keep-alive time-out."""
    async with serving(listener_limits=replace(LISTENER, keepalive_timeout_s=0.1)) as ingestor:
        reader, writer = await asyncio.open_connection("127.0.0.1", ingestor.port)
        writer.write(sent)
        assert await is_closed(reader)
        writer.close()


async def test_a_cut_body_is_no_fault_of_ours() -> None:
    """A sender that leaves in the middle, or whose chunks are broken, is counted and forgotten."""
    async with serving() as ingestor:
        _, writer = await asyncio.open_connection("127.0.0.1", ingestor.port)
        writer.write(b"POST /webhooks HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nxxx")
        await asyncio.sleep(0.02)
        writer.close()
        broken = b"POST /webhooks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
        assert (await exchange(ingestor.port, broken))[0] == 400
        assert {handled.reason for handled in ingestor.handled} <= {BodyRefusal.BODY_BROKEN}


async def test_noise_is_answered_400_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What is no HTTP costs an answer and no log line: the line would hold what a stranger sent."""
    caplog.set_level(logging.DEBUG)
    async with serving() as ingestor:
        for noise in (b"\x16\x03\x01canary\r\n\r\n", b"POST /webhooks HTTP/1.1\r\nbad canary\r\n\r\n"):
            assert (await exchange(ingestor.port, noise))[0] == 400
    assert "canary" not in caplog.text


async def test_bodies_at_once_are_bounded_in_memory() -> None:
    """When all bodies being read fill the budget, the next is asked to come again; then the memory is free again."""
    limits = WebhookLimits(body_bytes_max=4_096, read_timeout_s=0.3, held_bytes_max=8_000)
    half = b"POST /webhooks HTTP/1.1\r\nHost: a\r\nContent-Length: 4096\r\n\r\n" + b"x" * 4_000
    async with serving(limits) as ingestor:
        slow = [asyncio.create_task(exchange(ingestor.port, half)) for _ in range(2)]
        await asyncio.sleep(0.05)
        status, headers, body = await exchange(ingestor.port, request_bytes())
        assert (status, headers["retry-after"], json.loads(body)["reason"]) == (503, "5", BodyRefusal.MEMORY_FULL)
        assert [status for status, _, _ in await asyncio.gather(*slow)] == [408, 408]
        assert (await exchange(ingestor.port, request_bytes()))[0] == 202


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_connections_are_bounded(run: Callable[[Coroutine[None, None, None]], None]) -> None:
    """One connection too many gets a short 503; when one has left, the next is served; on both event loops."""
    run(_fill_the_listener())


async def _fill_the_listener() -> None:
    listener = ListenerLimits(keepalive_timeout_s=5.0, connections_max=2)
    async with serving(listener_limits=listener) as ingestor:
        held = [await asyncio.open_connection("127.0.0.1", ingestor.port) for _ in range(2)]
        await asyncio.sleep(0.02)
        reader, writer = await asyncio.open_connection("127.0.0.1", ingestor.port)
        assert (await answer_of(reader))[0] == 503
        assert await is_closed(reader)
        writer.close()
        held[0][1].close()
        await asyncio.sleep(0.02)
        assert (await exchange(ingestor.port, request_bytes()))[0] == 202
        held[1][1].close()


@pytest.mark.parametrize("network, status", [("127.0.0.0/8", 202), ("10.0.0.0/8", 403), ("::1/128", 403)])
async def test_an_allow_list_is_an_extra_layer(network: str, status: int) -> None:
    """A sender outside the listed networks is refused before its body is read."""
    async with serving(networks=[ip_network(network)]) as ingestor:
        assert (await exchange(ingestor.port, request_bytes()))[0] == status


@pytest.mark.parametrize(
    "sent, status",
    [
        (b"GET /webhooks HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"POST /other HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 404),
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    ],
)
async def test_there_is_one_route(sent: bytes, status: int) -> None:
    """Nothing but POST on the one path; the operations routes are on another port."""
    async with serving() as ingestor:
        assert (await exchange(ingestor.port, sent))[0] == status


async def test_a_stop_lets_open_requests_end() -> None:
    """A webhook that was taken in is answered before the listener is gone; new connections are refused."""
    ingestor = FakeIngestor()
    ports = Ports(SignatureVerifier(find_key).verify, ingestor.publish, ingestor.publish_unreadable, lambda: 0)
    intake = WebhookIntake(ports, BodyPaths())
    app = webhook_app({"/webhooks": intake.accept}, observe=ingestor.observe, limits=LIMITS)
    listener = WebListener(app, LISTENER)
    port = await listener.start("127.0.0.1", 0)
    answer = asyncio.create_task(exchange(port, request_bytes()))
    await asyncio.sleep(0.05)
    stopping = asyncio.create_task(listener.stop())
    await asyncio.sleep(0.05)
    with pytest.raises(ConnectionRefusedError):
        await exchange(port, request_bytes())
    ingestor.may_acknowledge.set()
    assert (await answer)[0] == 202
    await stopping


# --- the operations port -----------------------------------------------------------------------------------------


@asynccontextmanager
async def _ops(
    unready: Callable[[], Sequence[str]],
    *,
    degraded: Sequence[str] = (),
    is_alive: bool = True,
    holding: Mapping[str, Sequence[str]] | None = None,
) -> AsyncIterator[int]:
    app = ops_app(
        is_alive=lambda: is_alive,
        unready=unready,
        degraded=lambda: degraded,
        holding=lambda: holding or {},
        metrics=lambda: (b"up 1\n", "text/plain; version=1.0.0"),
    )
    listener = WebListener(app, LISTENER)
    try:
        yield await listener.start("127.0.0.1", 0)
    finally:
        await listener.stop()


async def _get(port: int, path: str) -> tuple[int, bytes]:
    status, _, body = await exchange(port, f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return status, body


@pytest.mark.parametrize(
    "unready, degraded, is_alive, statuses",
    [
        ([], [], True, {"/livez": 200, "/readyz": 200, "/healthz": 200, "/metrics": 200}),
        ([], ["paused"], True, {"/livez": 200, "/readyz": 200, "/healthz": 200, "/metrics": 200}),
        (["restoring"], [], True, {"/livez": 200, "/readyz": 503, "/healthz": 503, "/metrics": 200}),
        ([], [], False, {"/livez": 503, "/readyz": 503, "/healthz": 503, "/metrics": 200}),
    ],
)
async def test_health_is_told_on_the_operations_port(
    unready: list[str],
    degraded: list[str],
    is_alive: bool,  # noqa: FBT001 - a column of the table.
    statuses: dict[str, int],
) -> None:
    """Liveness says that the process moves, readiness that it lacks nothing itself."""
    async with _ops(lambda: unready, degraded=degraded, is_alive=is_alive) as port:
        assert {path: (await _get(port, path))[0] for path in statuses} == statuses


async def test_readiness_names_what_is_missing() -> None:
    """A person who reads /readyz learns the reason; /metrics gives the exposition as it is."""
    async with _ops(lambda: ["restoring", "broker"]) as port:
        status, body = await _get(port, "/readyz")
        assert (status, json.loads(body)["reasons"]) == (HTTPStatus.SERVICE_UNAVAILABLE, ["restoring", "broker"])
        assert await _get(port, "/metrics") == (200, b"up 1\n")


async def test_what_is_degraded_says_why_and_stays_in_service() -> None:
    """The same sentences in both answers; where the process lacks something itself that comes first, and decides."""
    held = {"default": ["pause"]}
    async with _ops(list, degraded=["paused"], holding=held) as port:
        status, body = await _get(port, "/readyz")
        assert (status, json.loads(body)) == (200, {"status": "degraded", "reasons": ["paused"], "holding": held})
        assert json.loads((await _get(port, "/livez"))[1]) == {"status": "ok"}
    async with _ops(lambda: ["restoring"], degraded=["paused"]) as port:
        status, body = await _get(port, "/readyz")
        unavailable = {"status": "unavailable", "reasons": ["restoring", "paused"], "holding": {}}
        assert (status, json.loads(body)) == (503, unavailable)
    async with _ops(lambda: ["restoring"], degraded=["paused"], is_alive=False) as port:
        assert json.loads((await _get(port, "/readyz"))[1])["reasons"] == [
            "the process is stuck",
            "restoring",
            "paused",
        ]


async def test_readiness_tells_what_holds_calls_back_and_does_not_depend_on_it() -> None:
    """The words for each profile stand in both answers; nothing held is an empty object, and liveness has none."""
    held = {"bank": ["retry-after"]}
    async with _ops(list, holding=held) as port:
        status, body = await _get(port, "/readyz")
        assert (status, json.loads(body)) == (HTTPStatus.OK, {"status": "ok", "holding": held})
        assert json.loads((await _get(port, "/livez"))[1]) == {"status": "ok"}
    async with _ops(lambda: ["restoring"], holding=held) as port:
        assert json.loads((await _get(port, "/readyz"))[1])["holding"] == held
    async with _ops(list) as port:
        assert json.loads((await _get(port, "/readyz"))[1]) == {"status": "ok", "holding": {}}


@pytest.mark.slow
async def test_a_thousand_slow_senders_do_not_stop_a_genuine_one() -> None:
    """Beside 1,000 connections that send a byte and wait, genuine webhooks are answered in time."""
    limits = WebhookLimits()
    head = b"POST /webhooks HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\nx"
    loop = asyncio.get_running_loop()
    async with serving(limits, ListenerLimits()) as ingestor:
        slow = [await asyncio.open_connection("127.0.0.1", ingestor.port) for _ in range(1_000)]
        for _, writer in slow:
            writer.write(head)
        took_s = []
        for number in range(200):
            began_at_s = loop.time()
            assert (await exchange(ingestor.port, request_bytes(b'{"id":"%d"}' % number)))[0] == 202
            took_s.append(loop.time() - began_at_s)
        for _, writer in slow:
            writer.close()
        assert sorted(took_s)[-2] < 0.2
