"""A mark says how far evidence was judged: it moves on while nothing comes, and stands still for what is open."""

from tests.engine.marks import MARK_INTERVAL_MS
from tests.engine.quiet import Quiet


def test_marks_move_on_while_nothing_comes() -> None:
    """Who waits for the lack of evidence must not wait for somebody to send something."""
    world = Quiet(is_marking=True)
    world.begin()
    world.go(20)
    assert set(world.marks.latest) == {0, 1, 2}
    before = dict(world.marks.latest)
    world.go(20)
    assert all(world.marks.latest[number] > before[number] + MARK_INTERVAL_MS for number in before)
    world.check()


def test_a_mark_waits_for_what_is_not_judged_also_after_a_restart() -> None:
    """A number whose result is not out holds the mark of its partition back, whoever owns it."""
    world = Quiet(is_marking=True)
    holder = world.begin()
    holder.caller.start = lambda *_: None  # type: ignore[method-assign]  # it asks, and nobody answers
    world.go(20)
    world.publish(1, "k")
    came_at = world.cluster.now
    world.go(20)
    held = [number for number, mark in world.marks.latest.items() if mark <= came_at]
    assert len(held) == 1
    holder.died_at = world.cluster.now
    world.go(40)
    world.start()
    later = world.processes[-1]
    later.caller.start = lambda *_: None  # type: ignore[method-assign]
    world.go(20)
    assert [number for number, mark in world.marks.latest.items() if mark <= came_at] == held


def test_without_an_interval_there_are_no_marks() -> None:
    """Nobody pays for what nobody reads: an idle partition commits nothing."""
    world = Quiet()
    world.begin()
    world.go(40)
    assert world.marks.latest == {}
    assert world.cluster.values("toy-state") == []
