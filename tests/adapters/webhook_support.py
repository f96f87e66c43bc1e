"""The provider's side of a webhook, a plain socket to send it over, and an ingestor that takes it."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from processor.adapters.jws import SignatureVerifier
from processor.adapters.web_listener import ListenerLimits, WebListener
from processor.adapters.webhook_intake import Handled, Ports, WebhookIntake
from processor.adapters.webserver import Network, WebhookLimits, webhook_app
from processor.core.messages import WebhookReceived
from processor.core.model import Instant
from processor.core.webhook import BodyPaths
from processor.errors import BrokerUnavailable, UndecodableMessage

KEY_ID = "5b0e0a6e-0000-4000-8000-0000000000aa"
OTHER_KEY_ID = "5b0e0a6e-0000-4000-8000-0000000000bb"
WORKFLOW_ID = "9e8d7c6b-0000-4000-8000-0000000000e1"
RECORD_ID = "7c8c1b52-0000-4000-8000-00000000000a"
BODY = json.dumps({"workflowId": WORKFLOW_ID, "caseId": None, "recordId": RECORD_ID, "status": "COMPLETED"}).encode()
HEADER: Mapping[str, object] = {"alg": "RS256", "kid": KEY_ID, "typ": "JWT"}
LIMITS = WebhookLimits(body_bytes_max=4_096, read_timeout_s=0.1, held_bytes_max=16_384)
LISTENER = ListenerLimits(linger_s=0.05, connections_max=8, drain_s=0.5)


@cache
def private_key(name: str = "provider") -> rsa.RSAPrivateKey:
    """Give the same key for the same name; making one is slow."""
    assert name
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


def pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@cache
def elliptic_pem() -> bytes:
    """Give a public key of another kind."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@cache
def short_pem() -> bytes:
    """Give a public key that is too short to be trusted."""
    return pem(rsa.generate_private_key(public_exponent=65_537, key_size=1_024))  # noqa: S505 - it is to be refused.


def der_base64(key: rsa.RSAPrivateKey) -> bytes:
    return base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def protected(header: object) -> str:
    return base64url(json.dumps(header).encode())


def sign(body: bytes = BODY, header: object = HEADER, key: rsa.RSAPrivateKey | None = None) -> str:
    """Make the detached signature of a body, whatever the header says about itself."""
    first = protected(header)
    covered = f"{first}.{base64url(body)}".encode()
    return f"{first}..{base64url((key or private_key()).sign(covered, PKCS1v15(), SHA256()))}"


def request_bytes(
    body: bytes = BODY, *, signature: str | None = None, path: str = "/webhooks", extra: tuple[str, ...] = ()
) -> bytes:
    """Give a whole POST request as it goes over the wire; without `signature` a right one is made."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *extra]
    lines.append(f"JWS-SIGNATURE: {sign(body) if signature is None else signature}")
    return "\r\n".join([*lines, "", ""]).encode() + body


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Read one answer: status, headers by lower-case name, body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.split("\r\n")[:-2]
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers, await reader.readexactly(int(headers.get("content-length", "0")))


async def exchange(port: int, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes over a connection of their own and read the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        return await answer_of(reader)
    finally:
        writer.close()


@dataclass
class FakeIngestor:
    """An ingestor on a loopback port, with a broker that can fail or hesitate."""

    port: int = 0
    is_broker_down: bool = False
    may_acknowledge: asyncio.Event = field(default_factory=asyncio.Event)
    published: list[bytes] = field(default_factory=list)
    providers: list[str] = field(default_factory=list)
    set_aside: list[bytes] = field(default_factory=list)
    handled: list[Handled] = field(default_factory=list)

    async def publish(self, webhook: WebhookReceived) -> None:
        self.providers.append(webhook.provider)
        await self._store(webhook.body, self.published)

    async def publish_unreadable(self, body: bytes, _why: UndecodableMessage, _at: Instant) -> None:
        await self._store(body, self.set_aside)

    async def _store(self, body: bytes, topic: list[bytes]) -> None:
        if self.is_broker_down:
            raise BrokerUnavailable("down")
        await self.may_acknowledge.wait()
        topic.append(body)

    def observe(self, handled: Handled, seconds: float) -> None:
        assert seconds >= 0
        self.handled.append(handled)


async def find_key(key_id: str) -> RSAPublicKey | None:
    return private_key().public_key() if key_id == KEY_ID else None


@asynccontextmanager
async def serving(
    limits: WebhookLimits = LIMITS, listener_limits: ListenerLimits = LISTENER, networks: Sequence[Network] = ()
) -> AsyncIterator[FakeIngestor]:
    """Serve webhooks of two provider profiles on loopback."""
    ingestor = FakeIngestor()
    ingestor.may_acknowledge.set()
    ports = Ports(
        SignatureVerifier(find_key).verify, ingestor.publish, ingestor.publish_unreadable, lambda: 1_767_225_600_000
    )
    intake = WebhookIntake(ports, BodyPaths())
    others = WebhookIntake(ports, BodyPaths(), provider="second")
    accepting = {"/webhooks": intake.accept, "/webhooks/second": others.accept}
    app = webhook_app(accepting, observe=ingestor.observe, limits=limits, networks=networks)
    listener = WebListener(app, listener_limits)
    ingestor.port = await listener.start("127.0.0.1", 0)
    try:
        yield ingestor
    finally:
        await listener.stop()


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Say whether the other side ends the connection soon."""
    try:
        async with asyncio.timeout(5):
            await reader.read()
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
    return True
