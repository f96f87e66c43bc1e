"""Transactions whose end a real broker never wrote, and what readers of committed records get in the end."""

from collections.abc import Iterator
from functools import partial

import pytest
from confluent_kafka import TopicPartition

from processor.adapters.group_offsets import GroupOffsets
from processor.adapters.topic_ends import TopicEnds
from processor.adapters.transactions import Transactions
from processor.engine.ports import Outcome, OutputRecord
from processor.errors import BrokerUnavailable
from processor.kafka_config import client_config, producer_config, reader_config
from processor.settings import Settings
from tests.support.forgetful_broker import ForgetfulBroker
from tests.support.member import Owner, installation, member, until
from tests.support.reading import Follower
from tests.support.topics import make_topic

pytestmark = [pytest.mark.broker]

COMMIT_S = 1.0


class Writer:
    """A member that writes a result and its state in one transaction, with the offset of its partition."""

    def __init__(self, settings: Settings) -> None:
        self._address, self._input = settings.kafka.bootstrap_servers, settings.topics.requests
        self.state, self.results = settings.topics.preparation_state, f"{settings.application_id}.results"
        make_topic(self._address, self.state, cleanup_policy="compact")
        make_topic(self._address, self.results)
        self.client = f"{settings.application_id}.preparation"
        self._log, owner = member(settings, 1), Owner()
        self._log.join(owner)
        until(lambda: bool(owner.owned), self._log)
        self.membership = self._log.membership() or b""
        self._offsets = GroupOffsets(reader_config(settings, "offsets"), settings.group_id("preparation"), 5)
        self._transactions = Transactions(
            producer_config(settings, "preparation", "writer"),
            "requests",
            TopicEnds(client_config(settings, "admin"), 5).of,
            partial(self._offsets.of, self._input),
            request_s=5,
            commit_s=COMMIT_S,
        )

    def transact(self, value: bytes, membership: object = None) -> Outcome:
        """Send a transaction."""
        records = [OutputRecord(self.results, b"key", value), OutputRecord(self.state, b"key", value, partition=0)]
        offsets = [TopicPartition(self._input, 0, 1, f"{value.decode()} 0 1")]
        return self._transactions.transact(records, offsets, membership or self.membership)[0]

    def end(self) -> None:
        """Replace the producer."""
        self._transactions.end(self.membership)

    def readable(self, topic: str) -> list[bytes | None]:
        """Return what readers of committed records get."""
        with Follower(self._address, topic) as follower:
            return [record.value for record in follower.read_to_end()]

    def token(self) -> str:
        """Return what the group committed with its offset, once nothing is pending."""
        position = self._log.committed([0])[0]
        return position.token if position is not None else ""

    def has_all(self, *values: bytes) -> None:
        """See that results and state hold these, and the group the last of them."""
        for topic in (self.results, self.state):
            until(lambda: len(self.readable(topic)) >= len(values))  # noqa: B023  # called at once
            assert self.readable(topic) == [*values]
        assert self.token() == values[-1].decode()

    def close(self) -> None:
        """Let everything go."""
        self._transactions.close()
        self._offsets.close()
        self._log.close()


@pytest.fixture
def writer(forgetful: ForgetfulBroker, topic_prefix: str) -> Iterator[Writer]:
    """Make one that has written once."""
    made = Writer(installation(forgetful.running.bootstrap_servers, topic_prefix, "classic", partitions=1))
    assert made.transact(b"zero") is Outcome.COMMITTED
    until(lambda: made.readable(made.results) == made.readable(made.state) == [b"zero"])
    yield made
    made.close()


def test_what_nobody_knows_is_aborted_where_it_hangs_everywhere(forgetful: ForgetfulBroker, writer: Writer) -> None:
    """Its offsets are pending no more, so it is known to be aborted, and can be decided again.

    Where the broker forgets that in part, the rest is aborted later, whatever was unknown before.
    """
    with forgetful.swallowing(writer.client):
        with forgetful.forgetting(writer.results, writer.state, "__consumer_offsets"):
            assert writer.transact(b"one") is Outcome.UNKNOWN
        with forgetful.forgetting(writer.results), pytest.raises(BrokerUnavailable):
            writer.end()
    writer.end()
    assert writer.token() == "zero"
    assert writer.transact(b"two") is Outcome.COMMITTED
    writer.has_all(b"zero", b"two")


def test_what_nobody_knows_is_left_alone_where_its_offset_is_committed(
    forgetful: ForgetfulBroker, writer: Writer
) -> None:
    """Then it was committed, and the next transaction of the same producer ends it so."""
    with forgetful.swallowing(writer.client), forgetful.forgetting(writer.results, writer.state):
        assert writer.transact(b"one") is Outcome.UNKNOWN
        writer.end()
    writer.end()
    assert writer.token() == "one"
    assert writer.transact(b"two") is Outcome.COMMITTED
    writer.has_all(b"zero", b"one", b"two")


def test_what_was_aborted_is_not_committed_by_the_next(forgetful: ForgetfulBroker, writer: Writer) -> None:
    """The next commit of the same producer would end it as well, and its way."""
    stale = writer.membership.replace(writer.client.encode(), b"stranger", 1)
    with forgetful.forgetting(writer.results, writer.state):
        assert writer.transact(b"refused", stale) is Outcome.ABORTED
    writer.end()
    assert writer.transact(b"taken") is Outcome.COMMITTED
    writer.has_all(b"zero", b"taken")
