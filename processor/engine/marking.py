"""How far evidence was judged: a mark for each partition, committed with its position, also while nothing comes.

A mark says: all that came before this instant is read, and what had to be judged of it has been. Another decider reads
the marks of all partitions before it takes the lack of evidence for an answer.
"""

from collections.abc import Mapping

from processor.engine.batch import Batch
from processor.engine.partition import Partition, Phase
from processor.engine.ports import Log
from processor.errors import BrokerUnavailable

STEP_MS = 200  # Between two looks for the end of input.


class Marker:
    """Moves the marks of a member's partitions on, each at most once an interval; None keeps no marks."""

    def __init__(self, log: Log, interval_ms: int | None) -> None:
        self._log = log
        self._interval_ms = interval_ms
        self._looked_at = 0

    def turn(self, partitions: Mapping[int, Partition], batch: Batch, now: int) -> None:
        """Put partitions whose mark has become old, and can be moved, into the open transaction."""
        if self._interval_ms is None or now - self._looked_at < STEP_MS:
            return
        self._looked_at = now
        for number, partition in partitions.items():
            if partition.phase is not Phase.RUNNING or now - partition.mark < self._interval_ms:
                continue
            if now - partition.evidence_read_at() >= self._interval_ms:
                self._look_for_end(number, partition, now)
            if partition.mark_now() - partition.mark >= self._interval_ms // 2:
                batch.touched.setdefault(number, partition)

    def marks(self, batch: Batch, *, is_whole: bool) -> dict[int, int]:
        """Return the marks of the open transaction; none while something that was read is not in it."""
        if self._interval_ms is None or not is_whole:
            return {}
        return {number: partition.mark_now() for number, partition in batch.touched.items()}

    def _look_for_end(self, number: int, partition: Partition, now: int) -> None:
        if partition.is_observing:
            return
        try:
            partition.observed(now, self._log.bounds(number)[1])
        except BrokerUnavailable:
            return
