"""The provider's side of a webhook, and a plain socket to send it over."""

import asyncio
import base64
import json
from collections.abc import Mapping
from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

KEY_ID = "5b0e0a6e-0000-4000-8000-0000000000aa"
OTHER_KEY_ID = "5b0e0a6e-0000-4000-8000-0000000000bb"
WORKFLOW_ID = "9e8d7c6b-0000-4000-8000-0000000000e1"
RECORD_ID = "7c8c1b52-0000-4000-8000-00000000000a"
BODY = json.dumps({"workflowId": WORKFLOW_ID, "caseId": None, "recordId": RECORD_ID, "status": "COMPLETED"}).encode()
HEADER: Mapping[str, object] = {"alg": "RS256", "kid": KEY_ID, "typ": "JWT"}


@cache
def private_key(name: str = "provider") -> rsa.RSAPrivateKey:
    """Give the same key for the same name; making one is slow."""
    assert name
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


def pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


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
