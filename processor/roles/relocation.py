"""Moving a stopped deployment: to other topics, or into a file.

One idea: a snapshot of it is a stream of entries, unread records and pauses. One reader gives it, one writer takes it,
and there are two ends to each, topics and a file. What may start is decided by seals alone: the source is sealed before
anything is taken elsewhere, and the transaction that makes the target whole says in the source that it moved.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from processor.adapters.event_headers import rfc3339
from processor.adapters.relocation import LANES, Item, LaneCheck, Tally
from processor.adapters.relocation_kafka import FencedWriter
from processor.adapters.snapshot_file import Header, write_snapshot
from processor.core.model import Instant
from processor.engine.entries import StoredPosition
from processor.engine.ports import OutputRecord
from processor.engine.seals import Seal, SealKind
from processor.errors import FatalError, ProcessorError
from processor.roles.relocation_session import Tools, writers_for
from processor.roles.relocation_source import Place, Source, check_stopped
from processor.roles.relocation_target import Target
from processor.settings import INTERNAL_TOPICS, Settings
from processor.wording import counted


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


class Origin(Protocol):
    """Where a deployment comes from: topics, or a file."""

    @property
    def positions(self) -> Mapping[tuple[str, int], StoredPosition]:
        """The position of each decider and partition."""

    def items(self) -> Iterator[Item]:
        """Give all that moves."""

    def check_still(self) -> None:
        """Raise where something came that was not given."""

    def farewell(self, seal: Seal) -> list[OutputRecord]:
        """Return what to write where it comes from, in the step that ends the move."""

    def late(self) -> tuple[Place, Mapping[int, StoredPosition]] | None:
        """Return where webhooks still come in, and the positions behind what was taken; None where they do not."""


# --- topics to topics ------------------------------------------------------------------------------------------------


def migrate(old: Settings, new: Settings, tools: Tools, make_id: Callable[[], str], *, is_dry: bool = False) -> Moved:
    """Move a stopped deployment to the topics of another application id, and seal it where it was.

    Raises AlreadyMoved, StillRunning, MoveRefused, Contradiction, TargetNotEmpty, CopyIncomplete, BrokerUnavailable;
    after each of these it may be run again.
    """
    check_names(old, new)
    kept = frozenset({LANES}) if old.topics.requests == new.topics.requests else frozenset[str]()
    if is_dry:
        source, target = _ends_of(old, new, tools, kept, make_id)
        return _would_move(source, target)
    with writers_for(old, old.application_id, new.application_id) as (outgoing, incoming):
        source, target = _ends_of(old, new, tools, kept, make_id, outgoing)
        if source.seal is None:
            source.close_with(Seal(SealKind.MOVING, target.move_id, new.application_id), outgoing)
            tools.tell(
                f"{old.application_id} is sealed: it starts no more, unless `processor topics unseal` opens it again"
            )
        return carry_out(source, target, incoming, outgoing)


def _ends_of(  # noqa: PLR0913, PLR0917  # from where to where, with what, and who tells it
    old: Settings,
    new: Settings,
    tools: Tools,
    kept: frozenset[str],
    make_id: Callable[[], str],
    outgoing: FencedWriter | None = None,
) -> tuple[Source, Target]:
    """Read the source, and see that it can go to the target; a writer brings what came after a move that has ended."""
    source = Source(old, tools, takes_requests=LANES not in kept)
    if LANES in kept and source.inputs[LANES] != source.counts[LANES]:
        raise MoveRefused(
            f"{old.topics.requests} has {counted(source.inputs[LANES], 'partition')}, its state was written for "
            f"{source.counts[LANES]}: name another topic with --requests-topic, to which publishers go on afterwards"
        )
    source.read()
    seal = source.seal or Seal(SealKind.MOVING, make_id(), new.application_id)
    target = Target(new, tools.kafka, tools.admin, tools.directory, kept, seal.move_id, tools.tell)
    if seal.target != new.application_id or seal.kind not in {SealKind.MOVING, SealKind.MOVED}:
        raise MoveRefused(seal.text)
    if seal.kind is SealKind.MOVED:
        target.find()
        late = 0 if outgoing is None else target.carry_late(*source.late(), outgoing)
        also = f"{late} webhooks that came since are moved too, " if late else ""
        raise AlreadyMoved(f"{seal.text}; {also}there is nothing left to do")
    target.check()
    if LANES not in kept:
        check_lanes(source.lanes())
    return source, target


def carry_out(origin: Origin, target: Target, incoming: FencedWriter, last: FencedWriter) -> Moved:
    """Do what every move does, in its one order; `last` makes the step that ends it.

    Both shut out everybody else before anything was read. `last` is the origin's where that can still be written to.
    """
    target.prepare(incoming)
    written = target.fill(origin.items(), incoming)
    target.verify(written)
    check_stopped(target.places, target.kafka)
    origin.check_still()
    seal = Seal(SealKind.MOVED, target.move_id, target.settings.application_id)
    last.together([*target.opened(origin.positions), *origin.farewell(seal)])
    late = origin.late()
    if late is not None and target.carry_late(*late, last):
        target.tell("webhooks came in at the old place during the last step and are moved too: stop its ingestors")
    return _moved(written, target)


def unseal(settings: Settings, tools: Tools) -> None:
    """Let a sealed deployment start again; raises MoveRefused for one that has moved, or is not sealed."""
    with writers_for(settings, settings.application_id) as (writer,):
        source = Source(settings, tools)
        source.read()
        if source.seal is None:
            raise MoveRefused(f"{settings.application_id} is not sealed")
        if source.seal.kind not in {SealKind.MOVING, SealKind.FILED}:
            raise MoveRefused(f"{source.seal.text}; what it did there is not known here")
        writer.together(source.seals(None))


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


def _would_move(source: Source, target: Target) -> Moved:
    unread = {name: 0 if name in target.kept else count for name, count in source.unread().items()}
    return Moved("", dict(source.entries), unread, planned(target), target.kept)


def planned(target: Target) -> Mapping[str, int]:
    """Return how many partitions each decider has at its new place, or will have."""
    missing, held = target.missing()
    made = {spec.name: spec.partitions for spec in missing}
    topics = {place.decider: place.input_topic for place in target.places}
    return {name: held[topic].partitions if topic in held else made[topic] for name, topic in topics.items()}


def _moved(written: Tally, target: Target) -> Moved:
    counted = {place.decider: written.of_decider(place.decider) for place in target.places}
    return Moved(
        target.move_id,
        {name: entries for name, (entries, _) in counted.items()},
        {name: records for name, (_, records) in counted.items()},
        target.counts,
        target.kept,
    )


# --- topics to a file ------------------------------------------------------------------------------------------------


def back_up(  # noqa: PLR0913  # what, where to, when, and how
    settings: Settings, path: Path, tools: Tools, make_id: Callable[[], str], now: Instant, *, is_sealing: bool
) -> tuple[Header, int]:
    """Write a stopped deployment to a file; `is_sealing` keeps it from starting again. Return what was written.

    Raises as `migrate` does, and FatalError where the file is there already or cannot be written.
    """
    if path.exists():
        raise FatalError(f"{path} is there already; name another file")
    with writers_for(settings, *([settings.application_id] if is_sealing else [])) as writers:
        source = Source(settings, tools)
        source.read()
        seal = source.seal or Seal(SealKind.FILED, make_id())
        if seal.kind is not SealKind.FILED:
            raise MoveRefused(seal.text)
        if writers and source.seal is None:
            source.close_with(seal, writers[0])
        header = source.header(seal.move_id, rfc3339(now))
        return header, write_snapshot(path, header, _checked(source))


def _checked(source: Source) -> Iterator[Item]:
    """Give all that goes into a file, which gets its end and its name only where nothing came meanwhile."""
    yield from source.items()
    source.check_still(is_for_later=True)
