"""What a webhook claims: header values and body bytes in, values out.

Decides which signatures are worth a key look-up, which bytes they cover, and what configured paths find in a
genuine body. Never decides whether the signature holds (that needs a key), and trusts no word of the content:
a webhook is a hint, the API's own answer is the truth.
"""

import base64
import binascii
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from processor.core.keys import canonical_id
from processor.core.messages import WebhookReceived
from processor.core.model import DEFAULT_PROVIDER, Instant, JsonValue
from processor.core.paths import value_in
from processor.errors import UndecodableMessage, UntrustedWebhook

ALGORITHM: Final = "RS256"  # Fixed here: a message never chooses how it is verified (RFC 8725, 3.1).
SIGNATURE_CHARS_MAX: Final = 8_192
WORD_CHARS_MAX: Final = 256
PARTS: Final = 3

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Refusal(StrEnum):
    """Why a webhook is not believed: a closed list, fit for answers and metric labels."""

    SIGNATURE_MISSING = "signature-missing"
    SIGNATURE_REPEATED = "signature-repeated"
    SIGNATURE_MALFORMED = "signature-malformed"
    ALGORITHM_REFUSED = "algorithm-refused"
    CRITICAL_REFUSED = "critical-refused"
    KEY_ID_INVALID = "key-id-invalid"
    KEY_UNKNOWN = "key-unknown"
    SIGNATURE_WRONG = "signature-wrong"


class Unreadable(StrEnum):
    """Why a genuine webhook says nothing to us: a closed list, fit for dead letters and metric labels."""

    NOT_JSON = "webhook-not-json"
    NO_WORKFLOW_ID = "webhook-no-workflow-id"


@dataclass(frozen=True, slots=True)
class DetachedSignature:
    """A JWS in compact form, its payload usually left out (RFC 7515, appendix F)."""

    protected: str  # The first part as it was sent: the signature covers these characters.
    payload: str  # The middle part; empty when detached.
    value: bytes
    key_id: str  # A UUID in lower case, so that it can stand in a URL and in a cache.


@dataclass(frozen=True, slots=True)
class BodyPaths:
    """Where a body says what: dotted paths, the first that holds a word wins.

    The provider does not document the body; these defaults are a reading to be corrected by settings.
    """

    workflow_id: tuple[str, ...] = ("workflowId", "workflowExecutionId", "executionId", "id")
    status: tuple[str, ...] = ("status",)
    kind: tuple[str, ...] = ("type", "eventType", "event")
    record_id: tuple[str, ...] = ("recordId",)
    case_id: tuple[str, ...] = ("caseId",)
    definition_id: tuple[str, ...] = ("workflowDefinitionId",)


def read_signature(values: Sequence[str]) -> DetachedSignature:
    """Take the values of the signature header apart, by the rules of RFC 7515 and RFC 8725.

    A member that brings or names a key of its own (`jwk`, `jku`, `x5u`, `x5c`) is ignored: only `kid` is read.

    Raises:
        UntrustedWebhook: with a `Refusal`; the text never repeats what was sent.

    """
    if len(values) != 1:
        if values:
            raise UntrustedWebhook(Refusal.SIGNATURE_REPEATED, "the signature header must stand once")
        raise UntrustedWebhook(Refusal.SIGNATURE_MISSING, "the signature header is missing")
    parts = values[0].split(".") if len(values[0]) <= SIGNATURE_CHARS_MAX else []
    if len(parts) != PARTS:
        raise _malformed("the signature must be three parts with dots between")
    protected, payload, signature = parts
    header = _header_in(protected)
    value = _base64url(signature)
    if not value:
        raise _malformed("the third part of the signature is empty")
    return DetachedSignature(protected, payload, value, _key_id_in(header))


def signing_input(signature: DetachedSignature, body: bytes) -> bytes:
    """Say which bytes the signature covers when it belongs to this raw body.

    Raises:
        UntrustedWebhook: the signature brings a payload, and it is not this body.

    """
    payload = base64.urlsafe_b64encode(body).rstrip(b"=")
    if signature.payload and signature.payload.encode("utf-8", "replace") != payload:
        raise UntrustedWebhook(Refusal.SIGNATURE_WRONG, "the payload inside the signature is not the body")
    return signature.protected.encode("ascii") + b"." + payload


def read_body(
    body: bytes, paths: BodyPaths, *, key_id: str, received_at: Instant, provider: str = DEFAULT_PROVIDER
) -> WebhookReceived:
    """Find what a genuine body says; ids in lower case and without blanks around, as they become keys.

    `provider` is the profile whose key signed it. Of a name that stands twice in an object the last one counts.

    Raises:
        UndecodableMessage: with an `Unreadable`: it is no JSON object, or no path leads to a workflow id.

    """
    try:
        said: JsonValue = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise UndecodableMessage(Unreadable.NOT_JSON, "the body of a genuine webhook is no JSON object")
    workflow_id = _id(said, paths.workflow_id)
    if workflow_id is None:
        raise UndecodableMessage(Unreadable.NO_WORKFLOW_ID, "no configured path leads to a workflow id")
    return WebhookReceived(
        workflow_id=workflow_id,
        received_at=received_at,
        status=_word(said, paths.status),
        kind=_word(said, paths.kind),
        record_id=_id(said, paths.record_id),
        case_id=_id(said, paths.case_id),
        definition_id=_id(said, paths.definition_id),
        key_id=key_id,
        body=body,
        provider=provider,
    )


def _malformed(message: str) -> UntrustedWebhook:
    return UntrustedWebhook(Refusal.SIGNATURE_MALFORMED, message)


def _base64url(part: str) -> bytes:
    """Decode base64url without padding, strictly.

    Python skips characters outside the alphabet and drops left-over bits, so several texts would mean the same
    bytes; only the one that encoding gives back is taken.
    """
    try:
        text = part.encode("ascii")
        decoded = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except (UnicodeEncodeError, binascii.Error):
        raise _malformed("a part of the signature is not base64url") from None
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != text:
        raise _malformed("a part of the signature is not canonical base64url")
    return decoded


def _header_in(protected: str) -> dict[str, JsonValue]:
    """Read the protected header; a name that stands twice is refused (RFC 7515, 4)."""
    try:
        header = json.loads(_base64url(protected).decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise _malformed("the header of the signature is no JSON object with distinct names") from None
    if not isinstance(header, dict):
        raise _malformed("the header of the signature is no JSON object")
    if "crit" in header:
        raise UntrustedWebhook(Refusal.CRITICAL_REFUSED, "no critical extension of a signature is understood")
    if header.get("alg") != ALGORITHM:
        raise UntrustedWebhook(Refusal.ALGORITHM_REFUSED, f"the algorithm must be {ALGORITHM}")
    return header


def _once(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name stands twice")
    return members


def _key_id_in(header: dict[str, JsonValue]) -> str:
    """Take the key id only when it is a UUID: it becomes part of a URL."""
    key_id = header.get("kid")
    if not isinstance(key_id, str) or not _UUID.fullmatch(key_id.lower()):
        raise UntrustedWebhook(Refusal.KEY_ID_INVALID, "the key id must be a UUID")
    return key_id.lower()


def _id(said: JsonValue, paths: Sequence[str]) -> str | None:
    word = _word(said, paths)
    return None if word is None else canonical_id(word)


def _word(said: JsonValue, paths: Sequence[str]) -> str | None:
    """Give the first short printable text that a path leads to.

    Anything else counts as absent: long text would double the record's size, and text that cannot be printed
    cannot be encoded as a key or stand in a URL.
    """
    for path in paths:
        found = value_in(said, path)
        if isinstance(found, str) and len(found) <= WORD_CHARS_MAX and found.isprintable() and found.strip():
            return found.strip()
    return None
