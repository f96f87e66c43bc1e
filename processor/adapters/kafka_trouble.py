"""What librdkafka last complained about, so that a command can say why it had no answer."""

import re
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from processor.errors import BrokerUnavailable, FatalError, ProcessorError

_REFUSED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "access to the topic",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "access to the cluster",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "access to the group",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "access to the transactional id",
}
# When, and how often: a complaint that comes again is the same complaint.
_OCCASION = re.compile(r" \(after \d+ms in state [^)]*\)")
_TELLING = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL})  # noqa: SLF001  # public by use


class Trouble:
    """The latest complaint of one client; give it as `error_cb`. It names brokers and causes, never content."""

    def __init__(self) -> None:
        self._latest = ""
        self._is_telling = False

    def __call__(self, error: KafkaError) -> None:
        """Remember a complaint; one that says why we are refused outlives those that only say that nobody is there."""
        is_telling = error.code() in _TELLING
        is_vague = error.code() == KafkaError._ALL_BROKERS_DOWN  # noqa: SLF001  # public by use
        if is_telling or not (self._is_telling or (is_vague and self._latest)):
            self._latest, self._is_telling = _OCCASION.sub("", error.str()), is_telling

    def because(self, what: str, error: KafkaException | KafkaError | Exception) -> ProcessorError:
        """Return what an error of Kafka means to a person: wait for the broker, or grant what it refused."""
        cause: Any = error.args[0] if isinstance(error, KafkaException) else error
        if not isinstance(cause, KafkaError):
            return BrokerUnavailable(f"{what}: no answer in time{self.told()}")
        if cause.code() in _REFUSED:
            return FatalError(f"{what}: the broker refuses {_REFUSED[cause.code()]}; grant it to our user")
        return BrokerUnavailable(f"{what}: {cause.str() or cause.name()}{self.told()}")

    def told(self) -> str:
        """Return the latest complaint in brackets, an empty text where there is none."""
        return f" (latest complaint: {self._latest})" if self._latest else ""
