"""The transactions of a decider whose broker went and came back."""

from collections.abc import Callable

import pytest

from processor.engine.ports import Outcome, OutputRecord, Position
from tests.support.broker import RunningBroker
from tests.support.member import Owner, installation, member, until

pytestmark = [pytest.mark.broker]


@pytest.mark.parametrize("end", [RunningBroker.kill, RunningBroker.stop], ids=["killed", "stopped"])
def test_the_first_transaction_after_an_outage_is_like_any_other(
    broker: RunningBroker, topic_prefix: str, end: Callable[[RunningBroker], None]
) -> None:
    """The producer of before would wait for its offsets until its time is up, and all would be decided again."""
    settings = installation(broker.bootstrap_servers, topic_prefix, "classic", partitions=1)
    log, owner = member(settings, 1), Owner()
    log.join(owner)
    until(lambda: owner.owned == {0}, log)
    record = OutputRecord(settings.topics.requests, b"key", b"value", partition=0)

    def transact(offset: int) -> Outcome:
        return log.transact([record], {0: Position(offset, "token")}, log.membership())[0]

    assert transact(1) is Outcome.COMMITTED
    end(broker)
    broker.start()
    assert transact(2) is Outcome.COMMITTED
    log.close()
