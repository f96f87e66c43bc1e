"""Kafka's producer by hand, below `AckedProducer`."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from confluent_kafka import KafkaError, Message

from processor.adapters.acked_producer import ConfigValue


@dataclass
class FakeProducer:
    """Keeps every record and reports it delivered, or with `error`; with `refusal` it takes none.

    With `gives_up` it raises that once, where it is polled.
    """

    config: Mapping[str, ConfigValue] = field(default_factory=dict)
    error: KafkaError | None = None
    refusal: Exception | None = None
    gives_up: Exception | None = None
    is_held: bool = False  # Reports nothing until it is flushed.
    records: list[tuple[str, bytes | None, bytes | None, dict[str, object]]] = field(default_factory=list)
    reports: list[Callable[[], None]] = field(default_factory=list)
    was_flushed: threading.Event = field(default_factory=threading.Event)

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
        assert partition == -1
        if self.refusal is not None:
            raise self.refusal
        self.records.append((topic, key, value, dict(headers)))
        self.reports.append(lambda: on_delivery(self.error, Message(topic=topic)))

    def poll(self, timeout: float) -> int:
        assert timeout >= 0
        time.sleep(0.001)
        if self.gives_up is not None:
            raised, self.gives_up = self.gives_up, None
            raise raised
        return 0 if self.is_held else self._report()

    def flush(self, timeout: float) -> int:
        assert timeout >= 0
        self.was_flushed.set()
        self._report()
        return 0

    def _report(self) -> int:
        reports, self.reports = self.reports, []
        for report in reports:
            report()
        return len(reports)

    def list_topics(self, topic: str, timeout: float) -> NoReturn:
        raise AssertionError(f"{topic} is not looked up here, nor for {timeout} s")
