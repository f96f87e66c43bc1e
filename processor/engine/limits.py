"""The bounds within which one decider works."""

from dataclasses import dataclass

from processor.engine.entries import RECORD_BYTES_MAX
from processor.engine.partition import EVIDENCE_WAIT_MS


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one decider; times in milliseconds."""

    commit_interval_ms: int = 25
    records_max: int = 500  # Taken from one poll.
    events_max: int = 1_000  # In one transaction.
    outputs_bytes_max: int = 16 * 1024 * 1024  # In one transaction.
    record_bytes_max: int = RECORD_BYTES_MAX  # Keys whose rules make larger records are parked.
    timers_max: int = 200  # Fired in one turn, for each partition.
    depth_max: int | None = None  # Live requests here before intake pauses; None never pauses.
    drain_ms: int = 40_000
    evidence_wait_ms: int = EVIDENCE_WAIT_MS
    aborts_max: int = 100  # In a row, before the process gives up.
    unknown_ms: int = 30_000  # How long the tokens of an unknown commit are waited for.
    purge_interval_ms: int = 60_000
    position_age_ms: int = 7 * 24 * 3_600_000  # Internal input younger than this is never purged.
    watchdog_ms: int = 60_000
    mark_interval_ms: int | None = None  # How far evidence was judged is committed so often; None: never.
