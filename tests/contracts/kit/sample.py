"""What one sample of the kit is, and the schemas of the kit under ids of their own."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from confluent_kafka.schema_registry import RegisteredSchema, Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from processor.adapters.event_headers import Headers
from processor.adapters.schema_files import public_schema, released_schemas

KIT = Path(__file__).resolve().parents[3] / "kit"
REQUESTS, RESULTS, LINKS, PROGRESS = (
    "onboarding.requests",
    "onboarding.results",
    "onboarding.links",
    "onboarding.progress",
)
DEAD_LETTERS = "onboarding.dead-letters"
GUIDS = UUID("7e1dfb0e-6a5b-5d5e-9a53-6f3f8a1f7a10")  # Only for the kit: registries choose their own.
NEWER = 19  # Version of the schemas that nobody has released: what a later build may write.


@dataclass(frozen=True, slots=True)
class Sample:
    """One record of a topic, and what a correct consumer does with it.

    `schema_id` is None where nobody can decode the value; `fields` are then empty.
    """

    name: str
    what: str
    expected: str
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    schema_id: int | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One sample as it is delivered; `is_aborted`: its transaction was, so that only read_uncommitted shows it."""

    sample: str
    is_aborted: bool = False


@dataclass(frozen=True, slots=True)
class Story:
    """Samples in the order of their delivery, and what a correct consumer has at the end.

    `acted_on` are the (request id, revision) that must have an effect, each once; `truth` the outcome for each id.
    """

    name: str
    what: str
    deliveries: Sequence[Delivery]
    acted_on: Sequence[tuple[str, int]]
    truth: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class KitSchema:
    """One schema of the kit: its id, and the record and version that it is."""

    schema_id: int
    record: str
    version: int
    text: str

    @property
    def guid(self) -> str:
        """What the newer framing names it by."""
        return str(uuid5(GUIDS, str(self.schema_id)))


_TENS = {
    "OnboardingRequested": 1000,
    "OnboardingFinished": 2000,
    "OnboardingLinkIssued": 3000,
    "OnboardingProgressed": 4000,
}


@cache
def kit_schemas() -> Mapping[int, KitSchema]:
    """Return id -> schema: every released version, and a newer one of results that no build writes yet."""
    found = [
        KitSchema(_TENS[record] + version, record, version, text)
        for record in _TENS
        for version, text in released_schemas(record).items()
    ]
    found.append(KitSchema(_TENS["OnboardingFinished"] + NEWER, "OnboardingFinished", NEWER, newer_results()))
    return {each.schema_id: each for each in found}


def newest_of(record: str) -> KitSchema:
    """Return the schema that this build writes."""
    return max(
        (each for each in kit_schemas().values() if each.record == record and each.version != NEWER), key=_version
    )


def _version(schema: KitSchema) -> int:
    return schema.version


def newer_results() -> str:
    """Return the schema of results as it may become: one more word in each enum, and a field that nobody knows yet."""
    schema: dict[str, Any] = json.loads(public_schema("OnboardingFinished"))
    fields = {each["name"]: each for each in schema["fields"]}
    fields["outcome"]["type"]["symbols"].append("WITHDRAWN")
    fields["completedBy"]["type"][1]["symbols"].append("CALLBACK")
    doc = "A field that was added after this kit was made."
    schema["fields"].append({"name": "addedLater", "type": ["null", "string"], "doc": doc, "default": None})
    return json.dumps(schema, indent=2) + "\n"


class KitRegistry(SchemaRegistryClient):
    """A registry that holds the schemas of the kit under their fixed ids, and takes no others."""

    def __init__(self) -> None:
        """Hold nothing that could be closed: no address is ever asked."""

    def lookup_schema(self, subject_name: str, schema: Schema, *_args: object, **_more: object) -> RegisteredSchema:
        """Return the id of a schema, under any subject."""
        for each in kit_schemas().values():
            if each.text == schema.schema_str:
                return RegisteredSchema(subject_name, each.version, each.schema_id, each.guid, schema)
        raise SchemaRegistryError(404, 40403, "Schema not found")

    def get_schema(self, schema_id: int, *_args: object, **_more: object) -> Schema:
        """Return a schema by its id."""
        if schema_id not in kit_schemas():
            raise SchemaRegistryError(404, 40403, "Schema not found")
        return Schema(kit_schemas()[schema_id].text, "AVRO")

    def get_schema_by_guid(self, guid: str, *_args: object, **_more: object) -> Schema:
        """Return a schema by its GUID."""
        for each in kit_schemas().values():
            if each.guid == guid:
                return Schema(each.text, "AVRO")
        raise SchemaRegistryError(404, 40403, "Schema not found")
