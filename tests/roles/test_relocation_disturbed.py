"""Somebody who is not stopped while a deployment moves: seen at every step, and nothing is half moved because of it."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Timer

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from processor.adapters.relocation import LANES, StateRecord, partition_of
from processor.cli.migrate import moved_overrides, new_id
from processor.engine.entries import (
    POSITION_KEY,
    SEAL_KEY,
    StoredPosition,
    pack,
    position_entry,
    position_in,
    storage_key,
    unpack,
)
from processor.engine.ports import Entry, OutputRecord
from processor.engine.seals import SealKind, seal_in
from processor.errors import FatalError, ProcessorError
from processor.roles import relocation
from processor.roles.machines import lane_key
from processor.roles.relocation import AlreadyMoved
from processor.roles.relocation_session import tools_for, writer_for
from processor.roles.relocation_source import StillRunning
from processor.roles.relocation_target import Target, TargetNotEmpty
from processor.settings import DECIDERS, Settings
from processor.settings_loading import Need, load_settings
from tests.cli.commands import command, environment
from tests.support.reading import all_records
from tests.support.topics import topics_named

pytestmark = pytest.mark.broker

PARTITIONS = 3


@pytest.fixture
def env(bootstrap_servers: str, tmp_path: Path, topic_prefix: str) -> dict[str, str]:
    """Give a deployment with all topics, that has decided nothing yet."""
    made = environment(tmp_path, prefix=topic_prefix, broker=bootstrap_servers)
    assert command("topics", "create", env=made).code == 0
    return made


def settings_of(env: dict[str, str], to: str | None = None) -> Settings:
    """Return the settings, also those of the place to move to."""
    return load_settings(env, needs=frozenset({Need.KAFKA}), overrides=moved_overrides(to, 4 if to else None, None))


def migrate(env: dict[str, str], tell: Callable[[str], None] = lambda _: None, to: str = "b") -> None:
    """Move, and let somebody hear how it goes."""
    old = settings_of(env)
    with tools_for(old, tell) as tools:
        relocation.migrate(old, settings_of(env, f"{old.application_id}-{to}"), tools, new_id)


def unseal(env: dict[str, str], tell: Callable[[str], None] = lambda _: None) -> None:
    """Open what is sealed, and let somebody hear how it goes."""
    settings = settings_of(env)
    with tools_for(settings, tell) as tools:
        relocation.unseal(settings, tools)


class Killed(BaseException):
    """Ends a command in the middle."""


def kill() -> None:
    """End the command."""
    raise Killed


def at(moment: str, act: Callable[[], None]) -> Callable[[str], None]:
    """Do something once, at the moment when a move tells this."""
    done: list[str] = []

    def tell(text: str) -> None:
        if moment in text and not done:
            done.append(text)
            act()

    return tell


def publish(  # noqa: PLR0913, PLR0917  # a record, and where
    env: dict[str, str], topic: str, key: bytes, value: bytes | None, application_id: str = "", number: int = 0
) -> None:
    """Write one record to an internal topic."""
    producer = Producer({"bootstrap.servers": env["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"]})
    producer.produce(f"{application_id or env['PROCESSOR_APPLICATION_ID']}.{topic}", value, key, number)
    assert producer.flush(10) == 0


def last(env: dict[str, str], topic: str) -> dict[tuple[int, bytes | None], bytes | None]:
    """Return the last value of each key of each partition."""
    found = all_records(env["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"], topic)
    return {(record.partition, record.key): record.value for record in found}


def positions(env: dict[str, str], application_id: str, decider: str) -> list[StoredPosition]:
    """Return the position of each partition of a decider's state."""
    found = last(env, f"{application_id}.{decider}-state")
    return [
        position_in(unpack(value))
        for (_, key), value in sorted(found.items())
        if key == POSITION_KEY.encode() and value
    ]


def kinds(env: dict[str, str], to: str = "") -> set[SealKind | None]:
    """Return how the partitions are sealed of a deployment, or of the place that it moves to."""
    found: set[SealKind | None] = set()
    for decider in DECIDERS:
        topic = f"{env['PROCESSOR_APPLICATION_ID']}{to}.{decider}-state"
        values = last(env, topic)
        numbers = {number for number, _ in values}
        seals = [values.get((number, SEAL_KEY.encode())) for number in numbers]
        found |= {None if value is None else seal_in(unpack(value)).kind for value in seals}
    return found


def topics_of(env: dict[str, str], application_id: str) -> set[str]:
    """Return the topics that an application id has, without the id."""
    names = topics_named(env["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"], f"{application_id}.")
    return {name.removeprefix(f"{application_id}.") for name in names}


def copied(env: dict[str, str]) -> list[bytes | None]:
    """Return the webhooks that the new place will read."""
    new = f"{env['PROCESSOR_APPLICATION_ID']}-b"
    opened = positions(env, new, "completion")
    found = all_records(env["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"], f"{new}.workflows")
    return [record.value for record in found if record.offset >= opened[record.partition].offset]


def test_an_instance_that_writes_before_the_seal_stops_the_move(env: dict[str, str]) -> None:
    """The deployment is left open, and nothing is written over its position: it may have gone on once more."""
    moved_on = StoredPosition(0, PARTITIONS, ((1, 0),))
    record = pack(position_entry(moved_on))
    with pytest.raises(StillRunning, match="an instance wrote"):
        migrate(env, at("completion-state:", lambda: publish(env, "launch-state", POSITION_KEY.encode(), record)))
    assert positions(env, settings_of(env).application_id, "launch") == [moved_on], "the one that the instance wrote"
    assert kinds(env) == {None}
    migrate(env)


@pytest.mark.parametrize("end", [migrate, unseal])
def test_an_instance_that_writes_beside_the_seal_of_a_killed_move_is_heard(
    env: dict[str, str], end: Callable[[dict[str, str]], None]
) -> None:
    """Its position is the newer one: the move goes on from there, and what is called off goes on from there."""
    with pytest.raises(Killed):
        migrate(env, at("is sealed", kill))
    settings, moved_on = settings_of(env), StoredPosition(2, PARTITIONS, ((1, 0),))
    for value in (b"decided", b"decided", b"unread"):
        publish(env, "launches", b"k", value)
    publish(env, "launch-state", POSITION_KEY.encode(), pack(position_entry(moved_on)))
    commit(env, settings.group_id("launch"), settings.topics.launches, 2)
    end(env)
    assert positions(env, settings.application_id, "launch")[0] == moved_on
    assert kinds(env) == ({None} if end is unseal else {SealKind.MOVED})
    if end is migrate:
        values = all_records(env["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"], f"{settings.application_id}-b.launches")
        assert [record.value for record in values] == [b"unread"]


def commit(env: dict[str, str], group: str, topic: str, offset: int) -> None:
    """Commit an offset of partition 0 for a group."""
    consumer = Consumer({"bootstrap.servers": env["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"], "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    consumer.close()


def test_an_ingestor_that_still_writes_stops_the_last_step(env: dict[str, str]) -> None:
    """Its webhook came after its topic was copied; run again, the move takes it along, and everything once."""
    publish(env, "workflows", b"w-1", b"earlier")
    with pytest.raises(StillRunning, match="ingestors"):
        migrate(env, at("completion-state: read back", lambda: publish(env, "workflows", b"w-1", b"webhook")))
    assert (kinds(env), kinds(env, "-b")) == ({SealKind.MOVING}, {SealKind.UNFINISHED})
    migrate(env)
    assert (kinds(env), kinds(env, "-b")) == ({SealKind.MOVED}, {None})
    assert copied(env) == [b"earlier", b"webhook"]


def test_webhooks_that_come_after_the_move_are_taken_along_once(env: dict[str, str]) -> None:
    """No seal reaches an ingestor: run again, the move brings what an old one took in, and says how many."""
    publish(env, "workflows", b"w-1", b"earlier")
    migrate(env)
    for value in (b"late", b"later"):
        publish(env, "workflows", b"w-1", value)
    with pytest.raises(AlreadyMoved, match="2 webhooks that came since are moved too"):
        migrate(env)
    with pytest.raises(AlreadyMoved, match="; there is nothing left to do"):
        migrate(env)
    assert copied(env) == [b"earlier", b"late", b"later"]


@pytest.mark.parametrize(
    "moment,why",
    [
        ("completion-state:", "is not empty"),
        ("is sealed", "another command moves this deployment"),
        ("is held back", "another command moves this deployment"),
        ("completion-state: read back", "was written to meanwhile"),
    ],
)
def test_of_two_moves_at_a_time_the_later_one_ends(env: dict[str, str], moment: str, why: str) -> None:
    """The earlier one is shut out wherever it stands: nothing of it reaches the new place, which already works."""
    key = b"rec-1\0head"
    number = partition_of(b"rec-1", 4)
    publish(env, "launch-state", key, entry(b"as it was"))
    new = f"{settings_of(env).application_id}-b"

    def other() -> None:
        migrate(env)
        publish(env, "launch-state", key, entry(b"worked on"), application_id=new, number=number)

    with pytest.raises(ProcessorError, match=why):
        migrate(env, at(moment, other))
    assert (kinds(env), kinds(env, "-b")) == ({SealKind.MOVED}, {None})
    assert last(env, f"{new}.launch-state")[number, key] == entry(b"worked on")


def test_of_moves_to_two_places_one_ends(env: dict[str, str]) -> None:
    """The other has made nothing, and opens nothing."""
    with pytest.raises(FatalError, match="another command"):
        migrate(env, at("completion-state:", lambda: migrate(env)), to="c")
    assert (kinds(env), kinds(env, "-b")) == ({SealKind.MOVED}, {None})
    assert topics_of(env, f"{settings_of(env).application_id}-c") == set()


def test_who_calls_a_move_off_and_who_ends_it_never_both_do(env: dict[str, str]) -> None:
    """Whoever began later wins, and the deployment may start at one place."""
    with pytest.raises(Killed):
        migrate(env, at("is sealed", kill))
    with pytest.raises(StillRunning, match="was written to meanwhile"):
        migrate(env, at("launch-state: read back", lambda: unseal(env)))
    assert (kinds(env), kinds(env, "-b")) == ({None}, {SealKind.UNFINISHED})
    with pytest.raises(Killed):
        migrate(env, at("is sealed", kill), to="c")
    with pytest.raises(FatalError, match="another command"):
        unseal(env, at("completion-state:", lambda: migrate(env, to="c")))
    assert (kinds(env), kinds(env, "-c")) == ({SealKind.MOVED}, {None})


def test_nothing_starts_at_a_place_that_is_not_whole(env: dict[str, str]) -> None:
    """All topics of its state are sealed before any other one is there, and no command opens it."""
    new = f"{settings_of(env).application_id}-b"
    with pytest.raises(Killed):
        migrate(env, at("is held back", kill))
    assert topics_of(env, new) == {f"{decider}-state" for decider in DECIDERS}
    assert kinds(env, "-b") == {SealKind.UNFINISHED}
    with pytest.raises(Killed):
        migrate(env, at("completion-state: read back", kill))
    with pytest.raises(FatalError, match="a move to here is not complete"):
        unseal({**env, "PROCESSOR_APPLICATION_ID": new})
    assert kinds(env, "-b") == {SealKind.UNFINISHED}
    migrate(env)


@pytest.mark.parametrize("moment", ["is held back", "completion-state: read back"])
def test_a_pod_that_waits_at_the_new_place_stops_the_move(env: dict[str, str], moment: str) -> None:
    """Its topics were made before, and it became a member just before they were sealed, or while they were filled."""
    new = settings_of(env, f"{settings_of(env).application_id}-b")
    its = {**env, "PROCESSOR_APPLICATION_ID": new.application_id, "PROCESSOR_TOPICS__PARTITIONS": "4"}
    assert command("topics", "create", env=its).code == 0
    consumer = Consumer(
        {"bootstrap.servers": env["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"], "group.id": new.group_id("launch")}
    )

    def join() -> None:
        consumer.subscribe([new.topics.launches])
        while not consumer.assignment():
            consumer.poll(0.1)

    with pytest.raises(StillRunning, match=r"-b\.launch has 1 member:"):
        migrate(env, at(moment, join))
    consumer.close()
    assert (kinds(env), kinds(env, "-b")) == ({SealKind.MOVING}, {SealKind.UNFINISHED})
    migrate(env)


def test_an_id_that_was_used_is_refused_also_where_requests_stay(env: dict[str, str]) -> None:
    """Its groups stand somewhere in the requests topic: an instance would take its state for lost."""
    settings = settings_of(env, f"{settings_of(env).application_id}-b")
    producer = Producer({"bootstrap.servers": env["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"]})
    producer.produce(settings.topics.requests, b"v", b"k", 0)
    assert producer.flush(10) == 0
    commit(env, settings.group_id("preparation"), settings.topics.requests, 1)
    with pytest.raises(TargetNotEmpty, match="has committed offsets"):
        migrate(env)
    assert kinds(env) == {None} or kinds(env) == set()


def test_what_an_aborted_attempt_left_is_nothing(env: dict[str, str]) -> None:
    """Kafka keeps the places of its records: the new place is empty all the same."""
    new = settings_of(env, f"{settings_of(env).application_id}-b")
    its = {**env, "PROCESSOR_APPLICATION_ID": new.application_id, "PROCESSOR_TOPICS__PARTITIONS": "4"}
    assert command("topics", "create", env=its).code == 0
    with closing(writer_for(new, new.application_id)) as writer:
        for topic in (new.topics.launch_state, new.topics.launches, new.topics.control):
            writer.add(OutputRecord(topic, b"k", b"v", (), 0))
    migrate(env)


def test_pauses_move_as_they_stand_at_the_end(env: dict[str, str]) -> None:
    """One that is set meanwhile stops the last step; one that was lifted since does not stay at the new place."""
    publish(env, "control", b"paused", b"{}")
    with pytest.raises(StillRunning, match="control was written to meanwhile"):
        migrate(env, at("completion-state: read back", lambda: publish(env, "control", b"paused-since", b"{}")))
    publish(env, "control", b"paused", None)
    migrate(env)
    pauses = last(env, f"{settings_of(env).application_id}-b.control")
    assert pauses == {(0, b"paused"): None, (0, b"paused-since"): b"{}"}


def test_publishers_with_transactions_do_not_hold_a_move_up(env: dict[str, str]) -> None:
    """There is always one that is open; those that were open at the beginning are waited for."""
    servers = env["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"]
    topic = settings_of(env).topics.requests
    first, second = (begun(servers, f"{topic}.{number}") for number in range(2))
    first.produce(topic, b"v", b"k", 0)
    assert first.flush(10) == 0

    def overlap() -> None:
        second.produce(topic, b"v", b"k", 0)
        second.flush(10)
        first.commit_transaction(10)

    overlapping = Timer(3, overlap)
    with tools_for(settings_of(env), lambda _: None) as tools:
        tools.kafka.bounds(settings_of(env).topics.results, 1)  # What is asked first takes the longest.
        overlapping.start()
        assert tools.kafka.bounds(topic, PARTITIONS)[0] == (0, 1)
    overlapping.join()
    second.abort_transaction(10)


def begun(servers: str, name: str) -> Producer:
    """Return a producer in a transaction."""
    producer = Producer({"bootstrap.servers": servers, "transactional.id": name})
    producer.init_transactions(10)
    producer.begin_transaction()
    return producer


def entry(body: bytes) -> bytes:
    """Return an entry of a state partition."""
    return pack(Entry(0, None, is_behind_evidence=False, is_waiting=False, body=body))


def test_a_transaction_that_is_open_is_waited_for(env: dict[str, str]) -> None:
    """What it holds belongs to the deployment."""
    settings = settings_of(env)
    servers = env["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"]
    producer = begun(servers, f"{settings.application_id}.t")
    producer.produce(settings.topics.workflows, b"started", b"w-1", 0)
    assert producer.flush(10) == 0
    commit = Timer(2, producer.commit_transaction)
    commit.start()
    migrate(env)
    commit.join()
    assert copied(env) == [b"started"]


def test_a_switch_is_whole_or_nothing(env: dict[str, str]) -> None:
    """Who comes later with the name of a deployment fences who came before, before anything of it is seen."""
    settings = settings_of(env)
    earlier = writer_for(settings, settings.application_id)
    record = OutputRecord(settings.topics.launch_state, POSITION_KEY.encode(), entry(b"v"), (), 0)
    earlier.add(record)
    later = writer_for(settings, settings.application_id)
    with pytest.raises(FatalError, match="another command"):
        earlier.flush()
    later.together([record])
    servers = env["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"]
    assert len(all_records(servers, settings.topics.launch_state)) == 1


def test_nothing_is_held_open_while_lanes_are_gathered(env: dict[str, str]) -> None:
    """Millions may have keys that are no text, and a transaction that lasts too long is lost, again and again."""
    old = settings_of(env)
    place = moved_overrides(f"{old.application_id}-b", None, f"{old.topics.requests}-b")
    new = load_settings(env, needs=frozenset({Need.KAFKA}), overrides=place)
    plain = StateRecord(LANES, 0, storage_key("r-1", "known/r-1"), entry(b"v"))
    hashed = StateRecord(LANES, 0, storage_key(lane_key(b"\xff"), "known/r-2"), entry(b"v"))

    def items() -> Iterator[StateRecord]:
        yield plain
        yield hashed
        found = all_records(env["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"], new.topics.preparation_state)
        assert plain.storage.encode() in {record.key for record in found}

    with tools_for(old, lambda _: None) as tools, closing(writer_for(new, new.application_id)) as writer:
        target = Target(new, tools.kafka, tools.admin, tools.directory, frozenset(), "m-1", tools.tell)
        target.prepare(writer)
        target.verify(target.fill(items(), writer))
