"""Which settings contradict each other: each good by itself, but together breaking a promise or never working."""

import ipaddress
import os
import re
import ssl
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from processor.kafka_config import client_config
from processor.kafka_properties import FILE_ENDINGS, property_problems
from processor.settings import (
    DEFAULT_PROFILE,
    KIB,
    ApiSettings,
    CredentialKind,
    CredentialSettings,
    Settings,
    profile_prefix,
)

CONNECT_SHARE = 3  # Connecting may take a third of a deadline, or a provider that drops packets makes runs unknown.
POLL_MARGIN_MS = 10_000
ENVELOPE_BYTES = 64 * KIB  # What stands around a body in a record of ours.
PROVIDER_PATIENCE_S = 10.0  # The provider waits so long for our answer to a webhook.
SESSION_TIMEOUT_MS = 45_000  # Kafka's default for classic groups.


def relation_problems(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each contradiction: the variable to change, why, and to what."""
    yield from _kafka(settings)
    yield from _time(settings)
    for name, api in {DEFAULT_PROFILE: settings.api, **settings.providers}.items():
        yield from _profile(profile_prefix(name), api, settings)
    yield from _sizes(settings)
    yield from _topics(settings)
    yield from _servers(settings)
    yield from _credentials(settings)


def file_problems(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each file of a client that will not do; relations without contradictions come first."""
    for name, api in {DEFAULT_PROFILE: settings.api, **settings.providers}.items():
        yield from profile_file_problems(name, api)
    yield from process_file_problems(settings)


def profile_file_problems(name: str, api: ApiSettings) -> Iterator[str]:
    """Yield what is wrong with the files of a provider profile's clients."""
    yield from _no_authorities(f"{profile_prefix(name)}CA_FILE", api.ca_file)


def process_file_problems(settings: Settings) -> Iterator[str]:
    """Yield what is wrong with the files of the clients of Kafka and the registry."""
    yield from _no_authorities("PROCESSOR_SCHEMA_REGISTRY__CA_FILE", settings.schema_registry.ca_file)
    if any(name.endswith(FILE_ENDINGS) for name in settings.kafka.properties):
        yield from _refused_by_client(settings)


def _kafka(settings: Settings) -> Iterator[str]:
    kafka = settings.kafka
    for problem in property_problems(kafka.properties, kafka.group_protocol):
        yield f"PROCESSOR_KAFKA__PROPERTIES: {problem}"
    if kafka.sasl_username is not None and "sasl.username" in kafka.properties:
        yield "PROCESSOR_KAFKA__SASL_USERNAME: sasl.username is among the properties too; leave one of them out"
    if kafka.sasl_password is not None and "sasl.password" in kafka.properties:
        yield "PROCESSOR_KAFKA__SASL_PASSWORD: sasl.password is among the properties too; leave one of them out"
    if kafka.group_protocol == "consumer" and kafka.session_timeout_ms is not None:
        yield (
            "PROCESSOR_KAFKA__SESSION_TIMEOUT_MS: with group protocol consumer the broker sets it "
            "(group.consumer.session.timeout.ms); unset it"
        )


def _time(settings: Settings) -> Iterator[str]:
    kafka, engine, webhook = settings.kafka, settings.engine, settings.webhook
    poll_ms_min = int(engine.drain_s_max * 1000) + kafka.transaction_timeout_ms + POLL_MARGIN_MS
    if kafka.max_poll_interval_ms < poll_ms_min:
        yield (
            f"PROCESSOR_KAFKA__MAX_POLL_INTERVAL_MS: at least {poll_ms_min} (drain budget, transaction time-out and "
            "10 s), or a draining member is thrown out; raise it"
        )
    session_ms = kafka.session_timeout_ms or SESSION_TIMEOUT_MS
    if kafka.group_protocol == "classic" and kafka.max_poll_interval_ms < session_ms:
        yield f"PROCESSOR_KAFKA__MAX_POLL_INTERVAL_MS: at least the session time-out ({session_ms}); raise it"
    if kafka.operation_timeout_s * 1000 >= kafka.transaction_timeout_ms:
        yield (
            "PROCESSOR_KAFKA__OPERATION_TIMEOUT_S: below PROCESSOR_KAFKA__TRANSACTION_TIMEOUT_MS, or the broker ends a "
            "transaction while we wait for it; lower it"
        )
    if webhook.read_timeout_s + webhook.key_timeout_s + webhook.ack_timeout_s >= PROVIDER_PATIENCE_S:
        yield (
            "PROCESSOR_WEBHOOK__READ_TIMEOUT_S: together with KEY_TIMEOUT_S and ACK_TIMEOUT_S it must stay below the "
            f"{PROVIDER_PATIENCE_S:g} s that the provider waits; lower one of them"
        )


def _profile(prefix: str, api: ApiSettings, settings: Settings) -> Iterator[str]:
    """Yield what contradicts itself in one profile of the provider; `prefix` begins its variables."""
    engine, topics = settings.engine, settings.topics
    connect_s_max = min(api.call_deadline_s, api.run_deadline_s) / CONNECT_SHARE
    if api.connect_timeout_s > connect_s_max:
        yield (
            f"{prefix}CONNECT_TIMEOUT_S: at most {connect_s_max:g}, a third of the deadlines of calls, or an "
            f"unreachable provider makes runs unknown; lower it, or raise {prefix}CALL_DEADLINE_S and "
            f"{prefix}RUN_DEADLINE_S"
        )
    drain_s_min = api.run_deadline_s + engine.settle_margin_s
    if engine.drain_s_max < drain_s_min:
        yield (
            f"PROCESSOR_ENGINE__DRAIN_S_MAX: at least {drain_s_min:g}, or each rollout cuts open runs and holds their "
            f"requests; raise it, or lower {prefix}RUN_DEADLINE_S"
        )
    if api.response_bytes_max < topics.result_bytes_max:
        yield (
            f"{prefix}RESPONSE_BYTES_MAX: at least PROCESSOR_TOPICS__RESULT_BYTES_MAX, or results of "
            "allowed size are not read; raise it"
        )
    if api.calls_in_flight_max < topics.partitions:
        yield (
            f"{prefix}CALLS_IN_FLIGHT_MAX: at least {topics.partitions}, for each partition carries its part of the "
            "calls; raise it, or use fewer partitions"
        )
    yield from _proxy(prefix, api)
    yield from _credential(prefix, api.credential())
    for kind in CredentialKind:
        own: CredentialSettings = getattr(api.credentials, kind)
        yield from _credential(f"{prefix}CREDENTIALS__{kind.upper()}__", own)


def _proxy(prefix: str, api: ApiSettings) -> Iterator[str]:
    if bool(api.proxy_username) != bool(api.proxy_password):
        missing = "PASSWORD" if api.proxy_username else "USERNAME"
        yield f"{prefix}PROXY_{missing}: user name and password belong together; set it too"
    if api.proxy_username and not api.proxy_url:
        yield f"{prefix}PROXY_USERNAME: there is no proxy; set {prefix}PROXY_URL, or unset user name and password"
    if ":" in (api.proxy_username or ""):
        yield f"{prefix}PROXY_USERNAME: basic authentication knows no user name with a colon; choose another one"
    if api.proxy_url and api.is_503_not_executed and api.base_url.startswith("http://"):
        yield (
            f"{prefix}IS_503_NOT_EXECUTED: on the way to an http:// address a proxy's own 503 cannot be told from the "
            f"provider's; write https:// in {prefix}BASE_URL, or unset it"
        )


def _credential(prefix: str, given: CredentialSettings) -> Iterator[str]:
    if bool(given.key) != bool(given.secret):
        missing = "SECRET" if given.key else "KEY"
        yield f"{prefix}{missing}: key and secret belong together; set it too"
    if given.token and (given.key or given.secret):
        yield f"{prefix}TOKEN: it stands instead of key and secret; unset one or the other"
    if given.token and not re.fullmatch(r"\s*[\x21-\x7e]+\s*", given.token.get_secret_value()):
        yield f"{prefix}TOKEN: a token is ASCII without blanks; copy it once more"


def _sizes(settings: Settings) -> Iterator[str]:
    topics = settings.topics
    room = topics.record_bytes_max - ENVELOPE_BYTES
    if topics.result_bytes_max > room:
        yield (
            f"PROCESSOR_TOPICS__RESULT_BYTES_MAX: at most {room}, or a result does not fit in a record; lower it, or "
            "raise PROCESSOR_TOPICS__RECORD_BYTES_MAX and the brokers' limits"
        )
    if 2 * topics.request_bytes_max > room:  # A waiting request is kept with the bodies that were made of it.
        yield (
            f"PROCESSOR_TOPICS__REQUEST_BYTES_MAX: at most {room // 2}, or a waiting request does not fit in a record; "
            "lower it, or raise PROCESSOR_TOPICS__RECORD_BYTES_MAX and the brokers' limits"
        )
    if settings.webhook.body_bytes_max > room:
        yield f"PROCESSOR_WEBHOOK__BODY_BYTES_MAX: at most {room}, or a webhook does not fit in a record; lower it"


def _topics(settings: Settings) -> Iterator[str]:
    topics = settings.topics
    if topics.min_insync_replicas > topics.replication_factor:
        yield (
            f"PROCESSOR_TOPICS__MIN_INSYNC_REPLICAS: at most the replication factor ({topics.replication_factor}), or "
            "nothing can be written; lower it"
        )
    names = {field: value for field, value in topics.model_dump().items() if isinstance(value, str)}
    counts = Counter(names.values())
    for field, name in names.items():
        if counts[name] > 1:
            yield f"PROCESSOR_TOPICS__{field.upper()}: {name} is the name of another topic too; choose one of its own"


def _servers(settings: Settings) -> Iterator[str]:
    webhook, ops = settings.webhook, settings.ops
    if webhook.port and (webhook.host, webhook.port) == (ops.host, ops.port):
        yield f"PROCESSOR_OPS__PORT: {ops.port} is the webhook port too; choose another one"
    if unknown := sorted(webhook.key_base_urls_by_name().keys() - settings.profiles()):
        yield (
            f"PROCESSOR_WEBHOOK__KEY_BASE_URLS: there is no provider profile {', '.join(unknown)}; write one of "
            f"{', '.join(settings.profiles())}, or set that profile"
        )
    if "{keyId}" not in webhook.key_path:
        yield "PROCESSOR_WEBHOOK__KEY_PATH: it must contain {keyId}, where the id of the key goes"
    for network in webhook.networks:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            yield f"PROCESSOR_WEBHOOK__NETWORKS: {network!r} is no network; write it like 203.0.113.0/24"


def _credentials(settings: Settings) -> Iterator[str]:
    registry, kafka = settings.schema_registry, settings.kafka
    if bool(registry.username) != bool(registry.password):
        missing = "PASSWORD" if registry.username else "USERNAME"
        yield f"PROCESSOR_SCHEMA_REGISTRY__{missing}: user name and password belong together; set it too"
    has_username = kafka.sasl_username is not None or "sasl.username" in kafka.properties
    has_password = kafka.sasl_password is not None or "sasl.password" in kafka.properties
    if has_username != has_password:
        missing = "PASSWORD" if has_username else "USERNAME"
        yield f"PROCESSOR_KAFKA__SASL_{missing}: user name and password belong together; set it too"


def _no_authorities(variable: str, file: Path | None) -> Iterator[str]:
    if file is not None and not os.path.isfile(file):  # noqa: PTH113  # That one raises where we may not look.
        yield f"{variable}: there is no file {file}; mount it there"
    elif file is not None and not _holds_authorities(file):
        yield f"{variable}: the file holds no certificate in PEM form; write the authorities there"


def _holds_authorities(file: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except OSError:  # An SSLError is one.
        return False
    return True


def _refused_by_client(settings: Settings) -> Iterator[str]:
    """Yield why librdkafka makes no client of the files that its properties name: it reads them then."""
    try:
        AdminClient(client_config(settings, "trial"))
    except KafkaException as error:
        text = error.args[0].str()
        named = [name for name in settings.kafka.properties if name in text]
        yield (
            f"PROCESSOR_KAFKA__PROPERTIES: no client can be made of {', '.join(named) or 'them'}; see that each "
            "file is there and whole, and that key, password and certificate belong together"
        )
