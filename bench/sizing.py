"""What a deployment must hold and restore, measured on a real broker: the numbers behind the sizing table.

`python -m bench.sizing` runs real requests through the whole processor and weighs what it keeps of each: open (its
workflow runs) and remembered (its result is out, its id is kept so that a duplicate stays one). Then it lays copies of
what is remembered behind the state, until it is as large as asked for, takes the local copy away and measures a start:
time, CPU and memory to restore it. Last, each role runs in a process of its own and works off a backlog as fast as it
can: what it takes then is what the chart asks for. Sizes are facts of the format; times are those of the machine.
"""

import argparse
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import httpx
from confluent_kafka import Producer
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from bench.measure import cpu_seconds
from bench.pipeline import SETTINGS
from processor.engine.entries import POSITION_KEY
from tests.support.broker import start_broker
from tests.support.onboarding import Request, catalogue
from tests.support.reading import Record, all_records
from tests.support.worker import Worker
from tests.support.world import World, world

ROLES = ("submitter", "ingestor", "reconciler")
DECIDERS = ("preparation", "launch", "completion")
DAY_S = 86_400
NEVER_MS = "86000000..86400000"  # A workflow that runs until the measurement is over.
RATES = (1, 10, 50, 200)
WINDOWS_D = (10, 15, 38)
SIZING = ("requests/s", "window", "remembered", "state", "disk a pod", "takeover", "new pod", "pods", "partitions")
# One process decides and calls on one core; half of it stays free for peaks, rebalances and restores.
USED_SHARE = 0.5
# Less than this in one partition keeps a takeover short.
ENTRIES_A_PARTITION_MAX = 2_000_000


@dataclass(frozen=True, slots=True)
class Weight:
    """What the deciders keep of some requests: the latest value of each key."""

    entries: int
    kib: float

    def of_one(self, requests: int) -> "Weight":
        """Return the part of one request."""
        return Weight(round(self.entries / requests), self.kib / requests)


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a process that owns everything, until it is ready."""

    seconds: float
    cpu_s: float
    records: int
    memory_mib: float
    disk_mib: float


def state_of(made: World) -> Mapping[str, dict[bytes, Record]]:
    """Return the latest record of each key of each decider's state, but for positions."""
    return {name: _latest(made, name) for name in DECIDERS}


def _latest(made: World, decider: str) -> dict[bytes, Record]:
    latest: dict[bytes, Record] = {}
    for record in all_records(made.bootstrap_servers, made.topic(f"{decider}-state")):
        assert record.key is not None, "a state record has a key"
        if record.value is None:
            latest.pop(record.key, None)
        elif record.key.decode() != POSITION_KEY:
            latest[record.key] = record
    return latest


def weigh(state: Mapping[str, dict[bytes, Record]]) -> Weight:
    """Return how much it is."""
    sizes = [len(key) + len(record.value or b"") for latest in state.values() for key, record in latest.items()]
    return Weight(len(sizes), sum(sizes) / 1024)


def lay_copies(made: World, state: Mapping[str, dict[bytes, Record]], times: int) -> None:
    """Add copies of every state record under keys of their own, behind what there is."""
    producer = Producer({"bootstrap.servers": made.bootstrap_servers, "linger.ms": 20, "compression.type": "none"})
    for decider, latest in state.items():
        topic = made.topic(f"{decider}-state")
        for number in range(times):
            for key, record in latest.items():
                while True:
                    try:
                        producer.produce(topic, record.value, b"%d-%s" % (number, key), record.partition)
                        break
                    except BufferError:
                        producer.poll(0.05)
    assert producer.flush(300) == 0, "the broker did not take the copies"


def start_of(made: World, worker: Worker) -> Start:
    """Start a process and wait until it has restored everything."""
    began_s = monotonic()
    worker.start()
    made.wait_until(worker.is_ready, "restored", 1_800)
    seconds, pid = monotonic() - began_s, worker.pid
    state = Path(f"{made.directory}/state-{made.workers.index(worker) + 1}")
    disk = sum(file.stat().st_size for file in state.rglob("*") if file.is_file())
    return Start(seconds, cpu_seconds(pid), _restored(worker), memory_mib(pid), disk / 1024**2)


def memory_mib(pid: int) -> float:
    """Return the most memory that was resident so far."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024


def _restored(worker: Worker) -> int:
    exposed = httpx.get(f"http://127.0.0.1:{worker.ops_port}/metrics", timeout=5).text
    families = {family.name: family for family in text_string_to_metric_families(exposed)}
    samples = families["onboarding_restored_records"].samples
    return round(sum(sample.value for sample in samples if sample.name.endswith("_total")))


def finished_state(made: World, requests: int) -> Mapping[str, dict[bytes, Record]]:
    """Run requests to their results and return what is remembered of them."""
    worker = made.started(timeout_s=60)
    made.publish(*(Request(f"r{number}", key=f"k{number}") for number in range(requests)))
    made.wait_until(lambda: len(made.results()) == requests, "every result", 600)
    worker.terminate(60)
    return state_of(made)


def open_state(made: World, requests: int) -> Mapping[str, dict[bytes, Record]]:
    """Start requests whose workflows go on and return what is kept of them."""
    worker = made.started(timeout_s=60)
    made.publish(*(Request(f"r{number}", key=f"k{number}") for number in range(requests)))
    made.wait_until(lambda: _running(worker) == requests, "every workflow started", 600)
    worker.terminate(60)
    return state_of(made)


def _running(worker: Worker) -> int:
    exposed = httpx.get(f"http://127.0.0.1:{worker.ops_port}/metrics", timeout=5).text
    sought = 'onboarding_state_parts{decider="completion",kind="running"} '
    return next((round(float(line[len(sought) :])) for line in exposed.splitlines() if line.startswith(sought)), 0)


def roles_of(made: World, requests: int) -> Iterator[tuple[str, ...]]:
    """Work a backlog off with each role in a process of its own; yield what each took."""
    made.publish(*(Request(f"r{number}", key=f"k{number}") for number in range(requests)))
    workers = {role: made.worker(role) for role in ROLES}
    made.provider.send_webhooks_to(workers["ingestor"].webhook_port)
    for worker in workers.values():
        worker.start()
    made.wait_until(lambda: len(made.results()) == requests, "every result", 900)
    for role, worker in workers.items():
        cpu_s = cpu_seconds(worker.pid) / requests * 1000
        yield role, f"{cpu_s:.2f}", f"{memory_mib(worker.pid):.0f}"
        worker.terminate(60)


def rows(remembered: Weight, entries_a_second: float, events_a_cpu_s: float) -> Iterator[tuple[str, ...]]:
    """Return the sizing table: what each rate and window come to.

    Partitions follow from the larger of what a takeover may cost and one for each pod.
    """
    for rate in RATES:
        for window_d in WINDOWS_D:
            requests = rate * window_d * DAY_S
            entries = requests * remembered.entries
            pods = max(2, math.ceil(rate / (events_a_cpu_s * USED_SHARE)))
            partitions = max(12, pods, math.ceil(entries / len(DECIDERS) / ENTRIES_A_PARTITION_MAX))
            yield (
                f"{rate}",
                f"{window_d} d",
                f"{requests / 1e6:.1f} M",
                f"{requests * remembered.kib / 1024**2:.1f} GiB",
                # One pod is away, and compactions need as much again.
                f"{2 * requests * remembered.kib / 1024**2 / (pods - 1):.1f} GiB",
                f"{entries / partitions / entries_a_second:.0f} s",
                f"{entries / pods / entries_a_second / 60:.1f} min",
                f"{pods}",
                f"{partitions}",
            )


def _installation(servers: str, directory: Path, completion_ms: str) -> AbstractContextManager[World]:
    directory.mkdir(parents=True)
    return world(
        servers,
        directory,
        workflows=catalogue(deadline="7d", window="15m", poll_first="5s", poll_max="5m"),
        simulator={"latency_ms": 5, "completion_ms": completion_ms},
        settings=SETTINGS,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure what requests leave behind, and what a restore costs.")
    parser.add_argument("--requests", type=int, default=2_000, help="run for real, to weigh what is kept of each")
    parser.add_argument("--remembered", type=int, default=200_000, help="requests whose memory is restored")
    parser.add_argument("--events-a-cpu-second", type=float, default=1_000, help="as bench.pipeline measures it")
    asked = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        directory = Path(temporary)
        (directory / "broker").mkdir()
        broker = start_broker(directory / "broker", ("-Xmx1g", "-XX:+UseSerialGC"))
        try:
            _measure(asked, broker.bootstrap_servers, directory, console)
        finally:
            broker.stop()


def _measure(asked: argparse.Namespace, servers: str, directory: Path, console: Console) -> None:
    requests: int = asked.requests
    with _installation(servers, directory / "open", NEVER_MS) as made:
        still_open = weigh(open_state(made, requests)).of_one(requests)
    with _installation(servers, directory / "over", "100..300") as made:
        state = finished_state(made, requests)
        remembered = weigh(state).of_one(requests)
        console.print(f"open: {still_open.entries} entries, {still_open.kib:.2f} KiB a request")
        console.print(f"remembered: {remembered.entries} entries, {remembered.kib:.2f} KiB a request")
        lay_copies(made, state, asked.remembered // requests - 1)
        worker = made.worker()
        whole = start_of(made, worker)
        worker.terminate(60)
        again = start_of(made, worker)
        worker.terminate(60)
    for name, start in (("without a local copy", whole), ("with its local copy", again)):
        console.print(
            f"start {name}: {start.seconds:.1f} s, {start.cpu_s:.1f} CPU s, {start.records} records, "
            f"{start.memory_mib:.0f} MiB resident at most, {start.disk_mib:.0f} MiB on disk"
        )
    with _installation(servers, directory / "roles", "100..300") as made:
        console.print(_table(("role", "CPU s per 1,000", "MiB at most"), list(roles_of(made, requests))))
    # A restore is bound by one core, a busy machine or not.
    entries_a_second = whole.records / (whole.cpu_s - again.cpu_s)
    console.print(f"restored: {entries_a_second:.0f} entries a CPU second")
    console.print(_table(SIZING, list(rows(remembered, entries_a_second, asked.events_a_cpu_second))))


def _table(titles: Sequence[str], found: Sequence[tuple[str, ...]]) -> Table:
    table = Table()
    for title in titles:
        table.add_column(title, justify="right")
    for row in found:
        table.add_row(*row)
    return table


if __name__ == "__main__":
    main()
