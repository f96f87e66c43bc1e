"""Where a transaction of ours hangs, by what the broker says of its partitions."""

from confluent_kafka import TopicPartition

from processor.adapters.lost_markers import Ended, Placed, hanging, is_open_everywhere
from processor.engine.ports import Outcome, OutputRecord

STATE, RESULTS = "state", "results"


def placed(topic: str, partition: int, offset: int, key: bytes) -> Placed:
    """Return a record that the broker confirmed; where results go is the partitioner's choice."""
    wanted = partition if topic == STATE else None
    return Placed(OutputRecord(topic, key, b"value", partition=wanted), partition, offset)


CHANGE, POSITION = placed(STATE, 1, 20, b"change"), placed(STATE, 1, 21, b"position")
RESULT, ANOTHER = placed(RESULTS, 4, 7, b"one"), placed(RESULTS, 4, 8, b"two")
OFFSETS = [TopicPartition("input", 1, 100, "token 0 6"), TopicPartition("input", 2, 200, "token 0 6")]
ENDED = Ended(Outcome.UNKNOWN, (CHANGE, POSITION, RESULT, ANOTHER), OFFSETS)
HANGS = {(STATE, 1): 20, (RESULTS, 4): 7}
BEFORE = [TopicPartition("input", 1, 90, "before 0 6"), TopicPartition("input", 2, 200, "before 0 6")]


def test_it_hangs_where_readers_stand_at_its_first_record() -> None:
    """One record of each such partition is enough to end it there, in that very partition."""
    assert hanging(ENDED, HANGS) == [
        RESULT.record._replace(partition=4),
        CHANGE.record,
    ]


def test_where_readers_are_further_it_has_its_end() -> None:
    """That is what follows most lost connections."""
    assert hanging(ENDED, {(STATE, 1): 23, (RESULTS, 4): 10}) == []
    assert hanging(ENDED, {**HANGS, (STATE, 1): 23}) == [RESULT.record._replace(partition=4)]


def test_where_readers_are_not_so_far_somebody_else_holds_them_up() -> None:
    """Whether it hangs there too cannot be told, nor for a partition that is gone."""
    assert hanging(ENDED, {**HANGS, (RESULTS, 4): 6}) == [CHANGE.record]
    assert hanging(ENDED, {(STATE, 1): 20}) == [CHANGE.record]


def test_it_is_open_everywhere_when_no_partition_and_no_offset_is_committed() -> None:
    """Only then may what nobody knows be aborted: it is whole so."""
    assert is_open_everywhere(ENDED, HANGS, BEFORE)


def test_one_offset_or_one_partition_with_its_end_says_that_it_is_not() -> None:
    """What is committed there would be doubled, or lost elsewhere."""
    assert not is_open_everywhere(ENDED, HANGS, [OFFSETS[0], BEFORE[1]])
    assert not is_open_everywhere(ENDED, HANGS, [BEFORE[0], OFFSETS[1]])
    for place in HANGS:
        assert not is_open_everywhere(ENDED, {**HANGS, place: 100}, BEFORE)
        assert not is_open_everywhere(ENDED, {**HANGS, place: 1}, BEFORE)
