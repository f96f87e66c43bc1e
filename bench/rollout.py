"""How long input waits while instances are replaced one after the other, on a real broker under load.

`python -m bench.rollout` starts Kafka from the jars (`make jars`), the simulated provider, and three instances of the
previous release with all roles; replaces each by this build, then each by the previous release again, as a rollout
does; and prints the pause of every partition (tests/upgrade/pauses.py says what that is) beside what the auditor found.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from tests.support.broker import RunningBroker
from tests.upgrade.builds import CURRENT, previous
from tests.upgrade.pauses import INPUTS, Pause, Window, quantile
from tests.upgrade.rolling import deployment

# What brokers and clients do where nobody sets it; tests are in more of a hurry.
BROKER_DEFAULTS = {"group.consumer.heartbeat.interval.ms": "5000", "group.consumer.session.timeout.ms": "45000"}
CLIENT_DEFAULTS = {"PROCESSOR_KAFKA__SESSION_TIMEOUT_MS": "45000", "PROCESSOR_KAFKA__MAX_POLL_INTERVAL_MS": "300000"}
PARTS = (0.5, 0.9, 0.99, 1.0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the pause of each partition while builds are replaced.")
    parser.add_argument("--rate", type=float, default=20, help="requests a second (default: 20)")
    parser.add_argument("--protocol", choices=("classic", "consumer"), default="classic")
    parser.add_argument("--settle", type=float, default=10, help="minReadySeconds of the rollout (default: 10)")
    parser.add_argument("--same", action="store_true", help="replace this build by itself, for want of the history")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rollout-") as temporary:
        directory = Path(temporary)
        for name in ("broker", "release", "installation"):
            (directory / name).mkdir()
        before = CURRENT if given.same else previous(directory / "release")
        broker = RunningBroker(directory / "broker", ("-Xmx512m", "-XX:+UseSerialGC"), more=BROKER_DEFAULTS)
        broker.start()
        settings = {"PROCESSOR_KAFKA__GROUP_PROTOCOL": given.protocol}
        if given.protocol == "classic":
            settings |= CLIENT_DEFAULTS
        servers, place = broker.bootstrap_servers, directory / "installation"
        with deployment(servers, place, before, rate=given.rate, settings=settings) as running:
            with running.load():
                running.replace_all(CURRENT, given.settle)
                running.replace_all(before, given.settle)
            running.await_results()
            report, found, windows = running.report(), running.pauses(), running.windows
        broker.stop()
    console = Console(width=120)
    console.print(_table(f"pause of a partition, ms: {given.protocol}, {given.rate:g} requests/s", found))
    console.print(f"a replacement took {median(_seconds(windows)):.1f} s (median of {len(windows)})")
    console.print(f"{report.requests} requests, {report.runs} runs, {len(report.violations)} violations")
    for violation in report.violations:
        console.print(violation)


def _table(title: str, found: Sequence[Pause]) -> Table:
    table = Table("decider", "pauses", *(f"p{part * 100:g}" for part in PARTS), title=title)
    rows = {name: [pause.ms for pause in found if pause.decider == name] for name in INPUTS}
    for name, values in {**rows, "all": [pause.ms for pause in found]}.items():
        table.add_row(name, str(len(values)), *(str(quantile(values, part)) for part in PARTS))
    return table


def _seconds(windows: Sequence[Window]) -> Iterator[float]:
    return ((window.ended_at - window.began_at) / 1000 for window in windows)


if __name__ == "__main__":
    main()
