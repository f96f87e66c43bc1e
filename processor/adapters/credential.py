"""Who we are at the provider, as the calls see it, and the organisation token, which is sent as it is."""

import re
from typing import Protocol, TypeAlias

from processor.errors import SettingsInvalid

Header: TypeAlias = tuple[str, str]

_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")


def is_token(text: str) -> bool:
    """Say whether a header can carry a token."""
    return _TOKEN.fullmatch(text) is not None


class Credential(Protocol):
    """What makes a call ours, for one event loop."""

    @property
    def header(self) -> Header | None:
        """The `Authorization` header, None while there is no valid token."""
        ...

    def is_ready(self) -> bool:
        """Whether there is a token; may be asked on any thread."""
        ...

    def why_not(self) -> str | None:
        """Say why there is none, None when there is one."""
        ...

    async def ready(self) -> None:
        """Wait until there is one."""
        ...

    async def renew(self, stale: Header) -> Header | None:
        """Return a newer header than one that met 401; the same where none can be had, None where none can be now."""
        ...

    def start(self) -> None:
        """Begin to obtain tokens; to be called on the event loop."""
        ...

    async def close(self) -> None:
        """Stop obtaining tokens; the HTTP client stays open."""
        ...


class OrganisationToken:
    """A `Credential` that never changes and is sent bare."""

    def __init__(self, token: str) -> None:
        if not is_token(token.strip()):
            raise SettingsInvalid("PROCESSOR_API__TOKEN: a token is ASCII without blanks; copy it once more")
        self._header: Header = ("authorization", token.strip())

    @property
    def header(self) -> Header | None:
        """The header."""
        return self._header

    def is_ready(self) -> bool:
        """Say yes: whether it is valid, the first call tells."""
        return True

    def why_not(self) -> str | None:
        """Return None; see the protocol."""
        return None

    async def ready(self) -> None:
        """Return at once."""

    async def renew(self, stale: Header) -> Header | None:
        """Return the same: only a person can change it."""
        return stale

    def start(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""
