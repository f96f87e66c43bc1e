"""How parts and positions are written: what goes in comes out, and what a newer build wrote is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.engine.entries import (
    PARKED_PREFIX,
    Seal,
    StoredPosition,
    pack,
    position_entry,
    position_in,
    split_key,
    storage_key,
    unpack,
)
from processor.engine.ports import Entry
from processor.errors import StateUnreadable

HOUR_MS = 3_600_000
INSTANTS = st.none() | st.integers(-(2**62), 2**62)
ENTRIES = st.builds(Entry, st.integers(0, 255), INSTANTS, st.booleans(), st.booleans(), st.binary())


@given(ENTRIES)
def test_an_entry_comes_back_whole(entry: Entry) -> None:
    """Also one that is due at instant 0, which is not the same as never."""
    assert unpack(pack(entry)) == entry


@pytest.mark.parametrize("value", [b"", b"\x02" + bytes(20), bytes(20), b"\x01\x00"])
def test_what_is_of_another_format_or_too_short_is_refused(value: bytes) -> None:
    """A newer build's state stops the partition; it is not guessed at."""
    with pytest.raises(StateUnreadable):
        unpack(value)


def test_a_storage_key_names_state_key_and_part() -> None:
    """Parked facts sort before every part of a machine."""
    assert split_key(storage_key("key", "part/1")) == ("key", "part/1")
    assert storage_key("key", f"{PARKED_PREFIX}0") < storage_key("key", "A") < storage_key("key", "head")


def test_a_position_comes_back_with_its_history() -> None:
    """Offset, number of partitions and where it stood before."""
    position = StoredPosition(7, 12, ((1, 2), (3, 4)))
    assert position_in(position_entry(position)) == position


def test_a_sealed_position_comes_back_and_stops_older_builds() -> None:
    """Its seal and all else; a build that knows of no seals reads a number of partitions that no topic has."""
    position = StoredPosition(7, 12, ((1, 2),), Seal("moved to elsewhere", "m-1"))
    entry = position_entry(position)
    assert position_in(entry) == position
    assert json.loads(entry.body)["partitions"] == 0


@pytest.mark.parametrize("body", [b"", b"{}", b'{"offset": 1, "partitions": 1, "past": [[1]]}', b"[]"])
def test_a_position_that_is_none_of_ours_is_refused(body: bytes) -> None:
    """A damaged position stops the partition."""
    with pytest.raises(StateUnreadable):
        position_in(Entry(0, None, is_behind_evidence=False, is_waiting=False, body=body))


def test_the_history_is_coarse_and_bounded() -> None:
    """One step in six hours, eight days long; and `before` never names a position that was reached later."""
    position = StoredPosition(0, 1)
    for hour in range(24 * 30):
        position = position.moved(hour, hour * HOUR_MS)
    assert 30 <= len(position.past) <= 34
    now = (24 * 30 - 1) * HOUR_MS
    week_ago = position.before(now - 7 * 24 * HOUR_MS)
    assert week_ago is not None
    assert 24 * 23 - 7 <= week_ago <= 24 * 23
    assert position.before(now - 9 * 24 * HOUR_MS) is None
