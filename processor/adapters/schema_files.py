"""The Avro schemas that this build carries: the public contracts and the formats of the internal records.

They are files beside the code, so decoding what we wrote ourselves never needs the registry.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from processor.errors import SettingsInvalid

AvroSchema: TypeAlias = str | list[Any] | dict[str, Any]  # Parsed JSON of a schema, as the Avro specification has it.

PUBLIC_NAMESPACE = "onboarding.v1"
PUBLIC_RECORDS = ("OnboardingRequested", "OnboardingFinished", "OnboardingLinkIssued", "OnboardingProgressed")
INTERNAL_NAMESPACE = "onboarding.internal"
FORMAT_DIRECTORY = "format"  # schemas/internal/format1, format2, …


def schemas_directory() -> Path:
    """Return where the schemas lie: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    for candidate in (package / "schemas", package.parent / "schemas"):
        if candidate.is_dir():
            return candidate
    raise SettingsInvalid(f"the schemas are missing beside {package}; install the package anew")


@cache
def public_schema(record: str) -> str:
    """Return the text of a public schema of this build, by its record name."""
    return (schemas_directory() / f"{record}.avsc").read_text(encoding="utf-8")


def released_schemas(record: str) -> Mapping[int, str]:
    """Return the text of every released version of a public schema, by version."""
    directories = (schemas_directory() / "released").iterdir()
    files = {int(directory.name): directory / f"{record}.avsc" for directory in directories}
    return {version: files[version].read_text(encoding="utf-8") for version in sorted(files) if files[version].exists()}


def internal_formats() -> tuple[int, ...]:
    """Return the numbers of the formats of internal records that this build knows, ascending."""
    directories = (schemas_directory() / "internal").glob(f"{FORMAT_DIRECTORY}*")
    return tuple(sorted(int(directory.name.removeprefix(FORMAT_DIRECTORY)) for directory in directories))


def internal_schemas(format_number: int) -> Mapping[str, dict[str, Any]]:
    """Return the schemas of the internal records in one format, by record name; they refer to each other by name."""
    directory = schemas_directory() / "internal" / f"{FORMAT_DIRECTORY}{format_number}"
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(directory.glob("*.avsc"))}


def self_contained(record: str, schemas: Mapping[str, dict[str, Any]], namespace: str) -> dict[str, Any]:
    """Return the record's schema with each record that it refers to written out where it is first met."""
    seen: set[str] = set()

    def inline(schema: AvroSchema) -> AvroSchema:
        if isinstance(schema, str):
            name = schema.removeprefix(f"{namespace}.")
            return schema if name not in schemas or name in seen else inline(schemas[name])
        if isinstance(schema, list):
            return [inline(branch) for branch in schema]
        if schema["type"] != "record":
            return {key: inline(value) if key in {"items", "values"} else value for key, value in schema.items()}
        seen.add(schema["name"])
        return {**schema, "fields": [{**field, "type": inline(field["type"])} for field in schema["fields"]]}

    whole = inline(schemas[record])
    assert isinstance(whole, dict), "a record stays a record"
    return whole


def without_logical_types(schema: AvroSchema) -> AvroSchema:
    """Return the schema with instants as plain numbers: fastavro would build datetime objects, which cost more."""
    if isinstance(schema, list):
        return [without_logical_types(branch) for branch in schema]
    if isinstance(schema, dict):
        return {
            key: without_logical_types(value) if key in {"type", "fields", "items", "values"} else value
            for key, value in schema.items()
            if key != "logicalType"
        }
    return schema
