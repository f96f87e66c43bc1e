"""What a storm publishes and whom it kills, and when: drawn from one seed before it begins."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import TypeAlias

from tests.storm.kinds import DEADLINE_S, KINDS, POOLS, SHORT_DEADLINE_S, Kind
from tests.support.onboarding import Request

REFUSED_NAME = "simulator-refuses-run"  # The simulated provider refuses to run a workflow for such a record.

EARLY = 0.6  # What may be repeated is published before so much of the storm is over.


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish a request that ends some seconds later; `record` is the pool and number of the one that it is for."""

    at_s: float
    request: Request
    deadline_s: float = DEADLINE_S
    record: tuple[str, int] | None = None


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
    """Let a workspace of the provider crash, and start it again some seconds later."""

    at_s: float
    for_s: float
    provider: str


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
    people: int = 40
    rubbish: int = 12
    no_key_rate: float = 0.03
    repeated_rate: float = 0.04
    conflict_rate: float = 0.005
    refused_rate: float = 0.01
    short_rate: float = 0.25  # Of what an end user starts.
    second_link_rate: float = 0.35
    third_link_rate: float = 0.1
    link_gap_s_max: float = 20.0


def scaled(shape: Shape, scale: float) -> Shape:
    """Return a storm that rages longer or shorter, just as hard."""
    return replace(
        shape,
        requests=round(shape.requests * scale),
        publishing_s=shape.publishing_s * scale,
        kills=round(shape.kills * scale),
        outages=max(1, round(shape.outages * scale)),
    )


def plan(shape: Shape, seed: int) -> list[Event]:
    """Draw a whole storm, in order of time."""
    source = Random(seed)
    events = [*_requests(shape, source), *_rubbish(shape, source), *_kills(shape, source), *_outages(shape, source)]
    return sorted(events, key=lambda event: event.at_s)


def _requests(shape: Shape, source: Random) -> Iterator[Event]:
    """Draw the requests; some are published again later, and some of those say something else then."""
    names, shares = [*KINDS], [kind.share for kind in KINDS.values()]
    for number in range(shape.requests):
        (name,) = source.choices(names, shares)
        first = _request(shape, source, f"r-{number:05}", name)
        yield first
        if first.request.key is None:
            continue
        drawn = source.random()
        if drawn < shape.repeated_rate:
            other = _saying_else(first.request) if drawn < shape.conflict_rate else first.request
            yield replace(first, at_s=source.uniform(first.at_s, shape.publishing_s), request=other)
        if KINDS[name].terms.has_user:
            yield from _further_links(shape, source, first)


def _request(shape: Shape, source: Random, request_id: str, name: str) -> Publish:
    kind = KINDS[name]
    key = None if source.random() < shape.no_key_rate else f"customer-{source.randrange(shape.keys)}"
    reference = f"S-{request_id}"
    if kind.terms.is_reusing:
        key = reference = f"person-{source.randrange(shape.people)}"
    is_refused = source.random() < shape.refused_rate
    last_name = REFUSED_NAME if is_refused and kind.terms.is_own else f"Example-{request_id}"
    subject = {"reference": reference, "lastName": last_name, "email": "ada@example.test"}
    if kind.terms.is_reusing:
        subject["lastName"] = f"Example-{reference}"
    request = Request(request_id, key, name, more={"subject": subject})
    at_s = source.uniform(0, shape.publishing_s * (EARLY if kind.terms.may_rerun else 1))
    record = None if kind.pool is None else (kind.pool, source.randrange(POOLS[kind.pool]))
    return Publish(at_s, request, _deadline_s(shape, source, kind), record)


def _deadline_s(shape: Shape, source: Random, kind: Kind) -> float:
    if kind.terms.may_rerun:  # It takes time to know that there is no evidence.
        return DEADLINE_S + shape.publishing_s * (1 - EARLY)
    is_short = kind.terms.has_user and source.random() < shape.short_rate
    return SHORT_DEADLINE_S if is_short else DEADLINE_S


def _saying_else(request: Request) -> Request:
    """Return a request of the same id with other content."""
    return replace(request, more={"subject": {**request.more["subject"], "lastName": "Somebody Else"}})


def _further_links(shape: Shape, source: Random, first: Publish) -> Iterator[Event]:
    """Draw when one more link is asked for, some of them twice, and some too late."""
    at_s, drawn = first.at_s, source.random()
    for number, rate in ((2, shape.second_link_rate), (3, shape.third_link_rate)):
        at_s += source.uniform(0, shape.link_gap_s_max)
        if drawn >= rate or at_s > shape.publishing_s:
            return
        more = replace(first.request, more={**first.request.more, "linkAttempt": number})
        for _ in range(1 + (source.random() < shape.repeated_rate)):
            yield replace(first, at_s=at_s, request=more)


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
    """Draw one outage of each workspace for each part of the storm, so that no two of one overlap."""
    part_s = shape.publishing_s / shape.outages
    for number in range(shape.outages):
        for provider in ("default", "second"):
            at_s = number * part_s + source.uniform(5, part_s - 5)
            yield Outage(at_s, for_s=source.uniform(1, 4), provider=provider)
