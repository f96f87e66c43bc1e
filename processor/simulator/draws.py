"""Everything that chance decides, from one seeded source: pure but for the source's own state."""

from dataclasses import dataclass
from enum import StrEnum
from random import Random
from uuid import UUID

import orjson

from processor.simulator.settings import RUN_FAULT_RATES, Faults, Span
from processor.simulator.signing import base64url

DECISIONS = ("approved", "approved", "rejected", "review")  # Half of the applicants pass.
SERVER_ERRORS = (500, 502, 503, 504)


class RunFault(StrEnum):
    """The one thing that goes wrong with a start; named as the rates that choose it."""

    NONE = "none"
    ERROR_UNEXECUTED = "run_5xx_unexecuted_rate"
    ERROR_EXECUTED = "run_5xx_executed_rate"
    SILENT = "run_silent_rate"
    HUNG_UP = "run_hung_up_rate"
    GHOST = "run_ghost_rate"


@dataclass(frozen=True, slots=True)
class Plan:
    """What will become of a run, drawn when it is executed or walked: later changes of faults do not touch it."""

    completion_ms: int
    final_status: str
    decision: str | None
    webhook_delays_ms: tuple[int, ...]  # One for each sending: none if lost, two if doubled.
    hint_delays_ms: tuple[int, ...] | None = None  # The same for a webhook halfway; None without one.


def happens(source: Random, rate: float) -> bool:
    """Say whether something of this rate happens now."""
    return rate > 0 and source.random() < rate


def within(source: Random, span: Span) -> int:
    """Draw a whole number of the span."""
    return int(span.low if span.low == span.high else source.uniform(span.low, span.high))


def new_id(source: Random) -> str:
    """Draw a UUID, in its canonical spelling."""
    return str(UUID(int=source.getrandbits(128), version=4))


def run_fault(source: Random, faults: Faults) -> RunFault:
    """Choose at most one fault of a run; the rates share one draw, so they exclude each other."""
    drawn = source.random()
    for name in RUN_FAULT_RATES:
        rate: float = getattr(faults, name)
        if drawn < rate:
            return RunFault(name)
        drawn -= rate
    return RunFault.NONE


def new_token(source: Random, claims: dict[str, object]) -> str:
    """Make a token in the shape of a JWT; its last part is random, nobody verifies it."""
    parts = (b'{"alg":"RS256","typ":"JWT"}', orjson.dumps(claims), source.randbytes(32))
    return ".".join(base64url(part).decode() for part in parts)


def plan(source: Random, faults: Faults, *, has_user: bool) -> Plan:
    """Draw the whole fate of a run."""
    is_at_once = not has_user and happens(source, faults.complete_at_once_rate)
    sendings = _sendings(source, faults)
    completion_ms = 0 if is_at_once else max(1, within(source, faults.completion_ms))
    is_bad = happens(source, faults.failed_rate)
    decision = source.choice(DECISIONS)
    delays_ms = _delays_ms(source, faults, sendings)
    has_hint = completion_ms > 0 and happens(source, faults.awaiting_rate if has_user else faults.status_update_rate)
    return Plan(
        completion_ms=completion_ms,
        final_status=faults.failed_status if is_bad else faults.completed_status,
        decision=None if is_bad else decision,
        webhook_delays_ms=delays_ms,
        hint_delays_ms=_delays_ms(source, faults, _sendings(source, faults)) if has_hint else None,
    )


def expiry(source: Random, faults: Faults, completion_ms: int) -> Plan:
    """Draw the fate of a run that its expiresAt ends."""
    delays_ms = _delays_ms(source, faults, _sendings(source, faults))
    return Plan(completion_ms, faults.expired_status, decision=None, webhook_delays_ms=delays_ms)


def _sendings(source: Random, faults: Faults) -> int:
    """Draw how often a webhook is sent."""
    if happens(source, faults.webhook_lost_rate):
        return 0
    return 2 if happens(source, faults.webhook_doubled_rate) else 1


def _delays_ms(source: Random, faults: Faults, sendings: int) -> tuple[int, ...]:
    return tuple(within(source, faults.webhook_delay_ms) for _ in range(sendings))


def is_out(faults: Faults, uptime_ms: int) -> bool:
    """Say whether the provider is in an outage, `uptime_ms` after its start."""
    if faults.outage or not (faults.outage_every_s and faults.outage_for_s):
        return faults.outage
    return (uptime_ms / 1000) % faults.outage_every_s >= faults.outage_every_s - faults.outage_for_s
