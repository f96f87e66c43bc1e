"""What the broker does not let us do, asked before we begin: a right that is missing later would end the work halfway.

Brokers tell what a client may do with a topic or group that it describes. Nothing tells it of transactional ids; there
only a trial does.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from processor.adapters.acls import Acl, Operation, ResourceKind

_BEARABLE = frozenset({Operation.DELETE})  # Without it topics grow, and a log line says so.
_DESCRIBED = (ResourceKind.TOPIC, ResourceKind.GROUP)
_REFUSED = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED})


def missing_rights(admin: AdminClient, acls: Sequence[Acl], timeout_s: float) -> list[str]:
    """Return each right on a topic or group that we lack, in words; brokers that tell nothing are taken to allow it."""
    options: dict[str, Any] = {"include_authorized_operations": True, "request_timeout": timeout_s}
    topics, groups = ([acl.resource.name for acl in acls if acl.resource.kind is kind] for kind in _DESCRIBED)
    told = {ResourceKind.TOPIC: admin.describe_topics(TopicCollection(topics), **options)}
    told[ResourceKind.GROUP] = admin.describe_consumer_groups(groups, **options) if groups else {}
    return [
        f"{operation} on {acl.resource.kind} {acl.resource.name}"
        for acl in acls
        if acl.resource.kind in told
        for operation in _lacking(acl.operations, _allowed(told[acl.resource.kind][acl.resource.name], timeout_s))
    ]


def _lacking(wanted: Sequence[Operation], allowed: frozenset[str] | None) -> Iterator[Operation]:
    if allowed is not None:
        yield from (one for one in wanted if one not in _BEARABLE and _word(one) not in allowed)


def _allowed(answer: "Future[Any]", timeout_s: float) -> frozenset[str] | None:
    """Return what we may do, None where the broker does not tell: it need not know a group that nobody joined yet."""
    try:
        told: Any = answer.result(timeout_s).authorized_operations
    except KafkaException as error:
        return frozenset() if error.args[0].code() in _REFUSED else None
    except TimeoutError:
        return None
    return frozenset(one.name for one in told) if told else None


def _word(operation: Operation) -> str:
    """Return an operation in the words of the client."""
    return operation.upper()
