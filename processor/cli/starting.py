"""What most commands begin with: settings, the catalogue, and the configurations of clients."""

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import structlog

from processor.adapters.publisher import Publisher
from processor.adapters.topic_reader import TopicReader
from processor.adapters.topic_specs import TopicSpec, topic_specs
from processor.core.catalogue import Catalogue
from processor.core.model import Instant
from processor.kafka_config import CLIENT_LOGGER, client_config, plain_producer_config, reader_config
from processor.settings import Settings
from processor.settings_loading import Need, load_settings

DELIVERY_S = 15.0


def settings_for(*needs: Need, overrides: Mapping[str, object] | None = None) -> Settings:
    """Return the settings of a command that talks to these, and keep librdkafka quiet; raises SettingsInvalid."""
    keep_clients_quiet()
    return load_settings(os.environ, needs=frozenset(needs), overrides=overrides)


def keep_clients_quiet() -> None:
    """Let librdkafka log nothing: what it has to say about a failure is part of the error that a command ends with."""
    CLIENT_LOGGER.addHandler(logging.NullHandler())
    CLIENT_LOGGER.propagate = False


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Let no log line of ours mix with the answer of a command that uses what roles use; it tells itself."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


def overrides_of(bootstrap_servers: str | None = None, schema_registry: str | None = None) -> Mapping[str, object]:
    """Return what the options of a command say instead of the settings."""
    kafka = {"kafka": {"bootstrap_servers": bootstrap_servers}} if bootstrap_servers else {}
    return {**kafka, **({"schema_registry": {"url": schema_registry}} if schema_registry else {})}


def results_topics(settings: Settings, catalogue: Catalogue) -> tuple[str, ...]:
    """Return every topic that results go to, the default one first."""
    others = {catalogue.results_topic_of(name) for name in catalogue.workflows} - {settings.topics.results}
    return (settings.topics.results, *sorted(others))


def specs_for(settings: Settings, catalogue: Catalogue) -> tuple[TopicSpec, ...]:
    """Return every topic of this deployment."""
    return topic_specs(settings.topics, results_topics(settings, catalogue))


def reader_for(settings: Settings) -> TopicReader:
    """Return a reader of topics."""
    timeout_s = settings.kafka.operation_timeout_s
    return TopicReader(reader_config(settings, "command"), client_config(settings, "command"), timeout_s)


def publisher_for(settings: Settings) -> Publisher:
    """Return a publisher."""
    config = plain_producer_config(settings, "command", delivery_timeout_ms=round(DELIVERY_S * 1000))
    return Publisher(config, settings.kafka.operation_timeout_s, DELIVERY_S)


def now() -> Instant:
    """Return the present instant: a command stands at the edge, where time comes in."""
    return time.time_ns() // 1_000_000  # noqa: TID251  # the edge
