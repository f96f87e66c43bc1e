"""The HTTP port's connections and slots: no request goes out twice, no slot is lost, and nothing tells a URL."""

import asyncio
import contextlib
import logging
import random
import sys
from collections.abc import AsyncIterator

import pytest

from processor.adapters.http import HttpAnswer, HttpClient, HttpFailure, HttpSettings, Reason, Sent
from processor.adapters.http_pyreqwest import PyreqwestClient
from tests.adapters.faulty_server import (
    OK,
    Exchange,
    keep_answering,
    read_then_hang_up,
    read_then_say_nothing,
    serving,
)
from tests.adapters.http_adapters import SHORT_S, Build, post

REQUESTS = 60


@pytest.fixture
async def client(build: Build) -> AsyncIterator[HttpClient]:
    """Build each adapter in turn."""
    built = build(HttpSettings())
    yield built
    await built.close()


async def test_the_server_that_hangs_up_on_a_reused_connection_is_not_asked_again(client: HttpClient) -> None:
    """The second request was read to its end, so to repeat it by itself would run it twice."""

    async def behave(exchange: Exchange) -> None:
        await exchange.read_request()
        await exchange.write(OK)
        await exchange.read_request()

    async with serving(behave) as server:
        assert isinstance(await client.send(post(server.url)), HttpAnswer)
        told = await client.send(post(server.url, body=b"second"))
    if isinstance(client, PyreqwestClient):  # The other one opened a new connection, and was answered.
        assert told == HttpFailure(Reason.DISCONNECTED)
    assert [request.endswith(b"second") for request in server.requests] == [False, True]


async def test_a_stale_connection_never_carries_a_request_twice(client: HttpClient) -> None:
    """The server closes a connection just when the next request arrives: it reaches the server once or not at all."""
    chance = random.Random(11)

    async def behave(exchange: Exchange) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(chance.uniform(0.0, 0.002)):
                while True:
                    await exchange.read_request()
                    await exchange.write(OK)
        if chance.random() < 0.5:
            exchange.reset()

    told = []
    async with serving(behave) as server:
        for number in range(REQUESTS):
            told.append(await client.send(post(server.url, body=b"number %d;" % number)))
            await asyncio.sleep(chance.uniform(0.0, 0.001))
    for number, each in enumerate(told):
        times = sum(request.endswith(b"number %d;" % number) for request in server.requests)
        if isinstance(each, HttpAnswer):
            assert times == 1
        else:
            assert times <= (each.sent is Sent.UNKNOWN)
    answered = sum(isinstance(each, HttpAnswer) for each in told)
    assert 0 < answered < REQUESTS


async def test_bytes_left_over_from_one_answer_do_not_answer_the_next(client: HttpClient) -> None:
    """Else one request would be told the workflow id of another."""
    async with serving(keep_answering(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray")) as server:
        for _ in range(3):
            told = await client.send(post(server.url))
            assert isinstance(told, HttpAnswer)
            assert told.body == b"{}"


async def test_the_fast_adapter_keeps_connections_and_lets_them_expire() -> None:
    """Ours expire before the server's, so that a request seldom meets a connection that is being closed."""
    client = PyreqwestClient(HttpSettings(keep_alive_s=0.1))
    async with serving(keep_answering()) as server:
        for _ in range(5):
            await client.send(post(server.url))
        assert server.connections == 1
        await asyncio.sleep(0.15)
        await client.send(post(server.url))
        assert server.connections == 2
    await client.close()


async def test_no_more_requests_are_open_than_allowed(build: Build) -> None:
    """The others wait for a slot and then go out."""
    client = build(HttpSettings(connections_max=2))
    open_now, open_most = 0, 0

    async def behave(exchange: Exchange) -> None:
        nonlocal open_now, open_most
        while True:
            await exchange.read_request()
            open_now += 1
            open_most = max(open_most, open_now)
            await asyncio.sleep(0.01)
            open_now -= 1
            await exchange.write(OK)

    async with serving(behave) as server:
        told = await asyncio.gather(*(client.send(post(server.url)) for _ in range(6)))
    assert all(isinstance(each, HttpAnswer) for each in told)
    assert open_most == 2
    await client.close()


async def test_a_request_that_gets_no_slot_was_not_sent(build: Build) -> None:
    """The wait ends with the slot time-out, and counts against the deadline."""
    client = build(HttpSettings(connections_max=1, slot_timeout_s=0.05))
    async with serving(read_then_say_nothing) as server:
        first = asyncio.create_task(client.send(post(server.url, deadline_s=SHORT_S)))
        await asyncio.sleep(0)
        second = await client.send(post(server.url))
        assert second == HttpFailure(Reason.POOL)
        assert second.sent is Sent.NOT_SENT
        assert await first == HttpFailure(Reason.TIMEOUT)
        assert len(server.requests) == 1
    await client.close()


async def test_closing_ends_what_is_open(build: Build) -> None:
    """An open send is unknown then; one that waited for its slot was not sent."""
    client = build(HttpSettings(connections_max=1))
    is_read = asyncio.Event()

    async def behave(exchange: Exchange) -> None:
        await exchange.read_request()
        is_read.set()
        await exchange.reader.read()

    async with serving(behave) as server:
        sends = [asyncio.create_task(client.send(post(server.url))) for _ in range(3)]
        await is_read.wait()
        async with asyncio.timeout(2.0):
            await client.close()
        told = await asyncio.gather(*sends)
    assert told == [HttpFailure(Reason.DISCONNECTED), HttpFailure(Reason.CLOSED), HttpFailure(Reason.CLOSED)]


async def test_a_cancelled_send_frees_its_slot_at_once(build: Build) -> None:
    """Cancelled while it is open, and cancelled while it waits: afterwards all slots are there."""
    client = build(HttpSettings(connections_max=2, slot_timeout_s=1.0))
    async with serving(read_then_say_nothing) as silent, serving(keep_answering()) as server:
        for _ in range(5):
            tasks = [asyncio.create_task(client.send(post(silent.url))) for _ in range(4)]
            await asyncio.sleep(0.005)
            for task in tasks:
                task.cancel()
            assert all(
                isinstance(each, asyncio.CancelledError)
                for each in await asyncio.gather(*tasks, return_exceptions=True)
            )
        told = await asyncio.gather(*(client.send(post(server.url)) for _ in range(4)))
        assert all(isinstance(each, HttpAnswer) for each in told)
    await client.close()


async def test_no_url_reaches_a_log(client: HttpClient, caplog: pytest.LogCaptureFixture) -> None:
    """URLs hold ids, links and tokens."""
    caplog.set_level(logging.DEBUG)
    async with serving(keep_answering()) as server, serving(read_then_hang_up) as faulty:
        request = post(server.url)
        answers = [await client.send(request), await client.send(post(faulty.url))]
    assert "secret" not in caplog.text
    assert "secret" not in repr((request, answers))


EXIT = """
import asyncio, sys
from processor.adapters.http import HttpRequest, HttpSettings
from processor.adapters.http_pyreqwest import PyreqwestClient

async def main():
    client = PyreqwestClient(HttpSettings())
    request = HttpRequest("POST", sys.argv[1], (), b"{{}}", 5.0)
    sends = [asyncio.create_task(client.send(request)) for _ in range(20)]
    {before_close}
    await client.close()

{run}(main())
"""
EXITS = {
    "answered, asyncio": EXIT.format(before_close="await asyncio.gather(*sends)", run="asyncio.run"),
    "answered, uvloop": EXIT.format(before_close="await asyncio.gather(*sends)", run="import uvloop; uvloop.run"),
    "cancelled": EXIT.format(
        before_close="await asyncio.wait(sends, timeout=0.001); [send.cancel() for send in sends]", run="asyncio.run"
    ),
    "exit code kept": EXIT.format(before_close="await asyncio.gather(*sends)", run="asyncio.run") + "sys.exit(0)",
}


@pytest.mark.slow
@pytest.mark.parametrize("case", EXITS)
async def test_a_process_that_ends_right_after_close_ends_well(case: str) -> None:
    """The client's thread must not stand in Python any more: that ends a process with SIGABRT, one time in six."""
    async with serving(keep_answering()) as server:

        async def run() -> tuple[int | None, bytes]:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", EXITS[case], server.url, stderr=asyncio.subprocess.PIPE
            )
            _, told = await process.communicate()
            return process.returncode, told

        for _ in range(25):
            assert set(await asyncio.gather(run(), run())) == {(0, b"")}
