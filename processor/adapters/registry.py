"""The schema registry: its client, what its errors mean, and registering or checking our public schemas.

Only routes that every Confluent-compatible registry has are used: subjects, versions, schemas/ids, config,
compatibility. The processor itself never registers anything; `processor schemas register` does.
"""

import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any, TypeAlias, TypeVar

from avro.errors import AvroException
from avro.name import Names
from avro.schema import Schema as AvroSchema
from avro.schema import make_avsc_object, parse
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from processor.adapters.compatibility import differences
from processor.adapters.schema_files import public_schema
from processor.errors import RegistryUnavailable
from processor.settings import SchemaRegistrySettings

SUBJECT_NOT_FOUND, VERSION_NOT_FOUND, SCHEMA_NOT_FOUND, LEVEL_NOT_FOUND = 40401, 40402, 40403, 40408
NOT_FOUND = frozenset({SUBJECT_NOT_FOUND, VERSION_NOT_FOUND, SCHEMA_NOT_FOUND, LEVEL_NOT_FOUND})
REFUSALS = frozenset({409, 422})  # HTTP statuses: not compatible, not valid.
UNAUTHORIZED = frozenset({401, 403})
REGISTER_COMMAND = "processor schemas register"
WANTED_LEVEL = "FULL_TRANSITIVE"  # Under it old and new publishers, processors and readers can be mixed.

Topics: TypeAlias = Mapping[str, str]  # Topic -> name of the record that its values are.
T = TypeVar("T")


class SchemaMissing(Exception):  # Never leaves the adapters.
    """The registry answered that it does not hold the subject, version or schema."""


class Verdict(StrEnum):
    """What stands in the registry beside one of our schemas."""

    PRESENT = "present"  # Exactly ours is registered.
    REGISTERED = "registered"  # It was registered just now.
    MISSING = "missing"  # Not registered yet; it may be.
    INCOMPATIBLE = "incompatible"  # The registry, or a released version, forbids it.


@dataclass(frozen=True, slots=True)
class Finding:
    """One subject, what the registry holds of it, and what to do about it in one sentence (empty: nothing).

    `level` is the compatibility level that counts for the subject, None where it could not be read; `unlike` says why
    versions that it holds and ours do not read each other, one sentence each.
    """

    topic: str
    subject: str
    record: str
    verdict: Verdict
    schema_id: int | None
    remedy: str
    level: str | None = None
    unlike: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Say whether the processor can work with what is registered now."""
        return self.verdict in {Verdict.PRESENT, Verdict.REGISTERED}

    @property
    def is_level_wanted(self) -> bool:
        """Say whether the registry keeps what old readers or writers could not live with out of this subject."""
        return self.level == WANTED_LEVEL

    @property
    def warnings(self) -> tuple[str, ...]:
        """What works now and may not for ever, one sentence each."""
        said = "could not be read" if self.level is None else f"is {self.level}"
        level = () if self.is_level_wanted else (f"its compatibility level {said}; it should be {WANTED_LEVEL}",)
        return (*level, *(self.unlike if self.is_good else ()))


def registry_client(url: str, *, timeout_s: float = 5.0, more: Mapping[str, Any] | None = None) -> SchemaRegistryClient:
    """Return a client that gives up within a few seconds; `more` are properties of the client (credentials, TLS).

    `url` may list several registries, separated by commas.
    """
    bounded = {"timeout": timeout_s, "max.retries": 2, "retries.wait.ms": 200, "retries.max.wait.ms": 1_000}
    return SchemaRegistryClient.new_client({**bounded, "url": url, **(more or {})})


def registry_for(given: SchemaRegistrySettings) -> SchemaRegistryClient:
    """Return a client of the registry that the settings name."""
    more: dict[str, str] = {}
    if given.username is not None and given.password is not None:
        more["basic.auth.user.info"] = f"{given.username}:{given.password.get_secret_value()}"
    if given.ca_file is not None:
        more["ssl.ca.location"] = str(given.ca_file)
    return registry_client(given.url, timeout_s=given.timeout_s, more=more)


def subject_of(topic: str) -> str:
    """Return the subject of a topic's values (TopicNameStrategy)."""
    return f"{topic}-value"


def avro_schema(record: str) -> Schema:
    """Return our public schema of that record as the registry's client wants it."""
    return Schema(public_schema(record), "AVRO")


def asked(question: Callable[[], T]) -> T:
    """Return the registry's answer; SchemaMissing when it says that it has no such thing.

    Raises RegistryUnavailable for all else: time-out, 5xx, refused credentials, a proxy's 404. None of these says
    anything about a message, so nothing may be set aside for it.
    """
    try:
        return question()
    except SchemaRegistryError as error:
        if error.error_code in NOT_FOUND:
            raise SchemaMissing(str(error.error_code)) from None
        if error.http_status_code in UNAUTHORIZED:
            raise RegistryUnavailable(
                f"the schema registry refuses our credentials ({error.http_status_code}): see "
                "PROCESSOR_SCHEMA_REGISTRY__USERNAME and PROCESSOR_SCHEMA_REGISTRY__PASSWORD"
            ) from error
        raise RegistryUnavailable(
            f"the schema registry answered {error.http_status_code} (error code {error.error_code})"
        ) from error
    except Exception as error:
        if _is_untrusted(error):
            raise RegistryUnavailable(
                "the schema registry's certificate is not trusted: see PROCESSOR_SCHEMA_REGISTRY__CA_FILE"
            ) from error
        raise RegistryUnavailable(f"the schema registry did not answer: {type(error).__name__}") from error


def _is_untrusted(error: BaseException | None) -> bool:
    """Say whether TLS ended because of the certificate; the client wraps what happened, so the causes tell."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def check(client: SchemaRegistryClient, topics: Topics) -> list[Finding]:
    """Say for each topic whether our schema is registered, could be, or is refused; changes nothing.

    Raises RegistryUnavailable.
    """
    return [_checked(client, topic, record) for topic, record in topics.items()]


def register(client: SchemaRegistryClient, topics: Topics, *, dry_run: bool = False) -> list[Finding]:
    """Register our schema for each topic that lacks it; with `dry_run` only say what would happen.

    Raises RegistryUnavailable.
    """
    findings = check(client, topics)
    return findings if dry_run else [_registered(client, finding) for finding in findings]


def _checked(client: SchemaRegistryClient, topic: str, record: str) -> Finding:
    """Look up one schema under its subject."""
    subject, schema = subject_of(topic), avro_schema(record)
    unlike = _held_unlike(client, subject, record)
    try:
        found = asked(lambda: client.lookup_schema(subject, schema, normalize_schemas=True))
    except SchemaMissing:
        finding = _missing(client, topic, record, unlike)
    else:
        finding = Finding(topic, subject, record, Verdict.PRESENT, found.schema_id, "")
    return replace(finding, level=_level_of(client, subject), unlike=unlike)


def _missing(client: SchemaRegistryClient, topic: str, record: str, unlike: tuple[str, ...]) -> Finding:
    """Say whether a schema that is not registered could be, by the registry's rules and by our own."""
    subject = subject_of(topic)
    try:
        is_allowed = asked(lambda: client.test_compatibility(subject, avro_schema(record)))
    except SchemaMissing:
        is_allowed = True  # The subject is new.
    if is_allowed and not unlike:
        return Finding(topic, subject, record, Verdict.MISSING, None, f"run `{REGISTER_COMMAND}`")
    why = unlike[0] if unlike else "the registry's compatibility level forbids our schema"
    return Finding(topic, subject, record, Verdict.INCOMPATIBLE, None, f"{why}: use a topic of its own")


def _level_of(client: SchemaRegistryClient, subject: str) -> str | None:
    """Return the compatibility level that counts for a subject; None where we may not read it."""
    for asking in (lambda: client.get_compatibility(subject), client.get_compatibility):
        try:
            return str(asked(asking))
        except SchemaMissing:
            continue
        except RegistryUnavailable:
            return None
    return None


def _held_unlike(client: SchemaRegistryClient, subject: str, record: str) -> tuple[str, ...]:
    """Return why versions that a subject holds and our schema do not read each other, whatever is enforced there."""
    ours, found = parse(public_schema(record)), []
    try:
        versions = asked(lambda: client.get_versions(subject))
    except SchemaMissing:  # The subject is new.
        return ()
    for version in versions:
        try:
            held = asked(partial(client.get_version, subject, version))
        except SchemaMissing:  # It was deleted just now.
            continue
        if why := _unlike(client, ours, held.schema):
            found.append(f"version {version} and ours do not read each other ({why[0]})")
    return tuple(found)


def _unlike(client: SchemaRegistryClient, ours: AvroSchema, held: Schema) -> tuple[str, ...]:
    """Return why our schema and the held one, with those that it refers to, do not read each other."""
    if held.schema_type not in {None, "AVRO"}:
        return (f"it is of type {held.schema_type}",)
    try:
        theirs = _with_references(client, held, Names(), set())
    except (AvroException, ValueError) as error:
        return (f"its schema is not valid: {type(error).__name__}",)
    except SchemaMissing:
        return ("it refers to a schema that the registry does not hold",)
    return tuple(map(str, (*differences(ours, theirs), *differences(theirs, ours))))


def _with_references(
    client: SchemaRegistryClient, held: Schema, names: Names, met: set[tuple[str, int | None]]
) -> AvroSchema:
    """Return a held schema, parsed after those that it refers to, each once; their types are in `names` then."""
    for reference in held.references or ():
        subject, version = str(reference.subject), reference.version
        if (subject, version) not in met:
            met.add((subject, version))
            referred = asked(partial(client.get_version, subject, version or "latest"))
            _with_references(client, referred.schema, names, met)
    return make_avsc_object(json.loads(held.schema_str or ""), names)


def _registered(client: SchemaRegistryClient, finding: Finding) -> Finding:
    """Register one schema that is missing; every other finding stays as it is."""
    if finding.verdict is not Verdict.MISSING:
        return finding
    schema = avro_schema(finding.record)

    def tried() -> int | None:
        try:
            return client.register_schema(finding.subject, schema, normalize_schemas=True)
        except SchemaRegistryError as error:
            if error.http_status_code in REFUSALS:
                return None
            raise

    schema_id = asked(tried)
    if schema_id is None:
        return replace(finding, verdict=Verdict.INCOMPATIBLE, remedy="the registry refuses it: use a topic of its own")
    return replace(finding, verdict=Verdict.REGISTERED, schema_id=schema_id, remedy="")
