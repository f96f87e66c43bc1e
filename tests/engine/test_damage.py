"""What cannot be read, or not be written, costs its key or its partition something, and never the process."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from processor.engine.entries import RecordTooLarge, check_size, checked_key, storage_key
from processor.engine.partition import Phase
from processor.engine.ports import InputRecord
from processor.errors import PoisonError, UndecodableMessage
from tests.engine.quiet import Quiet
from tests.engine.simulation import Process
from tests.engine.toy import Answered

KEY, ELSEWHERE = "k0", "k1"  # A key of partition 0, and one of partition 1.
BYTES_MAX = 1_500


def damaged(process: Process, mark: bytes) -> None:
    """Let a build read nothing that holds these bytes."""
    decode = process.machine.decode

    def reading(data: bytes) -> Any:  # noqa: ANN401  # the toy's own
        if mark in data:
            raise UndecodableMessage("damaged", "not one of ours")
        return decode(data)

    process.machine.decode = reading  # type: ignore[method-assign]  # a store with a bad sector


def rejecting(process: Process, number: int) -> None:
    """Let a build reject the records of a number."""
    arrived = process.machine.arrived

    def reading(record: InputRecord) -> tuple[str, Any]:
        if f'"id": {number}}}'.encode() in (record.value or b""):
            raise PoisonError("rejected", "this build does not take it")
        return arrived(record)

    process.machine.arrived = reading  # type: ignore[method-assign]  # a stricter build


def parked(fact: str) -> tuple[Quiet, Process]:
    """Return a world whose first build parked number 1 and, behind it, number 2."""
    world = Quiet()
    world.broken[1] = fact
    process = world.begin()
    for number in (1, 2):
        world.publish(number, KEY)
    world.go(20)
    world._build = "build-2"  # noqa: SLF001  # what a rollout changes
    world.leave(process)
    world.start()
    return world, world.processes[-1]


def letters(world: Quiet) -> list[tuple[bytes | None, str]]:
    """Return value and reason of each dead letter."""
    return [(row.value, dict(row.headers)["reason"].decode()) for row in world.cluster.values("dead-letters")]


def limited(world: Quiet) -> Process:
    """Start a process whose producer takes small records only."""
    world.start()
    process = world.processes[-1]
    process.member._folding._record_bytes_max = BYTES_MAX  # noqa: SLF001
    process.member._folding._parking._record_bytes_max = BYTES_MAX  # noqa: SLF001
    world.go(10, ms=20)
    return process


def swollen(data: bytes, is_large: bool) -> bytes:  # noqa: FBT001  # reads as a sentence where it is used
    """Return bytes, or too many of them."""
    return data + b" " * 2_000 if is_large else data


def swell(process: Process, is_large: Callable[[Any], bool]) -> None:
    """Let a machine need too many bytes for some values."""
    encode = process.machine.encode
    process.machine.encode = lambda value: swollen(encode(value), is_large(value))  # type: ignore[method-assign]


# --- parked, and not readable later ---------------------------------------------------------------------------------


def test_a_parked_record_that_a_later_build_rejects_is_dead_lettered() -> None:
    """It is set aside as if it came now, once, nothing of it stays parked, and what stood behind it is decided."""
    world, process = parked("Arrived")
    rejecting(process, 1)
    world.go()
    assert letters(world) == [(b'{"id": 1}', "rejected")]
    assert process.member.counts()["parked"] == 0
    assert world.outcomes() == {2: "done"}
    world._compare()  # noqa: SLF001  # nothing parked is left in the topic


def test_what_a_rejected_record_carried_is_still_decided() -> None:
    """Its headers end the request, after its dead letter."""
    world = Quiet()
    world.broken[1] = "Arrived"
    process = world.begin()
    world.key_of[1] = KEY
    world.cluster.publish(KEY.encode(), b'{"id": 1}', (("custody", b"1"),))
    world.go(20)
    world._build = "build-2"  # noqa: SLF001
    world.leave(process)
    world.start()
    rejecting(world.processes[-1], 1)
    world.go()
    world.poisons = 1
    assert world.outcomes() == {1: "done"}
    world.check()


def test_a_parked_answer_that_a_later_build_cannot_read_is_dead_lettered() -> None:
    """Its bytes go to the dead letters, the key goes on without it, and its timers say what became of the call."""
    world, process = parked("Answered")
    damaged(process, b"Answered")
    world.go()
    assert [reason for _, reason in letters(world)] == ["damaged"]
    assert b"Answered" in (letters(world)[0][0] or b"")
    assert process.member.counts()["parked"] == 0
    assert process.member.is_ready()


# --- damaged state --------------------------------------------------------------------------------------------------


def test_a_damaged_part_with_a_timer_stops_its_partition_only() -> None:
    """A person is needed there; the process and its other partitions go on."""
    world = Quiet()
    process = world.begin()
    world.ledger._proofs = {"unknown": 1}  # noqa: SLF001
    world.publish(1, KEY)
    while "unknown" not in str(process.member.partitions[0].view(KEY).get("head")):
        world.go(1, ms=20)
    world.go(2, ms=30)
    damaged(process, b'"unknown"')
    process.member.partitions[0]._cache.clear()  # noqa: SLF001  # as after a restart
    world.ledger._proofs = {"done": 1}  # noqa: SLF001
    world.publish(2, ELSEWHERE)
    world.go(60)
    assert world.outcomes() == {2: "done"}
    assert process.member.partitions[0].phase is Phase.STOPPED
    assert not process.member.is_ready()


# --- keys -----------------------------------------------------------------------------------------------------------


def test_a_record_whose_state_key_holds_nul_is_dead_lettered() -> None:
    """It would run into the names of parts: it never becomes a key, and the partition goes on."""
    world = Quiet()
    world.begin()
    world.cluster.publish(b"k\x000", b'{"id": 7}')
    world.publish(1, KEY)
    world.go()
    assert letters(world) == [(b'{"id": 7}', "unprintable-key")]
    assert world.outcomes() == {1: "done"}
    assert checked_key(KEY) == KEY
    with pytest.raises(AssertionError):
        storage_key("k\x000", "head")


# --- sizes ----------------------------------------------------------------------------------------------------------


def test_a_record_fits_with_its_key_and_headers() -> None:
    """What a producer refuses is measured before: all of a record and what its batch adds."""
    check_size(1_000, b"k" * 100, b"v" * 700, (("h", b"x" * 50),))
    for key, value in ((b"k" * 400, b"v" * 500), (None, b"v" * 900)):
        with pytest.raises(RecordTooLarge):
            check_size(1_000, key, value)


@pytest.mark.parametrize("what", ["part", "result"])
def test_a_key_whose_rule_makes_too_large_a_record_is_parked(what: str) -> None:
    """No producer would take it, at no try: its key waits for another build, the partition goes on."""
    world = Quiet()
    process = limited(world)
    if what == "part":
        swell(process, lambda value: getattr(value, "id", 0) == 1)
    else:
        to_records = process.machine.to_records
        process.machine.to_records = lambda output, source: [  # type: ignore[method-assign]
            row._replace(value=swollen(row.value or b"", output.id == 1)) for row in to_records(output, source)
        ]
    world.publish(1, KEY)
    world.publish(2, "k2")
    world.go()
    assert world.outcomes() == {2: "done"}
    assert world.watcher.seen["parked"] == 1
    assert "RecordTooLarge" in world.watcher.said[-1]
    assert process.member.is_ready()


@pytest.mark.parametrize("headers", [(), (("custody", b"1"),), (("custody", b"1"), ("long", b"x" * 2_000))])
def test_a_record_too_large_to_be_parked_is_dead_lettered_and_its_custody_kept(headers: Any) -> None:  # noqa: ANN401
    """Its bytes are in the dead letters, once; what its headers carry, where they fit, is parked and decided later."""
    world = Quiet()
    world.broken[1] = "Arrived"
    process = limited(world)
    value = json.dumps({"id": 1}).encode() + b" " * 1_400
    world.cluster.publish(KEY.encode(), value, headers)
    world.publish(2, KEY)
    world.go()
    assert letters(world) == [(value, "too-large")]
    assert process.member.counts()["parked"] == 2
    world._build = "build-2"  # noqa: SLF001
    world.leave(process)
    later = world.begin()
    world.go(60)
    kept = {1: "done"} if len(headers) == 1 else {}
    assert world.outcomes() == {**kept, 2: "done"}
    assert len(letters(world)) == 1
    assert later.member.counts()["parked"] == 0


def test_an_answer_too_large_to_be_parked_leaves_a_mark() -> None:
    """Its key is parked without it; the timers, set again on release, ask for what it said."""
    world = Quiet()
    world.broken[1] = "Answered"
    process = limited(world)
    swell(process, lambda value: isinstance(value, Answered))
    world.publish(1, KEY)
    world.go()
    assert process.member.counts()["parked"] == 1
    world._build = "build-2"  # noqa: SLF001
    world.leave(process)
    later = world.begin()
    world.go(60)
    assert later.member.counts()["parked"] == 0
    assert world.outcomes() == {1: "done"}
