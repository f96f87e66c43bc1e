"""The kinds of values that settings hold: how each is read from text, and what of it is refused, and why."""

import json
import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field

PROXY_PORT = 80  # That of an address without one (RFC 9110, 4.2.1).
PORT_MAX = 65_535


def listed(value: object) -> object:
    """Read `a,b` or a JSON list as a list."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    return json.loads(text) if text.startswith("[") else [word.strip() for word in text.split(",") if word.strip()]


def _properties(value: object) -> object:
    """Read a JSON object; numbers and booleans become the text that librdkafka reads."""
    read = json.loads(value or "{}") if isinstance(value, str) else value
    if not isinstance(read, dict):
        message = 'give a JSON object such as {"security.protocol": "SASL_SSL"}'
        raise ValueError(message)  # noqa: TRY004  # pydantic collects ValueErrors
    return {str(name): given if isinstance(given, str) else json.dumps(given) for name, given in read.items()}


def checked_url(value: object) -> object:
    """Refuse an address that holds a password or is none."""
    if not isinstance(value, str) or not value:
        return value
    scheme, _, rest = value.partition("://")
    if scheme not in {"http", "https"} or not rest.split("/")[0]:
        message = "give an address that begins with https:// (or http://)"
        raise ValueError(message)
    if "@" in rest.split("/")[0]:
        message = "an address may hold no user name or password; they have settings of their own"
        raise ValueError(message)
    return value.rstrip("/")


def _proxy_url(value: object) -> object:
    """Refuse what is no http:// proxy, and one that holds a password."""
    if not isinstance(value, str) or not value:
        return value
    scheme, _, place = value.removesuffix("/").partition("://")
    if "@" in place:
        message = "the proxy's address may hold no user name or password; they have settings of their own"
        raise ValueError(message)
    found = re.fullmatch(r"(?:[^\s/?#:\[\]]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?", place)
    if scheme != "http" or found is None or not 0 < int(found[1] or PROXY_PORT) <= PORT_MAX:
        message = "give a proxy such as http://proxy:3128, without a path"
        raise ValueError(message)
    return f"{scheme}://{place}"


Words = Annotated[tuple[str, ...], BeforeValidator(listed)]
Properties = Annotated[Mapping[str, str], BeforeValidator(_properties)]
Url = Annotated[str, BeforeValidator(checked_url)]
ProxyUrl = Annotated[str, BeforeValidator(_proxy_url)]
Port = Annotated[int, Field(ge=0, le=PORT_MAX)]
Seconds = Annotated[float, Field(gt=0, le=90 * 86_400, allow_inf_nan=False)]
Millis = Annotated[int, Field(gt=0, le=86_400_000)]
Count = Annotated[int, Field(gt=0)]
TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
HttpPath = Annotated[str, Field(pattern=r"^/\S*$")]
Member = Annotated[str, Field(min_length=1)]
