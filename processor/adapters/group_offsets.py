"""What a decider's group commits: an offset, and beside it words of ours, which come back with it.

The words are the transaction's token, how far evidence is judged (0: nobody keeps count) and how many partitions the
topic has, so that whoever finds other ones knows that keyed state was written for these.
"""

from collections.abc import Sequence

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

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


def committed_offsets(
    admin: AdminClient, group_id: str, topic: str, numbers: Sequence[int], timeout_s: float
) -> Sequence[TopicPartition]:
    """Return what a group committed of each partition, whatever transaction is open; raises BrokerUnavailable."""
    request = [ConsumerGroupTopicPartitions(group_id, [TopicPartition(topic, number) for number in numbers])]
    try:
        answer = admin.list_consumer_group_offsets(request, request_timeout=timeout_s)
        found: Sequence[TopicPartition] = answer[group_id].result(timeout_s).topic_partitions
    except (KafkaException, TimeoutError) as error:
        raise BrokerUnavailable(f"the offsets of {group_id} cannot be read") from error
    return found


def _words(part: TopicPartition) -> tuple[str, int, int]:
    token, mark, partitions, *_ = [*(part.metadata or "").split(" "), "", ""]
    return token, _number(mark), _number(partitions)


def _number(word: str) -> int:
    return int(word) if word.isdecimal() else 0
