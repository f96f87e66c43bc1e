"""A partition's state as the open transaction sees it, its counts, and when its timers fire."""

from collections.abc import Mapping
from typing import Any

from processor.adapters.store_memory import MemoryStore
from processor.engine.entries import storage_key
from processor.engine.partition import EVIDENCE_STEP_MS, EVIDENCE_WAIT_MS, Partition, is_running
from processor.engine.ports import Checkpoint, Owned
from tests.engine.toy import Decision, Head, Known, Timer, Toy, Waiting

KEY = "k"


class Book:
    """A partition on a memory store, with short words for what a member does to it."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.partition = Partition(Owned(0, 1), Toy(), self.store)
        self.offset = 0

    def change(self, **parts: Any) -> None:  # noqa: ANN401  # parts of the toy
        """Apply changes to the key, as a decision would."""
        self.partition.apply(KEY, Decision(changes=parts))

    def commit(self) -> None:
        """Commit what was changed."""
        self.offset += 1
        _, changes, position = self.partition.records(now=0)
        self.partition.committed(changes, position, f"t:{self.offset}", Checkpoint(self.offset, 0))

    def view(self) -> dict[str, Any]:
        """Read the whole key."""
        state: Mapping[str, Any] = self.partition.view(KEY)
        return {name: state[name] for name in state}

    def reopened(self) -> "Book":
        """Return the same store under a new owner."""
        book = Book()
        book.store = self.store
        book.partition = Partition(Owned(0, 2), Toy(), self.store)
        book.partition.restored()
        return book


def known(due_at: int | None = None, *, behind: bool = False) -> Known:
    return Known(1, None if due_at is None else Timer(due_at, behind))


def test_the_open_transaction_sees_its_own_changes_and_nobody_else_does() -> None:
    """Changed, added and deleted parts are seen at once; the store has them only after the commit."""
    book = Book()
    book.change(a=Waiting(1), b=Waiting(2))
    book.commit()
    book.change(a=Waiting(9), b=None, c=Waiting(3))
    assert book.view() == {"a": Waiting(9), "c": Waiting(3)}
    assert book.reopened().view() == {"a": Waiting(1), "b": Waiting(2)}
    book.commit()
    assert book.reopened().view() == {"a": Waiting(9), "c": Waiting(3)}


def test_a_rollback_forgets_changes_and_goes_back_to_the_committed_offset() -> None:
    """State, position and parked keys are as before the open transaction."""
    book = Book()
    book.partition.moved_to(5)
    book.change(a=Waiting(1))
    book.commit()
    book.partition.hold("held", 3)
    book.partition.moved_to(8)
    book.change(a=None)
    book.partition.parked["new"] = 1
    book.partition.rollback()
    assert book.view() == {"a": Waiting(1)}
    assert book.partition.next_offset == 5
    assert book.partition.parked == {"held": 3}


def test_a_view_answers_like_a_mapping() -> None:
    """Keys of other state do not show, a missing part is missing."""
    book = Book()
    book.change(a=Waiting(1))
    book.partition.apply("other", Decision(changes={"z": Waiting(2)}))
    view = book.partition.view(KEY)
    assert (len(view), "a" in view, "z" in view, view.get("z")) == (1, True, False, None)
    assert book.view() == {"a": Waiting(1)}


def test_counts_are_those_of_a_recount_also_for_parts_that_nobody_read() -> None:
    """A part that is replaced or deleted without being read first is counted out of its class all the same."""
    book = Book()
    book.change(a=Waiting(1), b=Waiting(2), head=Head(1, "create", 1, 0, 0))
    book.commit()
    assert book.partition.counts == [1, 2, 0, 0]
    later = book.reopened()
    assert later.partition.counts == [1, 2, 0, 0]
    later.change(a=None, b=known(), nobody=None)
    later.commit()
    assert later.partition.counts == [1, 0, 1, 0]
    assert later.reopened().partition.counts == later.partition.counts


def test_a_timer_fires_when_it_is_due_and_only_as_it_is_now() -> None:
    """Moved or removed in the open transaction, it does not fire; neither does a part that is gone."""
    book = Book()
    book.change(a=known(10), b=known(10), c=known(10), d=known(10))
    book.commit()
    assert list(book.partition.due(9, 99)) == []
    book.change(b=known(20), c=None, d=known(10, behind=True))
    assert list(book.partition.due(10, 99)) == [(10, storage_key(KEY, "a"))]
    book.change(a=None)
    assert list(book.partition.due(10, 99)) == []
    book.commit()
    assert book.partition.due(19, 99) == []
    assert [due_at for due_at, _ in book.partition.due(20, 99)] == [20]


def test_a_timer_behind_evidence_waits_until_the_input_was_read_to_its_end() -> None:
    """Due at 1000, it fires when the partition was read to where it ended at some instant from 1000 on."""
    book = Book()
    part = book.partition
    book.change(a=known(1_000, behind=True))
    book.commit()
    assert not part.wants_evidence(999)
    assert part.wants_evidence(1_000)
    part.observed(1_005, end=7)
    assert list(part.due(1_005, 99)) == []
    assert not part.wants_evidence(2_000)
    part.moved_to(6)
    assert list(part.due(1_006, 99)) == []
    part.read_to = 7
    assert [due_at for due_at, _ in part.due(1_007, 99)] == [1_000]


def test_an_end_seen_before_the_timer_was_due_proves_nothing() -> None:
    """What was read to the end of instant 50 says nothing of what came by 100."""
    book = Book()
    book.change(early=known(40, behind=True), late=known(100, behind=True))
    book.commit()
    book.partition.observed(50, end=0)
    assert [due_at for due_at, _ in book.partition.due(200, 99)] == [40]
    book.change(early=None)
    book.commit()
    assert list(book.partition.due(200, 99)) == []
    assert book.partition.wants_evidence(50 + EVIDENCE_STEP_MS)


def test_evidence_is_waited_for_an_hour_at_most() -> None:
    """An input that cannot be read to its end must not hold a request for ever."""
    book = Book()
    book.change(a=known(100, behind=True))
    book.commit()
    assert list(book.partition.due(99 + EVIDENCE_WAIT_MS, 99)) == []
    assert len(book.partition.due(100 + EVIDENCE_WAIT_MS, 99)) == 1


def test_a_timer_that_waits_for_evidence_does_not_keep_the_loop_awake() -> None:
    """Overdue, it is looked at every step, not every millisecond; a timer that is free is due when it is due."""
    book = Book()
    assert book.partition.next_due(0) is None
    book.change(a=known(100, behind=True))
    book.commit()
    assert book.partition.next_due(50) == 100
    assert book.partition.next_due(100) == 100 + EVIDENCE_STEP_MS
    book.change(b=known(90))
    book.commit()
    assert book.partition.next_due(100) == 90


def test_a_new_owner_finds_the_timers_and_what_waits() -> None:
    """After a restore the timers fire as they would have, and what waited for a call is named."""
    book = Book()
    book.change(a=known(10), head=Head(1, "create", 1, 0, 0, is_waiting=True))
    book.commit()
    later = Partition(Owned(0, 2), Toy(), book.store)
    assert [storage for storage, _ in later.restored()] == [storage_key(KEY, "head")]
    assert len(later.due(10, 99)) == 1


def test_only_a_partition_that_is_there_and_restored_takes_work() -> None:
    """Nothing, and one that is being restored, do not."""
    assert not is_running(None)
    assert not is_running(Book().partition)
