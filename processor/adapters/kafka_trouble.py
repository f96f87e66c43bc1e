"""What librdkafka last complained about, so that a command can say why it had no answer."""

from typing import Any

from confluent_kafka import KafkaError, KafkaException

from processor.errors import BrokerUnavailable, FatalError, ProcessorError

_REFUSED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "access to the topic",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "access to the cluster",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "access to the group",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "access to the transactional id",
}


class Trouble:
    """The latest complaint of one client; give it as `error_cb`. It names brokers and causes, never content."""

    def __init__(self) -> None:
        self._latest = ""

    def __call__(self, error: KafkaError) -> None:
        """Remember a complaint; that all brokers are down only says that there were others before."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN or not self._latest:  # noqa: SLF001  # public by use
            self._latest = error.str()

    def because(self, what: str, error: KafkaException | KafkaError | Exception) -> ProcessorError:
        """Return what an error of Kafka means to a person: wait for the broker, or grant what it refused."""
        cause: Any = error.args[0] if isinstance(error, KafkaException) else error
        if not isinstance(cause, KafkaError):
            return BrokerUnavailable(f"{what}: no answer in time{self._latest_told()}")
        if cause.code() in _REFUSED:
            return FatalError(f"{what}: the broker refuses {_REFUSED[cause.code()]}; grant it to our user")
        return BrokerUnavailable(f"{what}: {cause.str() or cause.name()}{self._latest_told()}")

    def _latest_told(self) -> str:
        return f" (latest complaint: {self._latest})" if self._latest else ""
