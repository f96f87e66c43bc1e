"""A real Apache Kafka broker of one node (KRaft, combined mode) from the jars of `make jars`.

`python -m tests.support.broker` starts one for people and benchmarks and prints its address.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.support.java import SMALL_HEAP, JavaServer, ServerFailed, cached, listens
from tests.support.ports import free_port

# Takeovers in seconds instead of three quarters of a minute, for both group protocols.
BROKER_TIMEOUTS = {
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.session.timeout.ms": "6000",
    "group.consumer.heartbeat.interval.ms": "1000",
    "group.consumer.min.heartbeat.interval.ms": "1000",
    # An orphaned transaction dies soon after its own time-out; the default looks every 10 s.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
}
_SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners={listeners}
listener.security.protocol.map={protocols}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={directory}/data
auto.create.topics.enable=false
# One node holds every replica; few partitions of the internal topics make start and restart quick.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
# After a kill the node may register again only when its former session is over; the default is 9 s.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
# Tests delete topics; their files need not linger for a minute.
file.delete.delay.ms=1000
log.cleaner.dedupe.buffer.size=16777216
"""


@dataclass(frozen=True, slots=True)
class Listener:
    """One more address of a broker, `name` with its security protocol; `settings` begin with the listener's prefix."""

    name: str
    protocol: str
    port: int
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where clients begin."""
        return f"127.0.0.1:{self.port}"

    def properties(self) -> Mapping[str, str]:
        """Return its settings as the broker reads them."""
        return {f"listener.name.{self.name.lower()}.{name}": value for name, value in self.settings.items()}


class RunningBroker:
    """A broker on fixed ports and one data directory, so that it can go away and come back."""

    def __init__(
        self,
        directory: Path,
        java_options: tuple[str, ...] = SMALL_HEAP,
        *,
        listeners: tuple[Listener, ...] = (),
        more: Mapping[str, str] | None = None,
    ) -> None:
        """Format the directory; raises ServerMissing without the jars, ServerFailed when Kafka refuses it.

        `listeners` stand beside the plain one, `more` are further settings.
        """
        self._port = port = free_port()
        self.bootstrap_servers = f"127.0.0.1:{port}"
        self.log_file = directory / "broker.log"
        settings = directory / "server.properties"
        plain, controller = Listener("PLAINTEXT", "PLAINTEXT", port), Listener("CONTROLLER", "PLAINTEXT", free_port())
        every = (plain, controller, *listeners)
        own = _SETTINGS.format(
            controller_port=controller.port,
            directory=directory,
            listeners=",".join(f"{each.name}://{each.address}" for each in every),
            protocols=",".join(f"{each.name}:{each.protocol}" for each in every),
        )
        added: dict[str, str] = {**BROKER_TIMEOUTS, **(more or {})}
        for each in listeners:
            added |= each.properties()
        settings.write_text(own + "".join(f"{name}={value}\n" for name, value in added.items()))
        classes = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{cached('kafka')}/*")
        java = (*java_options, *classes)
        _format(java, settings)
        self._server = JavaServer((*java, "kafka.Kafka", str(settings)), self.log_file, self._answers)

    def start(self) -> None:
        """Start the broker, with all it held before; returns when it answers."""
        self._server.start()

    def stop(self) -> None:
        """Shut the broker down in order; clients see closed connections."""
        self._server.stop()

    def kill(self) -> None:
        """End the broker at once, as a power failure would."""
        self._server.stop(signal.SIGKILL)

    def suspend(self) -> None:
        """Freeze the broker: connections stay open and nothing is answered."""
        self._server.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen broker go on."""
        self._server.signal(signal.SIGCONT)

    def _answers(self) -> bool:
        if not listens(self._port):
            return False
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        try:
            return bool(admin.list_topics(timeout=0.25).brokers)
        except KafkaException:
            return False


def start_broker(directory: Path, java_options: tuple[str, ...] = SMALL_HEAP) -> RunningBroker:
    """Format and start a broker that keeps its data below `directory`; it dies with this process.

    Raises ServerMissing when the jars are not there, ServerFailed when it does not come up.
    """
    broker = RunningBroker(directory, java_options)
    broker.start()
    return broker


def _format(java: tuple[str, ...], settings: Path) -> None:
    command = ("java", *java, "kafka.tools.StorageTool", "format", "-c", str(settings), "-t", "b25ib2FyZGluZy10ZXN0cw")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise ServerFailed(f"Kafka could not format its directory:\n{done.stdout[-1_000:]}{done.stderr[-1_000:]}")


def main() -> None:
    """Run a broker until Ctrl-C or SIGTERM, its address on the first line of standard output."""
    parser = argparse.ArgumentParser(description="Start a real Kafka broker and print its address.")
    parser.add_argument("--directory", type=Path, help="where its data lies (default: a temporary directory)")
    chosen = parser.parse_args().directory
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="kafka-") as temporary:
        directory = (chosen or Path(temporary)).resolve()
        directory.mkdir(parents=True, exist_ok=True)
        # The full compiler, because a benchmark runs long enough to be worth it.
        broker = start_broker(directory, ("-Xmx512m", "-XX:+UseSerialGC"))
        sys.stdout.write(f"{broker.bootstrap_servers}\n")
        sys.stdout.flush()
        try:
            signal.pause()
        except KeyboardInterrupt:
            broker.stop()


if __name__ == "__main__":
    main()
