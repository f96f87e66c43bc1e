"""Where reading goes on after a restore, and what a restore never does."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest

from processor.engine.entries import POSITION_KEY, SEAL_KEY, StoredPosition, pack, position_entry, storage_key
from processor.engine.partition import Partition, Phase
from processor.engine.ports import Change, Checkpoint, Entry, OutputRecord, Owned, Position
from processor.engine.restore import CHECKPOINT_AGE_MAX_MS, Restorer, check_partitions, start_of
from processor.engine.seals import Seal, SealKind, seal_value
from processor.errors import StateUnreadable
from tests.engine.cluster import Cluster
from tests.engine.disk import Disk, DiskStore, opener
from tests.engine.toy import Toy
from tests.engine.world import FakeLog, Watcher

STORED = StoredPosition(50, 3)


@pytest.mark.parametrize(
    "stored,committed,low,high,start",
    [
        (None, None, 0, 100, 0),  # The first start: all there is.
        (None, None, 40, 100, 40),
        (STORED, Position(50, "t"), 0, 100, 50),
        (STORED, Position(50, "t"), 50, 50, 50),  # All decided, all deleted.
        (STORED, Position(40, "t"), 0, 100, 50),  # The state is the truth: below it is redelivery.
        (STORED, None, 0, 100, 50),  # The group's offsets expired.
    ],
)
def test_reading_goes_on_where_the_state_stands(
    stored: StoredPosition | None, committed: Position | None, low: int, high: int, start: int
) -> None:
    """The position in the state was written with the state, so it wins over the group's offset."""
    assert start_of(stored, committed, low, high, 3) == start


@pytest.mark.parametrize(
    "stored,committed,low,high,partitions,why",
    [
        (None, Position(5, "t"), 0, 100, 3, "holds no position"),
        (STORED, Position(51, "t"), 0, 100, 3, "state was lost"),
        (STORED, None, 51, 100, 3, "deleted before it was read"),
        (STORED, None, 0, 49, 3, "made anew"),
        (STORED, None, 0, 100, 4, "use new topics"),
    ],
)
def test_a_contradiction_stops_the_partition(  # noqa: PLR0913, PLR0917  # the columns of the table
    stored: StoredPosition | None, committed: Position | None, low: int, high: int, partitions: int, why: str
) -> None:
    """Going on would lose or repeat something: a person must look, and the text says what is wrong."""
    with pytest.raises(StateUnreadable, match=why):
        start_of(stored, committed, low, high, partitions)


@pytest.mark.parametrize("number,now,before", [(5, 8, 4), (0, 8, 4), (5, 4, None)])
def test_a_partition_that_was_added_is_not_begun(number: int, now: int, before: int | None) -> None:
    """It holds nothing, so it would take every key that it is sent for a new one."""
    with pytest.raises(StateUnreadable, match="use new topics"):
        check_partitions(number, now, before)


@pytest.mark.parametrize("before", [None, 4])
def test_a_partition_that_was_always_there_is_begun(before: int | None) -> None:
    """Also where the group never committed, or a build of before did."""
    check_partitions(3, 4, before)


class Calm:
    """A process whom nothing happens to."""

    def __init__(self) -> None:
        self.points: Counter[str] = Counter()

    def point(self, name: str) -> None:
        """Count how often it came by here."""
        self.points[name] += 1

    def happens(self, what: str) -> bool:
        """Never."""
        del what
        return False

    def wait(self, ms: int) -> None:
        """No time passes."""


class Nobody:
    """A listener of no interest."""

    def on_assigned(self, partitions: object) -> None:
        """Nothing."""

    on_revoked = on_lost = on_assigned


class Setting:
    """A restorer on a cluster, of one partition unless more are wanted."""

    def __init__(self, partitions: int = 1) -> None:
        rng = Random(1)
        self.cluster = Cluster(rng, partitions, Toy.input_topic, Toy.state_topic)
        self.process = Calm()
        self.log = FakeLog(self.cluster, "p", self.process, rng)
        self.watcher = Watcher()
        self.disk = Disk()
        self.restorer = Restorer(Toy(), self.log, opener(self.disk, Calm()), lambda: self.cluster.now, self.watcher)
        self.log.join(Nobody())
        self.log.poll(0, 1)

    def store(self) -> DiskStore:
        """Return the store on the disk, made if there is none."""
        store = self.disk.stores.setdefault(0, DiskStore())
        assert isinstance(store, DiskStore)
        return store

    @contextmanager
    def transaction(self, *, is_commit: bool = True) -> Iterator[list[tuple[str, bytes | None]]]:
        """Write state records in a transaction."""
        rows: list[tuple[str, bytes | None]] = []
        yield rows
        opened = self.cluster.begin()
        for key, value in rows:
            self.cluster.append(OutputRecord(Toy.state_topic, key.encode(), value, partition=0), opened)
        self.cluster.end(opened, is_commit=is_commit)

    def begin(self) -> Partition:
        """Begin a restore."""
        return self.restorer.begin(Owned(0, 1))

    def turns(self, most: int = 50) -> list[Partition]:
        """Restore until something is whole, at most for so many turns."""
        for _ in range(most):
            self.cluster.passes(self.cluster.now + 100)
            done = self.restorer.turn()
            if done:
                return done
        return []


def part(body: str) -> Entry:
    return Entry(0, None, is_behind_evidence=False, is_waiting=False, body=body.encode())


def test_what_was_aborted_is_not_restored_and_tombstones_delete() -> None:
    """The store holds the last committed value of each key, and the position where reading goes on."""
    setting = Setting()
    for _ in range(9):
        setting.cluster.publish(b"k", b"")
    with setting.transaction() as rows:
        rows += [("a\x00x", pack(part("old"))), ("b\x00x", pack(part("gone")))]
    with setting.transaction(is_commit=False) as rows:
        rows += [("a\x00x", pack(part("aborted"))), ("c\x00x", pack(part("aborted")))]
    with setting.transaction() as rows:
        rows += [
            ("a\x00x", pack(part("new"))),
            ("b\x00x", None),
            (POSITION_KEY, pack(position_entry(StoredPosition(4, 1)))),
        ]
    partition = setting.begin()
    assert setting.turns() == [partition]
    assert [(key, entry.body) for key, entry in setting.store().scan("a")] == [(storage_key("a", "x"), b"new")]
    assert setting.store().get("b\x00x") is None
    assert setting.store().get("c\x00x") is None
    assert (partition.next_offset, partition.position.offset) == (4, 4)


def test_an_open_transaction_of_the_former_owner_is_waited_out() -> None:
    """Its end lies beyond the last stable offset: to stop there would miss what is being committed."""
    setting = Setting()
    for _ in range(9):
        setting.cluster.publish(b"k", b"")
    opened = setting.cluster.begin()
    for key, entry in (("a\x00x", part("late")), (POSITION_KEY, position_entry(StoredPosition(1, 1)))):
        setting.cluster.append(OutputRecord(Toy.state_topic, key.encode(), pack(entry), partition=0), opened)
    partition = setting.begin()
    assert setting.turns(most=20) == []
    setting.cluster.end(opened, is_commit=True)
    assert setting.turns() == [partition]
    assert setting.store().get("a\x00x") == part("late")


def test_offsets_that_hang_in_a_transaction_are_waited_for() -> None:
    """Pending offsets say that the former owner may still commit; nothing of the state is read before."""
    setting = Setting()
    opened = setting.cluster.begin()
    opened.positions = {0: Position(0, "other:1")}
    setting.begin()
    assert setting.turns(most=20) == []
    assert setting.watcher.seen["restored"] == 0
    setting.cluster.end(opened, is_commit=False)
    assert len(setting.turns()) == 1


@pytest.mark.parametrize(
    "offset,age_ms,origin,is_used",
    [
        (2, 0, "first", True),
        (99, 0, "first", False),
        (2, CHECKPOINT_AGE_MAX_MS, "first", False),
        (2, 0, "another", False),
    ],
    ids=["usable", "beyond the end", "older than tombstones live", "of a topic that had this name"],
)
def test_a_store_is_used_from_its_checkpoint_or_not_at_all(
    *, offset: int, age_ms: int, origin: str, is_used: bool
) -> None:
    """A checkpoint that the topic contradicts, or that is older than a tombstone lives, makes the store worthless.

    So does a topic that was deleted and made anew: its offsets mean something else.
    """
    setting = Setting()
    with setting.transaction() as rows:
        rows += [
            ("a\x00x", pack(part("1"))),
            ("a\x00y", pack(part("2"))),
            (POSITION_KEY, pack(position_entry(StoredPosition(0, 1)))),
        ]
    checkpoint = Checkpoint(offset, setting.cluster.now - age_ms)
    setting.store().wipe(origin)
    setting.store().write({"only\x00here": Change(part("cached"), None)}, checkpoint)
    setting.begin()
    assert len(setting.turns()) == 1
    assert (setting.store().get("only\x00here") is not None) is is_used
    assert (setting.store().get("a\x00x") is not None) is not is_used
    assert setting.store().origin() == "first"


def test_state_of_a_newer_build_stops_that_partition_only() -> None:
    """It is not guessed at: the partition waits for the newer build."""
    setting = Setting()
    with setting.transaction() as rows:
        rows.append(("a\x00x", b"\xff newer"))
    partition = setting.begin()
    assert setting.turns(most=20) == []
    assert partition.phase is Phase.STOPPED
    assert not setting.restorer.is_busy


def test_a_partition_beside_one_that_was_written_for_fewer_is_not_read() -> None:
    """The group remembers for how many it committed; what the new partition's state topic says is nothing at all."""
    setting = Setting()
    setting.cluster.partitions_before = 2
    partition = setting.begin()
    assert setting.turns(most=20) == []
    assert partition.phase is Phase.STOPPED


def test_partitions_that_are_whole_together_ask_once_how_many_there_were() -> None:
    """The group tells it of all of them; a member with many would ask its coordinator for each."""
    setting = Setting(partitions=3)
    begun = [setting.restorer.begin(Owned(number, 1)) for number in range(3)]
    assert setting.turns() == begun
    assert setting.process.points["partitions_before"] == 1


def test_state_is_read_from_where_its_topic_begins() -> None:
    """What lay before was deleted, and nobody can be given it."""
    setting = Setting()
    with setting.transaction() as rows:
        rows += [("gone\x00x", pack(part("1"))), (POSITION_KEY, pack(position_entry(StoredPosition(0, 1))))]
    (log,) = setting.cluster.logs(Toy.state_topic)
    log.start, log.rows = 1, log.rows[1:]
    partition = setting.begin()
    assert setting.turns() == [partition]
    assert setting.store().get("gone\x00x") is None


def test_a_sealed_partition_stops_and_says_why_until_the_seal_is_lifted() -> None:
    """Whatever was written beside the seal; and its position is then what it was."""
    setting = Setting()
    setting.cluster.publish(b"k", b"")
    position = pack(position_entry(StoredPosition(1, 1)))
    with setting.transaction() as rows:
        rows += [(SEAL_KEY, seal_value(Seal(SealKind.MOVED, "m-1", "elsewhere"))), (POSITION_KEY, position)]
    partition = setting.begin()
    assert setting.turns(most=20) == []
    assert partition.phase is Phase.STOPPED
    assert any("was moved to application id elsewhere" in said for said in setting.watcher.said)
    assert "was moved to application id elsewhere" in (partition.why_stopped or "")
    with setting.transaction() as rows:
        rows.append((SEAL_KEY, None))
    partition.close()
    opened = setting.begin()
    assert setting.turns() == [opened]
    assert opened.next_offset == 1
