"""How much input of the deciders here is still to be decided: looked up now and then, beside their work.

A consumer knows the end of a partition only while it reads, and intake that is paused reads nothing: just then it
matters most. So the broker is asked.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping

from processor.engine.partition import Partition, is_running
from processor.errors import BrokerUnavailable
from processor.telemetry import EngineMetrics

LAG_S = 15.0

Ends = Callable[[Collection[tuple[str, int]]], Mapping[tuple[str, int], int]]


class LagWatch:
    """Measures the lag of each decider for ever; belongs to the running event loop."""

    def __init__(
        self, find_ends: Ends, metrics: EngineMetrics, topics: Mapping[str, str], *, every_s: float = LAG_S
    ) -> None:
        """`find_ends` blocks on a thread, and raises BrokerUnavailable; `topics` is the input of each decider."""
        self._find_ends = find_ends
        self._gauge = metrics.lag
        self._topics = topics
        self._every_s = every_s

    async def run(self, partitions: Mapping[str, Mapping[int, Partition]]) -> None:
        """Go on until cancelled; while the broker does not answer, what was seen last stands."""
        while True:
            at = {name: positions(owned) for name, owned in partitions.items()}
            places = [(self._topics[name], number) for name, numbers in at.items() for number in numbers]
            try:
                ends = await asyncio.to_thread(self._find_ends, places)
            except BrokerUnavailable:
                ends = None
            if ends is not None:
                for name, numbers in at.items():
                    self._gauge.labels(name).set(lag(numbers, self._topics[name], ends))
            await asyncio.sleep(self._every_s)


def positions(partitions: Mapping[int, Partition]) -> Mapping[int, int]:
    """Return up to where each partition is decided, as far as that is known: not before it is restored."""
    return {n: one.read_to for n, one in list(partitions.items()) if one.read_to or is_running(one)}


def lag(positions: Mapping[int, int], topic: str, ends: Mapping[tuple[str, int], int]) -> int:
    """Return how many offsets lie between positions and ends, where there are any.

    A position that is found before the end may be ahead of it.
    """
    return sum(max(0, ends.get((topic, number), 0) - position) for number, position in positions.items())
