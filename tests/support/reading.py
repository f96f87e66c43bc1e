"""Reads whole topics as consumers do who want each result once: committed records only, from the beginning."""

from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, KafkaError, TopicPartition


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a topic; of headers that stand twice the last counts. `at` is its timestamp."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]
    at: int


class Follower:
    """Keeps all records of a topic and reads what has been added since."""

    def __init__(self, bootstrap_servers: str, topic: str, timeout_s: float = 15) -> None:
        self.records: list[Record] = []
        self._timeout_s = timeout_s
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": f"{topic}.follower",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 20,
            }
        )
        partitions = self._consumer.list_topics(topic, timeout=timeout_s).topics[topic].partitions
        self._topic = topic
        self._next = dict.fromkeys(partitions, 0)  # Partition -> offset to read next.
        self._at_end: set[int] = set()
        self._assign()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def poll(self, timeout_s: float) -> list[Record]:
        """Return the records that come within a time."""
        added = []
        for message in self._consumer.consume(500, timeout_s):
            error, partition, offset = message.error(), message.partition(), message.offset()
            assert partition is not None, "a message says where it was read"
            assert offset is not None, "a message says where it was read"
            if error is not None:
                assert error.code() == KafkaError._PARTITION_EOF, error.str()  # noqa: SLF001  # its public name
                self._at_end.add(partition)
                self._next[partition] = offset
                continue
            self._next[partition] = offset + 1
            self._at_end.discard(partition)
            given = dict(message.headers() or ()).items()
            headers = {name: value for name, value in given if isinstance(value, bytes)}
            added.append(Record(partition, offset, message.key(), message.value(), headers, message.timestamp()[1]))
        self.records += added
        return added

    def read_to_end(self) -> list[Record]:
        """Read each partition to its end and return all records; raises TimeoutError when one does not come."""
        self._assign()  # Else a partition that was read to its end does not tell so again.
        deadline = monotonic() + self._timeout_s
        while len(self._at_end) < len(self._next):
            if monotonic() > deadline:
                raise TimeoutError(f"partitions without an end: {sorted(set(self._next) - self._at_end)}")
            self.poll(0.05)
        return self.records

    def _assign(self) -> None:
        self._at_end.clear()
        self._consumer.assign([TopicPartition(self._topic, number, offset) for number, offset in self._next.items()])

    def close(self) -> None:
        """Leave."""
        self._consumer.close()


def all_records(bootstrap_servers: str, topic: str) -> list[Record]:
    """Return every committed record of a topic, partition after partition each in its order."""
    with Follower(bootstrap_servers, topic) as follower:
        return sorted(follower.read_to_end(), key=lambda record: (record.partition, record.offset))
