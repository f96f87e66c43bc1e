"""The webhooks' signature: RS256 over the raw body, as a detached JWS (RFC 7515, appendix F)."""

from base64 import b64encode, urlsafe_b64encode
from enum import StrEnum
from uuid import NAMESPACE_URL, uuid5

import orjson
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

HEADER = "JWS-SIGNATURE"
KEY_BITS = 2048


class Signature(StrEnum):
    """How a webhook is signed."""

    GOOD = "good"
    NONE = "none"
    WRONG = "wrong"  # Well formed, by the right key, over other bytes.


class Signer:
    """One RSA key; its id follows from the public key, so that a given key keeps its id."""

    def __init__(self, private_key: str = "") -> None:
        """Read the PEM text, or make a key; raises ValueError when it is no RSA private key."""
        key = (
            load_pem_private_key(private_key.encode(), password=None)
            if private_key
            else rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
        )
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError("signing_key must be an RSA private key")  # noqa: TRY004  # a setting's value, not a type
        self._key = key
        public = key.public_key()
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.key_id = str(uuid5(NAMESPACE_URL, der.hex()))
        self.pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.base64 = b64encode(der)
        self._header = base64url(orjson.dumps({"alg": "RS256", "kid": self.key_id, "typ": "JWT"}))

    def sign(self, body: bytes, signature: Signature = Signature.GOOD) -> str | None:
        """Return the value of the header for `body`, None for no header."""
        if signature is Signature.NONE:
            return None
        signed = body if signature is Signature.GOOD else body + b" "
        proof = self._key.sign(self._header + b"." + base64url(signed), padding.PKCS1v15(), SHA256())
        return f"{self._header.decode()}..{base64url(proof).decode()}"


class Keys:
    """The key that signs and the one before it; the first is made when it is needed, for that takes its time."""

    def __init__(self, private_key: str = "") -> None:
        self._private_key = private_key
        self._alive: tuple[Signer, ...] = ()

    @property
    def current(self) -> Signer:
        """The key that signs now; raises ValueError when the given one is no RSA private key."""
        if not self._alive:
            self._alive = (Signer(self._private_key),)
        return self._alive[0]

    def rotate(self, private_key: str = "") -> Signer:
        """Sign with another key from now on; the last one can still be read, the one before it no more."""
        self._alive = (Signer(private_key), self.current)
        return self.current

    def find(self, key_id: str) -> Signer | None:
        """Return a key that is alive."""
        alive = (self.current, *self._alive[1:])
        return next((signer for signer in alive if signer.key_id == key_id.lower()), None)


def base64url(raw: bytes) -> bytes:
    """Encode for a URL without padding (RFC 7515, section 2)."""
    return urlsafe_b64encode(raw).rstrip(b"=")
