"""A stopped deployment as it is read to be moved: its state, the unread rest of its input, its pauses.

It is sealed before anything is taken elsewhere. A seal stands beside the positions and changes none: so what was sealed
can be opened again, until it has moved.
"""

import base64
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final

from processor.adapters.codec import Codec
from processor.adapters.relocation import (
    LANES,
    ControlRecord,
    Item,
    LaneCheck,
    Sample,
    StateRecord,
    UnreadRecord,
    is_hashed,
    partition_of,
)
from processor.adapters.relocation_kafka import FencedWriter, RelocationKafka
from processor.adapters.snapshot_file import Header, Part
from processor.adapters.store_rocks import RocksStore
from processor.adapters.topics import TopicAdmin
from processor.core.state import HEAD, Preparing
from processor.engine.entries import (
    PARKED_PREFIX,
    POSITION_KEY,
    SEAL_KEY,
    SEPARATOR,
    StoredPosition,
    pack,
    position_entry,
    position_in,
    split_key,
    storage_key,
    unpack,
)
from processor.engine.ports import Change, InputRecord, OutputRecord, Position
from processor.engine.restore import start_of
from processor.engine.seals import Seal, SealKind, seal_in, seal_value
from processor.errors import FatalError, ProcessorError, StateUnreadable
from processor.roles.relocation_session import Tools
from processor.settings import DECIDERS, Settings
from processor.wording import counted

BATCH_RECORDS: Final = 2_000
OWN_KEYS: Final = frozenset({POSITION_KEY, SEAL_KEY})  # Of a partition; they do not move.
FROM_OUTSIDE: Final = "completion"  # The decider into whose input processes write that no seal reaches.
SAMPLED: Final = 200  # Of each partition of the requests topic.


class StillRunning(ProcessorError):
    """An instance is a member of a group, or wrote while it was to stand still."""


class Contradiction(FatalError):
    """What is there does not fit together; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one decider reads and keeps its state."""

    decider: str
    group: str
    input_topic: str
    state_topic: str


def places_of(settings: Settings) -> tuple[Place, ...]:
    """Return the places of all deciders."""
    topics = settings.topics
    inputs = {"preparation": topics.requests, "launch": topics.launches, "completion": topics.workflows}
    states = {
        "preparation": topics.preparation_state,
        "launch": topics.launch_state,
        "completion": topics.completion_state,
    }
    return tuple(Place(name, settings.group_id(name), inputs[name], states[name]) for name in DECIDERS)


def counts_of(places: Sequence[Place], admin: TopicAdmin) -> dict[str, int]:
    """Return how many partitions each decider has; raises Contradiction where topics are missing or differ."""
    states, inputs = partitions_of(places, admin)
    for place in places:
        if states[place.decider] != inputs[place.decider]:
            raise Contradiction(_uneven(place, states, inputs))
    return states


def partitions_of(places: Sequence[Place], admin: TopicAdmin) -> tuple[dict[str, int], dict[str, int]]:
    """Return how many partitions the state, and the input, of each decider have; raises Contradiction."""
    held = admin.counts({topic for place in places for topic in (place.input_topic, place.state_topic)})
    for topic in (topic for place in places for topic in (place.input_topic, place.state_topic)):
        if topic not in held:
            raise Contradiction(f"the topic {topic} does not exist")
    states = {place.decider: held[place.state_topic] for place in places}
    return states, {place.decider: held[place.input_topic] for place in places}


def _uneven(place: Place, states: Mapping[str, int], inputs: Mapping[str, int]) -> str:
    return (
        f"{place.input_topic} has {counted(inputs[place.decider], 'partition')}, "
        f"{place.state_topic} has {states[place.decider]}: "
        "make topics that belong together with the same count"
    )


def check_stopped(places: Sequence[Place], kafka: RelocationKafka) -> None:
    """Raise StillRunning while a group has members."""
    for place in places:
        members = kafka.members(place.group)
        if members:
            raise StillRunning(
                f"group {place.group} has {counted(members, 'member')}: stop every instance, and wait until the group "
                "is empty"
            )


class Source:
    """One deployment; copies of its state lie in a directory of their own until it is closed."""

    def __init__(self, settings: Settings, tools: Tools, *, takes_requests: bool = True) -> None:
        """`takes_requests` says whether unread requests move too, or stay in their topic."""
        self.places = places_of(settings)
        self.positions: dict[tuple[str, int], StoredPosition] = {}
        self.entries: Counter[str] = Counter()
        self.seal: Seal | None = None
        # Somebody may have added partitions to an input, which nobody has read then.
        self.counts, self.inputs = partitions_of(self.places, tools.admin)
        for place in self.places:
            if self.counts[place.decider] > self.inputs[place.decider]:
                raise Contradiction(_uneven(place, self.counts, self.inputs))
        self._settings = settings
        self._kafka = tools.kafka
        self._admin = tools.admin
        self._directory = tools.directory / "source"
        self._tell = tools.tell
        self._codec = Codec(write_format=settings.state.write_format)
        self._ends: dict[tuple[str, int], int] = {}
        self._starts: dict[tuple[str, int], int] = {}  # Of input partitions that have no state.
        self._input_ends: dict[tuple[str, int], int] = {}
        self._control_ends: Mapping[int, tuple[int, int]] = {}
        self._takes_requests = takes_requests

    # --- reading ---------------------------------------------------------------------------------------------

    def read(self) -> None:
        """Read the whole state; raises StillRunning, Contradiction, StateUnreadable."""
        check_stopped(self.places, self._kafka)
        seals: set[Seal | None] = set()
        for place in self.places:
            count = self.counts[place.decider]
            bounds = self._kafka.bounds(place.state_topic, count)
            inputs = self._kafka.bounds(place.input_topic, self.inputs[place.decider])
            committed = self._kafka.committed(place.group, place.input_topic, count)
            for number in range(count):
                stored, seal = self._read_state(place, number, *bounds[number])
                if seal is not None and seal.kind is SealKind.UNFINISHED:
                    raise Contradiction(seal.text)
                seals.add(seal)
                known = None if number not in committed else Position(*committed[number])
                try:
                    offset = start_of(stored, known, *inputs[number], count)
                except StateUnreadable as error:
                    raise Contradiction(f"{place.state_topic}[{number}]: {error}") from error
                self.positions[place.decider, number] = stored or StoredPosition(offset, count)
            self._starts |= {(place.decider, number): low for number, (low, _) in inputs.items() if number >= count}
            self._input_ends |= {(place.decider, number): high for number, (_, high) in inputs.items()}
            entries = counted(self.entries[place.decider], "entry", "entries")
            self._tell(f"{place.state_topic}: {entries} in {counted(count, 'partition')}")
        if len(seals) > 1:
            raise Contradiction("some partitions are sealed and others are not: the state was written to by hand")
        (self.seal,) = seals

    def _read_state(self, place: Place, number: int, low: int, end: int) -> tuple[StoredPosition | None, Seal | None]:
        with closing(self._store(place.decider, number)) as store:
            keep_latest(store, self._kafka.read(place.state_topic, number, low, end))
            self._ends[place.decider, number] = end
            self.entries[place.decider] += sum(1 for storage, _ in store.scan("") if storage not in OWN_KEYS)
            position, seal = store.get(POSITION_KEY), store.get(SEAL_KEY)
            return None if position is None else position_in(position), None if seal is None else seal_in(seal)

    def header(self, move_id: str, made_at: str) -> Header:
        """Return what a snapshot says of this deployment."""
        return Header(
            move_id=move_id,
            application_id=self._settings.application_id,
            cluster_id=self._kafka.cluster_id(),
            made_at=made_at,
            is_sealed=self.seal is not None,
            sample=self.sample(),
            parts=tuple(self._part(place) for place in self.places),
        )

    def _part(self, place: Place) -> Part:
        count = self.counts[place.decider]
        return Part(
            decider=place.decider,
            input_topic=place.input_topic,
            input_topic_id=self._kafka.topic_id(place.input_topic),
            state_topic=place.state_topic,
            positions=tuple(self.positions[place.decider, number] for number in range(count)),
            committed=self._kafka.committed(place.group, place.input_topic, count),
            state_ends=tuple(self._ends[place.decider, number] for number in range(count)),
            input_ends=tuple(self._input_ends[place.decider, number] for number in range(self.inputs[place.decider])),
        )

    def sample(self) -> Sample:
        """Return what the last records of the requests topic show of those who publish them."""
        place, counts = self.places[0], {self.counts[LANES], self.inputs[LANES]}
        without_key = elsewhere = 0
        for number, (low, high) in self._kafka.bounds(place.input_topic, self.inputs[LANES]).items():
            for record in self._kafka.read(place.input_topic, number, max(low, high - SAMPLED), high):
                without_key += record.key is None
                elsewhere += record.key is not None and number not in {partition_of(record.key, n) for n in counts}
        return Sample(without_key, elsewhere)

    def items(self) -> Iterator[Item]:
        """Give all that moves, ending with the pauses; to be gone through to its end before `check_still`."""
        for place in self.places:
            for number in range(self.counts[place.decider]):
                yield from self._state(place, number)
        for place in self.places:
            if place.decider != LANES or self._takes_requests:
                yield from self._unread(place)
        pauses: dict[bytes, bytes | None] = {}
        topic = self._settings.topics.control
        self._control_ends = self._kafka.bounds(topic, self._control_partitions())
        for number, (low, high) in self._control_ends.items():
            for record in self._kafka.read(topic, number, low, high):
                pauses[record.key or b""] = record.value
        yield from (ControlRecord(key, value) for key, value in pauses.items() if value is not None)

    def _control_partitions(self) -> int:
        topic = self._settings.topics.control
        held = self._admin.counts([topic])
        if topic not in held:
            raise Contradiction(f"the topic {topic} does not exist")
        return held[topic]

    def lanes(self) -> LaneCheck:
        """Return whether lanes lie where publishers of ours would put them."""
        check = LaneCheck(self.counts[LANES], self.sample())
        for number in range(self.counts[LANES]):
            for record in self._state(self.places[0], number):
                check.see(record)
        return check

    def _state(self, place: Place, number: int) -> Iterator[StateRecord]:
        lane, message_key = "", None
        with closing(self._store(place.decider, number)) as store:
            for storage, entry in store.scan(""):
                if storage in OWN_KEYS:
                    continue
                key = split_key(storage)[0]
                if key != lane:
                    lane, message_key = key, self._message_key(store, key) if is_hashed(place.decider, key) else None
                yield StateRecord(place.decider, number, storage, pack(entry), message_key)

    def _message_key(self, store: RocksStore, lane: str) -> bytes | None:
        """Return the message key of a hashed lane, which its active request and facts set aside remember."""
        entry = store.get(storage_key(lane, HEAD))
        head = None if entry is None else self._codec.decode(entry.body)
        if isinstance(head, Preparing) and head.request.origin.key is not None:
            return head.request.origin.key
        for _, parked in store.scan(f"{lane}{SEPARATOR}{PARKED_PREFIX}"):
            key = json.loads(parked.body).get("key")
            if key is not None:
                return base64.b64decode(key)
        return None

    def _unread(self, place: Place) -> Iterator[UnreadRecord]:
        for number, (_, high) in self._kafka.bounds(place.input_topic, self.inputs[place.decider]).items():
            self._input_ends[place.decider, number] = high
            for record in self._kafka.read(place.input_topic, number, self._start(place, number), high):
                yield UnreadRecord(place.decider, number, record.key, record.value, record.headers)

    def _start(self, place: Place, number: int) -> int:
        """Return the first offset of an input partition that is not decided."""
        position = self.positions.get((place.decider, number))
        return self._starts[place.decider, number] if position is None else position.offset

    def unread(self) -> Mapping[str, int]:
        """Return about how many records of each decider's input are unread: markers count as well."""
        found: Counter[str] = Counter()
        for place in self.places:
            for number, (_, high) in self._kafka.bounds(place.input_topic, self.inputs[place.decider]).items():
                found[place.decider] += high - self._start(place, number)
        return found

    # --- sealing ---------------------------------------------------------------------------------------------

    def seals(self, seal: Seal | None) -> list[OutputRecord]:
        """Return what seals all partitions, or opens them."""
        return [
            seal_record(place.state_topic, number, seal)
            for place in self.places
            for number in range(self.counts[place.decider])
        ]

    def close_with(self, seal: Seal, writer: FencedWriter) -> None:
        """Seal every partition at once; raises StillRunning, with nothing sealed, when somebody wrote meanwhile."""
        writer.together(self.seals(seal))
        try:
            self._check_alone(seal)
            check_stopped(self.places, self._kafka)
        except StillRunning:
            writer.together(self.seals(None))
            raise
        self.seal = seal

    def _check_alone(self, seal: Seal) -> None:
        """Read what the state got since it was read: our seal, and nothing else."""
        for place in self.places:
            bounds = self._kafka.bounds(place.state_topic, self.counts[place.decider])
            for number, (_, high) in bounds.items():
                for record in self._kafka.read(place.state_topic, number, self._ends[place.decider, number], high):
                    if record.key != SEAL_KEY.encode() or record.value != seal_value(seal):
                        raise StillRunning(
                            "an instance wrote while the deployment was to stand still: stop it, and run this again"
                        )
                self._ends[place.decider, number] = high

    def check_still(self, *, is_for_later: bool = False) -> None:
        """Raise StillRunning when anything came since it was read that the copy does not hold.

        New requests count only where the requests topic is left behind, and not for a copy that is put in place later.
        """
        check_stopped(self.places, self._kafka)
        for place in self.places:
            self._check_end(place.state_topic, self._of(self._ends, place, self.counts))
            if place.decider != LANES or (self._takes_requests and not is_for_later):
                self._check_end(place.input_topic, self._of(self._input_ends, place, self.inputs))
        self._check_end(self._settings.topics.control, {number: end for number, (_, end) in self._control_ends.items()})

    def _of(self, ends: Mapping[tuple[str, int], int], place: Place, counts: Mapping[str, int]) -> Mapping[int, int]:
        return {number: ends[place.decider, number] for number in range(counts[place.decider])}

    def _check_end(self, topic: str, ends: Mapping[int, int]) -> None:
        if {number: end for number, (_, end) in self._kafka.bounds(topic, len(ends)).items()} != ends:
            raise StillRunning(
                f"{topic} was written to meanwhile: stop whoever writes there, instances, ingestors and operators, and "
                "run this again"
            )

    def farewell(self, seal: Seal) -> list[OutputRecord]:
        """Return what ends this deployment: seals, and positions behind what was taken from the input of webhooks."""
        place, positions = self.late()
        behind = [position_record(place.state_topic, number, position) for number, position in positions.items()]
        return [*self.seals(seal), *behind]

    def late(self) -> tuple[Place, Mapping[int, StoredPosition]]:
        """Return where webhooks still come in, and the positions behind what was taken."""
        (place,) = [place for place in self.places if place.decider == FROM_OUTSIDE]
        found = {number: self.positions[FROM_OUTSIDE, number] for number in range(self.counts[FROM_OUTSIDE])}
        if self.seal is not None and self.seal.kind is SealKind.MOVED:  # Then a move wrote these positions.
            return place, found
        ends = self._of(self._input_ends, place, self.counts)
        return place, {number: replace(position, offset=ends[number]) for number, position in found.items()}

    def _store(self, decider: str, number: int) -> RocksStore:
        return RocksStore(self._directory / decider / str(number))


def keep_latest(store: RocksStore, records: Iterable[InputRecord]) -> None:
    """Put the latest value of each key of a state partition into a store; raises StateUnreadable."""
    pending: dict[str, Change] = {}
    for record in records:
        entry = None if record.value is None else unpack(record.value)
        pending[(record.key or b"").decode()] = Change(entry, None)
        if len(pending) >= BATCH_RECORDS:
            store.write(pending, None)
            pending = {}
    store.write(pending, None)


def position_record(topic: str, number: int, position: StoredPosition) -> OutputRecord:
    """Return the record of a position in a state topic."""
    return OutputRecord(topic, POSITION_KEY.encode(), pack(position_entry(position)), (), number)


def seal_record(topic: str, number: int, seal: Seal | None) -> OutputRecord:
    """Return the record that seals a state partition, or opens it."""
    return OutputRecord(topic, SEAL_KEY.encode(), None if seal is None else seal_value(seal), (), number)
