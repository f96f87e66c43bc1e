"""A deployment out of a file, on the cluster that it comes from or on another one."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from processor.adapters.relocation import LANES, Item, LaneCheck, StateRecord, UnreadRecord
from processor.adapters.snapshot_file import Header, Part, SnapshotFile
from processor.engine.entries import StoredPosition
from processor.engine.ports import OutputRecord
from processor.engine.seals import Seal
from processor.roles.relocation import Moved, MoveRefused, carry_out, check_lanes, planned
from processor.roles.relocation_session import Tools, writers_for
from processor.roles.relocation_source import FROM_OUTSIDE, Place, check_stopped, position_record, seal_record
from processor.roles.relocation_target import Target
from processor.settings import Settings


def restore(settings: Settings, snapshot: SnapshotFile, tools: Tools, *, is_dry: bool = False) -> Moved:
    """Make a deployment of the settings' application id out of a file, which is read whole before anything is written.

    Raises SnapshotDamaged, and as `migrate` does.
    """
    header = snapshot.header
    if header.application_id == settings.application_id:
        raise MoveRefused(
            f"what is restored gets an application id of its own: {header.application_id} may have groups and local "
            "copies that know another state; name one with --to-application-id"
        )
    origin = FileOrigin(snapshot, tools)
    if is_dry:
        return _target_of(settings, origin, tools)[1]
    # At home nobody may open the source, move it or restore another copy of it meanwhile.
    names = [settings.application_id, *([header.application_id] if origin.is_at_home else [])]
    with writers_for(settings, *names) as writers:
        target, _ = _target_of(settings, origin, tools)
        return carry_out(origin, target, writers[0], writers[-1])


def _target_of(settings: Settings, origin: "FileOrigin", tools: Tools) -> tuple[Target, Moved]:
    """Return the target of a restore after all checks, and what would be moved."""
    header = origin.snapshot.header
    is_kept = origin.is_at_home and _has_requests(settings, header, tools)
    kept = frozenset({LANES}) if is_kept else frozenset[str]()
    lanes, entries, records = _counted(origin.snapshot)
    if LANES not in kept:
        check_lanes(lanes)
    origin.check_still()
    target = Target(settings, tools.kafka, tools.admin, tools.directory, kept, header.move_id, tools.tell)
    target.check()
    return target, Moved(header.move_id, entries, records, planned(target), kept)


@dataclass(slots=True)
class FileOrigin:
    """A file as the origin of a move, and what is left of the deployment that it is of, where that was at home here."""

    snapshot: SnapshotFile
    tools: Tools
    is_at_home: bool = field(init=False)
    _left: frozenset[str] = frozenset()  # Topics of it that are there.

    def __post_init__(self) -> None:
        """See whether the file comes from this cluster."""
        self.is_at_home = self.snapshot.header.cluster_id == self.tools.kafka.cluster_id()

    @property
    def positions(self) -> Mapping[tuple[str, int], StoredPosition]:
        """The position of each decider and partition."""
        return {
            (part.decider, number): position
            for part in self.snapshot.header.parts
            for number, position in enumerate(part.positions)
        }

    def items(self) -> Iterator[Item]:
        """Give all that moves."""
        return self.snapshot.items()

    def check_still(self) -> None:
        """Raise MoveRefused where the deployment went on since, or could, as far as it is still there."""
        header = self.snapshot.header
        if not self.is_at_home:
            return
        places = {place.decider: place for place in map(self._place, header.parts)}
        check_stopped(list(places.values()), self.tools.kafka)
        held = self.tools.admin.counts(
            {topic for part in header.parts for topic in (part.input_topic, part.state_topic)}
        )
        for part in header.parts:
            self._check_part(part, places[part.decider], held)
        self._left = frozenset(held)
        if not header.is_sealed and any(part.state_topic in held for part in header.parts):
            raise MoveRefused(
                f"{header.application_id} is still there and nothing keeps it from starting: write it to a file with "
                "--seal, or delete its internal topics first"
            )

    def _check_part(self, part: Part, place: Place, held: Mapping[str, int]) -> None:
        kafka, count = self.tools.kafka, len(part.positions)
        committed = kafka.committed(place.group, place.input_topic, count) if place.input_topic in held else {}
        if committed and committed != part.committed:
            raise self._ran_on()
        if place.state_topic in held:
            ends = tuple(end for _, end in kafka.bounds(place.state_topic, count).values())
            if held[place.state_topic] != count or ends != part.state_ends:
                raise self._ran_on()
        if place.decider != LANES and place.input_topic in held and place.state_topic in held:
            bounds = kafka.bounds(place.input_topic, held[place.input_topic])
            if tuple(end for _, end in bounds.values()) != part.input_ends:
                raise MoveRefused(
                    f"{place.input_topic} was written to after {self.snapshot.header.made_at}: stop whoever writes "
                    "there, ingestors too, and write the deployment to a file again"
                )

    def _ran_on(self) -> MoveRefused:
        header = self.snapshot.header
        return MoveRefused(
            f"{header.application_id} went on, was moved or was opened after it was written to the file at "
            f"{header.made_at}: what is restored from that would run workflows again"
        )

    def farewell(self, seal: Seal) -> list[OutputRecord]:
        """Return the seals, and the positions behind what was taken, for the topics that are there."""
        parts = [part for part in self.snapshot.header.parts if part.state_topic in self._left]
        seals = [seal_record(part.state_topic, number, seal) for part in parts for number in range(len(part.positions))]
        positions = [
            position_record(part.state_topic, number, position)
            for part in parts
            if part.decider == FROM_OUTSIDE
            for number, position in self._taken(part).items()
        ]
        return [*seals, *positions]

    def late(self) -> tuple[Place, Mapping[int, StoredPosition]] | None:
        """Return where webhooks still come in, and the positions behind what was taken; None where they do not."""
        part = self.snapshot.header.part(FROM_OUTSIDE)
        is_left = {part.input_topic, part.state_topic} <= self._left
        return (self._place(part), self._taken(part)) if is_left else None

    def _taken(self, part: Part) -> Mapping[int, StoredPosition]:
        """Return the positions behind the input that the file holds."""
        return {
            number: replace(position, offset=part.input_ends[number]) for number, position in enumerate(part.positions)
        }

    def _place(self, part: Part) -> Place:
        group = f"{self.snapshot.header.application_id}.{part.decider}"
        return Place(part.decider, group, part.input_topic, part.state_topic)


def _has_requests(settings: Settings, header: Header, tools: Tools) -> bool:
    """Say whether the requests topic is the very one that the snapshot's positions are of, and still has the unread."""
    part = header.part(LANES)
    is_named = settings.topics.requests == part.input_topic
    if not is_named or tools.kafka.topic_id(part.input_topic) != part.input_topic_id:
        return False
    if tools.admin.counts([part.input_topic])[part.input_topic] != len(part.positions):
        raise MoveRefused(f"{part.input_topic} has other partitions than at {header.made_at}: name another topic")
    bounds = tools.kafka.bounds(part.input_topic, len(part.positions))
    if any(position.offset < bounds[number][0] for number, position in enumerate(part.positions)):
        raise MoveRefused(
            f"{part.input_topic} no longer has all requests that were unread at {header.made_at}: what the file has of "
            "them can only go to a new topic; name one with --requests-topic"
        )
    return True


def _counted(snapshot: SnapshotFile) -> tuple[LaneCheck, Counter[str], Counter[str]]:
    """Go through a whole snapshot: what its lanes show, and how many entries and unread records it has by decider."""
    header = snapshot.header
    lanes = LaneCheck(len(header.part(LANES).positions), header.sample)
    entries: Counter[str] = Counter()
    records: Counter[str] = Counter()
    for item in snapshot.items():
        if isinstance(item, StateRecord):
            entries[item.decider] += 1
            if item.decider == LANES:
                lanes.see(item)
        elif isinstance(item, UnreadRecord):
            records[item.decider] += 1
    return lanes, entries, records
