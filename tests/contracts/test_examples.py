"""The programs to copy do what they say: run against a real broker and a real registry, as teams would run them."""

import json
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from processor.adapters.avro import RequestDecoder
from processor.adapters.registry import registry_client
from processor.core.model import OnboardingRequest, Subject
from tests.contracts.kit.maker import fields_of, samples
from tests.contracts.kit.sample import Sample, kit_schemas
from tests.contracts.kit.stories import stories
from tests.contracts.kit.using import blocks, served_registry
from tests.support.reading import all_records
from tests.support.root import ROOT
from tests.support.servers import cannot_run
from tests.support.topics import make_topic

EXAMPLES = ROOT / "examples"
JARS = ROOT / ".cache" / "examples-java"
COMPILER = ROOT / ".cache" / "avro-compiler"
GENERATE = Path(__file__).parent / "java" / "Generate.java"
README = (EXAMPLES / "README.md").read_text(encoding="utf-8")
PARTITIONS = 3
AVRO = re.compile(r"<groupId>org\.apache\.avro</groupId>\s*<artifactId>[\w-]+</artifactId>\s*<version>([^<]+)<")

pytestmark = [pytest.mark.broker, pytest.mark.registry]


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the programs find broker, registry and topics."""

    servers: str
    registry: str
    requests: str
    results: str


@pytest.fixture(scope="module")
def registry(registry_url: str) -> Iterator[SchemaRegistryClient]:
    """Give a client of the real registry."""
    with registry_client(registry_url) as client:
        yield client


@pytest.fixture
def cluster(bootstrap_servers: str, registry_url: str, registry: SchemaRegistryClient, topic_prefix: str) -> Cluster:
    """Give topics of which the registry knows every schema that the kit has."""
    topics = {"OnboardingRequested": f"{topic_prefix}requests", "OnboardingFinished": f"{topic_prefix}results"}
    for record, topic in topics.items():
        make_topic(bootstrap_servers, topic, PARTITIONS)
        ids_of(registry, topic, record)
    return Cluster(bootstrap_servers, registry_url, topics["OnboardingRequested"], topics["OnboardingFinished"])


def ids_of(registry: SchemaRegistryClient, topic: str, record: str) -> Mapping[int, int]:
    """Return the kit's schema id -> the registry's, registering what is missing under the strictest level."""
    subject = f"{topic}-value"
    registry.set_compatibility(subject, "FULL_TRANSITIVE")
    return {
        schema_id: registry.register_schema(subject, Schema(schema.text, "AVRO"))
        for schema_id, schema in kit_schemas().items()
        if schema.record == record
    }


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give the class path of the compiled Java programs."""
    if shutil.which("javac") is None:
        cannot_run("the Java examples need a compiler: apt-get install openjdk-17-jdk-headless")
    if not (JARS / "stamp").exists():
        cannot_run("the jars of the Java examples are not in .cache: run `make jars` (needs Java 17 and Maven)")
    target = tmp_path_factory.mktemp("classes")
    sources = sorted((EXAMPLES / "java").rglob("*.java"))
    path = f"{JARS}/*"
    subprocess.run(
        ["javac", "-Xlint:all", "-Werror", "--release", "17", "-d", target, "-cp", path, *sources], check=True
    )
    return f"{target}:{path}"


def test_the_classes_that_avro_generates_compile(tmp_path: Path) -> None:
    """With the version that the examples pin; those of 1.12.1 did not, for results have a field named `result`."""
    if shutil.which("javac") is None:
        cannot_run("the classes of the schemas need a compiler: apt-get install openjdk-17-jdk-headless")
    if not (COMPILER / "stamp").exists():
        cannot_run("Avro's compiler is not in .cache: run `make jars` (needs Java 17 and Maven)")
    poms = (GENERATE.parent / "pom.xml", EXAMPLES / "java" / "pom.xml")
    assert len({version for pom in poms for version in AVRO.findall(pom.read_text(encoding="utf-8"))}) == 1
    sources, path = tmp_path / "sources", f"{COMPILER}/*"
    run(["java", "-cp", path, GENERATE, sources, *sorted((ROOT / "schemas").glob("*.avsc"))])
    run(["javac", "-d", tmp_path / "classes", "-cp", path, *sources.rglob("*.java")])
    assert (tmp_path / "classes" / "onboarding" / "v1" / "OnboardingFinished.class").exists()


def run(command: Sequence[str | Path]) -> str:
    """Run a program to its end and return what it answered."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(program: str | Path, cluster: Cluster, *more: str) -> str:
    """Run a Python example."""
    where = ("--bootstrap-servers", cluster.servers, "--schema-registry", cluster.registry)
    return run([sys.executable, EXAMPLES / "python" / program, *where, *more])


def java(classes: str, program: str, cluster: Cluster, *more: str) -> str:
    """Run a Java example."""
    options = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classes)
    return run(["java", *options, f"onboarding.{program}", cluster.servers, cluster.registry, *more])


def publish_in_python(cluster: Cluster, request_id: str, reference: str) -> None:
    """Publish one request as a Python service does."""
    schema = str(ROOT / "schemas" / "OnboardingRequested.avsc")
    of = ("--schema", schema, "--topic", cluster.requests, "--request-id", request_id, "--reference", reference)
    python("publish.py", cluster, *of)


def publish_in_java(classes: str, cluster: Cluster, request_id: str, reference: str) -> None:
    """Publish one request as a Java service does."""
    schema = str(ROOT / "schemas" / "OnboardingRequested.avsc")
    java(classes, "PublishRequest", cluster, schema, cluster.requests, request_id, reference)


def consume_in_python(cluster: Cluster, database: Path, group: str, program: str | Path = "consume.py") -> str:
    """Read all results that are there as a Python service does."""
    schema = str(ROOT / "schemas" / "OnboardingFinished.avsc")
    of = ("--schema", schema, "--topic", cluster.results, "--group", group, "--database", str(database))
    return python(program, cluster, *of, "--stop-at-end")


def consume_in_java(classes: str, cluster: Cluster, group: str) -> str:
    """Read all results that are there as a Java service does."""
    schema = str(ROOT / "schemas" / "OnboardingFinished.avsc")
    return java(classes, "ConsumeResults", cluster, schema, cluster.results, group, "--stop-at-end")


def test_both_publish_what_the_processor_reads(cluster: Cluster, registry: SchemaRegistryClient, classes: str) -> None:
    """Each request is whole, and what belongs together meets on one partition, whoever publishes it."""
    publish_in_python(cluster, "r-python", "C-1001")
    publish_in_java(classes, cluster, "r-java", "C-1001")
    records = all_records(cluster.servers, cluster.requests)
    assert {record.key for record in records} == {b"C-1001"}
    assert len({record.partition for record in records}) == 1
    decoder = RequestDecoder(registry)
    read = [decoder.decode(cluster.requests, record.value) for record in records]
    subject = Subject("C-1001", "PERSON", "Ada", "Lindqvist", email="ada.lindqvist@example.test")
    said = {"subject": subject, "parameters": {"orderId": "A-17", "amount": 99.5}, "attributes": {"channel": "web"}}
    assert read == [
        OnboardingRequest(request_id, "person-check", request.requested_at, **said)  # type: ignore[arg-type]
        for request_id, request in zip(("r-python", "r-java"), read, strict=True)
    ]


@pytest.fixture
def told(cluster: Cluster, registry: SchemaRegistryClient) -> list[tuple[str, int]]:
    """Deliver all stories of the kit, those with an aborted transaction first; give what is to be acted on."""
    ids = ids_of(registry, cluster.results, "OnboardingFinished")
    by_name = {sample.name: sample for sample in samples()["results.json"]}
    in_order = sorted(stories(), key=lambda story: not any(each.is_aborted for each in story.deliveries))
    producer = Producer({"bootstrap.servers": cluster.servers, "transactional.id": cluster.results})
    producer.init_transactions(30)
    for story in in_order:
        for each in story.deliveries:
            producer.begin_transaction()
            deliver(producer, cluster.results, by_name[each.sample], ids)
            producer.flush(20)  # Else an aborted record would never have left.
            (producer.abort_transaction if each.is_aborted else producer.commit_transaction)(30)
    return list(dict.fromkeys(acted for story in in_order for acted in story.acted_on))


def deliver(producer: Producer, topic: str, sample: Sample, ids: Mapping[int, int]) -> None:
    """Publish a sample of the kit under the ids of the real registry."""
    assert sample.value is not None, "a result has a value"
    assert sample.schema_id is not None, "a result has a schema"
    value = struct.pack(">bI", 0, ids[sample.schema_id]) + sample.value[5:]
    producer.produce(topic, value, sample.key, 0, headers=list(sample.headers))


def acted_on(output: str) -> list[tuple[str, int]]:
    """Return the (request id, revision) that a consumer acted on, in order."""
    return [(said["requestId"], said["revision"]) for line in output.splitlines() if (said := json.loads(line))]


def truth(output: str) -> dict[str, str]:
    """Return the outcome of each request that a consumer has at the end."""
    return {said["requestId"]: said["outcome"] for line in output.splitlines() if (said := json.loads(line))}


EXPECTED = {request_id: outcome for story in stories() for request_id, outcome in story.truth.items()}


def test_a_python_consumer_acts_once_on_what_is_true(
    cluster: Cluster, told: list[tuple[str, int]], tmp_path: Path
) -> None:
    """Repeats, amendments, an aborted transaction and a newer build; and reading all again changes nothing."""
    output = consume_in_python(cluster, tmp_path / "results.db", "first")
    assert (acted_on(output), truth(output)) == (told, EXPECTED)
    assert consume_in_python(cluster, tmp_path / "results.db", "once-more") == ""


def test_a_consumer_of_uncommitted_records_believes_what_never_was(
    cluster: Cluster, told: list[tuple[str, int]], tmp_path: Path
) -> None:
    """Which is why the first line of the page for consumers says `read_committed`."""
    source = (EXAMPLES / "python" / "consume.py").read_text(encoding="utf-8")
    (tmp_path / "careless.py").write_text(source.replace('"read_committed"', '"read_uncommitted"'))
    output = consume_in_python(cluster, tmp_path / "results.db", "careless", tmp_path / "careless.py")
    assert truth(output)["kit-completed-by-webhook"] == "EXPIRED"
    assert acted_on(output) == told, "no field tells it from a real one"


def test_a_java_consumer_acts_once_on_what_is_true(cluster: Cluster, told: list[tuple[str, int]], classes: str) -> None:
    """The same stories end in the same way."""
    output = consume_in_java(classes, cluster, "java")
    assert (acted_on(output), truth(output)) == (told, EXPECTED)


def kcat(number: int, cluster: Cluster) -> str:
    """Run a line of the README, with the addresses and the topic of the test."""
    if shutil.which("kcat") is None:
        cannot_run("the line for kcat needs it: apt-get install kcat")
    line = re.findall(r"^kcat .+$", README, re.MULTILINE)[number]
    line = line.replace("localhost:9092", cluster.servers).replace("http://localhost:8081", cluster.registry)
    return run(["sh", "-c", line.replace("onboarding.results", cluster.results)])


def test_kcat_shows_what_was_committed(cluster: Cluster, told: list[tuple[str, int]]) -> None:
    """One line for each delivery that was not aborted, with key and headers."""
    lines = [line for line in kcat(0, cluster).splitlines() if line.endswith(" bytes")]
    deliveries = [each for story in stories() for each in story.deliveries if not each.is_aborted]
    assert len(told) < len(lines) == len(deliveries)
    assert all(line.startswith("C-1001 ce_id=") for line in lines)


@pytest.fixture
def kit_on_a_topic(cluster: Cluster) -> Cluster:
    """Publish the kit's results as its README says, byte by byte; give the cluster with its registry of files."""
    code = blocks("python")[2].replace("localhost:9092", cluster.servers)
    subprocess.run([sys.executable, "-c", code.replace("onboarding.results", cluster.results)], cwd=ROOT, check=True)
    return cluster


def test_the_kit_is_read_in_java_with_a_web_server_for_a_registry(kit_on_a_topic: Cluster, classes: str) -> None:
    """Ids and bytes are the kit's own; the highest revision of each request that comes first is the truth."""
    fields = [fields_of(sample) or {} for sample in samples()["results.json"]]
    with served_registry() as url:
        output = consume_in_java(classes, replace(kit_on_a_topic, registry=url), "kit")
    expected: dict[str, Mapping[str, object]] = {}
    for each in fields:
        kept = expected.setdefault(each["requestId"], each)
        expected[each["requestId"]] = max(kept, each, key=revision_of)  # Of two equal ones the first stays.
    assert truth(output) == {request_id: each["outcome"] for request_id, each in expected.items()}


def revision_of(fields: Mapping[str, Any]) -> int:
    """Return the revision of a result."""
    return int(fields["revision"])


def test_the_kit_is_read_by_the_java_of_its_readme(classes: str, tmp_path: Path) -> None:
    """It compiles and runs as it stands, but for the port; no broker is needed."""
    with served_registry() as url:
        (tmp_path / "ReadKit.java").write_text(blocks("java")[0].replace("http://localhost:8099", url))
        subprocess.run(["javac", "-d", tmp_path, "-cp", classes, tmp_path / "ReadKit.java"], check=True)
        assert run(["java", "-cp", f"{tmp_path}:{classes}", "ReadKit"]) == ""


def test_the_kit_is_published_by_kcat(cluster: Cluster, tmp_path: Path) -> None:
    """The README's lines bring the very bytes onto a topic."""
    for tool in ("kcat", "jq"):
        if shutil.which(tool) is None:
            cannot_run(f"the lines for kcat need {tool}: apt-get install {tool}")
    lines = blocks("sh")[0].replace("localhost:9092", cluster.servers).replace("kit/", f"{ROOT / 'kit'}/")
    lines = lines.replace("onboarding.results", cluster.results)
    subprocess.run(["sh", "-ec", lines], cwd=tmp_path, check=True)
    (record,) = all_records(cluster.servers, cluster.results)
    (sample,) = [each for each in samples()["results.json"] if each.name == "completed-by-webhook"]
    assert (record.key, record.value) == (sample.key, sample.value)


def test_kcat_with_avro_shows_values(cluster: Cluster, told: list[tuple[str, int]]) -> None:
    """Where it was built with Avro; Debian's is not, so that is no failure anywhere."""
    version = (
        subprocess.run(["kcat", "-V"], capture_output=True, text=True, check=False).stdout
        if shutil.which("kcat")
        else ""
    )
    if "Avro" not in version:
        pytest.skip("this kcat was built without Avro")
    assert truth_of_all(kcat(1, cluster)) >= {request_id for request_id, _ in told}


def truth_of_all(output: str) -> set[str]:
    """Return the request ids in what kcat printed."""
    return set(re.findall(r'"requestId": ?"([^"]+)"', output))
