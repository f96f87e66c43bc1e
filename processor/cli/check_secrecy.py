"""What `check` says of credentials without a call: of what kind they seem, and who on the way could read them.

Pure. No finding repeats a credential or a part of one.
"""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from processor.adapters.topic_rules import Grade
from processor.cli.findings import Finding
from processor.settings import ApiSettings, CredentialKind, CredentialSettings, Settings, profile_prefix

TOKEN_PREFIX: Final = "tot_"  # noqa: S105  # By it the provider tells organisation tokens from access tokens.
LOCAL_ENDINGS: Final = (".local", ".localhost", ".svc")


def secrecy_findings(settings: Settings) -> list[Finding]:
    """Return warnings about tokens that look like none, and about addresses that are reached in clear."""
    return [*_tokens(settings), *_addresses(settings)]


def is_local(url: str) -> bool:
    """Whether an address is of this machine or cluster: loopback, a name without dots, or one like `x.local`."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return "." not in host or host.endswith(LOCAL_ENDINGS)


def _tokens(settings: Settings) -> Iterator[Finding]:
    for name, api in settings.profiles().items():
        for variable, token in _tokens_of(profile_prefix(name), api):
            if not token.get_secret_value().strip().startswith(TOKEN_PREFIX):
                text = f"it does not begin with {TOKEN_PREFIX}, as organisation tokens do"
                remedy = "copy the organisation token once more; a key and its secret have variables of their own"
                yield Finding("token", name, Grade.WARNING, text, variable, remedy)


def _tokens_of(prefix: str, api: ApiSettings) -> Iterator[tuple[str, SecretStr]]:
    if api.token is not None:
        yield f"{prefix}TOKEN", api.token
    for kind in CredentialKind:
        own: CredentialSettings = getattr(api.credentials, kind)
        if own.token is not None:
            yield f"{prefix}CREDENTIALS__{kind.upper()}__TOKEN", own.token


def _addresses(settings: Settings) -> Iterator[Finding]:
    registry, webhook = settings.schema_registry, settings.webhook
    for name, api in settings.profiles().items():
        text = "credentials and personal data go to it in clear, readable to anybody on the way"
        yield from _in_clear(name, api.base_url, f"{profile_prefix(name)}BASE_URL", text)
    text = "webhook keys come from it in clear: anybody on the way can put in one of their own, and forge webhooks"
    yield from _in_clear("webhook keys", webhook.key_base_url, "PROCESSOR_WEBHOOK__KEY_BASE_URL", text)
    for name, url in webhook.key_base_urls_by_name().items():
        yield from _in_clear(f"webhook keys of {name}", url, "PROCESSOR_WEBHOOK__KEY_BASE_URLS", text)
    if registry.password is not None:
        text = "the password goes to it in clear, readable to anybody on the way"
        yield from _in_clear("schema registry", registry.url, "PROCESSOR_SCHEMA_REGISTRY__URL", text)


def _in_clear(name: str, url: str, variable: str, text: str) -> Iterator[Finding]:
    if url.startswith("http://") and not is_local(url):
        yield Finding("address", name, Grade.WARNING, text, variable, "write it with https://")
