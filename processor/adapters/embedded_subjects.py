"""What a schema registry knows and decides: subjects, versions, ids and compatibility. Values only, no network.

The rules and error codes are those of the Confluent Schema Registry API, version 7. Avro only, no references.
"""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from avro.errors import AvroException
from avro.schema import Schema, parse

from processor.adapters.compatibility import structural_conflicts

SUBJECT_NOT_FOUND, VERSION_NOT_FOUND, SCHEMA_NOT_FOUND = 40401, 40402, 40403
SUBJECT_SOFT_DELETED, SUBJECT_NOT_SOFT_DELETED, NO_SUBJECT_LEVEL = 40404, 40405, 40408
INCOMPATIBLE = 409
INVALID_SCHEMA, INVALID_VERSION, INVALID_LEVEL = 42201, 42202, 42203
STATUS_DIGITS = 100  # An error code is the HTTP status and two digits more.


class Level(StrEnum):
    """Which schemas a new one is checked against: one or (transitive) all, and who must read whom."""

    NONE = "NONE"
    BACKWARD = "BACKWARD"  # New readers read what old writers wrote.
    BACKWARD_TRANSITIVE = "BACKWARD_TRANSITIVE"
    FORWARD = "FORWARD"  # Old readers read what new writers write.
    FORWARD_TRANSITIVE = "FORWARD_TRANSITIVE"
    FULL = "FULL"
    FULL_TRANSITIVE = "FULL_TRANSITIVE"


class Refused(Exception):
    """The registry's answer is an error: `code` as the API lists them, and a text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code

    @property
    def status(self) -> int:
        """Return the HTTP status of the answer."""
        return self.code if self.code < 1_000 else self.code // STATUS_DIGITS  # noqa: PLR2004  # 409 is both


@dataclass(slots=True)
class Version:
    """One schema under a subject."""

    number: int
    schema_id: int
    is_deleted: bool = False


@dataclass(slots=True)
class Subjects:
    """The whole content of a registry, in memory."""

    level: Level = Level.BACKWARD
    levels: dict[str, Level] = field(default_factory=dict)
    versions: dict[str, list[Version]] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)  # Canonical text -> id: one schema has one id everywhere.

    def names(self) -> list[str]:
        """Return the subjects that have a version."""
        return sorted(subject for subject in self.versions if self._living(subject))

    def numbers(self, subject: str) -> list[int]:
        """Return the version numbers of a subject, ascending."""
        return [version.number for version in self._held(subject)]

    def register(self, subject: str, text: str) -> Version:
        """Add a schema under a subject, or return the version that it has there already."""
        parsed = _parsed(text)
        known = self._find(subject, text)
        if known is not None:
            return known
        unlike = self.conflicts(subject, parsed, self._living(subject))
        if unlike:
            raise Refused(INCOMPATIBLE, f"Schema being registered is incompatible with an earlier schema: {unlike}")
        schema_id = self.ids.setdefault(_canonical(text), len(self.ids) + 1)
        self.texts.setdefault(schema_id, text)
        held = self.versions.setdefault(subject, [])
        held.append(Version(held[-1].number + 1 if held else 1, schema_id))
        return held[-1]

    def lookup(self, subject: str, text: str) -> Version:
        """Return the version under which a subject holds this schema."""
        _parsed(text)
        self._held(subject)
        known = self._find(subject, text)
        if known is None:
            raise Refused(SCHEMA_NOT_FOUND, "Schema not found")
        return known

    def version(self, subject: str, number: str) -> Version:
        """Return a subject's version by number, `latest` or `-1`."""
        held = self._held(subject)
        if number in {"latest", "-1"}:
            return held[-1]
        if not number.isdecimal() or int(number) < 1:
            raise Refused(INVALID_VERSION, f"The specified version '{number}' is not a valid version id")
        for version in held:
            if version.number == int(number):
                return version
        raise Refused(VERSION_NOT_FOUND, f"Version {number} not found")

    def text(self, schema_id: int) -> str:
        """Return a schema by its id; ids outlive the deletion of their subjects."""
        if schema_id not in self.texts:
            raise Refused(SCHEMA_NOT_FOUND, f"Schema {schema_id} not found")
        return self.texts[schema_id]

    def id_of_guid(self, guid: str) -> int:
        """Return the id of the schema that has this GUID."""
        for schema_id in self.texts:
            if self.guid(schema_id) == guid:
                return schema_id
        raise Refused(SCHEMA_NOT_FOUND, f"Schema {guid} not found")

    def guid(self, schema_id: int) -> str:
        """Return a schema's GUID, which depends on its content alone."""
        return str(uuid5(NAMESPACE_OID, _canonical(self.texts[schema_id])))

    def uses(self, schema_id: int) -> list[tuple[str, int]]:
        """Return the subjects and version numbers that a schema is registered under."""
        self.text(schema_id)
        names = self.names()
        return [(name, held.number) for name in names for held in self._living(name) if held.schema_id == schema_id]

    def delete(self, subject: str, *, is_permanent: bool) -> list[int]:
        """Delete a subject: its versions are hidden; for ever only in a second step, as the API wants it."""
        living = self._living(subject)
        if not is_permanent:
            for version in self._held(subject):
                version.is_deleted = True
            return [version.number for version in living]
        if living:
            raise Refused(SUBJECT_NOT_SOFT_DELETED, f"Subject '{subject}' was not deleted first before being removed")
        if subject not in self.versions:
            raise Refused(SUBJECT_NOT_FOUND, f"Subject '{subject}' not found")
        return [version.number for version in self.versions.pop(subject)]

    def level_of(self, subject: str) -> Level:
        """Return the compatibility level that counts for a subject."""
        return self.levels.get(subject, self.level)

    def conflicts(self, subject: str, new: Schema, against: list[Version]) -> tuple[str, ...]:
        """Return why a new schema breaks the subject's level; `against` are the versions in question, ascending."""
        level = self.level_of(subject)
        if level is Level.NONE:
            return ()
        olds = [parse(self.texts[version.schema_id]) for version in against]
        pairs = []
        for old in olds if level.endswith("_TRANSITIVE") else olds[-1:]:
            pairs += [] if level.startswith("FORWARD") else [(new, old)]
            pairs += [] if level.startswith("BACKWARD") else [(old, new)]
        return tuple(text for reader, writer in pairs for text in structural_conflicts(reader, writer))

    def unlike(self, subject: str, text: str, number: str | None) -> tuple[str, ...]:
        """Return why a schema could not follow one version of a subject (None: all that its level asks for)."""
        against = self._living(subject) if number is None else [self.version(subject, number)]
        return self.conflicts(subject, _parsed(text), against)

    def _living(self, subject: str) -> list[Version]:
        return [version for version in self.versions.get(subject, []) if not version.is_deleted]

    def _held(self, subject: str) -> list[Version]:
        living = self._living(subject)
        if not living:
            raise Refused(SUBJECT_NOT_FOUND, f"Subject '{subject}' not found.")
        return living

    def _find(self, subject: str, text: str) -> Version | None:
        schema_id = self.ids.get(_canonical(text))
        return next((version for version in self._living(subject) if version.schema_id == schema_id), None)


def level_named(name: Any) -> Level:  # noqa: ANN401  # as it came in the request
    """Return the compatibility level of that name."""
    try:
        return Level(name)
    except ValueError:
        raise Refused(INVALID_LEVEL, f"Invalid compatibility level; use one of {', '.join(Level)}") from None


def _parsed(text: str) -> Schema:
    try:
        return parse(text)
    except (AvroException, ValueError, TypeError, KeyError, RecursionError) as error:
        raise Refused(INVALID_SCHEMA, f"Invalid schema: {type(error).__name__}") from None


def _canonical(text: str) -> str:
    """Return a text that is the same for schemas that differ in white space or order of properties only."""
    return json.dumps(json.loads(text), sort_keys=True)
