"""The transactions of one decider: a producer that is made when it is needed, and replaced when it is no longer fit.

Which error means what stands in `engine.kafka_errors`; the measurements behind it in docs/kafka-rules.md.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from processor.adapters.lost_markers import Ended, Mending, Placed
from processor.adapters.topic_ends import TopicEnds
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
_LOOK_AGAIN_S = 1.0
# With an `error_cb` a fatal error is raised out of whatever serves callbacks, and where a report comes with it that
# breaks too, in a SystemError that it is the cause of.
_RAISED = (KafkaException, SystemError)


class Transactions:
    """Writes records and offsets of one decider, each time in one transaction; one thread drives it.

    `name` is what errors and log lines tell of, `admin` the configuration of an admin client; times in seconds.
    """

    def __init__(  # noqa: PLR0913  # clients, names and times of one decider
        self,
        config: Mapping[str, Any],
        admin: Mapping[str, Any],
        name: str,
        *,
        state_topic: str,
        request_s: float,
        commit_s: float,
    ) -> None:
        self._config = config
        self._name = name
        self._request_s, self._commit_s = request_s, commit_s
        self._producer: Producer | None = None
        self._has_trouble = threading.Event()
        self._fences = 0
        self._last: Ended | None = None
        self._mending = Mending(TopicEnds(admin, request_s).of, state_topic, name)
        self._look_at = 0.0

    # --- transactions ----------------------------------------------------------------------------------------

    def transact(
        self,
        records: Sequence[OutputRecord],
        offsets: Sequence[TopicPartition],
        membership: Any,  # noqa: ANN401  # librdkafka's opaque metadata
    ) -> tuple[Outcome, Mapping[int, int]]:
        """Publish records, and offsets of the input, in one transaction; see `engine.ports.Log`."""
        producer = self._ready_producer(membership)
        self._last = ended = self._attempt(producer, records, offsets, membership)
        if ended.outcome is not Outcome.COMMITTED:
            return ended.outcome, {}
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
        """Add offsets to the transaction, if any; False when the call does not come back (librdkafka#5456).

        It can ignore its time-out, so a thread of its own waits for it, which is left behind then. Soon after a lost
        connection nothing is to be hoped for any more.
        """
        if not offsets:
            return True
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

    def look(self, find_membership: Callable[[], object]) -> None:
        """See to transactions that may lack their end somewhere, between those that are sent; raises FatalError."""
        if time.monotonic() < self._look_at or (self._last is None and self._mending.is_over):
            return
        with suppress(BrokerUnavailable):
            if self._producer is None or self._is_unfit(self._producer):
                self._ready_producer(find_membership())
            elif self._mending.is_over:
                return
            else:
                self._mend(self._producer, find_membership())
        self._look_at = time.monotonic() + _LOOK_AGAIN_S

    def close(self) -> None:
        """Let the producer go; a transaction of it that is open ends with its time-out."""
        if self._producer is not None:
            _destroy(self._producer)
            self._producer = None

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

    def _ready_producer(self, membership: object) -> Producer:
        """Return a producer without a transaction; raises BrokerUnavailable, FatalError.

        One that lost a connection is replaced: librdkafka can go on asking a broker that it took down for the group's
        coordinator, and then the offsets are never sent (librdkafka#5511).
        """
        if self._producer is not None and self._is_unfit(self._producer):
            self.close()
        if self._producer is None:
            self._producer = self._made_producer()
            if self._last is not None:
                self._mending.doubt(self._last)
                self._last = None
            self._mend(self._producer, membership)
        return self._producer

    def _is_unfit(self, producer: Producer) -> bool:
        """Look what the producer met since it was used last: whether it gave up for good, or lost a connection."""
        try:
            producer.poll(0)
        except KafkaException:
            return True
        return self._has_trouble.is_set()

    def _made_producer(self) -> Producer:
        has_trouble = threading.Event()
        producer = Producer({**self._config, "error_cb": lambda _: has_trouble.set()})
        try:
            initialise(producer.init_transactions, self._request_s)
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

    # --- transactions that lack their end ---------------------------------------------------------------------

    def _mend(self, producer: Producer, membership: object) -> None:
        """End doubtful transactions where the broker did not, before a new one is begun.

        The producer's initialisation waited until they were complete, so markers that are missing never come. Raises
        BrokerUnavailable: then try again with the next producer; FatalError.
        """
        try:
            self._mending.go_on(
                partial(self._commit_anew, producer, membership), partial(self._abort_anew, producer, membership)
            )
        except BrokerUnavailable:
            self.close()
            raise

    def _commit_anew(
        self,
        producer: Producer,
        membership: object,
        records: Sequence[OutputRecord],
        offsets: Sequence[TopicPartition],
    ) -> Ended:
        ended = self._attempt(producer, records, offsets if membership is not None else (), membership)
        if ended.outcome is Outcome.ABORTED:
            raise BrokerUnavailable(f"{self._name}: a transaction cannot be committed anew")
        if ended.outcome is Outcome.UNKNOWN:
            raise FatalError(f"{self._name}: whether a transaction was committed anew is unknown")
        return ended

    def _abort_anew(
        self,
        producer: Producer,
        membership: object,
        records: Sequence[OutputRecord],
        offsets: Sequence[TopicPartition],
    ) -> Ended:
        placed: list[Placed] = []
        try:
            producer.begin_transaction()
            _produce(producer, records, placed)
            producer.flush(self._request_s)
            if len(placed) == len(records) and membership is not None:
                with suppress(KafkaException):  # We may be no member any more; the next owner goes on without them.
                    self._send_offsets(producer, offsets, membership)
            producer.abort_transaction(self._request_s)
        except _RAISED as error:
            raise BrokerUnavailable(f"{self._name}: a transaction cannot be ended: {_failure(error).name}") from error
        if len(placed) < len(records):
            raise BrokerUnavailable(f"{self._name}: a transaction cannot be ended in time")
        return Ended(Outcome.ABORTED, placed, offsets)


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


def _destroy(producer: Producer) -> None:
    """Let a producer go without waiting: its destructor can hang while brokers are away (librdkafka#4674)."""
    producer.purge()
    threading.Thread(target=lambda held=[producer]: held.clear(), daemon=True).start()
