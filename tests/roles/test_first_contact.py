"""Readiness of an ingestor that has not found its broker yet."""

import asyncio
from collections.abc import Iterator
from threading import Event

import structlog

from processor.core.catalogue import Catalogue
from processor.errors import BrokerUnavailable
from processor.roles.first_contact import FirstContact
from processor.roles.process import Process, Role
from processor.settings import Settings
from tests.support.waiting import eventually

AWAY = "Kafka does not answer: _TRANSPORT"


class Broker:
    """Answers as it is told, one word for each question; None is found."""

    def __init__(self, answers: Iterator[str | None]) -> None:
        self.asked = 0
        self._answers = answers

    def find(self) -> None:
        self.asked += 1
        if (why := next(self._answers)) is not None:
            raise BrokerUnavailable(why)


async def until(contact: FirstContact, told: list[str]) -> None:
    """Wait until readiness says this."""
    await eventually(lambda: [*contact.unready()] == told)


async def test_who_has_not_found_its_broker_is_not_ready() -> None:
    """The reason stands on readiness and once in the log; when it is found it stays found, and is asked no more."""
    broker = Broker(iter([AWAY, AWAY, "topic gone", None]))
    contact = FirstContact(broker.find, retry_s=0.01)
    assert [*contact.unready()] == ["webhooks: the broker was not asked yet"]
    with structlog.testing.capture_logs() as lines:
        contact.start()
        await until(contact, [f"webhooks: {AWAY}"])
        await until(contact, [])
    assert [(line["event"], str(line["exc_info"])) for line in lines] == [
        ("process.waiting", AWAY),
        ("process.waiting", "topic gone"),
    ]
    await asyncio.sleep(0.03)
    assert (broker.asked, [*contact.unready()]) == (4, [])
    await contact.stop()


async def test_a_stop_does_not_wait_for_the_broker() -> None:
    """Also while it is asked for: the broker answers after the stop only."""
    is_asked, may_answer, has_answered = Event(), Event(), Event()

    def find() -> None:
        is_asked.set()
        may_answer.wait(10)
        has_answered.set()

    contact = FirstContact(find)
    contact.start()
    assert await asyncio.to_thread(is_asked.wait, 10)
    await contact.stop()
    assert not has_answered.is_set()
    may_answer.set()


async def test_an_ingestor_without_a_broker_says_so_and_holds_no_calls() -> None:
    """It listens and answers 503, so that nobody may send it webhooks; it calls nobody."""
    away = {"bootstrap_servers": "127.0.0.1:1", "operation_timeout_s": 0.1}
    settings = Settings.model_validate(
        {
            "kafka": away,
            "api": {"base_url": "http://127.0.0.1:1"},
            "webhook": {"host": "127.0.0.1", "port": 0, "ack_timeout_s": 0.1},
            "ops": {"host": "127.0.0.1", "port": 0},
        }
    )
    process = Process(settings, Catalogue({}), [Role.INGESTOR], on_crash=lambda: None)
    await process.start()
    await eventually(lambda: str([*process.unready()]).startswith(f"['webhooks: {AWAY}"))
    assert process.holding() == {}
    await process.stop()
