"""Reading an answer of the provider's API: its JSON, ids, waits, and what may be told of a refusal.

Nothing of an answer but status, ids, error codes and fingerprint may become words: its messages may name people, and
links and tokens are bearer secrets.
"""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, NoReturn

import orjson

from processor.adapters.http import HttpAnswer
from processor.core.model import DAY_MS, Instant, JsonValue
from processor.core.reference import read_reference
from processor.core.schedule import ASKED_WAIT_MS_MAX

TEXT_CHARS_MAX: Final = 200  # Of ids and statuses: they become keys, headers and state.
SECRET_CHARS_MAX: Final = 16_384  # Of links and tokens.
LIFE_MS_MAX: Final = 366 * DAY_MS  # Of links and tokens; whatever claims to live longer says nothing.
CODES_MAX: Final = 5
UNREADABLE: Final = object()  # What a body without JSON holds.

_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SECONDS_DIGITS_MAX = 9


def refusal_words(answer: HttpAnswer) -> str:
    """Return what may be told of a refusal: status, error codes and fingerprint, never the provider's message."""
    words = f"HTTP {answer.status}"
    value = parsed(answer.body)
    if not isinstance(value, dict):
        return words
    errors = value.get("errors")
    errors = errors if isinstance(errors, Sequence) and not isinstance(errors, str) else ()
    codes = [code for error in errors[:CODES_MAX] if isinstance(error, dict) and (code := _code(error.get("code")))]
    if codes:
        words += f", codes {', '.join(codes)}"
    fingerprint = _code(value.get("fingerprint"))
    return f"{words}, fingerprint {fingerprint}" if fingerprint else words


def retry_after_ms(text: str | None, now: Instant) -> int | None:
    """Return the wait that `Retry-After` asks for, seconds or a date (RFC 9110, 10.2.3), at most 15 minutes.

    None where it is missing or means nothing.
    """
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdecimal():
        wait_ms = int(text[:_SECONDS_DIGITS_MAX]) * 1000
    else:
        try:
            moment = parsedate_to_datetime(text)
            wait_ms = int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000) - now
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    return min(max(wait_ms, 0), ASKED_WAIT_MS_MAX)


def parsed(body: bytes) -> object:
    """Return a body's JSON value, or something that is no JSON value where it holds none."""
    try:
        value: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _parsed_slowly(body)
    return value


def text_of(value: JsonValue) -> str | None:
    """Return an id or a status as text, None where it is missing or unfit to be a key, a header or a label."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not 0 < len(value) <= TEXT_CHARS_MAX or not value.isprintable():
        return None
    return value


def is_success(status: int) -> bool:
    """Say whether a status is one of the 2xx."""
    return 200 <= status < 300  # noqa: PLR2004  # RFC 9110, 15.3


def secret_of(value: JsonValue) -> str | None:
    """Return a link or a token, None where it is missing or unfit for an event."""
    if not isinstance(value, str) or not 0 < len(value) <= SECRET_CHARS_MAX or not value.isprintable():
        return None
    return value


def life_ms_of(seconds: JsonValue) -> int | None:
    """Return the life that `expiryDuration` gives a token in seconds, None where it means nothing."""
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds <= LIFE_MS_MAX / 1000:
        return None
    return int(seconds * 1000)


def left_ms_until(moment: JsonValue, now: Instant) -> int | None:
    """Return how long it is until an `expiresAt` (ISO 8601), at least 0; None where it means nothing."""
    if not isinstance(moment, str):
        return None
    try:
        read = datetime.fromisoformat(moment)
        left_ms = int(read.replace(tzinfo=read.tzinfo or UTC).timestamp() * 1000) - now
    except (ValueError, OverflowError):
        return None
    return max(left_ms, 0) if left_ms <= LIFE_MS_MAX else None


def reference_in(parameters: JsonValue) -> str | None:
    """Return our own reference among the parameters that an answer repeats, None where there is none.

    Nor where there are different ones: all but one were copied there, and nothing tells which.
    """
    if not isinstance(parameters, dict):
        return None
    texts = (value for value in parameters.values() if isinstance(value, str))
    found = {text for text in texts if read_reference(text) is not None}
    return found.pop() if len(found) == 1 else None


def _code(value: object) -> str | None:
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None


def _parsed_slowly(body: bytes) -> object:
    """Read what orjson refuses although it is JSON: half of a surrogate pair, as upstream may have cut a name."""
    try:
        value: object = json.loads(body.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return UNREADABLE
    return value


def _refuse(word: str) -> NoReturn:
    raise ValueError(word)
