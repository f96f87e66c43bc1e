"""One contract for both local stores: what the engine may rely on, whichever serves a partition."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.adapters.store_buffer import BufferedStore
from processor.adapters.store_memory import MemoryStore
from processor.adapters.store_rocks import RocksStore
from processor.engine.entries import POSITION_KEY, storage_key
from processor.engine.ports import Change, Checkpoint, Entry, Store
from processor.errors import FatalError

Steps = list[tuple[str, Any]]
FREE, BEHIND = False, True


MAKERS: dict[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(),
    "rocks": RocksStore,
    "rocks, buffered": lambda path: BufferedStore(RocksStore(path), changes_max=3),
}


@pytest.fixture(params=MAKERS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = MAKERS[request.param](tmp_path / "state")
    yield opened
    opened.close()


def entry(body: str = "", due_at: int | None = None, *, behind: bool = False, gauge: int = 0) -> Entry:
    return Entry(gauge, due_at, behind, is_waiting=False, body=body.encode())


def put(store: Store, key: str, new: Entry | None, old_due: tuple[int, bool] | None = None) -> None:
    store.write({key: Change(new, old_due)}, None)


def test_what_was_written_is_read_whole(store: Store) -> None:
    """Every field of an entry comes back, and a key that was never written is None."""
    full = Entry(7, 123, is_behind_evidence=True, is_waiting=True, body=b"\x00\xff body")
    put(store, "k\x00part", full)
    assert store.get("k\x00part") == full
    assert store.get("k\x00other") is None


def test_an_empty_store_has_no_checkpoint_and_none_keeps_the_older_one(store: Store) -> None:
    """A checkpoint says up to where the store is complete; a write without one leaves it standing."""
    assert store.checkpoint() is None
    store.write({"a\x00x": Change(entry("1"), None)}, Checkpoint(5, 1_000))
    store.write({"a\x00x": Change(entry("2"), None)}, None)
    assert store.checkpoint() == Checkpoint(5, 1_000)
    store.write({}, Checkpoint(0, 0))
    assert store.checkpoint() == Checkpoint(0, 0)


def test_a_scan_gives_one_key_in_the_order_of_its_bytes(store: Store) -> None:
    """The parts of `a` are not mixed with those of `ab`, nor `é` with `e`; an empty prefix gives all."""
    keys = [storage_key(key, part) for key in ("ab", "a", "é", "e") for part in ("é", "z", "!parked/0", "head")]
    store.write({key: Change(entry(key), None) for key in [*keys, POSITION_KEY]}, None)
    in_order = sorted(["!parked/0", "head", "z", "é"], key=str.encode)
    assert [key for key, _ in store.scan("a\x00")] == [storage_key("a", part) for part in in_order]
    assert [key for key, _ in store.scan("a\x00h")] == [storage_key("a", "head")]
    assert [key for key, _ in store.scan("")] == sorted([*keys, POSITION_KEY], key=str.encode)
    assert [found.body.decode() for _, found in store.scan("é\x00")] == [storage_key("é", part) for part in in_order]
    assert list(store.scan("nobody\x00")) == []


def test_a_scan_survives_writes_while_it_is_read(store: Store) -> None:
    """Whoever scans may write: what is scanned is how it was when the scan began."""
    store.write({storage_key("a", str(number)): Change(entry(), None) for number in range(5)}, None)
    seen = []
    for key, _ in store.scan("a\x00"):
        seen.append(key)
        put(store, storage_key("a", str(len(seen))), None)
    assert len(seen) == 5


def test_timers_come_earliest_first_and_as_many_as_asked_for(store: Store) -> None:
    """Due at the very instant counts, also before the epoch; two indexes do not see each other."""
    dues = {"c": 30, "a": 10, "b": 20, "old": -5}
    store.write({name: Change(entry(name, due_at), None) for name, due_at in dues.items()}, None)
    put(store, "d", entry("d", 15, behind=True))
    assert store.due(20, is_behind_evidence=FREE, most=9) == [(-5, "old"), (10, "a"), (20, "b")]
    assert store.due(20, is_behind_evidence=FREE, most=2) == [(-5, "old"), (10, "a")]
    assert store.due(20, is_behind_evidence=BEHIND, most=9) == [(15, "d")]
    assert store.next_due(is_behind_evidence=FREE) == -5
    assert store.next_due(is_behind_evidence=BEHIND) == 15


@pytest.mark.parametrize("old_due", [(10, False), None, (99, True)], ids=["named", "not named", "named wrongly"])
@pytest.mark.parametrize(
    "new", [None, entry("n"), entry("n", 20), entry("n", 10, behind=True)], ids=["deleted", "unset", "later", "moved"]
)
def test_a_timer_that_was_changed_does_not_fire(store: Store, new: Entry | None, old_due: tuple[int, bool]) -> None:
    """Whether or not a change names the old due time, the old timer is gone and the new one is there."""
    put(store, "k", entry("o", 10))
    put(store, "k", new, old_due)
    assert store.due(10, is_behind_evidence=FREE, most=9) == []
    is_behind = new is not None and new.is_behind_evidence
    due_at = None if new is None else new.due_at
    assert store.next_due(is_behind_evidence=is_behind) == due_at
    assert store.due(99, is_behind_evidence=is_behind, most=9) == ([] if due_at is None else [(due_at, "k")])


def test_a_timer_that_is_set_back_fires_once(store: Store) -> None:
    """Set, moved and set back: it stands in the index once."""
    for due_at in (10, 20, 10, 10):
        put(store, "k", entry("", due_at))
    assert store.due(99, is_behind_evidence=FREE, most=9) == [(10, "k")]


def test_the_next_timer_may_be_told_early_but_never_late(store: Store) -> None:
    """After an earlier timer was written or a due one read, the next one is still found."""
    put(store, "a", entry("", 50))
    assert store.next_due(is_behind_evidence=FREE) == 50
    put(store, "b", entry("", 40))
    assert store.next_due(is_behind_evidence=FREE) == 40
    put(store, "b", None, (40, False))
    assert store.due(45, is_behind_evidence=FREE, most=9) == []
    assert store.next_due(is_behind_evidence=FREE) == 50
    put(store, "c", entry("", 45))
    assert store.due(50, is_behind_evidence=FREE, most=9) == [(45, "c"), (50, "a")]


def test_a_wipe_forgets_everything(store: Store) -> None:
    """Entries, both timer indexes and the checkpoint are gone, and the store works on."""
    store.write({"a": Change(entry("", 1), None), "b": Change(entry("", 1, behind=True), None)}, Checkpoint(3, 4))
    store.wipe("another topic")
    assert store.checkpoint() is None
    assert store.origin() == "another topic"
    assert list(store.scan("")) == []
    assert [store.next_due(is_behind_evidence=behind) for behind in (FREE, BEHIND)] == [None, None]
    put(store, "a", entry("again", 7))
    assert store.due(7, is_behind_evidence=FREE, most=9) == [(7, "a")]


def test_many_rewrites_of_a_timer_do_not_pile_up_in_memory() -> None:
    """What lies in the heap stays within a multiple of what is valid, however often a timer moves."""
    store = MemoryStore()
    for due_at in range(10_000):
        put(store, f"k{due_at % 10}", entry("", due_at))
    heap = store._timers[FREE]  # noqa: SLF001  # the bound is what this test is about
    assert len(heap) < 200
    assert store.next_due(is_behind_evidence=FREE) == 9_990


# --- random histories against a model --------------------------------------------------------------------------

KEYS = [storage_key(key, part) for key in ("a", "ab", "b") for part in ("head", "p1", "p2")]
NEW = st.none() | st.builds(
    Entry, st.integers(0, 3), st.none() | st.integers(-3, 12), st.booleans(), st.booleans(), st.binary(max_size=3)
)
WRITE = st.tuples(
    st.dictionaries(st.sampled_from(KEYS), st.tuples(NEW, st.booleans()), max_size=4),
    st.none() | st.builds(Checkpoint, st.integers(0, 99), st.integers(0, 99)),
)
STEP = st.tuples(st.just("write"), WRITE) | st.tuples(st.sampled_from(["reopen", "due", "next", "wipe"]), st.none())


class Model:
    """What a store means: a dictionary and a checkpoint."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.checkpoint: Checkpoint | None = None
        self.origin = ""

    def changes(self, wanted: dict[str, tuple[Entry | None, bool]]) -> dict[str, Change]:
        """Return the changes, some of them naming the old due time, and apply them here."""
        changes = {}
        for key, (new, is_named) in wanted.items():
            old = self.entries.get(key)
            due_at = old.due_at if old is not None and is_named else None
            old_due = None if due_at is None or old is None else (due_at, old.is_behind_evidence)
            changes[key] = Change(new, old_due)
            if new is None:
                self.entries.pop(key, None)
            else:
                self.entries[key] = new
        return changes

    def due(self, before: int, *, behind: bool) -> list[tuple[int, str]]:
        """Return the timers that are due, in order."""
        timers = [
            (e.due_at, k) for k, e in self.entries.items() if e.due_at is not None if e.is_behind_evidence is behind
        ]
        return sorted(timer for timer in timers if timer[0] <= before)


def agree(store: Store, model: Model) -> None:
    """Compare everything that can be read."""
    assert dict(store.scan("")) == model.entries
    assert (store.checkpoint(), store.origin()) == (model.checkpoint, model.origin)
    for key in KEYS:
        assert store.get(key) == model.entries.get(key)
    prefix = KEYS[0].split("\x00", maxsplit=1)[0] + "\x00"
    assert [key for key, _ in store.scan(prefix)] == sorted(key for key in model.entries if key.startswith(prefix))
    for behind in (FREE, BEHIND):
        early = store.next_due(is_behind_evidence=behind)
        timers = model.due(99, behind=behind)
        assert early is None or timers == [] or early <= timers[0][0]
        assert early is not None or timers == []
        assert list(store.due(5, is_behind_evidence=behind, most=99)) == model.due(5, behind=behind)
        assert list(store.due(99, is_behind_evidence=behind, most=2)) == timers[:2]


def run(reopen: Callable[[Store | None], Store], steps: Steps) -> None:
    store, model = reopen(None), Model()
    try:
        for name, argument in steps:
            if name == "write":
                wanted, checkpoint = argument
                store.write(model.changes(wanted), checkpoint)
                model.checkpoint = checkpoint or model.checkpoint
            elif name == "wipe":
                store.wipe("topic")
                model = Model()
                model.origin = "topic"
            elif name == "reopen":
                store = reopen(store)
            elif name == "due":
                store.due(6, is_behind_evidence=FREE, most=3)
            else:
                store.next_due(is_behind_evidence=BEHIND)
        agree(store, model)
    finally:
        store.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, max_size=12))
def test_a_memory_store_is_its_model(steps: Steps) -> None:
    """Whatever was done in whatever order, the store holds what a dictionary would hold."""
    run(lambda store: store or MemoryStore(), steps)


@pytest.mark.parametrize("kind", ["rocks", "rocks, buffered"])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEP, max_size=12))
def test_a_rocks_store_is_its_model(tmp_path_factory: pytest.TempPathFactory, kind: str, steps: Steps) -> None:
    """The same, closed and opened again in between."""
    path = tmp_path_factory.mktemp("model") / "state"

    def reopen(store: Store | None) -> Store:
        if store is not None:
            store.close()
        return MAKERS[kind](path)

    run(reopen, steps)


# --- what only a directory can do -------------------------------------------------------------------------------

KILLED = """
import os, sys
from pathlib import Path
from processor.adapters.store_rocks import RocksStore
from processor.engine.ports import Change, Checkpoint, Entry
store = RocksStore(Path(sys.argv[1]))
for number in range(50):
    new = Entry(0, number, False, False, str(number).encode())
    store.write({"k": Change(new, None), f"k{number}": Change(new, None)}, Checkpoint(number, 0))
os.kill(os.getpid(), 9)
"""


def test_a_killed_process_leaves_a_whole_store(tmp_path: Path) -> None:
    """After kill -9 the store opens without a wipe, and what the checkpoint promises is there."""
    path = tmp_path / "state"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert killed.returncode == -9
    store = RocksStore(path)
    assert store.checkpoint() == Checkpoint(49, 0)
    assert store.get("k") == entry("49", 49)
    assert len(list(store.scan(""))) == 51
    assert len(store.due(99, is_behind_evidence=FREE, most=99)) == 51
    store.close()


def test_a_directory_in_use_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """Two owners of one directory would write two truths into it."""
    store = RocksStore(tmp_path / "state")
    with pytest.raises(FatalError, match="a state directory of its own"):
        RocksStore(tmp_path / "state")
    store.close()


def test_a_damaged_directory_is_built_anew(tmp_path: Path) -> None:
    """It is only a cache: what cannot be read is removed, and the state topic restores it."""
    path = tmp_path / "state"
    store = RocksStore(path)
    store.write({"k": Change(entry("v"), None)}, Checkpoint(1, 1))
    store.close()
    (path / "CURRENT").write_bytes(b"nonsense")
    again = RocksStore(path)
    assert again.checkpoint() is None
    assert list(again.scan("")) == []
    again.close()


def test_damage_met_while_reading_removes_the_store_and_stops(tmp_path: Path) -> None:
    """The process stops, and the next start finds nothing that it could stumble over again."""
    path = tmp_path / "state"
    store = RocksStore(path)
    for round_ in range(4):
        store.write(
            {f"k{n}": Change(entry(f"{n * 7919}" * 40 + str(round_)), None) for n in range(500)}, Checkpoint(round_, 1)
        )
        store.close()
        store = RocksStore(path)  # Writes what its log held into a table.
    store.close()
    for table in path.glob("*.sst"):
        data = bytearray(table.read_bytes())
        middle = len(data) // 4
        data[middle : middle + 2_000] = bytes(2_000)
        table.write_bytes(data)
    with pytest.raises(FatalError, match="start again"):
        list(RocksStore(path).scan(""))
    assert RocksStore(path).checkpoint() is None


def test_a_path_that_cannot_be_a_directory_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """The text names the path and what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(FatalError, match="directory it can write to"):
        RocksStore(tmp_path / "file" / "state")
