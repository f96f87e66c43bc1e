"""Faults of ours: found, paused for everyone, and nobody's request pays for them."""

from dataclasses import replace

import pytest

from processor.adapters.fault_watch import QUIET_MS
from processor.adapters.pauses import PauseReason, Standing
from processor.core.messages import VerdictReached
from processor.core.proof import Operation, Proof
from tests.adapters.calling_desk import FIRST, Desk, create, judge, run, settle, status, ticket

PAUSED = Standing("check", 0, is_paused=True, at=0, reason=PauseReason.FAULT, fingerprint="ours", why="run: 403")
OPERATOR = Standing("check", 0, is_paused=True, at=0, reason=PauseReason.OPERATOR, why="maintenance")


async def answered(desk: Desk, proof: Proof, *names: str, workflow: str = "check") -> None:
    """Create, and let the provider say this."""
    desk.preparation.start([(ticket(name), create(name, workflow)) for name in names], [])
    await settle()
    for name in names:
        desk.provider.answer(name, proof)
    await settle()
    assert desk.proofs() == dict.fromkeys(names, proof)


async def answered_well(desk: Desk) -> None:
    """Create once more, with success."""
    desk.preparation.start([(ticket("good"), create("good"))], [])
    await settle()
    desk.provider.answer("good")
    await settle()


def verdicts(desk: Desk) -> dict[str, bool]:
    return {key: fact.is_our_fault for key, fact in desk.facts() if isinstance(fact, VerdictReached)}


async def test_a_fault_of_ours_pauses_its_workflow_and_no_other() -> None:
    """One answer is enough; what comes after it waits, also what met the fault and tries again."""
    desk = Desk()
    await answered(desk, Proof.OUR_FAULT, "a")
    desk.preparation.start([(ticket("a"), create("a")), (ticket("o"), create("o", "other"))], [])
    desk.launch.start([], [(ticket("l"), "default/check")])
    await settle()
    assert [*desk.provider.open] == ["o"]
    assert desk.facts() == []
    assert [(one.workflow, one.reason, one.fingerprint) for one in desk.published] == [
        ("check", PauseReason.FAULT, "ours")
    ]
    assert desk.told.pauses == ["check fault"]
    backlog = desk.dispatcher.backlog()
    assert (backlog.waiting_held, [one.workflow for one in backlog.paused]) == (2, ["check"])
    await desk.close()


async def test_a_resume_lets_everything_go_on() -> None:
    """Mended, the backlog goes on, in order."""
    desk = Desk()
    desk.dispatcher.heard("check", PAUSED)
    desk.preparation.start([(ticket(name), create(name)) for name in "abc"], [])
    await settle()
    assert desk.provider.made == []
    desk.dispatcher.heard("check", PAUSED.resumed(1))
    await settle()
    assert [*desk.provider.open] == ["a", "b", "c"]
    assert desk.told.pauses == ["check fault", "check resumed"]
    await desk.close()


async def test_a_fault_met_by_a_call_from_before_the_resume_pauses_nothing() -> None:
    """Its answer is old news, and it is not sent to others either."""
    desk = Desk()
    desk.preparation.start([(ticket("a"), create("a")), (ticket("b"), create("b"))], [])
    await settle()
    desk.provider.answer("a", Proof.OUR_FAULT)
    await settle()
    desk.dispatcher.heard("check", PAUSED.resumed(1))
    await settle()
    desk.provider.answer("b", Proof.OUR_FAULT)
    await settle()
    assert (len(desk.published), desk.dispatcher.backlog().paused) == (1, ())
    await desk.close()


async def test_reads_of_running_workflows_go_on_while_nothing_is_started() -> None:
    """A wrong definition must not delay results of what runs; a read that meets the fault itself stops the reads."""
    desk = Desk()
    await answered(desk, Proof.OUR_FAULT, "a")
    desk.completion.start([(ticket("r"), status("r"))], [])
    await settle()
    desk.provider.answer("r", Proof.OUR_FAULT)
    await settle()
    desk.completion.start([(ticket("r"), status("r")), (ticket("f"), status("f", workflow=None))], [])
    await settle()
    assert [*desk.provider.open] == ["f"]
    assert [one.holds_reads for one in desk.published] == [False, True]
    await desk.close()


async def test_many_refusals_in_a_row_pause_the_workflow_and_excuse_the_requests() -> None:
    """It cannot be the fault of every one of them; what is refused while paused is excused as well."""
    desk = Desk(refusals=3)
    desk.preparation.start([(ticket(name), create(name)) for name in "abcd"], [])
    await settle()
    for name in "ab":
        desk.provider.answer(name, Proof.REFUSED)
    await settle()
    desk.preparation.start([(ticket(name), judge(name)) for name in "ab"], [])
    await settle()
    assert verdicts(desk) == {}
    for name in "cd":
        desk.provider.answer(name, Proof.REFUSED)
    await settle()
    assert verdicts(desk) == {"a": True, "b": True}
    desk.preparation.start([(ticket(name), judge(name)) for name in "cd"], [])
    await settle()
    assert verdicts(desk) == {"c": True, "d": True}
    assert [one.reason for one in desk.published] == [PauseReason.REFUSALS]
    await desk.close()


async def test_what_is_refused_under_a_pause_or_by_a_call_from_before_a_resume_does_not_count() -> None:
    """Mended, the workflow is not paused again for answers that were on their way; their requests are excused."""
    desk = Desk(refusals=2)
    desk.preparation.start([(ticket(name), create(name)) for name in "abc"], [])
    await settle()
    desk.dispatcher.heard("check", PAUSED)
    await settle()
    desk.provider.answer("a", Proof.REFUSED)
    await settle()
    desk.dispatcher.heard("check", PAUSED.resumed(1))
    await settle()
    desk.provider.answer("b", Proof.REFUSED)
    await settle()
    desk.facts()
    await answered(desk, Proof.REFUSED, "d")
    desk.provider.answer("c", Proof.OUR_FAULT)
    await settle()
    desk.preparation.start([(ticket(name), judge(name)) for name in "abd"], [])
    await settle()
    assert (verdicts(desk), desk.published) == ({"a": True, "b": True}, [])
    await desk.close()


async def test_a_refusal_judged_twice_for_a_key_has_one_verdict() -> None:
    """The older question is dropped, and said so."""
    desk = Desk()
    await answered(desk, Proof.REFUSED, "a")
    for _ in range(2):
        desk.preparation.start([(ticket("a"), judge("a"))], [])
    await settle()
    assert desk.facts() == [("a", None)]
    await answered_well(desk)
    assert verdicts(desk) == {"a": False}
    await desk.close()


async def test_a_success_makes_refusals_genuine() -> None:
    """Whether the verdict is asked for before it or after."""
    desk = Desk()
    await answered(desk, Proof.REFUSED, "a", "b")
    desk.preparation.start([(ticket("a"), judge("a"))], [])
    await settle()
    await answered_well(desk)
    desk.preparation.start([(ticket("b"), judge("b"))], [])
    await settle()
    assert verdicts(desk) == {"a": False, "b": False}
    await desk.close()


async def test_silence_makes_a_refusal_genuine() -> None:
    """The sweep tells it, some seconds after the last refusal."""
    desk = Desk()
    await answered(desk, Proof.REFUSED, "a")
    desk.preparation.start([(ticket("a"), judge("a"))], [])
    await settle()
    desk.now = QUIET_MS
    desk.dispatcher.sweep()
    assert verdicts(desk) == {"a": False}
    await desk.close()


async def test_a_pause_of_others_excuses_our_suspects() -> None:
    """Whoever sends the same and met the fault speaks for us too."""
    desk = Desk()
    await answered(desk, Proof.REFUSED, "a")
    desk.preparation.start([(ticket("a"), judge("a"))], [])
    desk.dispatcher.heard("check", PAUSED)
    await settle()
    assert verdicts(desk) == {"a": True}
    await desk.close()


async def test_an_operators_pause_says_nothing_about_refusals() -> None:
    """It stops new calls; what was refused is judged as ever."""
    desk = Desk()
    desk.preparation.start([(ticket("a"), create("a"))], [])
    await settle()
    desk.dispatcher.heard("check", OPERATOR)
    desk.provider.answer("a", Proof.REFUSED)
    await settle()
    desk.facts()
    desk.preparation.start([(ticket("a"), judge("a"))], [])
    await settle()
    assert verdicts(desk) == {}
    desk.now = QUIET_MS
    desk.dispatcher.sweep()
    assert verdicts(desk) == {"a": False}
    await desk.close()


async def test_suspects_of_a_former_owner_count_as_well() -> None:
    """After a restart in the middle of a fault the questions alone show it."""
    desk = Desk(refusals=3)
    desk.launch.start([(ticket(name), judge(name, Operation.RUN)) for name in "abc"], [])
    await settle()
    assert verdicts(desk) == {"a": True, "b": True, "c": True}
    assert [one.reason for one in desk.published] == [PauseReason.REFUSALS]
    await desk.close()


async def test_a_question_of_a_partition_that_is_given_up_is_dropped() -> None:
    """Its next owner asks again."""
    desk = Desk()
    desk.preparation.start([(ticket("a"), judge("a"))], [])
    desk.preparation.forget(FIRST)
    await settle()
    assert desk.facts() == [("a", None)]
    desk.now = QUIET_MS
    desk.dispatcher.sweep()
    assert desk.facts() == []
    await desk.close()


async def test_runs_are_watched_like_creations() -> None:
    """A refused run is suspect too, apart from refused creations."""
    desk = Desk(refusals=2)
    await answered(desk, Proof.REFUSED, "a")
    desk.launch.start([], [(ticket("l"), "default/check")])
    await settle()
    desk.facts()
    desk.launch.start([(ticket("l"), run("l"))], [])
    await settle()
    desk.provider.answer("l", Proof.REFUSED)
    await settle()
    assert desk.published == []
    await desk.close()


@pytest.mark.parametrize("proof", [Proof.UNKNOWN, Proof.NOT_SENT, Proof.WAIT])
async def test_what_proves_nothing_ends_no_row(proof: Proof) -> None:
    """Only a success says that refusals are genuine, only refusals make a row."""
    desk = Desk(refusals=2)
    await answered(desk, Proof.REFUSED, "a")
    await answered(desk, proof, "b", "c", "d")
    assert desk.published == []
    await answered(desk, Proof.REFUSED, "e")
    assert len(desk.published) == 1
    await desk.close()


async def test_an_old_word_in_the_topic_is_answered_with_what_is_known() -> None:
    """But not while the topic is first read: then it is history."""
    desk = Desk(is_open=False)
    resumed = PAUSED.resumed(1)
    for standing in (resumed, PAUSED):
        desk.dispatcher.heard("check", standing)
    await settle()
    assert desk.published == []
    desk.dispatcher.open()
    desk.dispatcher.heard("check", replace(PAUSED, at=9))
    await settle()
    assert desk.published == [resumed]
    await desk.close()


async def test_a_provider_that_is_away_is_probed_although_nothing_waits() -> None:
    """Nothing is taken in while it is away, so nothing would ever wait, and nobody would notice that it is back."""
    desk = Desk()
    desk.provider.is_away = True
    await settle()
    before = desk.provider.is_waited_for
    desk.dispatcher.sweep()
    await settle()
    assert (before, desk.provider.is_waited_for) == (False, True)
    await desk.close()
