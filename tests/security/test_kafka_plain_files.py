"""Certificate, key and authority as files that somebody writes one after the other: no link is swapped for all of them.

Whatever they hold meanwhile, clients that are made anew by then are made of what last belonged together.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from processor.adapters.acls import ROLES, acls_of
from tests.security.guarded import guarded
from tests.security.rotation import SOON, assert_each_done_once, plain_files, renewals, sample
from tests.support.onboarding import Request
from tests.support.secure_broker import Access, SecureBroker, Way, certificate_and_key
from tests.support.worker import Worker
from tests.support.world import World

pytestmark = [pytest.mark.broker, pytest.mark.slow]

REQUESTS = 10
RUBBISH = "-----BEGIN CERTIFICATE-----\nhalf of someth"
Spoil = Callable[[Path], object]
SPOILS: dict[str, Spoil] = {
    "truncated": lambda file: file.write_text("", encoding="utf-8"),
    "removed": lambda file: file.unlink(),
    "rubbish": lambda file: file.write_text(RUBBISH, encoding="utf-8"),
}


class Plain:
    """A process with all roles, whose certificates lie in plain files."""

    def __init__(self, secure: SecureBroker, world: World, access: Access, directory: Path) -> None:
        self.secure = secure
        self.world = world
        self.access = access
        self.directory = directory
        self.worker: Worker = world.started(timeout_s=60)
        self.pid = self.worker.pid

    @contextmanager
    def put_back(self, name: str) -> Iterator[Path]:
        """Give a file; afterwards it is as it was, whatever became of the test: others share the process."""
        file = self.directory / name
        held = file.read_text(encoding="utf-8")
        try:
            yield file
        finally:
            file.write_text(held, encoding="utf-8")

    def refused_by(self, write: Callable[[], object]) -> None:
        """Write something, and wait until it is refused; what serves goes on, and a metric says that it waits."""
        self.world.wait_until(self.worker.is_ready, "a process that is ready")
        before = renewals(self.worker, "refused")
        write()
        self.world.wait_until(lambda: renewals(self.worker, "refused") > before, "a refusal")
        assert (sample(self.worker, "onboarding_settings_pending"), self.worker.is_ready()) == (1, True)

    def nothing_is_pending(self) -> None:
        """Wait until all that was written is in use."""
        self.world.wait_until(lambda: sample(self.worker, "onboarding_settings_pending") == 0, "nothing pending")

    def waits(self) -> None:
        """Wait until something that was written is not in use."""
        self.world.wait_until(lambda: sample(self.worker, "onboarding_settings_pending") == 1, "something pending")

    def publish(self) -> list[str]:
        """Publish some requests; return their ids."""
        request_ids = [f"r-{uuid4().hex[:10]}" for _ in range(REQUESTS)]
        self.world.publish(*(Request(request_id, request_id) for request_id in request_ids))
        return request_ids


@contextmanager
def started(secure: SecureBroker, way: Way, directory: Path) -> Iterator[Plain]:
    """Start such a process."""
    with guarded(secure, way, directory, settings=SOON) as made:
        access = secure.admit(way, made.world.application_id)
        secure.grant(access, acls_of(ROLES, made.installation))
        made.world.environ |= plain_files(access, directory / "files")
        yield Plain(secure, made.world, access, directory / "files")


@pytest.fixture(scope="module")
def plain(secure: SecureBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plain]:
    """Give one that shows a certificate."""
    with started(secure, Way.MTLS, tmp_path_factory.mktemp("plain")) as made:
        yield made


@pytest.mark.parametrize("first,second", [("tls.crt", "tls.key"), ("tls.key", "tls.crt")])
def test_certificate_and_key_may_come_one_after_the_other(plain: Plain, first: str, second: str) -> None:
    """What stands between the two is refused; together they are taken up, and nothing is lost, nothing doubled."""
    new = certificate_and_key(plain.access, plain.secure.client_authority)
    before = renewals(plain.worker, "process")
    request_ids = plain.publish()
    plain.refused_by(lambda: (plain.directory / first).write_text(new[first], encoding="utf-8"))
    request_ids += plain.publish()
    (plain.directory / second).write_text(new[second], encoding="utf-8")
    plain.world.wait_until(lambda: renewals(plain.worker, "process") == before + 1, "a renewal", 60)
    plain.nothing_is_pending()
    assert_each_done_once(plain.world, request_ids)
    assert plain.worker.pid == plain.pid


def test_connections_may_break_while_certificate_and_key_do_not_fit(plain: Plain) -> None:
    """Producers that lost one are made anew, of the certificate and the key that were taken up together."""
    new = certificate_and_key(plain.access, plain.secure.client_authority)
    request_ids = plain.publish()
    with plain.put_back("tls.crt") as file:
        plain.refused_by(lambda: file.write_text(new["tls.crt"], encoding="utf-8"))
        plain.secure.restart()
        request_ids += plain.publish()
        assert_each_done_once(plain.world, request_ids)
    plain.nothing_is_pending()
    assert plain.worker.pid == plain.pid
    assert "PRIVATE KEY" not in plain.worker.log_file.read_text()


@pytest.mark.parametrize("name", ["ca.crt", "tls.crt", "tls.key"])
@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
def test_a_file_that_is_spoilt_for_a_while_changes_nothing(plain: Plain, name: str, spoil: Spoil) -> None:
    """It is refused, and when it is as before nobody was disturbed."""
    before = renewals(plain.worker, "process")
    with plain.put_back(name) as file:
        plain.refused_by(lambda: spoil(file))
    plain.nothing_is_pending()
    assert (renewals(plain.worker, "process"), plain.worker.pid) == (before, plain.pid)
    assert plain.worker.is_ready()


@pytest.mark.parametrize(
    "way,name", [(Way.SCRAM, "PROCESSOR_KAFKA__SASL_PASSWORD"), (Way.OAUTH, "PROCESSOR_KAFKA__PROPERTIES")]
)
def test_half_a_password_replaces_none_that_works(secure: SecureBroker, tmp_path: Path, way: Way, name: str) -> None:
    """Whether it can be told by looking or by trying: what serves goes on, and the whole one ends the matter."""
    with started(secure, way, tmp_path) as made:
        with made.put_back(name) as file:
            held = file.read_text(encoding="utf-8")
            file.write_text(held[: len(held) // 2], encoding="utf-8")
            made.waits()
            assert_each_done_once(made.world, made.publish())
        made.nothing_is_pending()
        assert (renewals(made.worker, "process"), made.worker.is_ready()) == (0, True)
        assert held[: len(held) // 2] not in made.worker.log_file.read_text()
