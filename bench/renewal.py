"""How long partitions stand still while a process takes up a changed secret of Kafka or the registry.

    python -m bench.renewal [--instances N] [--renewals N] [--latency-ms N]

A real broker, the provider simulated, a steady stream of requests. A pause is the time from a decider's last
partitions being handed over to the same partition being restored, in whichever process.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from tests.security.rotation import REGISTRY_PASSWORD, assert_each_done_once, load, renewals, rotating
from tests.support.mounted import MountedFiles
from tests.support.servers import broker_from_jars
from tests.support.worker import Worker
from tests.support.world import World

DELAY = {"PROCESSOR_OPS__RENEWAL_DELAY_S_MAX": "10"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=1)
    parser.add_argument("--renewals", type=int, default=8)
    parser.add_argument("--latency-ms", type=int, default=50)
    given = parser.parse_args()
    settings = DELAY if given.instances > 1 else {}
    simulator = {"latency_ms": given.latency_ms}
    with broker_from_jars() as broker, tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        with rotating(broker.bootstrap_servers, place, settings=settings, simulator=simulator) as (world, files):
            pauses = sorted(measured(world, files, given.instances, given.renewals))
    p50, p99 = pauses[len(pauses) // 2], pauses[int(len(pauses) * 0.99)]
    print(f"{len(pauses)} pauses of a partition: p50 {p50:.2f} s, p99 {p99:.2f} s, longest {pauses[-1]:.2f} s")


def measured(world: World, files: MountedFiles, instances: int, times: int) -> Iterator[float]:
    """Renew under load; yield how long each partition of each decider stood still each time."""
    workers = [world.started() for _ in range(instances)]
    with load(world, workers[0]) as sent:
        for number in range(times):
            done = len(world.results())
            world.wait_until(lambda done=done: len(world.results()) > done + 20, "requests done before")  # type: ignore[misc]
            before = [renewals(worker, "process") for worker in workers]
            files.change({REGISTRY_PASSWORD: f"password-{number}"})
            world.wait_until(lambda before=before: are_renewed(workers, before), "renewals", 60)  # type: ignore[misc]
    assert_each_done_once(world, sent.request_ids)
    print(f"{len(sent.request_ids)} requests, each done once; /livez answered {dict(sent.alive)}")
    return pauses_in([line for worker in workers for line in lines(worker)])


def are_renewed(workers: list[Worker], before: list[int]) -> bool:
    """Whether every process has renewed once more and is ready."""
    return all(
        renewals(worker, "process") > count and worker.is_ready() for worker, count in zip(workers, before, strict=True)
    )


def lines(worker: Worker) -> list[dict[str, object]]:
    """Return what a process has logged."""
    return [json.loads(line) for line in worker.log_file.read_text().splitlines() if line.startswith("{")]


def pauses_in(logged: list[dict[str, object]]) -> Iterator[float]:
    """Yield the seconds between a partition's hand-over and its being restored."""
    gone: dict[tuple[object, object], datetime] = {}
    for line in sorted(logged, key=lambda line: str(line["timestamp"])):
        at = datetime.fromisoformat(str(line["timestamp"]))
        if line["event"] == "partition.revoked":
            assert isinstance(line["partitions"], list), "it lists them"
            gone |= {(line["decider"], number): at for number in line["partitions"]}
        elif line["event"] == "partition.restored":
            began = gone.pop((line["decider"], line["partition"]), None)
            if began is not None:
                yield (at - began).total_seconds()


if __name__ == "__main__":
    main()
