"""The gate: which call starts next."""

import pytest

from processor.adapters.gate import RAMP_SLOTS, TURNS, Ask, Gate, HeldBy, Priority

L, C, P = Priority.LAUNCH, Priority.COMPLETION, Priority.PREPARATION


def asked(gate: Gate, *asks: tuple[Priority, str], size: int = 1) -> list[Ask]:
    made = [Ask(priority, workflow, size) for priority, workflow in asks]
    for ask in made:
        gate.ask(ask)
    return made


def taken(gate: Gate, most: int = 1_000, now_s: float = 0.0) -> list[Ask]:
    """Take one after the other, each given back at once."""
    out: list[Ask] = []
    while len(out) < most and (ask := gate.take(now_s)) is not None:
        gate.give_back(ask)
        out.append(ask)
    return out


def gate(slots: int = 10, size: int = 1_000, per_second: float = 0.0) -> Gate:
    return Gate(slots_max=slots, bytes_max=size, per_second_max=per_second)


def test_calls_of_a_workflow_start_in_the_order_in_which_they_came() -> None:
    """First in, first out."""
    one = gate()
    line = asked(one, *[(P, "a")] * 5)
    assert taken(one) == line


def test_no_more_calls_are_open_than_there_are_slots() -> None:
    """The next one starts when one ends."""
    one = gate(slots=2)
    first, second, third = asked(one, (P, "a"), (P, "a"), (P, "a"))
    assert [one.take(0), one.take(0), one.take(0)] == [first, second, None]
    assert one.held_by(0) == {HeldBy.SLOTS}
    one.give_back(first)
    assert one.take(0) is third


def test_launch_goes_first_then_completion_then_preparation() -> None:
    """What has custody further on has the budget before what only begins."""
    one = gate()
    line = asked(one, (P, "a"), (C, "a"), (L, "a"))
    assert taken(one) == list(reversed(line))


def test_nobody_is_starved() -> None:
    """Under a flood of everything each priority has its fixed share of the turns, the highest the largest."""
    one = gate()
    asked(one, *[(priority, "a") for priority in (L, C, P) for _ in range(160)])
    served = [ask.priority for ask in taken(one, 160)]
    assert [served.count(priority) for priority in (L, C, P)] == [110, 40, 10]
    assert len(TURNS) == 16


def test_a_priority_alone_has_everything() -> None:
    """Shares of those who want nothing go to those who do."""
    one = gate()
    line = asked(one, *[(P, "a")] * 40)
    assert taken(one) == line


def test_workflows_take_turns() -> None:
    """A workflow with a long line does not keep another one waiting for its end."""
    one = gate()
    asked(one, *[(P, "a")] * 3, *[(P, "b")] * 2)
    assert [ask.workflow for ask in taken(one)] == ["a", "b", "a", "b", "a"]


def test_a_held_workflow_waits_aside_and_blocks_nobody() -> None:
    """What came before and after the hold waits, in its order; everything else goes on."""
    one = gate()
    before = asked(one, (P, "a"), (P, "b"))
    one.hold("a", P)
    after = asked(one, (P, "a"), (P, "b"))
    assert taken(one) == [before[1], after[1]]
    assert (one.held(), one.waiting(P), one.has_waiting) == (2, 0, False)
    one.free("a", P)
    assert taken(one) == [before[0], after[0]]


def test_a_hold_is_of_one_priority() -> None:
    """Reads of a workflow may go on while nothing of it is started."""
    one = gate()
    read, run = asked(one, (C, "a"), (L, "a"))
    one.hold("a", L)
    assert taken(one) == [read]
    one.free("a", L)
    assert taken(one) == [run]


def test_holding_and_freeing_twice_changes_nothing() -> None:
    """Both say how it shall be, not what shall change."""
    one = gate()
    line = asked(one, (P, "a"))
    one.hold("a", P)
    one.hold("a", P)
    one.free("a", P)
    one.free("a", P)
    one.free("never held", P)
    assert taken(one) == line


@pytest.mark.parametrize("is_held", [False, True])
def test_who_leaves_the_line_is_not_served(is_held: bool) -> None:  # noqa: FBT001  # a column of the table
    """A withdrawn call leaves no trace, held or not."""
    one = gate()
    first, second = asked(one, (P, "a"), (P, "a"))
    if is_held:
        one.hold("a", P)
    one.withdraw(first)
    one.free("a", P)
    assert taken(one) == [second]
    assert not one.has_waiting


def test_bytes_are_bounded_and_large_calls_are_not_overtaken() -> None:
    """What does not fit waits until it does, and smaller ones behind it wait with it."""
    one = gate(size=100)
    (small,), (large,), (late,) = asked(one, (P, "a"), size=60), asked(one, (P, "a"), size=50), asked(one, (P, "a"))
    assert [one.take(0), one.take(0)] == [small, None]
    assert one.held_by(0) == {HeldBy.BYTES}
    one.give_back(small)
    assert [one.take(0), one.take(0), one.bytes_open] == [large, late, 51]


def test_a_call_above_all_bytes_starts_alone() -> None:
    """A limit that is too small makes it slow, not stuck."""
    one = gate(size=100)
    small, large = *asked(one, (P, "a")), *asked(one, (P, "a"), size=500)
    assert [one.take(0), one.take(0)] == [small, None]
    one.give_back(small)
    assert one.take(0) is large


def test_a_rate_lets_so_many_start_a_second() -> None:
    """Ten a second: the bucket starts empty, a tenth of a second until each; a long silence saves nothing up."""
    one = gate(per_second=10)
    asked(one, *[(P, "a")] * 30)
    assert taken(one, now_s=100.0) == []
    assert one.wait_s(100.0) == pytest.approx(0.1)
    assert one.held_by(100.0) == {HeldBy.RATE}
    assert sum(len(taken(one, now_s=100.0 + step / 100)) for step in range(1, 102)) == pytest.approx(10, abs=1)
    assert len(taken(one, now_s=200.0)) == 1


def test_a_part_of_the_slots_is_the_same_part_of_the_rate() -> None:
    """A fifth of the slots is a fifth of the rate, from the moment it is ours; what was saved up before is no more."""
    one = gate(slots=10, per_second=10)
    one.resize(0, 100.0)
    asked(one, *[(P, "a")] * 30)
    assert taken(one, now_s=200.0) == []
    one.resize(2, 300.0)
    served = sum(len(taken(one, now_s=300.0 + step / 100)) for step in range(1, 1_001))
    assert served == pytest.approx(20, abs=1)


def test_fewer_slots_end_no_call_that_is_open() -> None:
    """What is open goes on; nothing new starts before there is room."""
    one = gate(slots=3)
    line = asked(one, *[(P, "a")] * 4)
    assert [one.take(0), one.take(0), one.take(0)] == line[:3]
    one.resize(1, 0)
    one.give_back(line[0])
    one.give_back(line[1])
    assert (one.take(0), one.open) == (None, 1)
    one.give_back(line[2])
    assert one.take(0) is line[3]


def test_a_provider_that_asks_to_wait_is_called_by_nobody_until_then() -> None:
    """The longest of several waits counts, and the time left is told."""
    one = gate()
    line = asked(one, (P, "a"), (L, "b"))
    one.hold_all(110.0)
    one.hold_all(105.0)
    assert (taken(one, now_s=109.9), one.held_by(109.0)) == ([], {HeldBy.RETRY_AFTER})
    assert [one.wait_s(107.0), one.hold_left_s(107.0)] == [pytest.approx(3.0)] * 2
    assert taken(one, now_s=110.0) == [line[1], line[0]]
    assert one.hold_left_s(111.0) == 0


def test_a_provider_that_is_back_gets_twice_as_much_with_each_round_of_good_answers() -> None:
    """Few slots at first, one more for each good answer, until all are open again; an answer that is none adds none."""
    one = gate(slots=20)
    one.ramp()
    asked(one, *[(P, "a")] * 200)
    rounds = []
    for _ in range(4):
        served = []
        while (ask := one.take(0)) is not None:
            served.append(ask)
        rounds.append(len(served))
        if len(served) < 20:
            assert one.held_by(0) == {HeldBy.RAMP}
        for ask in served:
            one.give_back(ask)
            one.answered_well()
    assert rounds == [RAMP_SLOTS, 2 * RAMP_SLOTS, 4 * RAMP_SLOTS, 20]
    assert one.held_by(0) == set()


def test_a_ramp_begins_anew_with_each_hold_and_never_exceeds_our_part() -> None:
    """Two slots are ours: no ramp gives more."""
    one = gate(slots=20)
    one.hold_all(1.0)
    one.resize(2, 1.0)
    asked(one, *[(P, "a")] * 5)
    assert len([ask for _ in range(5) if (ask := one.take(2.0)) is not None]) == 2


def test_without_a_rate_nobody_waits_for_it() -> None:
    """Only a rate has a next time."""
    one = gate()
    asked(one, (P, "a"))
    assert one.wait_s(0.0) is None
