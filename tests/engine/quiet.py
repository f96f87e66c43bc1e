"""A world in which nothing goes wrong by itself, for tests that let one thing go wrong by hand."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from processor.engine.ports import Outcome
from processor.errors import BrokerUnavailable
from tests.engine.simulation import ROUGH, Process, Roughness, Simulation

QUIET = Roughness(faults=dict.fromkeys(ROUGH.faults, 0.0), actions={}, proofs={"done": 1})


@contextmanager
def no_transactions(process: Process) -> Iterator[None]:
    """Let Kafka take no transaction of a process while the block runs."""
    transact = process.log.transact

    def unavailable(*_: object) -> tuple[Outcome, Mapping[int, int]]:
        raise BrokerUnavailable("for a while")

    process.log.transact = unavailable  # type: ignore[method-assign, assignment]  # a fake, broken
    yield
    process.log.transact = transact  # type: ignore[method-assign]


class Quiet(Simulation):
    """A simulation without a schedule."""

    def __init__(self, *, seed: int = 1, is_entrance: bool = False, is_marking: bool = False) -> None:
        super().__init__(seed, QUIET)
        self.is_entrance = is_entrance
        self.is_marking = is_marking

    def begin(self) -> Process:
        """Start a process and let it restore everything."""
        self.start()
        self.go(10, ms=20)
        return self.processes[-1]

    def publish(self, number: int, key: str) -> None:
        """Let a number come."""
        self.key_of[number] = key
        self.cluster.publish(key.encode(), json.dumps({"id": number}).encode())

    def go(self, turns: int = 40, ms: int = 200) -> None:
        """Let all processes work."""
        for _ in range(turns):
            self.passes(ms)
            for process in self.free():
                self.turn(process)

    def outcomes(self) -> dict[int, str]:
        """Return the results so far."""
        return {result["id"]: result["outcome"] for result in self.results()}
