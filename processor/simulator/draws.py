"""Everything that chance decides, from one seeded source: pure but for the source's own state."""

from dataclasses import dataclass
from enum import StrEnum
from random import Random
from uuid import UUID

from processor.simulator.model import COMPLETED
from processor.simulator.settings import RUN_FAULT_RATES, Faults, Span

DECISIONS = ("approved", "approved", "rejected", "review")  # Half of the applicants pass.
SERVER_ERRORS = (500, 502, 503, 504)


class RunFault(StrEnum):
    """The one thing that goes wrong with a run; named as the rates that choose it."""

    NONE = "none"
    ERROR_UNEXECUTED = "run_5xx_unexecuted_rate"
    ERROR_EXECUTED = "run_5xx_executed_rate"
    SILENT = "run_silent_rate"
    HUNG_UP = "run_hung_up_rate"
    GHOST = "run_ghost_rate"


@dataclass(frozen=True, slots=True)
class Plan:
    """What will become of a run, drawn when it is executed: later changes of faults do not touch it."""

    completion_ms: int
    final_status: str
    decision: str
    webhook_delays_ms: tuple[int, ...]  # One for each sending: none if lost, two if doubled.


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


def plan(source: Random, faults: Faults) -> Plan:
    """Draw the whole fate of a run."""
    is_at_once = happens(source, faults.complete_at_once_rate)
    sendings = 0 if happens(source, faults.webhook_lost_rate) else 1
    if sendings and happens(source, faults.webhook_doubled_rate):
        sendings = 2
    return Plan(
        completion_ms=0 if is_at_once else max(1, within(source, faults.completion_ms)),
        final_status=faults.failed_status if happens(source, faults.failed_rate) else COMPLETED,
        decision=source.choice(DECISIONS),
        webhook_delays_ms=tuple(within(source, faults.webhook_delay_ms) for _ in range(sendings)),
    )


def is_out(faults: Faults, uptime_ms: int) -> bool:
    """Say whether the provider is in an outage, `uptime_ms` after its start."""
    if faults.outage or not (faults.outage_every_s and faults.outage_for_s):
        return faults.outage
    return (uptime_ms / 1000) % faults.outage_every_s >= faults.outage_every_s - faults.outage_for_s
