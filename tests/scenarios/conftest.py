"""One installation for all scenarios that need nothing of their own."""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest

from tests.support.worker import Worker
from tests.support.world import World, world


@dataclass(frozen=True, slots=True)
class Stage:
    """A running installation; `worker` plays all roles and must run again when a scenario is over."""

    world: World
    worker: Worker

    def restart(self) -> int:
        """Stop the worker in order and start it again; return how it ended."""
        code = self.worker.terminate()
        self.worker.start()
        self.world.wait_until(self.worker.is_ready, "the worker ready again", 30)
        return code


@pytest.fixture(scope="session")
def stage(bootstrap_servers: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Give a running installation without faults, whose workflows take a fifth of a second."""
    with world(bootstrap_servers, tmp_path_factory.mktemp("stage")) as made:
        yield Stage(made, made.started())


@pytest.fixture
def request_id() -> str:
    """Give a request id that no other scenario uses."""
    return f"r-{uuid4().hex[:10]}"
