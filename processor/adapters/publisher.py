"""Publishes from a command: many records in a row, and what became of them at the end."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from processor.adapters.kafka_trouble import Trouble
from processor.errors import FatalError, RequestRejected

ANY_PARTITION = -1
TOO_LARGE = "too-large"
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands."""

    partition: int
    offset: int


class Publisher:
    """An idempotent producer, its records acknowledged by all replicas.

    `config` is that of `kafka_config.plain_producer_config`; `timeout_s` limits a look-up, `delivery_s` the wait for
    what was queued. Only the first failure counts; nothing is published after it.
    """

    def __init__(self, config: Mapping[str, Any], timeout_s: float, delivery_s: float) -> None:
        self._trouble = Trouble()
        self._timeout_s = timeout_s
        self._delivery_s = delivery_s
        self._producer = Producer({**config, "error_cb": self._trouble})
        self._failure: KafkaError | None = None
        self.delivered = 0
        self.last: Place | None = None

    def expect(self, topic: str) -> None:
        """Look the topic up, so that one that is missing is told at once and not when delivery times out.

        Raises BrokerUnavailable, and FatalError for a topic that does not exist. Nothing is created by asking.
        """
        try:
            found = self._producer.list_topics(timeout=self._timeout_s).topics
        except KafkaException as error:
            self._producer.poll(0)
            raise self._trouble.because("the broker does not answer", error) from error
        if topic not in found:
            raise FatalError(f"the topic {topic} does not exist; run `processor topics create`")

    def publish(
        self,
        topic: str,
        key: bytes | None,
        value: bytes,
        partition: int = ANY_PARTITION,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Queue one record, waiting for room; raises BrokerUnavailable when an earlier one failed.

        Raises RequestRejected for a record above the limit of the producer.
        """
        while True:
            self._check(topic)
            try:
                self._producer.produce(topic, value, key, partition, self._reported, headers=[*headers])
                self._turn(0)
            except BufferError:
                self._turn(_POLL_S)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    raise RequestRejected(TOO_LARGE, f"a record of {len(value)} bytes is too large") from error
                self._turn(0)
                self._check(topic)
                raise self._trouble.because(f"publishing to {topic}", error) from error
            else:
                return

    def finish(self, topic: str) -> int:
        """Wait for everything queued and return how many records the broker has; raises BrokerUnavailable."""
        give_up_at_s = time.monotonic() + self._delivery_s
        while len(self._producer) and self._failure is None and time.monotonic() < give_up_at_s:
            self._turn(_POLL_S)  # A flush would run delivery reports into what it raises.
        self._check(topic)
        if len(self._producer):
            raise self._trouble.because(f"publishing to {topic}", TimeoutError())
        return self.delivered

    def _turn(self, timeout_s: float) -> None:
        """Serve delivery reports; that the producer gave up for good, it raises here, once."""
        try:
            self._producer.poll(timeout_s)
        except KafkaException as fatal:
            self._failure = self._failure or fatal.args[0]

    def _reported(self, error: KafkaError | None, message: Message) -> None:
        partition, offset = message.partition(), message.offset()
        if error is not None:
            self._failure = self._failure or error
        elif partition is not None and offset is not None:
            self.delivered += 1
            self.last = Place(partition, offset)

    def _check(self, topic: str) -> None:
        if self._failure is not None:
            raise self._trouble.because(f"publishing to {topic}", self._failure)
