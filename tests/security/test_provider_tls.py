"""A provider behind TLS with a private authority: both HTTP clients, tokens, webhook keys; certificates rotate."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from tests.security.profiles import BOTH, PREFIXES, SECOND, TwoProfiles, worker_of
from tests.security.rotation import assert_each_done_once, load, rotating, sample
from tests.support.tls_front import TlsFront, tls_front

pytestmark = [pytest.mark.broker, pytest.mark.slow]

CA = "provider-ca.pem"
# The profile `default` is called by pyreqwest, `second` by httpx; tokens and keys by httpx for both.
SETTINGS = {
    "PROCESSOR_API__KEEPALIVE_S": "0.5",
    **BOTH,
    f"{SECOND}CALL_DEADLINE_S": "2",
    f"{SECOND}RUN_DEADLINE_S": "3",
    f"{SECOND}CONNECT_TIMEOUT_S": "0.5",
}


def leaf(authority: trustme.CA) -> trustme.LeafCert:
    """Return a certificate for this machine."""
    return authority.issue_cert("127.0.0.1", "localhost")


def pem(*authorities: trustme.CA) -> str:
    """Return what trusts these."""
    return "".join(authority.cert_pem.bytes().decode() for authority in authorities)


@dataclass(kw_only=True)
class Secured(TwoProfiles):
    """An installation whose provider shows a certificate of `authority`; its worker trusts another one at first."""

    front: TlsFront
    authority: trustme.CA

    def trust(self, *authorities: trustme.CA) -> None:
        """Let the worker trust these, and wait until it does."""
        self.mount({CA: pem(*authorities)}, renewed=1)


@pytest.fixture(scope="module")
def secured(bootstrap_servers: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Give such an installation."""
    directory: Path = tmp_path_factory.mktemp("provider")
    with ExitStack() as stack:
        world, files = stack.enter_context(rotating(bootstrap_servers, directory, settings=SETTINGS))
        authority = trustme.CA()
        front = stack.enter_context(tls_front(urlsplit(world.provider.url).port or 0, leaf(authority)))
        files.change({CA: pem(trustme.CA())})
        for prefix in PREFIXES:
            world.environ |= {f"{prefix}BASE_URL": front.url, f"{prefix}CA_FILE": str(files.path(CA))}
        yield Secured(world=world, files=files, worker=worker_of(world), front=front, authority=authority)


def test_an_authority_that_did_not_sign_it_is_named_and_nothing_is_sent(secured: Secured) -> None:
    """No call is begun, no webhook is believed without its key; `processor check` names the same setting."""
    secured.waiting += secured.publish()
    secured.says(
        "provider default, token: token failed: tls, see PROCESSOR_API__CA_FILE",
        f"provider second, token: token failed: tls, see {SECOND}CA_FILE",
    )
    assert secured.world.provider.send_webhook("w-1") == 503
    assert secured.world.provider.counters()["routes"] == {}
    checked = secured.world.command("check")
    assert (checked.returncode, "PROCESSOR_API__CA_FILE" in checked.stdout) == (1, True), checked.stdout


def test_the_right_authority_is_taken_up_without_a_restart(secured: Secured) -> None:
    """Both clients call, webhooks are believed, and what waited is done, once."""
    world, pid = secured.world, secured.worker.pid
    secured.trust(secured.authority)
    assert_each_done_once(world, secured.waiting + secured.publish())
    world.wait_until(lambda: sample(secured.worker, "onboarding_webhooks_total", status="202") > 0, "a webhook")
    assert sample(secured.worker, "onboarding_webhook_key_fetches_total", outcome="found") > 0
    world.wait_until(secured.worker.is_ready, "the worker ready")
    assert secured.worker.pid == pid


def test_authority_and_certificate_rotate_while_requests_flow(secured: Secured) -> None:
    """First both are trusted, then the provider shows the new certificate, then the old authority goes."""
    world, worker, pid, old = secured.world, secured.worker, secured.worker.pid, secured.authority
    secured.authority = trustme.CA()
    with load(world, worker) as sent:
        secured.trust(old, secured.authority)
        secured.front.show(leaf(secured.authority))
        secured.trust(secured.authority)
        seconds = secured.publish()
        world.wait_until(lambda: secured.front.connections > 2, "connections with the new certificate")
    assert_each_done_once(world, sent.request_ids + seconds)
    assert (worker.pid, [*sent.alive]) == (pid, [200])


def test_a_certificate_that_comes_before_its_authority_is_waited_for(secured: Secured) -> None:
    """Nothing is begun until the authority is there, so no call becomes unknown; then everything goes on."""
    world, worker = secured.world, secured.worker
    secured.authority = trustme.CA()
    secured.front.show(leaf(secured.authority))
    world.wait_until(lambda: sample(worker, "onboarding_calls_in_flight") == 0, "no call open")
    waiting = secured.publish()
    secured.says(f"provider second, breaker: it is away, tls, see {SECOND}CA_FILE")
    secured.trust(secured.authority)
    assert_each_done_once(world, waiting)
    assert "workflow.held" not in worker.log_file.read_text()
