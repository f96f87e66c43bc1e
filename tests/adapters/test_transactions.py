"""The transactions of a decider whose broker went and came back."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
from confluent_kafka import Producer, TopicPartition

from processor.adapters.kafka import KafkaLog
from processor.adapters.transactions import Transactions
from processor.engine.entries import POSITION_KEY
from processor.engine.ports import Outcome, OutputRecord, Position
from processor.errors import BrokerUnavailable
from processor.kafka_config import producer_config
from processor.settings import Settings
from tests.support.broker import RunningBroker
from tests.support.member import Owner, installation, member, until

pytestmark = [pytest.mark.broker]


@contextmanager
def joined(settings: Settings) -> Iterator[KafkaLog]:
    """Give a member that owns the only partition."""
    log, owner = member(settings, 1), Owner()
    log.join(owner)
    until(lambda: owner.owned == {0}, log)
    yield log
    log.close()


def begun(transact: Callable[[], tuple[Outcome, object]]) -> Outcome:
    """Return how a transaction ends; until the broker lets a producer in, none begins."""
    for _ in range(10):
        with suppress(BrokerUnavailable):
            return transact()[0]
    pytest.fail("no producer was let in")


def transactions_with(settings: Settings, number: str, request_s: float = 5) -> Transactions:
    """Make transactions of `preparation`, of which none hangs."""
    config = producer_config(settings, "preparation", number)
    return Transactions(config, "requests", lambda _: {}, lambda _: (), request_s=request_s, commit_s=8)


@pytest.mark.parametrize("end", [RunningBroker.kill, RunningBroker.stop], ids=["killed", "stopped"])
def test_the_first_transaction_after_an_outage_is_like_any_other(
    broker: RunningBroker, topic_prefix: str, end: Callable[[RunningBroker], None]
) -> None:
    """The producer of before would wait for its offsets until its time is up, and all would be decided again."""
    settings = installation(broker.bootstrap_servers, topic_prefix, "classic", partitions=1)
    record = OutputRecord(settings.topics.requests, b"key", b"value", partition=0)
    with joined(settings) as log:

        def transact(offset: int) -> Outcome:
            position = {0: Position(offset, "token")}
            return begun(lambda: log.transact([record], position, log.membership()))

        assert transact(1) is Outcome.COMMITTED
        end(broker)
        broker.start()
        assert transact(2) is Outcome.COMMITTED


def test_what_can_no_longer_be_had_is_not_waited_for(broker: RunningBroker, topic_prefix: str) -> None:
    """A lost connection ends the wait for offsets, one answer that does not come that for an abort.

    What was open is aborted, and the next producer ends it: the one of before may wait for a broker that is back, and
    ask for it at none.
    """
    settings = installation(broker.bootstrap_servers, topic_prefix, "classic", partitions=1)
    record = OutputRecord(settings.topics.requests, b"key", b"value", partition=0)
    with joined(settings) as log, ThreadPoolExecutor(1) as pool:

        def transact(transactions: Transactions, *records: OutputRecord) -> Outcome:
            offsets = [TopicPartition(settings.topics.requests, 0, 1, "token")]
            return begun(lambda: transactions.transact(records, offsets, log.membership()))

        def transactions_of(request_s: float) -> Transactions:
            made = transactions_with(settings, f"within-{request_s}", request_s)
            assert transact(made, record) is Outcome.COMMITTED
            return made

        patient, brief = transactions_of(60), transactions_of(2)
        broker.suspend()
        aborting = pool.submit(transact, brief, record)
        assert aborting.result(8) is Outcome.ABORTED, "2 s to flush, 2 s to abort"
        sending = pool.submit(transact, patient)
        broker.kill()
        assert sending.result(30) is Outcome.ABORTED
        broker.start()
        for transactions in (brief, patient):
            assert transact(transactions, record) is Outcome.COMMITTED
            transactions.close()


def test_a_producer_that_was_fenced_is_replaced(broker: RunningBroker, topic_prefix: str) -> None:
    """That is fatal to a producer, and raised where its reports are served; the transaction is decided again."""
    settings = installation(broker.bootstrap_servers, topic_prefix, "classic", partitions=1)
    records = [OutputRecord(settings.topics.requests, POSITION_KEY.encode(), b"value", partition=0)]
    with joined(settings) as log:
        transactions = transactions_with(settings, "fenced")

        def transact() -> Outcome:
            offsets = [TopicPartition(settings.topics.requests, 0, 1, "token")]
            return begun(lambda: transactions.transact(records, offsets, log.membership()))

        assert transact() is Outcome.COMMITTED
        Producer(producer_config(settings, "preparation", "fenced")).init_transactions(10)
        assert transact() is Outcome.ABORTED
        assert transact() is Outcome.COMMITTED
        transactions.close()
