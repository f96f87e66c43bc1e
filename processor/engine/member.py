"""The loop of one decider: read, decide, commit, then call.

One thread drives it. Each turn takes a snapshot of the group metadata before it polls, so that what is committed
later can be refused wrongly but never accepted wrongly; answers and timers are facts like any other. After a
commit, and only then, calls start. The rules behind each step stand in docs/kafka-rules.md.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from processor.engine.batch import Batch, Event
from processor.engine.entries import PARKED_PREFIX, StoredPosition, split_key
from processor.engine.parking import ParkingLot
from processor.engine.partition import Partition, Phase
from processor.engine.ports import (
    Answer,
    Caller,
    Change,
    Checkpoint,
    EndReached,
    InputRecord,
    Log,
    Machine,
    Observer,
    Outcome,
    OutputRecord,
    Owned,
    Position,
    Store,
    Ticket,
)
from processor.engine.restore import Restorer
from processor.errors import BrokerUnavailable, FatalError, PoisonError, StateUnreadable

BUSY_WAIT_MS = 10
IDLE_WAIT_MS = 100
DRAIN_STEP_S = 0.005


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one decider; times in milliseconds."""

    commit_interval_ms: int = 25
    records_max: int = 500  # Taken from one poll.
    events_max: int = 1_000  # In one transaction.
    outputs_bytes_max: int = 16 * 1024 * 1024  # In one transaction.
    timers_max: int = 200  # Fired in one turn, for each partition.
    depth_max: int | None = None  # Live requests here before intake pauses; None never pauses.
    drain_ms: int = 40_000
    aborts_max: int = 100  # In a row, before the process gives up.


class Member:
    """One decider's member of its consumer group."""

    def __init__(  # noqa: PLR0913  # the engine's whole outside, passed once
        self,
        machine: Machine,
        log: Log,
        caller: Caller,
        *,
        open_store: Callable[[int], Store],
        clock: Callable[[], int],
        observer: Observer,
        process_id: str,
        build: str,
        limits: Limits,
        is_downstream_full: Callable[[], bool] = lambda: False,
    ) -> None:
        self.partitions: dict[int, Partition] = {}
        self.turned_at = clock()
        self._machine = machine
        self._log = log
        self._caller = caller
        self._clock = clock
        self._observer = observer
        self._process_id = process_id
        self._limits = limits
        self._is_downstream_full = is_downstream_full
        self._restorer = Restorer(machine, log, open_store, clock, observer)
        self._parking = ParkingLot(machine, observer, build)
        self._inbox: deque[Answer] = deque()
        self._arrived: deque[InputRecord | EndReached] = deque()
        self._batch = Batch()
        self._redo: list[Event] = []
        self._membership: Any = None
        self._open: dict[Owned, int] = {}
        self._epochs = 0
        self._transactions = 0
        self._aborts = 0
        self._committed_at = 0
        self._unknown: _Sent | None = None
        self._is_blocked = False  # Kafka took no transaction; nothing more is read until it does.
        self._is_paused = False
        caller.bind(self._inbox.append)

    # --- the turn --------------------------------------------------------------------------------------------

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Join, work until told to stop, drain and leave; raises FatalError."""
        self._log.join(self)
        while not should_stop():
            self.turn()
        self.leave()

    def turn(self) -> None:
        """Poll once, decide what came, commit when it is time."""
        self.turned_at = self._clock()
        self._membership = self._log.membership()
        self._arrived.extend(self._log.poll(self._wait_s(), self._limits.records_max))
        if self._settle_unknown():
            self._decide_again()
            while self._arrived:
                self._take(self._arrived.popleft())
            for partition in self._restorer.turn():
                self._begin(partition)
            self._take_answers()
            self._fire_timers()
            if self._is_commit_due():
                self.commit()
        self._balance_intake()

    def leave(self) -> None:
        """Stop intake, wait for open calls within the budget, commit, leave the group."""
        self._pause(is_wanted=True)
        self._drain(list(self.partitions.values()), is_polling=True)
        self._log.close()

    def _wait_s(self) -> float:
        """Return how long a poll may wait: not longer than the next thing to do."""
        if self._redo or self._inbox or self._arrived:
            return 0.0
        now = self._clock()
        wakes = [now + (BUSY_WAIT_MS if self._open or self._restorer.is_busy else IDLE_WAIT_MS)]
        if self._batch.events:
            wakes.append(self._committed_at + self._limits.commit_interval_ms)
        dues = (partition.next_due() for partition in self.partitions.values())
        wakes.extend(max(due, now + 1) for due in dues if due is not None)
        return max(0, min(wakes) - now) / 1000

    def _is_commit_due(self) -> bool:
        batch = self._batch
        is_full = len(batch.events) >= self._limits.events_max or batch.outputs_bytes >= self._limits.outputs_bytes_max
        return is_full or self._clock() - self._committed_at >= self._limits.commit_interval_ms

    # --- facts -----------------------------------------------------------------------------------------------

    def _take(self, item: InputRecord | EndReached) -> None:
        partition = self.partitions.get(item.partition)
        if partition is None or partition.phase is not Phase.RUNNING:
            return
        if isinstance(item, EndReached):
            partition.read_to = max(partition.read_to, item.offset)
        elif item.offset >= partition.next_offset:
            self._take_record(partition, item)
        else:
            self._observer.redelivered(item.partition, 1)

    def _take_record(self, partition: Partition, record: InputRecord) -> None:
        self._batch.touched[record.partition] = partition
        try:
            key, fact = self._machine.arrived(record)
        except PoisonError as error:
            self._poisoned(partition, record, error)
        except StateUnreadable as error:
            self._stop_partition(partition, str(error))
            return
        else:
            self._decide(Event(Ticket(partition.owned, key), fact, record), partition)
        partition.moved_to(record.offset + 1)

    def _poisoned(self, partition: Partition, record: InputRecord, error: PoisonError) -> None:
        self._observer.poisoned(record, error.reason)
        letters, remains = self._machine.poisoned(record, error)
        for letter in letters:
            self._batch.publish(letter)
        key, fact = remains or ("", None)
        event = Event(Ticket(partition.owned, key), fact, record)
        if remains is None:
            self._batch.events.append(event)
        else:
            self._decide(event, partition)

    def _take_answers(self) -> None:
        for _ in range(min(len(self._inbox), self._limits.events_max)):
            answer = self._inbox.popleft()
            if answer.call is not None and self._machine.must_finish(answer.call):
                self._closed(answer.ticket.owned)
            if answer.fact is None:
                continue
            partition = self._owned(answer.ticket.owned)
            if partition is None:
                self._orphaned(answer)
            else:
                self._decide(Event(answer.ticket, answer.fact, answer=answer), partition)

    def _fire_timers(self) -> None:
        now = self._clock()
        for number, partition in self.partitions.items():
            if partition.phase is not Phase.RUNNING or len(self._batch.events) >= self._limits.events_max:
                continue
            if partition.wants_evidence(now):
                self._look_for_end(number, partition, now)
            for due_at, storage in partition.due(now, self._limits.timers_max):
                key, part = split_key(storage)
                self._decide(Event(Ticket(partition.owned, key), self._machine.timer_fired(part, due_at)), partition)

    def _look_for_end(self, number: int, partition: Partition, now: int) -> None:
        try:
            partition.observed(now, self._log.bounds(number)[1])
        except BrokerUnavailable:
            partition.not_observed(now)

    def _decide(self, event: Event, partition: Partition) -> None:
        """Fold one event into its key, or set it aside when a rule of that key failed before."""
        key = event.ticket.key
        self._batch.events.append(event)
        self._batch.touched[partition.owned.partition] = partition
        if key in partition.parked:
            self._parking.add(partition, event)
        else:
            try:
                self._fold(event, partition)
            except FatalError:
                raise
            except Exception as error:  # noqa: BLE001  # a rule that fails parks its key; the partition goes on
                self._parking.park(partition, event, error)
            else:
                return
        if event.is_permit:
            self._batch.unused.append(event.ticket)

    def _fold(self, event: Event, partition: Partition) -> None:
        ticket = event.ticket
        decision = self._machine.decide(partition.view(ticket.key), event.fact, self._clock())
        records = [record for output in decision.outputs for record in self._machine.to_records(output, event.record)]
        partition.apply(ticket.key, decision)
        for record in records:
            self._batch.publish(record)
        if decision.calls:
            self._batch.calls.extend((ticket, call) for call in decision.calls)
        elif event.is_permit:
            self._batch.unused.append(ticket)
        if decision.wants_permit is not None:
            self._batch.wants.append((ticket, decision.wants_permit))

    def _owned(self, owned: Owned) -> Partition | None:
        partition = self.partitions.get(owned.partition)
        return partition if partition is not None and partition.owned == owned else None

    # --- commit ----------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Send the open transaction; what it leads to happens here, whatever its outcome."""
        if not self._batch.events or self._membership is None:
            return
        self._committed_at = self._clock()
        sent = self._seal()
        try:
            outcome, ends = self._log.transact(sent.records, sent.positions, self._membership)
        except BrokerUnavailable:
            self._is_blocked = True
            return
        self._transactions += 1
        if outcome is Outcome.COMMITTED:
            self._succeeded(sent, ends)
        elif outcome is Outcome.ABORTED:
            self._aborted(sent.batch)
        else:
            self._unknown = sent
            self._batch = Batch()

    def _seal(self) -> "_Sent":
        """Return the open transaction as records and positions."""
        batch, now = self._batch, self._committed_at
        token = f"{self._process_id}:{self._transactions}"
        parts = {number: partition.records(now) for number, partition in batch.touched.items()}
        records = [*batch.outputs, *(record for records, _, _ in parts.values() for record in records)]
        positions = {number: Position(position.offset, token) for number, (_, _, position) in parts.items()}
        changes = {number: (changed, position) for number, (_, changed, position) in parts.items()}
        return _Sent(batch, token, records, positions, changes)

    def _succeeded(self, sent: "_Sent", ends: Mapping[int, int]) -> None:
        now = self._committed_at
        for number, (changes, position) in sent.changes.items():
            partition = sent.batch.touched.get(number)
            if partition is not None and self._owned(partition.owned) is partition:
                # Without its end (an unknown commit that proved committed) the store keeps its older checkpoint.
                checkpoint = Checkpoint(ends[number], now) if number in ends else None
                partition.committed(changes, position, sent.token, checkpoint)
        self._batch, self._aborts, self._is_blocked = Batch(), 0, False
        for ticket in sent.batch.unused:
            self._caller.release(ticket)
        calls = [(ticket, call) for ticket, call in sent.batch.calls if self._owned(ticket.owned)]
        wants = [(ticket, want) for ticket, want in sent.batch.wants if self._owned(ticket.owned)]
        for ticket, call in calls:
            if self._machine.must_finish(call):
                self._open[ticket.owned] = self._open.get(ticket.owned, 0) + 1
        if calls or wants:
            self._caller.start(calls, wants)
        self._observer.committed(len(sent.batch.events), len(sent.records), (self._clock() - now) / 1000)

    def _aborted(self, batch: Batch) -> None:
        self._aborts += 1
        self._observer.aborted(self._aborts)
        if self._aborts > self._limits.aborts_max:
            raise FatalError(f"{self._machine.name}: {self._aborts} transactions in a row were aborted")
        for partition in batch.touched.values():
            partition.rollback()
        self._batch, self._redo = Batch(), batch.events

    def _decide_again(self) -> None:
        events, self._redo = self._redo, []
        for event in events:
            partition = self._owned(event.ticket.owned)
            if partition is None:
                if event.answer is not None:
                    self._orphaned(event.answer)
            elif event.record is not None:
                self._take_record(partition, event.record)
            else:
                self._decide(event, partition)

    def _settle_unknown(self) -> bool:
        """Decide a commit of unknown outcome by the tokens that stand at its partitions now; False: not yet."""
        sent = self._unknown
        if sent is None:
            return True
        try:
            self._log.end_transaction()
            found = self._log.committed(list(sent.changes))
        except BrokerUnavailable:
            return False
        self._unknown = None
        tokens = {number: position.token if position is not None else "" for number, position in found.items()}
        is_ours = sent.token in tokens.values()
        touched = [p for p in sent.batch.touched.values() if self._owned(p.owned) is p]
        strays = [p for p in touched if tokens[p.owned.partition] != (sent.token if is_ours else p.token)]
        for partition in strays:
            del sent.batch.touched[partition.owned.partition]
            self._restart(partition)
        kept = len(touched) - len(strays)
        self._observer.unknown_commit(committed=kept * is_ours, aborted=kept * (not is_ours), dropped=len(strays))
        if is_ours:
            self._succeeded(sent, {})
        else:
            self._aborted(sent.batch)
        return True

    # --- group changes ---------------------------------------------------------------------------------------

    def on_assigned(self, partitions: Sequence[int]) -> None:
        """Start to restore what came."""
        self._observer.assigned(partitions)
        for number in partitions:
            self._restore(number)
        self._is_paused = False

    def on_revoked(self, partitions: Sequence[int]) -> None:
        """Drain, commit or abort, hand over; what is left open reports as evidence."""
        began = self._clock()
        self._membership = self._log.membership()
        leaving = [self.partitions[number] for number in partitions if number in self.partitions]
        self._drain(leaving, is_polling=False)
        self._observer.revoked(partitions, (self._clock() - began) / 1000, calls_left=self._calls_of(leaving))
        self._drop(partitions)

    def on_lost(self, partitions: Sequence[int]) -> None:
        """Drop everything at once."""
        self._observer.lost(partitions)
        self._drop(partitions)

    def _drain(self, leaving: Sequence[Partition], *, is_polling: bool) -> None:
        """Let open calls end and commit what they bring, within the budget; inside a callback nothing may poll."""
        for partition in leaving:
            if partition.phase is Phase.RUNNING:
                partition.phase = Phase.LEAVING
            self._caller.forget(partition.owned)
        give_up_at, aborts = self._clock() + self._limits.drain_ms, self._aborts
        while self._clock() < give_up_at and self._membership is not None:
            if is_polling:
                self._membership = self._log.membership()
                self._arrived.extend(self._log.poll(0.0, self._limits.records_max))
            if self._settle_unknown():
                self._decide_again()
                self._take_answers()
                self.commit()
            if not self._calls_of(leaving) and not self._redo and not self._batch.events and self._unknown is None:
                return
            if not is_polling and self._aborts > aborts:
                return  # The group moved on without us; only a poll could tell more.
            self._log.wait(DRAIN_STEP_S)

    def _calls_of(self, partitions: Sequence[Partition]) -> int:
        return sum(self._open.get(partition.owned, 0) for partition in partitions)

    def _drop(self, partitions: Sequence[int]) -> None:
        for number in partitions:
            partition = self.partitions.pop(number, None)
            self._restorer.forget(number)
            if partition is None:
                continue
            self._caller.forget(partition.owned)
            partition.close()
        self._disown(set(partitions))

    def _disown(self, numbers: set[int]) -> None:
        """Take what belongs to partitions that are gone out of the open transaction."""
        if numbers.isdisjoint(self._batch.touched):
            return
        for number, partition in self._batch.touched.items():
            if number not in numbers:
                partition.rollback()
        events, self._batch = self._batch.events, Batch()
        self._redo = [*self._redo, *events]  # Those of partitions that are gone end as orphans there.

    def _restore(self, number: int) -> None:
        self._epochs += 1
        self.partitions[number] = self._restorer.begin(Owned(number, self._epochs))

    def _restart(self, partition: Partition) -> None:
        """Throw away what we believe of a partition and read it again."""
        self._log.pause([partition.owned.partition])
        self._caller.forget(partition.owned)
        partition.close()
        self._restore(partition.owned.partition)

    def _begin(self, partition: Partition) -> None:
        """Start work on a restored partition: ask again for what died with its former owner."""
        partition.phase = Phase.RUNNING
        if self._is_paused:
            self._log.pause([partition.owned.partition])
        for storage, entry in partition.restored():
            key, name = split_key(storage)
            if name.startswith(PARKED_PREFIX):
                for event in self._parking.released(partition, storage, entry):
                    self._decide(event, partition)
            elif key not in partition.parked:
                self._decide(Event(Ticket(partition.owned, key), self._machine.resumed(name)), partition)

    def _stop_partition(self, partition: Partition, why: str) -> None:
        partition.phase = Phase.STOPPED
        self._log.pause([partition.owned.partition])
        self._observer.stopped(partition.owned.partition, why)

    # --- calls of partitions that are gone -------------------------------------------------------------------

    def _closed(self, owned: Owned) -> None:
        left = self._open.get(owned, 0) - 1
        if left > 0:
            self._open[owned] = left
        else:
            self._open.pop(owned, None)

    def _orphaned(self, answer: Answer) -> None:
        """Hand what a call proved to the partition's next owner, or give a permit back."""
        if answer.call is None:
            self._caller.release(answer.ticket)
            return
        record = self._machine.evidence(answer.ticket.key, answer.call, answer.fact, self._clock())
        if record is not None:
            self._log.publish_evidence([record])
            self._observer.evidence(1)

    # --- back-pressure ---------------------------------------------------------------------------------------

    def depth(self) -> int:
        """Return how many live requests the partitions hold."""
        live = self._machine.live_gauges
        return sum(sum(partition.counts[:live]) for partition in self.partitions.values())

    def counts(self) -> Mapping[str, int]:
        """Return how many parts there are of each gauge, and of parked facts."""
        names = (*self._machine.gauges, "parked")
        columns = zip(*(partition.counts for partition in self.partitions.values()), strict=True)
        totals = [sum(column) for column in columns] or [0] * len(names)
        return dict(zip(names, totals, strict=True))

    def is_ready(self) -> bool:
        """Whether every partition in our hands is restored and running."""
        return all(partition.phase is Phase.RUNNING for partition in self.partitions.values())

    def _balance_intake(self) -> None:
        """Pause intake while commits are blocked or too much is on its way; resume at four fifths."""
        depth_max = self._limits.depth_max
        share = 0.8 if self._is_paused else 1.0
        is_full = depth_max is not None and (self.depth() >= share * depth_max or self._is_downstream_full())
        self._pause(is_wanted=is_full or self._is_blocked or self._unknown is not None)

    def _pause(self, *, is_wanted: bool) -> None:
        if is_wanted == self._is_paused:
            return
        running = [number for number, partition in self.partitions.items() if partition.phase is Phase.RUNNING]
        (self._log.pause if is_wanted else self._log.resume)(running)
        self._is_paused = is_wanted


@dataclass(frozen=True, slots=True)
class _Sent:
    """A transaction as it was sent."""

    batch: Batch
    token: str
    records: Sequence[OutputRecord]
    positions: Mapping[int, Position]
    changes: Mapping[int, tuple[Mapping[str, Change], StoredPosition]]
