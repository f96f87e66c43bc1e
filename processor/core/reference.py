"""Our own reference: planted in a workflow's parameters, it says whose run a workflow is when an answer repeats it.

It names launch key and request id, holds no personal data, and is text that survives JSON, forms and dashboards.
"""

import base64
import binascii
from typing import Final

PREFIX: Final = "onboarding-ref"
REFERENCE_CHARS_MAX: Final = 4_096
# Stands in a rendered body until the launch key is known; no value of a request can be equal to it by chance.
REFERENCE_MARK: Final = "onboarding-ref:d0c1f7f64a3f4f7e9b6f1c5f2f0f8b1e"

_PARTS: Final = 3
_LEAD: Final = f"{PREFIX}:".encode()
_MARK: Final = REFERENCE_MARK.encode()


def reference_of(launch_key: str, request_id: str) -> str:
    """Return the reference of a request that is launched under a key."""
    return f"{PREFIX}:{_encoded(launch_key)}:{_encoded(request_id)}"


def read_reference(text: str | None) -> tuple[str, str] | None:
    """Return launch key and request id of a reference, None for any other text."""
    if text is None or len(text) > REFERENCE_CHARS_MAX:
        return None
    parts = text.split(":")
    if len(parts) != _PARTS or parts[0] != PREFIX or not all(parts):
        return None
    try:
        launch_key, request_id = _decoded(parts[1]), _decoded(parts[2])
    except (binascii.Error, ValueError):
        return None
    return (launch_key, request_id) if reference_of(launch_key, request_id) == text else None


def with_reference(body: bytes, launch_key: str, request_id: str) -> bytes:
    """Return a rendered body with the reference where it is to stand."""
    if _MARK not in body:
        return body
    return body.replace(_MARK, reference_of(launch_key, request_id).encode())


def references_in(body: bytes) -> int:
    """Return how many texts of a rendered body look like a reference or its mark, whatever they stand within."""
    return body.count(_LEAD)


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _decoded(word: str) -> str:
    return base64.urlsafe_b64decode(word + "=" * (-len(word) % 4)).decode()
