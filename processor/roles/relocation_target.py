"""The place that a deployment moves to: empty at first, then unfinished, then whole, and nothing starts before.

Each state partition begins with a sealed position of the move; what is written over and over again by attempts that
were killed is the same each time. The last step replaces all of these positions at once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
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
from processor.adapters.relocation_kafka import BulkWriter, RelocationKafka
from processor.adapters.store_rocks import RocksStore
from processor.adapters.topic_rules import HeldTopic
from processor.adapters.topic_specs import TopicSpec, topic_specs
from processor.adapters.topics import TopicAdmin
from processor.engine.entries import (
    POSITION_KEY,
    Seal,
    StoredPosition,
    pack,
    position_in,
    split_key,
    unpack,
)
from processor.engine.ports import OutputRecord
from processor.errors import FatalError
from processor.roles.relocation_lanes import HashedLanes
from processor.roles.relocation_source import Place, check_stopped, counts_of, keep_latest, places_of, position_record
from processor.settings import DECIDERS, Settings

TELL_EVERY: Final = 100_000
UNFINISHED: Final = "a move to here is not complete: run it again; nothing may start here before it has ended"


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
        return Seal(UNFINISHED, self.move_id)

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

    def check(self) -> None:
        """Raise unless it is empty, or as an earlier attempt of the same move left it."""
        check_stopped(self.places, self.kafka)
        held = self.missing()[1]
        wanted = self.settings.topics.partitions
        for place in self.places:
            there = held.get(place.input_topic)
            if place.decider != LANES and there is not None and there.partitions != wanted:
                raise TargetNotEmpty(
                    f"{there.name} has {there.partitions} partitions, {wanted} are asked for: say --partitions "
                    f"{there.partitions}, or delete the topics of {self.settings.application_id}"
                )
            if place.decider not in self.kept and place.input_topic in held:
                count = held[place.input_topic].partitions
                if self.kafka.committed(place.group, place.input_topic, count):
                    raise TargetNotEmpty(f"group {place.group} has committed offsets: choose an id that was never used")
            if place.state_topic in held:
                self._check_place(place, held)

    def _check_place(self, place: Place, held: Mapping[str, HeldTopic]) -> None:
        is_marked = False
        for number, (low, end) in self.kafka.bounds(place.state_topic, held[place.state_topic].partitions).items():
            found = self._seal_in(place, number, low, end)
            if low < end and found != self.seal:
                raise TargetNotEmpty(f"{place.state_topic} is not empty: choose another id, or delete its topics")
            is_marked = is_marked or found == self.seal
        if is_marked or place.decider in self.kept or place.input_topic not in held:
            return
        bounds = self.kafka.bounds(place.input_topic, held[place.input_topic].partitions)
        if any(low < end for low, end in bounds.values()):
            raise TargetNotEmpty(f"{place.input_topic} is not empty: it must be new, so that older requests come first")

    def _seal_in(self, place: Place, number: int, low: int, end: int) -> Seal | None:
        """Return the seal of a state partition as its last position has it."""
        seal = None
        for record in self.kafka.read(place.state_topic, number, low, end):
            if record.key == POSITION_KEY.encode() and record.value is not None:
                seal = position_in(unpack(record.value)).seal
        return seal

    def create(self) -> None:
        """Make the topics that are missing."""
        specs, held = self.missing()
        made = self.admin.create(specs, held)
        self.counts = counts_of(self.places, self.admin)
        for topic in made:
            self.tell(f"{topic.name}: made with {topic.partitions} partitions")

    def mark(self, writer: BulkWriter) -> None:
        """Keep instances from starting here, and note where what is to be copied will begin."""
        for place in self.places:
            count = self.counts[place.decider]
            for number in range(count):
                writer.write(position_record(place.state_topic, number, StoredPosition(0, count, seal=self.seal)))
        writer.flush()
        for place in self.places:
            for number, (_, end) in self.kafka.bounds(place.input_topic, self.counts[place.decider]).items():
                self._begins[place.decider, number] = end

    def fill(self, items: Iterable[Item], writer: BulkWriter) -> Tally:
        """Write everything to where it belongs, and return what must be there then."""
        tally, placement = Tally(), Placement(self.counts, self.kept)
        with HashedLanes(self.directory / "lanes", Codec(write_format=self.settings.state.write_format)) as lanes:
            for count, item in enumerate(items, start=1):
                if isinstance(item, StateRecord) and self._is_gathered(item):
                    lanes.put(item)
                else:
                    self._write(item, placement, writer, tally)
                if count % TELL_EVERY == 0:
                    self.tell(f"{count} entries and records are written")
            for entry in lanes.items():
                self._write(entry, placement, writer, tally)
        writer.flush()
        return tally

    def _is_gathered(self, record: StateRecord) -> bool:
        return record.decider not in self.kept and is_hashed(record.decider, split_key(record.storage)[0])

    def _write(self, item: Item, placement: Placement, writer: BulkWriter, tally: Tally) -> None:
        match item:
            case StateRecord(decider=decider):
                for number in placement.of_state(item):
                    topic = self._place(decider).state_topic
                    writer.write(OutputRecord(topic, item.storage.encode(), item.value, (), number))
                    tally.entry(decider, number, item.storage, item.value)
            case UnreadRecord(decider=decider):
                at = placement.of_input(item)
                if at is not None:
                    writer.write(OutputRecord(self._place(decider).input_topic, item.key, item.value, item.headers, at))
                    tally.record(at, item)
            case ControlRecord(key, value):
                writer.write(OutputRecord(self.settings.topics.control, key, value, (), 0))

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
                    unread = UnreadRecord(place.decider, number, record.key, record.value, record.headers)
                    found.record(number, unread)
            self.tell(f"{place.state_topic}: read back")
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
                if storage != POSITION_KEY:
                    found.entry(place.decider, number, storage, pack(entry))
                elif position_in(entry).seal != self.seal:
                    raise CopyIncomplete(f"{place.state_topic}[{number}] is no longer held back for this move")

    def positions(self, kept: Mapping[tuple[str, int], StoredPosition]) -> list[OutputRecord]:
        """Return the positions to begin at: with these everything is whole, and may start.

        What is copied begins behind what an attempt left that was killed. In a requests topic nothing is passed over:
        upstream may publish there already, and what is repeated is recognised.
        """
        found = []
        for place in self.places:
            count = self.counts[place.decider]
            firsts = self.kafka.bounds(place.input_topic, count)
            for number in range(count):
                if place.decider in self.kept:
                    position = kept[place.decider, number]
                else:
                    low = firsts[number][0]
                    begin = low if place.decider == LANES else self._begins[place.decider, number]
                    position = StoredPosition(begin, count)
                found.append(position_record(place.state_topic, number, position))
        return found
