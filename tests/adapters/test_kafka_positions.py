"""What stands beside a committed offset comes back as it was; what others wrote there proves nothing."""

import pytest
from confluent_kafka import TopicPartition

from processor.adapters.kafka import offset_metadata, read_offset
from processor.engine.ports import Position


@pytest.mark.parametrize("position", [Position(7, "start:1"), Position(7, "start:1", 1_764_000_000_000)])
def test_token_and_mark_come_back(position: Position) -> None:
    """A partition that keeps no mark writes the token alone, as it always did."""
    assert read_offset(TopicPartition("t", 0, position.offset, offset_metadata(position))) == position


@pytest.mark.parametrize("metadata", ["", "start:1 soon", "start:1 -5", "start:1 "])
def test_what_is_no_mark_counts_as_none(metadata: str) -> None:
    """A mark that cannot be read must not count as one of the future."""
    assert read_offset(TopicPartition("t", 0, 7, metadata)).mark == 0
