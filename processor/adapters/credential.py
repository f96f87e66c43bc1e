"""Who we are at the provider, as the calls see it, and the organisation token, which is sent as it is."""

import re
from collections.abc import Mapping
from typing import Final, Protocol, TypeAlias

from processor.core.proof import Operation
from processor.errors import SettingsInvalid
from processor.settings import CredentialKind

Header: TypeAlias = tuple[str, str]

KIND_OF: Final[Mapping[Operation, CredentialKind]] = {
    Operation.CREATE_RECORD: CredentialKind.CREATE,
    Operation.CREATE_CASE: CredentialKind.CREATE,
    Operation.SET_PARAMETERS: CredentialKind.CREATE,
    Operation.RUN: CredentialKind.START,
    Operation.ISSUE_TOKEN: CredentialKind.START,
    Operation.ISSUE_LINK: CredentialKind.START,
    Operation.SEND_LINK: CredentialKind.START,
    Operation.READ_STATUS: CredentialKind.READ,
    Operation.READ_RESULT: CredentialKind.READ,
    Operation.READ_CASE: CredentialKind.READ,
}

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
            raise SettingsInvalid("an organisation token is ASCII without blanks; copy it once more")
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


class Credentials:
    """Who we are at one profile of the provider, for each kind of calls."""

    def __init__(self, by_kind: Mapping[CredentialKind, Credential]) -> None:
        """Serve these kinds; one credential may serve several of them."""
        self._by_kind = by_kind
        self._by_operation = {operation: by_kind[kind] for operation, kind in KIND_OF.items()}
        self._all = tuple(dict.fromkeys(by_kind.values()))

    def of(self, operation: Operation) -> Credential:
        """Return the credential for an operation."""
        return self._by_operation[operation]

    def is_ready(self) -> bool:
        """Whether every kind of call would find a token: a run whose result nobody may read is not started."""
        return all(one.is_ready() for one in self._all)

    def why_not(self) -> str | None:
        """Say which kind has no token, and why; None when all have one."""
        kinds = [kind for kind, one in self._by_kind.items() if not one.is_ready()]
        if not kinds:
            return None
        why = self._by_kind[kinds[0]].why_not()
        return why if len(kinds) == len(self._by_kind) else f"{kinds[0]}: {why}"

    async def ready(self) -> None:
        """Wait until every kind has one."""
        for one in self._all:
            await one.ready()

    def start(self) -> None:
        """Begin to obtain tokens."""
        for one in self._all:
            one.start()

    async def close(self) -> None:
        """Stop obtaining tokens."""
        for one in self._all:
            await one.close()
