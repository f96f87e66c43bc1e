"""What polls that learn save: the real decider of completion in a simulation of events, without broker or network.

Each workload is run by three rules for polls, with webhooks that are healthy, partly lost, and all lost: every 5 s,
doubling (the plain schedule), and learnt. All hear the same webhooks, and each end is read once, whoever told of it.
The plain rules are run again with that longest wait with which they find ends as fast, on average, as the learnt one.
Deterministic, about two minutes. `.venv/bin/python -m bench.polling`
"""

import heapq
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from statistics import fmean

from processor.core.catalogue import Catalogue, PollPolicy, ResultShape, Workflow
from processor.core.completion import Completion, Fact
from processor.core.messages import Finished, ReadStatus, Started, StatusRead, TimerFired, WebhookReceived
from processor.core.model import DAY_MS, MINUTE_MS, Instant, Origin, Witness
from processor.core.proof import Proof
from processor.core.state import Part

NAME = "person-check"
RUNS, WARM_UP = 1_500, 500  # All runs, and how many of the first are not counted: a process learns once.
HEALTHY_RUNS = 300  # Where webhooks stop altogether, so many runs still had one.
BEGIN: Instant = 1_800_000_000_000
OPEN_RUNS = 40  # About so many run at the same time, so that the first are over when the counted ones begin.
READ_MS = 150  # A status read takes that long.
WEBHOOK_MS = 400  # Median of a webhook's delivery; a few are repeated by the provider after 5 s.
FIXED = PollPolicy(5_714, 5_714)  # Waits are up to a quarter shorter: 5 s on average.


@dataclass(frozen=True, slots=True)
class Workload:
    """How long runs take (log-normal), what share of their webhooks is lost, and how seldom a poll may come."""

    median_s: float
    spread: float
    poll_max_ms: int = 5 * MINUTE_MS
    lost: float = 0
    is_cut: bool = False  # All webhooks stop in the middle of the counted runs.
    calls_s_max: float = 10_000  # What the budget lets through.


@dataclass(frozen=True, slots=True)
class Run:
    """One run as the provider knows it."""

    id: str
    started_at: Instant
    ended_at: Instant
    webhook_at: Instant | None


@dataclass(slots=True)
class Seen:
    """What was seen of one run: its status calls, and when its end was read."""

    calls: list[Instant] = field(default_factory=list)
    end_read_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one rule for one workload."""

    calls: float  # Status calls a run; one of them reads the end, and every rule needs it.
    delay_s: float  # From a run's end to the read that finds it, on average.
    lost_delay_s: float  # The same where the webhook was lost.
    periods_max: float  # The longest such delay, as a part of the wait between the polls around the end.
    calls_s_busiest: float  # Status calls a second in the busiest ten seconds.
    ended: float  # Share of runs that came to their end.


def runs_of(workload: Workload) -> list[Run]:
    """Return the runs of a workload; the same ones for every rule."""
    draw = random.Random(4)
    now, runs = BEGIN, []
    for number in range(RUNS):
        now += round(draw.expovariate(OPEN_RUNS / (1_000 * workload.median_s)))
        ended_at = now + round(1_000 * workload.median_s * math.exp(draw.gauss(0, workload.spread)))
        delivery_ms = WEBHOOK_MS * math.exp(draw.gauss(0, 0.5)) + (5_000 if draw.random() < 0.03 else 0)
        is_lost = draw.random() < workload.lost or (workload.is_cut and number >= WARM_UP + HEALTHY_RUNS)
        runs.append(Run(f"w-{number}", now, ended_at, None if is_lost else ended_at + round(delivery_ms)))
    return runs


class World:
    """The decider, its timers, and a provider that answers truthfully; one event after the other."""

    def __init__(self, runs: list[Run], policy: PollPolicy, *, is_learning: bool, calls_s_max: float) -> None:
        workflow = Workflow(NAME, "definition", result_shape=ResultShape.NONE, poll=policy)
        self._completion = Completion(Catalogue({NAME: workflow}))
        self._is_learning = is_learning
        self._gap_ms = 1_000 / calls_s_max
        self._free_at = float(BEGIN)
        self._runs = {run.id: run for run in runs}
        self._states: dict[str, dict[str, Part]] = {run.id: {} for run in runs}
        self._events: list[tuple[Instant, int, str, Fact]] = []
        self._number = 0
        self.seen = {run.id: Seen() for run in runs}
        for run in runs:
            self._later(run.started_at, run.id, started(run))
            if run.webhook_at is not None:
                self._later(run.webhook_at, run.id, webhook(run))

    def run(self) -> None:
        """Go on until nothing is left but to forget."""
        while self._events:
            now, _, workflow_id, fact = heapq.heappop(self._events)
            self._tell(workflow_id, fact, now)

    def _later(self, at: Instant, workflow_id: str, fact: Fact) -> None:
        self._number += 1
        heapq.heappush(self._events, (at, self._number, workflow_id, fact))

    def _tell(self, workflow_id: str, fact: Fact, now: Instant) -> None:
        state = self._states[workflow_id]
        decision = self._completion.decide(state, fact, now)
        if self._is_learning:
            self._completion = self._completion.taught(fact, decision)
        for name, part in decision.changes.items():
            assert part is not None, "nothing is forgotten in so short a time"
            state[name] = part
        if any(isinstance(output, Finished) for output in decision.outputs):
            self.seen[workflow_id].end_read_at = now
        head = state.get("head")
        is_poll_due = head is not None and not head.is_waiting and bool(decision.changes)
        if head is not None and is_poll_due and head.timer is not None and not head.timer.is_behind_evidence:
            self._later(head.timer.due_at, workflow_id, TimerFired("head", head.timer.due_at))
        for call in decision.calls:
            assert isinstance(call, ReadStatus), "no result is published"
            self._read(call, now)

    def _read(self, call: ReadStatus, now: Instant) -> None:
        """Answer a status read, as soon as the budget lets it through."""
        at = round(max(now, self._free_at))
        self._free_at = max(now, self._free_at) + self._gap_ms
        run = self._runs[call.workflow_id]
        word = "COMPLETED" if at >= run.ended_at else "RUNNING"
        self.seen[run.id].calls.append(at)
        answer = StatusRead(call.attempt, Proof.DONE, word, None, None, None, "HTTP 200")
        self._later(at + READ_MS, run.id, answer)


def started(run: Run) -> Started:
    """Return the custody of a run."""
    at = run.started_at
    origin = Origin(run.id, NAME, None, "onboarding.results", at, at, at + 30 * DAY_MS)
    return Started(origin, run.id, "record", None, "RUNNING", at, Witness.RUN_ANSWER, attempts=1, revision=1)


def webhook(run: Run) -> WebhookReceived:
    """Return a run's webhook."""
    at = run.webhook_at or 0
    return WebhookReceived(run.id, at, "COMPLETED", "workflow", None, None, None, "key", b"")


def figures(workload: Workload, policy: PollPolicy, *, is_learning: bool = False) -> Figures:
    """Run a workload by one rule; the first runs are not counted."""
    runs = runs_of(workload)
    world = World(runs, policy, is_learning=is_learning, calls_s_max=workload.calls_s_max)
    world.run()
    counted = [(run, world.seen[run.id]) for run in runs[WARM_UP:]]
    delays = {run.id: (seen.calls[-1] - run.ended_at) / 1_000 for run, seen in counted}
    lost = [delays[run.id] for run, _ in counted if run.webhook_at is None]
    return Figures(
        calls=fmean(len(seen.calls) for _, seen in counted),
        delay_s=fmean(delays.values()),
        lost_delay_s=fmean(lost) if lost else 0,
        periods_max=max((periods(run, seen) for run, seen in counted if run.webhook_at is None), default=0),
        calls_s_busiest=busiest(world.seen.values()),
        ended=fmean(seen.end_read_at is not None for _, seen in counted),
    )


def periods(run: Run, seen: Seen) -> float:
    """Return how long a lost webhook's end stayed unseen, in waits between two polls."""
    before = seen.calls[-2] if len(seen.calls) > 1 else run.started_at
    return (seen.calls[-1] - run.ended_at) / max(1, seen.calls[-1] - before)


def busiest(all_seen: Iterable[Seen]) -> float:
    """Return the calls a second in the busiest ten seconds."""
    counts = Counter(at // 10_000 for seen in all_seen for at in seen.calls)
    return max(counts.values(), default=0) / 10


def as_fast(workload: Workload, delay_s: float, policy_of: Callable[[int], PollPolicy]) -> Figures:
    """Return the figures of a rule with the longest wait that finds ends in that time, on average."""
    low, high = 1_000, 3_600_000
    while high > low * 1.03:
        middle = round(math.sqrt(low * high))
        low, high = (middle, high) if figures(workload, policy_of(middle)).delay_s <= delay_s else (low, middle)
    return figures(workload, policy_of(low))


def rows_of(workload: Workload) -> dict[str, Figures]:
    """Return the figures of all rules; those that are tuned where there is a delay to tune them to."""
    plain = PollPolicy(max_ms=workload.poll_max_ms)
    learnt = figures(workload, plain, is_learning=True)
    rows = {"every 5 s": figures(workload, FIXED), "doubling": figures(workload, plain), "learnt": learnt}
    if workload.lost:
        rows["fixed, as fast"] = as_fast(workload, learnt.delay_s, lambda ms: PollPolicy(ms, ms))
        rows["doubling, as fast"] = as_fast(
            workload, learnt.delay_s, lambda ms: PollPolicy(max_ms=max(plain.first_ms, ms))
        )
    return rows


def main() -> None:
    """Print the table."""
    shapes = [Workload(20, 0.5), Workload(180, 0.3), Workload(180, 0.7)]
    workloads = [replace(shape, lost=lost) for shape in shapes for lost in (0, 0.02, 0.05, 1)]
    workloads += [Workload(1_800, 0.7), Workload(1_800, 0.7, poll_max_ms=60 * MINUTE_MS)]
    workloads += [Workload(180, 0.7, is_cut=True), Workload(180, 0.7, lost=1, calls_s_max=1)]
    print("runs take       lost  rule                calls  saved  delay s  lost: delay s  periods  busiest/s  ended")
    for workload in workloads:
        rows = rows_of(workload)
        for name, row in rows.items():
            lost = "cut" if workload.is_cut else f"{workload.lost:.0%}"
            print(
                f"{workload.median_s:>5} s +-{workload.spread:<4}  {lost:>4}  {name:<18}{row.calls:>7.2f}"
                f"{1 - rows['learnt'].calls / row.calls:>7.0%}{row.delay_s:>9.2f}{row.lost_delay_s:>15.1f}"
                f"{row.periods_max:>9.2f}{row.calls_s_busiest:>11.2f}{row.ended:>7.0%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
