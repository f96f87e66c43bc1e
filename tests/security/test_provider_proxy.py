"""A provider that is reached through an egress proxy alone: calls of both clients, tokens and webhook keys."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from tests.security.profiles import BOTH, PREFIXES, SECOND, TwoProfiles, worker_of
from tests.security.rotation import assert_each_done_once, load, rotating, sample
from tests.support.egress_proxy import EgressProxy, egress_proxy
from tests.support.ports import free_port
from tests.support.tls_front import tls_front

pytestmark = [pytest.mark.broker, pytest.mark.slow]

HOST = "provider.invalid"  # RFC 6761: no name server knows it, so nothing gets there but through the proxy.
USER, PASSWORD, NEXT = "egress-user", "Zebra-Quagga-7", "Okapi-Tapir-9"
# Both profiles have the same proxy; `default` is called by pyreqwest, `second` by httpx.
PASSWORD_FILES = ("PROCESSOR_API__PROXY_PASSWORD", f"{SECOND}PROXY_PASSWORD")
SETTINGS = {
    **BOTH,
    f"{SECOND}CALL_DEADLINE_S": "5",
    f"{SECOND}RUN_DEADLINE_S": "5",
    f"{SECOND}CONNECT_TIMEOUT_S": "1.5",
}


@dataclass(kw_only=True)
class Behind(TwoProfiles):
    """An installation whose provider stands behind a proxy; its worker knows a wrong password at first."""

    proxy: EgressProxy

    def know(self, password: str) -> None:
        """Give both profiles this password, and wait until it is used."""
        self.mount(dict.fromkeys(PASSWORD_FILES, password), renewed=2)


@pytest.fixture(scope="module")
def behind(bootstrap_servers: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    """Give such an installation; the environment names a proxy for other programs, where nobody listens."""
    directory: Path = tmp_path_factory.mktemp("provider")
    with ExitStack() as stack:
        world, files = stack.enter_context(rotating(bootstrap_servers, directory, settings=SETTINGS))
        authority = trustme.CA()
        leaf = authority.issue_cert(HOST)
        front = stack.enter_context(tls_front(urlsplit(world.provider.url).port or 0, leaf))
        proxy = stack.enter_context(egress_proxy({f"{HOST}:443": front.port}, (USER, PASSWORD)))
        files.change({"ca.pem": authority.cert_pem.bytes().decode(), **dict.fromkeys(PASSWORD_FILES, "wrong")})
        for prefix in PREFIXES:
            world.environ |= {
                f"{prefix}BASE_URL": f"https://{HOST}",
                f"{prefix}CA_FILE": str(files.path("ca.pem")),
                f"{prefix}PROXY_URL": proxy.url,
                f"{prefix}PROXY_USERNAME": USER,
            }
        world.environ |= dict.fromkeys(("HTTPS_PROXY", "ALL_PROXY"), f"http://127.0.0.1:{free_port()}")
        world.environ["NO_PROXY"] = "127.0.0.1"  # The registry's client takes those.
        yield Behind(world=world, files=files, worker=worker_of(world), proxy=proxy)


def test_a_proxy_that_refuses_us_is_named_and_nothing_is_sent(behind: Behind) -> None:
    """No call is begun, no webhook is believed without its key; `processor check` names the same setting."""
    world = behind.world
    behind.waiting += behind.publish()
    behind.says(
        "provider default, token: token failed: proxy, see PROCESSOR_API__PROXY_URL",
        f"provider second, token: token failed: proxy, see {SECOND}PROXY_URL",
    )
    assert world.provider.send_webhook("w-1") == 503
    assert world.provider.counters()["routes"] == {}
    checked = world.command("check")
    assert (checked.returncode, "PROCESSOR_API__PROXY_URL" in checked.stdout) == (1, True), checked.stdout
    assert "wrong" not in checked.stdout + checked.stderr + behind.worker.log_file.read_text()


def test_the_right_password_is_taken_up_and_everything_goes_through_the_proxy(behind: Behind) -> None:
    """Both clients call, webhooks are believed, what waited is done once; the proxy saw hosts and nothing else."""
    world = behind.world
    behind.know(PASSWORD)
    assert_each_done_once(world, behind.waiting + behind.publish())
    world.wait_until(lambda: sample(behind.worker, "onboarding_webhooks_total", status="202") > 0, "a webhook")
    assert sample(behind.worker, "onboarding_webhook_key_fetches_total", outcome="found") > 0
    world.wait_until(behind.worker.is_ready, "the worker ready")
    assert {head.split(b"\r\n")[0] for head in behind.proxy.asked} == {f"CONNECT {HOST}:443 HTTP/1.1".encode()}
    checked = world.command("check")
    assert (checked.returncode, f"everything goes through {behind.proxy.url}" in checked.stdout) == (0, True)


def test_the_password_rotates_while_requests_flow(behind: Behind) -> None:
    """Tunnels that stand go on; the proxy takes the new password before we have it."""
    world, worker, pid = behind.world, behind.worker, behind.worker.pid
    with load(world, worker) as sent:
        behind.proxy.credentials = (USER, NEXT)
        behind.know(NEXT)
        seconds = behind.publish()
    assert_each_done_once(world, sent.request_ids + seconds)
    assert (worker.pid, [*sent.alive]) == (pid, [200])
    log = worker.log_file.read_text()
    assert "workflow.held" not in log
    assert not any(password in log for password in (PASSWORD, NEXT))
