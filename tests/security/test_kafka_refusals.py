"""A broker that does not let us in, or do something: the process waits, says why, and goes on when mended."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from processor.adapters.acls import ROLES, Grantee, Operation, ResourceKind
from tests.security.guarded import Guarded, guarded
from tests.security.rotation import SOON
from tests.support.onboarding import Request, milliseconds
from tests.support.secure_broker import Access, SecureBroker, Way

pytestmark = [pytest.mark.broker, pytest.mark.slow]

WRONG = "a-secret-that-is-wrong"
Act = Callable[[SecureBroker, Access], None]


def expired(secure: SecureBroker, access: Access) -> None:
    """Mount a certificate that was good until yesterday."""
    yesterday = datetime.fromtimestamp(milliseconds() / 1000, UTC) - timedelta(days=1)
    secure.mount_certificate(access, secure.client_authority, not_after=yesterday)


@contextmanager
def everyone(secure: SecureBroker, way: Way, directory: Path) -> Iterator[Guarded]:
    """Make an installation of all roles, with their rights, not started yet."""
    with guarded(secure, way, directory, settings=SOON) as made:
        for role in ROLES:
            made.worker(role)
        yield made


@pytest.mark.parametrize(
    "way,spoil,words",
    [
        (Way.SCRAM, lambda secure, access: secure.mount_password(access, WRONG), "SASL authentication error"),
        (Way.OAUTH, lambda secure, access: secure.mount_client_secret(access, WRONG), "invalid_client"),
        (Way.SCRAM, lambda secure, access: secure.mount_authority(access, trustme.CA()), "ssl.ca.location"),
        (Way.MTLS, lambda secure, access: secure.mount_certificate(access, trustme.CA()), "bad certificate"),
        (Way.MTLS, expired, "certificate unknown"),
    ],
    ids=["password", "client-secret", "authority", "strange-certificate", "expired-certificate"],
)
def test_a_credential_that_is_wrong_is_named_and_mended_without_a_restart(
    secure: SecureBroker, tmp_path: Path, way: Way, spoil: Act, words: str
) -> None:
    """Every role says on its readiness what the broker said, tells no secret, and works once the files are right."""
    with everyone(secure, way, tmp_path) as made:
        for role, worker in made.workers.items():
            spoil(secure, made.users[role])
            worker.start()
        pids = [worker.pid for worker in made.workers.values()]
        for role in ROLES:
            made.world.wait_until(lambda role=role: words in made.reasons(role), f"{role} says {words}", 60)  # type: ignore[misc]  # a role of the loop
        for access in made.users.values():
            secure.mount_authority(access, secure.authority)
            secure.renew(access)
        for role, worker in made.workers.items():
            made.world.wait_until(worker.is_ready, f"{role} ready", 60)
        made.world.publish(Request("mended"))
        assert made.world.result("mended", timeout_s=40)["outcome"] == "COMPLETED"
        assert [worker.pid for worker in made.workers.values()] == pids
        assert [worker for worker in made.workers.values() if WRONG in worker.log_file.read_text()] == []


def test_each_right_that_is_missing_is_named_before_the_work_begins(secure: SecureBroker, tmp_path: Path) -> None:
    """All that the broker tells at once, by operation and name, then those on transactional ids, which are tried.

    Once they are granted the process goes on by itself.
    """
    with guarded(secure, Way.SCRAM, tmp_path) as made:
        roles = (Grantee.SUBMITTER, Grantee.RECONCILER)
        for role in roles:
            made.worker(role, is_granted=False).start()
        for role in roles:
            tried = [acl for acl in made.rights(role) if acl.resource.kind is ResourceKind.TRANSACTIONAL_ID]
            told = [acl for acl in made.rights(role) if acl not in tried]
            for acls in (told, tried):
                missing = [
                    f"{one} on {acl.resource.kind} {acl.resource.name}" for acl in acls for one in acl.operations
                ]
                named = [each for each in missing if not each.startswith(Operation.DELETE)]
                made.world.wait_until(
                    lambda role=role, named=named: all(each in made.reasons(role) for each in named),  # type: ignore[misc]  # of the loop
                    f"{role} names {named}",
                    40,
                )
                secure.grant(made.users[role], acls)
            made.world.wait_until(made.workers[role].is_ready, f"{role} ready", 40)


def test_a_right_that_is_withdrawn_ends_the_process_and_the_next_one_waits(
    secure: SecureBroker, tmp_path: Path
) -> None:
    """Nobody goes on in silence without some partitions: it stops in order, and whoever is started anew waits."""
    with guarded(secure, Way.SCRAM, tmp_path) as made:
        role = Grantee.SUBMITTER
        worker = made.started(role)
        topic = made.world.topic("requests")
        (read,) = [acl for acl in made.rights(role) if acl.resource.name == topic]
        secure.withdraw(made.users[role], [read])
        made.world.workers.remove(worker)
        made.world.wait_until(lambda: worker.exit_code() is not None, "the process ended", 40)
        assert worker.exit_code() == 1
        assert "TOPIC_AUTHORIZATION_FAILED" in worker.log_tail(20_000)
        made.world.workers.append(worker)
        worker.kill()
        worker.start()
        made.world.wait_until(lambda: f"Read on topic {topic}" in made.reasons(role), "the right named", 40)
        secure.grant(made.users[role], [read])
        made.world.wait_until(worker.is_ready, "ready again", 40)
