"""How a producer is let into its transactions: in steps, of which the last may be a refusal."""

from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError, KafkaException

from processor.adapters.transactions import initialise

LATE = KafkaError(KafkaError._TIMED_OUT, retriable=True)  # noqa: SLF001  # librdkafka's name for it
UNREADY = KafkaError(KafkaError.NOT_COORDINATOR, retriable=True)  # Said instead of the time-out where it is why.
REFUSED = KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, fatal=True)


class Initialising:
    """A producer's initialisation, each step of which ends with an error, or without one."""

    def __init__(self, *ends: KafkaError | None) -> None:
        self.ends: Iterator[KafkaError | None] = iter(ends)

    def step(self, timeout_s: float) -> None:
        """Take one step."""
        assert timeout_s > 0
        error = next(self.ends)
        if error is not None:
            raise KafkaException(error)


def test_what_takes_longer_than_a_step_is_asked_for_again() -> None:
    """It goes on behind our back, and is resumed."""
    initialising = Initialising(LATE, UNREADY, None)
    initialise(initialising.step, timeout_s=20)
    assert not [*initialising.ends]


@pytest.mark.parametrize("ends, timeout_s, told", [((LATE, REFUSED, None), 20, REFUSED), ((UNREADY, None), 0, UNREADY)])
def test_a_refusal_is_told_at_once_and_why_it_is_late_when_time_is_up(
    ends: tuple[KafkaError | None, ...], timeout_s: float, told: KafkaError
) -> None:
    """What is left is not asked for."""
    initialising = Initialising(*ends)
    with pytest.raises(KafkaException) as raised:
        initialise(initialising.step, timeout_s)
    assert raised.value.args[0] is told
    assert [*initialising.ends] == [None]
