"""Webhooks as a receiver sees them: the signature, the retries, the targets."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_public_key,
    load_pem_public_key,
)

from processor.simulator.server import Simulator
from processor.simulator.settings import settings_from
from processor.simulator.signing import Signature, Signer
from tests.support.waiting import eventually


@cache
def signing_key() -> str:
    """Make one key for all tests: making it takes longer than all of them."""
    return new_key()


def new_key() -> str:
    """Make a key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def decoded(text: str) -> bytes:
    """Decode base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def verify(header: str, body: bytes, key: rsa.RSAPublicKey) -> dict[str, Any]:
    """Check a detached JWS as RFC 7515 says, without any code of ours; returns its header."""
    first, middle, last = header.split(".")
    assert middle == ""
    payload = base64.urlsafe_b64encode(body).rstrip(b"=")
    key.verify(decoded(last), first.encode() + b"." + payload, padding.PKCS1v15(), SHA256())
    said: dict[str, Any] = json.loads(decoded(first))
    return said


@dataclass
class Receiver:
    """A webhook server that answers what it is told, and keeps what it got."""

    answers: list[int] = field(default_factory=list)  # The next statuses; 200 when there are no more.
    got: list[tuple[str, bytes, str, float]] = field(default_factory=list)  # path, body, signature, when
    url: str = ""

    async def handle(self, http: web.BaseRequest) -> web.Response:
        """Keep one webhook."""
        self.got.append((http.path, await http.read(), http.headers.get("JWS-SIGNATURE", ""), time.monotonic()))
        status = self.answers.pop(0) if self.answers else 200
        if status == 0:
            await asyncio.sleep(60)
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})

    async def until(self, count: int) -> None:
        """Wait for this many webhooks."""
        await eventually(lambda: len(self.got) >= count)


@asynccontextmanager
async def receiving(*answers: int, **given: object) -> AsyncIterator[tuple[Simulator, Receiver, str]]:
    """Start a receiver, and a simulator that sends to it."""
    receiver = Receiver(list(answers))
    runner = web.ServerRunner(web.Server(receiver.handle, handler_cancellation=True), shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    settings = {"webhook_urls": f"{receiver.url}/webhooks", "signing_key": signing_key(), "webhook_retry_s": 0.02}
    simulator = Simulator(settings_from({**settings, "completion_ms": 1, "auth_required": False, **given}))
    try:
        yield simulator, receiver, await simulator.start()
    finally:
        await simulator.stop()
        await runner.cleanup()


async def post(base_url: str, path: str, body: object) -> dict[str, Any]:
    """Post JSON to the simulator, read JSON."""
    headers = {"Accept": "application/json;version=2"}
    async with (
        aiohttp.ClientSession(headers=headers) as client,
        client.post(base_url + path, json=body) as answer,
    ):
        assert answer.status == 200
        said: dict[str, Any] = await answer.json()
        return said


async def run(base_url: str) -> str:
    """Run one workflow; returns its id."""
    workflow_id: str = (await post(base_url, "/workflows/run", {"workflowDefinitionId": "d"}))["id"]
    return workflow_id


async def key_of(base_url: str, key_id: str, query: str = "") -> tuple[int, bytes]:
    """Read the key endpoint, which needs no token."""
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{base_url}/auth/webhooks/key/{key_id}{query}") as answer,
    ):
        return answer.status, await answer.read()


async def test_the_signature_verifies_with_the_key_of_the_endpoint() -> None:
    """The header names RS256 and a key; both forms of that key verify the raw body, and no other body."""
    async with receiving() as (_, receiver, base_url):
        workflow_id = await run(base_url)
        await receiver.until(1)
        path, body, header, _ = receiver.got[0]
        assert path == "/webhooks"
        assert json.loads(body) == {
            "type": "completed",
            "workflowId": workflow_id,
            "caseId": None,
            "recordId": None,
            "status": "COMPLETED",
        }
        key_id = json.loads(decoded(header.split(".")[0]))["kid"]
        status, pem = await key_of(base_url, key_id)
        key = load_pem_public_key(pem)
        assert status == 200
        assert isinstance(key, rsa.RSAPublicKey)
        assert verify(header, body, key) == {"alg": "RS256", "kid": key_id, "typ": "JWT"}
        with pytest.raises(InvalidSignature):
            verify(header, body + b" ", key)
        _, plain = await key_of(base_url, key_id, "?pem=false")
        assert load_der_public_key(base64.b64decode(plain)) == key
        assert (await key_of(base_url, "no-uuid"))[0] == 400
        assert (await key_of(base_url, "7c8c1b52-0000-4000-8000-00000000000a"))[0] == 404


async def test_webhooks_are_signed_by_the_newest_key_and_the_one_before_it_can_be_read() -> None:
    """A receiver meets a key id that it does not know yet, while webhooks of the old key may still be on their way."""
    async with receiving() as (simulator, receiver, base_url):
        old = simulator.signer
        new = Signer(other := new_key())
        said = await post(base_url, "/_simulator/rotate", {"signingKey": other})
        assert said == {"keyId": new.key_id}
        await run(base_url)
        await receiver.until(1)
        _, body, header, _ = receiver.got[0]
        key = load_pem_public_key((await key_of(base_url, new.key_id))[1])
        assert isinstance(key, rsa.RSAPublicKey)
        assert verify(header, body, key)["kid"] == new.key_id
        assert await key_of(base_url, old.key_id) == (200, old.pem)


def test_a_given_key_keeps_its_id() -> None:
    """A restart with the same key serves the same key id, and a key of another kind is refused."""
    assert Signer(signing_key()).key_id == Signer(signing_key()).key_id
    assert Signer(signing_key()).sign(b"x", Signature.NONE) is None
    with pytest.raises(ValueError, match="PEM"):
        Signer("no key")


async def test_a_failed_webhook_is_repeated_until_it_succeeds() -> None:
    """Anything but 2xx is a failure; the same bytes come again after the retry time."""
    async with receiving(500, 302, 404, 204) as (simulator, receiver, base_url):
        await run(base_url)
        await receiver.until(4)
        await asyncio.sleep(0.05)
        assert len(receiver.got) == 4
        assert len({(path, body, header) for path, body, header, _ in receiver.got}) == 1
        times = [at for *_, at in receiver.got]
        assert all(later - earlier >= 0.018 for earlier, later in pairwise(times))
        assert simulator.counters.webhooks == {"single": 1, "attempts": 4, "delivered": 1}


async def test_a_webhook_is_given_up_after_the_last_retry() -> None:
    """One delivery and the configured number of retries, and then never again."""
    async with receiving(*[500] * 9, webhook_retries=2, webhook_retry_s=0.005) as (simulator, receiver, base_url):
        await run(base_url)
        await eventually(lambda: simulator.counters.webhooks["given_up"] == 1)
        await asyncio.sleep(0.02)
        assert len(receiver.got) == 3


async def test_a_slow_receiver_has_failed() -> None:
    """Whoever answers after the time-out gets the webhook again."""
    async with receiving(0, webhook_timeout_s=0.03) as (simulator, receiver, base_url):
        await run(base_url)
        await receiver.until(2)
        await eventually(lambda: simulator.counters.webhooks["delivered"] == 1)


async def test_each_attempt_goes_to_the_next_target() -> None:
    """Three receivers behind one address: a retry meets another one, a doubled webhook too."""
    async with receiving(500, 500, webhook_doubled_rate=1) as (simulator, receiver, base_url):
        simulator.send_webhooks_to(*(f"{receiver.url}/{name}" for name in "abc"))
        await run(base_url)
        await receiver.until(4)
        assert [path for path, *_ in receiver.got] == ["/a", "/b", "/c", "/a"]


async def test_a_dead_target_is_a_failed_attempt() -> None:
    """The next attempt reaches the living one."""
    async with receiving() as (simulator, receiver, base_url):
        await post(base_url, "/_simulator/targets", {"urls": ["http://127.0.0.1:1/", receiver.url]})
        await run(base_url)
        await receiver.until(1)
        await eventually(lambda: simulator.counters.webhooks["attempts"] == 2)


async def test_any_webhook_can_be_sent_signed_unsigned_and_wrongly_signed() -> None:
    """A test of a receiver chooses the bytes and the kind of signature, and reads what the receiver answered."""
    async with receiving(200, 401, 403) as (simulator, receiver, base_url):
        statuses = [
            (await post(base_url, "/_simulator/webhook", given))["status"]
            for given in ({"body": {"a": 1}}, {"text": "{", "signature": "none"}, {"text": "x", "signature": "wrong"})
        ]
        assert statuses == [200, 401, 403]
        assert [body for _, body, *_ in receiver.got] == [b'{"a":1}', b"{", b"x"]
        key = load_pem_public_key(simulator.signer.pem)
        assert isinstance(key, rsa.RSAPublicKey)
        verify(receiver.got[0][2], b'{"a":1}', key)
        assert receiver.got[1][2] == ""
        with pytest.raises(InvalidSignature):
            verify(receiver.got[2][2], b"x", key)
