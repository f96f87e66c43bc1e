"""Somebody who is not stopped while a deployment moves: seen at every step, and nothing is half moved because of it."""

from collections.abc import Callable
from pathlib import Path
from threading import Timer

import pytest
from confluent_kafka import Producer

from processor.cli.migrate import moved_overrides, new_id
from processor.engine.entries import POSITION_KEY, StoredPosition, pack, position_entry, position_in, unpack
from processor.engine.ports import OutputRecord
from processor.errors import FatalError
from processor.roles import relocation
from processor.roles.relocation import switch_for
from processor.roles.relocation_source import StillRunning
from processor.roles.relocation_target import UNFINISHED
from processor.settings import Settings
from processor.settings_loading import Need, load_settings
from tests.cli.commands import command, environment
from tests.support.reading import all_records

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


def migrate(env: dict[str, str], tell: Callable[[str], None] = lambda _: None) -> None:
    """Move, and let somebody hear how it goes."""
    old = settings_of(env)
    with relocation.tools_for(old, tell) as tools:
        relocation.migrate(old, settings_of(env, f"{old.application_id}-b"), tools, new_id)


def at(moment: str, act: Callable[[], None]) -> Callable[[str], None]:
    """Do something once, at the moment when a move tells this."""
    done: list[str] = []

    def tell(text: str) -> None:
        if moment in text and not done:
            done.append(text)
            act()

    return tell


def publish(env: dict[str, str], topic: str, key: bytes, value: bytes) -> None:
    """Write one record to partition 0 of an internal topic."""
    producer = Producer({"bootstrap.servers": env["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"]})
    producer.produce(f"{env['PROCESSOR_APPLICATION_ID']}.{topic}", value, key, 0)
    assert producer.flush(10) == 0


def positions(env: dict[str, str], application_id: str, decider: str) -> list[StoredPosition]:
    """Return the position of each partition of a decider's state."""
    found: dict[int, StoredPosition] = {}
    for record in all_records(env["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"], f"{application_id}.{decider}-state"):
        if record.key == POSITION_KEY.encode():
            found[record.partition] = position_in(unpack(record.value or b""))
    return [found[number] for number in sorted(found)]


def test_an_instance_that_writes_before_the_seal_stops_the_move(env: dict[str, str]) -> None:
    """Its position is newer than what was read: the deployment is left open, with that position."""
    moved_on = StoredPosition(0, PARTITIONS, ((1, 0),))
    record = pack(position_entry(moved_on))
    with pytest.raises(StillRunning, match="an instance wrote"):
        migrate(env, at("completion-state:", lambda: publish(env, "launch-state", POSITION_KEY.encode(), record)))
    assert positions(env, settings_of(env).application_id, "launch")[0] == moved_on
    assert all(position.seal is None for position in positions(env, settings_of(env).application_id, "completion"))
    migrate(env)


def test_an_ingestor_that_still_writes_stops_the_last_step(env: dict[str, str]) -> None:
    """Its webhook came after its topic was copied; run again, the move takes it along, and everything once."""
    publish(env, "workflows", b"w-1", b"earlier")
    with pytest.raises(StillRunning, match="ingestors too"):
        migrate(env, at("completion-state: read back", lambda: publish(env, "workflows", b"w-1", b"webhook")))
    old, new = settings_of(env).application_id, f"{settings_of(env).application_id}-b"
    assert all(position.seal is not None for position in positions(env, old, "completion"))
    assert {position.seal.text for position in positions(env, new, "completion") if position.seal} == {UNFINISHED}
    migrate(env)
    opened = positions(env, new, "completion")
    assert [position.seal for position in opened] == [None] * 4
    copied = all_records(env["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"], f"{new}.workflows")
    assert [record.value for record in copied if record.offset >= opened[record.partition].offset] == [
        b"earlier",
        b"webhook",
    ]


def test_of_two_moves_at_a_time_one_ends(env: dict[str, str]) -> None:
    """Both may write the same entries; one alone makes the last step, and the other sees that it came too late."""
    with pytest.raises(StillRunning, match="was written to meanwhile"):
        migrate(env, at("completion-state: read back", lambda: migrate(env)))
    new = f"{settings_of(env).application_id}-b"
    assert [position.seal for position in positions(env, new, "launch")] == [None] * 4


def test_a_transaction_that_is_open_is_waited_for(env: dict[str, str]) -> None:
    """What it holds belongs to the deployment."""
    settings = settings_of(env)
    servers = env["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"]
    producer = Producer({"bootstrap.servers": servers, "transactional.id": f"{settings.application_id}.t"})
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce(settings.topics.workflows, b"started", b"w-1", 0)
    assert producer.flush(10) == 0
    commit = Timer(2, producer.commit_transaction)
    commit.start()
    migrate(env)
    commit.join()
    copied = all_records(servers, f"{settings.application_id}-b.workflows")
    assert [record.value for record in copied] == [b"started"]


def test_a_switch_is_whole_or_nothing(env: dict[str, str]) -> None:
    """Who comes later with the name of a deployment fences who came before, before anything of it is seen."""
    settings = settings_of(env)
    earlier = switch_for(settings, settings.application_id)
    later = switch_for(settings, settings.application_id)
    entry = pack(position_entry(StoredPosition(0, PARTITIONS)))
    record = OutputRecord(settings.topics.launch_state, POSITION_KEY.encode(), entry, (), 0)
    with pytest.raises(FatalError, match="another command"):
        earlier.write([record])
    later.write([record])
    servers = env["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"]
    assert len(all_records(servers, settings.topics.launch_state)) == 1
