"""What a member does beside its work, now and then: purge decided input, and free a partition that is stuck."""

from collections.abc import Mapping

from processor.engine.partition import Partition, Phase
from processor.engine.ports import Log, Observer
from processor.errors import BrokerUnavailable

INTERVAL_MS = 1_000


class Upkeep:
    """Both, at most once a second."""

    def __init__(self, purger: "Purger", watchdog: "Watchdog") -> None:
        self._purger = purger
        self._watchdog = watchdog
        self._kept_up_at = 0

    def turn(self, partitions: Mapping[int, Partition], now: int, *, is_paused: bool, is_internal: bool) -> None:
        """Do what is due; only internal input is purged."""
        if now - self._kept_up_at < INTERVAL_MS:
            return
        self._kept_up_at = now
        self._watchdog.turn(partitions, now, is_paused=is_paused)
        if is_internal:
            self._purger.turn(partitions, now)


class Purger:
    """Deletes internal input that is decided and old: custody must not lie in a topic that forgets by time."""

    def __init__(self, log: Log, observer: Observer, *, interval_ms: int, age_ms: int) -> None:
        self._log = log
        self._observer = observer
        self._interval_ms = interval_ms
        self._age_ms = age_ms
        self._purged_at: dict[int, int] = {}
        self._purged_to: dict[int, int] = {}

    def turn(self, partitions: Mapping[int, Partition], now: int) -> None:
        """Purge at most one partition: of those that are due, the one that has waited longest."""
        running = [number for number, partition in partitions.items() if partition.phase is Phase.RUNNING]
        longest = min(running, key=lambda number: self._purged_at.get(number, 0), default=None)
        if longest is not None and now - self._purged_at.get(longest, 0) >= self._interval_ms:
            self._purged_at[longest] = now
            self._purge(longest, partitions[longest], now)

    def _purge(self, number: int, partition: Partition, now: int) -> None:
        """Delete below the smaller of the committed offset, read back, and where the state stood `age_ms` ago."""
        past = partition.position.before(now - self._age_ms)
        if past is None or past <= self._purged_to.get(number, 0):
            return
        try:
            committed = self._log.committed([number])[number]
        except BrokerUnavailable:
            return
        before = min(past, committed.offset) if committed is not None else 0
        if before and self._log.forget_before(number, before):
            self._purged_to[number] = before
        elif before:
            self._observer.purge_refused(number)


class Watchdog:
    """Frees a partition that delivers nothing although there is something to read (librdkafka#5591)."""

    def __init__(self, log: Log, observer: Observer, *, patience_ms: int) -> None:
        self._log = log
        self._observer = observer
        self._patience_ms = patience_ms
        self._seen: dict[int, tuple[int, int]] = {}

    def turn(self, partitions: Mapping[int, Partition], now: int, *, is_paused: bool) -> None:
        """Look at partitions that did not move for as long as our patience lasts."""
        for number, partition in partitions.items():
            read_to, since = self._seen.get(number, (-1, now))
            if is_paused or partition.phase is not Phase.RUNNING or partition.read_to != read_to:
                self._seen[number] = (partition.read_to, now)
            elif now - since >= self._patience_ms:
                self._seen[number] = (read_to, now)
                self._free(number, partition)

    def _free(self, number: int, partition: Partition) -> None:
        try:
            _, end = self._log.bounds(number)
        except BrokerUnavailable:
            return
        if end > partition.read_to:
            self._observer.stuck(number)
            self._log.read_from(number, partition.next_offset)
