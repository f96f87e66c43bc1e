"""A password and a certificate are changed while requests flow; then the old one counts no more at the broker."""

from pathlib import Path

import pytest

from processor.adapters.acls import ROLES, Grantee
from tests.security.guarded import Guarded, guarded
from tests.security.rotation import SOON, assert_each_done_once, load, plain_files, renewals
from tests.support.onboarding import Request
from tests.support.secure_broker import SecureBroker, Way

pytestmark = [pytest.mark.broker, pytest.mark.slow]


def renew_everybody(made: Guarded) -> None:
    """Change the credentials of every role, and wait until each process has taken its own up."""
    for role, worker in made.workers.items():
        made.secure.renew(made.users[role])
        made.world.wait_until(lambda worker=worker: renewals(worker, "process") == 1, f"{role} renewed", 60)  # type: ignore[misc]  # of the loop
    for role, worker in made.workers.items():
        made.world.wait_until(worker.is_ready, f"{role} ready", 60)


@pytest.mark.parametrize("way", [Way.SCRAM, Way.MTLS])
def test_credentials_are_rotated_while_requests_flow(secure: SecureBroker, tmp_path: Path, way: Way) -> None:
    """Nothing is lost, nothing doubled, no process restarted; afterwards nobody needs the old credentials."""
    with guarded(secure, way, tmp_path, settings=SOON) as made:
        for role in ROLES:
            made.started(role)
        pids = [worker.pid for worker in made.workers.values()]
        old = plain_files(made.users[Grantee.SUBMITTER], tmp_path / "kept")
        assert secure.lets_in(old)
        with load(made.world, made.workers[Grantee.INGESTOR]) as sent:
            renew_everybody(made)
        assert_each_done_once(made.world, sent.request_ids)
        assert set(sent.alive) == {200}
        revoke(secure, way)
        assert not secure.lets_in(old)
        made.world.publish(Request("afterwards"))
        assert_each_done_once(made.world, ["afterwards"])
        assert [worker.pid for worker in made.workers.values()] == pids


def revoke(secure: SecureBroker, way: Way) -> None:
    """Make sure that the old credentials are worthless, and that nobody lives on a connection made with them."""
    if way is Way.MTLS:
        secure.distrust_older_clients()
    else:
        secure.restart()  # The new password took the place of the old one.
