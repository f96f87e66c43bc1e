"""Where topics end for those who read committed records."""

from collections.abc import Collection, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # exported, but not said so

from processor.errors import BrokerUnavailable
from processor.wording import counted

_GONE = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION})  # noqa: SLF001  # public by use


class TopicEnds:
    """Looks up ends on one cluster, all of one look at once; for one thread at a time."""

    def __init__(self, config: Mapping[str, Any], request_s: float) -> None:
        self._config = config
        self._request_s = request_s
        self._admin: AdminClient | None = None

    def of(self, places: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Return the offset behind the last record that can be read, by topic and partition.

        What is behind an open transaction cannot be read yet. Partitions that are gone are left out. Raises
        BrokerUnavailable.
        """
        if not places:
            return {}
        if self._admin is None:
            self._admin = AdminClient({**self._config})
        wanted = {TopicPartition(topic, number): OffsetSpec.latest() for topic, number in places}  # type: ignore[no-untyped-call]
        options = {"isolation_level": IsolationLevel.READ_COMMITTED, "request_timeout": self._request_s}
        try:
            found = self._admin.list_offsets(wanted, **options)
            ends = {(part.topic, part.partition): self._end(one) for part, one in found.items()}
        except (KafkaException, TimeoutError) as error:
            self._admin = None  # After a leader change a client can ask with a stale epoch; a new one does not.
            raise BrokerUnavailable(f"ends of {counted(len(places), 'partition')} cannot be looked up") from error
        return {place: end for place, end in ends.items() if end is not None}

    def _end(self, asked: Future[Any]) -> int | None:
        try:
            return int(asked.result(self._request_s).offset)
        except KafkaException as error:
            if error.args[0].code() not in _GONE:
                raise
        return None
