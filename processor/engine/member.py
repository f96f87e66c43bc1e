"""The loop of one decider: read, decide, commit, then call.

One thread drives it. Each turn takes a snapshot of the group metadata before it polls, so that what is committed
later can be refused wrongly but never accepted wrongly; answers and timers are facts like any other. After a
commit, and only then, calls start. The rules behind each step stand in docs/kafka-rules.md.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from processor.engine.batch import Batch, Event, Sealed
from processor.engine.calls import Calls
from processor.engine.entries import checked_key, split_key
from processor.engine.folding import Folding
from processor.engine.limits import Limits
from processor.engine.marking import Marker
from processor.engine.parking import ParkingLot
from processor.engine.partition import Partition, Phase, is_deciding, is_running
from processor.engine.pending import Pending
from processor.engine.ports import (
    Caller,
    Checkpoint,
    EndReached,
    InputRecord,
    Log,
    Machine,
    Observer,
    Outcome,
    Owned,
    Store,
    Ticket,
)
from processor.engine.restore import Restorer
from processor.engine.upkeep import Purger, Upkeep, Watchdog
from processor.errors import BrokerUnavailable, FatalError, PoisonError, StateUnreadable, TransientError

BUSY_WAIT_MS = 10
IDLE_WAIT_MS = 100
DRAIN_STEP_S = 0.005
RETRY_MS = 1_000  # Between two tries of what waits for something outside.


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
        self._calls = Calls(machine, log, caller, clock, observer)
        self._clock = clock
        self._observer = observer
        self._process_id, self._limits = process_id, limits
        self._is_downstream_full = is_downstream_full
        self._restorer = Restorer(machine, log, open_store, clock, observer, evidence_wait_ms=limits.evidence_wait_ms)
        parking = ParkingLot(machine, observer, build, limits.record_bytes_max)
        self._folding = Folding(machine, parking, clock, observer, limits.record_bytes_max)
        self._upkeep = Upkeep(
            Purger(log, observer, interval_ms=limits.purge_interval_ms, age_ms=limits.position_age_ms),
            Watchdog(log, observer, patience_ms=limits.watchdog_ms),
        )
        self._marker = Marker(log, limits.mark_interval_ms)
        self._input_retry_at = self._retry_at = self._ends_retry_at = 0
        self._arrived: deque[InputRecord | EndReached] = deque()
        self._batch = Batch()
        self._pending = Pending(parking)
        self._membership: Any = None
        self._epochs = self._transactions = self._aborts = 0
        self._committed_at = 0
        self._leave_by: float = math.inf  # One budget for leaving and the revocation within it.
        self._has_joined = False
        self._unknown: Sealed | None = None
        self._is_blocked = False  # Kafka took no transaction; nothing more is read until it does.
        self._is_paused = False

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
        if self._membership is None or not self._batch.events:  # Work in hand keeps the snapshot before its first poll.
            self._membership = self._log.membership()
        self._arrived.extend(self._log.poll(self._wait_s(), self._limits.records_max))
        if self._settle_unknown():
            self._work()
            self._marker.turn(self.partitions, self._batch, self.turned_at)
            if self._clock() >= self._commit_at():
                self.commit()
            self._calls.ask(self._batch.wants, self._owned)
        self._balance_intake()
        self._upkeep.turn(
            self.partitions, self.turned_at, is_paused=self._is_paused, is_internal=self._machine.is_internal
        )

    def _work(self) -> None:
        for partition in self._restorer.turn():
            self._begin(partition)
        if self._decide_pending():
            self._take_arrived()
            self._take_answers()
            self._fire_timers()

    def leave(self) -> None:
        """Stop intake, wait for open calls within the budget, commit, leave the group."""
        self._pause(is_wanted=True)
        self._leave_by = self._clock() + self._limits.drain_ms
        self._drain(list(self.partitions.values()), is_polling=True)
        self._log.close()

    def _wait_s(self) -> float:
        """Return how long a poll may wait: not longer than the next thing to do.

        Answers do not cut it short: they are taken in one go, when the next commit is due.
        """
        now = self._clock()
        wakes = [now + (BUSY_WAIT_MS if self._calls.is_any_awaited or self._restorer.is_busy else IDLE_WAIT_MS)]
        if self._batch.events:
            wakes.append(self._commit_at())
        if self._unknown is None and not self._is_full():
            wakes.extend(self._work_dues(now))
        return max(0, min(wakes) - now) / 1000

    def _work_dues(self, now: int) -> Iterator[int]:
        """Return when there is something to decide; a timer that is overdue after a turn waits for its commit."""
        if self._pending:
            yield self._retry_at
            return
        if self._arrived:
            yield self._input_retry_at
        running = [partition for partition in self.partitions.values() if partition.phase is Phase.RUNNING]
        for due_at in (partition.next_due(now) for partition in running):
            if due_at is not None and (due_at > now or not self._batch.events):
                yield max(due_at, now + 1, self._retry_at)

    def _is_full(self) -> bool:
        batch = self._batch
        return len(batch.events) >= self._limits.events_max or batch.outputs_bytes >= self._limits.outputs_bytes_max

    def _commit_at(self) -> int:
        """Return when the open transaction is to be sent: at once if it is full, later after each abort in a row."""
        is_in_haste = self._is_full() and not self._aborts and not self._is_blocked
        return self._committed_at + (0 if is_in_haste else self._limits.commit_interval_ms * (1 + self._aborts))

    # --- facts -----------------------------------------------------------------------------------------------

    def _take_arrived(self) -> None:
        """Decide what was read; the first that must wait for something outside holds up those behind it."""
        while self._arrived and self._clock() >= self._input_retry_at:
            try:
                self._take(self._arrived[0])
            except TransientError as error:
                self._input_retry_at = self._wait_for(error)
                return
            self._arrived.popleft()

    def _wait_for(self, error: TransientError) -> int:
        """Return when to try again what needs something outside that is not there."""
        self._observer.waiting_for(type(error).__name__)
        return self._clock() + RETRY_MS

    def _take(self, item: InputRecord | EndReached) -> None:
        partition = self.partitions.get(item.partition)
        if partition is None or partition.phase is not Phase.RUNNING:
            return
        if isinstance(item, EndReached):
            partition.read_to = max(partition.read_to, item.offset)
        elif item.offset < partition.next_offset:
            self._observer.redelivered(item.partition, 1)
        else:
            self._take_record(item, partition)

    def _take_record(self, record: InputRecord, partition: Partition) -> None:
        try:
            key, fact = self._machine.arrived(record)
            event = Event(Ticket(partition.owned, checked_key(key)), fact, record)
        except PoisonError as error:
            event = Event(Ticket(partition.owned, ""), None, record, error=error)
        except StateUnreadable as error:
            self._stop_partition(partition, str(error))
            return
        self._decide(event, partition)

    def _take_answers(self) -> None:
        for answer in self._calls.answers(self._limits.events_max):
            self._pending.add(Event(answer.ticket, answer.fact, answer=answer))
        self._decide_pending()

    def _decide_pending(self) -> bool:
        """Decide what goes before anything new, while the open transaction has room; say whether nothing is left.

        What must wait for something outside holds up what is behind it.
        """
        batch = self._batch
        while self._clock() >= self._retry_at and not self._is_full() and (event := self._pending.take()) is not None:
            if event.is_permit:  # It is there already: what asked for it need not ask again.
                batch.wants = [want for want in batch.wants if want[0] != event.ticket]
            try:
                self._decide_or_give_away(event)
            except TransientError as error:
                self._pending.put_back([event])
                self._retry_at = self._wait_for(error)
        if batch.wants:
            granted = self._pending.permits()
            batch.wants = [want for want in batch.wants if want[0] not in granted]
        return not self._pending

    def _decide_or_give_away(self, event: Event) -> None:
        """Decide an event, unless its partition is gone or stopped: then what it proves goes to the next owner.

        A partition in drain takes no permits: who waits for one asks the next owner again.
        """
        partition = self._owned(event.ticket.owned)
        if partition is None or not is_deciding(partition) or (event.is_permit and not is_running(partition)):
            self._calls.give_away(event)
        else:
            self._decide(event, partition)

    def _fire_timers(self) -> None:
        """Fire what is due, behind everything that came before."""
        now = self._clock()
        for number, partition in self.partitions.items():
            if self._pending or self._is_full() or now < self._retry_at:
                return
            if partition.phase is not Phase.RUNNING:
                continue
            if now >= self._ends_retry_at and partition.wants_evidence(now):
                self._look_for_end(number, partition, now)
            try:
                self._fire(partition, now)
            except TransientError as error:
                self._retry_at = self._wait_for(error)
            except (StateUnreadable, PoisonError) as error:
                self._stop_partition(partition, str(error))

    def _fire(self, partition: Partition, now: int) -> None:
        for due_at, storage in partition.due(now, self._limits.timers_max):
            key, part = split_key(storage)
            self._decide_or_give_away(Event(Ticket(partition.owned, key), self._machine.timer_fired(part, due_at)))

    def _look_for_end(self, number: int, partition: Partition, now: int) -> None:
        """Look up where the input ends; while the broker does not answer, one partition at a time waits for it."""
        try:
            partition.observed(now, self._log.bounds(number)[1])
        except BrokerUnavailable:
            self._ends_retry_at = self._clock() + RETRY_MS

    def _decide(self, event: Event, partition: Partition) -> None:
        """Take an event into the open transaction; state that this build cannot read stops the partition."""
        try:
            self._folding.take(event, partition, self._batch)
        except (StateUnreadable, PoisonError) as error:
            self._stop_partition(partition, str(error))
            self._calls.give_away(event)

    def _owned(self, owned: Owned) -> Partition | None:
        partition = self.partitions.get(owned.partition)
        return partition if partition is not None and partition.owned == owned else None

    # --- commit ----------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Send the open transaction; what it leads to happens here, whatever its outcome."""
        self._calls.ask(self._batch.wants, self._owned)
        if not self._batch.touched or self._membership is None:
            return
        self._committed_at = self._clock()
        marks = self._marker.marks(self._batch, is_whole=not self._pending)
        sent = self._batch.seal(f"{self._process_id}:{self._transactions}", self._committed_at, marks)
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

    def _succeeded(self, sent: Sealed, ends: Mapping[int, int]) -> None:
        for number, (changes, position) in sent.changes.items():
            partition = sent.batch.touched.get(number)
            if partition is not None and self._owned(partition.owned) is partition:
                # Without its end (an unknown commit that proved committed) the store keeps its older checkpoint.
                checkpoint = Checkpoint(ends[number], sent.at) if number in ends else None
                partition.committed(changes, position, sent.token, checkpoint, sent.marks.get(number, 0))
        self._batch, self._aborts, self._is_blocked = Batch(), 0, False
        self._calls.follow(sent.batch, self._owned)
        self._observer.committed(len(sent.batch.events), len(sent.records), (self._clock() - sent.at) / 1000)
        self._observer.happened(sent.batch.happened)

    def _aborted(self, batch: Batch) -> None:
        self._aborts += 1
        self._observer.aborted(self._aborts)
        if self._aborts > self._limits.aborts_max:
            raise FatalError(f"{self._machine.name}: {self._aborts} transactions in a row were aborted")
        for partition in batch.touched.values():
            partition.rollback()
        self._batch = Batch()
        self._pending.put_back(batch.events)

    def _settle_unknown(self) -> bool:
        """Decide a commit of unknown outcome by the tokens that stand at its partitions now; False: not yet.

        Partitions whose tokens cannot be read for long are restored like those where somebody else wrote.
        """
        sent = self._unknown
        if sent is None:
            return True
        try:
            self._log.end_transaction()
        except BrokerUnavailable:
            return False
        try:
            found = self._log.committed(list(sent.changes))
        except BrokerUnavailable:
            if self._clock() - sent.at < self._limits.unknown_ms:
                return False
            found = {}  # Of what stays pending for ever a restore makes the best.
        self._unknown = None
        touched = [p for p in sent.batch.touched.values() if self._owned(p.owned) is p]
        is_ours, strays = sent.is_committed(found), sent.strays(touched, found)
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
        self._has_joined = True
        self._observer.assigned(partitions)
        for number in partitions:
            self._restore(number)
        self._pause(is_wanted=False)  # Nothing paused outlives a rebalance; what still must be is paused again.

    def on_revoked(self, partitions: Sequence[int]) -> None:
        """Drain, commit or abort, hand over; what is left open reports as evidence."""
        began = self._clock()
        self._membership = self._log.membership()
        leaving = [self.partitions[number] for number in partitions if number in self.partitions]
        self._drain(leaving, is_polling=False)
        self._observer.revoked(partitions, (self._clock() - began) / 1000, calls_left=self._calls.open_of(leaving))
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
            self._calls.forget(partition.owned)
        give_up_at, aborts = min(self._leave_by, self._clock() + self._limits.drain_ms), self._aborts
        while self._clock() < give_up_at and (is_polling or self._membership is not None):
            if is_polling:
                self._membership = self._log.membership()
                self._arrived.extend(self._log.poll(0.0, self._limits.records_max))
            if self._settle_unknown():
                if self._decide_pending():
                    self._take_answers()
                self.commit()
            # Whoever leaves for good waits for calls of partitions gone before, too: they must report as evidence.
            awaited = None if is_polling else leaving
            is_work_left = self._calls.open_of(awaited) or self._pending.is_any_of(awaited)
            if not is_work_left and not self._batch.events and self._unknown is None:
                return
            if not is_polling and self._aborts > aborts:
                return  # The group moved on without us; only a poll could tell more.
            self._log.wait(DRAIN_STEP_S)

    def _drop(self, partitions: Sequence[int]) -> None:
        for number in partitions:
            partition = self.partitions.pop(number, None)
            self._restorer.forget(number)
            if partition is None:
                continue
            self._calls.forget(partition.owned)
            partition.close()
        self._disown(set(partitions))

    def _disown(self, numbers: set[int]) -> None:
        """Take what belongs to partitions that are gone out of the open transaction; what it proves is given away."""
        if not numbers.isdisjoint(self._batch.touched):
            for number, partition in self._batch.touched.items():
                if number not in numbers:
                    partition.rollback()
            self._pending.put_back(self._batch.events)
            self._batch = Batch()
        for event in self._pending.drop(lambda owned: self._owned(owned) is None):
            self._calls.give_away(event)

    def _restore(self, number: int) -> None:
        self._epochs += 1
        self.partitions[number] = self._restorer.begin(Owned(number, self._epochs))

    def _restart(self, partition: Partition) -> None:
        """Throw away what we believe of a partition and read it again."""
        self._log.pause([partition.owned.partition])
        self._calls.forget(partition.owned)
        partition.close()
        self._restore(partition.owned.partition)

    def _begin(self, partition: Partition) -> None:
        """Start work on a restored partition."""
        partition.phase = Phase.RUNNING
        if self._is_paused:
            self._log.pause([partition.owned.partition])
        # What is here of it came before it was placed: it would make us skip what lies between.
        self._arrived = deque(item for item in self._arrived if item.partition != partition.owned.partition)
        self._pending.begin(partition)

    def _stop_partition(self, partition: Partition, why: str) -> None:
        partition.stop(why)
        self._log.pause([partition.owned.partition])
        self._observer.stopped(partition.owned.partition, why)

    # --- back-pressure ---------------------------------------------------------------------------------------

    def depth(self) -> int:
        """Return how many live requests the partitions hold."""
        live = self._machine.live_gauges
        return sum(sum(partition.counts[:live]) for partition in list(self.partitions.values()))

    def counts(self) -> Mapping[str, int]:
        """Return how many parts there are of each gauge, and of parked facts."""
        names = (*self._machine.gauges, "parked")
        columns = zip(*(partition.counts for partition in list(self.partitions.values())), strict=True)
        totals = [sum(column) for column in columns] or [0] * len(names)
        return dict(zip(names, totals, strict=True))

    def is_ready(self) -> bool:
        """Whether the group has us, and every partition in our hands is restored and running."""
        phases = [partition.phase for partition in list(self.partitions.values())]
        return self._has_joined and all(phase is Phase.RUNNING for phase in phases)

    def why_stopped(self) -> str | None:
        """Say what stopped the first of the partitions that stopped; None while none has."""
        stopped = (partition.why_stopped for partition in list(self.partitions.values()))
        return next(filter(None, stopped), None)

    def _balance_intake(self) -> None:
        """Pause intake while commits are blocked or too much is on its way; resume at four fifths."""
        depth_max = self._limits.depth_max
        share = 0.8 if self._is_paused else 1.0
        is_full = depth_max is not None and (self.depth() >= share * depth_max or self._is_downstream_full())
        is_blocked = self._is_blocked and bool(self._batch.events)  # What was blocked may be gone with its partition.
        is_stalled = is_blocked or self._unknown is not None or bool(self._arrived)
        self._pause(is_wanted=is_full or is_stalled)

    def _pause(self, *, is_wanted: bool) -> None:
        if is_wanted == self._is_paused:
            return
        running = [number for number, partition in self.partitions.items() if partition.phase is Phase.RUNNING]
        (self._log.pause if is_wanted else self._log.resume)(running)
        self._is_paused = is_wanted
