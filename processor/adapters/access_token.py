"""The access token from key and secret: obtained once for all who ask, and renewed ahead of time.

Tokens, keys and secrets stay in here and in the requests that carry them: no log, text or error shows one.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

import orjson

from processor.adapters.api_answers import is_success, parsed, refusal_words
from processor.adapters.credential import Credential, Credentials, Header, OrganisationToken, is_token
from processor.adapters.http import HttpAnswer, HttpClient, HttpFailure, HttpRequest
from processor.core.schedule import backoff_ms
from processor.errors import SettingsInvalid
from processor.settings import ApiSettings, CredentialKind, CredentialSettings

AUTHORIZE_PATH: Final = "/auth/authorize"
REFRESH_PATH: Final = "/auth/refresh"
REFUSALS: Final = frozenset({400, 401, 403})  # The provider documents 400 in one text and 401 in another.
HEADER_VERSION_MAX: Final = 2  # The third generation has paths of its own, and no version in headers.
LIFETIME_S_MAX: Final = 86_400.0
LIFETIME_S_UNTOLD: Final = 300.0


class TokenOutcome(StrEnum):
    """What became of an attempt to obtain a token."""

    RENEWED = "renewed"
    REFUSED = "refused"  # The provider does not know our key and secret.
    FAILED = "failed"  # It could not be asked, or its answer makes no sense.


TokenListener: TypeAlias = Callable[
    [TokenOutcome, str], None
]  # With HTTP status and error codes, or why there is none.


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """When tokens are asked for."""

    renew_share: float = 0.8  # Of a token's life.
    refused_s: float = 30.0  # Until refused credentials are tried again: somebody may mend them at the provider.
    failed_ms_first: int = 1_000  # Longest first wait after a failure; doubled up to the next.
    failed_ms_max: int = 30_000
    forced_s: float = 1.0  # Between two renewals that a 401 demands, should the provider answer 401 to everything.


def credentials(api: ApiSettings, client: HttpClient, tell: TokenListener) -> Credentials:
    """Return the credentials of a profile: one for each distinct setting, though it serve several kinds of calls.

    `client` is for authorize and refresh alone. Raises SettingsInvalid as `credential` does.
    """
    made: dict[CredentialSettings, Credential] = {}
    by_kind: dict[CredentialKind, Credential] = {}
    for kind in (CredentialKind.CREATE, CredentialKind.START, CredentialKind.READ):
        given = api.credential(kind)
        if given not in made:
            made[given] = credential(api, client, tell, kind)
        by_kind[kind] = made[given]
    return Credentials(by_kind)


def credential(
    api: ApiSettings, client: HttpClient, tell: TokenListener, kind: CredentialKind | None = None
) -> Credential:
    """Return the credential that the settings name for a kind of calls; None asks for the profile's own.

    `client` is for authorize and refresh alone. Raises SettingsInvalid where there is none, or one that no header can
    carry.
    """
    given = api.credential(kind)
    if given.token is not None:
        return OrganisationToken(given.token.get_secret_value())
    if given.key is None or given.secret is None:
        raise SettingsInvalid(
            "PROCESSOR_API__KEY: there are no credentials; set it and PROCESSOR_API__SECRET, or PROCESSOR_API__TOKEN"
        )
    return AccessToken(api, client, tell, given=given)


@dataclass(frozen=True, slots=True)
class _Tokens:
    access: str = field(repr=False)
    refresh: str | None = field(repr=False)
    lifetime_s: float


@dataclass(frozen=True, slots=True)
class _Denied:
    outcome: TokenOutcome
    why: str


class AccessToken:
    """A `Credential` from key and secret, valid for an hour or so and renewed in the background.

    One attempt is under way at a time, whoever asks. While a renewal fails, the old token serves until its end.
    """

    def __init__(
        self,
        api: ApiSettings,
        client: HttpClient,
        tell: TokenListener,
        policy: TokenPolicy = TokenPolicy(),
        *,
        given: CredentialSettings | None = None,
    ) -> None:
        """Be who `given` says, without it the profile itself."""
        given = given or api.credential()
        assert given.key is not None, "an access token needs a key"
        assert given.secret is not None, "an access token needs a secret"
        self._base_url = api.base_url
        self._credentials = {"key": given.key.get_secret_value(), "secret": given.secret.get_secret_value()}
        self._headers: tuple[Header, ...] = (
            ("accept", f"application/json;version={min(api.version, HEADER_VERSION_MAX)}"),
            ("content-type", api.content_type),
        )
        self._deadline_s = api.call_deadline_s
        self._client = client
        self._tell = tell
        self._policy = policy
        self._seed = secrets.token_hex(8)
        self._header: Header | None = None
        self._refresh_token: str | None = None
        self._why = "no token was obtained yet"
        self._expires_at_s = self._due_at_s = self._forced_at_s = float("-inf")
        self._failures = 0
        self._flight: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._is_there = asyncio.Event()
        self._is_due_changed = asyncio.Event()

    @property
    def header(self) -> Header | None:
        """The header; see the protocol."""
        return self._header

    def is_ready(self) -> bool:
        """Whether there is a token; see the protocol."""
        return self._header is not None

    def why_not(self) -> str | None:
        """Say why there is none; see the protocol."""
        return self._why if self._header is None else None

    async def ready(self) -> None:
        """Wait until there is one."""
        while self._header is None:
            await self._is_there.wait()

    async def renew(self, stale: Header) -> Header | None:
        """Authorize anew, unless a newer token is there already or on its way."""
        if self._header == stale:
            self._drop()
            self._fly(is_forced=True)
        if self._header is None and self._flight is not None and not self._flight.done():
            await asyncio.shield(self._flight)  # A caller that gives up must not take it from the others.
        return self._header

    def start(self) -> None:
        """Begin to obtain tokens; see the protocol."""
        self._keeper = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Stop; see the protocol."""
        tasks = [task for task in (self._keeper, self._flight) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self) -> None:
        while True:
            await asyncio.shield(self._fly(is_forced=False))
            while (left_s := self._due_at_s - time.monotonic()) > 0:
                self._is_due_changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(left_s):
                        await self._is_due_changed.wait()

    def _fly(self, *, is_forced: bool) -> asyncio.Task[None]:
        if self._flight is None or self._flight.done():
            self._flight = asyncio.create_task(self._obtain(is_forced=is_forced))
        return self._flight

    async def _obtain(self, *, is_forced: bool) -> None:
        """Make one attempt; nothing that goes wrong in it may end the next."""
        try:
            told = await self._authorized_after_401() if is_forced else await self._renewed()
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no token
            told = _Denied(TokenOutcome.FAILED, type(error).__name__)
        if isinstance(told, _Tokens):
            self._take(told)
        else:
            self._fail(told)
        self._is_due_changed.set()

    async def _authorized_after_401(self) -> _Tokens | _Denied:
        await asyncio.sleep(self._forced_at_s + self._policy.forced_s - time.monotonic())
        self._forced_at_s = time.monotonic()
        return await self._ask(AUTHORIZE_PATH, self._credentials)

    async def _renewed(self) -> _Tokens | _Denied:
        if self._refresh_token is not None:
            told = await self._ask(REFRESH_PATH, {"refreshToken": self._refresh_token})
            if isinstance(told, _Tokens):
                return told
            self._refresh_token = None
        return await self._ask(AUTHORIZE_PATH, self._credentials)

    async def _ask(self, path: str, body: dict[str, str]) -> _Tokens | _Denied:
        url = self._base_url + path
        return _read(
            await self._client.send(HttpRequest("POST", url, self._headers, orjson.dumps(body), self._deadline_s))
        )

    def _take(self, tokens: _Tokens) -> None:
        now_s = time.monotonic()
        self._header = ("authorization", f"Bearer {tokens.access}")
        self._refresh_token = tokens.refresh or self._refresh_token
        self._expires_at_s = now_s + tokens.lifetime_s
        self._due_at_s = now_s + tokens.lifetime_s * self._policy.renew_share
        self._failures = 0
        self._is_there.set()
        self._tell(TokenOutcome.RENEWED, "")

    def _fail(self, denied: _Denied) -> None:
        now_s = time.monotonic()
        self._failures += 1
        self._why = f"token {denied.outcome}: {denied.why}"
        if now_s >= self._expires_at_s:
            self._drop()
        policy = self._policy
        wait_ms = backoff_ms(
            self._failures, seed=self._seed, first_ms=policy.failed_ms_first, max_ms=policy.failed_ms_max
        )
        wait_s = policy.refused_s if denied.outcome is TokenOutcome.REFUSED else wait_ms / 1000
        self._due_at_s = now_s + wait_s
        if self._header is not None:  # Its end is worth one more try, before it stops serving.
            self._due_at_s = min(self._due_at_s, self._expires_at_s)
        self._tell(denied.outcome, denied.why)

    def _drop(self) -> None:
        self._header = None
        self._is_there.clear()


def _read(answer: HttpAnswer | HttpFailure) -> _Tokens | _Denied:
    if isinstance(answer, HttpFailure):
        return _Denied(TokenOutcome.FAILED, answer.reason.value)
    if not is_success(answer.status):
        outcome = TokenOutcome.REFUSED if answer.status in REFUSALS else TokenOutcome.FAILED
        return _Denied(outcome, refusal_words(answer))
    value = parsed(answer.body)
    members = value if isinstance(value, dict) else {}
    access, refresh = members.get("accessToken"), members.get("refreshToken")
    if not isinstance(access, str) or not is_token(access):
        return _Denied(TokenOutcome.FAILED, f"HTTP {answer.status}, no access token")
    return _Tokens(access, refresh if isinstance(refresh, str) else None, _lifetime_s(members.get("expiryDuration")))


def _lifetime_s(told: object) -> float:
    """Return how long a token lives, in seconds; a guess on the safe side where the answer does not say."""
    if isinstance(told, bool) or not isinstance(told, int | float) or not told > 0:
        return LIFETIME_S_UNTOLD
    return min(float(told), LIFETIME_S_MAX)
