"""What a Kafka error of the transactional producer means: one table, measured row by row.

Source: docs/kafka-rules.md. A fatal error never means "not committed", and an error without a flag is fatal
(librdkafka's own advice).
"""

from dataclasses import dataclass
from enum import Enum, auto


class Step(Enum):
    """Where in a transaction the error was raised."""

    BEGIN = auto()
    PRODUCE = auto()
    SEND_OFFSETS = auto()
    COMMIT = auto()
    ABORT = auto()
    INIT = auto()


class Remedy(Enum):
    """What to do about it."""

    RETRY = auto()  # The same call again.
    ABORT = auto()  # Abort, poll, check what is still ours, decide the facts again.
    REPLACE = auto()  # Nothing was committed: new producer, decide the facts again.
    READ_BACK = auto()  # The outcome is unknown: new producer, and let the tokens tell.
    STOP = auto()  # We lack the rights, or the broker cannot do this at all.


@dataclass(frozen=True, slots=True)
class KafkaFailure:
    """An error of librdkafka as plain values; `name` is its code, for example `ILLEGAL_GENERATION`."""

    name: str
    is_fatal: bool
    is_retriable: bool
    requires_abort: bool


_REFUSED = frozenset(
    {
        "TOPIC_AUTHORIZATION_FAILED",
        "GROUP_AUTHORIZATION_FAILED",
        "CLUSTER_AUTHORIZATION_FAILED",
        "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
        "UNSUPPORTED_VERSION",
        "INVALID_TRANSACTION_TIMEOUT",
    },
)


def remedy_for(step: Step, failure: KafkaFailure) -> Remedy:
    """Say what an error of the transactional producer demands at this step."""
    if failure.name in _REFUSED:
        return Remedy.STOP
    is_final = failure.is_fatal or failure.name == "_FENCED"  # Fenced is final by name, whatever its flags say.
    if step is Step.COMMIT:
        return Remedy.ABORT if failure.requires_abort and not is_final else Remedy.READ_BACK
    if is_final:
        return Remedy.REPLACE
    if failure.requires_abort:
        return Remedy.ABORT
    if failure.is_retriable:
        return Remedy.RETRY if step in {Step.INIT, Step.ABORT} else Remedy.ABORT
    return Remedy.REPLACE
