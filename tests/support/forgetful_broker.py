"""A real broker that forgets markers of transactions when told to, by rules that Byteman puts into its code.

Kafka 4.3 and 4.4 do so where a partition has no leader at the moment in which a transaction ends, as when a lone
broker is restarted: docs/kafka-rules.md, fact 14. That hits few restarts, so here it is made to happen.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.broker import RunningBroker
from tests.support.java import SMALL_HEAP, ServerMissing, cached
from tests.support.waiting import wait_until

# Without a leader's address the coordinator leaves a partition out; an answer that is not sent leaves a commit unknown.
# What is meant is told by files with the names of topics and clients.
_RULES = """\
RULE partitions without a leader
INTERFACE org.apache.kafka.metadata.MetadataCache
METHOD getPartitionLeaderEndpoint
AT ENTRY
BIND topic: String = $1;
     flag: java.io.File = new java.io.File("{directory}/" + topic)
IF flag.exists()
DO RETURN java.util.Optional.empty()
ENDRULE

RULE commits without an answer
CLASS kafka.network.RequestChannel
METHOD sendResponse(RequestChannel$Request, AbstractResponse, Option)
AT ENTRY
BIND call: String = $1.header().apiKey().name();
     client: String = $1.header().clientId();
     flag: java.io.File = new java.io.File("{directory}/" + client)
IF call.equals("END_TXN") AND flag.exists()
DO RETURN
ENDRULE
"""
_FORGOTTEN, _BEGUN_ANEW = "Couldn't find leader endpoint", "Initialized transactionalId"


class ForgetfulBroker:
    """A broker that forgets when it is told what."""

    def __init__(self, directory: Path) -> None:
        """Prepare it; raises ServerMissing without the jars, ServerFailed when Kafka refuses the directory."""
        self._flags = directory / "flags"
        self._flags.mkdir()
        rules = directory / "rules.btm"
        rules.write_text(_RULES.format(directory=self._flags), encoding="utf-8")
        agent = next(cached("kafka").glob("byteman-*.jar"), None)
        if agent is None:
            raise ServerMissing("Byteman is not in .cache: run `make jars`")
        told = "-Dorg.slf4j.simpleLogger.log.kafka.coordinator.transaction=info"
        self.running = RunningBroker(directory, (*SMALL_HEAP, told, f"-javaagent:{agent}=script:{rules}"))

    @contextmanager
    def forgetting(self, *topics: str) -> Iterator[None]:
        """Forget the markers of these topics until the block is over and one was forgotten on the first."""
        before = self.forgot(topics[0])
        with self._flagged(*topics):
            yield
            wait_until(lambda: self.forgot(topics[0]) > before, f"a marker forgotten on {topics[0]}")

    def forgot(self, topic: str) -> int:
        """Return how often it forgot markers of a topic, told or not."""
        return self._told(_FORGOTTEN, topic)

    @contextmanager
    def swallowing(self, client: str) -> Iterator[None]:
        """Answer no commit of a client until the block is over, and it has begun with another producer."""
        told = self._told(_BEGUN_ANEW, client)
        with self._flagged(client):
            yield
            wait_until(lambda: self._told(_BEGUN_ANEW, client) > told, f"another producer of {client}")

    @contextmanager
    def _flagged(self, *names: str) -> Iterator[None]:
        flags = [self._flags / name for name in names]
        for flag in flags:
            flag.touch()
        try:
            yield
        finally:
            for flag in flags:
                flag.unlink()

    def _told(self, what: str, of: str) -> int:
        lines = self.running.log_file.read_text(errors="replace").splitlines()
        return sum(what in line and of in line for line in lines)
