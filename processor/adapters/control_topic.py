"""The control topic: pauses, for everyone. Compacted, small, read whole at start and followed from then on.

The key is the workflow's name, the value JSON with a version. A reader outside any group in a thread of its own; what
it cannot read it leaves, and says so. A broker that is away changes nothing of what is known, and what was to be said
is said when it is back.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from processor.adapters.acked_producer import AckedProducer
from processor.adapters.pauses import PauseReason, Standing
from processor.adapters.topic_reader import END_OF_PARTITION, place_of, record_of
from processor.core.model import Instant
from processor.engine.ports import InputRecord
from processor.errors import BrokerUnavailable, UndecodableMessage
from processor.kafka_config import Config

VERSION: Final = 1
POLL_S: Final = 0.25
RETRY_S: Final = 1.0
REQUEST_S: Final = 5.0
REFUSED: Final = "TOPIC_AUTHORIZATION_FAILED"
STOP_S: Final = 1.0


def encode_standing(standing: Standing) -> bytes:
    """Return the value of a control record."""
    value = {
        "version": VERSION,
        "paused": standing.is_paused,
        "generation": standing.generation,
        "at": standing.at,
        "reason": standing.reason,
        "fingerprint": standing.fingerprint,
        "holdsReads": standing.holds_reads,
        "why": standing.why,
    }
    return json.dumps(value, separators=(",", ":")).encode()


def decode_standing(workflow: str, value: bytes) -> Standing:
    """Return what a control record says of a workflow; raises UndecodableMessage, also for a version of the future."""
    try:
        read = json.loads(value)
        version = read["version"]
        if version != VERSION:
            raise UndecodableMessage("version", "a control record is of a version that this build does not know")
        return Standing(
            workflow=workflow,
            generation=int(read["generation"]),
            is_paused=bool(read["paused"]),
            at=int(read["at"]),
            reason=None if read.get("reason") is None else PauseReason(read["reason"]),
            fingerprint=read.get("fingerprint"),
            holds_reads=bool(read.get("holdsReads")),
            why=str(read.get("why", "")),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UndecodableMessage("malformed", f"a control record is none: {type(error).__name__}") from None


class ControlTopic:
    """Follows the control topic and speaks on it.

    All three callbacks come on the reader's thread: `heard` for each workflow (a None is a tombstone), `on_read` once
    when all that stood there at the start has been heard, `alarm` with a closed word for what was ignored or the name
    of the broker's error, once for each in a row.
    """

    def __init__(  # noqa: PLR0913  # its outside, passed once
        self,
        topic: str,
        reader: Config,
        producer: AckedProducer,
        *,
        heard: Callable[[str, Standing | None], None],
        on_read: Callable[[], None],
        alarm: Callable[[str], None],
    ) -> None:
        """`reader` is `reader_config`; the producer stays the caller's to close, after `close`."""
        self.is_read = False
        self._topic = topic
        self._config = reader
        self._producer = producer
        self._heard = heard
        self._on_read = on_read
        self._alarm = alarm
        self._alarmed = ""
        self._positions: dict[int, int] = {}
        self._history: dict[str, Standing | None] = {}
        self._lock = threading.Lock()
        self._unsaid: dict[str, Standing] = {}
        self._say_at_s = 0.0
        self._is_stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="control-topic", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def publish(self, standing: Standing) -> None:
        """Tell everyone, soon, and as often as it takes; the last word on a workflow replaces one not said yet."""
        with self._lock:
            self._unsaid[standing.workflow] = standing

    def close(self) -> None:
        """Stop reading; what was not said by now is not said."""
        self._is_stopped.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_S)  # Stuck in a look-up, it ends with the process.

    def _serve(self) -> None:
        while not self._is_stopped.is_set():
            try:
                self._follow()
            except KafkaException as error:  # From placing the reader, or fatal; librdkafka mends the rest itself.
                self._trouble(error.args[0].name())
                self._is_stopped.wait(RETRY_S)

    def _follow(self) -> None:
        """Read on from where the last reader stopped, until stopped."""
        with _Reader(self._topic, self._config, self._positions) as reader:
            while not self._is_stopped.is_set():
                self._say()
                record = reader.poll()
                if record is not None:
                    self._take(record)
                if reader.trouble:
                    self._trouble(reader.trouble)
                if reader.is_at_end and not self.is_read:
                    self._tell_history()

    def _take(self, record: InputRecord) -> None:
        self._positions[record.partition] = record.offset + 1
        self._alarmed = ""
        try:
            workflow, standing = _read(record)
        except UndecodableMessage as error:
            self._trouble(error.reason)
            return
        if self.is_read:
            self._heard(workflow, standing)
        else:
            self._history[workflow] = standing

    def _tell_history(self) -> None:
        """Tell the last word on each workflow: what was said before it no longer counts."""
        for workflow, standing in self._history.items():
            self._heard(workflow, standing)
        self._history.clear()
        self.is_read = True
        self._on_read()

    def _say(self) -> None:
        with self._lock:
            unsaid = [*self._unsaid.values()]
        if not unsaid or time.monotonic() < self._say_at_s:
            return
        try:
            for standing in unsaid:
                _send(self._producer, self._topic, standing)
                with self._lock:
                    if self._unsaid.get(standing.workflow) is standing:
                        del self._unsaid[standing.workflow]
        except BrokerUnavailable as error:
            self._trouble(type(error).__name__)
            self._say_at_s = time.monotonic() + RETRY_S

    def _trouble(self, why: str) -> None:
        if why != self._alarmed:
            self._alarmed = why
            self._alarm(why)


# --- for commands ----------------------------------------------------------------------------------------------------


def read_standings(topic: str, reader: Config, timeout_s: float = 10.0) -> Mapping[str, Standing]:
    """Return the last word on every workflow that the topic holds; raises BrokerUnavailable."""
    standings: dict[str, Standing] = {}
    give_up_at_s = time.monotonic() + timeout_s
    try:
        with _Reader(topic, reader, {}, min(timeout_s, REQUEST_S)) as records:
            while not records.is_at_end:
                if time.monotonic() >= give_up_at_s:
                    raise BrokerUnavailable(f"{topic} could not be read to its end in {timeout_s:g} s")
                record = records.poll()
                if records.trouble == REFUSED:
                    raise BrokerUnavailable(f"{topic} cannot be read: {REFUSED}")
                if record is not None:
                    _put(standings, record)
    except KafkaException as error:
        raise BrokerUnavailable(f"{topic} cannot be read: {error.args[0].name()}") from error
    return standings


def set_pause(  # noqa: PLR0913  # what is said, where, and on what it builds
    producer: AckedProducer,
    topic: str,
    known: Mapping[str, Standing],
    workflow: str,
    *,
    why: str,
    now: Instant,
) -> Standing:
    """Pause a workflow for everyone, until it is resumed; `known` comes from `read_standings`.

    Raises BrokerUnavailable.
    """
    before = known.get(workflow)
    generation = 0 if before is None else before.generation
    paused = Standing(workflow, generation, is_paused=True, at=now, reason=PauseReason.OPERATOR, why=why)
    _send(producer, topic, paused)
    return paused


def resume(
    producer: AckedProducer,
    topic: str,
    known: Mapping[str, Standing],
    workflow: str,
    *,
    now: Instant,
) -> Standing:
    """End every pause of a workflow; `known` comes from `read_standings`. Raises BrokerUnavailable."""
    before = known.get(workflow) or Standing(workflow, 0, is_paused=False, at=now)
    resumed = before.resumed(now)
    _send(producer, topic, resumed)
    return resumed


# --- records ---------------------------------------------------------------------------------------------------------


class _Reader:
    """A consumer outside any group over all partitions of a topic, from given positions or the beginning."""

    def __init__(
        self,
        topic: str,
        config: Config,
        positions: Mapping[int, int],
        request_s: float = REQUEST_S,
    ) -> None:
        # Compaction may delete the record that we stopped behind; the topic is small and is read anew then.
        self._consumer = Consumer({**config, "auto.offset.reset": "earliest"})
        self._behind: set[int] = set()
        self.trouble = ""
        try:
            self._place(topic, positions, request_s)
        except KafkaException:
            self._consumer.close()
            raise

    @property
    def is_at_end(self) -> bool:
        """Whether every partition has been read to an end that was seen after the start."""
        return not self._behind

    def poll(self) -> InputRecord | None:
        """Return the record that came, if one did; `trouble` then names what the broker complains of, or is empty."""
        self.trouble = ""
        message = self._consumer.poll(POLL_S)
        if message is None:
            return None
        error = message.error()
        if error is None:
            return record_of(message)
        if error.fatal():
            raise KafkaException(error)
        if error.code() == END_OF_PARTITION:
            (_, partition), _ = place_of(message)
            self._behind.discard(partition)
        else:
            self.trouble = error.name()
        return None

    def _place(self, topic: str, positions: Mapping[int, int], request_s: float) -> None:
        described = self._consumer.list_topics(topic, timeout=request_s).topics[topic]
        if described.error is not None or not described.partitions:
            raise KafkaException(described.error or KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
        self._behind.update(described.partitions)
        places = [TopicPartition(topic, part, positions.get(part, OFFSET_BEGINNING)) for part in self._behind]
        self._consumer.assign(places)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()


def _read(record: InputRecord) -> tuple[str, Standing | None]:
    if record.key is None:
        raise UndecodableMessage("null-key", "a control record names no workflow")
    try:
        workflow = record.key.decode()
    except UnicodeDecodeError:
        raise UndecodableMessage("malformed", "the key of a control record is no text") from None
    return workflow, None if record.value is None else decode_standing(workflow, record.value)


def _put(standings: dict[str, Standing], record: InputRecord) -> None:
    try:
        workflow, standing = _read(record)
    except UndecodableMessage:
        return
    if standing is None:
        standings.pop(workflow, None)
    else:
        standings[workflow] = standing


def _send(producer: AckedProducer, topic: str, standing: Standing) -> None:
    producer.send_now(topic, standing.workflow.encode(), encode_standing(standing))
