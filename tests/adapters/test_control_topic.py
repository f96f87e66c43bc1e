"""The control topic: read whole, followed, spoken on; a broker that is away changes nothing of what is known."""

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest

from processor.adapters.acked_producer import AckedProducer
from processor.adapters.control_topic import (
    ControlTopic,
    decode_standing,
    encode_standing,
    read_standings,
    resume,
    set_pause,
)
from processor.adapters.pauses import PauseReason, Standing
from processor.errors import BrokerUnavailable, UndecodableMessage
from processor.kafka_config import Config, reader_config
from processor.settings import KafkaSettings, Settings
from tests.support.broker import RunningBroker
from tests.support.topics import make_topic

PAUSED = Standing("check", 3, is_paused=True, at=5, reason=PauseReason.FAULT, fingerprint="ours", why="run: 403")
NOBODY = "127.0.0.1:1"
WAIT_S = 20.0


@pytest.mark.parametrize(
    "standing",
    [
        PAUSED,
        replace(PAUSED, holds_reads=True, reason=PauseReason.REFUSALS),
        Standing("check", 0, is_paused=True, at=1, reason=PauseReason.OPERATOR),
        PAUSED.resumed(9),
    ],
    ids=lambda standing: str(standing.reason),
)
def test_what_is_written_is_what_is_read(standing: Standing) -> None:
    """Every standing survives its way through the topic."""
    assert decode_standing("check", encode_standing(standing)) == standing


@pytest.mark.parametrize(
    "value,reason",
    [
        (b"", "malformed"),
        (b"\xff", "malformed"),
        (b"[]", "malformed"),
        (b"{}", "malformed"),
        (b'{"version":1}', "malformed"),
        (b'{"version":1,"generation":"x","paused":true,"at":1}', "malformed"),
        (b'{"version":1,"generation":0,"paused":true,"at":1,"reason":"new word"}', "malformed"),
        (b'{"version":2,"generation":0,"paused":true,"at":1}', "version"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_closed_word(value: bytes, reason: str) -> None:
    """Also a version of the future, which only a newer build understands."""
    with pytest.raises(UndecodableMessage) as refused:
        decode_standing("check", value)
    assert refused.value.reason == reason


def config(address: str) -> Config:
    settings = Settings(kafka=KafkaSettings(bootstrap_servers=address, properties={"log_level": "0"}))
    return reader_config(settings, "control")


@contextmanager
def producing(address: str) -> Iterator[AckedProducer]:
    producer = AckedProducer({"bootstrap.servers": address, "log_level": 0}, send_timeout_s=5.0)
    try:
        yield producer
    finally:
        producer.close(1.0)


@dataclass
class Heard:
    """What a follower heard, in order; "read" is the end of what stood there at its start."""

    events: "queue.Queue[tuple[str, Standing | None] | str]" = field(default_factory=queue.Queue)

    def take(self, count: int) -> list[tuple[str, Standing | None] | str]:
        return [self.events.get(timeout=WAIT_S) for _ in range(count)]

    def until(self, event: tuple[str, Standing | None] | str) -> list[tuple[str, Standing | None] | str]:
        """Return what was heard before this."""
        before = []
        while (heard := self.events.get(timeout=WAIT_S)) != event:
            before.append(heard)
        return before


@contextmanager
def following(address: str, topic: str, producer: AckedProducer) -> Iterator[tuple[ControlTopic, Heard]]:
    heard = Heard()
    control = ControlTopic(
        topic,
        config(address),
        producer,
        heard=lambda workflow, standing: heard.events.put((workflow, standing)),
        on_read=lambda: heard.events.put("read"),
        alarm=lambda why: heard.events.put(f"alarm {why}"),
    )
    control.start()
    try:
        yield control, heard
    finally:
        control.close()


@pytest.mark.broker
def test_the_topic_is_read_whole_and_then_followed(bootstrap_servers: str, topic_prefix: str) -> None:
    """Of what stood there the last word on each workflow counts; afterwards every word does."""
    topic = make_topic(bootstrap_servers, f"{topic_prefix}control", 3, cleanup_policy="compact")
    with producing(bootstrap_servers) as producer:
        set_pause(producer, topic, {}, "a", why="maintenance", now=1)
        paused = set_pause(producer, topic, {}, "b", why="maintenance", now=2)
        known = read_standings(topic, config(bootstrap_servers))
        assert known["b"] == paused
        resumed = resume(producer, topic, known, "a", now=3)
        with following(bootstrap_servers, topic, producer) as (control, heard):
            assert sorted(map(str, heard.take(2))) == sorted(map(str, [("a", resumed), ("b", paused)]))
            assert (heard.take(1), control.is_read) == (["read"], True)
            control.publish(PAUSED)
            assert heard.take(1) == [("check", PAUSED)]
            producer.send_now(topic, b"b", None)
            assert heard.take(1) == [("b", None)]
        assert read_standings(topic, config(bootstrap_servers)) == {"a": resumed, "check": PAUSED}


@pytest.mark.broker
def test_what_cannot_be_read_is_left_and_said(bootstrap_servers: str, topic_prefix: str) -> None:
    """A record of a newer build stops nobody; what comes behind it is heard."""
    topic = make_topic(bootstrap_servers, f"{topic_prefix}control", 1, cleanup_policy="compact")
    with producing(bootstrap_servers) as producer, following(bootstrap_servers, topic, producer) as (control, heard):
        assert heard.take(1) == ["read"]
        producer.send_now(topic, b"check", b'{"version":2}')
        producer.send_now(topic, b"\xff", b"{}")
        control.publish(PAUSED)
        assert heard.take(3) == ["alarm version", "alarm malformed", ("check", PAUSED)]
        assert read_standings(topic, config(bootstrap_servers)) == {"check": PAUSED}


@pytest.mark.broker
def test_an_outage_of_the_broker_loses_no_word(broker: RunningBroker, topic_prefix: str) -> None:
    """What was to be said meanwhile is said when the broker is back, and nothing is heard twice."""
    address = broker.bootstrap_servers
    topic = make_topic(address, f"{topic_prefix}control", 2, cleanup_policy="compact")
    with producing(address) as producer, following(address, topic, producer) as (control, heard):
        control.publish(PAUSED)
        assert sorted(map(str, heard.take(2))) == sorted(["read", str(("check", PAUSED))])
        broker.stop()
        resumed = PAUSED.resumed(7)
        control.publish(PAUSED)
        control.publish(resumed)
        before = heard.until("alarm BrokerUnavailable")
        broker.start()
        before += heard.until(("check", resumed))
        assert ("check", PAUSED) not in before
        assert read_standings(topic, config(address)) == {"check": resumed}


@pytest.mark.broker
def test_a_topic_that_comes_late_is_waited_for(bootstrap_servers: str, topic_prefix: str) -> None:
    """Started before `topics create`, the process says what is missing and goes on when it is there."""
    topic = f"{topic_prefix}late"
    with producing(bootstrap_servers) as producer, following(bootstrap_servers, topic, producer) as (control, heard):
        assert heard.take(1) == ["alarm UNKNOWN_TOPIC_OR_PART"]
        assert not control.is_read
        make_topic(bootstrap_servers, topic, 1, cleanup_policy="compact")
        heard.until("read")


def test_commands_say_that_the_broker_does_not_answer() -> None:
    """Within their time, and in one sentence."""
    with pytest.raises(BrokerUnavailable, match=r"control.* cannot be read|control.* could not be read"):
        read_standings("onboarding.control", config(NOBODY), timeout_s=0.1)
