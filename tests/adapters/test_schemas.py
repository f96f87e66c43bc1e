"""The schemas as contracts: documented, tagged, with instants that say their unit, and compatible for ever."""

import hashlib
import json
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any, NamedTuple

import pytest

from processor.adapters.avro import UNDECODABLE
from processor.adapters.compatibility import conflicts
from processor.adapters.event_headers import CONSTANT
from processor.adapters.schema_files import (
    INTERNAL_NAMESPACE,
    PUBLIC_NAMESPACE,
    PUBLIC_RECORDS,
    internal_formats,
    internal_schemas,
    public_schema,
    released_schemas,
    schemas_directory,
    self_contained,
)
from processor.adapters.schema_rules import branches, flaws, named_types, personal_names, same_as
from processor.core import messages, model
from tests.adapters.events_document import BEGIN, DOCUMENT, with_tables

# Whatever a field of this name holds is, or may be, about a person.
PERSONAL = frozenset(
    {
        *("subject", "reference", "firstName", "lastName", "personalNumber", "email", "phone", "countryCode", "number"),
        *("companyName", "companyNumber", "companyAddress", "subjectReference"),
        *("documents", "resourceId", "resourceName", "resourcePath"),
        *("columns", "parameters", "json", "attributes", "decision", "result", "link", "token", "key"),
        *("body", "recordBody", "caseBody", "parametersBody"),
    }
)
TAGS = ["PII"]
OPTIONAL_IN_PRACTICE = ("array", "map")  # Their empty value is their default.


class Field(NamedTuple):
    """One field, with the record that it is in."""

    record: str
    spec: Mapping[str, Any]

    @property
    def place(self) -> str:
        """Name the field for a message."""
        return f"{self.record}.{self.spec['name']}"


PUBLIC = [json.loads(public_schema(record)) for record in PUBLIC_RECORDS]
INTERNAL = [schema for number in internal_formats() for schema in internal_schemas(number).values()]
NAMED = [found for schema in (*PUBLIC, *INTERNAL) for found in named_types(schema)]
FIELDS = [Field(found["name"], field) for found in NAMED for field in found.get("fields", ())]
PUBLIC_FIELDS = [
    Field(found["name"], field)
    for schema in PUBLIC
    for found in named_types(schema)
    for field in found.get("fields", ())
]
ENUMS = [found for found in NAMED if found["type"] == "enum"]


def test_files_and_records_have_one_name() -> None:
    """One record a file, named after it, in one namespace for ever; every record has its constant headers."""
    files = {path.stem for path in schemas_directory().glob("*.avsc")}
    assert files == {schema["name"] for schema in PUBLIC} == set(PUBLIC_RECORDS) == set(CONSTANT)
    assert {schema["namespace"] for schema in PUBLIC} == {PUBLIC_NAMESPACE}
    assert {schema["namespace"] for schema in INTERNAL} == {INTERNAL_NAMESPACE}


def test_everything_is_documented() -> None:
    """Every record, enum and field says in a sentence what it means."""
    assert [found["name"] for found in NAMED if not found.get("doc", "").endswith(".")] == []
    assert [field.place for field in FIELDS if not field.spec.get("doc", "").endswith(".")] == []


def test_personal_fields_are_tagged_and_no_others() -> None:
    """The tag drives redaction, so it must be on every field that may be about a person."""
    wrong = [
        field.place
        for field in FIELDS
        if (field.spec["name"] in PERSONAL) != (field.spec.get("confluent:tags") == TAGS)
    ]
    assert wrong == []


def test_progress_holds_no_personal_data() -> None:
    """Its topic may be read by everybody."""
    fields = json.loads(public_schema("OnboardingProgressed"))["fields"]
    assert [field["name"] for field in fields if "confluent:tags" in field] == []


def test_instants_say_their_unit() -> None:
    """A field is named `…At` exactly when it is an instant: microseconds in public, milliseconds within."""
    for fields, unit in ((PUBLIC_FIELDS, "timestamp-micros"), (FIELDS[len(PUBLIC_FIELDS) :], "timestamp-millis")):
        for field in fields:
            types = [branch.get("logicalType") for branch in branches(field.spec["type"])]
            is_instant = field.spec["name"].endswith("At") or field.spec["name"] in {"at", "sendBefore"}
            assert (unit in types) is is_instant, field.place
            assert "UTC" in field.spec["doc"] or not is_instant, field.place


def test_optional_means_null_first_and_null_by_default() -> None:
    """Only so may a field be added and removed in both directions."""
    for field in FIELDS:
        is_union = isinstance(field.spec["type"], list)
        assert is_union == ("default" in field.spec and field.spec["default"] is None), field.place
        assert not is_union or (field.spec["type"][0] == "null" and len(field.spec["type"]) == 2), field.place


def test_required_fields_have_no_default() -> None:
    """In public records only lists and maps have one, the empty one: an absent business value must not look present."""
    for field in PUBLIC_FIELDS:
        if "default" in field.spec and field.spec["default"] is not None:
            assert field.spec["type"]["type"] in OPTIONAL_IN_PRACTICE, field.place
            assert not field.spec["default"], field.place


def test_enums_can_grow() -> None:
    """A reader that does not know a new word reads UNRECOGNIZED; without that default it would break."""
    assert len(ENUMS) == 4
    for enum in ENUMS:
        assert (enum["symbols"][0], enum["default"]) == ("UNRECOGNIZED", "UNRECOGNIZED"), enum["name"]


@pytest.mark.parametrize(
    "name, words", [("Outcome", model.Outcome), ("Witness", model.Witness), ("Step", messages.Step)]
)
def test_enums_hold_the_words_of_the_core(name: str, words: type[Any]) -> None:
    """What the core decides can be said, and nothing else is promised."""
    (symbols,) = [enum["symbols"] for enum in ENUMS if enum["name"] == name]
    assert symbols[1:] == [word.value for word in words]


@pytest.mark.parametrize("record", PUBLIC_RECORDS)
def test_a_schema_of_this_build_breaks_no_rule(record: str) -> None:
    """It is compatible with every released version, both ways, has all their words, and the form to stay so."""
    assert flaws(public_schema(record)) == ()
    assert [same_as(text) for text in released_schemas(record).values()] == [*released_schemas(record)]


def test_the_tags_of_this_build_are_those_that_others_are_measured_by() -> None:
    """What is tagged once is tagged everywhere."""
    assert personal_names() <= PERSONAL


@pytest.mark.parametrize("record", PUBLIC_RECORDS)
def test_every_released_version_is_compatible_both_ways(record: str) -> None:
    """FULL_TRANSITIVE: the newest reads all that was ever released, and is read by it; so do these each other."""
    texts = [public_schema(record), *released_schemas(record).values()]
    assert len(texts) > 1
    for reader, writer in product(texts, texts):
        assert conflicts(reader, writer) == ()


# What is released is in the registries of others; a new version adds lines here and changes none.
DIGESTS = {
    (1, "OnboardingFinished"): "51be8072dfc32ab0",
    (1, "OnboardingLinkIssued"): "c54aafb108dc7b7e",
    (1, "OnboardingProgressed"): "9603c546d9faa5b9",
    (1, "OnboardingRequested"): "7f46191a1dddaa31",
    (2, "OnboardingFinished"): "1f8b64095d716acf",
    (2, "OnboardingProgressed"): "779d1a50691f4d34",
    (2, "OnboardingRequested"): "15f9af246302aeb7",
}


def test_a_released_version_is_never_changed() -> None:
    """Not even its sentences: a registry may take another text for another schema."""
    found = {
        (version, record): hashlib.sha256(text.encode()).hexdigest()[:16]
        for record in PUBLIC_RECORDS
        for version, text in released_schemas(record).items()
    }
    assert found == DIGESTS


@pytest.mark.parametrize("record", PUBLIC_RECORDS)
def test_what_is_in_the_image_is_released(record: str) -> None:
    """The newest released version is the schema that this build writes: changing one means adding a version."""
    assert list(released_schemas(record).values())[-1] == public_schema(record)
    versions = ", ".join(map(str, released_schemas(record)))
    page = (schemas_directory() / "README.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `{record}.avsc` |")]
    assert row.endswith(f"| {versions} |")


def test_internal_formats_read_each_other() -> None:
    """In a rollout either build may meet the other's records, in each format that this one carries."""
    formats = [internal_schemas(number) for number in internal_formats()]
    for reading, writing in product(formats, formats):
        for record in reading.keys() & writing.keys():
            texts = [json.dumps(self_contained(record, schemas, INTERNAL_NAMESPACE)) for schemas in (reading, writing)]
            assert conflicts(*texts) == (), record


Change = Callable[[dict[str, Any]], object]


def fields_of(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return name -> field of a record."""
    return {each["name"]: each for each in schema["fields"]}


def added(**more: object) -> Change:
    """Return the change that adds an optional field in good form, but for what is said."""
    good = {"name": "added", "type": ["null", "string"], "doc": "A new field.", "default": None}
    return lambda schema: schema["fields"].append({**good, **more})


def set_in(name: str, /, **more: object) -> Change:
    """Return the change that sets members of a field."""
    return lambda schema: fields_of(schema)[name].update(more)


def typed(name: str, /, **more: object) -> Change:
    """Return the change that sets members of a field's type, null left aside."""

    def change(schema: dict[str, Any]) -> None:
        kind = fields_of(schema)[name]["type"]
        (kind[1] if isinstance(kind, list) else kind).update(more)

    return change


def without(name: str, member: str | None = None) -> Change:
    """Return the change that takes a field away, or a member of it."""

    def change(schema: dict[str, Any]) -> None:
        if member is None:
            schema["fields"].remove(fields_of(schema)[name])
        else:
            del fields_of(schema)[name][member]

    return change


MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
REQUIRED = {"name": "added", "type": "string", "doc": "A new field."}
DECIMAL = ["null", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}]
STATUS = {"type": "enum", "name": "Colour", "doc": "A colour.", "symbols": ["RED", "BLUE"]}
WORDLESS = {**STATUS, "symbols": []}
SHOUTED = {**STATUS, "symbols": ["UNRECOGNIZED", "red"], "default": "UNRECOGNIZED"}


@pytest.mark.parametrize(
    "change, place, text, is_breaking",
    [
        (set_in("finishedAt", type=MILLIS), "", "it cannot read what versions 1, 2 wrote: /finishedAt: ", True),
        (set_in("finishedAt", type="long"), "", "versions 1, 2 cannot read what it writes: /finishedAt", True),
        (typed("startedAt", logicalType="timestamp-millis"), "", "versions 1, 2 cannot read what it writes: /st", True),
        (set_in("eventId", type="string"), "", "it cannot read what versions 1, 2 wrote: /eventId: ", True),
        (without("outcome"), "", "versions 1, 2 cannot read what it writes: /outcome", True),
        (set_in("attempts", type="string"), "", "it cannot read what versions 1, 2 wrote: /attempts", True),
        (
            lambda schema: schema["fields"].append(REQUIRED),
            "",
            "it cannot read what versions 1, 2 wrote: /added: is",
            True,
        ),
        (
            typed("outcome", symbols=["UNRECOGNIZED", "COMPLETED"]),
            "Outcome",
            "it lacks EXPIRED, FAILED, NOT_STARTED",
            True,
        ),
        (lambda schema: schema.update(name="Finished"), "", "it is none of the public records", True),
        (lambda schema: schema.update(type="recrd"), "", "it is no valid Avro schema that stands on its own", True),
        (lambda schema: schema.update(namespace="other"), "OnboardingFinished", "namespace is not onboarding.v1", True),
        (lambda schema: schema.pop("namespace"), "OnboardingFinished", "namespace is not onboarding.v1", True),
        (lambda schema: schema.update(name="acme.OnboardingFinished"), "OnboardingFinished", "its namespace is", True),
        (typed("completedBy", name="acme.Witness"), "Witness", "its namespace is not onboarding.v1", True),
        (lambda schema: schema.pop("doc"), "OnboardingFinished", "its doc is no sentence", False),
        (typed("completedBy", namespace="other"), "Witness", "namespace is not onboarding.v1", True),
        (typed("completedBy", doc="Who told"), "Witness", "its doc is no sentence", False),
        (added(type=["null", STATUS]), "Colour", "its default are not UNRECOGNIZED", True),
        (added(type=["null", SHOUTED]), "Colour", "a symbol is not written LIKE_THIS", False),
        (added(type=["null", {**SHOUTED, "name": "colour"}]), "colour", "its name is not written LikeThis", False),
        (without("completedBy", "default"), "OnboardingFinished.completedBy", "it is not optional as", True),
        (added(type=["string", "null"], default="x"), "OnboardingFinished.added", "it is not optional as", True),
        (added(type=["null", "string", "int"]), "OnboardingFinished.added", "it is not optional as", True),
        (added(type="string", default="x"), "OnboardingFinished.added", "it is required and has a default", True),
        (added(type="null"), "OnboardingFinished.added", "it is required and has a default", True),
        (added(type=[]), "OnboardingFinished.added", "it is not optional as", True),
        (added(type=["null", WORDLESS]), "Colour", "its default are not UNRECOGNIZED", True),
        (set_in("attributes", default={"a": "b"}), "OnboardingFinished.attributes", "its default is not {}", True),
        (set_in("attributes", default=[]), "OnboardingFinished.attributes", "its default is not {}", True),
        (set_in("attributes", default=0), "OnboardingFinished.attributes", "its default is not {}", True),
        (set_in("candidates", default={}), "OnboardingFinished.candidates", "its default is not []", True),
        (set_in("tenant", name="client", aliases=["tenant"]), "OnboardingFinished.client", "it has aliases", True),
        (set_in("tenant", type=DECIMAL), "", "versions 1, 2 cannot read what it writes: /tenant: reads string", True),
        (set_in("tenant", type=["null", "bytes"]), "", "which may be no UTF-8", True),
        (added(name="acme.added"), "OnboardingFinished.acme.added", "its name is none that Avro allows", True),
        (added(name="Added"), "OnboardingFinished.Added", "its name is not written likeThis", False),
        (added(doc="No sentence"), "OnboardingFinished.added", "its doc is no sentence", False),
        (without("tenant", "doc"), "OnboardingFinished.tenant", "its doc is no sentence", False),
        (added(name="addedAt"), "OnboardingFinished.addedAt", "exactly when it is timestamp-micros", False),
        (set_in("seenAt", doc=1), "OnboardingFinished.seenAt", "its doc does not say UTC", False),
        (
            lambda schema: schema.update(type="error"),
            "",
            "versions 1, 2 cannot read what it writes: /: reads record",
            True,
        ),
        (set_in("seenAt", doc="When it ended."), "OnboardingFinished.seenAt", "its doc does not say UTC", False),
        (added(**{"confluent:tags": ["SECRET"]}), "OnboardingFinished.added", 'are not ["PII"]', False),
        (without("decision", "confluent:tags"), "OnboardingFinished.decision", "it holds personal data and", False),
        (added(name="email"), "OnboardingFinished.email", "it holds personal data and lacks", False),
    ],
)
def test_a_broken_rule_is_found(change: Change, place: str, text: str, *, is_breaking: bool) -> None:
    """Each rule can be broken, and then it is told where and how; what Avro's checker misses is among them."""
    schema = json.loads(public_schema("OnboardingFinished"))
    change(schema)
    found = [flaw for flaw in flaws(json.dumps(schema)) if flaw.place == place and text in flaw.text]
    assert [flaw.is_breaking for flaw in found][:1] == [is_breaking]


@pytest.mark.parametrize(
    "change",
    [
        added(),
        added(type=DECIMAL),
        added(type={"type": "array", "items": "string"}, default=[]),
        without("tenant"),
        typed("outcome", symbols=["UNRECOGNIZED", *model.Outcome, "WITHDRAWN"]),
        set_in("tenant", doc="It may be said in another way."),
        lambda schema: schema.update(name=f"{schema.pop('namespace')}.{schema['name']}"),
        typed("outcome", name="onboarding.v1.Outcome"),
    ],
)
def test_what_may_change_breaks_no_rule(change: Change) -> None:
    """Optional fields come and go, and enums grow."""
    schema = json.loads(public_schema("OnboardingFinished"))
    change(schema)
    assert flaws(json.dumps(schema)) == ()
    assert same_as(json.dumps(schema)) is None


def test_a_conflict_is_told_once_for_all_versions() -> None:
    """Two sentences, one for each direction, whatever the number of versions."""
    schema = json.loads(public_schema("OnboardingFinished"))
    set_in("attempts", type="string")(schema)
    assert [flaw.text for flaw in flaws(json.dumps(schema))] == [
        "it cannot read what versions 1, 2 wrote: /attempts: reads string, written as int",
        "versions 1, 2 cannot read what it writes: /attempts: reads int, written as string",
    ]


@pytest.mark.parametrize(
    "text, cause",
    [
        ("\ufeff{}", "JSONDecodeError: Unexpected UTF-8 BOM (decode using utf-8-sig): line 1 column 1 (char 0)"),
        ("", "JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
        ('{"type": "recrd"}', "SchemaParseException: Undefined type: recrd"),
        (
            '{"type": "array", "items": {"type": "map", "values": "Later"}}',
            "SchemaParseException: Could not make an Avro Schema object from Later",
        ),
    ],
)
def test_what_is_no_schema_is_told_with_its_cause(text: str, cause: str) -> None:
    """The innermost one: what is around it repeats the file."""
    assert [flaw.text for flaw in flaws(text)] == [f"it is no valid Avro schema that stands on its own: {cause}"]


def test_the_document_shows_the_fields_as_they_are() -> None:
    """`python -m tests.adapters.events_document` renews docs/events.md after a change."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert with_tables(text) == text
    introduction, _, tables = text.partition(BEGIN)
    assert ("…`" in tables) == ("An example that ends in `…` is cut" in introduction)
    rows = [line for line in tables.splitlines() if line.startswith("| `")]
    assert [row for row in rows if row.endswith("|  |")] == [], "the kit has no example"
    assert [reason for reason in UNDECODABLE if f"\n| `{reason}` |" not in text] == []


def test_the_page_for_consumers_begins_with_the_isolation_level() -> None:
    """Whoever reads only its first line reads the one that matters; every reason is explained there."""
    text = (DOCUMENT.parent / "consumers.md").read_text(encoding="utf-8")
    assert text.splitlines()[2].startswith("Set **`isolation.level=read_committed`**")
    assert [reason for reason in model.Reason if f"\n| `{reason}` |" not in text] == []
