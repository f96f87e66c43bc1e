"""What the roles of one process share, and the makers of what each thread needs for itself."""

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property

from confluent_kafka.schema_registry import SchemaRegistryClient

from processor.adapters.avro import EventEncoder, RequestDecoder
from processor.adapters.codec import Codec
from processor.adapters.registry import Topics, registry_for
from processor.core.catalogue import Catalogue
from processor.roles.machines import Writing
from processor.settings import Settings
from processor.telemetry import Metrics


@dataclass(frozen=True)
class Surroundings:
    """The surroundings of all roles of one process."""

    settings: Settings
    catalogue: Catalogue
    metrics: Metrics
    start_id: str  # Fresh with each start of the process, and of its deciders.
    version: str
    revision: str = field(default_factory=lambda: os.environ.get("IMAGE_REVISION", "unknown"))
    contacts: Collection[str] = ()  # Provider profiles that took us before the deciders were renewed.
    kept: object = None  # Holds the copies of files that the settings name.

    @property
    def build(self) -> str:
        """What tells one build from the next: parked keys are tried again by a new one."""
        return f"{self.version}+{self.revision}"

    @cached_property
    def registry(self) -> SchemaRegistryClient:
        """The schema registry; its cache serves all threads."""
        return registry_for(self.settings.schema_registry)

    def event_topics(self, deciders: Collection[str]) -> Topics:
        """Return every topic of public events that these deciders write, with its record."""
        topics = self.settings.topics
        names = self.catalogue.workflows
        results = {topics.results, *(self.catalogue.results_topic_of(name) for name in names)}
        written = dict.fromkeys(sorted(results), "OnboardingFinished")
        if {*deciders} <= {"completion"}:  # It tells of ends only.
            return written
        return {topics.progress: "OnboardingProgressed", topics.links: "OnboardingLinkIssued"} | written

    def make_encoder(self) -> EventEncoder:
        """Make an encoder of public events, for one thread."""
        definitions = {name: workflow.definition for name, workflow in self.catalogue.workflows.items()}
        return EventEncoder(self.registry, source=f"urn:{self.settings.application_id}", definitions=definitions)

    def make_writing(self) -> Writing:
        """Make what one machine writes with."""
        codec = Codec(write_format=self.settings.state.write_format)
        return Writing(self.settings.topics, codec, self.make_encoder(), self.version)

    def make_decoder(self) -> RequestDecoder:
        """Make a decoder of requests, for one thread."""
        return RequestDecoder(self.registry)
