"""Pauses: who is held, by whose fault, until when."""

from dataclasses import replace
from itertools import permutations

import pytest

from processor.adapters.pauses import PauseReason, Pauses, Standing

OURS, THEIRS = "ours", "theirs"
FAULT = Standing("check", 0, is_paused=True, at=1, reason=PauseReason.FAULT, fingerprint=OURS, why="run: 403")
OPERATOR = Standing("check", 0, is_paused=True, at=2, reason=PauseReason.OPERATOR)
MET = replace(FAULT, fingerprint=None)


def pauses(*heard: Standing | None) -> Pauses:
    made = Pauses({"check": OURS})
    for standing in heard:
        made.heard("check", standing)
    return made


def test_a_fault_pauses_here_at_once_and_is_told_with_our_fingerprint() -> None:
    """The first call that meets it is enough; the second says nothing new."""
    ours = pauses()
    assert ours.met(MET) == FAULT
    assert ours.holding("check") == FAULT
    assert ours.met(replace(MET, at=9)) is None
    assert ours.all_holding() == (FAULT,)


@pytest.mark.parametrize(
    "standing,is_held",
    [
        (FAULT, True),
        (replace(FAULT, fingerprint=THEIRS), False),
        (OPERATOR, True),
        (FAULT.resumed(5), False),
    ],
    ids=["our fingerprint", "another fingerprint", "an operator", "a resume"],
)
def test_who_is_held_by_what_is_heard(standing: Standing, is_held: bool) -> None:  # noqa: FBT001  # a column
    """A fault holds those who send the same, an operator holds everyone."""
    assert (pauses(standing).holding("check") is not None) is is_held


def test_a_mended_workflow_is_not_held_by_its_old_fault() -> None:
    """After a change of definition or credentials the backlog goes on without a resume."""
    mended = Pauses({"check": "mended"})
    mended.heard("check", FAULT)
    assert mended.holding("check") is None


def test_a_call_that_began_before_the_resume_pauses_nothing() -> None:
    """Its fault is old news; one that began after it is not."""
    ours = pauses(FAULT, FAULT.resumed(5))
    assert ours.generation("check") == 1
    assert ours.met(MET) is None
    assert ours.holding("check") is None
    assert ours.met(replace(MET, generation=1)) is not None


def test_another_fingerprint_does_not_free_us() -> None:
    """Two builds with a fault each must not free one another in turn."""
    ours = pauses(FAULT, replace(FAULT, fingerprint=THEIRS))
    assert ours.holding("check") == FAULT


def test_reads_go_on_until_a_read_meets_the_fault() -> None:
    """What runs already is watched to its end, but not with credentials that are refused."""
    ours = pauses(FAULT)
    assert not FAULT.holds_reads
    widened = ours.met(replace(MET, holds_reads=True))
    assert widened == replace(FAULT, holds_reads=True)
    assert ours.met(MET) is None
    assert pauses(FAULT, widened).holding("check") == pauses(widened, FAULT).holding("check") == widened


def test_a_tombstone_is_a_resume() -> None:
    """Whoever deletes the record by hand lets the workflow go on, and old faults do not count."""
    ours = pauses(FAULT, None)
    assert (ours.holding("check"), ours.generation("check")) == (None, 1)


def test_what_is_older_than_what_is_known_is_answered_with_what_is_known() -> None:
    """Else a late word would stand last in the topic and be believed by whoever starts next."""
    resumed = FAULT.resumed(5)
    ours = pauses(FAULT, resumed)
    assert ours.heard("check", FAULT) == resumed
    assert ours.holding("check") is None


def test_a_late_resume_of_the_generation_before_ends_nothing() -> None:
    """A pause met after a resume outlasts a second resume that was meant for the first pause."""
    again = replace(FAULT, generation=1)
    ours = pauses(FAULT, FAULT.resumed(5), again)
    assert ours.heard("check", FAULT.resumed(6)) == again
    assert ours.holding("check") == again


@pytest.mark.parametrize("order", [*permutations([FAULT, OPERATOR, replace(FAULT, fingerprint=THEIRS)])], ids=str)
def test_the_order_of_pauses_of_one_generation_does_not_matter(order: tuple[Standing, ...]) -> None:
    """Held by any of them is held, and the next generation ends all."""
    ours = pauses(*order)
    assert ours.holding("check") is not None
    ours.heard("check", FAULT.resumed(9))
    assert ours.holding("check") is None


def test_a_workflow_that_the_catalogue_lost_can_be_paused_too() -> None:
    """Requests of it may still be on their way; when it comes back it has another fingerprint."""
    ours = pauses()
    told = ours.met(replace(MET, workflow="gone"))
    assert told is not None
    assert ours.holding("gone") == told
    assert Pauses({"gone": OURS}).heard("gone", told) is None
