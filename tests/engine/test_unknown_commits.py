"""Commits that end without a word: the tokens at the partitions tell."""

import json
from collections.abc import Mapping, Sequence

import pytest

from processor.engine.entries import POSITION_KEY, StoredPosition, pack, position_entry
from processor.engine.ports import Entry, Outcome, OutputRecord, Position
from processor.errors import BrokerUnavailable
from tests.engine.quiet import Quiet
from tests.engine.simulation import Process
from tests.engine.toy import Toy

KEY = "k0"  # Of partition 0.


def unknown_world(*, is_committed: bool) -> tuple[Quiet, Process]:
    """Return a world that committed one number and then learns nothing of its next transaction."""
    world = Quiet()
    process = world.begin()
    world.publish(1, KEY)
    world.go()
    drawn = {"unknown": 1, "unknown commits": int(is_committed)}

    def draws(what: str) -> bool:
        left = drawn.get(what, 0)
        drawn[what] = left - 1
        return left > 0

    world.draws = draws  # type: ignore[method-assign]  # the schedule is the test's own
    world.publish(2, KEY)
    return world, process


@pytest.mark.parametrize("is_committed", [True, False])
def test_a_commit_of_unknown_outcome_is_decided_by_its_token(*, is_committed: bool) -> None:
    """Our token there: committed. The one before it: aborted, and decided again. No partition is read anew for it."""
    world, _ = unknown_world(is_committed=is_committed)
    world.go()
    told = {"committed": int(is_committed), "aborted": int(not is_committed), "dropped": 0}
    assert f"unknown_commit(){told}" in world.watcher.said
    assert world.outcomes() == {1: "done", 2: "done"}
    assert world.watcher.seen["restored"] == 3


def test_a_token_of_somebody_else_means_that_we_know_nothing() -> None:
    """Another owner wrote there meanwhile: the partition is dropped and read again, and what it holds is believed."""
    world, process = unknown_world(is_committed=False)
    end_transaction = process.log.end_transaction

    def somebody_wrote() -> None:
        end_transaction()
        fields = {"id": 2, "timer": {"due_at": 1 << 40, "is_behind_evidence": False}, "is_waiting": False}
        body = json.dumps(["Known", fields]).encode()
        known = Entry(2, 1 << 40, is_behind_evidence=False, is_waiting=False, body=body)
        rows = ((f"{KEY}\x00known/2", known), (POSITION_KEY, position_entry(StoredPosition(2, 3))))
        transaction = world.cluster.begin()
        transaction.positions = {0: Position(2, "other:1")}
        for key, entry in rows:
            world.cluster.append(OutputRecord(Toy.state_topic, key.encode(), pack(entry), partition=0), transaction)
        world.cluster.end(transaction, is_commit=True)
        process.log.end_transaction = end_transaction  # type: ignore[method-assign]

    process.log.end_transaction = somebody_wrote  # type: ignore[method-assign]  # a fake, with a stranger
    world.go()
    assert "unknown_commit(){'committed': 0, 'aborted': 0, 'dropped': 1}" in world.watcher.said
    assert world.watcher.seen["restored"] == 4
    assert world.outcomes() == {1: "done"}


def test_nothing_is_decided_while_the_last_outcome_is_unknown() -> None:
    """What is believed of the state may be wrong, so facts wait until the tokens could be read."""
    world, process = unknown_world(is_committed=True)
    committed = process.log.committed

    def unavailable(_: Sequence[int]) -> Mapping[int, Position | None]:
        raise BrokerUnavailable("for a while")

    process.log.committed = unavailable  # type: ignore[method-assign, assignment]  # a fake, broken
    world.go(5)
    before = world.cluster.logs(Toy.state_topic)[0].end
    process.log.resume([0])  # Even if more were read.
    world.publish(3, KEY)
    world.go()
    assert world.cluster.logs(Toy.state_topic)[0].end == before
    process.log.committed = committed  # type: ignore[method-assign]
    world.go()
    assert world.outcomes() == {1: "done", 2: "done", 3: "done"}


@pytest.mark.parametrize("is_committed", [True, False])
def test_tokens_that_nobody_can_read_for_ever_are_not_waited_for(*, is_committed: bool) -> None:
    """A coordinator that was killed may keep offsets pending without end: the partition is read anew and goes on."""
    world, process = unknown_world(is_committed=is_committed)
    committed = process.log.committed

    def pending(_: Sequence[int]) -> Mapping[int, Position | None]:
        raise BrokerUnavailable("offsets are pending")

    process.log.committed = pending  # type: ignore[method-assign, assignment]  # a fake, broken
    process.log.last_committed = lambda partition: committed([partition])[partition]  # type: ignore[method-assign]
    world.go(200)
    assert "unknown_commit(){'committed': 0, 'aborted': 0, 'dropped': 1}" in world.watcher.said
    world.publish(3, KEY)
    world.go()
    assert world.outcomes() == {1: "done", 2: "done", 3: "done"}


def test_what_was_intended_and_never_called_is_not_held_by_the_next_owner() -> None:
    """The commit is known to have succeeded when the partition is gone: who owns it now is told that nobody called."""
    world = Quiet()
    process = world.begin()
    transact = process.log.transact

    def lost_on_the_way(
        records: Sequence[OutputRecord], positions: Mapping[int, Position], membership: object
    ) -> tuple[Outcome, Mapping[int, int]]:
        outcome = transact(records, positions, membership)
        if b'"intent"' not in b"".join(record.value or b"" for record in records):
            return outcome
        process.log.transact = transact  # type: ignore[method-assign]
        return Outcome.UNKNOWN, {}

    process.log.transact = lost_on_the_way  # type: ignore[method-assign]  # a fake, whose answer is lost
    world.publish(1, KEY)
    while process.log.transact is not transact:
        world.go(1, ms=1)
    process.member.on_lost([0])
    world.go(5, ms=20)
    assert world.watcher.seen["evidence"] == 1
    assert world.ledger.sent == []
    process.member.on_assigned([0])
    world.go()
    assert world.outcomes() == {1: "done"}
