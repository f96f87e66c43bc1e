"""What the log says of a provider that asks us to wait."""

from collections.abc import Iterator

import structlog
from prometheus_client import CollectorRegistry

from processor.core.catalogue import Catalogue
from processor.roles.call_listener import CallListener, Told
from processor.telemetry import Metrics


def listener(name: str, times_s: Iterator[float]) -> CallListener:
    """Give the listener of a profile, with a clock that shows these times."""
    return CallListener(name, Metrics(CollectorRegistry()), Catalogue({}), Told(), clock=lambda: next(times_s))


def test_a_provider_that_asks_to_wait_is_told_once_a_minute() -> None:
    """The line says for how long, how many waits were not told, and what helps."""
    one = listener("default", iter([10.0, 15.0, 69.9, 70.0]))
    with structlog.testing.capture_logs() as lines:
        for _ in range(4):
            one.throttled(4.321)
    why = "if this comes often, set PROCESSOR_API__CALLS_PER_SECOND_MAX to what the provider allows"
    line = {"event": "provider.throttled", "log_level": "warning", "provider": "default", "seconds": 4.3, "why": why}
    assert lines == [{**line, "suppressed": 0}, {**line, "suppressed": 2}]


def test_each_profile_has_a_setting_of_its_own_that_helps() -> None:
    """The line names the variable of the profile that is asked to wait."""
    with structlog.testing.capture_logs() as lines:
        listener("north-1", iter([0.0])).throttled(1.0)
    assert "set PROCESSOR_PROVIDERS__NORTH_1__CALLS_PER_SECOND_MAX " in lines[0]["why"]
