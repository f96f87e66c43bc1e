"""What stands beside a committed offset comes back as it was; what others wrote there proves nothing."""

import pytest
from confluent_kafka import OFFSET_INVALID, TopicPartition

from processor.adapters.group_offsets import GroupOffsets, offset_metadata, partitions_told, read_offset
from processor.engine.ports import Position
from tests.support.broker import RunningBroker


@pytest.mark.parametrize("position", [Position(7, "start:1"), Position(7, "start:1", 1_764_000_000_000)])
def test_token_mark_and_count_come_back(position: Position) -> None:
    """Whether a mark is kept or not."""
    part = TopicPartition("t", 0, position.offset, offset_metadata(position, 12))
    assert read_offset(part) == position
    assert partitions_told([part]) == 12


@pytest.mark.parametrize("metadata", ["", "start:1 soon", "start:1 -5", "start:1 "])
def test_what_is_no_mark_counts_as_none(metadata: str) -> None:
    """A mark that cannot be read must not count as one of the future."""
    assert read_offset(TopicPartition("t", 0, 7, metadata)).mark == 0


@pytest.mark.parametrize("words,mark", [("start:1", 0), ("start:1 1764000000000", 1_764_000_000_000)])
def test_what_0_1_0_committed_is_read_and_tells_no_count(words: str, mark: int) -> None:
    """It wrote the token alone, or the token and a mark."""
    part = TopicPartition("t", 0, 7, words)
    assert read_offset(part) == Position(7, "start:1", mark)
    assert partitions_told([part]) is None


@pytest.mark.broker
def test_offsets_are_asked_for_before_the_coordinator_is_ready(broker: RunningBroker, topic_prefix: str) -> None:
    """The first question to a broker that is new, or was away, finds no coordinator; an admin client would crash."""
    config = {"bootstrap.servers": broker.bootstrap_servers}
    for number in range(5):
        offsets = GroupOffsets(config, f"{topic_prefix}{number}", timeout_s=20)
        assert [part.offset for part in offsets.of("any", [0])] == [OFFSET_INVALID]
        broker.kill()
        broker.start()
        assert len(offsets.of("any", [0])) == 1
        offsets.close()
