"""The main job's cost on a real broker: CPU seconds of the processor for 1,000 events, beside hand-written peers.

`python -m bench.pipeline` starts Kafka from the jars (`make jars`), the simulated provider in a process of its own
(50 ms latency) and, one after another, each variant on fresh topics. Three calls an event: record, parameters, run.
The submitter is measured from request to *started*; the whole pipeline, with completion, from request to result.
Quote ratios: the machine is small and shared.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from bench.measure import Cost, cost_of
from tests.support.broker import start_broker
from tests.support.onboarding import DEFINITION, Request, catalogue
from tests.support.provider import KEY, SECRET
from tests.support.root import ROOT
from tests.support.world import World, world

LATENCY_MS = 50
SETTINGS = {
    "PROCESSOR_API__CALL_DEADLINE_S": "15",
    "PROCESSOR_API__RUN_DEADLINE_S": "30",
    "PROCESSOR_API__CONNECT_TIMEOUT_S": "4",
    "PROCESSOR_ENGINE__SEND_WINDOW_S": "5",
    "PROCESSOR_ENGINE__SETTLE_MARGIN_S": "5",
    "PROCESSOR_ENGINE__DRAIN_S_MAX": "45",
    "PROCESSOR_ENGINE__LANES_MAX": "10000",
    "PROCESSOR_KAFKA__MAX_POLL_INTERVAL_MS": "300000",
}
Measure = Callable[[World, int, int], Cost]


class Variant(NamedTuple):
    """One row: how it is measured, what part of the events it gets (the slow ones need fewer), and of a limit of calls.

    A submitter by itself may use the parts of the limit that its deciders' partitions carry: one half (decision 0018).
    """

    measure: Measure
    events_part: float = 1.0
    limit_part: float = 1.0


@contextmanager
def _installation(servers: str, directory: Path, events: int, settings: Mapping[str, str]) -> Iterator[World]:
    """Give fresh topics that hold `events` requests."""
    directory.mkdir(parents=True)
    provider = {"latency_ms": LATENCY_MS, "completion_ms": "1000..3000"}
    workflows = catalogue(deadline="1d", window="15m", poll_first="5s", poll_max="5m")
    with world(servers, directory, workflows=workflows, simulator=provider, settings={**SETTINGS, **settings}) as made:
        made.publish(*(Request(f"r{number}", key=f"k{number}") for number in range(events)))
        yield made


def _runs(made: World) -> int:
    return int(made.provider.counters()["executed"])


def _submitter(made: World, events: int, _: int) -> Cost:
    worker = made.started("submitter", timeout_s=60)
    cost = cost_of(worker.pid, lambda: _runs(made), events)
    worker.terminate(60)
    return cost


def _pipeline(made: World, events: int, _: int) -> Cost:
    worker = made.started(timeout_s=60)
    cost = cost_of(worker.pid, lambda: len(made.records("results")), events)
    worker.terminate(60)
    return cost


def _peer(client: str) -> Measure:
    def measured(made: World, events: int, in_flight: int) -> Cost:
        settings = {
            "bootstrap_servers": made.bootstrap_servers,
            "group": f"{made.application_id}.peer",
            "requests": made.topic("requests"),
            "results": made.topic("results"),
            "base_url": made.provider.url,
            "credentials": {"key": KEY, "secret": SECRET},
            "definition": DEFINITION,
            "in_flight": in_flight,
        }
        command = (sys.executable, "-m", "bench.peer_asyncio", client, json.dumps(settings))
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            return cost_of(process.pid, lambda: _runs(made), events)
        finally:
            process.kill()
            process.wait()

    return measured


VARIANTS: Mapping[str, Variant] = {
    "processor submitter, exactly once": Variant(_submitter, limit_part=0.5),
    "processor whole pipeline, exactly once": Variant(_pipeline, events_part=0.5),
    "hand-written asyncio, aiohttp, at least once": Variant(_peer("aiohttp")),
    "hand-written asyncio, httpx, at least once": Variant(_peer("httpx"), events_part=0.1),
}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Measure the main job on a real broker.")
    parser.add_argument("--events", type=int, default=6_000)
    parser.add_argument("--in-flight", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", default="", help="measure only variants whose name contains this")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the processor")
    asked = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        directory = Path(temporary)
        (directory / "broker").mkdir()
        broker = start_broker(directory / "broker", ("-Xmx512m", "-XX:+UseSerialGC"))
        try:
            for in_flight in asked.in_flight:
                found = _measured(asked, in_flight, broker.bootstrap_servers, directory, console)
                console.print(_table(found, in_flight))
        finally:
            broker.stop()


def _measured(
    asked: argparse.Namespace, in_flight: int, servers: str, directory: Path, console: Console
) -> dict[str, list[Cost]]:
    """Measure every variant, round after round, so that a slow minute meets all of them."""
    found: dict[str, list[Cost]] = {name: [] for name in VARIANTS if asked.only in name}
    for round_number in range(asked.repeat):
        for name, costs in found.items():
            variant = VARIANTS[name]
            events = max(300, round(asked.events * variant.events_part))
            place = directory / f"{in_flight}-{round_number}-{len(name)}"
            given = dict(setting.split("=", 1) for setting in asked.set)
            settings = {"PROCESSOR_API__CALLS_IN_FLIGHT_MAX": str(round(in_flight / variant.limit_part)), **given}
            with _installation(servers, place, events, settings) as made:
                costs.append(variant.measure(made, events, in_flight))
            console.print(f"{name}, {in_flight} in flight: {costs[-1].cpu_s_per_1000:.2f} CPU s per 1,000", style="dim")
    return found


def _table(found: Mapping[str, list[Cost]], in_flight: int) -> Table:
    table = Table(title=f"{in_flight} in flight, {LATENCY_MS} ms latency, three calls an event")
    for column in ("variant", "events/s", "CPU s per 1,000 (median)", "min…max", "of aiohttp"):
        table.add_column(column, justify="left" if column == "variant" else "right")
    medians = {name: statistics.median(cost.cpu_s_per_1000 for cost in costs) for name, costs in found.items()}
    base = next((median for name, median in medians.items() if "aiohttp" in name), None)
    for name, costs in found.items():
        cpu = [cost.cpu_s_per_1000 for cost in costs]
        rate = statistics.median(cost.events_a_second for cost in costs)
        ratio = "" if base is None else f"{medians[name] / base:.2f}"
        table.add_row(name, f"{rate:.0f}", f"{medians[name]:.2f}", f"{min(cpu):.2f}…{max(cpu):.2f}", ratio)
    return table


if __name__ == "__main__":
    main()
