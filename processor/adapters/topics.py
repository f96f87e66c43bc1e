"""Topics of a cluster: reads what is there and creates what is missing; never alters anything."""

import time
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]  # exported, but not said so
from confluent_kafka.cimpl import NewTopic

from processor.adapters.group_offsets import GroupOffsets, partitions_told
from processor.adapters.kafka_trouble import Trouble
from processor.adapters.topic_rules import HeldTopic, partitions_for
from processor.adapters.topic_specs import TopicSpec
from processor.errors import BrokerUnavailable, FatalError

_NOT_CONFIGURABLE = frozenset({KafkaError.INVALID_CONFIG, KafkaError.POLICY_VIOLATION})
_LOOK_AGAIN_S = 0.05
_PATIENCE = 4  # Creating many topics takes a broker longer than answering does.


class TopicRefused(FatalError):
    """The cluster does not make a topic as it is wished for."""


@dataclass(frozen=True, slots=True)
class Made:
    """A topic that was created; `is_bare` when the cluster took only what a promise rests on."""

    name: str
    partitions: int
    is_bare: bool


class TopicAdmin:
    """One cluster; `timeout_s` limits each question. Every method raises BrokerUnavailable."""

    def __init__(self, config: Mapping[str, Any], timeout_s: float) -> None:
        self._trouble = Trouble()
        self._timeout_s = timeout_s
        self._config = config
        own: dict[str, Any] = {**config, "error_cb": self._trouble}
        self._admin = AdminClient(own)

    def held(self, names: Iterable[str], readers: Mapping[str, str]) -> tuple[int, Mapping[str, HeldTopic]]:
        """Return how many brokers there are, and those of these topics that exist.

        `readers` are the groups of those that are read in the order of keys.
        """
        metadata = self._metadata()
        found = {name: metadata.topics[name] for name in names if name in metadata.topics}
        configs = self._configs(found)
        held = {
            name: HeldTopic(
                name,
                len(topic.partitions),
                min((len(partition.replicas) for partition in topic.partitions.values()), default=0),
                configs.get(name),
                self._partitions_before(name, len(topic.partitions), readers.get(name)),
            )
            for name, topic in found.items()
        }
        return len(metadata.brokers), held

    def _partitions_before(self, topic: str, partitions: int, group_id: str | None) -> int | None:
        if group_id is None:
            return None
        offsets = GroupOffsets(self._config, group_id, self._timeout_s)
        try:
            parts = offsets.of(topic, range(partitions))
        except BrokerUnavailable:  # Nothing tells: there is no such group yet, or we may not ask for it.
            return None
        finally:
            offsets.close()
        return partitions_told(parts)

    def counts(self, names: Iterable[str]) -> Mapping[str, int]:
        """Return how many partitions those of these topics have that exist; needs no right to their configuration."""
        topics = self._metadata().topics
        return {name: len(topics[name].partitions) for name in names if name in topics}

    def create(self, specs: Sequence[TopicSpec], held: Mapping[str, HeldTopic]) -> list[Made]:
        """Create these topics, which were missing, and return those that still were; raises TopicRefused.

        A cluster that refuses what we only wish for gets asked again with what a promise rests on.
        """
        made, known = [], {**held}
        for spec in specs:
            partitions = partitions_for(spec, known)
            try:
                is_bare = not self._made(spec, partitions, spec.config)
                if is_bare and not self._made(spec, partitions, spec.essential):
                    raise TopicRefused(f"{spec.name}: the cluster refuses what it needs: {dict(spec.essential)}")
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise self._refusal(spec, error) from error
                known[spec.name] = self._made_by_another(spec.name)
            else:
                made.append(Made(spec.name, partitions, is_bare))
        self._await({topic.name for topic in made})
        return made

    def _made_by_another(self, name: str) -> HeldTopic:
        """Return a topic that somebody else made meanwhile: what belongs to it follows its count."""
        self._await({name})
        topic = self.held([name], {})[1].get(name)
        if topic is None:
            raise TopicRefused(f"{name}: it exists and the broker does not show it: grant Describe on it, or try again")
        return topic

    def _await(self, names: AbstractSet[str]) -> None:
        """Wait until brokers know new topics: a moment after their creation they may still deny them."""
        give_up_at = time.monotonic() + self._timeout_s
        while names - self._metadata().topics.keys() and time.monotonic() < give_up_at:
            time.sleep(_LOOK_AGAIN_S)

    def _made(self, spec: TopicSpec, partitions: int, config: Mapping[str, str]) -> bool:
        """Create one topic; False when the cluster refuses its configuration."""
        new = NewTopic(spec.name, partitions, spec.replication_factor, config=dict(config))
        try:
            self._answer(self._admin.create_topics([new], request_timeout=self._timeout_s * _PATIENCE)[spec.name])
        except KafkaException as error:
            if error.args[0].code() in _NOT_CONFIGURABLE:
                return False
            raise
        return True

    def _refusal(self, spec: TopicSpec, error: KafkaException) -> Exception:
        cause = error.args[0]
        if cause.code() == KafkaError.INVALID_REPLICATION_FACTOR:
            return TopicRefused(
                f"{spec.name}: the cluster cannot hold {spec.replication_factor} replicas; lower "
                "PROCESSOR_TOPICS__REPLICATION_FACTOR (and PROCESSOR_TOPICS__MIN_INSYNC_REPLICAS)"
            )
        return self._trouble.because(f"creating {spec.name}", error)

    def _metadata(self) -> Any:  # noqa: ANN401  # librdkafka's cluster metadata
        try:
            return self._admin.list_topics(timeout=self._timeout_s)
        except KafkaException as error:
            self._admin.poll(0)
            raise self._trouble.because("the broker does not answer", error) from error

    def _configs(self, names: Iterable[str]) -> Mapping[str, Mapping[str, str]]:
        """Return the configuration of each topic that we may read it of."""
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        if not resources:
            return {}
        found: dict[str, Mapping[str, str]] = {}
        for resource, future in self._admin.describe_configs(resources, request_timeout=self._timeout_s).items():
            try:
                entries = self._answer(future)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                    continue
                raise self._trouble.because(f"the configuration of {resource.name}", error) from error
            found[resource.name] = {name: entry.value for name, entry in entries.items() if entry.value is not None}
        return found

    def _answer(self, future: "Future[Any]") -> Any:  # noqa: ANN401  # whatever was asked for
        try:
            return future.result(self._timeout_s * (_PATIENCE + 1))
        except TimeoutError as error:
            raise self._trouble.because("the broker does not answer", error) from error
