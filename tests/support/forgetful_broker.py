"""A real broker that forgets markers of transactions when told to, by rules that Byteman puts into its code.

It does so by itself where a partition has no leader at the moment in which a transaction ends, as when a lone broker
is restarted: docs/kafka-rules.md, fact 16. That hits one of hundreds of restarts, so here it is made to happen.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.broker import RunningBroker
from tests.support.java import SMALL_HEAP, cached
from tests.support.waiting import wait_until

# Without a leader's address the coordinator leaves a partition out; an answer that is not sent leaves a commit unknown.
_RULES = """\
RULE partitions without a leader
CLASS org.apache.kafka.metadata.KRaftMetadataCache
METHOD getPartitionLeaderEndpoint
AT ENTRY
BIND flag: java.io.File = new java.io.File("{directory}/forget");
     topic: String = $1
IF flag.exists() AND {is_meant}
DO RETURN java.util.Optional.empty()
ENDRULE

RULE commits without an answer
CLASS kafka.network.RequestChannel
METHOD sendResponse(RequestChannel$Request, AbstractResponse, Option)
AT ENTRY
BIND flag: java.io.File = new java.io.File("{directory}/swallow");
     call: String = $1.header().apiKey().name();
     client: String = $1.header().clientId()
IF flag.exists() AND call.equals("END_TXN") AND client.contains("{client}")
DO RETURN
ENDRULE
"""
_LOGGER = "kafka.coordinator.transaction.TransactionMarkerChannelManager"


class ForgetfulBroker:
    """A broker that forgets the markers of these topics, and swallows the answers to commits of one client."""

    def __init__(self, directory: Path, topics: tuple[str, ...], client: str) -> None:
        """Prepare it; `topics` and `client` are what names begin or end with, or hold within."""
        directory.mkdir()
        self._directory = directory
        rules = directory / "rules.btm"
        is_meant = " OR ".join(f'topic.contains("{name}")' for name in topics)
        rules.write_text(_RULES.format(directory=directory, is_meant=f"({is_meant})", client=client), encoding="utf-8")
        (agent,) = cached("kafka").glob("byteman-*.jar")
        told = f"-Dorg.slf4j.simpleLogger.log.{_LOGGER}=info"
        self.running = RunningBroker(directory, (*SMALL_HEAP, told, f"-javaagent:{agent}=script:{rules}"))

    @contextmanager
    def forgetting(self, topic: str, *, is_silent: bool = False) -> Iterator[None]:
        """Forget markers until the block is over and one was forgotten on this topic; swallow answers as well."""
        told = self._forgotten(topic)
        flags = [self._directory / name for name in ("forget", "swallow")[: 1 + is_silent]]
        for flag in flags:
            flag.touch()
        try:
            yield
            wait_until(lambda: self._forgotten(topic) > told, f"a marker forgotten on {topic}")
        finally:
            for flag in flags:
                flag.unlink()

    def _forgotten(self, topic: str) -> int:
        lines = self.running.log_file.read_text(errors="replace").splitlines()
        return sum("Couldn't find leader endpoint" in line and topic in line for line in lines)
