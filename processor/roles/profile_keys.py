"""The webhook keys of one provider profile: where they come from, how long they count, and who we are there."""

import time
from dataclasses import dataclass

import httpx
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from processor.adapters.access_token import TokenOutcome, credential
from processor.adapters.credential import Credential
from processor.adapters.http_httpx import HttpxClient
from processor.adapters.jws import read_key
from processor.adapters.webhook_keys import KeyEndpoint, KeyPolicy, WebhookKeys, key_client
from processor.errors import ApiUnavailable
from processor.roles.profile_http import http_settings
from processor.roles.retirement import Retirement
from processor.settings import ApiSettings, CredentialKind, WebhookSettings
from processor.telemetry import WebhookMetrics

log = structlog.stdlib.get_logger()

SECONDS_A_MINUTE = 60


class ProfileKeys:
    """Finds keys; belongs to the running event loop. No profile knows the keys of another.

    Raises SettingsInvalid where the address of the keys is none.
    """

    def __init__(self, name: str, api: ApiSettings, webhook: WebhookSettings, metrics: WebhookMetrics) -> None:
        self._metrics = metrics
        self._webhook = webhook
        self._base_url = webhook.key_base_url_of(name) or api.base_url
        self._retirement = Retirement()
        self._link = self._connect(api)
        self._keys = WebhookKeys(self._fetch, policy=_policy(webhook), clock=time.monotonic)

    def renew(self, api: ApiSettings) -> None:
        """Fetch with these credentials and authorities from now on; keys that are known stay known."""
        before, self._link = self._link, self._connect(api)
        self._keys.renew()
        self._retirement.take(before, self._webhook.key_timeout_s)

    async def find(self, key_id: str) -> RSAPublicKey | None:
        """Give the key, None where there is no such key; raises ApiUnavailable where that cannot be said now."""
        return await self._keys.find(key_id)

    async def status(self, key_id: str) -> int:
        """Return the HTTP status of asking for a key, past all that is remembered; raises ApiUnavailable."""
        return await self._link.endpoint.status(key_id)

    async def close(self) -> None:
        """Give back connections and the credential."""
        await self._retirement.close()
        await self._link.close()

    async def _fetch(self, key_id: str) -> RSAPublicKey | None:
        try:
            key = await self._link.endpoint.fetch(key_id)
        except ApiUnavailable:
            self._metrics.key_fetches.labels("failed").inc()
            raise
        self._metrics.key_fetches.labels("missing" if key is None else "found").inc()
        return key

    def _connect(self, api: ApiSettings) -> "_Link":
        is_plain_http = self._base_url.startswith("http://")
        client = key_client(http_settings(api), is_plain_http=is_plain_http)
        token_client = HttpxClient(http_settings(api))
        endpoint: KeyEndpoint[RSAPublicKey] = KeyEndpoint(
            client,
            self._base_url + self._webhook.key_path,
            read_key=read_key,
            credential=_credential(api, self._base_url, token_client),
            timeout_s=self._webhook.key_timeout_s,
            is_plain_http_allowed=is_plain_http,
        )
        return _Link(client, token_client, endpoint)


@dataclass(frozen=True, slots=True)
class _Link:
    """One way to ask for keys: its clients, and who we are there."""

    client: httpx.AsyncClient
    token_client: HttpxClient
    endpoint: KeyEndpoint[RSAPublicKey]

    async def close(self) -> None:
        await self.endpoint.close()
        await self.token_client.close()
        await self.client.aclose()


def _credential(api: ApiSettings, base_url: str, token_client: HttpxClient) -> Credential | None:
    """Return who we are, should the endpoint ask; another address than the API's is never shown the API's own."""
    given = api.credential(CredentialKind.KEYS) if base_url == api.base_url else api.credentials.keys
    if not given.is_given:
        return None
    return credential(api, token_client, _tell, CredentialKind.KEYS)


def _tell(outcome: TokenOutcome, why: str) -> None:
    if outcome is TokenOutcome.RENEWED:
        log.info("token.renewed")
    else:
        log.error("token.refused", reason=outcome, why=why)


def _policy(webhook: WebhookSettings) -> KeyPolicy:
    return KeyPolicy(
        lifetime_s=webhook.key_cache_s,
        stale_s=webhook.key_stale_s,
        missing_s=webhook.key_unknown_s,
        unknown_interval_s=SECONDS_A_MINUTE / webhook.key_fetches_per_minute_max,
    )
