"""The provider's public keys: fetched one by one from one pinned address, and remembered.

A key id is a claim of whoever sends a request, so it must cost the provider next to nothing: one fetch at a time
for an id, one fetch in vain a minute for ids that we do not hold, and "no such key" is remembered too. A key that we
hold outlives a failing endpoint for a day, but not the endpoint's word that it is gone.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

import httpx

from processor.adapters.credential import Credential, Header
from processor.adapters.http import HttpSettings
from processor.adapters.http_httpx import proxy_of, reason_in
from processor.errors import ApiUnavailable, SettingsInvalid

Key = TypeVar("Key")

PLACE: Final = "{keyId}"
KEY_BYTES_MAX: Final = 16 * 1_024
NO_SUCH_KEY: Final = frozenset({400, 404})
ASKS_CREDENTIAL: Final = frozenset({401, 403})
STALE_CREDENTIAL: Final = 401


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """How long an answer counts, and how often a question may be asked."""

    lifetime_s: float = 600.0  # A key is asked for again after this.
    stale_s: float = 86_400.0  # While the endpoint is down, a key counts this long after its last good answer.
    missing_s: float = 60.0  # "No such key" counts this long; short, as a new key may be announced late.
    retry_s: float = 60.0  # After a failed fetch of a key that we hold.
    unknown_interval_s: float = 60.0  # Between fetches in vain of ids that we hold no key for, all such ids together.
    keys_max: int = 64
    missing_max: int = 1_024


@dataclass(frozen=True, slots=True)
class _Entry(Generic[Key]):
    key: Key | None
    fetched_at_s: float
    ask_again_at_s: float


class WebhookKeys(Generic[Key]):
    """A bounded memory of keys by id. `clock` gives monotonic seconds; `fetch` is `KeyEndpoint.fetch` or alike."""

    def __init__(
        self,
        fetch: Callable[[str], Awaitable[Key | None]],
        *,
        policy: KeyPolicy,
        clock: Callable[[], float],
    ) -> None:
        self._fetch = fetch
        self._policy = policy
        self._clock = clock
        self._held: dict[str, _Entry[Key]] = {}
        self._missing: dict[str, _Entry[Key]] = {}
        self._flights: dict[str, asyncio.Task[Key | None]] = {}
        self._unknown_allowed_at_s = float("-inf")

    async def find(self, key_id: str) -> Key | None:
        """Give the key, or None when the provider says that there is no such key.

        Raises:
            ApiUnavailable: the endpoint fails, or was asked for another unknown id too recently.

        """
        entry = self._held.get(key_id) or self._missing.get(key_id)
        now_s = self._clock()
        if entry is not None and now_s < entry.ask_again_at_s:
            return entry.key
        flight = self._flights.get(key_id)
        if flight is None:
            if not self._is_held(key_id, now_s):
                self._spend_unknown(now_s)
            flight = asyncio.create_task(self._refresh(key_id))
            self._flights[key_id] = flight
            flight.add_done_callback(lambda done: self._landed(key_id, done))
        # A caller that gives up must not take the fetch from the others.
        return await asyncio.shield(flight)

    def renew(self) -> None:
        """Ask for an unknown key at once: what was asked for in vain may be had now, with what changed on our side."""
        self._unknown_allowed_at_s = float("-inf")

    def _is_held(self, key_id: str, now_s: float) -> bool:
        entry = self._held.get(key_id)
        return entry is not None and now_s < entry.fetched_at_s + self._policy.stale_s

    def _spend_unknown(self, now_s: float) -> None:
        if now_s < self._unknown_allowed_at_s:
            raise ApiUnavailable("another unknown key was asked for a moment ago")
        self._unknown_allowed_at_s = now_s + self._policy.unknown_interval_s

    async def _refresh(self, key_id: str) -> Key | None:
        try:
            key = await self._fetch(key_id)
        except Exception:  # Whatever it is: a key that we hold does not suffer from it.
            outlived = self._outlived(key_id)
            if outlived is None:
                raise
            return outlived
        if key is not None and key_id not in self._held and len(self._held) < self._policy.keys_max:
            # So that two keys in use at our start do not wait for each other.
            self._unknown_allowed_at_s = self._clock()
        self._remember(key_id, key)
        return key

    def _outlived(self, key_id: str) -> Key | None:
        """Go on with a key that we hold while the endpoint is down, and leave the endpoint alone for a while."""
        now_s = self._clock()
        if not self._is_held(key_id, now_s):
            return None
        self._held[key_id] = replace(self._held[key_id], ask_again_at_s=now_s + self._policy.retry_s)
        return self._held[key_id].key

    def _remember(self, key_id: str, key: Key | None) -> None:
        now_s = self._clock()
        self._held.pop(key_id, None)
        self._missing.pop(key_id, None)
        if key is None:
            self._missing[key_id] = _Entry(None, now_s, now_s + self._policy.missing_s)
        else:
            self._held[key_id] = _Entry(key, now_s, now_s + self._policy.lifetime_s)
        # Both are ordered by the time of their last answer, so the first is the oldest.
        if len(self._missing) > self._policy.missing_max:
            del self._missing[next(iter(self._missing))]
        if len(self._held) > self._policy.keys_max:
            del self._held[next(iter(self._held))]

    def _landed(self, key_id: str, flight: asyncio.Task[Key | None]) -> None:
        del self._flights[key_id]
        if not flight.cancelled():
            flight.exception()  # Read, so that nobody complains when every caller has left.


class KeyEndpoint(Generic[Key]):
    """One pinned address that hands out keys by id.

    `url_template` holds `{keyId}` in its path. No credential is sent at first; where the endpoint answers 401 or
    403, it is asked once more with ours, and after another 401 with a renewed one, where there is one.
    """

    def __init__(  # noqa: PLR0913 - one question, and everything that bounds it.
        self,
        client: httpx.AsyncClient,
        url_template: str,
        *,
        read_key: Callable[[bytes], Key],
        credential: Credential | None = None,
        timeout_s: float = 3.0,
        is_plain_http_allowed: bool = False,
    ) -> None:
        check_url_template(url_template, is_plain_http_allowed=is_plain_http_allowed)
        self._client = client
        self._url_template = url_template
        self._read_key = read_key
        self._credential = None if credential is None else _UntilAsked(credential)
        self._timeout_s = timeout_s

    async def fetch(self, key_id: str) -> Key | None:
        """Ask for one key; `timeout_s` covers everything, obtaining the credential too.

        Raises:
            ApiUnavailable: no answer in time, one that is neither a key nor "no such key", or no way to ask.

        """
        status, body = await self._answer(key_id)
        if status in NO_SUCH_KEY:
            return None
        if status != httpx.codes.OK:
            raise ApiUnavailable(f"the key endpoint answered {status}")
        try:
            return self._read_key(body)
        except ValueError as error:
            raise ApiUnavailable(f"the key endpoint sent something unfit: {error}") from None

    async def status(self, key_id: str) -> int:
        """Ask as `fetch` does, and return the HTTP status; raises ApiUnavailable where there is none in time."""
        return (await self._answer(key_id))[0]

    async def close(self) -> None:
        """Stop obtaining a credential; the HTTP client stays open."""
        if self._credential is not None:
            await self._credential.close()

    async def _answer(self, key_id: str) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._ask(key_id)
        except TimeoutError:
            raise ApiUnavailable("the key endpoint did not answer in time") from None
        except httpx.HTTPError as error:
            raise ApiUnavailable(f"the key endpoint cannot be reached: {reason_in(error)}") from None

    async def _ask(self, key_id: str) -> tuple[int, bytes]:
        """Ask without our credential, then with it, then with a newer one, each only where it must be."""
        status, body = await self._get(key_id, None)
        if status not in ASKS_CREDENTIAL or self._credential is None:
            return status, body
        header = await self._credential.header()
        status, body = await self._get(key_id, header)
        if status != STALE_CREDENTIAL:
            return status, body
        newer = await self._credential.renew(header)
        return (status, body) if newer in {None, header} else await self._get(key_id, newer)

    async def _get(self, key_id: str, credential: Header | None) -> tuple[int, bytes]:
        headers = {"Accept": "text/plain", "Accept-Encoding": "identity"}
        if credential is not None:
            headers |= dict([credential])
        url = self._url_template.replace(PLACE, key_id)
        async with self._client.stream("GET", url, headers=headers, follow_redirects=False) as answer:
            body = b""
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > KEY_BYTES_MAX:
                    raise ApiUnavailable(f"the key endpoint sent more than {KEY_BYTES_MAX} bytes")
        return answer.status_code, body


class _UntilAsked:
    """A credential that is obtained when it is needed for the first time, and kept from then on."""

    def __init__(self, credential: Credential) -> None:
        self._credential = credential
        self._is_started = False

    async def header(self) -> Header:
        if not self._is_started:
            self._is_started = True
            self._credential.start()
        while (header := self._credential.header) is None:
            await self._credential.ready()
        return header

    async def renew(self, stale: Header) -> Header | None:
        return await self._credential.renew(stale)

    async def close(self) -> None:
        if self._is_started:
            await self._credential.close()


def key_client(given: HttpSettings | None = None, *, is_plain_http: bool = False) -> httpx.AsyncClient:
    """Make the HTTP client for `KeyEndpoint`: no redirects, no proxies from the environment, few connections.

    Of what is given, authorities and proxy count. With `is_plain_http` no certificate is trusted at all but those
    authorities, and loading the usual ones is spared.
    """
    given = given or HttpSettings()
    verify = SSLContext(PROTOCOL_TLS_CLIENT) if is_plain_http else httpx.create_ssl_context()
    if given.ca_file is not None:
        verify.load_verify_locations(cafile=given.ca_file)
    limits = httpx.Limits(max_connections=4, max_keepalive_connections=1, keepalive_expiry=30.0)
    proxy = proxy_of(given.proxy)
    return httpx.AsyncClient(verify=verify, follow_redirects=False, trust_env=False, limits=limits, proxy=proxy)


def check_url_template(url_template: str, *, is_plain_http_allowed: bool) -> None:
    """Refuse an address that a key id could steer, or that anybody on the way could answer.

    Raises:
        SettingsInvalid: with what is wrong and how to mend it.

    """
    parts = urlsplit(url_template)
    schemes = {"https", "http"} if is_plain_http_allowed else {"https"}
    if parts.scheme not in schemes or not parts.hostname or PLACE in parts.netloc:
        raise SettingsInvalid("the webhook key address must be https:// with a fixed host")
    if parts.path.count(PLACE) != 1 or url_template.count(PLACE) != 1:
        raise SettingsInvalid(f"the path of the webhook key address must contain {PLACE} once")
