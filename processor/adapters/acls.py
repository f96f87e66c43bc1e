"""Which rights each of our principals needs on a cluster with ACLs, and no more: pure values, made of settings.

The one list: `processor topics acls` prints it, docs/interfaces.md shows it, and tests/security/ does the whole job
with it on a broker that grants nothing else. Read, Write and Delete imply Describe.
"""

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from processor.adapters.topic_specs import topic_specs
from processor.core.catalogue import Catalogue, UnknownPolicy
from processor.settings import DECIDERS, INTERNAL_TOPICS, Settings


class Grantee(StrEnum):
    """Who is granted rights: a role of the processor, or those who use a group of commands."""

    SUBMITTER = "submitter"
    INGESTOR = "ingestor"
    RECONCILER = "reconciler"
    SETUP = "setup"
    PUBLISHER = "publisher"
    CONSUMER = "consumer"
    OPERATOR = "operator"
    MOVER = "mover"


# Whose rights say nothing of results or of runs again, and so nothing of what the catalogue names.
WITHOUT_CATALOGUE: Final = frozenset({Grantee.INGESTOR, Grantee.PUBLISHER, Grantee.OPERATOR, Grantee.MOVER})
ROLES: Final = (Grantee.SUBMITTER, Grantee.INGESTOR, Grantee.RECONCILER)
COMMANDS: Final[Mapping[Grantee, str]] = {
    Grantee.SETUP: "`topics create`, `topics check`, `check`",
    Grantee.PUBLISHER: "`publish`",
    Grantee.CONSUMER: "`results`",
    Grantee.OPERATOR: "`held`, `adopt`, `pause`, `resume`",
    Grantee.MOVER: "`topics migrate`, `topics unseal`, `backup`, `restore`",
}


class ResourceKind(StrEnum):
    """What a right is about, in the words of Strimzi."""

    TOPIC = "topic"
    GROUP = "group"
    TRANSACTIONAL_ID = "transactionalId"


class Pattern(StrEnum):
    """Whether a name means itself, or everything that begins with it."""

    LITERAL = "literal"
    PREFIXED = "prefixed"


class Operation(StrEnum):
    """What may be done, in the words of kafka-acls.sh."""

    READ = "Read"
    WRITE = "Write"
    DELETE = "Delete"
    CREATE = "Create"
    DESCRIBE = "Describe"
    DESCRIBE_CONFIGS = "DescribeConfigs"


_OPTIONS: Final[Mapping[ResourceKind, str]] = {
    ResourceKind.TOPIC: "--topic",
    ResourceKind.GROUP: "--group",
    ResourceKind.TRANSACTIONAL_ID: "--transactional-id",
}
_IMPLYING_DESCRIBE: Final = frozenset({Operation.READ, Operation.WRITE, Operation.DELETE})


@dataclass(frozen=True, slots=True, order=True)
class Resource:
    """A topic, a group or a transactional id, or all that begin with a name."""

    kind: ResourceKind
    name: str
    pattern: Pattern = Pattern.LITERAL


@dataclass(frozen=True, slots=True)
class Acl:
    """What is allowed on one resource, from every host; operations in the order of their declaration."""

    resource: Resource
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class Installation:
    """What of settings and catalogue the rights depend on; `has_rerun` where a workflow may be run again."""

    settings: Settings
    results_topics: tuple[str, ...] = ()
    has_rerun: bool = False


def installation_of(settings: Settings, catalogue: Catalogue) -> Installation:
    """Return what the rights of this installation depend on."""
    workflows = catalogue.workflows
    return Installation(
        settings,
        tuple(sorted({catalogue.results_topic_of(name) for name in workflows} | {settings.topics.results})),
        any(workflow.unknown_policy is UnknownPolicy.RERUN for workflow in workflows.values()),
    )


def acls_of(grantees: Iterable[Grantee], installation: Installation) -> tuple[Acl, ...]:
    """Return the least rights with which one principal can be all of these, each resource once."""
    granted: dict[Resource, set[Operation]] = {}
    for grantee in grantees:
        for resource, operations in _RIGHTS[grantee](installation):
            granted.setdefault(resource, set()).update(operations)
    return tuple(Acl(resource, _least(operations)) for resource, operations in granted.items())


def kafka_acls_line(acl: Acl, principal: str, bootstrap_servers: str) -> str:
    """Return the command of Kafka's own tool that grants this, to be given its credentials by `--command-config`."""
    resource = acl.resource
    words = [
        "kafka-acls.sh",
        *("--bootstrap-server", bootstrap_servers, "--command-config", "admin.properties"),
        *("--add", "--allow-principal", shlex.quote(principal)),
        *(word for operation in acl.operations for word in ("--operation", operation)),
        *(_OPTIONS[resource.kind], resource.name),
        *(("--resource-pattern-type", resource.pattern) if resource.pattern is Pattern.PREFIXED else ()),
    ]
    return " ".join(words)


def _least(operations: Iterable[Operation]) -> tuple[Operation, ...]:
    """Leave out what another operation implies."""
    wanted = set(operations)
    if wanted & _IMPLYING_DESCRIBE:
        wanted.discard(Operation.DESCRIBE)
    return tuple(operation for operation in Operation if operation in wanted)


_Right = tuple[Resource, tuple[Operation, ...]]
_READ, _WRITE, _DELETE, _DESCRIBE = Operation.READ, Operation.WRITE, Operation.DELETE, Operation.DESCRIBE


def _topic(name: str, *operations: Operation) -> _Right:
    return Resource(ResourceKind.TOPIC, name), operations


def _group(installation: Installation, name: str, operation: Operation) -> _Right:
    return Resource(ResourceKind.GROUP, f"{installation.settings.application_id}.{name}"), (operation,)


def _decider(installation: Installation, name: str, state_topic: str) -> Iterator[_Right]:
    """Give what every decider needs: its group, under which its readers ask too, its transactions, its state."""
    prefix = f"{installation.settings.application_id}.{name}."
    yield _topic(state_topic, _READ, _WRITE)
    yield _group(installation, name, _READ)
    yield Resource(ResourceKind.TRANSACTIONAL_ID, prefix, Pattern.PREFIXED), (_WRITE,)


def _deciding(installation: Installation) -> Iterator[_Right]:
    """Give what the processes with deciders share: where requests end, and pauses."""
    topics = installation.settings.topics
    for name in installation.results_topics:
        yield _topic(name, _WRITE)
    yield _topic(topics.dead_letters, _WRITE)
    yield _topic(topics.control, _READ, _WRITE)


def _submitter(installation: Installation) -> Iterator[_Right]:
    topics = installation.settings.topics
    yield _topic(topics.requests, _READ)
    yield _topic(topics.links, _WRITE)
    yield _topic(topics.progress, _WRITE)
    yield from _deciding(installation)
    yield _topic(topics.launches, _READ, _WRITE, _DELETE)
    yield _topic(topics.workflows, _WRITE)
    yield from _decider(installation, "preparation", topics.preparation_state)
    yield from _decider(installation, "launch", topics.launch_state)
    if installation.has_rerun:  # Marks stand beside the offsets of completion.
        yield _group(installation, "completion", _DESCRIBE)


def _ingestor(installation: Installation) -> Iterator[_Right]:
    topics = installation.settings.topics
    yield _topic(topics.workflows, _WRITE)
    yield _topic(topics.dead_letters, _WRITE)


def _reconciler(installation: Installation) -> Iterator[_Right]:
    topics = installation.settings.topics
    yield from _deciding(installation)
    yield _topic(topics.launches, _WRITE)
    yield _topic(topics.workflows, _READ, _DELETE)
    yield from _decider(installation, "completion", topics.completion_state)


def _setup(installation: Installation) -> Iterator[_Right]:
    for spec in topic_specs(installation.settings.topics, installation.results_topics):
        yield _topic(spec.name, Operation.CREATE, _DESCRIBE, Operation.DESCRIBE_CONFIGS)
    for decider in DECIDERS:
        yield _group(installation, decider, _DESCRIBE)


def _publisher(installation: Installation) -> Iterator[_Right]:
    yield _topic(installation.settings.topics.requests, _WRITE)


def _consumer(installation: Installation) -> Iterator[_Right]:
    for name in installation.results_topics:
        yield _topic(name, _READ)
    yield _group(installation, "command", _DESCRIBE)


def _operator(installation: Installation) -> Iterator[_Right]:
    topics = installation.settings.topics
    for name in (topics.preparation_state, topics.launch_state, topics.completion_state, topics.dead_letters):
        yield _topic(name, _READ)
    yield _topic(topics.launches, _WRITE)
    yield _topic(topics.workflows, _WRITE)
    yield _topic(topics.control, _READ, _WRITE)
    yield _group(installation, "command", _DESCRIBE)


def _mover(installation: Installation) -> Iterator[_Right]:
    """Give what one end of a move needs, of topics that are there."""
    topics = installation.settings.topics
    yield _topic(topics.requests, _READ)
    for name in INTERNAL_TOPICS:
        yield _topic(getattr(topics, name), _READ, _WRITE)
    for name in (*DECIDERS, "relocation"):
        yield _group(installation, name, _DESCRIBE)
    relocation = f"{installation.settings.application_id}.relocation"
    yield Resource(ResourceKind.TRANSACTIONAL_ID, relocation), (_WRITE,)


_RIGHTS: Final[Mapping[Grantee, Callable[[Installation], Iterator[_Right]]]] = {
    Grantee.SUBMITTER: _submitter,
    Grantee.INGESTOR: _ingestor,
    Grantee.RECONCILER: _reconciler,
    Grantee.SETUP: _setup,
    Grantee.PUBLISHER: _publisher,
    Grantee.CONSUMER: _consumer,
    Grantee.OPERATOR: _operator,
    Grantee.MOVER: _mover,
}
