"""Which librdkafka properties an operator may pass through, and which we refuse because a promise rests on them.

Nothing is connected here: a property is tried on a client that is never made.
"""

from collections.abc import Iterator, Mapping

from confluent_kafka import Consumer, KafkaException

_IN_TRANSACTION = "offsets are committed in the transaction; leave it out"
_IDEMPOTENT = "the producers are idempotent and acknowledged by all replicas; leave it out"
_STATIC = "static membership is not supported; leave it out, and name the instance by PROCESSOR_KAFKA__INSTANCE_NAME"

REFUSED_PROPERTIES: Mapping[str, str] = {
    "bootstrap.servers": "set PROCESSOR_KAFKA__BOOTSTRAP_SERVERS",
    "metadata.broker.list": "set PROCESSOR_KAFKA__BOOTSTRAP_SERVERS",
    "group.id": "it follows from PROCESSOR_APPLICATION_ID; set that",
    "group.protocol": "set PROCESSOR_KAFKA__GROUP_PROTOCOL",
    "group.instance.id": _STATIC,
    "enable.auto.commit": _IN_TRANSACTION,
    "auto.commit.enable": _IN_TRANSACTION,
    "auto.commit.interval.ms": _IN_TRANSACTION,
    "enable.auto.offset.store": _IN_TRANSACTION,
    "isolation.level": "only committed records may be read; leave it out",
    "auto.offset.reset": "a first start reads from the beginning; later a missing offset must stay an error",
    "enable.partition.eof": "a restore needs it; leave it out",
    "check.crcs": "a broken record must be noticed; leave it out",
    "partition.assignment.strategy": "partitions must move cooperatively; leave it out",
    "max.poll.interval.ms": "set PROCESSOR_KAFKA__MAX_POLL_INTERVAL_MS",
    "session.timeout.ms": "set PROCESSOR_KAFKA__SESSION_TIMEOUT_MS",
    "transactional.id": "it is made at each start from PROCESSOR_APPLICATION_ID; leave it out",
    "transaction.timeout.ms": "set PROCESSOR_KAFKA__TRANSACTION_TIMEOUT_MS",
    "enable.idempotence": _IDEMPOTENT,
    "acks": _IDEMPOTENT,
    "request.required.acks": _IDEMPOTENT,
    "max.in.flight": _IDEMPOTENT,
    "max.in.flight.requests.per.connection": _IDEMPOTENT,
    "retries": _IDEMPOTENT,
    "message.send.max.retries": _IDEMPOTENT,
    "partitioner": "keys must meet in the partitions that Java clients choose (murmur2_random); leave it out",
    "default.topic.config": "name its properties one by one",
    "logger": "logs go where PROCESSOR_LOGGING__FORMAT says; leave it out",
}

# With group.protocol=consumer (KIP-848) these belong to the broker, and librdkafka refuses to start with them.
REFUSED_WITH_CONSUMER_PROTOCOL: Mapping[str, str] = {
    "heartbeat.interval.ms": "with group protocol consumer it is group.consumer.heartbeat.interval.ms of the broker",
    "group.protocol.type": "it has no meaning with group protocol consumer; leave it out",
}

# Endings of properties whose values are files: of certificates, keys, authorities, assertions.
FILE_ENDINGS = (".location", ".keytab", ".file")

# Those that only their own path will do for: code that is loaded, what another program reads, and an assertion, which
# librdkafka reads anew for each token.
FILES_IN_PLACE = frozenset({"ssl.engine.location", "sasl.kerberos.keytab", "sasl.oauthbearer.assertion.file"})

_SECRET_WORDS = ("password", "secret", "pem", "jaas", "token", "sasl.oauthbearer.config")
_NO_SUCH_PROPERTY = "processor.probe"


def property_problems(properties: Mapping[str, str], group_protocol: str) -> Iterator[str]:
    """Yield a sentence for each property that we refuse or that librdkafka does not take; no value is repeated."""
    refused = dict(REFUSED_PROPERTIES)
    if group_protocol == "consumer":
        refused |= REFUSED_WITH_CONSUMER_PROTOCOL
    for name, value in properties.items():
        if name in refused:
            yield f"{name} may not be passed through: {refused[name]}"
        elif why := _refusal(name, value):
            yield f"{name}: {why}"


def is_secret_property(name: str) -> bool:
    """Whether the value of a librdkafka property must not be shown."""
    return any(word in name for word in _SECRET_WORDS)


def _refusal(name: str, value: str) -> str | None:
    """Return why librdkafka does not take a property, or None.

    Properties are read in order and the first bad one is named, so a second one that does not exist keeps the
    client from being made and tells that the first was fine.
    """
    try:
        Consumer({"group.id": "probe", name: value, _NO_SUCH_PROPERTY: ""})
    except KafkaException as error:
        text = str(error.args[0].str())
        if f'"{_NO_SUCH_PROPERTY}"' in text:
            return None
        if "No such configuration property" in text:
            return "librdkafka knows no such property; look it up in its CONFIGURATION.md"
        if "callable" not in text:
            return "librdkafka does not take this value; look it up in its CONFIGURATION.md"
    except (TypeError, AttributeError):
        pass
    return "it is a callback of the program, not a text; leave it out"
