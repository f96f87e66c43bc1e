"""All settings: one frozen tree with every default, and the names under which the environment sets them.

`processor/settings_loading.py` reads them from outside and refuses what contradicts itself. Units stand last in a
name: `_ms` int milliseconds, `_s` seconds (fractions allowed), `_bytes_max` bytes.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from processor.kafka_properties import is_secret_property
from processor.settings_values import (
    Count,
    HttpPath,
    Member,
    Millis,
    Port,
    Properties,
    ProxyUrl,
    Seconds,
    TopicName,
    Url,
    Words,
    checked_url,
    listed,
)

KIB = 1024
MIB = 1024 * KIB
MASK = "***"
DEFAULT_PROFILE = "default"


def _profile_name(value: str) -> str:
    """Refuse a name that has no variables of its own: `_` stands for `-` there, and `__` for the next level."""
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", value):
        message = "a profile's name is lower-case letters and digits, with single - between them"
        raise ValueError(message)
    if value == DEFAULT_PROFILE:
        message = "the profile `default` is the section `api`; write its settings there"
        raise ValueError(message)
    return value


def _named_urls(given: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what is not name=address, and a name that stands twice."""
    names = [_profile_name(word.partition("=")[0]) for word in given]
    if len(set(names)) != len(names) or not all(word.partition("=")[2] for word in given):
        message = "write the name of each profile once, with = and its address behind it"
        raise ValueError(message)
    return tuple(f"{name}={checked_url(word.partition('=')[2])}" for name, word in zip(names, given, strict=True))


NamedUrls = Annotated[tuple[str, ...], AfterValidator(_named_urls), BeforeValidator(listed)]
ProfileName = Annotated[str, AfterValidator(_profile_name)]
Bytes = Annotated[int, Field(ge=KIB)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class KafkaSettings(_Section):
    """How Kafka is reached and used."""

    bootstrap_servers: str = Field(default="", description="Brokers to begin with: host:port, comma-separated")
    group_protocol: Literal["classic", "consumer"] = Field(
        default="classic",
        description="classic (cooperative-sticky), or consumer (KIP-848) on brokers 4.0 and newer",
    )
    instance_name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="Stable name of this instance, unique among all (a StatefulSet's pod name): its transactional ids "
        "then end a predecessor's open transaction at once; without it they are fresh at each start",
    )
    sasl_username: str | None = Field(default=None, description="librdkafka's sasl.username")
    sasl_password: SecretStr | None = Field(default=None, description="librdkafka's sasl.password")
    properties: Properties = Field(
        default={},
        description="Any other librdkafka properties, as a JSON object; those that would break a promise are refused",
    )
    session_timeout_ms: Millis | None = Field(
        default=None,
        description="Silence after which a member counts as dead (45000 where unset); group protocol classic only",
    )
    max_poll_interval_ms: Millis = Field(
        default=300_000, description="Longest time between two polls; above the drain budget"
    )
    transaction_timeout_ms: Millis = Field(
        default=10_000, description="Age at which the broker aborts an open transaction"
    )
    operation_timeout_s: Seconds = Field(default=5.0, description="Limit of each single blocking call to the broker")
    commit_interval_ms: int = Field(
        default=50, ge=1, le=1000, description="How long facts are gathered into one transaction"
    )


class SchemaRegistrySettings(_Section):
    """How the schema registry is reached: any that speaks Confluent's routes."""

    url: Url = Field(default="", description="Address of the schema registry, with its path if it has one")
    username: str | None = Field(default=None, description="User name for basic authentication")
    password: SecretStr | None = Field(default=None, description="Password for basic authentication")
    ca_file: Path | None = Field(default=None, description="PEM file of authorities to trust instead of the system's")
    timeout_s: Seconds = Field(default=5.0, description="Limit of one look-up")


class CredentialKind(StrEnum):
    """What a credential is used for."""

    CREATE = "create"  # Records, cases and parameters.
    START = "start"  # Runs, tokens and links.
    READ = "read"  # Statuses, results and cases.
    KEYS = "keys"  # Webhook keys, where their endpoint asks who we are.


class CredentialSettings(_Section):
    """Who we are at the provider: key and secret, or an organisation token."""

    key: SecretStr | None = Field(default=None, description="Key for this kind of calls alone")
    secret: SecretStr | None = Field(default=None, description="Secret that belongs to it")
    token: SecretStr | None = Field(default=None, description="Organisation token for this kind, instead of both")

    @property
    def is_given(self) -> bool:
        """Whether any part of it is set."""
        return self.key is not None or self.secret is not None or self.token is not None


class CredentialsSettings(_Section):
    """Credentials for one kind of calls; where one is not set, the profile's own serves."""

    create: CredentialSettings = CredentialSettings()
    start: CredentialSettings = CredentialSettings()
    read: CredentialSettings = CredentialSettings()
    keys: CredentialSettings = CredentialSettings()


class ApiSettings(_Section):
    """One profile of the provider: how its API is reached, as whom, and how fast it may be called."""

    base_url: Url = Field(default="", description="Address of the provider's API")
    key: SecretStr | None = Field(default=None, description="Key for POST /auth/authorize")
    secret: SecretStr | None = Field(default=None, description="Secret for POST /auth/authorize")
    token: SecretStr | None = Field(default=None, description="Organisation token (tot_…) instead of key and secret")
    credentials: CredentialsSettings = CredentialsSettings()
    version: int = Field(
        default=2,
        ge=1,
        le=3,
        description="API version of workflows that name none, and of authorize: 1 cases, 2 records, 3 tables",
    )
    http_client: Literal["pyreqwest", "httpx"] = Field(default="pyreqwest", description="HTTP client of the hot path")
    ca_file: Path | None = Field(default=None, description="PEM file of authorities to trust beside the system's")
    proxy_url: ProxyUrl = Field(
        default="",
        description="Proxy for everything that goes to the provider, such as http://proxy:3128: calls, tokens, webhook "
        "keys; https:// addresses by CONNECT. HTTPS_PROXY of the environment is never taken",
    )
    proxy_username: str | None = Field(default=None, description="User name for basic authentication at the proxy")
    proxy_password: SecretStr | None = Field(default=None, description="Password for it")
    content_type: str = Field(default="application/json", description="Content-Type of requests with a body")
    call_deadline_s: Seconds = Field(default=15.0, description="Limit of one call, from connecting to the last byte")
    run_deadline_s: Seconds = Field(default=30.0, description="The same for a call that may not be repeated (run)")
    connect_timeout_s: Seconds = Field(default=5.0, description="Limit of connecting; at most a third of the deadlines")
    keepalive_s: Seconds = Field(
        default=30.0, description="Idle connections are closed after this; below the provider's limit"
    )
    calls_in_flight_max: Count = Field(
        default=256, description="Calls open at once, over all instances; at least one for each partition"
    )
    calls_per_second_max: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="Calls started a second, over all instances; 0 no limit"
    )
    response_bytes_max: Bytes = Field(default=MIB, description="Largest answer that is read")
    is_503_not_executed: bool = Field(
        default=False,
        description="Whether the provider promises that a call answered 503 was not executed",
    )
    refusals_in_row_max: Count = Field(
        default=5,
        description="So many 400, 404 or 422 in a row without a success between pause a workflow",
    )
    parameters_path: HttpPath = Field(default="/parameters", description="Where parameter sets are made")
    parameters_definition_member: Member = Field(
        default="workflowDefinitionId",
        description="Member that names the definition in a parameter set",
    )
    parameters_member: Member = Field(
        default="parameters", description="Member that holds the values of a parameter set"
    )
    parameters_id_path: Member = Field(default="id", description="Where the answer holds a parameter set's id")
    record_id_path: Member = Field(default="id", description="Where the answer holds a new record's id")
    case_id_path: Member = Field(default="caseId", description="Where the answer holds a new case's id")

    def credential(self, kind: CredentialKind | None = None) -> CredentialSettings:
        """Return who we are for a kind of calls; None asks for the profile's own."""
        own = CredentialSettings(key=self.key, secret=self.secret, token=self.token)
        given: CredentialSettings = own if kind is None else getattr(self.credentials, kind)
        return given if given.is_given else own


class WebhookSettings(_Section):
    """The server that the provider's webhooks reach."""

    host: str = Field(default="0.0.0.0", description="Address to listen on")  # noqa: S104  # a pod is reached from outside
    port: Port = Field(default=8080, description="Port to listen on; 0 takes a free one")
    path: HttpPath = Field(
        default="/webhooks",
        description="Path that takes webhooks; that of another profile has its name behind it: /webhooks/name",
    )
    networks: Words = Field(default=(), description="Only these networks (CIDR) may send; empty: every one")
    body_bytes_max: Bytes = Field(default=256 * KIB, description="Largest body that is read")
    read_timeout_s: Seconds = Field(
        default=3.0, description="Limit of reading the body of a request; its head may take KEEPALIVE_S"
    )
    keepalive_s: Seconds = Field(default=30.0, description="Idle connections are closed after this")
    connections_max: Count = Field(default=2048, description="Connections open at once; one too many gets a 503")
    ack_timeout_s: Seconds = Field(default=2.0, description="Limit of waiting for the broker; then 503")
    key_base_url: Url = Field(default="", description="Address of the key endpoint; empty: that of the API")
    key_base_urls: NamedUrls = Field(
        default=(), description="The same for other profiles: name=https://…; one that is not named: that of its API"
    )
    key_path: HttpPath = Field(
        default="/auth/webhooks/key/{keyId}?pem=true", description="Path of a key at the key endpoint"
    )
    key_timeout_s: Seconds = Field(default=3.0, description="Limit of fetching one key")
    key_cache_s: Seconds = Field(default=600.0, description="How long a fetched key is used without asking again")
    key_stale_s: Seconds = Field(default=86_400.0, description="How long it is used while the key endpoint is down")
    key_unknown_s: Seconds = Field(default=60.0, description="How long an unknown key id is remembered as unknown")
    key_fetches_per_minute_max: Count = Field(
        default=1, description="Look-ups of unknown key ids a minute; above it 503"
    )
    workflow_id_paths: Words = Field(
        default=("workflowId", "workflowExecutionId", "executionId", "id"),
        min_length=1,
        description="Where a body may hold the workflow id; the first one present counts",
    )
    status_paths: Words = Field(default=("status",), description="The same for the status")
    kind_paths: Words = Field(default=("type", "eventType", "event"), description="The same for the kind of event")
    record_id_paths: Words = Field(default=("recordId",), description="The same for the record id")
    case_id_paths: Words = Field(default=("caseId",), description="The same for the case id")
    definition_id_paths: Words = Field(default=("workflowDefinitionId",), description="The same for the definition id")

    def key_base_url_of(self, profile: str) -> str:
        """Return the address of a profile's key endpoint where it is not that of its API, else an empty text."""
        return self.key_base_url if profile == DEFAULT_PROFILE else self.key_base_urls_by_name().get(profile, "")

    def key_base_urls_by_name(self) -> dict[str, str]:
        """Return `key_base_urls` as a mapping."""
        return {name: url for name, _, url in (word.partition("=") for word in self.key_base_urls)}


class OpsSettings(_Section):
    """The server for probes and metrics."""

    host: str = Field(default="0.0.0.0", description="Address to listen on")  # noqa: S104  # probes come from outside
    port: Port = Field(default=8081, description="Port of /livez, /readyz and /metrics; 0 takes a free one")
    heartbeat_s_max: Seconds = Field(default=60.0, description="A thread silent for longer makes /livez fail")
    reread_s: Seconds = Field(default=5.0, description="How often files of secrets and certificates are looked at")
    renewal_delay_s_max: float = Field(
        default=60.0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="A change in them is taken up after a time drawn up to this, so that not all instances do at once; "
        "one that was never ready does not wait",
    )


class WorkflowsSettings(_Section):
    """The workflow catalogue."""

    file: Path = Field(default=Path("workflows.yaml"), description="The workflow catalogue")


class StateSettings(_Section):
    """The local copy of the state; what must survive is in Kafka."""

    directory: Path = Field(default=Path("state"), description="Where the local copy lies; losing it costs a restore")
    store: Literal["rocksdb", "memory"] = Field(default="rocksdb", description="rocksdb, or memory for small states")
    write_format: int = Field(
        default=2,
        ge=2,
        le=2,
        description="Format in which internal records are written; raise it when all instances can read the next one",
    )


class TopicsSettings(_Section):
    """Names, counts and sizes of topics."""

    requests: TopicName = Field(default="onboarding.requests", description="Onboarding requests come here")
    results: TopicName = Field(
        default="onboarding.results", description="Results go here, unless a workflow names another"
    )
    links: TopicName = Field(default="onboarding.links", description="Issued links go here")
    progress: TopicName = Field(default="onboarding.progress", description="Progress goes here")
    dead_letters: TopicName = Field(
        default="onboarding.dead-letters", description="What cannot be served, with its bytes"
    )
    launches: TopicName = Field(
        default="<application id>.launches", description="Internal: custody and evidence for launch"
    )
    workflows: TopicName = Field(
        default="<application id>.workflows", description="Internal: started workflows and webhooks"
    )
    preparation_state: TopicName = Field(
        default="<application id>.preparation-state", description="Internal, compacted"
    )
    launch_state: TopicName = Field(default="<application id>.launch-state", description="Internal, compacted")
    completion_state: TopicName = Field(default="<application id>.completion-state", description="Internal, compacted")
    control: TopicName = Field(default="<application id>.control", description="Internal, compacted: pauses")
    partitions: int = Field(
        default=12, ge=1, le=1000, description="Partitions of topics we create; never changed later"
    )
    replication_factor: int = Field(default=3, ge=1, le=32767, description="Replicas of topics we create")
    min_insync_replicas: int = Field(default=2, ge=1, le=32767, description="min.insync.replicas of topics we create")
    request_bytes_max: Bytes = Field(default=256 * KIB, description="Largest request; larger ones are dead letters")
    result_bytes_max: Bytes = Field(
        default=768 * KIB, description="Largest result body; larger ones are left out and said so"
    )
    record_bytes_max: Bytes = Field(
        default=1_000_000, description="Largest record we produce; at most what brokers accept"
    )


class EngineSettings(_Section):
    """Limits of the engine and the deciders."""

    lanes_max: Count = Field(
        default=10_000, description="Lanes of preparation with work in them; above it intake pauses"
    )
    launch_backlog_max: Count = Field(
        default=10_000, description="Launches waiting; above it preparation hands none over"
    )
    calls_bytes_max: Bytes = Field(
        default=64 * MIB,
        description="Bytes of open calls and their answers in this process; its profiles share them equally",
    )
    drain_s_max: Seconds = Field(
        default=40.0, description="Budget for open runs at SIGTERM and when a partition is revoked"
    )
    send_window_s: Seconds = Field(default=5.0, description="A run starts this soon after its intent, or not at all")
    settle_margin_s: Seconds = Field(
        default=5.0, description="Added to a run's deadline before its outcome counts as unknown"
    )
    webhook_grace_s: Seconds = Field(
        default=10.0, description="How long a webhook of an unknown workflow waits for its start"
    )
    duplicate_memory_s: Seconds = Field(
        default=8 * 86_400.0, description="Request ids are known this long past the deadline"
    )
    amendment_window_s: Seconds = Field(
        default=8 * 86_400.0, description="After giving up, a late outcome is published so long"
    )
    result_wait_s: Seconds = Field(
        default=300.0, description="How long a completed workflow's missing result is asked for"
    )
    evidence_wait_s_max: Seconds = Field(
        default=3600.0, description="A timer waits no longer than this for evidence before it"
    )
    position_age_s: Seconds = Field(
        default=7 * 86_400.0, description="Internal input younger than this is never purged"
    )
    purge_interval_s: Seconds = Field(default=60.0, description="How often internal input is purged")
    clock_margin_s: Seconds = Field(
        default=120.0, description="How far the clocks of two instances may differ when evidence is compared"
    )
    mark_interval_s: Seconds = Field(
        default=5.0,
        description="How often completion says how far webhooks were judged; only where a workflow may be run again",
    )
    watchdog_s: Seconds = Field(
        default=60.0, description="A member without progress for so long, with lag, is restarted"
    )


class LoggingSettings(_Section):
    """What is logged, and how."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="The least level that is logged"
    )
    format: Literal["json", "console"] = Field(default="json", description="One JSON object a line, or text for people")


INTERNAL_TOPICS = ("launches", "workflows", "preparation_state", "launch_state", "completion_state", "control")
DECIDERS = ("preparation", "launch", "completion")
APPLICATION_ID = re.compile(r"^[A-Za-z0-9._-]{1,60}$")


class Settings(_Section):
    """Everything that can be set. Build it with `load_settings`; in tests directly, from nested mappings."""

    application_id: str = Field(
        default="onboarding",
        pattern=APPLICATION_ID.pattern,
        description="Begins group ids, transactional ids and internal topics, so that several can share a cluster",
    )
    kafka: KafkaSettings = KafkaSettings()
    schema_registry: SchemaRegistrySettings = SchemaRegistrySettings()
    api: ApiSettings = ApiSettings()
    providers: Mapping[ProfileName, ApiSettings] = {}
    webhook: WebhookSettings = WebhookSettings()
    ops: OpsSettings = OpsSettings()
    workflows: WorkflowsSettings = WorkflowsSettings()
    state: StateSettings = StateSettings()
    topics: TopicsSettings = Field(default={}, validate_default=True)
    engine: EngineSettings = EngineSettings()
    logging: LoggingSettings = LoggingSettings()

    @model_validator(mode="before")
    @classmethod
    def _name_internal_topics(cls, given: Any) -> Any:  # noqa: ANN401  # whatever pydantic was given
        """Let internal topics that have no name of their own begin with the application id, if that is good itself."""
        topics = given.get("topics", {})
        if not isinstance(topics, dict):
            return given
        application_id = str(given.get("application_id", ""))
        if not APPLICATION_ID.match(application_id):
            application_id = "onboarding"
        named = {topic: f"{application_id}.{topic.replace('_', '-')}" for topic in INTERNAL_TOPICS}
        return {**given, "topics": named | topics}

    def group_id(self, decider: str) -> str:
        """Return the consumer group of a decider."""
        return f"{self.application_id}.{decider}"

    def readers(self) -> Mapping[str, str]:
        """Return the consumer group of each topic that a decider reads."""
        inputs = (self.topics.requests, self.topics.launches, self.topics.workflows)
        return {topic: self.group_id(decider) for topic, decider in zip(inputs, DECIDERS, strict=True)}

    def profiles(self) -> Mapping[str, ApiSettings]:
        """Return every profile of the provider by its name; `default` is there unless only others are set."""
        has_default = bool(self.api.base_url) or not self.providers
        return ({DEFAULT_PROFILE: self.api} if has_default else {}) | dict(sorted(self.providers.items()))

    def profile(self, name: str) -> ApiSettings | None:
        """Return the profile of that name, or None."""
        return self.profiles().get(name)


def profile_prefix(name: str) -> str:
    """Return what the variables of a profile begin with."""
    return "PROCESSOR_API__" if name == DEFAULT_PROFILE else f"PROCESSOR_PROVIDERS__{name.upper().replace('-', '_')}__"


def effective(settings: Settings) -> dict[str, Any]:
    """Return all settings as plain values, with secrets masked: for `processor check` and support."""
    shown: dict[str, Any] = _masked(settings.model_dump(mode="python"))
    properties = shown["kafka"]["properties"]
    shown["kafka"]["properties"] = {
        name: MASK if is_secret_property(name) else value for name, value in properties.items()
    }
    return shown


def _masked(value: Any) -> Any:  # noqa: ANN401  # any plain value
    if isinstance(value, dict):
        return {name: _masked(inner) for name, inner in value.items()}
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def credentials_fingerprint(api: ApiSettings) -> str:
    """Return a short hash of who we are at the provider: it tells old credentials from new ones, and nothing else."""
    given = [api.credential(kind) for kind in (None, *CredentialKind)]
    parts = [part.get_secret_value() if part else "" for one in given for part in (one.key, one.secret, one.token)]
    return hashlib.sha256(json.dumps([api.base_url, *parts]).encode()).hexdigest()[:16]
