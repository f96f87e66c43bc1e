"""What can be known of the provider without running anything: proxy, credentials, webhook keys, whose clock is wrong.

Only a few calls are made, and none changes anything: authorize, a webhook key that does not exist, one whose id is no
UUID, and once more the address of a key, for the `Date` of its answer, and to see whether a proxy opens the way.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final
from uuid import uuid4

import httpx
from prometheus_client import CollectorRegistry

from processor.adapters.access_token import TokenOutcome, credential
from processor.adapters.http import HttpAnswer, HttpFailure, HttpRequest
from processor.adapters.http_httpx import HttpxClient
from processor.adapters.topic_rules import Grade
from processor.adapters.webhook_keys import PLACE, key_client
from processor.cli.findings import NOT_CHECKED, Finding
from processor.cli.starting import now, quiet_logs
from processor.core.model import MINUTE_MS, SECOND_MS, Instant
from processor.errors import ApiUnavailable
from processor.roles.profile_http import http_settings, setting_at_fault
from processor.roles.profile_keys import ProfileKeys
from processor.settings import ApiSettings, CredentialKind, CredentialSettings, Settings, profile_prefix
from processor.telemetry import WebhookMetrics

CLOCK_MS_WARNING: Final = 30 * SECOND_MS
CLOCK_MS_MAX: Final = 2 * MINUTE_MS  # Launch forgives that much between the clocks of ingestor and submitter.
KINDS: Final = (CredentialKind.CREATE, CredentialKind.START, CredentialKind.READ)

NO_UUID: Final = "no-uuid"
PROXY_ASKS_WHO: Final = 407  # RFC 9110, 15.5.8; through a tunnel it is no answer.
IDS_REFUSED: Final = frozenset({400, 422})

_ASKS_WHO = ("answered 401", "answered 403")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of the provider the roles in question need."""

    credentials: bool
    webhook_keys: bool


def provider_findings(settings: Settings, wanted: Wanted) -> list[Finding]:
    """Return what is to be said of every provider profile; raises SettingsInvalid for an address that is none."""
    with quiet_logs():
        return asyncio.run(_of_all(settings, wanted))


def clock_finding(name: str, setting: str, ahead_ms: int | None) -> Finding:
    """Judge by how much our clock is ahead of the provider's; None where its answer does not say."""
    if ahead_ms is None:
        return Finding("clock", name, NOT_CHECKED, "the provider's answer has no date", setting)
    seconds = abs(ahead_ms) / SECOND_MS
    text = f"our clock is {seconds:.0f} s {'ahead of' if ahead_ms > 0 else 'behind'} the provider's"
    remedy = "let this machine's clock be set by NTP; runs of unknown outcome are told apart by time"
    if abs(ahead_ms) > CLOCK_MS_MAX:
        return Finding("clock", name, Grade.PROBLEM, text, setting, remedy)
    if abs(ahead_ms) > CLOCK_MS_WARNING:
        return Finding("clock", name, Grade.WARNING, text, setting, remedy)
    return Finding("clock", name, Grade.GOOD, text, setting)


async def _of_all(settings: Settings, wanted: Wanted) -> list[Finding]:
    """Look at all profiles at once, so that one that is away costs no more than all."""
    looks = [_of_profile(settings, name, api, wanted) for name, api in settings.profiles().items()]
    return [finding for found in await asyncio.gather(*looks) for finding in found]


async def _of_profile(settings: Settings, name: str, api: ApiSettings, wanted: Wanted) -> list[Finding]:
    proxy = [await _of_proxy(settings, name, api)] if api.proxy_url else []
    if any(finding.grade is Grade.PROBLEM for finding in proxy):
        return proxy  # Nothing behind it can be seen.
    who = _credentials(api).items() if wanted.credentials else ()
    found = await asyncio.gather(*(_of_credential(name, api, given, kinds) for given, kinds in who))
    if wanted.webhook_keys:
        found = [*found, await _of_keys(settings, name, api)]
    return [*proxy, *found, await _of_clock(settings, name, api, is_key_host=not wanted.credentials)]


async def _of_proxy(settings: Settings, name: str, api: ApiSettings) -> Finding:
    """See whether the proxy opens the way to the API; any answer of the API says that it does."""
    url = api.base_url + settings.webhook.key_path.replace(PLACE, str(uuid4()))
    client = HttpxClient(http_settings(api))
    try:
        told = await client.send(HttpRequest("GET", url, (), None, api.call_deadline_s))
    finally:
        await client.close()
    return proxy_finding(name, api, told)


def proxy_finding(name: str, api: ApiSettings, told: HttpAnswer | HttpFailure) -> Finding:
    """Judge a proxy by what became of a request that went through it."""
    variable = f"{profile_prefix(name)}PROXY_URL"
    is_shut = isinstance(told, HttpFailure) and setting_at_fault(api, told.reason) == "PROXY_URL"
    if isinstance(told, HttpFailure) and is_shut:
        remedy = (
            f"see that it is there, lets us connect to {api.base_url}, and takes {profile_prefix(name)}PROXY_USERNAME "
            "and PROXY_PASSWORD where it asks who we are"
        )
        return Finding("proxy", name, Grade.PROBLEM, f"{api.proxy_url} opens no way: {told.reason}", variable, remedy)
    if isinstance(told, HttpAnswer) and told.status == PROXY_ASKS_WHO:
        remedy = f"give {profile_prefix(name)}PROXY_USERNAME and {profile_prefix(name)}PROXY_PASSWORD"
        return Finding("proxy", name, Grade.PROBLEM, f"{api.proxy_url} asks who we are", variable, remedy)
    return Finding("proxy", name, Grade.GOOD, f"everything goes through {api.proxy_url}", variable)


def _credentials(api: ApiSettings) -> Mapping[CredentialSettings, tuple[CredentialKind, ...]]:
    """Return the kinds of calls by who we are in them."""
    found: dict[CredentialSettings, tuple[CredentialKind, ...]] = {}
    for kind in KINDS:
        given = api.credential(kind)
        found[given] = (*found.get(given, ()), kind)
    return found


async def _of_credential(
    profile: str, api: ApiSettings, given: CredentialSettings, kinds: tuple[CredentialKind, ...]
) -> Finding:
    """Authorize once, and nothing else."""
    own: CredentialSettings = getattr(api.credentials, kinds[0])
    prefix = profile_prefix(profile) + (f"CREDENTIALS__{kinds[0].upper()}__" if own.is_given else "")
    name = f"{profile}: {', '.join(kinds)}"
    if given.token is not None:
        text = "an organisation token is proved by the first call only"
        return Finding("credentials", name, NOT_CHECKED, text, f"{prefix}TOKEN")
    outcome, why = await _authorized(api, kinds[0])
    if outcome is TokenOutcome.RENEWED:
        text = f"{api.base_url} takes our key and secret"
        return Finding("credentials", name, Grade.GOOD, text, f"{prefix}KEY")
    if outcome is TokenOutcome.REFUSED:
        remedy = f"copy key and secret of this workspace once more, also {prefix}SECRET"
        return Finding("credentials", name, Grade.PROBLEM, f"they are refused: {why}", f"{prefix}KEY", remedy)
    remedy = "see that this is the provider's address and that it can be reached from here"
    variable = f"{profile_prefix(profile)}BASE_URL"
    if setting_at_fault(api, why) == "CA_FILE":
        variable = f"{profile_prefix(profile)}CA_FILE"
        remedy = "see that this is the provider, and give the authority that signed its certificate"
    return Finding("credentials", name, Grade.PROBLEM, f"no token: {why}", variable, remedy)


async def _authorized(api: ApiSettings, kind: CredentialKind) -> tuple[TokenOutcome, str]:
    """Return what became of one attempt to get a token, and why."""
    told: asyncio.Future[tuple[TokenOutcome, str]] = asyncio.get_running_loop().create_future()

    def tell(outcome: TokenOutcome, why: str) -> None:
        if not told.done():
            told.set_result((outcome, why))

    client = HttpxClient(http_settings(api))
    asked = credential(api, client, tell, kind)
    asked.start()
    try:
        return await asyncio.wait_for(told, api.call_deadline_s + api.connect_timeout_s)
    except TimeoutError:
        return TokenOutcome.FAILED, "no answer in time"
    finally:
        await asked.close()
        await client.close()


async def _of_keys(settings: Settings, name: str, api: ApiSettings) -> Finding:
    """Ask for a key that does not exist, as the ingestor asks for those that do, and for one that cannot exist."""
    keys = ProfileKeys(name, api, settings.webhook, WebhookMetrics(CollectorRegistry()))
    base = _key_variable(settings, name)
    try:
        if await keys.find(str(uuid4())) is None:
            return key_path_finding(name, base, await keys.status(NO_UUID))
    except ApiUnavailable as error:
        why = str(error)
        if why.endswith(_ASKS_WHO):
            variable = f"{profile_prefix(name)}CREDENTIALS__KEYS__TOKEN"
            remedy = "it asks who we are: give it a credential that may read webhook keys"
            return Finding("webhook keys", name, Grade.PROBLEM, why, variable, remedy)
        remedy = "see that this address, with PROCESSOR_WEBHOOK__KEY_PATH, is where the provider publishes its keys"
        return Finding("webhook keys", name, Grade.PROBLEM, why, base, remedy)
    finally:
        await keys.close()
    text, remedy = "it has a key for any id", "see that this is the provider, and not somebody who answers for it"
    return Finding("webhook keys", name, Grade.WARNING, text, base, remedy)


def key_path_finding(name: str, base: str, status: int) -> Finding:
    """Judge an address that knows no key of a made-up id by its answer for an id that is no UUID.

    A path that does not exist answers 404 to any id; the provider documents 400 for an id that is no UUID.
    """
    if status in IDS_REFUSED:
        text = "it answers, knows no key of a made-up id, and refuses an id that is no UUID"
        return Finding("webhook keys", name, Grade.GOOD, text, base)
    text = f"it cannot be told from a wrong path: it answered {status}, and not 400, for an id that is no UUID"
    remedy = (
        f"compare PROCESSOR_WEBHOOK__KEY_PATH and {base} with the provider's documents; they are right if the ingestor "
        "takes a genuine webhook"
    )
    return Finding("webhook keys", name, Grade.WARNING, text, "PROCESSOR_WEBHOOK__KEY_PATH", remedy)


def _key_variable(settings: Settings, name: str) -> str:
    if not settings.webhook.key_base_url_of(name):
        return f"{profile_prefix(name)}BASE_URL"
    is_default = settings.webhook.key_base_url_of(name) == settings.webhook.key_base_url
    return "PROCESSOR_WEBHOOK__KEY_BASE_URL" if is_default else "PROCESSOR_WEBHOOK__KEY_BASE_URLS"


async def _of_clock(settings: Settings, name: str, api: ApiSettings, *, is_key_host: bool) -> Finding:
    """Compare clocks by any answer: even a refusal has a date (RFC 9110, 6.6.1)."""
    base_url = (settings.webhook.key_base_url_of(name) if is_key_host else "") or api.base_url
    variable = _key_variable(settings, name) if is_key_host else f"{profile_prefix(name)}BASE_URL"
    url = base_url + settings.webhook.key_path.replace(PLACE, str(uuid4()))
    async with key_client(http_settings(api), is_plain_http=base_url.startswith("http://")) as client:
        asked_at = now()
        try:
            async with client.stream("GET", url, timeout=api.connect_timeout_s) as answer:
                date = answer.headers.get("date")
        except httpx.HTTPError as error:
            return Finding("clock", name, NOT_CHECKED, f"the provider did not answer: {type(error).__name__}", variable)
        return clock_finding(name, variable, ahead_ms_of(date, (asked_at + now()) // 2))


def ahead_ms_of(date: str | None, at: Instant) -> int | None:
    """Return how far `at` is ahead of an HTTP date, which is cut to whole seconds; None where it is no date."""
    try:
        moment = parsedate_to_datetime(date or "")
    except (ValueError, TypeError):
        return None
    theirs = int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * SECOND_MS) + SECOND_MS // 2
    return at - theirs
