"""The transactions of one decider: a producer that is made when it is needed, and replaced when it is no longer fit.

Which error means what stands in `engine.kafka_errors`; the measurements behind it in docs/kafka-rules.md.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from processor.engine.entries import POSITION_KEY
from processor.engine.kafka_errors import KafkaFailure, Remedy, Step, remedy_for
from processor.engine.ports import Outcome, OutputRecord
from processor.errors import BrokerUnavailable, FatalError

_POSITION_KEY = POSITION_KEY.encode()
_ANY_PARTITION = -1
_SLOW = KafkaFailure("_TIMED_OUT", is_fatal=False, is_retriable=True, requires_abort=True)
_PRODUCERS_MAX = 5
_LOOK_S = 0.1
_TROUBLED_S = 1.0
# With an `error_cb` a fatal error is raised out of whatever serves callbacks, and where a report comes with it that
# breaks too, in a SystemError that it is the cause of.
_RAISED = (KafkaException, SystemError)


class Transactions:
    """Writes records and offsets of one decider, each time in one transaction; one thread drives it.

    `name` is what errors tell of; times in seconds.
    """

    def __init__(self, config: Mapping[str, Any], name: str, *, request_s: float, commit_s: float) -> None:
        self._config = config
        self._name = name
        self._request_s, self._commit_s = request_s, commit_s
        self._producer: Producer | None = None
        self._has_trouble = threading.Event()
        self._fences = 0
        self._ends: dict[int, int] = {}

    # --- transactions ----------------------------------------------------------------------------------------

    def transact(
        self,
        records: Sequence[OutputRecord],
        offsets: list[TopicPartition],
        membership: Any,  # noqa: ANN401  # librdkafka's opaque metadata
    ) -> tuple[Outcome, Mapping[int, int]]:
        """Publish records, and offsets of the input, in one transaction; see `engine.ports.Log`."""
        producer = self._ready_producer()
        step = Step.BEGIN
        try:
            producer.begin_transaction()
            step = Step.PRODUCE
            self._produce(producer, records)
            # Offsets that the group holds as pending must stand for records that are in the log: a restore that no
            # longer waits for the group still waits for those.
            if producer.flush(self._request_s):
                return self._failed(producer, step, _SLOW), {}
            step = Step.SEND_OFFSETS
            if not self._send_offsets(producer, offsets, membership):
                self.close()
                return Outcome.ABORTED, {}  # Nothing was committed: the commit was never asked for.
            step = Step.COMMIT
            producer.commit_transaction(self._commit_s)
        except _RAISED as error:
            return self._failed(producer, step, _failure(error)), {}
        self._fences = 0
        return Outcome.COMMITTED, self._ends

    def _send_offsets(self, producer: Producer, offsets: list[TopicPartition], membership: object) -> bool:
        """Add offsets to the transaction; False when the call does not come back (librdkafka#5456).

        It can ignore its time-out, so a thread of its own waits for it, which is left behind then. Soon after a lost
        connection nothing is to be hoped for any more.
        """
        call: Future[None] = Future()

        def send() -> None:
            try:
                producer.send_offsets_to_transaction(offsets, membership, self._request_s)
            except KafkaException as error:
                call.set_exception(error)
            else:
                call.set_result(None)

        threading.Thread(target=send, name="send-offsets", daemon=True).start()
        give_up_at, is_troubled = time.monotonic() + self._request_s + 1, False
        while time.monotonic() < give_up_at:
            with suppress(TimeoutError):
                call.result(_LOOK_S)
                return True
            producer.poll(0)
            if self._has_trouble.is_set() and not is_troubled:
                give_up_at, is_troubled = min(give_up_at, time.monotonic() + _TROUBLED_S), True
        return False

    def end(self) -> None:
        """Replace the producer: its initialisation ends what its predecessor left open."""
        self.close()
        self._ready_producer()

    def close(self) -> None:
        """Let the producer go; a transaction of it that is open ends with its time-out."""
        if self._producer is not None:
            _destroy(self._producer)
            self._producer = None

    def _produce(self, producer: Producer, records: Sequence[OutputRecord]) -> None:
        self._ends = {}
        for record in records:
            # Only a partition's position record reports back: it is the last one there, so its offset is the end.
            report = self._delivered if record.key == _POSITION_KEY else None
            headers: Any = list(record.headers) or None
            while True:
                try:
                    producer.produce(
                        record.topic,
                        record.value,
                        record.key,
                        _ANY_PARTITION if record.partition is None else record.partition,
                        report,
                        headers=headers,
                    )
                    break
                except BufferError:
                    producer.poll(0.05)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        offset, partition = message.offset(), message.partition()
        if error is None and offset is not None and partition is not None:
            self._ends[partition] = offset + 1

    def _failed(self, producer: Producer, step: Step, failure: KafkaFailure) -> Outcome:
        remedy = remedy_for(step, failure)
        if remedy is Remedy.STOP:
            raise FatalError(f"{self._name}: {step.name.lower()} failed with {failure.name}")
        if remedy is Remedy.READ_BACK:
            return Outcome.UNKNOWN
        if remedy is Remedy.ABORT:
            remedy = self._abort(producer)
        if remedy is Remedy.REPLACE:
            self._fences += 1
            if self._fences > _PRODUCERS_MAX:
                raise FatalError(f"{self._name}: {_PRODUCERS_MAX} producers in a row failed: {failure.name}")
            self.close()
        return Outcome.ABORTED

    def _abort(self, producer: Producer) -> Remedy:
        """Abort, and say what is left to do.

        Where that takes too long the next producer does it: this one may wait for a coordinator that it took down
        (librdkafka#5511), and would go on waiting when the broker is back. That is no fault of the producer.
        """
        try:
            producer.abort_transaction(self._request_s)
        except _RAISED as error:
            if remedy_for(Step.ABORT, _failure(error)) is not Remedy.RETRY:
                return Remedy.REPLACE
            self.close()
        return Remedy.ABORT

    def _ready_producer(self) -> Producer:
        """Return a producer without a transaction; raises BrokerUnavailable, FatalError.

        One that lost a connection is replaced: librdkafka can go on asking a broker that it took down for the group's
        coordinator, and then the offsets are never sent (librdkafka#5511).
        """
        if self._producer is not None and (self._has_given_up(self._producer) or self._has_trouble.is_set()):
            self.close()
        if self._producer is None:
            self._producer = self._made_producer()
        return self._producer

    def _has_given_up(self, producer: Producer) -> bool:
        """Look what the producer met since it was used last, and say whether it gave up for good."""
        try:
            producer.poll(0)
        except KafkaException:
            return True
        return False

    def _made_producer(self) -> Producer:
        has_trouble = threading.Event()
        producer = Producer({**self._config, "error_cb": lambda _: has_trouble.set()})
        try:
            producer.init_transactions(self._request_s)
            producer.poll(0)
        except KafkaException as error:
            failure = _failure(error)
            _destroy(producer)
            if remedy_for(Step.INIT, failure) is Remedy.STOP:
                raise FatalError(f"transactions of {self._name} refused: {failure.name}") from error
            raise BrokerUnavailable(f"no transactional producer: {failure.name}") from error
        has_trouble.clear()  # What it met on its way to a broker that answers is over.
        self._has_trouble = has_trouble
        return producer


def _failure(error: Exception) -> KafkaFailure:
    """Return what was raised as plain values; what is no error of Kafka is raised again."""
    raised: BaseException | None = error
    while isinstance(raised, SystemError):
        raised = raised.__cause__
    if not isinstance(raised, KafkaException):
        raise error
    cause: KafkaError = raised.args[0]
    return KafkaFailure(cause.name(), cause.fatal(), cause.retriable(), cause.txn_requires_abort())


def _destroy(producer: Producer) -> None:
    """Let a producer go without waiting: its destructor can hang while brokers are away (librdkafka#4674)."""
    producer.purge()
    threading.Thread(target=lambda held=[producer]: held.clear(), daemon=True).start()
