"""Which signatures are believed: the attacks of the JOSE world, one row each."""

import asyncio
import base64
import hashlib
import hmac
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from processor.adapters.jws import SignatureVerifier, read_key
from processor.core.webhook import Refusal
from processor.errors import UntrustedWebhook
from tests.adapters.webhook_support import (
    BODY,
    HEADER,
    KEY_ID,
    OTHER_KEY_ID,
    base64url,
    der_base64,
    elliptic_pem,
    pem,
    private_key,
    protected,
    short_pem,
    sign,
)

SHA256_PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")  # DigestInfo, RFC 8017 9.2, note 1.


# A key is looked for before these only: everything else is refused at no cost of the provider's.
LOOKED_FOR = frozenset({Refusal.KEY_UNKNOWN, Refusal.SIGNATURE_WRONG})


@dataclass
class FakeKeys:
    """The provider's keys by hand, and which were looked for."""

    asked: list[str] = field(default_factory=list)

    async def find(self, key_id: str) -> RSAPublicKey | None:
        self.asked.append(key_id)
        return private_key().public_key() if key_id == KEY_ID else None


def _verdict(signatures: Sequence[str], body: bytes = BODY, keys: FakeKeys | None = None) -> str:
    """Give the key id of what is believed, else the refusal."""
    try:
        return asyncio.run(SignatureVerifier((keys or FakeKeys()).find).verify(signatures, body))
    except UntrustedWebhook as refused:
        return refused.reason


def _with(**members: object) -> str:
    return sign(header={**HEADER, **members})


def _hmac_with_public_key() -> str:
    first = protected({"alg": "HS256", "kid": KEY_ID})
    covered = f"{first}.{base64url(BODY)}".encode()
    return f"{first}..{base64url(hmac.digest(pem(private_key()), covered, 'sha256'))}"


def _other_hash() -> str:
    first = protected(HEADER)
    covered = f"{first}.{base64url(BODY)}".encode()
    return f"{first}..{base64url(private_key().sign(covered, PKCS1v15(), SHA512()))}"


def _unencoded() -> str:
    """Sign the body as RFC 7797 would have it: not encoded, and without saying so in `crit`."""
    first = protected({**HEADER, "b64": False})
    covered = first.encode() + b"." + BODY
    return f"{first}..{base64url(private_key().sign(covered, PKCS1v15(), SHA256()))}"


def _pss() -> str:
    first = protected(HEADER)
    covered = f"{first}.{base64url(BODY)}".encode()
    return f"{first}..{base64url(private_key().sign(covered, PSS(MGF1(SHA256()), 32), SHA256()))}"


def _short_key() -> str:
    return sign(key=rsa.generate_private_key(public_exponent=65_537, key_size=1_024))  # noqa: S505 - it is to be refused.


def _parts() -> tuple[str, str]:
    first, _, last = sign().split(".")
    return first, last


def test_a_genuine_webhook_is_believed() -> None:
    """A detached signature over the raw body tells which key made it."""
    assert _verdict([sign()]) == KEY_ID


def test_the_signature_is_what_the_standards_say() -> None:
    """A signature made by hand from RFC 7515 and RFC 8017 is believed, so both sides cannot share a misreading."""
    numbers = private_key().private_numbers()
    first = protected(HEADER)
    digest = SHA256_PREFIX + hashlib.sha256(f"{first}.{base64url(BODY)}".encode()).digest()
    size = private_key().key_size // 8
    padded = b"\x00\x01" + b"\xff" * (size - len(digest) - 3) + b"\x00" + digest
    value = pow(int.from_bytes(padded), numbers.d, numbers.public_numbers.n).to_bytes(size)
    assert _verdict([f"{first}..{base64url(value)}"]) == KEY_ID


def test_a_payload_inside_the_signature_must_be_the_body() -> None:
    """The middle part may repeat the body; any other content there is refused."""
    (first, last), keys = _parts(), FakeKeys()
    assert _verdict([f"{first}.{base64url(BODY)}.{last}"]) == KEY_ID
    assert _verdict([f"{first}.{base64url(BODY + b' ')}.{last}"], keys=keys) == Refusal.SIGNATURE_WRONG
    assert _verdict([f"{first}.{base64url(BODY)}.{last}"], BODY + b" ", keys) == Refusal.SIGNATURE_WRONG
    assert _verdict([f"{first}.{base64url(BODY)}=.{last}"], keys=keys) == Refusal.SIGNATURE_WRONG
    assert _verdict([f"{first}.\udce9.{last}"], keys=keys) == Refusal.SIGNATURE_WRONG
    assert keys.asked == []


def test_a_key_id_counts_in_any_case() -> None:
    """A UUID in capitals is the same key, under one name in the cache."""
    assert _verdict([_with(kid=KEY_ID.upper())]) == KEY_ID


@pytest.mark.parametrize(
    "signatures, refusal",
    [
        ([], Refusal.SIGNATURE_MISSING),
        ([sign(), sign()], Refusal.SIGNATURE_REPEATED),
        ([sign(), "x"], Refusal.SIGNATURE_REPEATED),
        ([sign() + "," + sign()], Refusal.SIGNATURE_MALFORMED),
        ([sign() + ", " + sign()], Refusal.SIGNATURE_MALFORMED),
        ([sign() + ","], Refusal.SIGNATURE_MALFORMED),
        ([""], Refusal.SIGNATURE_MALFORMED),
        (["a.b"], Refusal.SIGNATURE_MALFORMED),
        ([sign() + ".x"], Refusal.SIGNATURE_MALFORMED),
        ([sign() + "="], Refusal.SIGNATURE_MALFORMED),
        ([" " + sign()], Refusal.SIGNATURE_MALFORMED),
        ([sign() + "\n"], Refusal.SIGNATURE_MALFORMED),
        ([sign()[:-2] + "!!"], Refusal.SIGNATURE_MALFORMED),
        ([sign()[:-1]], Refusal.SIGNATURE_MALFORMED),
        ([sign()[1:]], Refusal.SIGNATURE_MALFORMED),
        ([sign().replace("..", "=..")], Refusal.SIGNATURE_MALFORMED),
        ([sign() + "=="], Refusal.SIGNATURE_MALFORMED),
        ([sign() + " "], Refusal.SIGNATURE_MALFORMED),
        (["\t" + sign()], Refusal.SIGNATURE_MALFORMED),
        ([sign().replace("..", " .. ")], Refusal.SIGNATURE_MALFORMED),
        ([_parts()[0] + ".." + _parts()[1].replace("-", "+").replace("_", "/") + "/+"], Refusal.SIGNATURE_MALFORMED),
        ([".."], Refusal.SIGNATURE_MALFORMED),
        ([".." + _parts()[1]], Refusal.SIGNATURE_MALFORMED),
        ([sign().replace(".", "\u2024")], Refusal.SIGNATURE_MALFORMED),
        ([sign() + "\u00e9"], Refusal.SIGNATURE_MALFORMED),
        (["A" * 9_000 + ".." + "A" * 8], Refusal.SIGNATURE_MALFORMED),
        ([protected(HEADER) + ".."], Refusal.SIGNATURE_MALFORMED),
        ([base64url(b"not json") + "..AAAA"], Refusal.SIGNATURE_MALFORMED),
        ([base64url(b"[" * 3_000) + "..AAAA"], Refusal.SIGNATURE_MALFORMED),
        ([base64url(b'{"alg":' + b"9" * 5_000 + b"}") + "..AAAA"], Refusal.SIGNATURE_MALFORMED),
        ([base64url(b"\xff\xfe") + "..AAAA"], Refusal.SIGNATURE_MALFORMED),
        ([sign(header=["RS256", KEY_ID])], Refusal.SIGNATURE_MALFORMED),
        ([sign(header=None)], Refusal.SIGNATURE_MALFORMED),
        (
            [base64url(b'{"alg":"RS256","alg":"none","kid":"' + KEY_ID.encode() + b'"}') + "..AAAA"],
            "signature-malformed",
        ),
        ([protected({"alg": "none", "kid": KEY_ID}) + ".."], Refusal.ALGORITHM_REFUSED),
        ([_with(alg="none")], Refusal.ALGORITHM_REFUSED),
        ([_with(alg="nOnE")], Refusal.ALGORITHM_REFUSED),
        ([_with(alg="rs256")], Refusal.ALGORITHM_REFUSED),
        ([_with(alg="RS512")], Refusal.ALGORITHM_REFUSED),
        ([_with(alg="PS256")], Refusal.ALGORITHM_REFUSED),
        ([_with(alg=["RS256"])], Refusal.ALGORITHM_REFUSED),
        ([_with(alg=None)], Refusal.ALGORITHM_REFUSED),
        ([sign(header={"kid": KEY_ID})], Refusal.ALGORITHM_REFUSED),
        ([_hmac_with_public_key()], Refusal.ALGORITHM_REFUSED),
        ([_with(crit=["b64"], b64=False)], Refusal.CRITICAL_REFUSED),
        ([_with(crit=["urn:example:new"])], Refusal.CRITICAL_REFUSED),
        ([_with(crit=[])], Refusal.CRITICAL_REFUSED),
        ([_with(crit=None)], Refusal.CRITICAL_REFUSED),
        ([_with(crit=["alg"])], Refusal.CRITICAL_REFUSED),
        ([_with(crit=["exp"], exp=1)], Refusal.CRITICAL_REFUSED),
        ([sign(header={"alg": "RS256"})], Refusal.KEY_ID_INVALID),
        ([_with(kid=None)], Refusal.KEY_ID_INVALID),
        ([_with(kid=7)], Refusal.KEY_ID_INVALID),
        ([_with(kid="")], Refusal.KEY_ID_INVALID),
        ([_with(kid=[KEY_ID])], Refusal.KEY_ID_INVALID),
        ([_with(kid={"id": KEY_ID})], Refusal.KEY_ID_INVALID),
        ([_with(kid="{" + KEY_ID + "}")], Refusal.KEY_ID_INVALID),
        ([_with(kid=KEY_ID.replace("-", ""))], Refusal.KEY_ID_INVALID),
        ([_with(kid="//169.254.169.254/latest")], Refusal.KEY_ID_INVALID),
        ([_with(kid="%2e%2e%2f" + KEY_ID)], Refusal.KEY_ID_INVALID),
        ([_with(kid=KEY_ID + "\x00")], Refusal.KEY_ID_INVALID),
        ([_with(kid="../../../dev/null")], Refusal.KEY_ID_INVALID),
        ([_with(kid=f"{KEY_ID}/../{OTHER_KEY_ID}")], Refusal.KEY_ID_INVALID),
        ([_with(kid="https://evil.example/key")], Refusal.KEY_ID_INVALID),
        ([_with(kid="file:///etc/passwd")], Refusal.KEY_ID_INVALID),
        ([_with(kid="' UNION SELECT 'key")], Refusal.KEY_ID_INVALID),
        ([_with(kid=KEY_ID + "\n")], Refusal.KEY_ID_INVALID),
        ([_with(kid=KEY_ID + "?pem=false")], Refusal.KEY_ID_INVALID),
        ([_with(kid=KEY_ID.replace("0", "\u0660"))], Refusal.KEY_ID_INVALID),
        ([_with(kid=OTHER_KEY_ID)], Refusal.KEY_UNKNOWN),
        ([sign(key=private_key("attacker"))], Refusal.SIGNATURE_WRONG),
        ([sign(header={**HEADER, "jku": "https://evil.example/keys"}, key=private_key("attacker"))], "signature-wrong"),
        ([sign(header={**HEADER, "x5u": "https://evil.example/x"}, key=private_key("attacker"))], "signature-wrong"),
        (
            [
                sign(
                    header={**HEADER, "x5c": [der_base64(private_key("attacker")).decode()]},
                    key=private_key("attacker"),
                )
            ],
            Refusal.SIGNATURE_WRONG,
        ),
        ([sign(header={**HEADER, "jwk": {"kty": "RSA", "e": "AQAB"}}, key=private_key("attacker"))], "signature-wrong"),
        ([_other_hash()], Refusal.SIGNATURE_WRONG),
        ([_pss()], Refusal.SIGNATURE_WRONG),
        ([_unencoded()], Refusal.SIGNATURE_WRONG),
        ([sign(BODY + b"\n")], Refusal.SIGNATURE_WRONG),
        ([protected(HEADER) + ".." + base64url(bytes(256))], Refusal.SIGNATURE_WRONG),
        ([protected(HEADER) + ".." + base64url(b"\xff" * 256)], Refusal.SIGNATURE_WRONG),
        ([protected(HEADER) + ".." + base64url(bytes(255) + b"\x01")], Refusal.SIGNATURE_WRONG),
    ],
)
def test_a_forged_webhook_is_refused(signatures: list[str], refusal: str) -> None:
    """Each known attack ends in its own refusal, and looks for a key only where nothing else speaks against it."""
    keys = FakeKeys()
    assert _verdict(signatures, keys=keys) == refusal
    assert len(keys.asked) == (refusal in LOOKED_FOR)


@pytest.mark.parametrize(
    "signature", [protected(HEADER) + "..AAAA", _short_key(), protected(HEADER) + ".." + "A" * 1_368]
)
def test_a_signature_of_no_key_s_length_is_refused_without_a_key(signature: str) -> None:
    """A signature is as long as its key, and we take keys of 2,048 to 8,192 bits."""
    keys = FakeKeys()
    assert _verdict([signature], keys=keys) == Refusal.SIGNATURE_WRONG
    assert keys.asked == []


def test_a_key_named_by_the_message_is_never_used() -> None:
    """A genuine signature stays genuine whatever foreign key its header also names: only `kid` is read."""
    assert _verdict([_with(jku="https://evil.example/keys", x5u="file:///x", jwk={"kty": "oct", "k": "AA"})]) == KEY_ID


def test_every_flipped_bit_is_refused() -> None:
    """No bit of header, signature or body can be turned without the webhook being refused."""
    chance = random.Random(16)
    signature, refused = sign(), 0
    verifier = SignatureVerifier(FakeKeys().find)
    text = signature.encode()
    places = [(True, at) for at in range(len(text) * 8)] + [(False, at) for at in range(len(BODY) * 8)]

    async def flips() -> None:
        nonlocal refused
        for is_header, at in chance.sample(places, 2_000):
            flipped = bytearray(text if is_header else BODY)
            flipped[at // 8] ^= 1 << at % 8
            try:
                if is_header:
                    await verifier.verify([flipped.decode("utf-8", "surrogateescape")], BODY)
                else:
                    await verifier.verify([signature], bytes(flipped))
            except UntrustedWebhook:
                refused += 1

    asyncio.run(flips())
    assert refused == 2_000


def test_no_second_spelling_of_a_signature_is_believed() -> None:
    """Left-over bits of base64url and a signature plus the modulus mean the same number, and are refused."""
    first, last = _parts()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    respelt = last[:-1] + alphabet[alphabet.index(last[-1]) + 1]
    assert base64.urlsafe_b64decode(respelt + "==") == base64.urlsafe_b64decode(last + "==")
    assert _verdict([f"{first}..{respelt}"]) == Refusal.SIGNATURE_MALFORMED
    value = int.from_bytes(base64.urlsafe_b64decode(last + "=="))
    larger = value + private_key().public_key().public_numbers().n
    assert _verdict([f"{first}..{base64url(larger.to_bytes(257))}"]) == Refusal.SIGNATURE_WRONG


def test_a_refusal_never_repeats_what_was_sent() -> None:
    """The text of a refusal is ours alone."""
    canary = "canary-4711"
    for signature in (
        canary,
        _with(kid=canary),
        _with(alg=canary),
        _with(crit=[canary]),
        f"{canary}.{canary}.{canary}",
    ):
        with pytest.raises(UntrustedWebhook) as refused:
            asyncio.run(SignatureVerifier(FakeKeys().find).verify([signature], BODY))
        assert canary not in str(refused.value) + refused.value.reason


@pytest.mark.parametrize(
    "text",
    [
        pem(private_key()),
        der_base64(private_key()),
        b"\n" + pem(private_key()) + b"\r\n\r\n",
        pem(private_key()).replace(b"\n", b"\r\n"),
        b"".join(pem(private_key()).splitlines(keepends=True)[1:-1]),
        der_base64(private_key()) + b"\n",
        private_key().public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        base64.b64encode(private_key().public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)),
    ],
)
def test_a_key_is_read_in_both_forms(text: bytes) -> None:
    """The endpoint's PEM and its plain base64 give the same key, whichever was asked for and however it is broken."""
    assert read_key(text).public_numbers() == private_key().public_key().public_numbers()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html>oops</html>",
        json.dumps({"kty": "oct", "k": "AA"}).encode(),
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        pem(private_key())[:-60],
        der_base64(private_key())[:-8],
        base64.urlsafe_b64encode(b"\xff" * 300),
        b"\xff" * 300,
        short_pem(),
        elliptic_pem(),
    ],
)
def test_what_is_no_fit_key_is_refused(text: bytes) -> None:
    """Another kind of key, one that is too short, and no key at all are refused."""
    with pytest.raises(ValueError, match="key"):
        read_key(text)
