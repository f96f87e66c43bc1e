"""What the engine tells, as gauges: which partitions are being restored, and which have stopped."""

from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry

from processor.roles.observer import EngineObserver
from processor.telemetry import Metrics

Telling = Callable[[EngineObserver], object]


def standing(*tellings: Telling) -> tuple[float | None, float | None, float | None]:
    """Return how many partitions are restored, what is left to read of them, and how many have stopped."""
    registry = CollectorRegistry()
    observer = EngineObserver("launch", Metrics(registry))
    for telling in tellings:
        telling(observer)
    names = ("restoring_partitions", "restore_remaining_records", "stopped_partitions")
    one, two, three = (registry.get_sample_value(f"onboarding_{name}", {"decider": "launch"}) for name in names)
    return one, two, three


def came(observer: EngineObserver) -> None:
    """Three partitions come."""
    observer.assigned([1, 2, 3])


@pytest.mark.parametrize(
    "tellings,expected",
    [
        ([], (0, 0, 0)),
        ([came], (3, 0, 0)),
        ([came, lambda o: o.restoring(1, 10, 70), lambda o: o.restoring(2, 10, 30)], (3, 100, 0)),
        ([came, lambda o: o.restoring(1, 10, 70), lambda o: o.restored(2, 5, 0.1)], (2, 70, 0)),
        ([came, lambda o: o.restoring(1, 10, 70), lambda o: o.stopped(1, "why")], (2, 0, 1)),
        ([came, lambda o: o.restored(1, 5, 0.1), lambda o: o.stopped(1, "why")], (2, 0, 1)),
        ([came, lambda o: o.stopped(1, "why"), lambda o: o.revoked([1, 2, 3], 0.1, calls_left=0)], (0, 0, 0)),
        ([came, lambda o: o.stopped(1, "why"), lambda o: o.lost([1])], (2, 0, 0)),
        ([came, lambda o: o.stopped(1, "why"), lambda o: o.lost([1]), lambda o: o.assigned([1])], (3, 0, 0)),
    ],
)
def test_gauges_say_how_partitions_stand_now(tellings: list[Telling], expected: tuple[float, float, float]) -> None:
    """A partition counts from when it comes until it is restored, stops, or goes; what went has not stopped here."""
    assert standing(*tellings) == expected
