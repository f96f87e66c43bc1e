"""What the engine needs from outside, as protocols and the plain values that cross them.

Values are named tuples: millions of them are made, and a frozen dataclass takes more than twice as long to make.
`Machine` is one decider as the engine sees it, `Log` is Kafka, `Store` is the local copy of one partition's
state, `Caller` makes slow calls, `Observer` is told what happens. All instants are milliseconds since the epoch.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum, auto
from typing import Any, NamedTuple, Protocol, TypeAlias

from processor.errors import PoisonError

Headers: TypeAlias = tuple[tuple[str, bytes], ...]
Fact: TypeAlias = Any  # The machine's own; the engine only carries them.
Call: TypeAlias = Any
Output: TypeAlias = Any


class InputRecord(NamedTuple):
    """One record of the input topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int


class EndReached(NamedTuple):
    """The partition has been read to `offset`, which was its (stable) end at that moment."""

    partition: int
    offset: int


class OutputRecord(NamedTuple):
    """One record to publish; `partition` None lets the partitioner choose by key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None


class PartTimer(Protocol):
    """When a part wants to be woken."""

    @property
    def due_at(self) -> int:
        """The instant."""
        ...

    @property
    def is_behind_evidence(self) -> bool:
        """Whether the input must first have been read to where it ended after `due_at`."""
        ...


class Part(Protocol):
    """One bounded piece of a key's state."""

    @property
    def timer(self) -> PartTimer | None:
        """When it wants to be woken, or None."""
        ...

    @property
    def is_waiting(self) -> bool:
        """Whether a call or permit of it lives in memory only, so that a new owner must ask again."""
        ...


class Decision(Protocol):
    """What a machine answers to a fact."""

    @property
    def changes(self) -> Mapping[str, Any]:
        """Part name -> new part, or None to delete."""
        ...

    @property
    def calls(self) -> Sequence[Call]:
        """Calls to start once the decision is committed."""
        ...

    @property
    def outputs(self) -> Sequence[Output]:
        """Messages to publish in the same transaction."""
        ...

    @property
    def wants_permit(self) -> str | None:
        """For which budget a permit is wanted, or None."""
        ...


class Machine(Protocol):
    """One decider with its encodings: everything that the engine must not know."""

    name: str
    input_topic: str
    state_topic: str
    gauges: tuple[str, ...]  # Names of the classes that `gauge_of` numbers.
    live_gauges: int  # The first so many of them are live requests, which intake is bounded by.
    is_internal: bool  # Whether the input topic is ours alone, so that decided records are purged.
    unjudged: int | None  # The class of parts that hold evidence which is still to be judged, if there is one.

    def arrived(self, record: InputRecord) -> tuple[str, Fact]:
        """Return state key and fact of an input record.

        Raises PoisonError for one that is set aside, TransientError to be asked again later, StateUnreadable for
        one that only a newer build can read.
        """
        ...

    def poisoned(
        self,
        record: InputRecord,
        error: PoisonError,
    ) -> tuple[Sequence[OutputRecord], tuple[str, Fact] | None]:
        """Return the dead letter of an unreadable record, and the fact left of it when it carried custody."""
        ...

    def timer_fired(self, part: str, due_at: int) -> Fact:
        """Return the fact that a part's timer is due."""
        ...

    def resumed(self, part: str) -> Fact:
        """Return the fact that a new owner found a waiting part."""
        ...

    def decide(self, state: Mapping[str, Any], fact: Fact, now: int) -> Decision:
        """Fold one fact into one key's state; pure."""
        ...

    def gauge_of(self, part: Any) -> int:  # noqa: ANN401  # the machine's own part
        """Return the index into `gauges` of the class that this part is counted in."""
        ...

    def encode(self, value: Any) -> bytes:  # noqa: ANN401  # the machine's own part
        """Return a part, or an answer, as bytes."""
        ...

    def decode(self, data: bytes) -> Any:  # noqa: ANN401  # the machine's own part
        """Return what `encode` was given; raises StateUnreadable for a newer format."""
        ...

    def to_records(self, output: Output, source: InputRecord | None) -> Sequence[OutputRecord]:
        """Return an output as records; `source` is the input record being decided, if it is one."""
        ...

    def must_finish(self, call: Call) -> bool:
        """Whether a drain must wait for this call."""
        ...

    def evidence(self, key: str, call: Call, fact: Fact | None, now: int) -> OutputRecord | None:
        """Return what this answer (None: it was never called) proves to the partition's next owner, or None."""
        ...


class Owned(NamedTuple):
    """A partition in the hands of this member; `epoch` tells one ownership from the next."""

    partition: int
    epoch: int


class Ticket(NamedTuple):
    """Whose call it is: its answer comes back under the same ticket."""

    owned: Owned
    key: str


class Answer(NamedTuple):
    """A fact that a call or permit brought.

    `call` is None for a permit; `fact` is None for a call that was dropped before it started.
    """

    ticket: Ticket
    call: Call | None
    fact: Fact


class Caller(Protocol):
    """Makes calls and grants permits, elsewhere; never blocks the decider's thread."""

    def bind(self, deliver: Callable[[Answer], None]) -> None:
        """Say where answers go; `deliver` may be called from any thread."""
        ...

    def start(self, calls: Sequence[tuple[Ticket, Call]], wants: Sequence[tuple[Ticket, str]]) -> None:
        """Start calls and queue for permits."""
        ...

    def release(self, ticket: Ticket) -> None:
        """Give a granted permit back unused."""
        ...

    def forget(self, owned: Owned) -> None:
        """Drop what was queued and not started for a partition that is being given up, and its permits.

        Each dropped call is answered without a fact.
        """
        ...


class Outcome(Enum):
    """How a transaction ended."""

    COMMITTED = auto()
    ABORTED = auto()
    UNKNOWN = auto()


class Position(NamedTuple):
    """Where reading goes on, the token of the transaction that said so, and how far evidence was judged."""

    offset: int
    token: str
    mark: int = 0  # All that came before this instant is judged; 0 where nobody keeps count.


class Listener(Protocol):
    """Told of group changes, on the polling thread, inside `poll` and `close`."""

    def on_assigned(self, partitions: Sequence[int]) -> None:
        """These partitions are ours now."""
        ...

    def on_revoked(self, partitions: Sequence[int]) -> None:
        """These partitions go; we still own them until this returns."""
        ...

    def on_lost(self, partitions: Sequence[int]) -> None:
        """These partitions are gone; nothing of theirs may be committed."""
        ...


class Log(Protocol):
    """Kafka, for one member: a group consumer, a transactional producer and a reader of state topics."""

    def join(self, listener: Listener) -> None:
        """Subscribe to the input topic."""
        ...

    def membership(self) -> Any | None:  # noqa: ANN401  # opaque to the engine
        """Return group metadata to commit with, or None while not (or no longer) a proper member."""
        ...

    def poll(self, timeout_s: float, records_max: int) -> Sequence[InputRecord | EndReached]:
        """Return what came; runs the listener."""
        ...

    def read_from(self, partition: int, offset: int) -> None:
        """Start delivering an assigned partition at an offset; until then nothing of it is delivered."""
        ...

    def pause(self, partitions: Iterable[int]) -> None:
        """Stop delivering these partitions."""
        ...

    def resume(self, partitions: Iterable[int]) -> None:
        """Deliver these partitions again."""
        ...

    def committed(self, partitions: Sequence[int]) -> Mapping[int, Position | None]:
        """Return committed positions, once no transaction of theirs is open; raises BrokerUnavailable."""
        ...

    def last_committed(self, partition: int) -> Position | None:
        """Return the committed position to restore by, however long a transaction stays pending.

        Raises BrokerUnavailable.
        """
        ...

    def bounds(self, partition: int) -> tuple[int, int]:
        """Return first offset and high watermark of the input partition; raises BrokerUnavailable."""
        ...

    def partitions(self) -> int:
        """Return how many partitions the input topic has; raises BrokerUnavailable."""
        ...

    def partitions_before(self) -> int | None:
        """Return how many the input topic had when the group last committed, None where it does not say.

        Raises BrokerUnavailable.
        """
        ...

    def state_bounds(self, partition: int) -> tuple[int, int]:
        """Return first offset and high watermark of the state partition; raises BrokerUnavailable."""
        ...

    def state_id(self) -> str:
        """Return what tells this state topic from others that had its name; raises BrokerUnavailable."""
        ...

    def state_start(self, partition: int, offset: int) -> None:
        """Begin reading a state partition from an offset."""
        ...

    def state_poll(self, timeout_s: float) -> Sequence[InputRecord | EndReached]:
        """Return committed state records that came, and ends reached."""
        ...

    def state_stop(self, partition: int) -> None:
        """Stop reading a state partition."""
        ...

    def transact(
        self,
        records: Sequence[OutputRecord],
        positions: Mapping[int, Position],
        membership: Any,  # noqa: ANN401  # opaque to the engine
    ) -> tuple[Outcome, Mapping[int, int]]:
        """Publish records and positions in one transaction.

        Returns the outcome and, for each partition, the offset after its last state record. Raises
        BrokerUnavailable when nothing was begun, FatalError when no retry can help.
        """
        ...

    def end_transaction(self) -> None:
        """After UNKNOWN: replace the producer, so that its last transaction has ended and `committed` tells.

        Raises BrokerUnavailable: then try again.
        """
        ...

    def wait(self, seconds: float) -> None:
        """Let a moment pass where polling is not allowed."""
        ...

    def publish_evidence(self, records: Sequence[OutputRecord]) -> None:
        """Publish without a transaction, idempotently, within a bounded time; failures are reported, not raised."""
        ...

    def forget_before(self, partition: int, offset: int) -> bool:
        """Delete input records below an offset; False where the broker refuses."""
        ...

    def close(self) -> None:
        """Leave the group and close; runs the listener's on_revoked."""
        ...


class Entry(NamedTuple):
    """One part as it is stored: engine's header and machine's bytes."""

    gauge: int
    due_at: int | None
    is_behind_evidence: bool
    is_waiting: bool
    body: bytes


class Change(NamedTuple):
    """A new entry for a storage key, or None to delete; `old_due` names the index entry to remove."""

    entry: Entry | None
    old_due: tuple[int, bool] | None


class Checkpoint(NamedTuple):
    """A store is complete up to this offset of its state partition; `at` is when that was written."""

    offset: int
    at: int


class Store(Protocol):
    """The local copy of one partition's state; a cache of the state topic."""

    @property
    def is_durable(self) -> bool:
        """Whether what is written outlives the process."""
        ...

    def origin(self) -> str:
        """Return the `Log.state_id` that the last wipe was told, empty when there was none."""
        ...

    def checkpoint(self) -> Checkpoint | None:
        """Return up to where this store is complete, or None when it is empty."""
        ...

    def get(self, key: str) -> Entry | None:
        """Return the entry of a storage key."""
        ...

    def scan(self, prefix: str) -> Iterator[tuple[str, Entry]]:
        """Return all entries whose storage key starts so, in key order."""
        ...

    def due(self, before: int, *, is_behind_evidence: bool, most: int) -> Sequence[tuple[int, str]]:
        """Return (due, storage key) of timers due at or before an instant, the earliest first."""
        ...

    def next_due(self, *, is_behind_evidence: bool) -> int | None:
        """Return when the earliest timer is due."""
        ...

    def write(self, changes: Mapping[str, Change], checkpoint: Checkpoint | None) -> None:
        """Apply changes and the checkpoint in one atomic write; None keeps the older checkpoint."""
        ...

    def wipe(self, origin: str) -> None:
        """Forget everything, to become a copy of another topic."""
        ...

    def close(self) -> None:
        """Close; what was written stays for the next owner on this machine."""
        ...


class Observer(Protocol):
    """Told what happens, so that the engine need not log; must not raise or block."""

    def assigned(self, partitions: Sequence[int]) -> None:
        """Partitions came."""
        ...

    def revoked(self, partitions: Sequence[int], drained_s: float, *, calls_left: int) -> None:
        """Partitions were handed over."""
        ...

    def lost(self, partitions: Sequence[int]) -> None:
        """Partitions were taken away."""
        ...

    def restoring(self, partition: int, records: int, remaining: int) -> None:
        """A restore goes on."""
        ...

    def restored(self, partition: int, records: int, seconds: float) -> None:
        """A partition is ready."""
        ...

    def committed(self, facts: int, records: int, seconds: float) -> None:
        """A transaction was committed."""
        ...

    def happened(self, outputs: Sequence[Output]) -> None:
        """These messages were committed."""
        ...

    def aborted(self, tries: int) -> None:
        """A transaction was aborted; its facts are decided again."""
        ...

    def unknown_commit(self, *, committed: int, aborted: int, dropped: int) -> None:
        """A commit of unknown outcome was decided by token, so many partitions each way."""
        ...

    def poisoned(self, record: InputRecord, reason: str) -> None:
        """An input record went to the dead letters."""
        ...

    def redelivered(self, partition: int, count: int) -> None:
        """Records below the state's position were skipped."""
        ...

    def parked(self, partition: int, fact: str, error: str) -> None:
        """A key was parked: its rule failed on this kind of fact, with this class of error."""
        ...

    def stopped(self, partition: int, why: str) -> None:
        """A partition stopped and needs a person or another build."""
        ...

    def stuck(self, partition: int) -> None:
        """A partition delivered nothing although there was something to read; it was placed anew."""
        ...

    def purge_refused(self, partition: int) -> None:
        """The broker does not let us delete decided input."""
        ...

    def waiting_for(self, dependency: str) -> None:
        """Reading waits because something outside is not there, named by the class of its error."""
        ...

    def evidence(self, published: int) -> None:
        """Answers of partitions that are gone were published as evidence."""
        ...
