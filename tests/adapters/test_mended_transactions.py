"""Transactions whose end a real broker never wrote, and what readers of committed records get in the end."""

from collections.abc import Iterator

import pytest

from processor.adapters.kafka import KafkaLog
from processor.engine.entries import POSITION_KEY
from processor.engine.ports import Outcome, OutputRecord, Position
from processor.settings import Settings
from tests.support.forgetful_broker import ForgetfulBroker
from tests.support.member import Owner, installation, member, until
from tests.support.reading import Follower
from tests.support.topics import make_topic

pytestmark = [pytest.mark.broker]


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForgetfulBroker]:
    """Start a broker that forgets what the topics of these tests hold."""
    made = ForgetfulBroker(tmp_path_factory.mktemp("forgetful") / "broker", (".preparation-state", ".results"), "none")
    made.running.start()
    yield made
    made.running.stop()


class Group:
    """Two members, each with a partition of its own, who write into the same partition of results."""

    def __init__(self, settings: Settings) -> None:
        self.results = f"{settings.application_id}.results"
        self._state = settings.topics.preparation_state
        self._address = settings.kafka.bootstrap_servers
        make_topic(self._address, self._state, 2, cleanup_policy="compact")
        make_topic(self._address, self.results)
        owners = Owner(), Owner()
        self.logs = member(settings, 1), member(settings, 2)
        for log, owner in zip(self.logs, owners, strict=True):
            log.join(owner)
        until(lambda: [len(owner.owned) for owner in owners] == [1, 1], *self.logs)
        self._owned = {log: min(owner.owned) for log, owner in zip(self.logs, owners, strict=True)}

    def transact(self, log: KafkaLog, value: bytes, membership: object = None) -> Outcome:
        """Send a result and the state beside it, as a member who may be another one."""
        number = self._owned[log]
        records = [
            OutputRecord(self.results, b"key", value),
            OutputRecord(self._state, POSITION_KEY.encode(), value, partition=number),
        ]
        return log.transact(records, {number: Position(1, value.decode())}, membership or log.membership())[0]

    def readable(self) -> list[bytes]:
        """Return what readers of committed records get."""
        with Follower(self._address, self.results) as follower:
            return [record.value or b"" for record in follower.read_to_end()]


@pytest.fixture
def group(forgetful: ForgetfulBroker, topic_prefix: str) -> Iterator[Group]:
    """Make two members."""
    made = Group(installation(forgetful.running.bootstrap_servers, topic_prefix, "classic", partitions=2))
    yield made
    for log in made.logs:
        log.close()


def test_each_ends_what_it_committed_and_nothing_is_read_twice(forgetful: ForgetfulBroker, group: Group) -> None:
    """Who wrote behind the other finds its own out later, while there is nothing else to do."""
    first, second = group.logs
    with forgetful.forgetting(group.results):
        assert group.transact(first, b"one") is Outcome.COMMITTED
        assert group.transact(second, b"two") is Outcome.COMMITTED
    assert group.readable() == []
    second.end_transaction()
    assert group.readable() == []
    first.end_transaction()
    until(lambda: len(group.readable()) > 1, first, second)
    assert sorted(group.readable()) == [b"one", b"two"]
    for log, value in ((first, b"three"), (second, b"four")):
        assert group.transact(log, value) is Outcome.COMMITTED
    until(lambda: len(group.readable()) > 3)
    assert sorted(group.readable()[2:]) == [b"four", b"three"]


def test_what_was_aborted_is_not_committed_by_the_next(forgetful: ForgetfulBroker, group: Group) -> None:
    """A commit of the same producer would end it as well, and its way."""
    log, other = group.logs
    stale = other.membership()
    other.close()
    with forgetful.forgetting(group.results):
        assert group.transact(log, b"refused", stale) is Outcome.ABORTED
    log.end_transaction()
    assert group.transact(log, b"taken") is Outcome.COMMITTED
    until(lambda: bool(group.readable()))
    assert group.readable() == [b"taken"]
