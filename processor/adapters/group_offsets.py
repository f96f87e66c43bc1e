"""What a decider's group commits: an offset, and beside it words of ours, which come back with it.

The words are the transaction's token, how far evidence is judged (0: nobody keeps count) and how many partitions the
topic has, so that whoever finds other ones knows that keyed state was written for these.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from processor.engine.ports import Position
from processor.errors import BrokerUnavailable


def offset_metadata(position: Position, partitions: int) -> str:
    """Return the words to commit with a position on a topic of so many partitions."""
    return f"{position.token} {position.mark} {partitions}"


def read_offset(part: TopicPartition) -> Position:
    """Return the position that a committed offset and its words say."""
    token, mark, _ = _words(part)
    return Position(part.offset, token, mark)


def partitions_told(parts: Sequence[TopicPartition]) -> int | None:
    """Return for how many partitions these offsets were committed; None where no words say so."""
    return max((count for part in parts if (count := _words(part)[2])), default=None)


NO_COORDINATOR: Final = frozenset(
    {KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.NOT_COORDINATOR}
)
LOOK_AGAIN_S: Final = 0.1


class GroupOffsets:
    """What a group committed, whatever transaction is open; `config` is that of any client.

    A consumer asks that never joins. An admin client must not: where the coordinator is not ready, or has moved,
    its librdkafka (2.16) reads the answer as that of a consumer, and the process ends with a segmentation fault.
    """

    def __init__(self, config: Mapping[str, Any], group_id: str, timeout_s: float) -> None:
        asking = {"group.id": group_id, "isolation.level": "read_uncommitted", "enable.auto.commit": False}
        self._consumer = Consumer({**config, **asking})
        self._group_id = group_id
        self._timeout_s = timeout_s

    def of(self, topic: str, numbers: Iterable[int]) -> Sequence[TopicPartition]:
        """Return what was committed of each of these partitions; raises BrokerUnavailable."""
        parts = [TopicPartition(topic, number) for number in numbers]
        give_up_at_s = time.monotonic() + self._timeout_s
        while True:
            try:
                return self._consumer.committed(parts, timeout=self._timeout_s)
            except KafkaException as error:
                if error.args[0].code() not in NO_COORDINATOR or time.monotonic() > give_up_at_s:
                    raise BrokerUnavailable(f"the offsets of {self._group_id} cannot be read") from error
            time.sleep(LOOK_AGAIN_S)

    def close(self) -> None:
        """Close; nothing was joined."""
        self._consumer.close()


def _words(part: TopicPartition) -> tuple[str, int, int]:
    token, mark, partitions, *_ = [*(part.metadata or "").split(" "), "", ""]
    return token, _number(mark), _number(partitions)


def _number(word: str) -> int:
    return int(word) if word.isdecimal() else 0
