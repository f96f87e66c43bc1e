"""A decider's calls: queued, permitted, made, and each answered exactly once."""

import asyncio
import threading
from typing import Any

import pytest

from processor.adapters.calling import ApiCall, unanswered
from processor.adapters.gate import RAMP_SLOTS, HeldBy
from processor.adapters.pauses import PauseReason, Standing
from processor.core.messages import CallAnswered, PermitGranted, ReadCase, ReadResult, ResultRead, StatusRead
from processor.core.proof import Operation, Proof
from processor.engine.ports import Owned
from tests.adapters.calling_desk import (
    FIRST,
    NEVER,
    PERMIT_MS,
    Desk,
    create,
    fact,
    run,
    settle,
    status,
    ticket,
)


async def test_a_call_is_made_and_answered_under_its_ticket() -> None:
    """Start, perform, deliver; the slot is free again."""
    desk = Desk()
    call = create("r")
    desk.preparation.start([(ticket("k"), call)], [])
    await settle()
    desk.provider.answer("r")
    await settle()
    assert [(one.ticket, one.call, one.fact) for one in desk.answers] == [(ticket("k"), call, fact(call, Proof.DONE))]
    assert (desk.dispatcher.backlog().calls_open, desk.told.answered) == (0, [("r", Proof.DONE)])
    await desk.close()


async def test_calls_can_be_started_from_the_engines_thread() -> None:
    """The engine never waits for the event loop, and answers come although nobody else wakes it."""
    desk = Desk()
    thread = threading.Thread(target=desk.preparation.start, args=([(ticket("k"), create("r"))], []))
    thread.start()
    await desk.provider.called(times=1)
    thread.join()
    await desk.close()


async def test_what_has_no_slot_waits_for_one() -> None:
    """No more calls are open than there are slots; the next starts when one ends."""
    desk = Desk(slots=1)
    desk.preparation.start([(ticket("a"), create("a")), (ticket("b"), create("b"))], [])
    await settle()
    assert [*desk.provider.open] == ["a"]
    assert desk.dispatcher.backlog().held_by == {HeldBy.SLOTS}
    desk.provider.answer("a")
    await settle()
    assert [*desk.provider.open] == ["b"]
    await desk.close()


async def test_launch_and_completion_have_the_slots_before_preparation() -> None:
    """One gate for all deciders of the process."""
    desk = Desk(slots=1)
    desk.preparation.start([(ticket("first"), create("first")), (ticket("p"), create("p"))], [])
    await settle()
    desk.completion.start([(ticket("c"), status("c"))], [])
    desk.launch.start([], [(ticket("l"), "default/check")])
    await settle()
    desk.provider.answer("first")
    await settle()
    assert desk.facts()[-1] == ("l", PermitGranted(PERMIT_MS))
    desk.launch.release(ticket("l"))
    await settle()
    assert [*desk.provider.open] == ["c"]
    await desk.close()


async def test_nothing_starts_before_the_pauses_are_read() -> None:
    """A paused workflow must not be called by a process that has just started."""
    desk = Desk(is_open=False)
    desk.preparation.start([(ticket("a"), create("a"))], [])
    await settle()
    assert (desk.provider.made, desk.dispatcher.backlog().held_by) == ([], {HeldBy.PAUSES_UNREAD})
    desk.dispatcher.open()
    await settle()
    assert [*desk.provider.open] == ["a"]
    await desk.close()


async def test_nothing_starts_without_a_token() -> None:
    """An intent written now would only wait for the token with its time running."""
    desk = Desk()
    desk.provider.has_token = False
    desk.launch.start([], [(ticket("l"), "default/check")])
    await settle()
    assert (desk.facts(), desk.dispatcher.backlog().held_by) == ([], {HeldBy.TOKEN})
    desk.provider.renew()
    await settle()
    assert desk.facts() == [("l", PermitGranted(PERMIT_MS))]
    await desk.close()


async def test_a_provider_that_asks_one_call_to_wait_is_called_by_nobody_until_then() -> None:
    """The others would hear the same: they wait unsent, their attempts unspent; then few begin at once."""
    desk = Desk(slots=9)
    desk.completion.start([(ticket(str(number)), status(str(number))) for number in range(9)], [])
    await settle()
    desk.provider.answer("0", Proof.WAIT, wait_ms=400)
    await settle()
    later = [str(number) for number in range(9, 20)]
    desk.completion.start([(ticket(name), status(name)) for name in later], [])
    for number in range(1, 9):
        desk.provider.answer(str(number), Proof.WAIT, wait_ms=400 if number == 1 else None)
    await settle()
    assert desk.told.waits_s == [pytest.approx(0.44)], "a wait that goes on is no new one"
    assert (len(desk.provider.made), desk.dispatcher.backlog().held_by) == (9, {HeldBy.RETRY_AFTER})
    assert 0 < desk.dispatcher.backlog().retry_after_s <= 0.44
    await desk.provider.called(times=13)
    await settle()
    assert len(desk.provider.made) == 9 + RAMP_SLOTS
    assert desk.dispatcher.backlog().held_by == {HeldBy.RAMP}
    await desk.close()


async def test_who_has_no_part_of_the_limit_makes_no_call() -> None:
    """Until partitions are ours; then as many as they carry."""
    desk = Desk()
    desk.dispatcher.resize(0)
    desk.preparation.start([(ticket(name), create(name)) for name in "abc"], [])
    await settle()
    assert desk.provider.made == []
    desk.dispatcher.resize(2)
    await settle()
    assert [*desk.provider.open] == ["a", "b"]
    await desk.close()


async def test_a_provider_that_is_back_is_not_given_everything_at_once() -> None:
    """Nothing starts while it is away; then a few, and with each good answer one more."""
    desk = Desk()
    desk.provider.is_away = True
    desk.preparation.start([(ticket(str(number)), create(str(number))) for number in range(10)], [])
    await settle()
    assert (desk.provider.made, desk.dispatcher.backlog().held_by) == ([], {HeldBy.BREAKER})
    desk.dispatcher.ramp()
    desk.provider.renew()
    await settle()
    assert len(desk.provider.made) == RAMP_SLOTS
    desk.provider.answer("0")
    await settle()
    assert len(desk.provider.open) == RAMP_SLOTS + 1
    await desk.close()


async def test_a_rate_spreads_calls_over_time() -> None:
    """What the rate holds back starts by itself when its time has come."""
    desk = Desk(per_second=50.0)
    desk.preparation.start([(ticket(str(number)), create(str(number))) for number in range(7)], [])
    await settle()
    assert len(desk.provider.made) == 0
    await desk.provider.called(times=3)
    assert len(desk.provider.made) < 7
    await desk.close()


async def test_a_newer_call_of_a_key_takes_the_place_of_one_that_waits() -> None:
    """Asking again and again costs neither memory nor a place in the line; the older call is answered as dropped."""
    desk = Desk(slots=1)
    desk.completion.start([(ticket(name), status(name)) for name in ("open", "a", "b")], [])
    await settle()
    desk.completion.start([(ticket("a"), status("a", attempt=2))], [])
    await settle()
    assert desk.facts() == [("a", None)]
    desk.provider.answer("open")
    await settle()
    assert desk.provider.open["a"][0] == status("a", attempt=2)
    await desk.close()


async def test_a_newer_call_of_another_workflow_lines_up_anew() -> None:
    """The next request of a lane may be of another workflow than the one that expired in the line."""
    desk = Desk()
    desk.dispatcher.heard("check", Standing("check", 0, is_paused=True, at=0, reason=PauseReason.OPERATOR, why="x"))
    desk.preparation.start([(ticket("a"), create("a"))], [])
    await settle()
    desk.preparation.start([(ticket("a"), create("next", workflow="other"))], [])
    await settle()
    assert desk.proofs() == {"a": None}
    assert [*desk.provider.open] == ["next"]
    await desk.close()


# --- permits and runs ----------------------------------------------------------------------------------------------


async def permitted(desk: Desk, key: str) -> None:
    desk.launch.start([], [(ticket(key), "default/check")])
    await settle()
    assert desk.facts() == [(key, PermitGranted(desk.now + PERMIT_MS))]


async def test_a_run_uses_the_slot_of_its_permit() -> None:
    """It lines up once: what it needs was there before its intent was written."""
    desk = Desk(slots=1)
    await permitted(desk, "l")
    assert (desk.dispatcher.backlog().calls_open, desk.launch.permits_granted) == (1, 1)
    desk.launch.start([(ticket("l"), run("r"))], [])
    await settle()
    assert (desk.dispatcher.backlog().calls_open, desk.launch.permits_granted) == (1, 0)
    desk.provider.answer("r")
    await settle()
    assert (desk.proofs(), desk.dispatcher.backlog().calls_open) == ({"l": Proof.DONE}, 0)
    await desk.close()


@pytest.mark.parametrize("has_permit", [True, False])
async def test_a_run_past_its_time_or_without_permit_is_not_sent(has_permit: bool) -> None:  # noqa: FBT001  # a column
    """It says so, so that its intent is withdrawn; the slot is free."""
    desk = Desk()
    if has_permit:
        await permitted(desk, "l")
    desk.now = 100
    desk.launch.start([(ticket("l"), run("r", send_before=100 if has_permit else NEVER))], [])
    await settle()
    answer = CallAnswered(Operation.RUN, 1, Proof.NOT_SENT, None, None, None, "not sent before its time", "r")
    assert (desk.facts(), desk.provider.made) == ([("l", answer)], [])
    assert desk.dispatcher.backlog().calls_open == 0
    await desk.close()


async def test_a_permit_that_is_given_back_frees_its_slot() -> None:
    """Whoever does not use it lets the next one go on; giving it back twice changes nothing."""
    desk = Desk(slots=1)
    await permitted(desk, "l")
    desk.launch.start([], [(ticket("m"), "default/check")])
    desk.launch.release(ticket("l"))
    desk.launch.release(ticket("l"))
    await settle()
    assert desk.facts() == [("m", PermitGranted(PERMIT_MS))]
    await desk.close()


async def test_a_permit_that_nobody_uses_is_taken_back() -> None:
    """A stuck decider does not keep slots; its late run is not sent."""
    desk = Desk(slots=1)
    await permitted(desk, "l")
    desk.now = PERMIT_MS - 1
    desk.launch.sweep(desk.now)
    assert desk.launch.permits_granted == 1
    desk.now = PERMIT_MS
    desk.launch.sweep(desk.now)
    assert (desk.launch.permits_granted, desk.dispatcher.backlog().calls_open) == (0, 0)
    desk.launch.start([(ticket("l"), run("r"))], [])
    await settle()
    assert desk.proofs() == {"l": Proof.NOT_SENT}
    await desk.close()


async def test_a_read_gives_way_to_the_permit_that_its_key_waits_for() -> None:
    """Permits are asked for before the commit and calls after it: a read of the same turn must not end the wait."""
    desk = Desk(slots=1)
    await permitted(desk, "l")
    desk.launch.start([], [(ticket("m"), "default/check")])
    desk.launch.start([(ticket("m"), ReadCase("check", "m", "case-1", 1))], [])
    await settle()
    assert desk.launch.permits_waiting == 1
    assert desk.facts() == [("m", None)]
    desk.launch.release(ticket("l"))
    await settle()
    assert desk.facts() == [("m", PermitGranted(PERMIT_MS))]
    await desk.close()


async def test_a_key_waits_for_one_permit_only() -> None:
    """Wanting it again keeps the place; wanting it with one in hand gives that one back first."""
    desk = Desk(slots=1)
    await permitted(desk, "l")
    desk.launch.start([], [(ticket("m"), "default/check"), (ticket("m"), "default/check")])
    await settle()
    assert desk.launch.permits_waiting == 1
    desk.launch.start([], [(ticket("l"), "default/check")])
    await settle()
    assert desk.facts() == [("m", PermitGranted(PERMIT_MS))]
    assert desk.launch.permits_waiting == 1
    await desk.close()


@pytest.mark.parametrize("workflow,provider", [("other", "default"), ("check", "bank")])
async def test_a_permit_of_another_workflow_or_profile_is_not_used(workflow: str, provider: str) -> None:
    """The other one may be paused: its start is not sent, and the slot is free again."""
    desk = Desk()
    await permitted(desk, "l")
    desk.launch.start([(ticket("l"), run("r", workflow, provider=provider))], [])
    await settle()
    [(key, answer)] = desk.facts()
    assert isinstance(answer, CallAnswered)
    assert (key, answer.proof, answer.why) == ("l", Proof.NOT_SENT, "not sent, its permit was for another workflow")
    assert (desk.provider.made, desk.bank.made, desk.dispatcher.backlog().calls_open) == ([], [], 0)
    await desk.close()


async def test_a_run_does_not_begin_when_the_provider_has_gone_meanwhile() -> None:
    """Between permit and commit the provider may go away: what was never sent is never unknown."""
    desk = Desk()
    await permitted(desk, "l")
    desk.provider.is_away = True
    desk.launch.start([(ticket("l"), run("r"))], [])
    await settle()
    assert (desk.proofs(), desk.provider.made) == ({"l": Proof.NOT_SENT}, [])
    await desk.close()


# --- profiles of the provider --------------------------------------------------------------------------------------


async def test_each_call_and_permit_goes_to_the_profile_that_it_names() -> None:
    """Each has a gate of its own: one that is full holds back nobody else's calls."""
    desk = Desk(slots=1)
    desk.preparation.start([(ticket("a"), create("a")), (ticket("b"), create("b", provider="bank"))], [])
    desk.launch.start([], [(ticket("l"), "bank/check")])
    await settle()
    assert ([*desk.provider.open], [*desk.bank.open]) == (["a"], ["b"])
    assert desk.bank_dispatcher.backlog().held_by == {HeldBy.SLOTS}
    desk.bank.answer("b")
    await settle()
    assert desk.facts()[-1] == ("l", PermitGranted(PERMIT_MS))
    desk.launch.start([(ticket("l"), run("r", provider="bank"))], [])
    await settle()
    assert [*desk.bank.open] == ["r"]
    await desk.close()


async def test_a_newer_call_of_a_key_takes_the_place_of_one_in_another_profile() -> None:
    """At most one waits for a key, wherever it waits."""
    desk = Desk(slots=1)
    desk.preparation.start([(ticket("open"), create("open")), (ticket("k"), create("k"))], [])
    await settle()
    desk.preparation.start([(ticket("k"), create("k2", provider="bank"))], [])
    await settle()
    assert (desk.proofs(), [*desk.bank.open]) == ({"k": None}, ["k2"])
    await desk.close()


async def test_what_names_a_profile_that_is_not_configured_waits() -> None:
    """It neither fails nor becomes unknown, holds up nobody, and can still be given up."""
    desk = Desk()
    desk.preparation.start([(ticket("a"), create("a", provider="gone")), (ticket("b"), create("b"))], [])
    desk.launch.start([], [(ticket("l"), "gone/check")])
    await settle()
    assert (desk.facts(), [*desk.provider.open], desk.profiles.unconfigured) == ([], ["b"], {"gone"})
    assert sum(desk.elsewhere.backlog().waiting.values()) == 2
    desk.preparation.forget(FIRST)
    await settle()
    assert desk.proofs() == {"a": None}
    await desk.close()


async def test_an_operators_pause_holds_a_workflow_in_every_profile() -> None:
    """Older requests may be bound to another profile than the catalogue names now."""
    desk = Desk()
    desk.profiles.heard("check", Standing("check", 0, is_paused=True, at=0, reason=PauseReason.OPERATOR, why="x"))
    desk.preparation.start([(ticket("a"), create("a")), (ticket("b"), create("b", provider="bank"))], [])
    await settle()
    assert (desk.provider.made, desk.bank.made) == ([], [])
    assert desk.bank_dispatcher.backlog().held_by == {HeldBy.PAUSE}
    await desk.close()


# --- giving up partitions, stopping --------------------------------------------------------------------------------


async def test_a_partition_that_is_given_up_loses_what_did_not_start() -> None:
    """Queued calls are dropped and said so, permits end, reads are cut; creations and runs go on to their answer."""
    desk = Desk(slots=4)
    other = Owned(1, 1)
    await permitted(desk, "run")
    await permitted(desk, "permit")
    desk.launch.start([(ticket("run"), run("run"))], [])
    desk.preparation.start([(ticket("create"), create("create"))], [])
    desk.completion.start([(ticket("read"), status("read"))], [])
    await settle()
    desk.preparation.start([(ticket("queued"), create("queued")), (ticket("kept", other), create("kept"))], [])
    desk.launch.start([], [(ticket("wanted"), "default/check")])
    await settle()
    for caller in (desk.preparation, desk.launch, desk.completion):
        caller.forget(FIRST)
    await settle()
    assert desk.proofs() == {"queued": None, "read": None}
    assert sorted(desk.provider.open) == ["create", "kept", "run"]
    desk.provider.answer("run")
    desk.provider.answer("create", Proof.UNKNOWN)
    await settle()
    assert desk.proofs() == {"run": Proof.DONE, "create": Proof.UNKNOWN}
    assert (desk.launch.permits_granted, desk.launch.permits_waiting) == (0, 0)
    await desk.close()


async def test_nothing_starts_any_more_for_a_partition_that_was_given_up() -> None:
    """What the last commits of a drain demand is the next owner's; a run is not sent, so that it can be withdrawn."""
    desk = Desk()
    desk.preparation.forget(FIRST)
    desk.launch.forget(FIRST)
    desk.preparation.start([(ticket("old"), create("old"))], [])
    desk.launch.start([(ticket("run"), run("run"))], [(ticket("permit"), "default/check")])
    desk.preparation.start([(ticket("new", Owned(0, 2)), create("new"))], [])
    await settle()
    assert desk.proofs() == {"old": None, "run": Proof.NOT_SENT}
    assert [*desk.provider.open] == ["new"]
    await desk.close()


async def test_a_call_cut_before_its_task_began_frees_its_slot_too() -> None:
    """Start and give up within one turn of the loop."""
    desk = Desk()
    desk.completion.start([(ticket("read"), status("read"))], [])
    desk.completion.forget(FIRST)
    await settle()
    assert (desk.facts(), desk.dispatcher.backlog().calls_open) == ([("read", None)], 0)
    await desk.close()


async def test_stopping_waits_for_creations_and_runs_within_its_budget() -> None:
    """What ends in time is answered, a run that does not is unknown, and nothing new starts."""
    desk = Desk(slots=4)
    await permitted(desk, "slow")
    await permitted(desk, "late")
    desk.launch.start([(ticket("slow"), run("slow"))], [])
    desk.preparation.start([(ticket("quick"), create("quick"))], [])
    desk.completion.start([(ticket("read"), status("read"))], [])
    await settle()
    asyncio.get_running_loop().call_later(0.01, desk.provider.answer, "quick")
    assert await desk.close(budget_s=0.1) == 1
    assert desk.proofs() == {"read": None, "quick": Proof.DONE, "slow": Proof.UNKNOWN}
    desk.preparation.start([(ticket("new"), create("new"))], [])
    desk.launch.start([(ticket("late"), run("late"))], [])
    await settle()
    assert desk.proofs() == {"new": None, "late": Proof.NOT_SENT}
    assert (desk.provider.open, desk.dispatcher.is_closed) == ({}, True)


UNKNOWNS: list[tuple[ApiCall, Any]] = [
    (create("c"), CallAnswered(Operation.CREATE_RECORD, 1, Proof.UNKNOWN, None, None, None, "ValueError", "c")),
    (status("c"), StatusRead(1, Proof.UNKNOWN, None, None, None, None, "ValueError")),
    (ReadResult("check", "c", 1), ResultRead(1, Proof.UNKNOWN, None, 0, None, None, "ValueError")),
]


@pytest.mark.parametrize("call,answer", UNKNOWNS, ids=["create", "status", "result"])
async def test_a_provider_that_breaks_its_word_loses_neither_slot_nor_answer(call: ApiCall, answer: object) -> None:
    """An exception out of it proves nothing about the call."""
    desk = Desk()
    desk.preparation.start([(ticket("k"), call)], [])
    await settle()
    desk.provider.fail("c", ValueError("what it says may be personal"))
    await settle()
    assert (desk.facts(), desk.dispatcher.backlog().calls_open) == ([("k", answer)], 0)
    assert unanswered(call, Proof.UNKNOWN, "ValueError") == answer
    await desk.close()
