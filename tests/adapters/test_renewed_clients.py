"""Clients that are replaced while they are used: what began with the old one ends with it, what begins uses the new."""

import asyncio
import threading
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from processor.adapters.acked_producer import AckedProducer, ConfigValue
from processor.adapters.pauses import PauseReason, Pauses, Standing
from processor.core.proof import Proof
from tests.adapters.calling_desk import Desk, FakeProvider, create, settle, ticket
from tests.adapters.fake_producer import FakeProducer
from tests.support.waiting import eventually

FAULT = Standing("check", 0, is_paused=True, at=0, reason=PauseReason.FAULT, fingerprint="ours", why="run: 403")
OPERATOR = Standing("other", 0, is_paused=True, at=0, reason=PauseReason.OPERATOR, why="maintenance")
MENDED = {"check": "mended", "other": "mended too"}


async def asked(desk: Desk, *names: str) -> None:
    """Ask for a record for each name."""
    desk.preparation.start([(ticket(name), create(name)) for name in names], [])
    await settle()


async def test_open_calls_end_with_the_provider_that_they_began_with() -> None:
    """A call that begins after the change goes to the new one."""
    desk, new = Desk(), FakeProvider()
    await asked(desk, "a")
    desk.dispatcher.renew(new, MENDED)
    await asked(desk, "b")
    assert ([*desk.provider.open], [*new.open]) == (["a"], ["b"])
    desk.provider.answer("a")
    new.answer("b")
    await settle()
    assert desk.proofs() == {"a": Proof.DONE, "b": Proof.DONE}
    await desk.close()


async def test_a_fault_of_what_was_replaced_pauses_nothing() -> None:
    """Its token was revoked, and nobody sends it any more."""
    desk, new = Desk(), FakeProvider()
    await asked(desk, "a")
    desk.dispatcher.renew(new, MENDED)
    desk.provider.answer("a", Proof.OUR_FAULT)
    await settle()
    assert (desk.proofs(), desk.published) == ({"a": Proof.OUR_FAULT}, [])
    await asked(desk, "a")
    assert [*new.open] == ["a"]
    await desk.close()


async def test_who_is_somebody_else_now_is_not_held_by_the_fault_of_before() -> None:
    """What waited begins at once; the pause of an operator holds on."""
    desk, new = Desk(), FakeProvider()
    for standing in (FAULT, OPERATOR):
        desk.dispatcher.heard(standing.workflow, standing)
    await asked(desk, "a")
    desk.dispatcher.renew(new, MENDED)
    await settle()
    assert [*new.open] == ["a"]
    assert desk.told.pauses == ["check fault", "other operator", "check resumed"]
    assert [one.workflow for one in desk.dispatcher.backlog().paused] == ["other"]
    await desk.close()


async def test_what_waits_for_a_token_of_the_old_provider_uses_that_of_the_new() -> None:
    """The old one may never have one again; the new one may not have one yet."""
    desk, new = Desk(), FakeProvider()
    desk.provider.has_token = new.has_token = False
    await asked(desk, "a")
    assert desk.provider.is_waited_for
    desk.dispatcher.renew(new, MENDED)
    await settle()
    desk.dispatcher.sweep()
    await settle()
    assert new.is_waited_for
    new.renew()
    await settle()
    assert [*new.open] == ["a"]
    await desk.close()


class AwayProvider(FakeProvider):
    """Is away, and counts how often it is begun to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away, self.waits = True, 0

    async def ready(self) -> None:
        self.waits += 1
        await super().ready()


async def swept(desk: Desk) -> None:
    """Let two seconds pass."""
    for _ in range(2):
        desk.dispatcher.sweep()
        await settle()


async def test_a_provider_that_is_away_is_waited_for_by_one_also_when_it_was_just_replaced() -> None:
    """Also in the very turn of the loop in which the old one was to be waited for; else calls were held for ever."""
    desk, one, other = Desk(), AwayProvider(), AwayProvider()
    desk.provider.is_away = True
    await settle()
    desk.dispatcher.sweep()
    desk.dispatcher.renew(one, MENDED)
    await swept(desk)
    desk.dispatcher.renew(other, MENDED)
    await swept(desk)
    assert (desk.provider.is_waited_for, one.waits, other.waits) == (False, 1, 1)
    await desk.close()


def test_a_fault_met_as_somebody_else_is_told_with_the_new_fingerprint() -> None:
    """So it holds those who are mended as well, and nobody who is not."""
    pauses = Pauses({"check": "ours"})
    pauses.renew(MENDED)
    met = pauses.met(Standing("check", 0, is_paused=True, at=0, reason=PauseReason.FAULT, why="run: 403"))
    assert met is not None
    assert met.fingerprint == "mended"


async def test_records_on_their_way_are_confirmed_by_the_producer_that_took_them() -> None:
    """Whoever awaits one hears of it; what is sent afterwards goes out with the new configuration."""
    made: list[FakeProducer] = []

    def make(config: dict[str, ConfigValue]) -> FakeProducer:
        made.append(FakeProducer(config, is_held=True))
        return made[-1]

    producer = AckedProducer({"sasl.password": "old"}, make_producer=make)
    before = asyncio.create_task(producer.send("webhooks", None, b"before"))
    await settle()
    producer.renew({"sasl.password": "new"})
    await before
    after = asyncio.create_task(producer.send("webhooks", None, b"after"))
    await settle()
    producer.close(0.0)
    await after
    sent = [(one.config["sasl.password"], [value for _, _, value, _ in one.records]) for one in made]
    assert sent == [("old", [b"before"]), ("new", [b"after"])]
    assert made[1].config["acks"] == "all"


class SlowProducer(FakeProducer):
    """Takes its time over a record; whoever flushes it meanwhile finds nothing."""

    def __init__(self, config: dict[str, ConfigValue]) -> None:
        super().__init__(config, is_held=True)
        self.is_asked = threading.Event()

    def produce(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # as its base has them
        self.is_asked.set()
        self.was_flushed.wait(0.2)
        super().produce(*args, **kwargs)


async def test_what_is_being_handed_to_a_producer_while_it_is_replaced_is_confirmed() -> None:
    """It is replaced before or after, never in between: its last report would be served by nobody."""
    made: list[SlowProducer] = []

    def make(config: dict[str, ConfigValue]) -> SlowProducer:
        made.append(SlowProducer(config))
        return made[-1]

    producer = AckedProducer({}, send_timeout_s=1.0, make_producer=make)
    sending = asyncio.create_task(asyncio.to_thread(producer.send_now, "webhooks", None, b"value"))
    assert await asyncio.to_thread(made[0].is_asked.wait, 2.0)
    producer.renew({})
    await sending
    assert (producer.in_flight, len(made)) == (0, 2)
    producer.close(0.0)


async def test_a_producer_that_cannot_be_made_is_tried_again_and_the_old_one_serves() -> None:
    """A certificate file is half written just then; nobody who sends notices."""
    made: list[FakeProducer] = []
    tries = iter([None, KafkaException(KafkaError(KafkaError._INVALID_ARG)), None])  # noqa: SLF001 - public by use.

    def make(config: dict[str, ConfigValue]) -> FakeProducer:
        if (failure := next(tries)) is not None:
            raise failure
        made.append(FakeProducer(config, is_held=True))
        return made[-1]

    producer = AckedProducer({}, make_producer=make)
    producer.renew({})
    await eventually(lambda: len(made) == 2)
    producer.close(0.0)
    assert next(tries, "none left") == "none left"
