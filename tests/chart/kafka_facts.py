"""What the chart must know of Kafka, made from the code: names, topics and rights, with settings left open.

`python -m tests.chart.kafka_facts` writes helm/files/kafka.yaml anew.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from processor.adapters.acls import ROLES, Acl, Grantee, Installation, Pattern, acls_of
from processor.adapters.topic_specs import BATCH_OVERHEAD_BYTES, topic_specs
from processor.settings import Settings
from tests.support.chart import CHART

FACTS = CHART / "files" / "kafka.yaml"
HEAD = """\
# What topic_specs.py and acls.py in processor/adapters say. `python -m tests.chart.kafka_facts` writes it anew.
# {name} stands for a topic or a number of settings.topics, {application_id} for settings.application_id. What names
# {results} is repeated for each topic of results; `rerun` marks what is needed only where a workflow may be run again.
"""
APPLICATION = "APPLICATION-ID"
NUMBERS = ("partitions", "replication_factor", "min_insync_replicas", "record_bytes_max")
PEOPLE = (Grantee.SETUP, Grantee.OPERATOR)


def topic_settings() -> tuple[str, ...]:
    """Return the settings that name topics."""
    return tuple(name for name, value in Settings().topics.model_dump().items() if isinstance(value, str))


def marked() -> Settings:
    """Return settings whose values are recognised wherever they end up."""
    names = {name: f"TOPIC-{name}" for name in topic_settings()}
    return Settings.model_validate({"application_id": APPLICATION, "topics": names})


def opened(text: str) -> str:
    """Return a text with the marks of `marked` as placeholders."""
    for name in topic_settings():
        if text == f"TOPIC-{name}":
            return f"{{{name}}}"
    return text.replace(APPLICATION, "{application_id}")


def default_names() -> dict[str, str]:
    """Return how topics are called whose setting is not set."""
    named = Settings.model_validate({"application_id": APPLICATION}).topics.model_dump()
    return {name: opened(named[name]) for name in topic_settings()}


def topics() -> list[dict[str, Any]]:
    """Return what `processor topics create` makes."""
    settings = marked()
    size = str(settings.topics.record_bytes_max + BATCH_OVERHEAD_BYTES)
    in_sync = {"min.insync.replicas": "{min_insync_replicas}"}
    return [
        {
            "name": opened(spec.name),
            "partitions": "{partitions}" if spec.partitions == settings.topics.partitions else str(spec.partitions),
            "config": {
                key: "{message_bytes_max}" if value == size else value
                for key, value in (dict(spec.config) | in_sync).items()
            },
        }
        for spec in topic_specs(settings.topics)
    ]


def rights(grantees: Iterable[Grantee]) -> list[dict[str, Any]]:
    """Return the rights of a principal, in the words of a KafkaUser."""
    settings = marked()
    always = acls_of(grantees, Installation(settings, (settings.topics.results,)))
    return [
        right(acl) | ({} if acl in always else {"rerun": True})
        for acl in acls_of(grantees, Installation(settings, (settings.topics.results,), has_rerun=True))
    ]


def right(acl: Acl) -> dict[str, Any]:
    """Return one right in the words of a KafkaUser, whose pattern types are literal and prefix."""
    pattern = "prefix" if acl.resource.pattern is Pattern.PREFIXED else "literal"
    return {
        "type": str(acl.resource.kind),
        "name": opened(acl.resource.name),
        "patternType": pattern,
        "operations": [str(operation) for operation in acl.operations],
    }


def facts() -> Mapping[str, Any]:
    """Return everything that the file holds."""
    defaults = Settings().topics.model_dump()
    return {
        "names": default_names(),
        "numbers": {name: defaults[name] for name in NUMBERS},
        "batchOverheadBytes": BATCH_OVERHEAD_BYTES,
        "topics": topics(),
        "rights": {
            **{str(grantee): rights([grantee]) for grantee in (*ROLES, *PEOPLE)},
            "all": rights(ROLES),
        },
    }


def text() -> str:
    """Return the file as it should be."""
    return HEAD + yaml.safe_dump(dict(facts()), sort_keys=False, default_flow_style=None, width=118)


if __name__ == "__main__":
    FACTS.write_text(text(), encoding="utf-8")
