"""The engine's outside as fakes: a log on the in-memory cluster, stores that survive, a caller, an observer.

Each passes numbered points, where the schedule may let the process crash or stand still while others go on.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any, Protocol

from processor.engine.ports import (
    Answer,
    EndReached,
    InputRecord,
    Listener,
    Outcome,
    OutputRecord,
    Owned,
    Position,
    Ticket,
)
from processor.errors import BrokerUnavailable, FatalError
from tests.engine.cluster import Cluster, Transaction


class Crash(BaseException):
    """The process dies here: kill -9."""


class Fate(Protocol):
    """What the schedule has in store for one process."""

    def point(self, name: str) -> None:
        """Pass a numbered point: may crash, or stand still while others go on."""

    def happens(self, what: str) -> bool:
        """Say whether a fault happens now."""

    def wait(self, ms: int) -> None:
        """Let time pass for everybody."""


class FakeLog:
    """Serves `engine.ports.Log` for one process on the in-memory cluster."""

    def __init__(self, cluster: Cluster, name: str, fate: Fate, rng: Random) -> None:
        self._cluster = cluster
        self._name = name
        self._fate = fate
        self._rng = rng
        self._joins = 0
        self._member = ""
        self._generation = -1
        self._listener: Listener
        self._owned: list[int] = []
        self._placed: dict[int, int] = {}
        self._paused: set[int] = set()
        self._told: dict[int, int] = {}  # Partition -> the end that was last told.
        self._state: dict[int, int] = {}
        self._unknown: Transaction | None = None

    # --- group ------------------------------------------------------------------------------------------------

    @property
    def member(self) -> str:
        """The member id now."""
        return self._member

    def join(self, listener: Listener) -> None:
        """Subscribe."""
        self._listener = listener
        self._rejoin()

    def _rejoin(self) -> None:
        self._joins += 1
        self._member = f"{self._name}/{self._joins}"
        self._cluster.group.join(self._member)
        self._generation = -1  # Not a proper member before the next poll.

    def membership(self) -> Any | None:  # noqa: ANN401  # opaque to the engine
        """Return member and generation."""
        return (self._member, self._generation) if self._generation >= 0 else None

    def _follow_group(self) -> None:
        group, is_noticed = self._cluster.group, not self._fate.happens("late heartbeat")
        if self._member not in group.members:
            if is_noticed:
                lost, self._owned = sorted(self._owned), []
                self._unassign(lost)
                if lost:
                    self._fate.point("lost")
                    self._listener.on_lost(lost)
                self._rejoin()
            return
        if self._generation != group.generation and (is_noticed or self._generation < 0):
            self._generation = group.generation
            self._revoke([number for number in self._owned if group.target[number] != self._member])
        if self._generation == group.generation:
            self._assign(group.take(self._member))

    def _revoke(self, numbers: list[int]) -> None:
        if numbers:
            self._fate.point("revoke")
            self._listener.on_revoked(numbers)
            self._fate.point("revoked")
            self._owned = [number for number in self._owned if number not in numbers]
            self._unassign(numbers)
            self._cluster.group.give_up(self._member, numbers)

    def _assign(self, numbers: list[int]) -> None:
        if numbers:
            self._fate.point("assign")
            self._owned.extend(numbers)
            self._listener.on_assigned(numbers)
            self._fate.point("assigned")

    def _unassign(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._placed.pop(number, None)
            self._told.pop(number, None)
            self._paused.discard(number)

    def close(self) -> None:
        """Leave the group."""
        self._fate.point("close")
        if self._owned:
            self._listener.on_revoked(sorted(self._owned))
        self._fate.point("closed")
        self._cluster.group.leave(self._member)
        if self._unknown is not None:
            self._cluster.end(self._unknown, is_commit=False)

    # --- input ------------------------------------------------------------------------------------------------

    def poll(self, timeout_s: float, records_max: int) -> Sequence[InputRecord | EndReached]:
        """Return what came; runs the listener."""
        del timeout_s
        self._fate.point("poll")
        if self._cluster.is_down:
            return ()
        before: list[InputRecord | EndReached] = []
        if self._fate.happens("records before a rebalance"):
            before = self._fetch(records_max)
        self._follow_group()
        return before or self._fetch(records_max)

    def _fetch(self, records_max: int) -> list[InputRecord | EndReached]:
        found: list[InputRecord | EndReached] = []
        topic = self._cluster.input_topic
        for number in self._rng.sample(self._owned, len(self._owned)):
            offset = self._placed.get(number)
            if offset is None or number in self._paused:
                continue
            log = self._cluster.logs(topic)[number]
            most = self._rng.randint(0, max(0, min(6, records_max - len(found))))
            rows, self._placed[number] = log.read(offset, most)
            found.extend(
                InputRecord(topic, number, at, row.key, row.value, row.headers, when) for at, row, when in rows
            )
            end = log.stable_end
            if self._placed[number] >= end and self._told.get(number) != end:
                self._told[number] = end
                found.append(EndReached(number, end))
        return found

    def read_from(self, partition: int, offset: int) -> None:
        """Start delivering."""
        self._fate.point("read_from")
        if partition not in self._owned:
            raise FatalError(f"cannot seek [{partition}]: not assigned")
        if offset < self._cluster.logs(self._cluster.input_topic)[partition].start:
            raise FatalError(f"[{partition}]: {offset} is out of range")
        self._placed[partition] = offset
        self._told.pop(partition, None)
        self._paused.discard(partition)

    def pause(self, partitions: Iterable[int]) -> None:
        """Stop delivering; a partition that is not ours is an error, as in librdkafka."""
        self._paused.update(number for number in partitions if self._is_ours(number))

    def resume(self, partitions: Iterable[int]) -> None:
        """Deliver again."""
        self._paused.difference_update([number for number in partitions if self._is_ours(number)])

    def _is_ours(self, number: int) -> bool:
        if number not in self._owned:
            self._cluster.violations.append(f"{self._name} paused or resumed [{number}], which it does not own")
        return True

    # --- positions and bounds ---------------------------------------------------------------------------------

    def _ask(self, point: str) -> None:
        self._fate.point(point)
        if self._cluster.is_down or self._fate.happens("unavailable"):
            raise BrokerUnavailable(point)

    def committed(self, partitions: Sequence[int]) -> Mapping[int, Position | None]:
        """Return committed positions."""
        self._ask("committed")
        if any(self._cluster.is_unstable(number) for number in partitions):
            raise BrokerUnavailable("offsets are unstable")
        return {number: self._cluster.group.offsets.get(number) for number in partitions}

    def last_committed(self, partition: int) -> Position | None:
        """Return the committed position to restore by."""
        return self.committed([partition])[partition]

    def bounds(self, partition: int) -> tuple[int, int]:
        """Return bounds of the input."""
        self._ask("bounds")
        log = self._cluster.logs(self._cluster.input_topic)[partition]
        return log.start, log.end

    def partitions(self) -> int:
        """Return the number of partitions."""
        self._ask("partitions")
        return self._cluster.partitions

    def partitions_before(self) -> int | None:
        """Return the number of partitions when the group committed."""
        self._ask("partitions_before")
        return self._cluster.partitions_before

    def state_bounds(self, partition: int) -> tuple[int, int]:
        """Return bounds of the state."""
        self._ask("state_bounds")
        log = self._cluster.logs(self._cluster.state_topic)[partition]
        return log.start, log.end

    def state_id(self) -> str:
        """Return which topic of this name it is."""
        self._ask("state_id")
        return self._cluster.state_id

    def forget_before(self, partition: int, offset: int) -> bool:
        """Delete input."""
        self._fate.point("forget_before")
        log = self._cluster.logs(self._cluster.input_topic)[partition]
        log.start = max(log.start, offset)
        log.rows = [row for row in log.rows if row.offset >= log.start]
        return True

    # --- state ------------------------------------------------------------------------------------------------

    def state_start(self, partition: int, offset: int) -> None:
        """Begin to read state."""
        self._ask("state_start")
        if offset < self._cluster.logs(self._cluster.state_topic)[partition].start:
            raise FatalError(f"state [{partition}]: {offset} is out of range")
        if partition in self._state:
            self._cluster.violations.append(f"state [{partition}] is read already")
        self._state[partition] = offset

    def state_poll(self, timeout_s: float) -> Sequence[InputRecord | EndReached]:
        """Return state records and ends."""
        del timeout_s
        self._fate.point("state_poll")
        if self._cluster.is_down:
            return ()
        found: list[InputRecord | EndReached] = []
        topic = self._cluster.state_topic
        for number, offset in list(self._state.items()):
            log = self._cluster.logs(topic)[number]
            rows, self._state[number] = log.read(offset, self._rng.choice((0, 3, 500)))
            found.extend(InputRecord(topic, number, at, row.key, row.value, (), when) for at, row, when in rows)
            if self._state[number] >= log.stable_end:
                found.append(EndReached(number, log.stable_end))
        return found

    def state_stop(self, partition: int) -> None:
        """Stop reading state."""
        if self._state.pop(partition, None) is None:
            self._cluster.violations.append(f"state [{partition}] was not being read")

    # --- transactions -----------------------------------------------------------------------------------------

    def transact(
        self,
        records: Sequence[OutputRecord],
        positions: Mapping[int, Position],
        membership: Any,  # noqa: ANN401  # opaque to the engine
    ) -> tuple[Outcome, Mapping[int, int]]:
        """Publish in one transaction."""
        cluster, fate = self._cluster, self._fate
        self._ask("transact")
        if self._unknown is not None:
            cluster.violations.append("a transaction was begun while the last one's outcome is unknown")
        written = {record.partition for record in records if record.topic == cluster.state_topic}
        if not positions or written != set(positions):
            cluster.violations.append(f"positions of {sorted(positions)}, but state of {written} was written")
        transaction = cluster.begin()
        ends = {}
        for record in records:
            number, offset = cluster.append(record, transaction)
            if record.topic == cluster.state_topic:
                ends[number] = offset + 1
        fate.point("transact: produced")
        is_refused = not cluster.group.is_member(*membership) or fate.happens("abort")
        if is_refused or not transaction.is_open:
            cluster.end(transaction, is_commit=False)
            return Outcome.ABORTED, {}
        transaction.positions = dict(positions)
        fate.point("transact: offsets sent")
        if not transaction.is_open or fate.happens("unknown"):
            self._unknown = transaction
            if fate.happens("unknown commits"):
                cluster.end(transaction, is_commit=True)
            fate.point("transact: unknown")
            return Outcome.UNKNOWN, {}
        cluster.end(transaction, is_commit=True)
        fate.point("transact: committed")
        return Outcome.COMMITTED, {} if fate.happens("no delivery report") else ends

    def end_transaction(self) -> None:
        """Replace the producer: what is open ends, by the last request that was on its way or by the new one."""
        self._ask("end_transaction")
        if self._unknown is not None:
            self._cluster.end(self._unknown, is_commit=self._fate.happens("unknown commits"))
            self._unknown = None
        self._fate.point("end_transaction: ended")

    def wait(self, seconds: float) -> None:
        """Let a moment pass."""
        self._fate.wait(max(1, round(seconds * 1000)))
        self._fate.point("wait")

    def publish_evidence(self, records: Sequence[OutputRecord]) -> None:
        """Publish without a transaction."""
        self._fate.point("publish_evidence")
        for record in records:
            self._cluster.append(record)
        self._fate.point("evidence published")


class Provider(Protocol):
    """Who answers calls."""

    def call(self, ticket: Ticket, call: Any, now: int) -> tuple[int, Any]:  # noqa: ANN401  # the machine's own
        """Return when the answer comes, and the answer."""

    def permit(self, until: int) -> Any:  # noqa: ANN401  # the machine's own
        """Return the fact that a permit was granted."""

    def needs_permit(self, call: Any) -> bool:  # noqa: ANN401  # the machine's own
        """Say whether a call uses the permit of its ticket."""

    def not_sent(self, call: Any) -> Any:  # noqa: ANN401  # the machine's own
        """Return the answer of a call that was not sent."""


class FakeCaller:
    """Serves `engine.ports.Caller` in virtual time: permits for so many slots, answers when they are due."""

    def __init__(self, provider: Provider, fate: Fate, clock: Callable[[], int], *, slots: int, queue_ms: int) -> None:
        self.slots_used = 0
        self._provider = provider
        self._fate = fate
        self._clock = clock
        self._slots = slots
        self._queue_ms = queue_ms
        self._numbers = 0
        self._wants: list[Ticket] = []
        self._permits: dict[Ticket, int] = {}
        self._queued: list[tuple[int, Ticket, Any]] = []  # Harmless calls that wait for their start.
        self._running: list[tuple[int, int, bool, Answer]] = []
        self._deliver: Callable[[Answer], None]

    def bind(self, deliver: Callable[[Answer], None]) -> None:
        """Say where answers go."""
        self._deliver = deliver

    def start(self, calls: Sequence[tuple[Ticket, Any]], wants: Sequence[tuple[Ticket, str]]) -> None:
        """Start calls, queue for permits."""
        self._fate.point("calls: start")
        for ticket, call in calls:
            if self._provider.needs_permit(call):
                self._send(ticket, call)
                self._fate.point("calls: one started")
            else:
                heapq.heappush(self._queued, (self._clock() + self._queue_ms, self._next(), (ticket, call)))  # type: ignore[misc]
        self._wants.extend(ticket for ticket, _ in wants)

    def _send(self, ticket: Ticket, call: Any) -> None:  # noqa: ANN401  # the machine's own
        until = self._permits.pop(ticket, None)
        is_permitted = until is not None and self._clock() < until
        at, fact = self._clock(), self._provider.not_sent(call)
        if is_permitted:
            at, fact = self._provider.call(ticket, call, self._clock())
        elif until is not None:
            self.slots_used -= 1
        heapq.heappush(self._running, (at, self._next(), is_permitted, Answer(ticket, call, fact)))

    def release(self, ticket: Ticket) -> None:
        """Take a permit back."""
        if self._permits.pop(ticket, None) is not None:
            self.slots_used -= 1

    def forget(self, owned: Owned) -> None:
        """Drop what was not started."""
        self._fate.point("calls: forget")
        self._wants = [ticket for ticket in self._wants if ticket.owned != owned]
        for ticket in [ticket for ticket in self._permits if ticket.owned == owned]:
            self.release(ticket)
        queued: list[Any] = self._queued
        dropped = [(ticket, call) for _, _, (ticket, call) in queued if ticket.owned == owned]
        self._queued = [one for one in queued if one[2][0].owned != owned]
        heapq.heapify(self._queued)
        for ticket, call in dropped:
            self._deliver(Answer(ticket, call, None))

    def pump(self) -> None:
        """Deliver what is due by now."""
        now = self._clock()
        queued: list[Any] = self._queued
        while queued and queued[0][0] <= now:
            _, _, (ticket, call) = heapq.heappop(queued)
            at, fact = self._provider.call(ticket, call, now)
            heapq.heappush(self._running, (at, self._next(), False, Answer(ticket, call, fact)))
        while self._running and self._running[0][0] <= now:
            _, _, has_slot, answer = heapq.heappop(self._running)
            self.slots_used -= has_slot
            self._deliver(answer)
        while self._wants and self.slots_used < self._slots:
            ticket = self._wants.pop(0)
            self.slots_used += ticket not in self._permits  # Asked for twice, it is granted twice and held once.
            self._permits[ticket] = now + 500
            self._deliver(Answer(ticket, None, self._provider.permit(now + 500)))

    def is_idle(self) -> bool:
        """Say whether nothing is under way."""
        return not (self._wants or self._permits or self._queued or self._running or self.slots_used)

    def _next(self) -> int:
        self._numbers += 1
        return self._numbers


class Watcher:
    """Serves `engine.ports.Observer`: counts what happens, by name."""

    def __init__(self, say: Callable[[str], None] = lambda _: None) -> None:
        self.seen: Counter[str] = Counter()
        self.said: list[str] = []
        self._say = say

    def __getattr__(self, name: str) -> Callable[..., None]:
        def told(*values: object, **named: object) -> None:
            self.seen[name] += 1
            self._say(f"{name}{values}{named or ''}")
            if name in {"stopped", "parked", "unknown_commit", "stuck"}:
                self.said.append(f"{name}{values}{named or ''}")

        return told
