"""What every command that moves a deployment begins with: whom it shuts out, and its tools.

A command shuts out all others of the deployments that it writes to before it reads anything of them: what it has seen
is then still so when it writes, or it writes nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from processor.adapters.relocation_kafka import FencedWriter, RelocationKafka
from processor.adapters.scratch import scratch_directory
from processor.adapters.topics import TopicAdmin
from processor.kafka_config import client_config, producer_config, reader_config
from processor.settings import Settings

CLIENT: Final = "relocation"


@dataclass(frozen=True, slots=True)
class Tools:
    """What every step needs: a cluster, room on disk, and somebody to tell how it goes."""

    kafka: RelocationKafka
    admin: TopicAdmin
    directory: Path
    tell: Callable[[str], None]


@contextmanager
def tools_for(settings: Settings, tell: Callable[[str], None]) -> Iterator[Tools]:
    """Give the tools; what they put on disk is private, and gone afterwards: after a kill, with the next command."""
    timeout_s = settings.kafka.operation_timeout_s
    client = client_config(settings, CLIENT)
    with (
        scratch_directory() as directory,
        closing(RelocationKafka(reader_config(settings, CLIENT), client, timeout_s)) as kafka,
    ):
        yield Tools(kafka, TopicAdmin(client, timeout_s), directory, tell)


@contextmanager
def writers_for(settings: Settings, *application_ids: str) -> Iterator[list[FencedWriter]]:
    """Give the one writer of each of these deployments; commands that began earlier write nothing more to them."""
    with ExitStack() as open_writers:
        yield [
            open_writers.enter_context(closing(writer_for(settings, application_id)))
            for application_id in application_ids
        ]


def writer_for(settings: Settings, application_id: str) -> FencedWriter:
    """Return the writer of a deployment."""
    name = {"transactional.id": f"{application_id}.{CLIENT}"}
    return FencedWriter(producer_config(settings, CLIENT, "") | name, settings.kafka.operation_timeout_s)
