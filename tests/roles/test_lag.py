"""How much input is still to be decided, as metrics tell it."""

import asyncio
from collections.abc import Collection, Mapping

from prometheus_client import CollectorRegistry

from processor.adapters.store_memory import MemoryStore
from processor.engine.partition import Partition, Phase
from processor.engine.ports import Owned
from processor.errors import BrokerUnavailable
from processor.roles.lag import LagWatch, lag, positions
from processor.telemetry import Metrics
from tests.engine.toy import Toy
from tests.support.waiting import eventually

TOPICS = {"launch": "launches", "completion": "workflows"}


def partition(number: int, phase: Phase = Phase.RUNNING, read_to: int = 0) -> Partition:
    """Return a partition in a phase, decided up to an offset."""
    made = Partition(Owned(number, 1), Toy(), MemoryStore())
    made.phase, made.read_to = phase, read_to
    return made


class Broker:
    """Knows where topics end; None: it does not answer."""

    def __init__(self, *ends: int | None) -> None:
        self.asked: list[Collection[tuple[str, int]]] = []
        self._ends = list(ends)

    def of(self, places: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Give the next end, the same for all that is asked for; the last one for ever."""
        self.asked.append(places)
        end = self._ends.pop(0) if len(self._ends) > 1 else self._ends[0]
        if end is None:
            raise BrokerUnavailable("away")
        return dict.fromkeys(places, end)


async def measured(broker: Broker, partitions: Mapping[str, Mapping[int, Partition]], looks: int) -> dict[str, float]:
    """Let the broker be asked so often; return the lag of each decider."""
    registry = CollectorRegistry()
    watch = LagWatch(broker.of, Metrics(registry).engine, TOPICS, every_s=0.001)
    running = asyncio.create_task(watch.run(partitions))
    await eventually(lambda: len(broker.asked) > looks)  # The one after them shows that they count.
    running.cancel()
    await asyncio.wait([running])
    samples = [sample for family in registry.collect() for sample in family.samples]
    return {one.labels["decider"]: one.value for one in samples if one.name == "onboarding_input_lag_records"}


async def test_the_lag_is_what_lies_between_positions_and_ends() -> None:
    """Over the partitions owned here, for each decider, all asked for at once."""
    broker = Broker(10)
    owned = {"launch": {0: partition(0, read_to=4), 3: partition(3, read_to=10)}, "completion": {}}
    assert await measured(broker, owned, looks=1) == {"launch": 6, "completion": 0}
    assert broker.asked[0] == [("launches", 0), ("launches", 3)]


async def test_what_was_seen_last_stands_while_the_broker_is_away() -> None:
    """A broker that does not answer makes no backlog vanish; when it answers, the number moves on."""
    owned = {"launch": {0: partition(0, read_to=4)}}
    assert await measured(Broker(10, None), owned, looks=3) == {"launch": 6}
    assert await measured(Broker(10, None, None, 12), owned, looks=4) == {"launch": 8}


def test_a_partition_counts_from_when_its_position_is_known() -> None:
    """Not while it is restored, nor when it stopped before it was; from then on, stopped or not."""
    owned = [
        partition(0, Phase.RESTORING),
        partition(1, Phase.STOPPED),
        partition(2, Phase.STOPPED, read_to=7),
        partition(3, Phase.RUNNING),
        partition(4, Phase.LEAVING, read_to=9),
    ]
    assert positions(dict(enumerate(owned))) == {2: 7, 3: 0, 4: 9}


def test_a_position_may_be_ahead_of_an_end_that_was_looked_up_before() -> None:
    """A lag is never below zero, and one partition's lead makes up for no other's backlog."""
    assert lag({0: 12, 1: 5}, "launches", {("launches", 0): 10, ("launches", 1): 8}) == 3
