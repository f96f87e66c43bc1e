"""What the loop does while something outside is not there: it waits, in order, in bounded steps, without spinning."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from zlib import crc32

import pytest

from processor.engine.member import IDLE_WAIT_MS, RETRY_MS
from processor.engine.partition import Phase
from processor.engine.ports import EndReached, InputRecord, Outcome, OutputRecord
from processor.errors import BrokerUnavailable, RegistryUnavailable, SettingsInvalid
from tests.engine.quiet import Quiet, no_transactions
from tests.engine.simulation import Process
from tests.engine.toy import Answered, Arrived, Fired, Permit, Result

KEY, ELSEWHERE = "k0", "k1"  # A key of partition 0, and one of partition 1.
EVENTS_MAX = 5


def limit(process: Process, **limits: int) -> None:
    """Change limits of a member."""
    process.member._limits = replace(process.member._limits, **limits)  # noqa: SLF001


def sizes_of(process: Process) -> list[int]:
    """Record from here on how many events each transaction holds."""
    sizes: list[int] = []
    transact = process.log.transact

    def recording(*values: Any) -> tuple[Outcome, Mapping[int, int]]:  # noqa: ANN401  # handed on
        sizes.append(len(process.member._batch.events))  # noqa: SLF001  # what the bound is about
        return transact(*values)

    process.log.transact = recording  # type: ignore[method-assign, assignment]  # a fake, watched
    return sizes


# --- something outside is needed to decide --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Arrived, Answered, Permit, Fired])
def test_a_fact_that_cannot_be_decided_now_waits_and_parks_nothing(kind: type) -> None:
    """An outage of what deciding needs is no failure of a rule: whatever the fact, it is decided when it is over."""
    world = Quiet()
    world.ledger._proofs = {"not-sent": 1}  # noqa: SLF001  # a timer fires after it
    process = world.begin()
    decide, is_down = process.machine.decide, [True]

    def needing(state: Mapping[str, Any], fact: Any, now: int) -> Any:  # noqa: ANN401  # the toy's own
        if is_down[0] and isinstance(fact, kind):
            raise RegistryUnavailable("for a while")
        return decide(state, fact, now)

    process.machine.decide = needing  # type: ignore[method-assign]  # a rule that needs something outside
    world.publish(1, KEY)
    world.publish(2, KEY)
    world.go(50)
    tries = world.watcher.seen["waiting_for"]
    assert 5 <= tries <= 50 * 200 / RETRY_MS + 1
    assert world.outcomes() == {}
    world.ledger._proofs = {"done": 1}  # noqa: SLF001
    is_down[0] = False
    world.go(60)
    assert [result["id"] for result in world.results()] == [1, 2]
    assert world.watcher.seen["parked"] == 0
    world.check()


def test_results_that_cannot_be_encoded_now_stay_in_order() -> None:
    """The registry is away when outputs are written: answers wait behind the first, none is lost or overtaken."""
    world = Quiet()
    process = world.begin()
    to_records, is_down = process.machine.to_records, [True]

    def writing(output: Result, source: InputRecord | None) -> Sequence[OutputRecord]:
        if is_down[0]:
            raise RegistryUnavailable("for a while")
        return to_records(output, source)

    process.machine.to_records = writing  # type: ignore[method-assign]  # needs the registry
    for number in range(6):
        world.publish(number, f"k{number % 3}")
    world.go(40)
    assert (world.outcomes(), world.watcher.seen["parked"]) == ({}, 0)
    is_down[0] = False
    world.go(60)
    assert world.outcomes() == dict.fromkeys(range(6), "done")
    world.check()


def test_what_waits_when_the_process_leaves_is_left_to_the_next_owner() -> None:
    """An answer that could not be decided is published as evidence, and the run is not made again."""
    world = Quiet()
    process = world.begin()

    def down(*_: object) -> Sequence[OutputRecord]:
        raise RegistryUnavailable("for long")

    process.machine.to_records = down  # type: ignore[method-assign, assignment]
    world.publish(1, KEY)
    world.go(20)
    world.leave(process)
    assert world.watcher.seen["evidence"] == 1
    world.begin()
    world.go()
    assert world.outcomes() == {1: "done"}
    world.check()


def test_settings_that_are_invalid_still_end_the_process() -> None:
    """A fatal error while deciding is neither parked nor waited for."""
    world = Quiet()
    process = world.begin()

    def broken(*_: object) -> Any:  # noqa: ANN401  # never returns
        raise SettingsInvalid("a schema is missing")

    process.machine.decide = broken  # type: ignore[method-assign, assignment]
    world.publish(1, KEY)
    with pytest.raises(SettingsInvalid):
        world.go()


# --- bounded steps --------------------------------------------------------------------------------------------------


def test_a_takeover_is_committed_in_slices_before_any_input() -> None:
    """However much a restored partition begins with, a transaction holds a part of it; input comes after all."""
    world = Quiet()
    holder = world.begin()
    # Of one partition: another one may be whole, and take input, before this one is.
    keys = [key for key in map(str, range(200)) if crc32(key.encode()) % world.cluster.partitions == 0]
    for number in range(23):
        world.publish(number, keys[number])
    holder.caller.start = lambda *_: None  # type: ignore[method-assign]  # it asks, and dies before any answer
    world.go(10)
    assert holder.member.counts()["active"] == 23
    holder.died_at = world.clock()
    world.passes(4_000)
    world.start()
    later = world.processes[-1]
    limit(later, events_max=EVENTS_MAX)
    sizes, taken = sizes_of(later), _order_of(later)
    for number in range(23, 27):
        world.publish(number, keys[number])
    world.go(100)
    assert world.outcomes() == dict.fromkeys(range(27), "done")
    assert max(sizes) <= EVENTS_MAX + 4
    starts = [index for index, kind in enumerate(taken) if kind == "Resumed"]
    assert starts == list(range(23))
    world.check()


def _order_of(process: Process) -> list[str]:
    """Record the kinds of fact that are decided from here on."""
    kinds: list[str] = []
    decide = process.machine.decide

    def recording(state: Mapping[str, Any], fact: Any, now: int) -> Any:  # noqa: ANN401  # the toy's own
        kinds.append(type(fact).__name__)
        return decide(state, fact, now)

    process.machine.decide = recording  # type: ignore[method-assign]
    return kinds


def test_what_an_abort_undid_is_committed_in_slices_in_order() -> None:
    """Twenty events that were aborted together are committed a few at a time, in order, each once."""
    world = Quiet()
    process = world.begin()
    with no_transactions(process):
        for number in range(20):
            world.publish(number, KEY)
        while len(process.member._batch.events) < 20:  # noqa: SLF001
            process.member._is_blocked = False  # noqa: SLF001  # intake was not paused yet
            world.go(1, ms=5)
    aborts = [1]

    def abort_first(what: str) -> bool:
        is_drawn = what == "abort" and aborts[0] > 0
        aborts[0] -= is_drawn
        return is_drawn

    world.draws = abort_first  # type: ignore[method-assign]
    limit(process, events_max=EVENTS_MAX)
    sizes = sizes_of(process)
    world.go(300)
    assert aborts == [0]
    assert sizes[0] == 20
    assert max(sizes[1:]) <= EVENTS_MAX
    assert [result["id"] for result in world.results()] == list(range(20))
    world.check()


def test_an_outage_blocks_a_turn_for_one_look_at_an_end_only() -> None:
    """Of many partitions whose timers wait for evidence, each look may take seconds: the first failure is enough."""
    world = Quiet()
    process = world.begin()
    world.ledger._proofs = {"unknown": 1}  # noqa: SLF001
    for number, key in enumerate(("k0", "k1", "k2", "k3", "k4")):
        world.publish(number, key)
    bounds, looks = process.log.bounds, [0]

    def unavailable(_: int) -> tuple[int, int]:
        looks[0] += 1
        raise BrokerUnavailable("for a while")

    process.log.bounds = unavailable  # type: ignore[method-assign, assignment]  # a fake, broken
    most = 0
    for _ in range(100):
        before = looks[0]
        world.go(1, ms=100)
        most = max(most, looks[0] - before)
    assert most == 1
    assert 2 <= looks[0] <= 100 * 100 / RETRY_MS + 1
    process.log.bounds = bounds  # type: ignore[method-assign]
    world.go(60)
    assert world.outcomes() == dict.fromkeys(range(5), "undetermined")


# --- stopped, and backing off ---------------------------------------------------------------------------------------


def test_an_aborted_fact_of_a_stopped_partition_is_not_decided_again() -> None:
    """Its position must not move past the record that stopped it, in whatever order an abort brings them back."""
    world = Quiet()
    process = world.begin()
    aborts = [True]
    world.draws = lambda what: what == "abort" and aborts[0]  # type: ignore[method-assign]
    world.publish(1, KEY)
    world.publish(2, ELSEWHERE)
    while not world.watcher.seen["aborted"]:
        world.go(1, ms=5)
    process.member._stop_partition(process.member.partitions[0], "a test")  # noqa: SLF001
    aborts[0] = False
    world.go()
    assert world.outcomes() == {2: "done"}
    assert process.member.partitions[0].phase is Phase.STOPPED
    assert process.member.partitions[0].next_offset == 0
    world.leave(process)
    world.begin()
    world.go()
    assert world.outcomes() == {1: "done", 2: "done"}


def test_backing_off_from_aborts_does_not_spin() -> None:
    """Between two tries the loop sleeps, whether or not its transaction is full or a timer of it is overdue."""
    world = Quiet()
    process = world.begin()
    limit(process, events_max=2)
    world.draws = lambda what: what == "abort"  # type: ignore[method-assign]  # nothing is ever accepted
    for number in range(6):
        world.publish(number, KEY)
    while world.watcher.seen["aborted"] < 8:
        world.go(1, ms=1)
    waits: list[float] = []
    poll: Callable[[float, int], Sequence[InputRecord | EndReached]] = process.log.poll

    def sleeping(timeout_s: float, records_max: int) -> Sequence[InputRecord | EndReached]:
        waits.append(timeout_s)
        world.passes(max(1, round(timeout_s * 1000)))
        return poll(timeout_s, records_max)

    process.log.poll = sleeping  # type: ignore[method-assign]  # a fake in which waiting takes time
    began, aborted = world.clock(), world.watcher.seen["aborted"]
    while world.watcher.seen["aborted"] < aborted + 5:
        world.turn(process)
    assert world.clock() - began >= 5 * 8 * 25
    assert len(waits) <= (world.clock() - began) / IDLE_WAIT_MS + 4 * 5
    assert waits.count(0.0) <= 2 * 5
