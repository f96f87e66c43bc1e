"""An awaited send: done means that the broker has it; anything else is said within the time-out."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import KafkaError, KafkaException

from processor.adapters.acked_producer import RENEW_S, AckedProducer, ConfigValue
from processor.errors import BrokerUnavailable
from tests.adapters.fake_producer import FakeProducer
from tests.support.broker import RunningBroker
from tests.support.reading import all_records
from tests.support.topics import make_topic

NOBODY = "127.0.0.1:1"
GIVEN_UP = KafkaException(KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED))


@contextmanager
def _producer(address: str, send_timeout_s: float = 2.0, in_flight_max: int = 100) -> Iterator[AckedProducer]:
    producer = AckedProducer({"bootstrap.servers": address}, send_timeout_s=send_timeout_s, in_flight_max=in_flight_max)
    try:
        yield producer
    finally:
        producer.close(0.0 if address == NOBODY else 5.0)


async def test_a_send_without_a_broker_ends_in_time() -> None:
    """Nobody listens: the caller hears it after the time-out, from the loop and from a thread alike."""
    with _producer(NOBODY, send_timeout_s=0.1) as producer:
        sends: list[Callable[[], Awaitable[None]]] = [
            lambda: producer.send("webhooks", b"key", b"value"),
            lambda: asyncio.to_thread(producer.send_now, "webhooks", b"key", b"value"),
        ]
        for send in sends:
            began_at_s = time.monotonic()
            with pytest.raises(BrokerUnavailable, match="webhooks"):
                await send()
            assert 0.09 < time.monotonic() - began_at_s < 1.0


async def test_what_waits_for_the_broker_is_bounded() -> None:
    """One record too many is refused at once, so that memory cannot grow while the broker is away."""
    with _producer(NOBODY, send_timeout_s=0.15, in_flight_max=2) as producer:
        waiting = [asyncio.create_task(producer.send("webhooks", None, b"value")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(BrokerUnavailable, match="too many"):
            await producer.send("webhooks", None, b"value")
        assert producer.in_flight == 2
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(end) for end in ends] == [BrokerUnavailable] * 2


async def test_a_closed_producer_takes_nothing() -> None:
    """After close a send fails at once; what was never confirmed is counted."""
    with _producer(NOBODY, send_timeout_s=0.1) as producer:
        with pytest.raises(BrokerUnavailable):
            await producer.send("webhooks", None, b"value")
        assert producer.close(0.0) <= 1
        with pytest.raises(BrokerUnavailable, match="closed"):
            await producer.send("webhooks", None, b"value")


def test_no_property_weakens_the_acknowledgement() -> None:
    """Settings pass through, but acks, idempotence and partitioner are ours."""
    seen: dict[str, ConfigValue] = {}

    def make(config: dict[str, ConfigValue]) -> FakeProducer:
        seen.update(config)
        return FakeProducer()

    weak: dict[str, ConfigValue] = {
        "acks": 0,
        "enable.idempotence": False,
        "partitioner": "random",
        "client.id": "ingestor",
    }
    AckedProducer(weak, make_producer=make).close(0.0)
    assert (seen["acks"], seen["enable.idempotence"], seen["partitioner"]) == ("all", True, "murmur2_random")
    assert (seen["client.id"], seen["delivery.timeout.ms"]) == ("ingestor", 2_000)


def test_a_broker_that_is_not_there_is_not_found() -> None:
    """Nobody listens: whoever asks for a topic hears it after the time-out."""
    with _producer(NOBODY) as producer, pytest.raises(BrokerUnavailable, match="does not answer: _TRANSPORT"):
        producer.find("webhooks", 0.05)


@pytest.mark.parametrize(
    "fake",
    [
        FakeProducer(error=KafkaError(KafkaError._MSG_TIMED_OUT)),  # noqa: SLF001 - the library's name for it.
        FakeProducer(error=KafkaError(KafkaError.NOT_ENOUGH_REPLICAS)),
        FakeProducer(error=KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)),
        FakeProducer(refusal=BufferError("full")),
        FakeProducer(refusal=KafkaException(KafkaError(KafkaError._QUEUE_FULL))),  # noqa: SLF001 - as above.
    ],
)
async def test_every_failure_is_told_and_frees_its_slot(fake: FakeProducer) -> None:
    """Whatever the broker or the client says, the caller hears "unavailable" and nothing is left counted."""
    producer = AckedProducer({}, in_flight_max=1, make_producer=lambda _: fake)
    for _ in range(3):
        with pytest.raises(BrokerUnavailable, match="webhooks"):
            await producer.send("webhooks", b"key", b"value")
    assert producer.in_flight == 0
    producer.close(0.0)


@pytest.mark.parametrize("is_refused", [False, True])
async def test_a_fatal_error_costs_a_producer_not_the_process(is_refused: bool) -> None:  # noqa: FBT001 - a column.
    """After a fatal error the next sends go through a new producer; the old one is flushed and left."""
    fatal = KafkaError(KafkaError._FATAL)  # noqa: SLF001 - the library's name for it.
    broken = FakeProducer(refusal=KafkaException(fatal)) if is_refused else FakeProducer(error=fatal)
    made = iter([broken, FakeProducer()])
    producer = AckedProducer({}, make_producer=lambda _: next(made))
    with pytest.raises(BrokerUnavailable, match="_FATAL"):
        await producer.send("webhooks", b"key", b"value")
    assert await asyncio.to_thread(broken.was_flushed.wait, 2.0)
    await producer.send("webhooks", b"key", b"value")
    assert producer.in_flight == 0
    producer.close(0.0)


async def test_a_producer_that_gives_up_by_itself_is_replaced_too() -> None:
    """It raises that out of a poll, whatever is being sent; the thread that polls goes on with a new one."""
    broken, whole = FakeProducer(gives_up=GIVEN_UP), FakeProducer()
    made = iter([broken, whole])
    producer = AckedProducer({}, make_producer=lambda _: next(made))
    assert await asyncio.to_thread(broken.was_flushed.wait, 2.0)
    await producer.send("webhooks", b"key", b"value")
    assert len(whole.records) == 1
    producer.close(0.0)


def test_producers_that_give_up_as_they_begin_are_not_made_over_and_over() -> None:
    """Who lacks a right is refused each time: one a second asks whether it was granted."""
    made_at_s: list[float] = []
    are_three = threading.Event()

    def make(_: dict[str, ConfigValue]) -> FakeProducer:
        made_at_s.append(time.monotonic())
        if len(made_at_s) == 3:
            are_three.set()
        return FakeProducer(gives_up=GIVEN_UP)

    producer = AckedProducer({}, make_producer=make)
    assert are_three.wait(10)
    producer.close(0.0)
    assert made_at_s[2] - made_at_s[1] >= RENEW_S


def test_a_report_after_its_loop_is_gone_harms_nobody() -> None:
    """A caller whose event loop has ended is past telling; the thread that serves the reports goes on."""
    fake = FakeProducer(is_held=True)
    producer = AckedProducer({}, send_timeout_s=0.5, make_producer=lambda _: fake)
    with pytest.raises(BrokerUnavailable):
        asyncio.run(producer.send("webhooks", b"key", b"value"))
    fake.is_held = False
    producer.send_now("webhooks", b"key", b"value")
    assert producer.in_flight == 0
    assert fake.records == [("webhooks", b"key", b"value", {})] * 2
    producer.close(0.0)


# --- on a real broker --------------------------------------------------------------------------------------------


@pytest.mark.broker
async def test_a_send_that_returns_is_on_the_broker(bootstrap_servers: str, topic_prefix: str) -> None:
    """Key, value and headers are there as soon as the call returns, many at once, all of one key in one place."""
    topic = make_topic(bootstrap_servers, f"{topic_prefix}acked", partitions=4)
    with _producer(bootstrap_servers, send_timeout_s=10.0, in_flight_max=500) as producer:
        sends = [
            producer.send(topic, b"key-%d" % (number % 7), b"value-%d" % number, [("ce_id", b"%d" % number)])
            for number in range(300)
        ]
        await asyncio.gather(*sends)
        await asyncio.to_thread(producer.send_now, topic, b"key-0", b"from a thread")
        await producer.send(topic, b"key-0", b"placed", partition=3)
    records = all_records(bootstrap_servers, topic)
    assert len(records) == 302
    by_value = {record.value: record for record in records}
    assert by_value[b"value-8"].headers == {"ce_id": b"8"}
    assert by_value[b"placed"].partition == 3
    places = {(record.key, record.partition) for record in records if record.value != b"placed"}
    assert len(places) == 7


@pytest.mark.broker
async def test_keys_lie_where_java_puts_them(bootstrap_servers: str, topic_prefix: str) -> None:
    """The partition of a key is Java's: murmur2 of its bytes, positive, modulo the number of partitions."""
    topic = make_topic(bootstrap_servers, f"{topic_prefix}murmur", partitions=12)
    keys = [f"9e8d7c6b-0000-4000-8000-{number:012x}".encode() for number in range(40)]
    with _producer(bootstrap_servers, send_timeout_s=10.0) as producer:
        await asyncio.gather(*(producer.send(topic, key, b"") for key in keys))
    found = {record.key: record.partition for record in all_records(bootstrap_servers, topic)}
    assert found == {key: (_murmur2(key) & 0x7FFF_FFFF) % 12 for key in keys}


@pytest.mark.broker
async def test_a_topic_is_found_on_its_broker(bootstrap_servers: str, topic_prefix: str) -> None:
    """One that is there is found, one that is missing is named."""
    topic = make_topic(bootstrap_servers, f"{topic_prefix}found")
    with _producer(bootstrap_servers) as producer:
        await asyncio.to_thread(producer.find, topic, 5.0)
        with pytest.raises(BrokerUnavailable, match="missing cannot be written: UNKNOWN_TOPIC_OR_PART"):
            await asyncio.to_thread(producer.find, f"{topic_prefix}missing", 5.0)


@pytest.mark.broker
async def test_a_refused_record_is_told(bootstrap_servers: str, topic_prefix: str) -> None:
    """A topic that does not exist, and a record above the broker's limit, end in an error within the time-out."""
    small = make_topic(bootstrap_servers, f"{topic_prefix}small", max_message_bytes="1000")
    with _producer(bootstrap_servers, send_timeout_s=2.0) as producer:
        with pytest.raises(BrokerUnavailable, match="MSG_SIZE_TOO_LARGE"):
            await producer.send(small, None, b"x" * 2_000)
        with pytest.raises(BrokerUnavailable):
            await producer.send(f"{topic_prefix}missing", None, b"value")
        await producer.send(small, None, b"small enough")


@pytest.mark.broker
async def test_a_frozen_broker_is_told_in_time_and_then_forgotten(broker: RunningBroker, topic_prefix: str) -> None:
    """While the broker does not answer, each send ends in its time-out; when it is back, sends work again."""
    topic = make_topic(broker.bootstrap_servers, f"{topic_prefix}frozen")
    with _producer(broker.bootstrap_servers, send_timeout_s=0.5) as producer:
        async with asyncio.timeout(10):
            while not await _is_sent(producer, topic):
                pass
        broker.suspend()
        try:
            began_at_s = time.monotonic()
            assert not await _is_sent(producer, topic)
            assert time.monotonic() - began_at_s < 1.0
        finally:
            broker.resume()
        async with asyncio.timeout(15):
            while not await _is_sent(producer, topic):
                pass


async def _is_sent(producer: AckedProducer, topic: str) -> bool:
    try:
        await producer.send(topic, b"key", b"value")
    except BrokerUnavailable:
        return False
    return True


def _murmur2(data: bytes) -> int:
    """Hash as `org.apache.kafka.common.utils.Utils.murmur2` documents it, written anew for this test."""
    m, mask = 0x5BD1E995, 0xFFFF_FFFF
    h = 0x9747B28C ^ len(data)
    whole = len(data) - len(data) % 4
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & mask
        h = (h * m & mask) ^ ((k ^ k >> 24) * m & mask)
    if len(data) % 4:
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15
