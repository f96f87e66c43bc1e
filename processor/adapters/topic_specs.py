"""Which topics there are and what each needs: pure values, made of settings and the results topics of workflows.

`topic_rules` judges what a cluster holds against them, `topics` creates. Reasons: docs/kafka-rules.md.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from processor.core.model import DAY_MS, HOUR_MS
from processor.settings import TopicsSettings

# A broker limits whole batches: framing, keys and headers stand beside our largest record. With our default limit
# this makes 1,048,588 bytes, Kafka's own default.
BATCH_OVERHEAD_BYTES = 48_588
SHORT_RETENTION_MS = 3 * DAY_MS
DEAD_LETTER_RETENTION_MS = 30 * DAY_MS
TOMBSTONE_MS = 8 * DAY_MS  # A local copy of the state may be this old, less a day, and still learn what was deleted.
SEGMENT_MS = HOUR_MS  # The newest segment is never compacted, so it must not grow old.
COMPACTION_LAG_MS = 6 * HOUR_MS
FOREVER = "-1"


class Use(StrEnum):
    """What a topic is for: what it needs follows from that."""

    REQUESTS = "requests"
    EVENTS = "events"  # Results, links and progress: ours to write, others' to read.
    DEAD_LETTERS = "dead letters"
    CUSTODY = "internal input"  # Its records are purged by their reader, never by time.
    STATE = "state"
    CONTROL = "control"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic as it should be; `counts_as` names the topic whose partition count it must share.

    `essential` are the configurations that a promise rests on, `wished` those that keep things quick or tidy.
    """

    name: str
    use: Use
    partitions: int
    replication_factor: int
    essential: Mapping[str, str]
    wished: Mapping[str, str] = field(default_factory=dict)
    record: str | None = None  # Name of the public record that its values are.
    counts_as: str | None = None

    @property
    def config(self) -> Mapping[str, str]:
        """All configurations to create the topic with."""
        return {**self.essential, **self.wished}


def topic_specs(topics: TopicsSettings, results_topics: Iterable[str] = ()) -> tuple[TopicSpec, ...]:
    """Return every topic of this deployment, inputs before what counts as they do.

    `results_topics` are those that workflows name beside the default one.
    """
    events = {topics.results: "OnboardingFinished"}
    events |= dict.fromkeys(sorted(results_topics), "OnboardingFinished")
    short = {"retention.ms": str(SHORT_RETENTION_MS)}
    return (
        _spec(topics, topics.requests, Use.REQUESTS, record="OnboardingRequested"),
        *(_spec(topics, name, Use.EVENTS, record=record) for name, record in events.items()),
        _spec(topics, topics.links, Use.EVENTS, wished=short, record="OnboardingLinkIssued"),
        _spec(topics, topics.progress, Use.EVENTS, wished=short, record="OnboardingProgressed"),
        _spec(
            topics,
            topics.dead_letters,
            Use.DEAD_LETTERS,
            wished={"retention.ms": str(DEAD_LETTER_RETENTION_MS)},
        ),
        _spec(topics, topics.launches, Use.CUSTODY),
        _spec(topics, topics.workflows, Use.CUSTODY),
        _spec(topics, topics.preparation_state, Use.STATE, counts_as=topics.requests),
        _spec(topics, topics.launch_state, Use.STATE, counts_as=topics.launches),
        _spec(topics, topics.completion_state, Use.STATE, counts_as=topics.workflows),
        _spec(topics, topics.control, Use.CONTROL),
    )


def subjects_of(specs: Iterable[TopicSpec]) -> Mapping[str, str]:
    """Return topic -> name of its public record, for the topics that have a schema in the registry."""
    return {spec.name: spec.record for spec in specs if spec.record is not None}


def _spec(topics: TopicsSettings, name: str, use: Use, **more: Any) -> TopicSpec:  # noqa: ANN401  # fields of a spec
    """Return a topic with what all topics of this use need; `wished` adds to what they may wish for."""
    essential = {"max.message.bytes": str(topics.record_bytes_max + BATCH_OVERHEAD_BYTES), **_ESSENTIAL[use]}
    wished = {
        "min.insync.replicas": str(topics.min_insync_replicas),
        # Time of appending: a clock that is wrong elsewhere neither deletes a record early nor gets it refused.
        "message.timestamp.type": "LogAppendTime",
        **_WISHED.get(use, {}),
        **more.pop("wished", {}),
    }
    partitions = 1 if use is Use.CONTROL else topics.partitions
    return TopicSpec(name, use, partitions, topics.replication_factor, essential, wished, **more)


_ESSENTIAL: Mapping[Use, Mapping[str, str]] = {
    Use.REQUESTS: {"cleanup.policy": "delete"},
    Use.EVENTS: {"cleanup.policy": "delete"},
    Use.DEAD_LETTERS: {"cleanup.policy": "delete"},
    Use.CUSTODY: {"cleanup.policy": "delete", "retention.ms": FOREVER, "retention.bytes": FOREVER},
    Use.STATE: {"cleanup.policy": "compact", "delete.retention.ms": str(TOMBSTONE_MS)},
    Use.CONTROL: {"cleanup.policy": "compact"},
}
_COMPACTED = {
    "segment.ms": str(SEGMENT_MS),
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": str(COMPACTION_LAG_MS),
}
_WISHED: Mapping[Use, Mapping[str, str]] = {Use.STATE: _COMPACTED, Use.CONTROL: _COMPACTED}
