"""The place that a deployment moves to: empty at first, then unfinished, then whole, and nothing starts before.

Its state topics come first and are sealed before anything else is there, and nothing starts without all topics. What is
written over and over again by attempts that were killed is the same each time. The last step lifts all seals at once.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from processor.adapters.codec import Codec
from processor.adapters.relocation import (
    LANES,
    ControlRecord,
    Item,
    Placement,
    StateRecord,
    Tally,
    UnreadRecord,
    is_hashed,
)
from processor.adapters.relocation_kafka import FencedWriter, RelocationKafka
from processor.adapters.store_rocks import RocksStore
from processor.adapters.topic_rules import HeldTopic
from processor.adapters.topic_specs import TopicSpec, topic_specs
from processor.adapters.topics import TopicAdmin
from processor.engine.entries import SEAL_KEY, StoredPosition, pack, split_key, unpack
from processor.engine.ports import InputRecord, OutputRecord
from processor.engine.seals import Seal, SealKind, seal_in
from processor.errors import FatalError
from processor.roles.relocation_lanes import HashedLanes
from processor.roles.relocation_source import (
    OWN_KEYS,
    Place,
    check_stopped,
    counts_of,
    keep_latest,
    places_of,
    position_record,
    seal_record,
)
from processor.settings import DECIDERS, Settings
from processor.wording import counted

TELL_EVERY: Final = 100_000
LATE_RECORDS: Final = 2_000
CONTROL: Final = "control"  # Stands for a decider where pauses are counted.
HELD_BACK: Final = StoredPosition(0, 0)  # Stops also builds that know of no seals: no input has 0 partitions.


class TargetNotEmpty(FatalError):
    """Something is there that this move did not put there."""


class CopyIncomplete(FatalError):
    """What was read back is not what was written."""


@dataclass(slots=True)
class Target:
    """The new place; `kept` names the deciders whose input stays where it is."""

    settings: Settings
    kafka: RelocationKafka
    admin: TopicAdmin
    directory: Path
    kept: frozenset[str]
    move_id: str
    tell: Callable[[str], None]
    counts: Mapping[str, int] = field(default_factory=dict)
    places: tuple[Place, ...] = ()
    _begins: dict[tuple[str, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Find the places of all deciders."""
        self.places = places_of(self.settings)

    @property
    def seal(self) -> Seal:
        """What keeps instances from starting here."""
        return Seal(SealKind.UNFINISHED, self.move_id, self.settings.application_id)

    def specs(self) -> Sequence[TopicSpec]:
        """Return the topics that a deployment of this id has beside the public ones."""
        named = {topic for place in self.places for topic in (place.input_topic, place.state_topic)}
        return [
            spec for spec in topic_specs(self.settings.topics) if spec.name in {*named, self.settings.topics.control}
        ]

    def missing(self) -> tuple[Sequence[TopicSpec], Mapping[str, HeldTopic]]:
        """Return which of its topics are still to be made, and those that are there."""
        specs = self.specs()
        counts = self.admin.counts(spec.name for spec in specs)
        held = {name: HeldTopic(name, count, 0, None) for name, count in counts.items()}
        return [spec for spec in specs if spec.name not in held], held

    def find(self) -> None:
        """Count the partitions of topics that are all there; raises Contradiction."""
        self.counts = counts_of(self.places, self.admin)

    def check(self) -> None:
        """Raise unless it is empty, or as an earlier attempt of the same move left it."""
        check_stopped(self.places, self.kafka)
        held = self.missing()[1]
        for place in self.places:
            self._check_counts(place, held)
            if place.input_topic in held:
                count = held[place.input_topic].partitions
                if self.kafka.committed(place.group, place.input_topic, count):
                    raise TargetNotEmpty(f"group {place.group} has committed offsets: choose an id that was never used")
        states = [place.state_topic for place in self.places if place.state_topic in held]
        sealed = {self._check_state(topic, held[topic].partitions) for topic in states}
        if sealed != {True}:
            self._check_inputs(held)

    def _check_counts(self, place: Place, held: Mapping[str, HeldTopic]) -> None:
        """Raise where topics that are there have other counts than they will need; the requests topic has its own."""
        wanted = self.settings.topics.partitions
        if place.decider == LANES and place.input_topic in held:
            wanted = held[place.input_topic].partitions
        for topic in (place.input_topic, place.state_topic):
            if topic in held and held[topic].partitions != wanted:
                raise TargetNotEmpty(
                    f"{topic} has {counted(held[topic].partitions, 'partition')}, {wanted} are asked for: say "
                    f"--partitions {held[topic].partitions}, or delete the topics of {self.settings.application_id}"
                )

    def _check_state(self, topic: str, count: int) -> bool:
        """Return whether a state topic is sealed for this move already; what an abort left is nothing."""
        seals = []
        for number, (low, end) in self.kafka.bounds(topic, count).items():
            is_empty, seal = True, None
            for record in self.kafka.read(topic, number, low, end):
                is_empty = False
                if record.key == SEAL_KEY.encode():
                    seal = None if record.value is None else seal_in(unpack(record.value))
            if not is_empty and seal != self.seal:
                raise TargetNotEmpty(f"{topic} is not empty: choose another id, or delete its topics")
            seals.append(seal)
        return all(seal == self.seal for seal in seals)

    def _check_inputs(self, held: Mapping[str, HeldTopic]) -> None:
        """Raise where something was written before this move began."""
        inputs = [place.input_topic for place in self.places if place.decider not in self.kept]
        for topic in (*inputs, self.settings.topics.control):
            if topic in held and any(True for _ in self._all_of(topic, held[topic].partitions)):
                raise TargetNotEmpty(f"{topic} is not empty: it must be new, so that older records come first")

    def _all_of(self, topic: str, count: int) -> Iterator[InputRecord]:
        for number, (low, end) in self.kafka.bounds(topic, count).items():
            yield from self.kafka.read(topic, number, low, end)

    def prepare(self, writer: FencedWriter) -> None:
        """Make the topics that are missing so that nothing can start, and note where what is copied will begin.

        An instance that waits for its topics begins when it finds them all: those of the state are there and sealed
        before any other one is made.
        """
        states = {place.state_topic for place in self.places}
        self._create(lambda topic: topic in states)
        held = self.admin.counts(states)
        writer.together(
            record
            for place in self.places
            for number in range(held[place.state_topic])
            for record in (
                seal_record(place.state_topic, number, self.seal),
                position_record(place.state_topic, number, HELD_BACK),
            )
        )
        self.tell(f"{self.settings.application_id} is held back until everything is there")
        self._create(lambda _: True)
        self.find()
        for place in self.places:
            if place.decider not in self.kept:
                for number, (_, end) in self.kafka.bounds(place.input_topic, self.counts[place.decider]).items():
                    self._begins[place.decider, number] = end
        check_stopped(self.places, self.kafka)

    def _create(self, is_due: Callable[[str], bool]) -> None:
        specs, held = self.missing()
        for topic in self.admin.create([spec for spec in specs if is_due(spec.name)], held):
            self.tell(f"{topic.name}: made with {counted(topic.partitions, 'partition')}")

    def fill(self, items: Iterable[Item], writer: FencedWriter) -> Tally:
        """Write everything to where it belongs, and return what must be there then."""
        tally, placement = Tally(), Placement(self.counts, self.kept)
        stale = set(self._pauses())
        with HashedLanes(self.directory / "lanes", Codec(write_format=self.settings.state.write_format)) as lanes:
            for count, item in enumerate(items, start=1):
                if isinstance(item, StateRecord) and self._is_gathered(item):
                    writer.flush()  # Millions may follow, and a transaction has its time.
                    lanes.put(item)
                else:
                    self._write(item, placement, writer, tally)
                if isinstance(item, ControlRecord):
                    stale.discard(item.key)
                if count % TELL_EVERY == 0:
                    self.tell(f"{count} entries and records are written")
            for entry in lanes.items():
                self._write(entry, placement, writer, tally)
        for key in stale:  # An attempt that was killed copied it, and it was lifted since.
            writer.add(OutputRecord(self.settings.topics.control, key, None, (), 0))
        writer.flush()
        return tally

    def _pauses(self) -> Mapping[bytes, bytes]:
        topic = self.settings.topics.control
        found = {record.key or b"": record.value for record in self._all_of(topic, self.admin.counts([topic])[topic])}
        return {key: value for key, value in found.items() if value is not None}

    def _is_gathered(self, record: StateRecord) -> bool:
        return record.decider not in self.kept and is_hashed(record.decider, split_key(record.storage)[0])

    def _write(self, item: Item, placement: Placement, writer: FencedWriter, tally: Tally) -> None:
        match item:
            case StateRecord(decider=decider):
                for number in placement.of_state(item):
                    topic = self._place(decider).state_topic
                    writer.add(OutputRecord(topic, item.storage.encode(), item.value, (), number))
                    tally.entry(decider, number, item.storage, item.value)
            case UnreadRecord():
                record = self.input_record(item, placement)
                if record is not None and record.partition is not None:
                    writer.add(record)
                    tally.record(record.partition, item)
            case ControlRecord(key, value):
                writer.add(OutputRecord(self.settings.topics.control, key, value, (), 0))
                tally.entry(CONTROL, 0, key.decode(errors="replace"), value)

    def input_record(self, item: UnreadRecord, placement: Placement | None = None) -> OutputRecord | None:
        """Return an unread record as it stands here; None where its topic stays."""
        at = (placement or Placement(self.counts, self.kept)).of_input(item)
        topic = self._place(item.decider).input_topic
        return None if at is None else OutputRecord(topic, item.key, item.value, item.headers, at)

    def _place(self, decider: str) -> Place:
        return self.places[DECIDERS.index(decider)]

    def verify(self, written: Tally) -> None:
        """Read everything back; raises CopyIncomplete."""
        found = Tally()
        for place in self.places:
            count = self.counts[place.decider]
            for number, (low, end) in self.kafka.bounds(place.state_topic, count).items():
                self._read_back(found, place, number, low, end)
            if place.decider in self.kept:
                continue
            for number, (_, end) in self.kafka.bounds(place.input_topic, count).items():
                begin = self._begins[place.decider, number]
                for record in self.kafka.read(place.input_topic, number, begin, end):
                    found.record(number, _unread(place, number, record))
            self.tell(f"{place.state_topic}: read back")
        for key, value in self._pauses().items():
            found.entry(CONTROL, 0, key.decode(errors="replace"), value)
        differences = list(written.differences(found))
        if differences:
            raise CopyIncomplete(
                f"what was read back is not what was written ({', '.join(differences[:3])}): delete the topics of "
                f"{self.settings.application_id}, see that nobody else writes to them, and run this again"
            )

    def _read_back(self, found: Tally, place: Place, number: int, low: int, end: int) -> None:
        with TemporaryDirectory(dir=self.directory) as directory, closing(RocksStore(Path(directory))) as store:
            keep_latest(store, self.kafka.read(place.state_topic, number, low, end))
            for storage, entry in store.scan(""):
                if storage not in OWN_KEYS:
                    found.entry(place.decider, number, storage, pack(entry))
            seal = store.get(SEAL_KEY)
            if seal is None or seal_in(seal) != self.seal:
                raise CopyIncomplete(f"{place.state_topic}[{number}] is no longer held back for this move")

    def opened(self, kept: Mapping[tuple[str, int], StoredPosition]) -> list[OutputRecord]:
        """Return the positions to begin at, without the seals: with these everything is whole, and may start.

        What is copied begins behind what an attempt left that was killed. In a requests topic nothing is passed over:
        upstream may publish there already, and what is repeated is recognised.
        """
        found = []
        for place in self.places:
            count = self.counts[place.decider]
            firsts = {} if place.decider in self.kept else self.kafka.bounds(place.input_topic, count)
            for number in range(count):
                if place.decider in self.kept:
                    position = kept[place.decider, number]
                else:
                    low = firsts[number][0]
                    begin = low if place.decider == LANES else self._begins[place.decider, number]
                    position = StoredPosition(begin, count)
                found.append(position_record(place.state_topic, number, position))
                found.append(seal_record(place.state_topic, number, None))
        return found

    def carry_late(self, place: Place, positions: Mapping[int, StoredPosition], writer: FencedWriter) -> int:
        """Copy what was written to an input of the old place since a move had taken it; return how many records.

        The position behind each bunch is written with it, so that nothing is copied twice, nor forgotten.
        """
        found = 0

        def write(bunch: list[OutputRecord], number: int, offset: int) -> None:
            position = replace(positions[number], offset=offset)
            writer.together([*bunch, position_record(place.state_topic, number, position)])

        for number, (_, end) in self.kafka.bounds(place.input_topic, len(positions)).items():
            bunch: list[OutputRecord] = []
            for record in self.kafka.read(place.input_topic, number, positions[number].offset, end):
                copied = self.input_record(_unread(place, number, record))
                assert copied is not None, "only requests stay where they are"
                bunch.append(copied)
                found += 1
                if len(bunch) >= LATE_RECORDS:
                    write(bunch, number, record.offset + 1)
                    bunch = []
            if bunch:
                write(bunch, number, end)
        return found


def _unread(place: Place, number: int, record: InputRecord) -> UnreadRecord:
    return UnreadRecord(place.decider, number, record.key, record.value, record.headers)
