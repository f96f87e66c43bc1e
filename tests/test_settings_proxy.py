"""Settings of an egress proxy: what is taken for one, what contradicts itself, and that no password is shown."""

from pathlib import Path

import pytest

from processor.adapters.http import Proxy, Reason
from processor.roles.profile_http import http_settings, setting_at_fault
from processor.settings import MASK, effective
from processor.settings_loading import load_settings
from tests.test_settings import CANARY, ENOUGH, loaded, refused

PROXY = "PROCESSOR_API__PROXY_"


@pytest.mark.parametrize(
    "given, url",
    [
        ("http://proxy:3128", "http://proxy:3128"),
        ("http://proxy.example.test/", "http://proxy.example.test"),
        ("http://[fd00::1]:3128", "http://[fd00::1]:3128"),
        ("", ""),
    ],
)
def test_a_proxy_is_an_http_address_without_a_path(given: str, url: str) -> None:
    """Without a port it is 80, as of any http:// address."""
    assert loaded(PROCESSOR_API__PROXY_URL=given).api.proxy_url == url


@pytest.mark.parametrize(
    "given",
    [
        "proxy:3128",
        "https://proxy:3128",
        "socks5://proxy",
        "http://",
        "http://proxy/path",
        "http://proxy?x",
        "http://p p",
        "http://proxy:0",
        "http://proxy:65536",
        "http://proxy:x",
        "http://a:b:c",
    ],
)
def test_what_is_no_http_proxy_is_refused(given: str) -> None:
    """At start, and not when the first call is made."""
    (problem,) = refused(ENOUGH | {f"{PROXY}URL": given})
    assert problem.startswith(f"{PROXY}URL (from the environment): give a proxy such as http://proxy:3128")


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    """Addresses are shown; passwords have a setting that may lie in a file."""
    (problem,) = refused(ENOUGH | {f"{PROXY}URL": f"http://us:{CANARY}@proxy:3128"})
    assert "they have settings of their own" in problem
    assert CANARY not in problem


def test_what_contradicts_itself_is_refused() -> None:
    """Half a credential, one without a proxy, one that basic authentication cannot say (RFC 7617, 2)."""
    proxy = {f"{PROXY}URL": "http://proxy:3128"}
    us = {f"{PROXY}USERNAME": "us", f"{PROXY}PASSWORD": CANARY}
    told = [
        refused(ENOUGH | proxy | {f"{PROXY}USERNAME": "us"}),
        refused(ENOUGH | proxy | {f"{PROXY}PASSWORD": CANARY}),
        refused(ENOUGH | us),
        refused(ENOUGH | proxy | us | {f"{PROXY}USERNAME": "u:s"}),
    ]
    assert [[problem.split(":")[0] for problem in problems] for problems in told] == [
        [f"{PROXY}PASSWORD"],
        [f"{PROXY}USERNAME"],
        [f"{PROXY}USERNAME"],
        [f"{PROXY}USERNAME"],
    ]


def test_the_promise_of_503_is_refused_where_it_may_be_the_proxys_own() -> None:
    """In a tunnel only the provider answers; on the way to an http:// address a proxy's 503 looks the same."""
    promised = ENOUGH | {f"{PROXY}URL": "http://proxy:3128", "PROCESSOR_API__IS_503_NOT_EXECUTED": "true"}
    assert load_settings(promised).api.is_503_not_executed
    (problem,) = refused(promised | {"PROCESSOR_API__BASE_URL": "http://api.example.test"})
    assert problem.startswith("PROCESSOR_API__IS_503_NOT_EXECUTED: ")


def test_each_profile_has_a_proxy_of_its_own_and_its_password_may_lie_in_a_file(tmp_path: Path) -> None:
    """As its other secrets; none is shown."""
    file = tmp_path / "password"
    file.write_text(f"{CANARY}\n")
    bank = "PROCESSOR_PROVIDERS__BANK__"
    settings = loaded(
        **{f"{bank}BASE_URL": "https://bank", f"{bank}KEY": "key", f"{bank}SECRET": "secret"},
        **{
            f"{bank}PROXY_URL": "http://proxy:3128",
            f"{bank}PROXY_USERNAME": "us",
            f"{bank}PROXY_PASSWORD_FILE": str(file),
        },
    )
    assert http_settings(settings.api).proxy is None
    assert http_settings(settings.providers["bank"]).proxy == Proxy("http://proxy:3128", "us", CANARY)
    shown = effective(settings)
    assert shown["providers"]["bank"]["proxy_password"] == MASK
    assert CANARY not in f"{shown} {settings!r} {http_settings(settings.providers['bank'])!r}"


def test_the_setting_at_fault_is_the_proxy_where_nothing_of_the_provider_was_seen() -> None:
    """Without a proxy a connection that does not stand has no single setting to look at."""
    direct, proxied = loaded().api, loaded(PROCESSOR_API__PROXY_URL="http://proxy:3128").api
    named = {reason: setting_at_fault(proxied, f"token failed: {reason}") for reason in Reason}
    of_proxy = (Reason.DNS, Reason.CONNECT, Reason.CONNECT_TIMEOUT, Reason.PROXY)
    assert {reason: name for reason, name in named.items() if name} == {
        Reason.TLS: "CA_FILE",
        **dict.fromkeys(of_proxy, "PROXY_URL"),
    }
    assert [setting_at_fault(direct, reason) for reason in of_proxy] == [None] * len(of_proxy)
    assert setting_at_fault(direct, Reason.TLS) == "CA_FILE"
