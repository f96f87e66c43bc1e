"""What moving a deployment refuses, and why; on a real broker, with a state that was written by hand."""

import gzip
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from processor.adapters.relocation import partition_of
from processor.engine.entries import POSITION_KEY, SEAL_KEY, StoredPosition, pack, position_entry, storage_key
from processor.engine.ports import Entry
from processor.engine.seals import Seal, SealKind, seal_value
from tests.cli.commands import Said, command, environment
from tests.support.reading import all_records
from tests.support.topics import topics_named

pytestmark = pytest.mark.broker

Env = Mapping[str, str]
PARTITIONS = 3  # As `environment` has it.
OPEN = StoredPosition(1, PARTITIONS)
BODY = Entry(2, None, is_behind_evidence=False, is_waiting=False, body=b"known")
DECIDERS = {"preparation": "requests", "launch": "launches", "completion": "workflows"}


@pytest.fixture
def old(bootstrap_servers: str, tmp_path: Path, topic_prefix: str) -> dict[str, str]:
    """Give a deployment that has stopped: keys in each decider's state, and input of which the half is unread."""
    env = environment(tmp_path, prefix=topic_prefix, broker=bootstrap_servers)
    assert command("topics", "create", env=env).code == 0
    for decider in DECIDERS:
        write_input(env, decider, 8)
        write_state(env, decider, [f"key-{number}" for number in range(20)])
    return env


def input_topic(env: Env, decider: str) -> str:
    """Return the input topic of a decider."""
    public = env["PROCESSOR_TOPICS__REQUESTS"]
    return public if decider == "preparation" else f"{env['PROCESSOR_APPLICATION_ID']}.{DECIDERS[decider]}"


def producer_of(env: Env) -> Producer:
    """Make a producer as upstream has one."""
    servers = env["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"]
    return Producer({"bootstrap.servers": servers, "partitioner": "murmur2_random"})


def write_input(env: Env, decider: str, count: int) -> None:
    """Publish records of one decider, each under a key of its own."""
    producer = producer_of(env)
    for number in range(count):
        headers: Any = [("custody", b"prepared")]
        producer.produce(input_topic(env, decider), f"v-{number}".encode(), f"key-{number}".encode(), headers=headers)
    assert producer.flush(10) == 0


def write_state(env: Env, decider: str, keys: list[str], position: StoredPosition = OPEN) -> None:
    """Write an entry of each key where it belongs, another one that is deleted again, and all positions."""
    producer, topic = producer_of(env), f"{env['PROCESSOR_APPLICATION_ID']}.{decider}-state"
    for key in keys:
        number = partition_of(key.encode(), PARTITIONS)
        for part, value in (("gone", pack(BODY)), (f"known/r-{key}", pack(BODY)), ("gone", None)):
            producer.produce(topic, value, storage_key(key, part).encode(), number)
    for number in range(PARTITIONS):
        producer.produce(topic, pack(position_entry(position)), POSITION_KEY.encode(), number)
    assert producer.flush(10) == 0


def write_seals(env: Env, decider: str, seal: Seal) -> None:
    """Seal all state partitions of a decider."""
    producer, topic = producer_of(env), f"{env['PROCESSOR_APPLICATION_ID']}.{decider}-state"
    for number in range(PARTITIONS):
        producer.produce(topic, seal_value(seal), SEAL_KEY.encode(), number)
    assert producer.flush(10) == 0


def entries(env: Env, application_id: str, decider: str) -> dict[int, set[str]]:
    """Return the keys of a decider's state by partition; the records of positions count as well."""
    found: dict[int, set[str]] = {}
    for record in all_records(env["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"], f"{application_id}.{decider}-state"):
        found.setdefault(record.partition, set()).add((record.key or b"").decode())
    return found


def new_id(env: Env) -> str:
    """Return the application id to move to."""
    return f"{env['PROCESSOR_APPLICATION_ID']}-b"


def migrate(env: Env, *options: str, partitions: int = 5) -> Said:
    """Run the command."""
    given = ("--to-application-id", new_id(env), "--partitions", str(partitions))
    return command("topics", "migrate", *given, *options, env=env)


def restore(env: Env, file: Path, *options: str) -> Said:
    """Run the command."""
    return command("restore", str(file), "--to-application-id", new_id(env), "--partitions", "5", *options, env=env)


def test_everything_lands_in_the_partition_of_its_key(old: Env) -> None:
    """Entries, unread records with their headers, nothing that was decided or deleted; then the old one is sealed."""
    said = migrate(old, "--json")
    assert said.code == 0, said.err
    told = said.json()["moved"]["deciders"]
    assert {name: told[name]["entries"] for name in told} == dict.fromkeys(DECIDERS, 20)
    assert (told["preparation"]["inputStays"], told["preparation"]["partitions"]) == (True, PARTITIONS)
    servers = old["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"]
    for decider in ("launch", "completion"):
        where = {storage_key(key, f"known/r-{key}"): partition_of(key.encode(), 5) for key in KEYS}
        found = entries(old, new_id(old), decider)
        assert {storage: n for n, keys in found.items() for storage in keys - {POSITION_KEY, SEAL_KEY}} == where
        assert all(POSITION_KEY in found[number] for number in range(5))
        before = all_records(servers, input_topic(old, decider))
        after = all_records(servers, f"{new_id(old)}.{DECIDERS[decider]}")
        unread = {(record.key, record.value, record.headers["custody"]) for record in before if record.offset >= 1}
        assert {(record.key, record.value, record.headers["custody"]) for record in after} == unread
        assert all(record.partition == partition_of(record.key or b"", 5) for record in after)
    again = migrate(old)
    assert (again.code, "nothing left to do" in again.err) == (1, True)
    opened = command("topics", "unseal", "--yes", env=old)
    assert (opened.code, "was moved to" in opened.err) == (1, True)


KEYS = [f"key-{number}" for number in range(20)]


def test_a_dry_run_tells_and_writes_nothing(old: Env) -> None:
    """Counts of entries and records; no topic is made, no seal written."""
    said = migrate(old, "--dry-run")
    assert said.code == 0, said.err
    assert "nothing was written" in said.out
    assert topics_named(old["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"], new_id(old)) == []
    assert command("topics", "unseal", "--yes", env=old).err.strip().endswith("is not sealed")


def test_nothing_moves_while_an_instance_is_a_member(old: Env) -> None:
    """Whoever is in the group could go on any moment."""
    consumer = Consumer(
        {
            "bootstrap.servers": old["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"],
            "group.id": f"{old['PROCESSOR_APPLICATION_ID']}.launch",
        }
    )
    consumer.subscribe([input_topic(old, "launch")])
    while not consumer.assignment():
        consumer.poll(0.1)
    said = migrate(old)
    consumer.close()
    assert (said.code, "stop every instance" in said.err) == (1, True)
    assert migrate(old, "--dry-run").code == 0


def test_a_move_that_is_called_off_leaves_a_deployment_that_starts(old: Env) -> None:
    """The seal keeps the position; the unfinished target is refused to another move until its topics are gone."""
    for decider in DECIDERS:
        write_seals(old, decider, Seal(SealKind.MOVING, "m-0", new_id(old)))
    refused = command("topics", "migrate", "--to-application-id", "another", env=old)
    assert (refused.code, f"being moved to application id {new_id(old)}" in refused.err) == (1, True)
    assert command("topics", "unseal", "--yes", env=old).code == 0
    servers = old["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"]
    topic = f"{old['PROCESSOR_APPLICATION_ID']}.launch-state"
    last = {(record.partition, record.key): record.value for record in all_records(servers, topic)}
    for number in range(PARTITIONS):
        assert last[number, SEAL_KEY.encode()] is None
        assert last[number, POSITION_KEY.encode()] == pack(position_entry(OPEN)), "as it was"


def test_partitions_that_contradict_each_other_are_not_moved(old: Env) -> None:
    """Sealed and open ones, a position behind the end, state without a position: each is said with its topic."""
    write_state(old, "launch", [], StoredPosition(99, PARTITIONS))
    said = migrate(old)
    assert (said.code, "made anew" in said.err) == (1, True)
    write_state(old, "launch", [])
    write_seals(old, "launch", Seal(SealKind.MOVING, "m-0", new_id(old)))
    said = migrate(old)
    assert (said.code, "some partitions are sealed and others are not" in said.err) == (1, True)


def test_partitions_that_somebody_added_in_place_are_moved_too(old: Env) -> None:
    """Instances stop then; a move takes the records of all partitions to where their keys belong."""
    admin = AdminClient({"bootstrap.servers": old["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"]})
    grown = [input_topic(old, "launch"), input_topic(old, "preparation")]
    for added in admin.create_partitions([NewPartitions(topic, PARTITIONS + 4) for topic in grown]).values():
        added.result(10)
    for decider in ("launch", "preparation"):
        write_input(old, decider, 20)
    refused = migrate(old)
    assert (refused.code, "--requests-topic" in refused.err) == (1, True)
    said = migrate(old, "--requests-topic", f"{grown[1]}-b")
    assert said.code == 0, said.err
    servers = old["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"]
    for before, after in ((grown[0], f"{new_id(old)}.launches"), (grown[1], f"{grown[1]}-b")):
        records = all_records(servers, before)
        unread = Counter(record.key for record in records if record.partition >= PARTITIONS or record.offset >= 1)
        moved = all_records(servers, after)
        assert Counter(record.key for record in moved) == unread
        assert all(record.partition == partition_of(record.key or b"", 5) for record in moved)


def test_a_target_that_holds_something_is_left_alone(old: Env) -> None:
    """Topics of that id may be there, but empty."""
    env = {**old, "PROCESSOR_APPLICATION_ID": new_id(old)}
    assert command("topics", "create", env=env).code == 0
    counts = migrate(old)
    assert (counts.code, "5 are asked for" in counts.err) == (1, True)
    write_input(env, "launch", 1)
    said = migrate(old, partitions=PARTITIONS)
    assert (said.code, "must be new" in said.err) == (1, True)
    write_state(env, "launch", ["a"])
    said = migrate(old, partitions=PARTITIONS)
    assert (said.code, "is not empty" in said.err) == (1, True)
    same = command("topics", "migrate", "--to-application-id", old["PROCESSOR_APPLICATION_ID"], env=old)
    assert (same.code, "an application id of its own" in same.err) == (1, True)
    named = {**old, "PROCESSOR_TOPICS__LAUNCHES": f"{old['PROCESSOR_APPLICATION_ID']}.launches"}
    both = migrate(named)
    assert (both.code, "would be a topic of both" in both.err) == (1, True)


def test_requests_move_only_behind_publishers_that_choose_partitions_as_we_do(old: Env) -> None:
    """A record that lies elsewhere shows others, whose next request would come in where nothing is known of it."""
    producer, topic = producer_of(old), old["PROCESSOR_TOPICS__REQUESTS"]
    key = b"key-1"
    producer.produce(topic, b"v", key, (partition_of(key, PARTITIONS) + 1) % PARTITIONS)
    assert producer.flush(10) == 0
    said = migrate(old, "--requests-topic", f"{topic}-b")
    assert (said.code, "do not choose partitions by murmur2" in said.err) == (1, True)
    assert migrate(old).code == 0, "where the requests topic stays, nobody minds"


def test_a_snapshot_is_restored_once_and_only_whole(old: Env, tmp_path: Path) -> None:
    """A cut or changed file is refused before anything is written; a whole one makes a deployment, and no other one."""
    file = tmp_path / "whole.snapshot"
    said = command("backup", str(file), "--seal", "--json", env=old)
    assert (said.code, said.json()["isSealed"]) == (0, True), said.err
    assert command("backup", str(file), env=old).err.strip().endswith("is there already; name another file")
    lines = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
    damages = {
        "cut.snapshot": file.read_bytes()[:-20],
        "short.snapshot": gzip.compress(b"".join(lines[:-1])),
        "changed.snapshot": gzip.compress(b"".join([*lines[:5], *lines[6:]])),
        "newer.snapshot": gzip.compress(lines[0].replace(b'"version":1', b'"version":2') + b"".join(lines[1:])),
        "other.snapshot": b"PK and so on",
    }
    for name, content in damages.items():
        (tmp_path / name).write_bytes(content)
        refused = restore(old, tmp_path / name)
        assert (refused.code, refused.out) == (1, ""), name
    assert topics_named(old["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"], new_id(old)) == []
    assert restore(old, file, "--dry-run").code == 0
    done = restore(old, file)
    assert done.code == 0, done.err
    assert sum(len(keys - {POSITION_KEY, SEAL_KEY}) for keys in entries(old, new_id(old), "completion").values()) == 20
    twice = command("restore", str(file), "--to-application-id", "another", env=old)
    assert (twice.code, "would run workflows again" in twice.err) == (1, True)


def test_a_snapshot_of_a_deployment_that_went_on_is_refused(old: Env, tmp_path: Path) -> None:
    """What was done since would be done again; and what may still go on must be sealed first."""
    file = tmp_path / "stale.snapshot"
    assert command("backup", str(file), env=old).code == 0
    assert "out of date" in command("backup", str(tmp_path / "2.snapshot"), env=old).out
    asked = command("restore", str(file), "--to-application-id", new_id(old), env=old, stdin="n\n")
    assert (asked.code, "never run again" in asked.err) == (1, True)
    loose = restore(old, file, "--yes")
    assert (loose.code, "nothing keeps it from starting" in loose.err) == (1, True)
    write_state(old, "completion", ["one-more"])
    stale = restore(old, file, "--yes")
    assert (stale.code, "would run workflows again" in stale.err) == (1, True)


def test_the_file_is_plain_lines_of_json(old: Env, tmp_path: Path) -> None:
    """What it is of, what it holds, how much of it; only its owner may read it."""
    file = tmp_path / "deployment.snapshot"
    assert command("backup", str(file), env=old).code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        first, *items, last = map(json.loads, lines)
    assert (first["format"], first["version"], first["isSealed"]) == ("onboarding-snapshot", 1, False)
    assert first["applicationId"] == old["PROCESSOR_APPLICATION_ID"]
    assert {item[0] for item in items} == {"s", "u"}
    assert last["end"]["items"] == len(items)


def test_a_snapshot_without_a_webhook_is_not_restored(old: Env, tmp_path: Path) -> None:
    """An ingestor took one in after it was written: the sealed deployment is written to a file again, with it."""
    assert command("backup", str(tmp_path / "1.snapshot"), "--seal", env=old).code == 0
    write_input(old, "completion", 1)
    said = restore(old, tmp_path / "1.snapshot")
    assert (said.code, "write the deployment to a file again" in said.err) == (1, True)
    assert command("backup", str(tmp_path / "2.snapshot"), "--seal", env=old).code == 0
    done = restore(old, tmp_path / "2.snapshot")
    assert done.code == 0, done.err
    write_input(old, "completion", 2)
    again = migrate(old)
    assert (again.code, "2 webhooks that came since are moved too" in again.err) == (1, True)
