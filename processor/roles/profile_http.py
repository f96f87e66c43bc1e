"""How a profile of the provider is reached over HTTP: limits, authorities and proxy, the same for whoever calls it."""

from processor.adapters.http import HttpClient, HttpSettings, Proxy, Reason
from processor.adapters.http_httpx import HttpxClient
from processor.adapters.http_pyreqwest import PyreqwestClient
from processor.settings import ApiSettings

# Through a proxy these come about before anything of the provider's is seen.
_OF_PROXY = frozenset({Reason.DNS, Reason.CONNECT, Reason.CONNECT_TIMEOUT, Reason.PROXY})


def http_settings(api: ApiSettings) -> HttpSettings:
    """Return what clients of a profile are made of."""
    return HttpSettings(
        connect_timeout_s=api.connect_timeout_s,
        keep_alive_s=api.keepalive_s,
        connections_max=api.calls_in_flight_max,
        body_bytes_max=api.response_bytes_max,
        ca_file=None if api.ca_file is None else str(api.ca_file),
        proxy=_proxy(api),
    )


def call_client(api: ApiSettings) -> HttpClient:
    """Make the client of the hot path."""
    return (HttpxClient if api.http_client == "httpx" else PyreqwestClient)(http_settings(api))


def setting_at_fault(api: ApiSettings, why: str) -> str | None:
    """Return the setting of a profile to look at where a call failed, or None; `why` ends with the reason."""
    if why.endswith(Reason.TLS):
        return "CA_FILE"
    return "PROXY_URL" if api.proxy_url and why.endswith(tuple(_OF_PROXY)) else None


def _proxy(api: ApiSettings) -> Proxy | None:
    if not api.proxy_url:
        return None
    password = None if api.proxy_password is None else api.proxy_password.get_secret_value()
    return Proxy(api.proxy_url, api.proxy_username, password)
