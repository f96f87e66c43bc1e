"""What the two suites of the HTTP port share: the adapters, and a request."""

from collections.abc import Callable

from processor.adapters.http import HttpClient, HttpRequest, HttpSettings
from processor.adapters.http_httpx import HttpxClient
from processor.adapters.http_pyreqwest import PyreqwestClient

SHORT_S = 0.1  # A deadline or connect time-out that a test waits for.
LONG_S = 10.0  # One that it does not.

Build = Callable[[HttpSettings], HttpClient]
ADAPTERS: dict[str, Build] = {"pyreqwest": PyreqwestClient, "httpx": HttpxClient}


def post(url: str, *, deadline_s: float = LONG_S, body: bytes = b'{"recordId":"r-1"}') -> HttpRequest:
    """Build a request as the provider's API would get it."""
    return HttpRequest("POST", url, (("content-type", "application/json"),), body, deadline_s)
