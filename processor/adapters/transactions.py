"""The transactions of one decider: a producer that is made when it is needed, and replaced when it is no longer fit.

Which error means what stands in `engine.kafka_errors`; the measurements behind it in docs/kafka-rules.md.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from processor.adapters.lost_markers import Ended, Place, Placed, hanging, is_open_everywhere
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
_STEP_S = 0.05
# With an `error_cb` a fatal error is raised out of whatever serves callbacks, and where a report comes with it that
# breaks too, in a SystemError that it is the cause of.
_RAISED = (KafkaException, SystemError)

FindEnds: TypeAlias = Callable[[Collection[Place]], Mapping[Place, int]]
FindOffsets: TypeAlias = Callable[[Iterable[int]], Sequence[TopicPartition]]

log = structlog.stdlib.get_logger()


class Transactions:
    """Writes records and offsets of one decider, each time in one transaction; one thread drives it.

    `name` is what errors and log lines tell of. `find_ends` returns last stable offsets, `find_offsets` what the group
    committed of these partitions, whatever is pending; both raise BrokerUnavailable. Times in seconds.
    """

    def __init__(  # noqa: PLR0913  # clients, names and times of one decider
        self,
        config: Mapping[str, Any],
        name: str,
        find_ends: FindEnds,
        find_offsets: FindOffsets,
        *,
        request_s: float,
        commit_s: float,
    ) -> None:
        self._config = config
        self._name = name
        self._request_s, self._commit_s = request_s, commit_s
        self._producer: Producer | None = None
        self._has_trouble = threading.Event()
        self._fences = 0
        self._last: Ended | None = None  # The last transaction, unless it was committed.
        self._find_ends, self._find_offsets = find_ends, find_offsets

    # --- transactions ----------------------------------------------------------------------------------------

    def transact(
        self,
        records: Sequence[OutputRecord],
        offsets: Sequence[TopicPartition],
        membership: Any,  # noqa: ANN401  # librdkafka's opaque metadata
    ) -> tuple[Outcome, Mapping[int, int]]:
        """Publish records, and offsets of the input, in one transaction; see `engine.ports.Log`."""
        producer = self._ready_producer(membership)
        ended = self._attempt(producer, records, offsets, membership)
        if ended.outcome is not Outcome.COMMITTED:
            self._last = ended
            return ended.outcome, {}
        self._last = None
        # The position is the last record of its partition.
        positions = [each for each in ended.placed if each.record.key == _POSITION_KEY]
        return ended.outcome, {each.partition: each.offset + 1 for each in positions}

    def _attempt(
        self,
        producer: Producer,
        records: Sequence[OutputRecord],
        offsets: Sequence[TopicPartition],
        membership: object,
    ) -> Ended:
        placed: list[Placed] = []
        step = Step.BEGIN
        try:
            producer.begin_transaction()
            step = Step.PRODUCE
            _produce(producer, records, placed)
            # Offsets that the group holds as pending must stand for records that are in the log: a restore that no
            # longer waits for the group still waits for those.
            if producer.flush(self._request_s):
                return Ended(self._failed(producer, step, _SLOW), placed, offsets)
            step = Step.SEND_OFFSETS
            if not self._send_offsets(producer, offsets, membership):
                self.close()
                return Ended(Outcome.ABORTED, placed, offsets)  # The commit was never asked for.
            step = Step.COMMIT
            producer.commit_transaction(self._commit_s)
        except _RAISED as error:
            return Ended(self._failed(producer, step, _failure(error)), placed, offsets)
        self._fences = 0
        return Ended(Outcome.COMMITTED, placed, offsets)

    def _send_offsets(self, producer: Producer, offsets: Sequence[TopicPartition], membership: object) -> bool:
        """Add offsets to the transaction; False when the call does not come back (librdkafka#5456).

        It can ignore its time-out, so a thread of its own waits for it, which is left behind then. Soon after a lost
        connection nothing is to be hoped for any more.
        """
        call: Future[None] = Future()

        def send() -> None:
            try:
                producer.send_offsets_to_transaction([*offsets], membership, self._request_s)
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

    def end(self, membership: object) -> None:
        """Replace the producer: its initialisation ends what its predecessor left open.

        Raises BrokerUnavailable, FatalError.
        """
        self.close()
        self._ready_producer(membership)

    def close(self) -> None:
        """Let the producer go; a transaction of it that is open ends with its time-out."""
        if self._producer is not None:
            release(self._producer)
            self._producer = None

    def _failed(self, producer: Producer, step: Step, failure: KafkaFailure) -> Outcome:
        remedy = remedy_for(step, failure)
        if remedy is Remedy.STOP:
            raise FatalError(f"{self._name}: {step.name.lower()} failed with {failure.name}")
        if remedy is Remedy.READ_BACK:
            return Outcome.UNKNOWN
        if remedy is Remedy.ABORT:
            remedy = self._abort(producer)
            if failure.name == _SLOW.name:  # It may wait for a broker that it took down, whatever it met since.
                self.close()
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

    def _ready_producer(self, membership: object) -> Producer:
        """Return a producer without a transaction; raises BrokerUnavailable, FatalError.

        One that lost a connection is replaced: librdkafka can go on asking a broker that it took down for the group's
        coordinator, and then the offsets are never sent (librdkafka#5511).
        """
        if self._producer is not None and self._is_unfit(self._producer):
            self.close()
        if self._producer is None:
            self._has_trouble = threading.Event()
            self._producer = make_producer(self._config, self._name, self._request_s, self._has_trouble)
            self._mend(self._producer, membership)
        return self._producer

    def _is_unfit(self, producer: Producer) -> bool:
        """Look what the producer met since it was used last: whether it gave up for good, or lost a connection."""
        try:
            producer.poll(0)
        except KafkaException:
            return True
        return self._has_trouble.is_set()

    # --- transactions that lack their end ---------------------------------------------------------------------

    def _mend(self, producer: Producer, membership: object) -> None:
        """Abort the last transaction where it hangs, unless it was committed, before a new one can commit it there.

        The producer's initialisation waited until it was complete, so markers that are missing never come. What is
        unknown is aborted only where nothing of it is committed anywhere. Where that cannot be found out, all stays as
        it is. Raises BrokerUnavailable: then try again with the next producer; FatalError.
        """
        last = self._last
        if last is None:
            return
        try:
            ends = self._find_ends(last.heads())
            if last.outcome is Outcome.UNKNOWN:
                if not is_open_everywhere(last, ends, self._find_offsets(part.partition for part in last.offsets)):
                    return
                last = self._last = replace(last, outcome=Outcome.ABORTED)
        except BrokerUnavailable:
            return
        records = hanging(last, ends)
        if records:
            self._abort_anew(producer, records, last.offsets, membership)
            log.warning("transaction.mended", topic=self._name, count=len(records))
        self._last = None

    def _abort_anew(
        self,
        producer: Producer,
        records: Sequence[OutputRecord],
        offsets: Sequence[TopicPartition],
        membership: object,
    ) -> None:
        placed: list[Placed] = []
        try:
            producer.begin_transaction()
            _produce(producer, records, placed)
            producer.flush(self._request_s)
            if membership is not None:
                with suppress(KafkaException):  # We may be no member any more; the next owner goes on without them.
                    self._send_offsets(producer, offsets, membership)
            producer.abort_transaction(self._request_s)
        except _RAISED as error:
            self.close()
            failure = _failure(error)
            if remedy_for(Step.PRODUCE, failure) is Remedy.STOP:
                raise FatalError(f"{self._name}: aborting anew failed with {failure.name}") from error
            raise BrokerUnavailable(f"{self._name}: a transaction cannot be ended: {failure.name}") from error
        if len(placed) < len(records):
            self.close()
            raise BrokerUnavailable(f"{self._name}: a transaction cannot be ended in time")


def make_producer(
    config: Mapping[str, Any], name: str, timeout_s: float, has_trouble: threading.Event | None = None
) -> Producer:
    """Return a producer that may write transactions; `has_trouble` is set when it loses a connection.

    `name` is what errors tell of. Raises BrokerUnavailable; FatalError where that is refused.
    """
    trouble = has_trouble or threading.Event()
    producer = Producer({**config, "error_cb": lambda _: trouble.set()})
    try:
        initialise(producer.init_transactions, timeout_s)
        producer.poll(0)
    except KafkaException as error:
        failure = _failure(error)
        release(producer)
        if remedy_for(Step.INIT, failure) is Remedy.STOP:
            raise FatalError(f"transactions of {name} refused: {failure.name}") from error
        raise BrokerUnavailable(f"no transactional producer: {failure.name}") from error
    trouble.clear()  # What it met on its way to a broker that answers is over.
    return producer


def _produce(producer: Producer, records: Sequence[OutputRecord], placed: list[Placed]) -> None:
    """Hand records over; those that the broker confirms are added to `placed`, by and by."""

    def deliver(record: OutputRecord, error: KafkaError | None, message: Message) -> None:
        partition, offset = message.partition(), message.offset()
        if error is None and partition is not None and offset is not None:
            placed.append(Placed(record, partition, offset))

    for record in records:
        headers: Any = list(record.headers) or None
        while True:
            try:
                producer.produce(
                    record.topic,
                    record.value,
                    record.key,
                    _ANY_PARTITION if record.partition is None else record.partition,
                    partial(deliver, record),
                    headers=headers,
                )
                break
            except BufferError:
                producer.poll(0.05)


def initialise(init_transactions: Callable[[float], object], timeout_s: float) -> None:
    """Let a producer into its transactions, asking in short steps; raises KafkaException.

    Where librdkafka is not connected yet it tries again half a second later, and at once when it is asked again.
    """
    give_up_at = time.monotonic() + timeout_s
    while True:
        try:
            init_transactions(_STEP_S)
        except KafkaException as error:
            if not error.args[0].retriable() or time.monotonic() >= give_up_at:
                raise
        else:
            return


def _failure(error: Exception) -> KafkaFailure:
    """Return what was raised as plain values; what is no error of Kafka is raised again."""
    raised: BaseException | None = error
    while isinstance(raised, SystemError):
        raised = raised.__cause__
    if not isinstance(raised, KafkaException):
        raise error
    cause: KafkaError = raised.args[0]
    return KafkaFailure(cause.name(), cause.fatal(), cause.retriable(), cause.txn_requires_abort())


def release(producer: Producer) -> None:
    """Let a producer go without waiting: its destructor can hang while brokers are away (librdkafka#4674)."""
    producer.purge()
    threading.Thread(target=lambda held=[producer]: held.clear(), daemon=True).start()
