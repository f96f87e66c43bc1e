"""Copies of one lane in many partitions become one again: that which heard the latest."""

from itertools import permutations
from pathlib import Path

from processor.adapters.codec import Codec
from processor.adapters.relocation import StateRecord
from processor.core.model import Timer
from processor.core.state import KnownRequest, KnownSubject
from processor.engine.entries import PARKED_PREFIX, pack, storage_key
from processor.engine.ports import Entry
from processor.roles.machines import lane_key
from processor.roles.relocation_lanes import HashedLanes

CODEC = Codec()
KEY = b"\xff"
LANE = lane_key(KEY)
ASKED = KnownRequest(b"digest", Timer(5), launch_key="key", link_attempt=2)
HANDED_OVER = KnownRequest(b"digest", Timer(5), launch_key="key")
FRESH = KnownRequest(b"digest", Timer(5))


def copy(part: KnownRequest | KnownSubject, at: int, key: bytes | None = None, name: str = "known/r-1") -> StateRecord:
    """Make a copy of an entry, as partition `at` has it."""
    entry = Entry(2, 5, is_behind_evidence=False, is_waiting=False, body=CODEC.encode(part))
    return StateRecord("preparation", at, storage_key(LANE, name), pack(entry), key)


def gathered(directory: Path, *records: StateRecord) -> list[StateRecord]:
    """Return what comes of copies that were found in this order."""
    with HashedLanes(directory, CODEC) as lanes:
        for record in records:
            lanes.put(record)
        return list(lanes.items())


def test_the_copy_that_heard_the_latest_counts(tmp_path: Path) -> None:
    """In whatever order they are found: a link that was asked for is never asked for again by an older copy."""
    for number, order in enumerate(permutations([copy(FRESH, 0), copy(HANDED_OVER, 1), copy(ASKED, 2)])):
        assert gathered(tmp_path / str(number), *order) == [copy(ASKED, 2)]
    older, newer = (KnownSubject(made, None, at, Timer(9)) for made, at in (("r-1", 1), ("r-2", 2)))
    for number, order in enumerate(permutations([copy(older, 0, name="subject/s"), copy(newer, 1, name="subject/s")])):
        assert gathered(tmp_path / f"s-{number}", *order) == [copy(newer, 1, name="subject/s")]


def test_a_lane_with_work_in_it_knows_best(tmp_path: Path) -> None:
    """It is in the partition where its requests come in; and it tells the message key to all that is of the lane."""
    living, stale = copy(HANDED_OVER, 1, KEY), copy(ASKED, 0)
    other = copy(FRESH, 0, name="known/r-2")
    for number, order in enumerate(permutations([living, stale, other])):
        assert gathered(tmp_path / str(number), *order) == [living, other._replace(message_key=KEY)]


def test_facts_that_were_set_aside_are_kept_as_they_are(tmp_path: Path) -> None:
    """They are no parts of a decider."""
    entry = Entry(4, None, is_behind_evidence=False, is_waiting=False, body=b'{"build": "b"}')
    parked = StateRecord("preparation", 3, storage_key(LANE, f"{PARKED_PREFIX}0"), pack(entry), KEY)
    assert gathered(tmp_path, parked) == [parked]
