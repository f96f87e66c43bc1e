"""The settings of a demo: those of a usual deployment with short times, and the faults of the simulated provider."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from processor.adapters.catalogue_file import catalogue_of
from processor.core.catalogue import Catalogue, PollPolicy
from processor.settings import Settings
from processor.settings_loading import load_settings
from processor.simulator.settings import Faults, SimulatorSettings, Span

WORKFLOWS = Path(__file__).with_name("demo_workflows.yaml")
PARTITIONS = 4  # The embedded broker makes no other number.
POLL = PollPolicy(first_ms=1_000, max_ms=2_000)
PUBLIC_TOPICS = ("requests", "results", "links", "progress", "dead_letters")

# A provider on a bad day. It answers each call, so that no request has to wait long, or for a person.
FAULTS = Faults(
    latency_ms=Span(20, 80),
    completion_ms=Span(300, 3_000),
    complete_at_once_rate=0.1,
    failed_rate=0.08,
    webhook_lost_rate=0.15,
    webhook_doubled_rate=0.05,
    webhook_delay_ms=Span(0, 200),
    throttled_rate=0.01,
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a demo runs and what it offers; a server that is None lives in this process.

    `application_id` begins the names of topics, groups and transactional ids.
    """

    application_id: str
    bootstrap_servers: str | None
    schema_registry: str | None
    workflows: Path
    seed: int


def simulator_settings(seed: int) -> SimulatorSettings:
    """Return what the simulated provider is told."""
    return SimulatorSettings(seed=seed, webhook_retry_s=1.0, faults=FAULTS)


def demo_settings(
    place: Place, environ: Mapping[str, str], servers: Mapping[str, str], provider: SimulatorSettings, replicas: int
) -> Settings:
    """Return the settings; raises SettingsInvalid.

    `servers` are the addresses of broker, registry and provider. Of the environment only what tells how to reach a
    real broker or registry counts: the settings of a deployment must not lead a demo to its provider.
    """
    topics = {topic: f"{place.application_id}.{topic.replace('_', '-')}" for topic in PUBLIC_TOPICS}
    overrides = {
        "application_id": place.application_id,
        "kafka": {"bootstrap_servers": servers["broker"]},
        "schema_registry": {"url": servers["registry"]},
        "api": {
            "base_url": servers["provider"],
            "key": provider.key,
            "secret": provider.secret,
            "run_deadline_s": 15.0,
        },
        "webhook": {"host": "127.0.0.1", "port": 0},
        "ops": {"host": "127.0.0.1", "port": 0},
        "workflows": {"file": place.workflows},
        "state": {"store": "memory"},
        "topics": {
            **topics,
            "partitions": PARTITIONS,
            "replication_factor": replicas,
            "min_insync_replicas": max(1, replicas - 1),
        },
        "engine": {"settle_margin_s": 2.0, "drain_s_max": 17.0, "webhook_grace_s": 2.0},
    }
    settings = load_settings(_environ_for(place, environ), overrides=overrides)
    return settings if place.bootstrap_servers else _for_embedded_broker(settings)


def demo_catalogue(settings: Settings) -> Catalogue:
    """Return the catalogue with short waits between polls, and all results in the demo's own topic."""
    catalogue = catalogue_of(settings)
    workflows = {
        name: replace(workflow, poll=POLL, results_topic=None) for name, workflow in catalogue.workflows.items()
    }
    return replace(catalogue, workflows=workflows)


def _for_embedded_broker(settings: Settings) -> Settings:
    """Let checksums pass unchecked: the embedded broker writes its transaction markers without."""
    kafka = settings.kafka.model_copy(update={"properties": {"check.crcs": "false"}})
    return settings.model_copy(update={"kafka": kafka})


def _environ_for(place: Place, environ: Mapping[str, str]) -> Mapping[str, str]:
    prefixes = [
        *(("PROCESSOR_KAFKA__",) if place.bootstrap_servers else ()),
        *(("PROCESSOR_SCHEMA_REGISTRY__",) if place.schema_registry else ()),
    ]
    return {name: value for name, value in environ.items() if name.startswith(tuple(prefixes))}
