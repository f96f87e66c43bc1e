"""What the processor asks of a schema registry: one suite for the embedded one and for a real one."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from confluent_kafka.schema_registry import RegisteredSchema, Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from processor.adapters.avro import EventEncoder, RequestDecoder
from processor.adapters.embedded_registry import EmbeddedRegistry, registry_in_thread
from processor.adapters.registry import Verdict, check, register, registry_client, subject_of
from processor.adapters.schema_files import PUBLIC_RECORDS, public_schema
from processor.errors import SettingsInvalid
from tests.adapters.samples import FINISHED, REQUEST, framed


def record(*fields: Mapping[str, object], name: str = "Sample") -> Schema:
    """Return a record schema with these fields."""
    return Schema(json.dumps({"type": "record", "name": name, "namespace": "test", "fields": list(fields)}), "AVRO")


A = {"name": "a", "type": "string"}
B = {"name": "b", "type": "string"}
B_OPTIONAL = {"name": "b", "type": ["null", "string"], "default": None}
C_OPTIONAL = {"name": "c", "type": ["null", "string"], "default": None}
COLOUR = {"type": "enum", "name": "Colour", "symbols": ["UNRECOGNIZED", "RED"], "default": "UNRECOGNIZED"}
MORE_COLOURS = {**COLOUR, "symbols": ["UNRECOGNIZED", "RED", "BLUE"]}


@pytest.fixture(scope="module")
def embedded_url() -> Iterator[str]:
    """Give the address of an embedded registry."""
    with registry_in_thread() as url:
        yield url


@pytest.fixture(scope="module", params=["embedded_url", pytest.param("registry_url", marks=pytest.mark.registry)])
def url(request: pytest.FixtureRequest) -> str:
    """Give the address of each registry in turn."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[SchemaRegistryClient]:
    """Give a client as the processor makes it."""
    with registry_client(url) as client:
        yield client


@pytest.fixture
def topic(topic_prefix: str) -> str:
    """Give a topic that no other test uses."""
    return f"{topic_prefix}sample"


def refusal(url: str, method: str, path: str, body: object = None) -> tuple[int, object]:
    """Return HTTP status and error code of a request that must fail."""
    answer = httpx.request(method, f"{url}{path}", json=body)
    return answer.status_code, answer.json()["error_code"]


def test_a_schema_keeps_its_id_and_its_text(client: SchemaRegistryClient, topic: str) -> None:
    """Registering twice changes nothing, and the id brings back a schema that means the same."""
    schema_id = client.register_schema(topic, record(A))
    client.clear_caches()  # type: ignore[no-untyped-call]  # the library leaves it untyped
    assert client.register_schema(topic, record(A)) == schema_id
    assert client.get_versions(topic) == [1]
    assert json.loads(client.get_schema(schema_id).schema_str or "") == json.loads(record(A).schema_str or "")


def test_versions_count_up(client: SchemaRegistryClient, topic: str) -> None:
    """Each new schema of a subject is its next version, and `latest` is the newest."""
    client.register_schema(topic, record(A))
    newest = client.register_schema(topic, record(A, B_OPTIONAL))
    latest = client.get_latest_version(topic)
    assert (client.get_versions(topic), latest.version, latest.schema_id) == ([1, 2], 2, newest)
    assert topic in client.get_subjects()


def test_white_space_makes_no_new_version(client: SchemaRegistryClient, topic: str) -> None:
    """A schema that differs in layout only is found under the first one's id."""
    schema_id = client.register_schema(topic, record(A), normalize_schemas=True)
    spacious = Schema(json.dumps(json.loads(record(A).schema_str or ""), indent=4), "AVRO")
    assert client.lookup_schema(topic, spacious, normalize_schemas=True).schema_id == schema_id
    assert client.get_versions(topic) == [1]


@pytest.mark.parametrize(
    "path, code",
    [
        ("/subjects/{0}/versions", 40401),
        ("/subjects/{0}/versions/latest", 40401),
        ("/subjects/{0}.held/versions/9", 40402),
        ("/schemas/ids/987654321", 40403),
    ],
)
def test_what_is_missing_has_an_error_code(
    url: str, client: SchemaRegistryClient, topic: str, path: str, code: int
) -> None:
    """Subject, version and schema that are missing are told apart, which a bare 404 would not do."""
    client.register_schema(f"{topic}.held", record(A))
    assert refusal(url, "GET", path.format(topic)) == (404, code)


def test_a_look_up_says_what_is_missing(url: str, client: SchemaRegistryClient, topic: str) -> None:
    """A schema that is not registered is 40401 under an unknown subject and 40403 under a known one."""
    body = {"schema": record(A).schema_str}
    assert refusal(url, "POST", f"/subjects/{topic}", body) == (404, 40401)
    client.register_schema(topic, record(A, B_OPTIONAL))
    assert refusal(url, "POST", f"/subjects/{topic}", body) == (404, 40403)


def test_what_is_no_schema_is_refused(url: str, topic: str) -> None:
    """A schema that cannot be parsed is 422."""
    status, code = refusal(url, "POST", f"/subjects/{topic}/versions", {"schema": '{"type":"recrd"}'})
    assert (status, code) == (422, 42201)


@pytest.mark.parametrize(
    "level, old, new, is_allowed",
    [
        ("BACKWARD", [record(A)], record(A, B_OPTIONAL), True),
        ("BACKWARD", [record(A)], record(A, B), False),
        ("BACKWARD", [record(A, B)], record(A), True),
        ("FORWARD", [record(A)], record(A, B), True),
        ("FORWARD", [record(A, B)], record(A), False),
        ("FULL", [record(A)], record(A, B_OPTIONAL), True),
        ("FULL", [record(A)], record(A, B), False),
        ("FULL", [record(A, B)], record(A), False),
        ("NONE", [record(A)], record({"name": "a", "type": "long"}), True),
        ("BACKWARD", [record(A, B_OPTIONAL), record(A)], record(A, {**B, "type": "long", "default": 0}), True),
        (
            "BACKWARD_TRANSITIVE",
            [record(A, B_OPTIONAL), record(A)],
            record(A, {**B, "type": "long", "default": 0}),
            False,
        ),
        ("FULL_TRANSITIVE", [record(A), record(A, B_OPTIONAL)], record(A, B_OPTIONAL, C_OPTIONAL), True),
        ("FULL_TRANSITIVE", [record(A)], record({"name": "a", "type": "long"}), False),
        ("FULL_TRANSITIVE", [record({**A, "type": COLOUR})], record({**A, "type": MORE_COLOURS}), True),
        ("FULL", [record(A)], record(A, name="Other"), False),
    ],
)
def test_compatibility_is_enforced(  # noqa: PLR0913  # a row of the table
    client: SchemaRegistryClient, topic: str, level: str, old: list[Schema], new: Schema, *, is_allowed: bool
) -> None:
    """The level of a subject decides which schema may follow; a refused one leaves the subject as it was."""
    client.register_schema(topic, old[0])  # Some registries give a level to known subjects only.
    client.set_compatibility(topic, level)
    for schema in old[1:]:
        client.register_schema(topic, schema)
    if "TRANSITIVE" not in level:  # That question is about the latest version only.
        assert client.test_compatibility(topic, new) is is_allowed
    if is_allowed:
        client.register_schema(topic, new)
    else:
        with pytest.raises(SchemaRegistryError) as caught:
            client.register_schema(topic, new)
        assert (caught.value.http_status_code, caught.value.error_code) == (409, 409)
    assert client.get_versions(topic) == list(range(1, len(old) + 1 + is_allowed))


def test_the_level_of_a_subject_is_read_back(url: str, client: SchemaRegistryClient, topic: str) -> None:
    """A subject's own level is what was set, and a word that is no level is refused."""
    client.register_schema(topic, record(A))
    client.set_compatibility(topic, "FULL_TRANSITIVE")
    assert client.get_compatibility(topic) == "FULL_TRANSITIVE"
    assert refusal(url, "PUT", f"/config/{topic}", {"compatibility": "SOMETIMES"})[0] in {422, 500}
    assert client.get_compatibility(topic) == "FULL_TRANSITIVE"


def test_a_deleted_subject_is_gone(url: str, client: SchemaRegistryClient, topic: str) -> None:
    """Deleting a subject hides its versions, and deleting it for ever needs that first."""
    client.register_schema(topic, record(A))
    assert client.delete_subject(topic) == [1]
    client.delete_subject(topic, permanent=True)
    assert topic not in client.get_subjects()
    assert refusal(url, "GET", f"/subjects/{topic}/versions") == (404, 40401)


def test_the_registry_says_which_types_it_has(client: SchemaRegistryClient) -> None:
    """Avro is among them."""
    assert "AVRO" in client.get_schema_types()


def test_our_schemas_are_registered_once(client: SchemaRegistryClient, topic: str) -> None:
    """`register` adds what is missing, in a dry run nothing; `check` finds it from then on."""
    topics = {f"{topic}.{name}": name for name in PUBLIC_RECORDS}
    assert [finding.verdict for finding in register(client, topics, dry_run=True)] == [Verdict.MISSING] * 4
    assert [finding.verdict for finding in check(client, topics)] == [Verdict.MISSING] * 4
    assert [finding.verdict for finding in register(client, topics)] == [Verdict.REGISTERED] * 4
    assert [finding.verdict for finding in register(client, topics)] == [Verdict.PRESENT] * 4
    assert all(finding.is_good for finding in check(client, topics))
    assert {finding.subject for finding in check(client, topics)} == {subject_of(name) for name in topics}


def test_the_level_that_counts_for_a_subject_is_told(client: SchemaRegistryClient, topic: str) -> None:
    """Its own where it has one, else that of the registry; only the strictest is no warning."""
    (new,) = check(client, {topic: "OnboardingFinished"})
    assert new.level == client.get_compatibility()
    client.register_schema(subject_of(topic), Schema(public_schema("OnboardingFinished"), "AVRO"))
    for level, warnings in (("NONE", 1), ("FULL", 1), ("FULL_TRANSITIVE", 0)):
        client.set_compatibility(subject_of(topic), level)
        (finding,) = check(client, {topic: "OnboardingFinished"})
        assert (finding.level, len(finding.warnings)) == (level, warnings)


def test_our_schemas_may_be_registered_under_the_strictest_level(client: SchemaRegistryClient, topic: str) -> None:
    """FULL_TRANSITIVE is what the documents ask for."""
    client.set_compatibility(subject_of(topic), "FULL_TRANSITIVE")
    assert register(client, {topic: "OnboardingFinished"})[0].is_good


def test_a_foreign_schema_in_the_way_is_reported(client: SchemaRegistryClient, topic: str) -> None:
    """A topic that holds something else is refused by us even where the registry would let it pass."""
    client.register_schema(subject_of(topic), record(A))
    client.set_compatibility(subject_of(topic), "NONE")
    (finding,) = register(client, {topic: "OnboardingFinished"})
    assert finding.verdict is Verdict.INCOMPATIBLE
    assert "topic of its own" in finding.remedy
    assert client.get_versions(subject_of(topic)) == [1]


def test_a_schema_that_the_registry_refuses_is_reported(client: SchemaRegistryClient, topic: str) -> None:
    """Ours may go with the latest version and not with an older one: the registry has the last word."""
    subject = subject_of(topic)
    ours = json.loads(public_schema("OnboardingProgressed"))
    unlike = {**ours, "fields": [{"name": "tenant", "type": "long"}]}
    alike = {**ours, "fields": [*ours["fields"], C_OPTIONAL]}
    client.register_schema(subject, Schema(json.dumps(unlike), "AVRO"))
    client.set_compatibility(subject, "NONE")
    client.register_schema(subject, Schema(json.dumps(alike), "AVRO"))
    client.set_compatibility(subject, "FULL_TRANSITIVE")
    (finding,) = register(client, {topic: "OnboardingProgressed"})
    assert (finding.verdict, finding.is_good) == (Verdict.INCOMPATIBLE, False)
    assert client.get_versions(subject) == [1, 2]


@pytest.mark.registry
@pytest.mark.parametrize("kind, is_alike", [("string", True), ("int", False)])
def test_a_held_version_is_judged_with_what_it_refers_to(
    registry_url: str, topic_prefix: str, kind: str, *, is_alike: bool
) -> None:
    """A publisher may keep the subject in a schema of its own; what nobody can read is told all the same."""
    topics = {f"{topic_prefix}sample": "OnboardingRequested"}
    whole = json.loads(public_schema("OnboardingRequested"))
    (place,) = [field for field in whole["fields"] if field["name"] == "subject"]
    person = {**place["type"][1], "namespace": whole["namespace"]}
    person["fields"] = [
        {**field, "type": ["null", kind]} if field["name"] == "email" else field for field in person["fields"]
    ]
    place["type"][1] = "onboarding.v1.Subject"
    with registry_client(registry_url) as client:
        client.register_schema(f"{topic_prefix}subject", Schema(json.dumps(person), "AVRO"))
        references = [SchemaReference("onboarding.v1.Subject", f"{topic_prefix}subject", 1)]
        client.register_schema(f"{topic_prefix}sample-value", Schema(json.dumps(whole), "AVRO", references=references))
        (finding,) = check(client, topics)
    unlike = "version 1 and ours do not read each other (/subject/email: reads null or string, written as int)"
    assert finding.unlike == (() if is_alike else (unlike,))


class Referring(SchemaRegistryClient):
    """A registry whose only version refers to one that is gone."""

    def __init__(self) -> None:
        """Ask no address."""

    def get_versions(self, *_args: object, **_more: object) -> list[int]:
        """Hold one version."""
        return [1]

    def get_version(self, subject_name: str, *_args: object, **_more: object) -> RegisteredSchema:
        """Return the one that refers to another."""
        if subject_name != "sample-value":
            raise SchemaRegistryError(404, 40402, "Version not found")
        schema = Schema(public_schema("OnboardingRequested"), "AVRO", references=[SchemaReference("S", "gone", 1)])
        return RegisteredSchema(schema_id=1, guid=None, subject=subject_name, version=1, schema=schema)

    def lookup_schema(self, *_args: object, **_more: object) -> Any:  # noqa: ANN401  # as the library
        """Have no other one."""
        raise SchemaRegistryError(404, 40403, "Schema not found")

    def test_compatibility(self, *_args: object, **_more: object) -> bool:
        """Allow everything."""
        return True

    def get_compatibility(self, *_args: object, **_more: object) -> str:
        """Keep the strictest level."""
        return "FULL_TRANSITIVE"


def test_a_version_that_refers_to_what_is_gone_is_told() -> None:
    """Nobody can read what is written with it."""
    (finding,) = check(Referring(), {"sample": "OnboardingRequested"})
    assert finding.verdict is Verdict.INCOMPATIBLE
    assert finding.unlike == (
        "version 1 and ours do not read each other (it refers to a schema that the registry does not hold)",
    )


def test_events_go_through_the_registry(client: SchemaRegistryClient, topic: str) -> None:
    """What is written with our schemas is read back by their ids; nothing is written before they are registered."""
    encoder = EventEncoder(client, source="urn:test", definitions={})
    with pytest.raises(SettingsInvalid, match=r"-value.*processor schemas register"):
        encoder.warm({f"{topic}.out": "OnboardingFinished"})
    register(client, {f"{topic}.in": "OnboardingRequested", f"{topic}.out": "OnboardingFinished"})
    encoder.warm({f"{topic}.out": "OnboardingFinished"})
    value, _ = encoder.encode(f"{topic}.out", FINISHED)
    assert value[:1] == b"\0"
    request = RequestDecoder(client).decode(f"{topic}.in", framed(client, f"{topic}.in", REQUEST))
    assert request.request_id == REQUEST["requestId"]


class Refusing(SchemaRegistryClient):
    """A registry that holds nothing, tells no level, and refuses what is registered."""

    def __init__(self) -> None:
        """Ask no address."""

    def lookup_schema(self, *_args: object, **_more: object) -> Any:  # noqa: ANN401  # as the library
        """Hold nothing."""
        raise SchemaRegistryError(404, 40401, "Subject not found")

    get_versions = test_compatibility = lookup_schema

    def get_compatibility(self, *_args: object, **_more: object) -> Any:  # noqa: ANN401  # as the library
        """Tell nothing to those who may not ask."""
        raise SchemaRegistryError(403, 40301, "no")

    def register_schema(self, *_args: object, **_more: object) -> Any:  # noqa: ANN401  # as the library
        """Refuse."""
        raise SchemaRegistryError(409, 409, "no")


def test_the_registry_has_the_last_word() -> None:
    """A refusal that nobody foresaw is reported as one; a level that we may not read is a warning and no failure."""
    topics = {"sample": "OnboardingFinished"}
    (refused,) = register(Refusing(), topics)
    assert (refused.verdict, refused.remedy) == (
        Verdict.INCOMPATIBLE,
        "the registry refuses it: use a topic of its own",
    )
    (unread,) = check(Refusing(), topics)
    assert (unread.verdict, unread.level) == (Verdict.MISSING, None)
    assert unread.warnings == ("its compatibility level could not be read; it should be FULL_TRANSITIVE",)


async def test_the_embedded_registry_starts_and_stops_on_a_given_loop() -> None:
    """It takes a free port, answers, and is gone after `stop`, which may come twice."""
    registry = EmbeddedRegistry()
    url = await registry.start()
    async with httpx.AsyncClient() as http:
        assert (await http.get(f"{url}/subjects")).json() == []
        assert (await http.post(f"{url}/subjects/x/versions", content=b"{")).status_code == 400
        await registry.stop()
        await registry.stop()
        with pytest.raises(httpx.ConnectError):
            await http.get(f"{url}/subjects")
