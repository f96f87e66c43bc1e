"""Moving a stopped deployment: to other topics, into a file, out of a file.

One idea: a snapshot of it is a stream of entries, unread records and pauses. One reader gives it, one writer takes it,
and there are two ends to each, topics and a file. What may start is decided by positions alone: the source is sealed
before anything is taken elsewhere, and the transaction that makes the target whole says in the source that it moved.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from processor.adapters.event_headers import rfc3339
from processor.adapters.relocation import LANES, Item, LaneCheck, StateRecord, Tally, UnreadRecord
from processor.adapters.relocation_kafka import BulkWriter, RelocationKafka, SwitchProducer
from processor.adapters.snapshot_file import Header, SnapshotFile, write_snapshot
from processor.adapters.topics import TopicAdmin
from processor.core.model import Instant
from processor.engine.entries import Seal
from processor.engine.ports import OutputRecord
from processor.errors import FatalError, ProcessorError
from processor.kafka_config import client_config, plain_producer_config, producer_config, reader_config
from processor.roles.relocation_source import Place, Source, StillRunning, check_stopped, position_record
from processor.roles.relocation_target import Target
from processor.settings import INTERNAL_TOPICS, Settings

CLIENT: Final = "relocation"
DELIVERY_MS: Final = 60_000
MOVED: Final = "this deployment was moved to application id "
MOVING: Final = "this deployment is being moved to application id "
SEALED: Final = (
    "this deployment was sealed when it was written to a file: start what is restored from it, or run "
    "`processor topics unseal` to go on here"
)


class MoveRefused(FatalError):
    """What was asked for could lose or repeat something; the text says what to do."""


class AlreadyMoved(ProcessorError):
    """The deployment is at its new place already."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What a move took, or would take: entries and unread records of each decider, and counts of partitions."""

    move_id: str
    entries: Mapping[str, int]
    records: Mapping[str, int]
    partitions: Mapping[str, int]
    kept: frozenset[str]


@dataclass(frozen=True, slots=True)
class Tools:
    """What every step needs: a cluster, room on disk, and somebody to tell how it goes."""

    kafka: RelocationKafka
    admin: TopicAdmin
    directory: Path
    tell: Callable[[str], None]


@contextmanager
def tools_for(settings: Settings, tell: Callable[[str], None]) -> Iterator[Tools]:
    """Give the tools; what they put on disk is as private as a temporary directory, and gone afterwards."""
    timeout_s = settings.kafka.operation_timeout_s
    client = client_config(settings, CLIENT)
    with (
        TemporaryDirectory(prefix="onboarding-") as directory,
        closing(RelocationKafka(reader_config(settings, CLIENT), client, timeout_s)) as kafka,
    ):
        yield Tools(kafka, TopicAdmin(client, timeout_s), Path(directory), tell)


def switch_for(settings: Settings, application_id: str) -> SwitchProducer:
    """Return the producer of a deployment's positions; one of the same id that began earlier is fenced."""
    name = {"transactional.id": f"{application_id}.{CLIENT}"}
    return SwitchProducer(producer_config(settings, CLIENT, "") | name, settings.kafka.operation_timeout_s)


def writer_for(settings: Settings) -> BulkWriter:
    """Return the writer of everything else."""
    return BulkWriter(plain_producer_config(settings, CLIENT, delivery_timeout_ms=DELIVERY_MS))


# --- topics to topics ------------------------------------------------------------------------------------------------


def migrate(old: Settings, new: Settings, tools: Tools, make_id: Callable[[], str], *, is_dry: bool = False) -> Moved:
    """Move a stopped deployment to the topics of another application id, and seal it where it was.

    Raises AlreadyMoved, StillRunning, MoveRefused, Contradiction, TargetNotEmpty, CopyIncomplete, BrokerUnavailable;
    after each of these it may be run again.
    """
    check_names(old, new)
    kept = frozenset({LANES}) if old.topics.requests == new.topics.requests else frozenset[str]()
    source = Source(old, tools.kafka, tools.admin, tools.directory / "source", tools.tell)
    if LANES in kept and source.inputs[LANES] != source.counts[LANES]:
        raise MoveRefused(
            f"{old.topics.requests} has {source.inputs[LANES]} partitions, its state was written for "
            f"{source.counts[LANES]}: name another topic with --requests-topic, to which publishers go on afterwards"
        )
    source.read()
    move_id = _move_id(source, new.application_id, make_id)
    target = Target(new, tools.kafka, tools.admin, tools.directory, kept, move_id, tools.tell)
    target.check()
    if LANES not in kept:
        check_lanes(source.lanes())
    if is_dry:
        return _would_move(source, target)
    switch = switch_for(old, old.application_id)
    if source.seal is None:
        source.close_with(Seal(_moving(new.application_id), move_id), switch)
        tools.tell(
            f"{old.application_id} is sealed: it starts no more, unless `processor topics unseal` opens it again"
        )
    with_requests = LANES not in kept
    written = _fill(target, source.items(with_requests=with_requests), writer_for(new))
    source.check_still(with_requests=with_requests)
    moved = Seal(f"{MOVED}{new.application_id}: start that one, never this one again", move_id)
    switch.write([*target.positions(source.positions), *source.records(moved)])
    return _moved(move_id, written, target)


def unseal(settings: Settings, tools: Tools) -> None:
    """Let a sealed deployment start again; raises MoveRefused for one that has moved, or is not sealed."""
    source = Source(settings, tools.kafka, tools.admin, tools.directory / "source", tools.tell)
    source.read()
    if source.seal is None:
        raise MoveRefused(f"{settings.application_id} is not sealed")
    if source.seal.text.startswith(MOVED):
        raise MoveRefused(f"{source.seal.text}; what it did there is not known here")
    switch_for(settings, settings.application_id).write(source.records(None))


def check_names(old: Settings, new: Settings) -> None:
    """Raise MoveRefused where the new deployment would have a group or an internal topic of the old one."""
    if old.application_id == new.application_id:
        raise MoveRefused(
            f"a deployment moves to an application id of its own: {new.application_id} has groups, seals and local "
            "copies that belong to its present topics"
        )
    mine = {getattr(old.topics, name) for name in INTERNAL_TOPICS}
    both = sorted(mine & {getattr(new.topics, name) for name in INTERNAL_TOPICS})
    if both:
        raise MoveRefused(
            f"{both[0]} would be a topic of both: leave the names of internal topics to the application id, or give "
            "them others"
        )


def check_lanes(lanes: LaneCheck) -> None:
    """Raise MoveRefused where the next request of a key would not come in where its lane is put."""
    complaint = lanes.complaint()
    if complaint:
        raise MoveRefused(
            f"{complaint}; state of requests can only follow publishers that use Kafka's own partitioner (Java's "
            "default, murmur2_random in librdkafka): keep the requests topic"
        )


def _move_id(source: Source, new_id: str, make_id: Callable[[], str]) -> str:
    """Return the id of this move: that of an attempt which was killed, or a new one."""
    seal = source.seal
    if seal is None:
        return make_id()
    if seal.text == _moving(new_id):
        return seal.move_id
    if seal.text.startswith(f"{MOVED}{new_id}:"):
        raise AlreadyMoved(f"{seal.text}; there is nothing left to do")
    raise MoveRefused(seal.text)


def _moving(new_id: str) -> str:
    return (
        f"{MOVING}{new_id}: run `processor topics migrate` again to end that, or `processor topics unseal` to stay here"
    )


def _fill(target: Target, items: Iterator[Item], writer: BulkWriter) -> Tally:
    target.create()
    target.mark(writer)
    written = target.fill(items, writer)
    target.verify(written)
    return written


def _moved(move_id: str, written: Tally, target: Target) -> Moved:
    counted = {place.decider: written.of_decider(place.decider) for place in target.places}
    return Moved(
        move_id,
        {name: entries for name, (entries, _) in counted.items()},
        {name: records for name, (_, records) in counted.items()},
        target.counts,
        target.kept,
    )


def _would_move(source: Source, target: Target) -> Moved:
    unread = {name: 0 if name in target.kept else count for name, count in source.unread().items()}
    return Moved("", dict(source.entries), unread, _planned(target), target.kept)


def _planned(target: Target) -> Mapping[str, int]:
    """Return how many partitions each decider has at its new place, or will have."""
    missing, held = target.missing()
    made = {spec.name: spec.partitions for spec in missing}
    topics = {place.decider: place.input_topic for place in target.places}
    return {name: held[topic].partitions if topic in held else made[topic] for name, topic in topics.items()}


# --- topics to a file ------------------------------------------------------------------------------------------------


def back_up(  # noqa: PLR0913  # what, where to, when, and how
    settings: Settings, path: Path, tools: Tools, make_id: Callable[[], str], now: Instant, *, is_sealing: bool
) -> tuple[Header, int]:
    """Write a stopped deployment to a file; `is_sealing` keeps it from starting again. Return what was written.

    Raises as `migrate` does, and FatalError where the file is there already or cannot be written.
    """
    if path.exists():
        raise FatalError(f"{path} is there already; name another file")
    source = Source(settings, tools.kafka, tools.admin, tools.directory / "source", tools.tell)
    source.read()
    if source.seal is not None and source.seal.text != SEALED:
        raise MoveRefused(source.seal.text)
    move_id = make_id() if source.seal is None else source.seal.move_id
    if is_sealing and source.seal is None:
        source.close_with(Seal(SEALED, move_id), switch_for(settings, settings.application_id))
    header = source.header(move_id, rfc3339(now))
    count = write_snapshot(path, header, source.items(with_requests=True))
    try:
        source.check_still(with_requests=False)
    except StillRunning:
        path.unlink(missing_ok=True)
        raise
    return header, count


# --- a file to topics ------------------------------------------------------------------------------------------------


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
    is_at_home = header.cluster_id == tools.kafka.cluster_id()
    kept = frozenset({LANES}) if is_at_home and _has_requests(settings, header, tools) else frozenset[str]()
    lanes, entries, records = _counted(snapshot)
    if LANES not in kept:
        check_lanes(lanes)
    seals = _source_seals(header, settings, tools) if is_at_home else []
    target = Target(settings, tools.kafka, tools.admin, tools.directory, kept, header.move_id, tools.tell)
    target.check()
    if is_dry:
        return Moved(header.move_id, entries, records, _planned(target), kept)
    switch = switch_for(settings, header.application_id if seals else settings.application_id)
    written = _fill(target, snapshot.items(), writer_for(settings))
    seals = _source_seals(header, settings, tools) if is_at_home else []
    positions = {
        (part.decider, number): position for part in header.parts for number, position in enumerate(part.positions)
    }
    switch.write([*target.positions(positions), *seals])
    return _moved(header.move_id, written, target)


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


def _source_seals(header: Header, settings: Settings, tools: Tools) -> list[OutputRecord]:
    """Return what to write where a snapshot comes from, as far as that is still there.

    Raises MoveRefused when it went on since, or could.
    """
    moved = Seal(f"{MOVED}{settings.application_id}: start that one, never this one again", header.move_id)
    places = [
        Place(part.decider, f"{header.application_id}.{part.decider}", part.input_topic, part.state_topic)
        for part in header.parts
    ]
    check_stopped(places, tools.kafka)
    held = tools.admin.counts({topic for part in header.parts for topic in (part.input_topic, part.state_topic)})
    found = []
    for place, part in zip(places, header.parts, strict=True):
        count = len(part.positions)
        committed = tools.kafka.committed(place.group, place.input_topic, count) if place.input_topic in held else {}
        if committed and committed != part.committed:
            raise MoveRefused(_ran_on(header))
        if place.state_topic not in held:
            continue
        ends = tuple(end for _, end in tools.kafka.bounds(place.state_topic, count).values())
        if held[place.state_topic] != count or ends != part.state_ends:
            raise MoveRefused(_ran_on(header))
        found += [
            position_record(place.state_topic, number, replace(position, seal=moved))
            for number, position in enumerate(part.positions)
        ]
    if found and not header.is_sealed:
        raise MoveRefused(
            f"{header.application_id} is still there and nothing keeps it from starting: write it to a file with "
            "--seal, or delete its internal topics first"
        )
    return found


def _ran_on(header: Header) -> str:
    return (
        f"{header.application_id} went on, was moved or was opened after it was written to the file at "
        f"{header.made_at}: what is restored from that would run workflows again"
    )
