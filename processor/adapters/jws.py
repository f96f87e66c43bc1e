"""Signature mathematics: RSASSA-PKCS1-v1_5 with SHA-256 (RS256), and nothing else.

The algorithm is fixed in code and bound to the type of the key, so no header can turn a public key into a
shared secret. What a signature must look like is decided in `core.webhook`.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from processor.core.webhook import DetachedSignature, Refusal, read_signature, signing_input
from processor.errors import UntrustedWebhook

KEY_BITS_MIN: Final = 2_048  # RFC 7518, 3.3.
KEY_BITS_MAX: Final = 8_192  # A larger one would only burn processor time.
BYTE_BITS: Final = 8


def read_key(text: bytes) -> RSAPublicKey:
    """Read a public key as the key endpoint sends it: PEM, or the base64 of its DER form, in lines or in one.

    Which of the two was asked for does not matter: the text tells.

    Raises:
        ValueError: it is no RSA public key of 2,048 to 8,192 bits.

    """
    text = text.strip()
    try:
        is_pem = text.startswith(b"-----BEGIN")
        key = load_pem_public_key(text) if is_pem else load_der_public_key(_base64(text))
    except (ValueError, binascii.Error, UnsupportedAlgorithm):
        raise ValueError("the text is no public key") from None
    if not isinstance(key, RSAPublicKey):
        raise ValueError("the key is no RSA key")  # noqa: TRY004 - the caller's one question is whether the text is fit.
    if not KEY_BITS_MIN <= key.key_size <= KEY_BITS_MAX:
        raise ValueError(f"the key must have {KEY_BITS_MIN} to {KEY_BITS_MAX} bits")
    return key


def _base64(text: bytes) -> bytes:
    return base64.b64decode(b"".join(text.split()), validate=True)


def verify(signature: DetachedSignature, covered: bytes, key: RSAPublicKey) -> None:
    """Return only when this key signed exactly these bytes.

    Raises:
        UntrustedWebhook: it did not.

    """
    try:
        key.verify(signature.value, covered, PKCS1v15(), SHA256())
    except InvalidSignature:
        raise UntrustedWebhook(Refusal.SIGNATURE_WRONG, "the signature does not fit the body") from None


def check_size(signature: DetachedSignature) -> None:
    """Refuse a signature that no key we take can have made: it is as long as its key (RFC 8017, 8.2.2).

    Raises:
        UntrustedWebhook: it is shorter or longer.

    """
    if not KEY_BITS_MIN <= len(signature.value) * BYTE_BITS <= KEY_BITS_MAX:
        raise UntrustedWebhook(Refusal.SIGNATURE_WRONG, "no key makes a signature of this length")


class SignatureVerifier:
    """Tells whether a body is genuine, with keys from wherever `find_key` gets them.

    `find_key` answers None for an id that the provider does not know, and raises `ApiUnavailable` when that
    cannot be said now.
    """

    def __init__(self, find_key: Callable[[str], Awaitable[RSAPublicKey | None]]) -> None:
        self._find_key = find_key

    async def verify(self, signatures: Sequence[str], body: bytes) -> str:
        """Give the id of the key that signed this body; `signatures` are all values of the signature header.

        A key is looked for only when everything else fits.

        Raises:
            UntrustedWebhook: it is not genuine, with a `Refusal`.
            ApiUnavailable: the key cannot be had now; the same webhook may be genuine later.

        """
        signature = read_signature(signatures)
        check_size(signature)
        covered = signing_input(signature, body)
        key = await self._find_key(signature.key_id)
        if key is None:
            raise UntrustedWebhook(Refusal.KEY_UNKNOWN, "the provider knows no key with this id")
        verify(signature, covered, key)
        return signature.key_id
