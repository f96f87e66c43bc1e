"""What roles cannot work without: topics and rights on the broker, schemas in the registry; asked until they are there.

All of it may be asked while others do the same work, except by `find_transactions`.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from processor.adapters.acls import Acl, Grantee, Operation, ResourceKind, acls_of, installation_of
from processor.adapters.kafka_trouble import Trouble
from processor.adapters.rights import missing_rights
from processor.adapters.transactions import make_producer, release
from processor.errors import BrokerUnavailable, FatalError, ProcessorError, SettingsInvalid
from processor.kafka_config import client_config, producer_config
from processor.roles.surroundings import Surroundings

RETRY_S = 2.0

Found = TypeVar("Found")


async def wait_for(step: Callable[[], Found], tell: Callable[[ProcessorError], None]) -> Found:
    """Repeat a step, which blocks on a thread, until it succeeds; `tell` hears each time why it does not."""
    while True:
        try:
            return await asyncio.to_thread(step)
        except ProcessorError as error:
            tell(error)
            await asyncio.sleep(RETRY_S)


def find_topics(around: Surroundings, deciders: tuple[str, ...]) -> Mapping[str, int]:
    """Return how many partitions the input of each decider has; without deciders, see that webhooks can be written.

    Raises BrokerUnavailable, SettingsInvalid.
    """
    topics = around.settings.topics
    mine = {
        "preparation": (topics.requests, topics.preparation_state, topics.launches),
        "launch": (topics.launches, topics.launch_state, topics.workflows),
        "completion": (topics.workflows, topics.completion_state, topics.launches),
    }
    everyones = (
        (topics.control, topics.dead_letters, *around.event_topics(deciders)) if deciders else (topics.workflows,)
    )
    wanted = dict.fromkeys([*everyones, *(topic for name in deciders for topic in mine[name])])
    timeout_s = around.settings.kafka.operation_timeout_s
    counts: dict[str, int | None] = {}
    trouble = Trouble()
    try:
        admin = AdminClient(client_config(around.settings, "start") | {"error_cb": trouble})
    except KafkaException as error:  # A file that its properties name has changed since they were tried out.
        raise BrokerUnavailable(f"no client of Kafka can be made: {error.args[0].name()}") from error
    for topic in wanted:
        try:
            found = admin.list_topics(topic, timeout=timeout_s).topics[topic]
        except KafkaException as error:
            admin.poll(0)
            raise BrokerUnavailable(f"Kafka does not answer: {error.args[0].name()}{trouble.told()}") from error
        if found.error is None:
            counts[topic] = len(found.partitions)
        elif found.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            counts[topic] = None  # It is told with everything else that we may not do.
        else:
            raise SettingsInvalid(f"topic {topic} is not there: run `processor topics create`")
    lacking = missing_rights(admin, _rights(around, deciders), timeout_s)
    allowed = counts_allowed(counts, lacking)
    return {name: allowed[mine[name][0]] for name in deciders}


def counts_allowed(counts: Mapping[str, int | None], lacking: Sequence[str]) -> Mapping[str, int]:
    """Return how many partitions each topic has, None standing for one that the broker refuses us.

    Raises SettingsInvalid where one is refused or a right is lacking: which, a broker that is slow may not tell.
    """
    allowed = {topic: count for topic, count in counts.items() if count is not None}
    refused = [f"{Operation.DESCRIBE} on {ResourceKind.TOPIC} {topic}" for topic in counts if topic not in allowed]
    if lacking or refused:
        told = ", ".join(lacking or refused)
        raise SettingsInvalid(f"our user has no right to {told}: see `processor topics acls`")
    return allowed


def _rights(around: Surroundings, deciders: tuple[str, ...]) -> Sequence[Acl]:
    """Return what a process with these deciders needs; one without any takes webhooks."""
    roles = {Grantee.RECONCILER if name == "completion" else Grantee.SUBMITTER for name in deciders}
    return acls_of(roles or (Grantee.INGESTOR,), installation_of(around.settings, around.catalogue))


def find_transactions(around: Surroundings, deciders: tuple[str, ...]) -> None:
    """See that each decider may write in transactions, by beginning as it will: no broker tells of that right.

    Whoever writes under the same id is shut out. Raises BrokerUnavailable, SettingsInvalid.
    """
    with ThreadPoolExecutor(len(deciders)) as pool:  # Each waits for its coordinator.
        refusals = [*filter(None, pool.map(partial(_refused_transactions, around), deciders))]
    if refusals:
        raise SettingsInvalid(f"{', '.join(refusals)}: see `processor topics acls`")


def _refused_transactions(around: Surroundings, decider: str) -> str:
    """Return what is refused and which right that may be, an empty text where nothing is."""
    config = producer_config(around.settings, decider, around.start_id)
    try:
        release(make_producer(config, decider, around.settings.kafka.operation_timeout_s))
    except FatalError as error:
        acls = [acl for acl in _rights(around, (decider,)) if acl.resource.kind is ResourceKind.TRANSACTIONAL_ID]
        (prefix,) = (name for acl in acls if config["transactional.id"].startswith(name := acl.resource.name))
        return f"{error} (our user needs {Operation.WRITE} on {ResourceKind.TRANSACTIONAL_ID} {prefix})"
    return ""


def find_schemas(around: Surroundings, deciders: tuple[str, ...]) -> None:
    """See that the registry holds the schema of every event that these deciders write.

    Raises RegistryUnavailable, SettingsInvalid.
    """
    around.make_encoder().warm(around.event_topics(deciders))
