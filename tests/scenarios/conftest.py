"""Two installations for all scenarios that need nothing of their own: the plain one, and that of every operation."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from tests.support.onboarding import Request
from tests.support.operations import definition_of, operations, subject
from tests.support.provider import Provider
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


@dataclass(frozen=True, slots=True)
class Everything:
    """A running installation of all versions, and the provider's second workspace."""

    world: World
    second: Provider

    @property
    def provider(self) -> Provider:
        """The first workspace."""
        return self.world.provider

    def ask(self, workflow: str, request_id: str, key: str | None = None, **more: Any) -> None:  # noqa: ANN401
        """Publish a request of a whole person; `more` are members of its event."""
        person = {"subject": subject(f"S-{request_id}")}
        attributes = {"orderId": f"O-{request_id}"}
        self.world.publish(Request(request_id, key or request_id, workflow, attributes=attributes, more=person | more))

    def done(self, workflow: str, request_id: str, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:  # noqa: ANN401
        """Publish a request, wait for its result; return it with what the provider executed."""
        self.ask(workflow, request_id, **more)
        result = self.world.result(request_id)
        assert (result["outcome"], result["definitionId"]) == ("COMPLETED", definition_of(workflow)), result
        assert len(self.world.results(request_id)) == 1
        return result, self.provider.run(result["workflowId"])


@pytest.fixture(scope="session")
def stage(bootstrap_servers: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Give a running installation without faults, whose workflows take a fifth of a second."""
    with world(bootstrap_servers, tmp_path_factory.mktemp("stage")) as made:
        yield Stage(made, made.started())


@pytest.fixture
def request_id() -> str:
    """Give a request id that no other scenario uses."""
    return f"r-{uuid4().hex[:10]}"


@pytest.fixture(scope="session")
def every(bootstrap_servers: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everything]:
    """Give a running installation of every operation in every version, without faults."""
    with operations(bootstrap_servers, tmp_path_factory.mktemp("every")) as (world, second):
        worker = world.worker()
        second.send_webhooks_to_url(f"http://127.0.0.1:{worker.webhook_port}/webhooks/second")
        worker.start()
        world.wait_until(worker.is_ready, "the worker ready", 30)
        yield Everything(world, second)
