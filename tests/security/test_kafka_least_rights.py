"""The whole job on a broker that grants nothing but the documented rights, by each way to prove who one is.

Every principal does everything that it is there for. Then the authorizer's own log is asked: nothing was denied, and
each single right was asked for, so that none can be left out.
"""

import json
import shutil
from pathlib import Path

import httpx
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # exported, but not said so

from processor.adapters.acls import (
    Acl,
    Grantee,
    Operation,
    Resource,
    ResourceKind,
    acls_of,
    installation_of,
)
from processor.adapters.catalogue_file import catalogue_of
from processor.settings_loading import load_settings
from tests.cli.commands import command, environment
from tests.security.guarded import AGAIN, CHECKED, LINKED, Guarded, guarded
from tests.support.onboarding import Request, milliseconds
from tests.support.secure_broker import SecureBroker, Way, was_asked
from tests.support.world import PARTITIONS

BOTH = {CHECKED.encode(), LINKED.encode()}
DAMAGED = b"\x02\xff"  # Of a known format, and of a type that there is not.
pytestmark = pytest.mark.broker


def requests_of_every_kind(made: Guarded) -> None:
    """Run one that completes by its webhook, one with a link, one that is over before it begins."""
    world = made.world
    over = milliseconds() - 1_000
    world.publish(Request("plain", workflow=CHECKED), Request("link", workflow=LINKED))
    world.publish(Request("late", workflow=CHECKED, deadline_at=over))
    assert (world.result("plain")["outcome"], world.result("plain")["completedBy"]) == ("COMPLETED", "WEBHOOK")
    assert world.link("link")["link"]
    assert world.result("link")["outcome"] == "COMPLETED"
    assert world.result("late")["outcome"] == "EXPIRED"


def runs_of_unknown_outcome(made: Guarded) -> None:
    """Adopt one by its webhook, run one again, and let a person end the third."""
    world = made.world
    with world.provider.faults(run_hung_up_rate=1):
        world.publish(Request("adopted", workflow=CHECKED))
        assert world.result("adopted")["outcome"] == "COMPLETED"
    with world.provider.faults(run_hung_up_rate=1, webhook_lost_rate=1):
        world.publish(Request("again", workflow=AGAIN), Request("held", workflow=CHECKED))
        world.wait_until(lambda: len(world.provider.runs_of("again")) == 1, "the first run")
        world.wait_until(lambda: "HELD" in world.steps("held"), "the request held")
    assert world.result("again", timeout_s=60)["isRerun"]
    made.command(Grantee.OPERATOR, "held", "resolve", "held", "--give-up", "--yes")
    assert world.result("held")["outcome"] == "UNDETERMINED"


def restarts_without_local_state(made: Guarded) -> None:
    """Let both processes that have state lose their copy of it, and restore."""
    for role in (Grantee.SUBMITTER, Grantee.RECONCILER):
        worker = made.workers[role]
        assert worker.terminate() == 0
        shutil.rmtree(made.world.directory / f"state-{made.world.workers.index(worker) + 1}")
        worker.start()
        made.world.wait_until(worker.is_ready, f"{role} ready again", 40)


def dead_letters_of_every_role(made: Guarded) -> None:
    """Set aside what none of them can read: a request, an internal record, a webhook that names no workflow."""
    world = made.world
    world.publish_bytes("k", b"rubbish")
    producer = Producer({"bootstrap.servers": world.bootstrap_servers})
    producer.produce(world.topic("workflows"), DAMAGED, b"k")
    assert producer.flush(10) == 0
    unreadable = {"text": "{}"}
    httpx.post(f"{world.provider.url}/_simulator/webhook", json=unreadable, timeout=10).raise_for_status()
    world.wait_until(
        lambda: (
            {record.headers["dlq.source.topic"] for record in world.records("dead-letters")}
            == {world.topic("requests").encode(), world.topic("workflows").encode(), b"webhook"}
        ),
        "three dead letters",
    )


def pauses_by_every_role(made: Guarded) -> None:
    """Let each decider meet a fault of ours and say so on the control topic; an operator lets the workflows go on."""
    world = made.world
    with world.provider.faults(completion_ms=6_000):
        world.publish(Request("slow", workflow=CHECKED))
        world.wait_until(lambda: len(world.provider.runs_of("slow")) == 1, "the slow run")
    with world.provider.faults(forbidden=True):
        world.publish(Request("forbidden", workflow=LINKED))
        world.wait_until(lambda: {record.key for record in world.records("control")} == BOTH, "both workflows paused")
    made.command(Grantee.OPERATOR, "pause", AGAIN)
    for workflow in (CHECKED, LINKED, AGAIN):
        made.command(Grantee.OPERATOR, "resume", workflow)
    assert {world.result(request, timeout_s=40)["outcome"] for request in ("slow", "forbidden")} == {"COMPLETED"}


def work_of_people(made: Guarded, directory: Path) -> None:
    """Publish as upstream, read as a consumer, look at what is held, and take over a workflow."""
    requests, running = directory / "requests.jsonl", directory / "running.jsonl"
    requests.write_text(json.dumps({"requestId": "by-hand", "workflow": CHECKED, "subject": {"lastName": "E"}}))
    made.command(Grantee.PUBLISHER, "publish", str(requests))
    assert made.world.result("by-hand")["outcome"] == "COMPLETED"
    assert "by-hand" in made.command(Grantee.CONSUMER, "results").stdout
    assert json.loads(made.command(Grantee.OPERATOR, "held", "list", "--json").stdout)["held"] == []
    workflow_id = made.world.provider.run_foreign()
    running.write_text(json.dumps({"workflowId": workflow_id, "requestId": "adopted-1", "workflow": CHECKED}))
    made.command(Grantee.OPERATOR, "adopt", str(running))
    assert made.world.result("adopted-1")["workflowId"] == workflow_id


def is_purged(made: Guarded, topic: str) -> bool:
    """Whether a partition of a topic does not begin with its first record any more."""
    admin = AdminClient({"bootstrap.servers": made.world.bootstrap_servers})
    parts = [TopicPartition(made.world.topic(topic), number) for number in range(PARTITIONS)]
    found = admin.list_offsets({part: OffsetSpec.earliest() for part in parts})  # type: ignore[no-untyped-call]
    return any(offset.result(10).offset > 0 for offset in found.values())


def never_asked(made: Guarded, grantee: Grantee, acls: tuple[Acl, ...]) -> list[tuple[str, Operation]]:
    """Return the rights of somebody that nothing asked the broker for."""
    asked = made.secure.asked(made.users[grantee])
    return [
        (acl.resource.name, operation)
        for acl in acls
        for operation in acl.operations
        if not was_asked(acl, operation, asked)
    ]


def denied(made: Guarded) -> dict[Grantee, set[str]]:
    """Return what was denied to whom."""
    refused = {
        grantee: {f"{one.operation} {one.kind} {one.name} by {one.request}" for one in made.secure.asked(access)
                  if not one.is_allowed}
        for grantee, access in made.users.items()
    }  # fmt: skip
    return {grantee: found for grantee, found in refused.items() if found}


@pytest.mark.parametrize("way,protocol", [(Way.SCRAM, "classic"), (Way.OAUTH, "consumer"), (Way.MTLS, "consumer")])
def test_the_documented_rights_are_enough_and_none_is_too_many(
    secure: SecureBroker, tmp_path: Path, way: Way, protocol: str
) -> None:
    """Requests, webhooks, links, dead letters, holds, reruns, pauses and purges work, and each right is needed."""
    with guarded(secure, way, tmp_path, settings={"PROCESSOR_KAFKA__GROUP_PROTOCOL": protocol}) as made:
        made.started(Grantee.INGESTOR)
        made.started(Grantee.SUBMITTER)
        # What completion finds at its start is its first position of which it knows that it is old.
        made.world.publish(*(Request(f"early-{number}", workflow=CHECKED) for number in range(3)))
        made.world.wait_until(lambda: len(made.world.provider.runs()) == 3, "the early runs")
        made.started(Grantee.RECONCILER)
        requests_of_every_kind(made)
        runs_of_unknown_outcome(made)
        restarts_without_local_state(made)
        dead_letters_of_every_role(made)
        pauses_by_every_role(made)
        work_of_people(made, tmp_path)
        made.world.wait_until(lambda: is_purged(made, "launches") and is_purged(made, "workflows"), "both purges")
        assert [worker.terminate() for worker in made.workers.values()] == [0, 0, 0]
        assert denied(made) == {}
        assert {grantee: never_asked(made, grantee, made.rights(grantee)) for grantee in made.users} == {
            grantee: [] for grantee in made.users
        }


def test_a_command_that_lacks_a_right_says_so(secure: SecureBroker, tmp_path: Path) -> None:
    """Who may see a topic and do nothing with it hears what the broker refuses, not only that something failed."""
    requests = tmp_path / "requests.jsonl"
    requests.write_text(json.dumps({"requestId": "r", "workflow": CHECKED, "subject": {"lastName": "E"}}))
    lacking = [
        (Grantee.PUBLISHER, "requests", ("publish", str(requests)), 1, "refuses access to the cluster"),
        (
            Grantee.CONSUMER,
            "results",
            ("results",),
            1,
            "refuses access to the",
        ),  # The group or the topic: which is told first.
        (Grantee.OPERATOR, "control", ("pause", CHECKED), 3, "TOPIC_AUTHORIZATION_FAILED"),
    ]
    with guarded(secure, Way.SCRAM, tmp_path) as made:
        made.world.publish(Request("there"))  # So the registry has the schema.
        upstream = Producer({"bootstrap.servers": made.world.bootstrap_servers})
        for topic in ("results", "control"):
            upstream.produce(made.world.topic(topic), b"something to read", b"k")
        assert upstream.flush(10) == 0
        for grantee, seen, arguments, code, told in lacking:
            sees = Acl(Resource(ResourceKind.TOPIC, made.world.topic(seen)), (Operation.DESCRIBE,))
            secure.grant(made.user(grantee, is_granted=False), [sees])
            assert told in made.command(grantee, *arguments, code=code).stderr


def test_whoever_sets_up_needs_no_right_on_the_cluster(secure: SecureBroker, tmp_path: Path) -> None:
    """Topics are made and judged with rights on their names alone."""
    access = secure.admit(Way.SCRAM, tmp_path.name)
    env = environment(tmp_path, prefix=f"{tmp_path.name}.") | dict(access.environ)
    rights = acls_of([Grantee.SETUP], installation_of(settings := load_settings(env), catalogue_of(settings)))
    secure.grant(access, rights)
    assert command("topics", "create", env=env).code == 0
    checked = command("topics", "check", env=env)
    assert checked.code == 0, checked.out
    asked = secure.asked(access)
    assert [one for one in asked if not one.is_allowed] == []
    assert [(acl, one) for acl in rights for one in acl.operations if not was_asked(acl, one, asked)] == []
