"""A plain idempotent producer whose sends can be awaited: done means that the broker has the record.

For what needs no transaction: webhooks, and what calls proved about partitions that are gone. A send that timed
out may still arrive; whoever reads the topic must not mind.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from processor.adapters.kafka_trouble import Trouble
from processor.errors import BrokerUnavailable

Headers: TypeAlias = Sequence[tuple[str, bytes]]
ConfigValue: TypeAlias = str | int | float | bool | None

# No property passed through from outside may weaken these.
FIXED: Final[Mapping[str, ConfigValue]] = {
    "acks": "all",
    "enable.idempotence": True,
    "partitioner": "murmur2_random",  # As Java: one key, one partition, whoever writes.
}
DEFAULTS: Final[Mapping[str, ConfigValue]] = {
    "linger.ms": 1,  # Somebody waits for each of these records.
    "queue.buffering.max.kbytes": 65_536,
    "queue.buffering.max.messages": 20_000,
    "retry.backoff.ms": 20,
    "reconnect.backoff.max.ms": 1_000,
}
POLL_S: Final = 0.25
FLUSH_S: Final = 0.05
RENEW_S: Final = 1.0
SCAN_S: Final = 1.5  # librdkafka looks for timed-out records once a second.
ANY_PARTITION: Final = -1


@dataclass(frozen=True, slots=True)
class Record:
    """What is to be written, and where."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int | None  # None: the partitioner chooses.


class RawProducer(Protocol):
    """What is used of confluent-kafka's `Producer`."""

    def produce(  # noqa: PLR0913 - the library's own signature.
        self,
        topic: str,
        *,
        value: bytes | None,
        key: bytes | None,
        partition: int,
        on_delivery: Callable[[KafkaError | None, Message], None],
        headers: list[tuple[str, str | bytes | None]],
    ) -> None:
        """Queue one record; `on_delivery` is called from `poll` or `flush`."""

    def poll(self, timeout: float) -> int:
        """Serve delivery reports for at most `timeout` seconds."""

    def flush(self, timeout: float) -> int:
        """Wait for everything queued; answers how many records are still in flight."""

    def list_topics(self, topic: str, timeout: float) -> Any:  # noqa: ANN401 - the library's own signature.
        """Ask the broker about one topic; raises KafkaException when nobody answers in time."""


class AckedProducer:
    """Sends records and tells when the broker has them; one thread of its own serves the delivery reports.

    `send` and `send_now` may be called from any thread; `in_flight_max` bounds the records that wait for the
    broker. `make_producer` exists for tests.
    """

    def __init__(
        self,
        config: Mapping[str, ConfigValue],
        *,
        send_timeout_s: float = 2.0,
        in_flight_max: int = 10_000,
        make_producer: Callable[[dict[str, ConfigValue]], RawProducer] | None = None,
    ) -> None:
        self._config = _whole(config, send_timeout_s)
        self._send_timeout_s = send_timeout_s
        self._in_flight_max = in_flight_max
        self._trouble = Trouble()
        self._make_producer: Callable[[dict[str, ConfigValue]], RawProducer] = make_producer or self._real_producer
        self._lock = threading.Lock()
        self._swapping = threading.Lock()  # What a producer takes after its last flush, nobody would hear of.
        self._in_flight = 0
        self._is_closed = False
        self._broken: RawProducer | None = None
        self._renew_from_s = 0.0
        self._producer: RawProducer = self._make_producer(dict(self._config))
        self._thread = threading.Thread(target=self._serve, name="acked-producer", daemon=True)
        self._thread.start()

    @property
    def in_flight(self) -> int:
        """How many records wait for the broker now."""
        return self._in_flight

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        partition: int | None = None,
    ) -> None:
        """Return when every in-sync replica has the record.

        Raises:
            BrokerUnavailable: not within `send_timeout_s`, or refused, or too much is waiting already.

        """
        loop = asyncio.get_running_loop()
        delivered: asyncio.Future[KafkaError | None] = loop.create_future()

        def settle(error: KafkaError | None) -> None:
            if not delivered.done():
                delivered.set_result(error)

        def report(error: KafkaError | None) -> None:
            with suppress(RuntimeError):  # A loop that is closed has nobody left who waits.
                loop.call_soon_threadsafe(settle, error)

        self._enqueue(Record(topic, key, value, headers, partition), report)
        try:
            async with asyncio.timeout(self._send_timeout_s):
                _judge(topic, await delivered)
        except TimeoutError:
            raise _unacknowledged(topic) from None

    def send_now(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        partition: int | None = None,
    ) -> None:
        """As `send`, for a thread without an event loop: blocks until the broker has the record.

        Raises:
            BrokerUnavailable: as `send`.

        """
        delivered: Future[KafkaError | None] = Future()
        self._enqueue(Record(topic, key, value, headers, partition), delivered.set_result)
        try:
            _judge(topic, delivered.result(self._send_timeout_s))
        except TimeoutError:
            raise _unacknowledged(topic) from None

    def find(self, topic: str, timeout_s: float) -> None:
        """Return when the broker knows where records of a topic go; blocks, so call it on a thread.

        Raises:
            BrokerUnavailable: nobody answers within `timeout_s`, or the topic is not there for us.

        """
        try:
            error = self._producer.list_topics(topic, timeout_s).topics[topic].error
        except KafkaException as failure:
            raise BrokerUnavailable(
                f"Kafka does not answer: {failure.args[0].name()}{self._trouble.told()}"
            ) from failure
        if error is not None:
            raise BrokerUnavailable(f"topic {topic} cannot be written: {error.name()}")

    def renew(self, config: Mapping[str, ConfigValue]) -> None:
        """Send with this configuration from now on; what is on its way ends with the old one."""
        self._config = _whole(config, self._send_timeout_s)
        self._broken = self._producer

    def close(self, budget_s: float) -> int:
        """Take nothing more, wait for what is on its way, and say how many records the broker did not confirm."""
        self._is_closed = True
        left = _left_after(self._producer, budget_s)
        self._thread.join(POLL_S * 4)
        return left

    def _enqueue(self, record: Record, report: Callable[[KafkaError | None], None]) -> None:
        self._claim_slot()
        try:
            with self._swapping:
                self._produce(self._producer, record, report)
        except BufferError:
            self._free_slot()
            raise BrokerUnavailable(f"too much waits for the broker to send to {record.topic}") from None
        except KafkaException as failure:
            self._free_slot()
            _judge(record.topic, failure.args[0])

    def _produce(self, producer: RawProducer, record: Record, report: Callable[[KafkaError | None], None]) -> None:
        def delivered(error: KafkaError | None, _: Message) -> None:
            self._free_slot()
            self._note(producer, error)
            report(error)

        try:
            producer.produce(
                record.topic,
                value=record.value,
                key=record.key,
                partition=ANY_PARTITION if record.partition is None else record.partition,
                on_delivery=delivered,
                headers=[*record.headers],
            )
        except KafkaException as failure:
            self._note(producer, failure.args[0])
            raise

    def _claim_slot(self) -> None:
        with self._lock:
            if self._is_closed:
                raise BrokerUnavailable("the producer is closed")
            if self._in_flight >= self._in_flight_max:
                raise BrokerUnavailable("too many records wait for the broker")
            self._in_flight += 1

    def _free_slot(self) -> None:
        with self._lock:
            self._in_flight -= 1

    def _note(self, producer: RawProducer, error: KafkaError | None) -> None:
        if error is not None and (error.fatal() or error.code() == KafkaError._FATAL):  # noqa: SLF001 - public by use.
            self._broken = producer

    def _serve(self) -> None:
        while not self._is_closed:
            self._turn(POLL_S)
            if self._broken is self._producer and time.monotonic() >= self._renew_from_s:
                self._renew()

    def _turn(self, timeout_s: float) -> None:
        """Serve delivery reports; a producer that gave up for good raises that here, once."""
        producer = self._producer
        try:
            producer.poll(timeout_s)
        except KafkaException:  # A right is lacking, say: the next one may have it.
            self._broken = producer

    def _renew(self) -> None:
        """Begin anew, after a fatal error or as told: no order and no transaction hangs on the old producer."""
        try:
            new = self._make_producer(dict(self._config))
        except KafkaException:  # A file that its properties name is being written: tried again at the next turn.
            return
        with self._swapping:
            old, self._producer = self._producer, new
        now_s = time.monotonic()
        self._renew_from_s = now_s + RENEW_S  # One that gives up as it begins must not be made over and over.
        while _left_after(old, FLUSH_S) and time.monotonic() < now_s + self._send_timeout_s + SCAN_S:
            self._turn(0)

    def _real_producer(self, config: dict[str, ConfigValue]) -> RawProducer:
        return Producer({**config, "error_cb": self._trouble}, logger=logging.getLogger("processor.kafka"))


def _left_after(producer: RawProducer, budget_s: float) -> int:
    """Wait for what is on its way and return how many records the broker has not confirmed."""
    try:
        producer.poll(0)  # What it gave up for, if it did, is better raised here: in a flush it breaks the reports.
        return producer.flush(budget_s)
    except (KafkaException, SystemError):
        return producer.flush(budget_s)


def _whole(config: Mapping[str, ConfigValue], send_timeout_s: float) -> dict[str, ConfigValue]:
    return {**DEFAULTS, **config, "delivery.timeout.ms": int(send_timeout_s * 1_000), **FIXED}


def _judge(topic: str, error: KafkaError | None) -> None:
    if error is not None:
        raise BrokerUnavailable(f"the broker did not take a record for {topic}: {error.name()}")


def _unacknowledged(topic: str) -> BrokerUnavailable:
    return BrokerUnavailable(f"the broker did not confirm a record for {topic} in time")
