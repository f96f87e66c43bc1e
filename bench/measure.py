"""What a process costs for a unit of work: CPU seconds from /proc, between two counts of finished work."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
SAMPLE_S = 0.1
TIMEOUT_S = 300.0
FIRST_SHARE, LAST_SHARE = 0.15, 0.90  # Start-up and tail are left out.


@dataclass(frozen=True, slots=True)
class Cost:
    """One run: rate and CPU between the two shares of the work."""

    events_a_second: float
    cpu_s_per_1000: float


@dataclass(frozen=True, slots=True)
class _Sample:
    at_s: float
    cpu_s: float
    done: int


def cpu_seconds(pid: int) -> float:
    """Return user and system CPU seconds that a process, with all its threads, has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def cost_of(pid: int, done: Callable[[], int], total: int) -> Cost:
    """Watch a process until `total` units are done; raises TimeoutError with how far it came."""
    samples: list[_Sample] = []
    give_up_at_s = time.monotonic() + TIMEOUT_S
    while not samples or samples[-1].done < total:
        if time.monotonic() > give_up_at_s:
            raise TimeoutError(f"{samples[-1].done} of {total} done after {TIMEOUT_S:.0f} s")
        samples.append(_Sample(time.monotonic(), cpu_seconds(pid), done()))
        time.sleep(SAMPLE_S)
    first = next(sample for sample in samples if sample.done >= total * FIRST_SHARE)
    last = next(sample for sample in samples if sample.done >= total * LAST_SHARE)
    units = last.done - first.done
    return Cost(units / (last.at_s - first.at_s), (last.cpu_s - first.cpu_s) / units * 1000)
