"""A deployment as a file: what goes in comes out, and nothing comes out of what is not whole."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.adapters.relocation import ControlRecord, Item, Sample, StateRecord, UnreadRecord
from processor.adapters.snapshot_file import Header, Part, SnapshotDamaged, SnapshotFile, write_snapshot
from processor.engine.entries import StoredPosition
from processor.errors import FatalError

HEADER = Header(
    move_id="m-1",
    application_id="onboarding",
    cluster_id="c-1",
    made_at="2026-01-02T03:04:05.000Z",
    is_sealed=True,
    sample=Sample(1, 2),
    parts=(
        Part(
            decider="launch",
            input_topic="onboarding.launches",
            input_topic_id="t-1",
            state_topic="onboarding.launch-state",
            positions=(StoredPosition(7, 2, ((1, 2), (3, 4))), StoredPosition(0, 2)),
            committed={0: (7, "token 5"), 1: (0, "")},
            state_ends=(9, 0),
            input_ends=(7, 0),
        ),
    ),
)
ITEMS: list[Item] = [
    StateRecord("launch", 0, "key\0part/é", b"\0\xff", b"\xfe"),
    UnreadRecord("launch", 1, None, None, (("custody", b"prepared"), ("custody", b""))),
    ControlRecord(b"person-check", b"{}"),
]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
BYTES = st.none() | st.binary(max_size=20)
ANY_ITEMS = st.lists(
    st.builds(StateRecord, TEXTS, st.integers(0, 9), TEXTS, st.binary(max_size=20), BYTES)
    | st.builds(
        UnreadRecord,
        TEXTS,
        st.integers(0, 9),
        BYTES,
        BYTES,
        st.lists(st.tuples(TEXTS, st.binary(max_size=9)), max_size=3).map(tuple),
    )
    | st.builds(ControlRecord, st.binary(max_size=20), st.binary(max_size=20)),
    max_size=20,
)


def written(directory: Path, items: list[Item]) -> Path:
    """Write a snapshot to a new file."""
    path = directory / "deployment.snapshot"
    path.unlink(missing_ok=True)
    assert write_snapshot(path, HEADER, items) == len(items)
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ANY_ITEMS)
def test_a_snapshot_comes_back_whole(tmp_path: Path, items: list[Item]) -> None:
    """Whatever bytes and texts it holds, in order; it may be gone through twice."""
    snapshot = SnapshotFile(written(tmp_path, items))
    assert snapshot.header == HEADER
    assert list(snapshot.items()) == list(snapshot.items()) == items


def test_every_cut_is_seen(tmp_path: Path) -> None:
    """Wherever the file ends too early; and no file of the same name is ever written over."""
    path = written(tmp_path, ITEMS)
    with pytest.raises(FatalError, match="there already"):
        write_snapshot(path, HEADER, ITEMS)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(SnapshotDamaged):
            list(SnapshotFile(path).items())


def test_every_changed_line_is_seen(tmp_path: Path) -> None:
    """One that is left out, doubled, swapped or other than it was, also where the compression fits it."""
    path = written(tmp_path, ITEMS)
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    changed = [
        [*lines[:1], *lines[2:]],
        [*lines[:2], *lines[1:]],
        [lines[0], lines[2], lines[1], *lines[3:]],
        [lines[0].replace(b"onboarding", b"onboardinh", 1), *lines[1:]],
        [lines[0], lines[1].replace(b'"launch",0', b'"launch",1'), *lines[2:]],
        [*lines, lines[1]],
        [*lines[:-1], b'{"end":7}\n'],
        [*lines[:-1], b"[]\n", lines[-1]],
        [b"{}\n", *lines[1:]],
        [b"no JSON\n", *lines[1:]],
        [lines[0].replace(b'"version":1', b'"version":2'), *lines[1:]],
        [lines[0].replace(b'"stateEnds":[9,0]', b'"stateEnds":[null]'), *lines[1:]],
        [],
    ]
    for content in changed:
        assert content != lines
        path.write_bytes(gzip.compress(b"".join(content)))
        with pytest.raises(SnapshotDamaged):
            list(SnapshotFile(path).items())


def test_a_snapshot_has_its_name_once_it_is_whole(tmp_path: Path) -> None:
    """What failed on the way leaves nothing that could be taken for one; only the owner may read it."""
    path = tmp_path / "deployment.snapshot"

    def broken() -> list[Item]:
        message = "the broker is away"
        raise FatalError(message)

    with pytest.raises(FatalError, match="away"):
        write_snapshot(path, HEADER, (item for item in broken()))
    assert not path.exists()
    write_snapshot(path, HEADER, ITEMS)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FatalError, match="cannot be written"):
        write_snapshot(tmp_path / "nowhere" / "x", HEADER, ITEMS)
    with pytest.raises(FatalError, match="cannot be read"):
        SnapshotFile(tmp_path / "nothing")


def test_a_file_that_is_not_finished_has_no_name(tmp_path: Path) -> None:
    """What goes wrong while it is written, at its very end too, leaves nothing that holds personal data."""

    def items() -> Iterator[Item]:
        yield ITEMS[0]
        raise FatalError("it went on meanwhile")

    with pytest.raises(FatalError, match="went on"):
        write_snapshot(tmp_path / "deployment.snapshot", HEADER, items())
    assert list(tmp_path.iterdir()) == []
