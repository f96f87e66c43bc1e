"""What a storm publishes and whom it kills, and when: drawn from one seed before it begins."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import TypeAlias

from tests.support.onboarding import Request

REFUSED_NAME = "simulator-refuses-run"  # The simulated provider refuses to run a workflow for such a record.


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish a request."""

    at_s: float
    request: Request


@dataclass(frozen=True, slots=True)
class PublishRubbish:
    """Publish a request that nobody can decode."""

    at_s: float
    key: str
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill one of the workers and start it again a moment later."""

    at_s: float
    worker: int
    pause_s: float


@dataclass(frozen=True, slots=True)
class Outage:
    """Let the provider crash, and start it again some seconds later."""

    at_s: float
    for_s: float


Event: TypeAlias = Publish | PublishRubbish | Kill | Outage


@dataclass(frozen=True, slots=True)
class Shape:
    """How much of everything."""

    requests: int = 3_000
    publishing_s: float = 65.0
    kills: int = 33
    gap_s_min: float = 1.0  # Closer together, and nobody lives long enough to be at work when it is killed.
    gap_s_max: float = 3.3
    workers: int = 3
    outages: int = 2
    keys: int = 300
    rubbish: int = 12
    no_key_rate: float = 0.03
    repeated_rate: float = 0.04
    conflict_rate: float = 0.005
    refused_rate: float = 0.01


def plan(shape: Shape, seed: int) -> list[Event]:
    """Draw a whole storm, in order of time."""
    source = Random(seed)
    events = [*_requests(shape, source), *_rubbish(shape, source), *_kills(shape, source), *_outages(shape, source)]
    return sorted(events, key=lambda event: event.at_s)


def _requests(shape: Shape, source: Random) -> Iterator[Event]:
    """Draw the requests; some are published again later, and some of those say something else then."""
    for number in range(shape.requests):
        at_s = source.uniform(0, shape.publishing_s)
        key = None if source.random() < shape.no_key_rate else f"customer-{source.randrange(shape.keys)}"
        name = REFUSED_NAME if source.random() < shape.refused_rate else f"Example-{number}"
        request = Request(f"r-{number:05}", key, last_name=name)
        yield Publish(at_s, request)
        drawn = source.random()
        if key is not None and drawn < shape.repeated_rate:
            other = replace(request, last_name="Somebody Else") if drawn < shape.conflict_rate else request
            yield Publish(source.uniform(at_s, shape.publishing_s), other)


def _rubbish(shape: Shape, source: Random) -> Iterator[Event]:
    for number in range(shape.rubbish):
        value = None if number % 3 == 0 else source.randbytes(number)
        yield PublishRubbish(source.uniform(0, shape.publishing_s), f"customer-{source.randrange(shape.keys)}", value)


def _kills(shape: Shape, source: Random) -> Iterator[Event]:
    at_s = 0.0
    for _ in range(shape.kills):
        at_s += source.uniform(shape.gap_s_min, shape.gap_s_max)
        yield Kill(at_s, source.randrange(shape.workers), pause_s=source.uniform(0, 1))


def _outages(shape: Shape, source: Random) -> Iterator[Event]:
    """Draw one outage for each part of the storm, so that no two overlap."""
    part_s = shape.publishing_s / shape.outages
    for number in range(shape.outages):
        yield Outage(number * part_s + source.uniform(5, part_s - 5), for_s=source.uniform(1, 4))
