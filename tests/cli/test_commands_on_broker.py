"""The commands against a real broker and a registry that speaks HTTP."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest
from confluent_kafka import Consumer, Producer

from processor.adapters.avro import EventEncoder, RequestDecoder
from processor.adapters.codec import Codec
from processor.adapters.embedded_registry import registry_in_thread
from processor.adapters.registry import registry_client
from processor.adapters.topic_specs import TopicSpec, Use
from processor.adapters.topics import Made, TopicAdmin
from processor.core.launch_parts import new_head, seen_name
from processor.core.messages import Observed, OperatorDecided, Prepared, Resolution
from processor.core.state import Candidate, Issued, LaunchPhase, Part
from processor.engine.entries import pack, storage_key
from processor.engine.ports import Entry
from processor.roles.machines import LaunchMachine
from tests.adapters.samples import AT, FINISHED, ORIGIN
from tests.cli.commands import Said, command, environment
from tests.cli.simulated import known_to, simulated
from tests.support.topics import make_topic

pytestmark = pytest.mark.broker

PARTITION = 2
EXAMPLES = Path(__file__).parents[2] / "examples" / "requests.jsonl"
Env = dict[str, str]
Sent = tuple[str, bytes, bytes | None, int, list[tuple[str, bytes]]]  # Topic, key, value, partition, headers.


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    """Give the address of an embedded registry."""
    with registry_in_thread() as url:
        yield url


@pytest.fixture
def env(tmp_path: Path, topic_prefix: str, bootstrap_servers: str, registry: str) -> Env:
    """Give variables for a cluster in which nothing is prepared."""
    return environment(tmp_path, prefix=topic_prefix, broker=bootstrap_servers, registry=registry)


@pytest.fixture
def ready(env: Env) -> Env:
    """Give variables for a cluster whose topics and schemas are there."""
    assert command("topics", "create", env=env).code == 0
    assert command("schemas", "register", env=env).code == 0
    return env


def findings(said: Said, grade: str) -> set[str]:
    """Return the topics with findings of a grade."""
    return {each["topic"] for each in said.json()["findings"] if each["grade"] == grade}


def consume(env: Mapping[str, str], topic: str, count: int) -> list[tuple[bytes | None, bytes | None, int | None]]:
    """Return key, value and partition of so many committed records."""
    config = {"bootstrap.servers": env["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"], "group.id": topic}
    consumer = Consumer({**config, "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe([topic])
    found: list[tuple[bytes | None, bytes | None, int | None]] = []
    give_up_at = time.monotonic() + 20
    while len(found) < count and time.monotonic() < give_up_at:
        message = consumer.poll(0.5)
        if message is not None and message.error() is None:
            key, value = message.key(), message.value()
            assert isinstance(key, bytes | None)
            assert isinstance(value, bytes | None)
            found.append((key, value, message.partition()))
    consumer.close()
    return found


def produce(env: Mapping[str, str], *records: Sent) -> None:
    """Publish records."""
    producer = Producer({"bootstrap.servers": env["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"]})
    for topic, key, value, partition, headers in records:
        producer.produce(topic, value, key, partition, headers=list(headers))
    assert producer.flush(20) == 0


def test_topics_are_created_once_and_as_check_wants_them(env: Env, topic_prefix: str) -> None:
    """Missing topics are problems; `create` makes them all, changes nothing the second time, and check is content."""
    before = command("topics", "check", "--json", env=env)
    assert before.code == 1
    assert len(findings(before, "problem")) == 12
    planned = command("topics", "create", "--dry-run", "--json", env=env).json()["wouldCreate"]
    assert command("topics", "check", env=env).code == 1
    created = command("topics", "create", "--json", env=env)
    assert created.json()["created"] == planned
    assert f"{topic_prefix}company-results" in {each["topic"] for each in planned}
    again = command("topics", "create", "--json", env=env)
    assert (again.code, again.json()) == (0, {"created": []})
    after = command("topics", "check", "--json", env=env)
    assert (after.code, len(findings(after, "good"))) == (0, 12)


def test_a_state_topic_follows_the_count_of_its_input(env: Env, topic_prefix: str, bootstrap_servers: str) -> None:
    """Upstream's topic is there already, with its own count: the state is made with the same."""
    make_topic(bootstrap_servers, f"{topic_prefix}requests", 5)
    created = command("topics", "create", "--json", env=env).json()["created"]
    counts = {each["topic"].removeprefix(topic_prefix): each["partitions"] for each in created}
    assert counts["preparation-state"] == 5
    assert counts["launch-state"] == counts["launches"] == 3
    assert counts["control"] == 1


def test_state_follows_a_topic_that_somebody_else_made_meanwhile(bootstrap_servers: str, topic_prefix: str) -> None:
    """It was missing when we looked, or the broker did not know it yet; its count is the one to follow."""
    requests, state = f"{topic_prefix}requests", f"{topic_prefix}state"
    specs = [TopicSpec(requests, Use.REQUESTS, 3, 1, {}), TopicSpec(state, Use.STATE, 3, 1, {}, counts_as=requests)]
    admin = TopicAdmin({"bootstrap.servers": bootstrap_servers}, 5.0)
    make_topic(bootstrap_servers, requests, 5)
    assert admin.create(specs, {}) == [Made(state, 5, is_bare=False)]
    assert admin.counts([requests, state]) == {requests: 5, state: 5}


def test_a_topic_that_breaks_a_promise_is_a_problem(env: Env, topic_prefix: str, bootstrap_servers: str) -> None:
    """State that forgets by time and custody that does too are found on the broker itself."""
    make_topic(bootstrap_servers, f"{topic_prefix}launch-state", 4, cleanup_policy="delete")
    make_topic(bootstrap_servers, f"{topic_prefix}workflows", 3, retention_ms="86400000")
    assert command("topics", "create", env=env).code == 0
    said = command("topics", "check", "--json", env=env)
    assert said.code == 1
    assert findings(said, "problem") == {f"{topic_prefix}launch-state", f"{topic_prefix}workflows"}


def test_a_cluster_that_refuses_a_wish_still_gets_what_is_essential(bootstrap_servers: str, topic_prefix: str) -> None:
    """Managed clusters do not let every setting be chosen: the topic is made with what a promise rests on."""
    admin = TopicAdmin({"bootstrap.servers": bootstrap_servers}, 5.0)
    spec = TopicSpec(f"{topic_prefix}s", Use.STATE, 1, 1, {"cleanup.policy": "compact"}, {"no.such.setting": "1"})
    (made,) = admin.create([spec], {})
    assert made.is_bare
    _, held = admin.held([spec.name], {})
    assert (held[spec.name].config or {})["cleanup.policy"] == "compact"


def test_too_many_replicas_are_explained(env: Env) -> None:
    """One broker cannot hold three copies; the remedy names the setting."""
    said = command("topics", "create", env={**env, "PROCESSOR_TOPICS__REPLICATION_FACTOR": "3"})
    assert said.code == 1
    assert "lower PROCESSOR_TOPICS__REPLICATION_FACTOR" in said.err


def test_schemas_are_registered_once(env: Env) -> None:
    """A dry run changes nothing; then each topic has its schema, those of workflows included."""
    assert command("schemas", "check", env=env).code == 1
    dry = command("schemas", "register", "--dry-run", "--json", env=env)
    assert (dry.code, {each["verdict"] for each in dry.json()["findings"]}) == (0, {"missing"})
    done = command("schemas", "register", "--json", env=env)
    assert (done.code, {each["verdict"] for each in done.json()["findings"]}) == (0, {"registered"})
    checked = command("schemas", "check", "--json", env=env)
    assert (checked.code, {each["verdict"] for each in checked.json()["findings"]}) == (0, {"present"})
    assert len(checked.json()["findings"]) == 5


def test_an_installation_that_works_has_no_problem(ready: Env) -> None:
    """Broker, topics, registry, credentials, key endpoint and clock; one broker alone is a warning."""
    with simulated() as (_, url):
        said = command("check", "--json", env={**ready, **known_to(url)})
    assert said.code == 0, said.out
    found = said.json()["findings"]
    assert {each["area"] for each in found} == {
        "catalogue",
        "broker",
        "topic",
        "schema",
        "credentials",
        "webhook keys",
        "clock",
    }
    assert all(each["setting"] for each in found)


def test_what_is_published_is_what_the_processor_decodes(ready: Env, registry: str) -> None:
    """The examples arrive as requests, under the subject's reference, from a file and from standard input."""
    topic = ready["PROCESSOR_TOPICS__REQUESTS"]
    said = command("publish", str(EXAMPLES), "--json", env=ready)
    assert (said.code, said.json()) == (0, {"published": 10, "topic": topic})
    text = EXAMPLES.read_text(encoding="utf-8")
    assert command("publish", "-", "--key", "none", env=ready, stdin=text).code == 0
    found = consume(ready, topic, 20)
    decoder = RequestDecoder(registry_client(registry))
    requests = [(key, decoder.decode(topic, value)) for key, value, _ in found]
    assert len(requests) == 20
    assert {request.request_id for _, request in requests} == {f"example-{number:02}" for number in range(1, 11)}
    assert {key for key, _ in requests} == {None, *(f"C-{1000 + number}".encode() for number in range(1, 11))}


def test_standard_input_is_published_up_to_the_first_bad_line(ready: Env) -> None:
    """How many were published is said, so that one knows where to go on."""
    lines = EXAMPLES.read_text(encoding="utf-8").splitlines()
    said = command("publish", "-", env=ready, stdin="\n".join((*lines[:3], "{}", *lines[3:])))
    assert said.code == 1
    assert said.err.splitlines()[-1] == "3 requests were published before it"


def test_publishing_to_a_topic_that_is_not_there_names_the_command(env: Env) -> None:
    """Schemas alone do not make a topic."""
    assert command("schemas", "register", env=env).code == 0
    said = command("publish", "-", env=env, stdin=EXAMPLES.read_text(encoding="utf-8"))
    assert said.code == 1
    assert "run `processor topics create`" in said.err


def results_of(registry: str, count: int, topic: str) -> list[Sent]:
    """Return records of so many results, one a second."""
    encoder = EventEncoder(registry_client(registry), source="urn:test", definitions={})
    records: list[Sent] = []
    for number in range(count):
        event = replace(FINISHED, finished_at=AT + number * 1000, origin=replace(ORIGIN, request_id=f"r-{number}"))
        value, headers = encoder.encode(topic, event)
        records.append((topic, b"k", value, number % 3, list(headers)))
    return records


def test_results_are_shown_newest_last_and_without_personal_data(ready: Env, registry: str, topic_prefix: str) -> None:
    """All topics of results are read; what the contract tags as personal is hidden until it is asked for."""
    first, second = ready["PROCESSOR_TOPICS__RESULTS"], f"{topic_prefix}company-results"
    produce(ready, *results_of(registry, 5, first))
    (other,) = results_of(registry, 1, second)
    produce(ready, other)
    shown = [
        result
        for line in command("results", "--json", env=ready).out.splitlines()
        if (result := Said(0, line, "").json())
    ]
    assert sorted(result["requestId"] for result in shown) == ["r-0", "r-0", "r-1", "r-2", "r-3", "r-4"]
    assert shown[-1]["finishedAt"] == "2025-11-24T16:00:04.123Z"
    hidden = {name for name in shown[0] if shown[0][name] == "(hidden)"}
    assert hidden == {"decision", "result", "subjectReference", "attributes"}
    newest = Said(0, command("results", "--json", "--max", "1", "--show-result", env=ready).out, "").json()
    assert (newest["requestId"], newest["result"], newest["decision"]) == ("r-4", FINISHED.result, "approved")
    table = command("results", "--topic", second, env=ready)
    assert table.out.splitlines()[0].split() == [
        "requestId",
        "revision",
        "workflow",
        "outcome",
        "reason",
        "workflowId",
        "finishedAt",
        "completedBy",
    ]
    assert FINISHED.result is not None
    assert FINISHED.result not in table.out
    oldest = command("results", "--from-beginning", "--max", "2", "--topic", second, "--json", env=ready)
    assert len(oldest.out.splitlines()) == 1


def test_results_are_followed_as_they_come(ready: Env, registry: str) -> None:
    """Only new ones are shown, until as many as were asked for have come."""
    topic = ready["PROCESSOR_TOPICS__RESULTS"]
    before, *after = results_of(registry, 200, topic)
    produce(ready, before)
    is_over = Event()

    def publish_on() -> None:
        # Whatever comes before the command has found the ends is not new to it; who knows when that is.
        for one in after:
            if is_over.wait(0.1):
                return
            produce(ready, one)

    upstream = Thread(target=publish_on)
    upstream.start()
    said = command("results", "--follow", "--max", "2", "--json", env=ready)
    is_over.set()
    upstream.join()
    first, second = (int(Said(0, line, "").json()["requestId"][2:]) for line in said.out.splitlines())
    assert 0 < first < second


def test_what_is_no_result_is_told_and_skipped(ready: Env, registry: str) -> None:
    """One bad record does not hide the others; the exit code says that it was there."""
    topic = ready["PROCESSOR_TOPICS__RESULTS"]
    produce(ready, (topic, b"k", b"nonsense", 0, []), *results_of(registry, 1, topic))
    said = command("results", "--json", env=ready)
    assert said.code == 1
    assert said.json()["requestId"] == "r-0"
    assert f"{topic}[0] at offset 0 is no result" in said.err


CODEC = Codec()
KEY = "record-1"
ORIGINAL = Prepared(
    replace(ORIGIN, request_id="r-held"), KEY, KEY, None, is_own=True, parameters_id=None, prepared_at=AT
)
HELD = replace(new_head(ORIGINAL, 0, 1), phase=LaunchPhase.HELD, attempt=2, intent_at=AT, why="timeout")
SEEN = Observed(KEY, "w-77", KEY, None, "RUNNING", AT, AT)


def state(env: Env, part: Part | None, name: str = "head", key: str = KEY) -> Sent:
    """Return a record of launch's state, as launch writes it."""
    value = None
    if part is not None:
        gauge = LaunchMachine.gauge_of(part)
        value = pack(Entry(gauge, None, is_behind_evidence=False, is_waiting=False, body=CODEC.encode(part)))
    topic = f"{env['PROCESSOR_APPLICATION_ID']}.launch-state"
    return topic, storage_key(key, name).encode(), value, PARTITION, []


def with_one_held(env: Env) -> None:
    """Write the state of a request that is held, of one that goes on and of one that was held before."""
    going_on = replace(HELD, phase=LaunchPhase.READY, prepared=replace(ORIGINAL, origin=ORIGIN))
    produce(
        env,
        state(env, HELD),
        state(env, Candidate(SEEN, None), seen_name("w-77")),
        state(env, going_on, key="record-2"),
        state(env, replace(HELD, prepared=replace(ORIGINAL, launch_key="record-3")), key="record-3"),
        state(env, None, key="record-3"),
    )


def test_held_requests_are_listed_from_the_state_alone(ready: Env) -> None:
    """No processor runs: the list is what the state topic says, with what a person needs to decide."""
    assert command("held", "list", "--json", env=ready).json() == {"held": [], "parked": []}
    with_one_held(ready)
    (held,) = command("held", "list", "--json", env=ready).json()["held"]
    assert held["requestId"] == "r-held"
    assert (held["state"], held["attempt"], held["waitingBehind"]) == ("held", 2, 1)
    assert [seen["workflowId"] for seen in held["candidates"]] == ["w-77"]
    shown = command("held", "show", "r-held", env=ready)
    assert shown.code == 0
    assert "w-77" in shown.out
    missing = command("held", "show", "r-1", env=ready)
    assert (missing.code, missing.out) == (1, "")


def launch_answers(env: Env, answer: Callable[[OperatorDecided, int], Sent]) -> Thread:
    """Play launch: read the decision and publish what becomes of it."""
    topic = f"{env['PROCESSOR_APPLICATION_ID']}.launches"

    def play() -> None:
        ((_, value, partition),) = consume(env, topic, 1)
        assert value is not None
        decided = CODEC.decode(value)
        assert isinstance(decided, OperatorDecided)
        assert partition == PARTITION
        produce(env, answer(decided, partition))

    thread = Thread(target=play)
    thread.start()
    return thread


def test_a_decision_goes_to_launch_and_its_effect_is_waited_for(ready: Env) -> None:
    """The decision lies on the partition of the state, names attempt and workflow, and the state shows its effect."""
    with_one_held(ready)
    decisions: list[OperatorDecided] = []

    def started(decided: OperatorDecided, _partition: int) -> Sent:
        decisions.append(decided)
        return state(ready, None)

    launch = launch_answers(ready, started)
    said = command("held", "resolve", "r-held", "--started", "w-77", "--yes", "--json", env=ready)
    launch.join()
    assert (said.code, said.json()["effect"]) == (0, "taken")
    (decided,) = decisions
    assert (decided.launch_key, decided.request_id, decided.attempt) == (KEY, "r-held", 2)
    assert (decided.resolution, decided.workflow_id) == (Resolution.STARTED, "w-77")
    assert command("held", "resolve", "r-held", "--give-up", "--yes", env=ready).code == 1


def test_a_link_with_several_candidates_is_decided_about_too(ready: Env) -> None:
    """It is listed with what may be its workflow; one without waits for its user, and can be asked for."""
    part = Issued(ORIGINAL, AT, AT, 3, 1, 1, None, None, has_candidates=True)
    other = replace(part, prepared=replace(ORIGINAL, origin=ORIGIN), has_candidates=False)
    name = "issued/r-held"
    produce(
        ready,
        state(ready, part, name),
        state(ready, other, "issued/r-1"),
        state(ready, Candidate(SEEN, None), seen_name("w-77")),
    )
    (held,) = command("held", "list", "--json", env=ready).json()["held"]
    assert (held["requestId"], held["state"], held["attempt"]) == ("r-held", "issued", 3)
    assert command("held", "show", ORIGIN.request_id, "--json", env=ready).json()["state"] == "issued"
    assert command("held", "resolve", "r-held", "--not-executed", "--yes", env=ready).code == 2
    launch = launch_answers(ready, lambda _decided, _partition: state(ready, None, name))
    said = command("held", "resolve", "r-held", "--started", "w-77", "--yes", "--json", env=ready)
    launch.join()
    assert (said.code, said.json()["effect"]) == (0, "taken")


def test_a_refused_decision_is_told_with_its_reason(ready: Env) -> None:
    """Launch sets a decision that no longer fits aside as a dead letter; the command finds it there."""
    with_one_held(ready)
    topic = f"{ready['PROCESSOR_APPLICATION_ID']}.launches"

    def refused(_decided: OperatorDecided, partition: int) -> Sent:
        source = {"topic": topic, "partition": str(partition), "offset": "0"}
        headers = [(f"dlq.source.{name}", text.encode()) for name, text in source.items()]
        return (
            ready["PROCESSOR_TOPICS__DEAD_LETTERS"],
            b"k",
            b"v",
            0,
            [*headers, ("dlq.error.message", b"it has ended")],
        )

    launch = launch_answers(ready, refused)
    said = command("held", "resolve", "r-held", "--not-executed", "--yes", env=ready)
    launch.join()
    assert said.code == 1
    assert "was refused: it has ended" in said.err


def test_a_decision_is_confirmed_first_and_kept_when_nobody_is_there(ready: Env) -> None:
    """Without --yes a person is asked; without a submitter the decision stays on the topic, and that is said."""
    with_one_held(ready)
    declined = command("held", "resolve", "r-held", "--give-up", env=ready, stdin="n\n")
    assert declined.code == 1
    strange = command("held", "resolve", "r-held", "--started", "w-78", env=ready, stdin="n\n")
    assert strange.code == 1
    assert "workflow w-78 is no candidate" in strange.err
    said = command("held", "resolve", "r-held", "--give-up", "--wait", "0.5", env=ready, stdin="y\n")
    assert said.code == 3
    assert "does the submitter run?" in said.err
    topic = f"{ready['PROCESSOR_APPLICATION_ID']}.launches"
    assert len(consume(ready, topic, 1)) == 1


def test_a_workflow_is_paused_and_resumed_for_everyone(ready: Env) -> None:
    """What the control topic says is what the list shows; a name that nobody knows is a mistake."""
    assert command("pause", "person-check", "--why", "maintenance", env=ready).code == 0
    (paused,) = command("pause", "--list", "--json", env=ready).json()["paused"]
    assert (paused["workflow"], paused["reason"], paused["why"]) == ("person-check", "operator", "maintenance")
    resumed = command("resume", "person-check", "--json", env=ready)
    assert (resumed.code, resumed.json()["isPaused"], resumed.json()["generation"]) == (0, False, 1)
    assert command("pause", "--list", "--json", env=ready).json() == {"paused": []}
    assert command("resume", "person-check", env=ready).code == 1
    unknown = command("pause", "persn-check", env=ready)
    assert unknown.code == 1
    assert "the catalogue has company-check, person-check" in unknown.err
