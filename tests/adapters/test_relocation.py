"""Where a moved deployment's entries and records land, and what is refused because nobody could find them there."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.adapters.relocation import (
    HASHED,
    LaneCheck,
    Placement,
    Sample,
    StateRecord,
    Tally,
    UnreadRecord,
    murmur2,
    partition_of,
)
from processor.engine.entries import storage_key
from processor.roles.machines import lane_key

LANE = "preparation"
KEYS = st.binary(max_size=600)
COUNTS = st.integers(1, 40)


def entry(
    key: str, part: str = "head", *, decider: str = LANE, at: int = 0, message_key: bytes | None = None
) -> StateRecord:
    """Make an entry of a state partition."""
    return StateRecord(decider, at, storage_key(key, part), b"v", message_key)


def unread(key: bytes | None, *, decider: str = LANE, at: int = 0) -> UnreadRecord:
    """Make an unread record."""
    return UnreadRecord(decider, at, key, b"v", ())


@pytest.mark.parametrize(
    "key,hashed",
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_keys_are_hashed_as_java_does_it(key: bytes, hashed: int) -> None:
    """The values are those of Kafka's own test of `Utils.murmur2`."""
    assert murmur2(key) == hashed & 0xFFFF_FFFF


@given(KEYS, COUNTS)
def test_a_lane_lands_where_its_next_request_comes_in(key: bytes, count: int) -> None:
    """Whatever bytes a message key is made of: the state that knows its requests is in the partition of the key."""
    lane = lane_key(key)
    message_key = key if lane.startswith(HASHED) else None
    placed = Placement({LANE: count}).of_state(entry(lane, message_key=message_key))
    assert list(placed) == [partition_of(key, count)] == [Placement({LANE: count}).of_input(unread(key))]


@given(st.binary(max_size=600).filter(lambda key: lane_key(key).startswith(HASHED)), COUNTS)
def test_a_lane_whose_message_key_is_forgotten_is_known_everywhere(key: bytes, count: int) -> None:
    """A duplicate may come in on any partition, and is recognised there."""
    assert list(Placement({LANE: count}).of_state(entry(lane_key(key), "known/r-1"))) == list(range(count))


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=80), COUNTS)
def test_internal_state_lands_where_its_facts_come_in(key: str, count: int) -> None:
    """Launch and completion have state keys that are their record keys, also where one looks like a hashed lane."""
    for decider in ("launch", "completion"):
        for one in (key, f"{HASHED}{'0' * 64}"):
            placed = Placement({decider: count})
            assert list(placed.of_state(entry(one, decider=decider))) == [
                placed.of_input(unread(one.encode(), decider=decider))
            ]


def test_what_is_kept_stays_in_its_partition() -> None:
    """Where the requests topic stays, entries go to the partition that they were in, and no request is copied."""
    placement = Placement({LANE: 5, "launch": 5}, frozenset({LANE}))
    assert [list(placement.of_state(entry(f"k-{at}", at=at))) for at in range(5)] == [[at] for at in range(5)]
    assert placement.of_input(unread(b"k")) is None


def test_records_of_one_key_stay_in_order() -> None:
    """Also those without a key, which stay together as far as they were."""
    random = Random(7)
    for count in (1, 3, 7):
        placement = Placement({LANE: count})
        for _ in range(200):
            at = random.randrange(12)
            assert placement.of_input(unread(None, at=at)) == placement.of_input(unread(None, at=at)) == at % count


def elsewhere(key: bytes, count: int = 4) -> int:
    """Return a partition that is not the key's."""
    return (partition_of(key, count) + 1) % count


@pytest.mark.parametrize(
    "entries,sample,complaint",
    [
        ([], Sample(), ""),
        ([entry("a", at=partition_of(b"a", 4)), entry("a", "known/r-1", at=partition_of(b"a", 4))], Sample(), ""),
        ([entry("a", "known/r-1", at=elsewhere(b"a"))], Sample(), "do not choose"),
        ([entry("r-1", "known/r-1", at=elsewhere(b"r-1"))], Sample(without_key=1), ""),
        ([entry("r-1", "known/r-1", at=elsewhere(b"r-1"))], Sample(), "nothing shows"),
        ([entry("r-1", "known/r-1", at=partition_of(b"r-1", 4))], Sample(), ""),
        ([entry(lane_key(b"\xff"), message_key=b"\xff", at=elsewhere(b"\xff"))], Sample(), "do not choose"),
        ([entry(lane_key(b"\xff"), "known/r-1", at=0)], Sample(), ""),
        ([], Sample(elsewhere=1), "do not choose"),
    ],
)
def test_lanes_are_placed_anew_only_where_publishers_choose_partitions_as_we_do(
    entries: list[StateRecord], sample: Sample, complaint: str
) -> None:
    """Else the next request of a key would come in where nothing is known of it; what lies elsewhere shows it."""
    check = LaneCheck(4, sample)
    for one in entries:
        check.see(one)
    assert (complaint in check.complaint()) if complaint else check.complaint() == ""


def test_a_lane_is_counted_once() -> None:
    """However many ids are known in it."""
    check = LaneCheck(4, Sample())
    for part in ("known/a", "known/b", "known/c"):
        check.see(entry("a", part, at=elsewhere(b"a")))
    assert (check.lanes_elsewhere, check.lanes_anywhere) == (1, 0)


def test_tallies_tell_what_is_missing_and_what_is_out_of_order() -> None:
    """Entries may come in any order, records may not; and nothing may say something else."""
    one, same, other = Tally(), Tally(), Tally()
    for tally, order in ((one, "ab"), (same, "ba")):
        for key in order:
            tally.entry("launch", 0, key, b"v")
    assert list(one.differences(same)) == []
    other.entry("launch", 0, "a", b"v")
    other.entry("launch", 0, "b", b"w")
    assert list(one.differences(other)) == ["state of launch, partition 0"]
    assert one.of_decider("launch") == other.of_decider("launch") == (2, 0)
    first, second = Tally(), Tally()
    for tally, keys in ((first, (b"a", b"b")), (second, (b"b", b"a"))):
        for each in keys:
            tally.record(1, unread(each, decider="launch"))
    assert list(first.differences(second)) == ["input of launch, partition 1"]
