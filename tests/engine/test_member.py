"""The loop of one decider where the simulation does not look: bounds, waits, stops, drains."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from processor.engine.entries import POSITION_KEY, position_in, unpack
from processor.engine.limits import Limits
from processor.engine.member import BUSY_WAIT_MS, IDLE_WAIT_MS
from processor.engine.partition import EVIDENCE_STEP_MS, Phase
from processor.engine.ports import EndReached, InputRecord, OutputRecord, Ticket
from processor.errors import FatalError
from tests.engine.quiet import Quiet, no_transactions
from tests.engine.simulation import Process
from tests.engine.toy import Run, Toy
from tests.engine.world import Crash

KEY, ELSEWHERE = "k0", "k1"  # A key of partition 0, and one of partition 1.
WHERE = ((0, KEY), (1, ELSEWHERE))


def offset_of(world: Quiet, partition: int) -> int:
    """Return the position that the state topic holds for a partition."""
    rows = [
        row for row in world.cluster.logs(Toy.state_topic)[partition].committed() if row.key == POSITION_KEY.encode()
    ]
    return position_in(unpack(rows[-1].value or b"")).offset


def waits_of(process: Process) -> list[float]:
    """Record from here on how long each poll may wait."""
    waits: list[float] = []
    poll: Callable[[float, int], Sequence[InputRecord | EndReached]] = process.log.poll

    def recording(timeout_s: float, records_max: int) -> Sequence[InputRecord | EndReached]:
        waits.append(timeout_s)
        return poll(timeout_s, records_max)

    process.log.poll = recording  # type: ignore[method-assign]  # a fake, watched
    return waits


# --- back-pressure ---------------------------------------------------------------------------------------------


def test_intake_pauses_when_enough_is_on_its_way_and_goes_on_at_four_fifths() -> None:
    """Depth is bounded at the entrance: what is not read yet waits in Kafka."""
    world = Quiet(is_entrance=True)  # At most four requests.
    process = world.begin()
    for number in range(40):
        world.publish(number, KEY)
    depths = []
    for _ in range(400):
        world.go(1)
        depths.append(process.member.depth())
    assert 4 <= max(depths) <= 4 + 6  # One poll brings at most six here.
    assert world.outcomes() == dict.fromkeys(range(40), "done")


def test_intake_pauses_while_the_decider_behind_is_full() -> None:
    """Who hands over waits for who takes over."""
    world = Quiet(is_entrance=True)
    process = world.begin()
    process.member._is_downstream_full = lambda: True  # noqa: SLF001  # what another decider says
    world.go(2)
    world.publish(1, KEY)
    world.go()
    assert process.member.depth() == 0
    process.member._is_downstream_full = lambda: False  # noqa: SLF001
    world.go()
    assert world.outcomes() == {1: "done"}


def test_a_partition_that_was_paused_before_a_rebalance_reads_on_after_it() -> None:
    """Nothing paused outlives a rebalance: it would be paused for ever, and nobody would notice."""
    world = Quiet(is_entrance=True)
    process = world.begin()
    process.member._is_downstream_full = lambda: True  # noqa: SLF001
    world.go(2)
    process.member.on_assigned([])
    process.member._is_downstream_full = lambda: False  # noqa: SLF001
    world.publish(1, KEY)
    world.go()
    assert world.outcomes() == {1: "done"}


def test_intake_goes_on_when_what_was_blocked_is_gone() -> None:
    """Kafka takes no transaction, then the partition is lost and comes back: there is nothing left to wait for."""
    world = Quiet()
    process = world.begin()
    with no_transactions(process):
        world.publish(1, KEY)
        world.go(5)
        world.cluster.group.leave(process.log.member)
        world.go(1)
    world.go()
    assert world.outcomes() == {1: "done"}


# --- waiting ----------------------------------------------------------------------------------------------------


def test_an_idle_member_sleeps_and_one_that_expects_an_answer_looks_often() -> None:
    """A poll cannot be woken by an answer, so while any is awaited it is short; else nothing needs it to be."""
    world = Quiet()
    process = world.begin()
    waits = waits_of(process)
    world.go(5)
    assert waits == [IDLE_WAIT_MS / 1000] * 5
    world.publish(1, KEY)
    while not world.outcomes():
        world.go(1, ms=1)
    assert max(waits[8:-2]) <= Limits().commit_interval_ms / 1000
    assert BUSY_WAIT_MS / 1000 in waits


def test_a_timer_that_waits_for_evidence_does_not_spin() -> None:
    """Its input cannot be read to the end because a transaction is open there: the loop looks now and then."""
    world = Quiet()
    process = world.begin()
    world.ledger._proofs = {"unknown": 1}  # noqa: SLF001
    world.publish(1, KEY)
    world.go()
    held = world.cluster.begin()
    held.expires_at = 1 << 60
    world.cluster.append(OutputRecord(Toy.input_topic, KEY.encode(), b"", partition=0), held)
    world.publish(2, KEY)
    waits = waits_of(process)
    world.go(100)
    assert world.outcomes() in ({}, {1: "undetermined"})
    assert min(waits[50:]) >= min(IDLE_WAIT_MS, EVIDENCE_STEP_MS) / 1000


def test_a_stopped_partition_does_not_keep_the_loop_awake() -> None:
    """Its timers are due and will not fire: that is no reason to hurry."""
    world = Quiet()
    process = world.begin()
    world.ledger._proofs = {"unknown": 1}  # noqa: SLF001
    world.publish(1, KEY)
    world.go(20)
    process.member._stop_partition(process.member.partitions[0], "a test")  # noqa: SLF001
    waits = waits_of(process)
    world.go(60)
    assert set(waits[30:]) == {IDLE_WAIT_MS / 1000}


def test_aborts_in_a_row_are_tried_ever_more_slowly() -> None:
    """A group that moved on is not helped by a transaction every few milliseconds."""
    world = Quiet()
    world.begin()
    world.draws = lambda what: what == "abort"  # type: ignore[method-assign]  # nothing is ever accepted
    world.publish(1, KEY)
    world.go(turns=1_000, ms=1)
    assert 5 <= world.watcher.seen["aborted"] <= 10
    with pytest.raises(FatalError, match="in a row"):
        world.go(turns=20_000, ms=200)


# --- input that waits, and input that is read again --------------------------------------------------------------


def test_what_needs_the_registry_waits_and_nothing_is_spent() -> None:
    """An outage of what an input needs to be read costs time, not messages, and other work goes on."""
    world = Quiet()
    process = world.begin()
    world.publish(1, KEY)
    world.go(3)
    process.machine.is_registry_down = True
    world.publish(2, KEY)
    world.go()
    assert world.outcomes() == {1: "done"}
    process.machine.is_registry_down = False
    world.go()
    assert world.outcomes() == {1: "done", 2: "done"}


def test_what_waited_for_the_registry_is_not_decided_for_the_next_ownership() -> None:
    """It was read before the partition went and came back: taken then, it would skip what lies before it."""
    world = Quiet()
    process = world.begin()
    with no_transactions(process):
        world.publish(1, KEY)
        while process.member.partitions[0].next_offset == 0:
            world.go(1)
        process.machine.is_registry_down = True
        world.publish(2, KEY)
        process.member._is_blocked = False  # noqa: SLF001  # intake was not paused yet
        process.member._arrived.append(_record(world, 1))  # noqa: SLF001
        world.go(2)
        world.cluster.group.leave(process.log.member)
        world.go(8)
    process.machine.is_registry_down = False
    world.go()
    assert world.outcomes() == {1: "done", 2: "done"}


def _record(world: Quiet, offset: int) -> InputRecord:
    [(_, row, at)], _ = world.cluster.logs(Toy.input_topic)[0].read(offset, 1)
    return InputRecord(Toy.input_topic, 0, offset, row.key, row.value, row.headers, at)


def test_what_is_delivered_again_is_skipped() -> None:
    """Below the state's position everything is decided, whatever the group's offset says."""
    world = Quiet()
    process = world.begin()
    world.publish(1, KEY)
    world.go()
    process.log.read_from(0, 0)
    world.publish(2, KEY)
    world.go()
    assert world.watcher.seen["redelivered"] == 1
    assert [result["id"] for result in world.results()] == [1, 2]


def test_a_partition_that_delivers_nothing_is_placed_anew() -> None:
    """A pause that nobody remembers is noticed within a minute, and healed."""
    world = Quiet()
    process = world.begin()
    process.log.pause([0])  # Behind the engine's back, as librdkafka may do.
    world.publish(1, KEY)
    world.go(turns=50, ms=1_000)
    assert world.outcomes() == {}
    world.go(turns=40, ms=1_000)
    assert world.outcomes() == {1: "done"}
    assert world.watcher.seen["stuck"] == 1


# --- what only a newer build can read ------------------------------------------------------------------------------


def test_an_input_of_a_newer_format_stops_its_partition_only() -> None:
    """It is not decided, nor skipped: the position stays before it, and the other partitions go on."""
    world = Quiet()
    process = world.begin()
    world.publish(1, KEY)
    world.go()
    world.cluster.publish(KEY.encode(), json.dumps({"format": 2}).encode())
    world.publish(2, KEY)
    world.publish(3, ELSEWHERE)
    world.go()
    assert world.outcomes() == {1: "done", 3: "done"}
    assert process.member.partitions[0].phase is Phase.STOPPED
    assert offset_of(world, 0) == 1
    assert (process.member.is_ready(), process.member.why_stopped()) == (False, "a newer format")


def test_state_of_a_newer_format_stops_its_partition_only() -> None:
    """The fact that met it is not decided either: a newer build takes it up."""
    world = Quiet()
    process = world.begin()
    world.publish(1, KEY)
    world.go()
    store = process.disk.stores[0]
    [name] = [storage for storage, _ in store.scan(f"{KEY}\x00known")]
    decode = process.machine.decode

    def of_a_newer_build(data: bytes) -> Any:  # noqa: ANN401  # the toy's own
        return decode(b'["Newer", {}]' if b'"id": 1,' in data else data)

    process.machine.decode = of_a_newer_build  # type: ignore[method-assign]  # a machine that does not know it yet
    process.member.partitions[0]._cache.pop(name)  # noqa: SLF001
    world.publish(1, KEY)
    world.publish(3, ELSEWHERE)
    world.go()
    assert world.outcomes() == {1: "done", 3: "done"}
    assert process.member.partitions[0].phase is Phase.STOPPED
    assert offset_of(world, 0) == 1


# --- drain ----------------------------------------------------------------------------------------------------------


def backlog(world: Quiet, numbers: int) -> Process:
    """Return a process that works through many keys of one partition, three runs at a time."""
    process = world.begin()
    for number in range(numbers):
        world.publish(number, f"many-{number}")
    world.go(12, ms=30)
    return process


def test_a_drain_waits_for_open_runs_and_begins_no_others() -> None:
    """Cut, they would be unknown; but what waits for a permit waits on at the next owner."""
    world = Quiet()
    process = backlog(world, 60)
    sent = len(world.ledger.sent)
    assert 0 < sent < 60
    world.leave(process)
    assert len(world.ledger.sent) <= sent + 3
    assert set(world.outcomes()) == set(world.ledger.executed)
    world.begin()
    world.go(200)
    assert world.outcomes() == dict.fromkeys(range(60), "done")
    world.check()


def test_a_rebalance_waits_for_open_runs_too() -> None:
    """Their answers are committed before the partition is handed over; none has to be told as evidence."""
    world = Quiet()
    process = backlog(world, 30)
    assert process.caller.slots_used > 0
    world.start()
    world.go(300)
    assert world.watcher.seen["revoked"] > 0
    assert world.watcher.seen["evidence"] == 0
    assert all("'calls_left': 0" in said for said in world.watcher.said if said.startswith("revoked"))
    assert world.outcomes() == dict.fromkeys(range(30), "done")


def test_what_was_decided_for_other_partitions_outlives_a_loss() -> None:
    """Their facts are decided again, on the state as it was: a run that was intended is called."""
    world = Quiet()
    process = world.begin()
    for number, key in ((1, KEY), (2, ELSEWHERE)):
        world.publish(number, key)
    for _ in range(50):
        if len(process.member.partitions[0].view(KEY)) + len(process.member.partitions[1].view(ELSEWHERE)) == 4:
            break
        world.go(1, ms=1)
    world.go(2, ms=25)
    with no_transactions(process):
        world.go(15)
        assert all("intent" in str(process.member.partitions[number].view(key).get("head")) for number, key in WHERE)
        process.member.on_lost([1])
        process.log._owned.remove(1)  # noqa: SLF001  # as the group sees it
    world.go(60, ms=100)
    assert world.outcomes() == {1: "done"}


def test_who_leaves_waits_for_the_runs_of_partitions_that_were_taken_away() -> None:
    """Their answers are evidence for the next owner: without it the run would be unknown."""
    world = Quiet()
    process = backlog(world, 30)
    running = len(world.ledger.sent) - len(world.outcomes())
    assert running > 0
    process.member.on_lost(sorted(process.member.partitions))
    process.log._owned.clear()  # noqa: SLF001  # as the group sees it
    world.leave(process)
    assert world.watcher.seen["evidence"] == running
    world.begin()
    world.go(200)
    assert world.outcomes() == dict.fromkeys(range(30), "done")


def test_leaving_takes_one_budget_however_long_calls_last() -> None:
    """A call that never ends holds the process up for the drain's budget, once, and not for each partition again."""
    world = Quiet()
    process = backlog(world, 30)
    process.caller._running.clear()  # noqa: SLF001  # they will never be answered
    began = world.clock()
    world.leave(process)
    assert 3_000 <= world.clock() - began <= 3_200


def test_a_crash_between_commit_and_call_is_never_answered_by_a_second_call() -> None:
    """The next owner finds the intent, waits until its deadline has passed, and does not call again."""
    world = Quiet()
    process = world.begin()
    start = process.caller.start

    def die_before_a_run(calls: Sequence[tuple[Ticket, Any]], wants: Sequence[tuple[Ticket, str]]) -> None:
        if any(isinstance(call, Run) for _, call in calls):
            raise Crash
        start(calls, wants)

    process.caller.start = die_before_a_run  # type: ignore[method-assign]  # a fake that kills
    world.publish(1, KEY)
    world.go()
    assert process.died_at is not None
    assert world.intents == {(1, 1)}
    world.begin()
    world.go()
    assert world.outcomes() == {1: "undetermined"}
    assert world.ledger.sent == []


# --- purge ------------------------------------------------------------------------------------------------------------


def test_decided_input_is_purged_only_when_it_is_old_and_committed() -> None:
    """An internal topic never forgets by time; its reader deletes what was decided seven days ago."""
    world = Quiet()
    process = world.begin()
    process.machine.is_internal = True
    log = world.cluster.logs(Toy.input_topic)[0]
    for day in range(9):
        world.publish(day, KEY)
        world.go(turns=20, ms=4_000)  # Longer than it takes until a purge looks again.
        assert log.start == max(0, day - 6)
        world.passes(24 * 3_600_000)


def test_positions_are_never_sent_without_state() -> None:
    """Each transaction carries a position for every partition that it writes, or the broker would not fence it."""
    world = Quiet()
    world.begin()
    for number in range(20):
        world.publish(number, f"k{number % 5}")
    world.go()
    assert world.cluster.violations == []
    assert set(world.cluster.group.offsets) == {0, 1, 2}
