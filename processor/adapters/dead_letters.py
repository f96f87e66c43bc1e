"""Headers of a dead letter: why and from where, beside the untouched bytes and headers of the original.

No stack trace and no personal data: reasons are words of a closed list, messages name fields, ids and sizes.
"""

from dataclasses import dataclass

from processor.adapters.event_headers import Headers, rfc3339
from processor.core.model import Instant

PREFIX = "dlq."


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one record is set aside: `reason` a word of a closed list, `error_type` the name of our error."""

    reason: str
    error_type: str
    message: str
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Where a record was read."""

    topic: str
    partition: int
    offset: int


def dead_letter_headers(
    original: Headers, fault: Fault, source: Coordinates, *, failed_at: Instant, version: str
) -> Headers:
    """Return the original's headers and ours behind them.

    Headers of an earlier stay in the dead letters are left out, so that a replayed record tells its newest fault.
    """
    kept = (header for header in original if not header[0].startswith(PREFIX))
    ours = {
        "reason": fault.reason,
        "error.type": fault.error_type,
        "error.message": fault.message,
        "source.topic": source.topic,
        "source.partition": str(source.partition),
        "source.offset": str(source.offset),
        "attempts": str(fault.attempts),
        "failed-at": rfc3339(failed_at),
        "processor.version": version,
    }
    return (*kept, *((PREFIX + name, text.encode()) for name, text in ours.items()))
