"""What came of a demo's requests: pure counting and the verdict."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from processor.core.model import Instant

Event = Mapping[str, Any]  # A public event under the names of its schema.


@dataclass(frozen=True, slots=True)
class ResultSeen:
    """One result event and when it was written."""

    event: Event
    at: Instant


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether every request has exactly one result, and how they ended."""

    requests: int
    events: int  # Request events on the topic, those published again included.
    results: int
    missing: tuple[str, ...]
    doubled: tuple[str, ...]
    unasked: tuple[str, ...]  # Results of requests that nobody made.
    outcomes: Mapping[str, int]
    reasons: Mapping[str, int]
    witnesses: Mapping[str, int]
    workflows_executed: int
    workflows_surplus: int  # Executed at the provider, more than requests can account for.
    p50_ms: int | None
    p99_ms: int | None

    @property
    def is_good(self) -> bool:
        """Say whether each request has its one result, and none was run twice."""
        return not (self.missing or self.doubled or self.unasked or self.workflows_surplus)


@dataclass(slots=True)
class Board:
    """How many requests have got how far; filled by the thread that reads the topics."""

    requests: int
    published: int = 0
    accepted: set[str] = field(default_factory=set)
    started: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    finished: set[str] = field(default_factory=set)

    @property
    def is_complete(self) -> bool:
        """Say whether a result of every request was seen."""
        return len(self.finished) >= self.requests

    def progressed(self, event: Event) -> None:
        """Count one step; a step that is told again counts once."""
        step = {"ACCEPTED": self.accepted, "STARTED": self.started, "HELD": self.held}.get(event["step"])
        if step is not None:
            step.add(event["requestId"])

    def fate_of(self, request_id: str) -> str:
        """Say how far a request without a result came."""
        if request_id in self.held:
            return "held: whether its workflow runs is not known"
        if request_id in self.started:
            return "its workflow was started"
        return "accepted" if request_id in self.accepted else "not accepted"


def judged(
    request_ids: Iterable[str],
    published: Mapping[str, Instant],
    events: int,
    results: Sequence[ResultSeen],
    executed: Iterable[str],
) -> Verdict:
    """Return the verdict.

    `published` says when the first event of each request stood on the topic, `results` are all there are, `executed`
    the ids of workflows that the provider ran.
    """
    firsts = [seen for seen in results if seen.event["revision"] == 1]
    counts = Counter(str(seen.event["requestId"]) for seen in firsts)
    asked, ran = set(request_ids), set(executed)
    missing = asked - set(counts)
    unclaimed = ran - {str(seen.event["workflowId"]) for seen in firsts}
    waits = sorted(
        max(0, seen.at - published[seen.event["requestId"]]) for seen in firsts if seen.event["requestId"] in published
    )
    return Verdict(
        requests=len(asked),
        events=events,
        results=len(firsts),
        missing=tuple(sorted(missing)),
        doubled=tuple(sorted(request_id for request_id, count in counts.items() if count > 1)),
        unasked=tuple(sorted(set(counts) - asked)),
        outcomes=_counted(firsts, "outcome"),
        reasons=_counted(firsts, "reason"),
        witnesses=_counted(firsts, "completedBy"),
        workflows_executed=len(ran),
        workflows_surplus=max(0, len(unclaimed) - len(missing)),
        p50_ms=percentile(waits, 50),
        p99_ms=percentile(waits, 99),
    )


def percentile(ordered: Sequence[int], percent: int) -> int | None:
    """Return the nearest rank of ordered values; None when there are none."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else None


def examples(results: Sequence[ResultSeen], count: int) -> list[Event]:
    """Choose results that differ: each next one brings an outcome or a witness that was not there yet, if one can."""
    left = [seen.event for seen in results]
    chosen: list[Event] = []
    while left and len(chosen) < count:
        known = {word for event in chosen for word in (event["outcome"], event["completedBy"])}
        news = [len({event["outcome"], event["completedBy"]} - known) for event in left]
        chosen.append(left.pop(news.index(max(news))))
    return chosen


def _counted(results: Iterable[ResultSeen], member: str) -> Mapping[str, int]:
    return Counter(str(seen.event[member]) for seen in results if seen.event[member] is not None)
