"""How parts and positions are written: what goes in comes out, and what a newer build wrote is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.engine.entries import (
    FORMAT,
    PARKED_PREFIX,
    StoredPosition,
    pack,
    position_entry,
    position_in,
    split_key,
    storage_key,
    unpack,
)
from processor.engine.ports import Entry
from processor.engine.seals import Seal, SealKind, seal_in, seal_value
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


@pytest.mark.parametrize("kind", list(SealKind))
def test_a_seal_comes_back_and_stops_builds_that_know_of_none(kind: SealKind) -> None:
    """They read format 1 alone; only a target, where such a build may run later, is held back by its position."""
    seal = Seal(kind, "m-1", "elsewhere")
    assert seal_in(unpack(seal_value(seal))) == seal
    assert (seal_value(seal)[0] == FORMAT) is (kind is SealKind.UNFINISHED)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"kind": "newer", "moveId": "m", "target": ""}', b"[]"])
def test_a_seal_of_a_newer_build_stops_this_one(body: bytes) -> None:
    """Whatever it says: nobody may go on there."""
    with pytest.raises(StateUnreadable, match="newer build"):
        seal_in(Entry(0, None, is_behind_evidence=False, is_waiting=False, body=body))


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
