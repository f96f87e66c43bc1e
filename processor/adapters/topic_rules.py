"""What a cluster's topics must be like: judges what is there against the specs; pure.

A problem breaks a promise; a warning costs speed, space or comfort, or is what a managed cluster does not let us
choose. What others own (how long requests and results are kept) is theirs, within those limits.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from processor.adapters.topic_specs import BATCH_OVERHEAD_BYTES, TopicSpec, Use
from processor.core.model import DAY_MS
from processor.wording import counted

CREATE_COMMAND = "processor topics create"
CUSTODY_MS_MIN = 30 * DAY_MS
TOMBSTONE_MS_MIN = 7 * DAY_MS
SLOW_ABOVE = frozenset({"max.compaction.lag.ms", "segment.ms", "min.cleanable.dirty.ratio"})


class Grade(StrEnum):
    """How much a finding matters."""

    GOOD = "good"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class HeldTopic:
    """A topic as the cluster has it; `config` is None where we may not read it.

    `partitions_before` is how many it had when the group that reads it committed, None where nothing tells.
    """

    name: str
    partitions: int
    replicas: int
    config: Mapping[str, str] | None
    partitions_before: int | None = None


@dataclass(frozen=True, slots=True)
class TopicFinding:
    """One thing about one topic, with its remedy in one sentence (empty: nothing to do)."""

    topic: str
    grade: Grade
    text: str
    remedy: str = ""


def judge(specs: Sequence[TopicSpec], held: Mapping[str, HeldTopic]) -> list[TopicFinding]:
    """Return what is to be said about each topic; at least one finding each."""
    return [finding for spec in specs for finding in list(_of_topic(spec, held)) or [_good(held[spec.name])]]


def partitions_for(spec: TopicSpec, held: Mapping[str, HeldTopic]) -> int:
    """Return with how many partitions to create a topic: as many as the one it belongs to has, if that is there."""
    owner = held.get(spec.counts_as) if spec.counts_as else None
    return spec.partitions if owner is None else owner.partitions


def _good(held: HeldTopic) -> TopicFinding:
    return TopicFinding(held.name, Grade.GOOD, f"partitions: {held.partitions}, replicas: {held.replicas}")


def _of_topic(spec: TopicSpec, held: Mapping[str, HeldTopic]) -> Iterator[TopicFinding]:
    topic = held.get(spec.name)
    if topic is None:
        yield _problem(spec, "it does not exist", f"run `{CREATE_COMMAND}`")
        return
    yield from _counts(spec, topic, held)
    yield from _replicas(spec, topic)
    if topic.config is None:
        yield _warning(spec, "its configuration may not be read", "grant DESCRIBE_CONFIGS on it, and check again")
        return
    yield from _clean_up(spec, topic.config)
    yield from _retention(spec, topic.config)
    yield from _sizes(spec, topic.config)
    yield from _wished(spec, topic.config)


def _counts(spec: TopicSpec, topic: HeldTopic, held: Mapping[str, HeldTopic]) -> Iterator[TopicFinding]:
    if topic.partitions_before not in {None, topic.partitions}:
        yield _problem(
            spec,
            f"it has {counted(topic.partitions, 'partition')}, and had {topic.partitions_before} when it was last "
            "read: keyed state cannot follow, so nothing more is read of it",
            "stop all instances, and move to new topics by `processor topics migrate`",
        )
    owner = held.get(spec.counts_as) if spec.counts_as else None
    if owner is not None and owner.partitions != topic.partitions:
        yield _problem(
            spec,
            f"it has {counted(topic.partitions, 'partition')}, its input {owner.name} has {owner.partitions}",
            "never change a count in place: make a state topic anew, with its input's count, while nothing is stored",
        )
    if spec.use is Use.CONTROL and topic.partitions != 1:
        yield _warning(spec, f"it has {topic.partitions} partitions; one is enough", "")


def _replicas(spec: TopicSpec, topic: HeldTopic) -> Iterator[TopicFinding]:
    config = topic.config or {}
    in_sync = _number(config, "min.insync.replicas")
    if in_sync is not None and in_sync > topic.replicas:
        yield _problem(
            spec,
            f"it has {topic.replicas} replicas but wants {in_sync} in sync, so nothing can be written",
            "lower min.insync.replicas, or add replicas",
        )
    if topic.replicas < spec.replication_factor:
        yield _warning(
            spec,
            f"it has {topic.replicas} replicas, {spec.replication_factor} are wished for",
            "add replicas, or lower PROCESSOR_TOPICS__REPLICATION_FACTOR",
        )
    wished = int(spec.config["min.insync.replicas"])
    if in_sync is not None and in_sync < wished:
        yield _warning(
            spec,
            f"min.insync.replicas is {in_sync}, {wished} is wished for: what one replica has is lost with it",
            "raise it, or lower PROCESSOR_TOPICS__MIN_INSYNC_REPLICAS",
        )
    if config.get("unclean.leader.election.enable") == "true":
        yield _problem(
            spec,
            "unclean.leader.election.enable is true: acknowledged records can be lost",
            "set it to false",
        )


def _clean_up(spec: TopicSpec, config: Mapping[str, str]) -> Iterator[TopicFinding]:
    policy = config.get("cleanup.policy")
    if policy is None:
        return
    words = {word.strip() for word in policy.split(",")}
    if spec.use in {Use.STATE, Use.CONTROL} and "compact" not in words:
        yield _problem(spec, f"cleanup.policy is {policy}: it grows without end", "set it to compact")
    elif spec.use in {Use.STATE, Use.CONTROL} and "delete" in words:
        yield _problem(spec, f"cleanup.policy is {policy}: it would forget by time", "set it to compact")
    elif spec.use is Use.EVENTS and "compact" in words:
        yield _warning(
            spec, f"cleanup.policy is {policy}: of two results with one key the older goes", "set it to delete"
        )
    elif spec.use not in {Use.STATE, Use.CONTROL, Use.EVENTS} and "compact" in words:
        yield _problem(
            spec, f"cleanup.policy is {policy}: of two records with one key the older goes", "set it to delete"
        )


def _retention(spec: TopicSpec, config: Mapping[str, str]) -> Iterator[TopicFinding]:
    if spec.use is Use.CUSTODY:
        yield from _custody(spec, config)
    tombstone_ms = _number(config, "delete.retention.ms")
    if spec.use is Use.STATE and tombstone_ms is not None and tombstone_ms < TOMBSTONE_MS_MIN:
        yield _problem(
            spec,
            f"delete.retention.ms is {tombstone_ms}: a restore that misses a deletion brings the key back",
            f"set it to {spec.essential['delete.retention.ms']} (at least {TOMBSTONE_MS_MIN})",
        )


def _custody(spec: TopicSpec, config: Mapping[str, str]) -> Iterator[TopicFinding]:
    """Judge a topic whose records must stay until their reader deletes them."""
    retention_ms, retention_bytes = _number(config, "retention.ms"), _number(config, "retention.bytes")
    if retention_bytes is not None and retention_bytes >= 0:
        yield _problem(spec, f"retention.bytes is {retention_bytes}: it forgets by size", "set it to -1")
    if retention_ms is None or retention_ms < 0:
        return
    if retention_ms < CUSTODY_MS_MIN:
        yield _problem(
            spec,
            f"retention.ms is {retention_ms}: what waits longer is lost",
            f"set it to -1; where that is refused, to at least {CUSTODY_MS_MIN}",
        )
    else:
        yield _warning(spec, f"retention.ms is {retention_ms}: what waits longer is lost", "set it to -1")


def _sizes(spec: TopicSpec, config: Mapping[str, str]) -> Iterator[TopicFinding]:
    bytes_max = _number(config, "max.message.bytes")
    if bytes_max is None:
        return
    wished = int(spec.essential["max.message.bytes"])
    record_bytes_max = wished - BATCH_OVERHEAD_BYTES
    if spec.use is not Use.REQUESTS and bytes_max < record_bytes_max:
        yield _problem(
            spec,
            f"max.message.bytes is {bytes_max}, records of {record_bytes_max} bytes are written",
            f"set it to {wished}, or lower PROCESSOR_TOPICS__RECORD_BYTES_MAX",
        )
    elif spec.use is Use.REQUESTS and bytes_max > wished:
        yield _warning(
            spec,
            f"max.message.bytes is {bytes_max}: a larger request than {record_bytes_max} bytes fits in no dead letter",
            f"set it to {wished}, or raise PROCESSOR_TOPICS__RECORD_BYTES_MAX",
        )


def _wished(spec: TopicSpec, config: Mapping[str, str]) -> Iterator[TopicFinding]:
    """Name what makes restores slow, or lets a wrong clock elsewhere decide what is deleted."""
    if spec.use is Use.REQUESTS and config.get("message.timestamp.type") == "CreateTime":
        yield _warning(
            spec,
            "message.timestamp.type is CreateTime: requests with an old timestamp may be deleted before they are read",
            "set it to LogAppendTime, or keep requests long enough",
        )
    slow = [
        f"{name} is {config[name]} ({wished} is wished for)"
        for name, wished in spec.wished.items()
        if spec.use is Use.STATE and name in SLOW_ABOVE and float(config.get(name, 0)) > float(wished)
    ]
    if slow:
        yield _warning(spec, f"{', '.join(slow)}: restores read more than they need", "set what may be set")


def _number(config: Mapping[str, str], name: str) -> int | None:
    text = config.get(name)
    return None if text is None else int(text)


def _problem(spec: TopicSpec, text: str, remedy: str) -> TopicFinding:
    return TopicFinding(spec.name, Grade.PROBLEM, text, remedy)


def _warning(spec: TopicSpec, text: str, remedy: str) -> TopicFinding:
    return TopicFinding(spec.name, Grade.WARNING, text, remedy)
