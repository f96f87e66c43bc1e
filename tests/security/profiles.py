"""What tests of the way to the provider share: two profiles, `default` called by pyreqwest and `second` by httpx."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from tests.security.rotation import renewals, sample
from tests.support.mounted import MountedFiles
from tests.support.onboarding import DEFINITION, Request, catalogue
from tests.support.provider import KEY, SECRET
from tests.support.worker import Worker
from tests.support.world import World

SECOND = "PROCESSOR_PROVIDERS__SECOND__"
PREFIXES = ("PROCESSOR_API__", SECOND)
BOTH = {f"{SECOND}HTTP_CLIENT": "httpx", f"{SECOND}KEY": KEY, f"{SECOND}SECRET": SECRET}
SECOND_WORKFLOW = f"""
  second-check:
    provider: second
    definition: {DEFINITION}
    record: {{table: people, columns: {{fullName: subject.lastName, ref: requestId}}}}
    deadline: 60s
    poll: {{first: 1s, max: 5s}}
"""


@dataclass(kw_only=True)
class TwoProfiles:
    """An installation whose worker cannot call yet, for what its mounted files hold is wrong."""

    world: World
    files: MountedFiles
    worker: Worker
    waiting: list[str] = field(default_factory=list)  # Requests without a result.

    def publish(self) -> list[str]:
        """Publish a request for each profile; return their ids."""
        request_ids = [f"r-{uuid4().hex[:10]}" for _ in range(2)]
        for request_id, workflow in zip(request_ids, ("person-check", "second-check"), strict=True):
            self.world.publish(Request(request_id, request_id, workflow))
        return request_ids

    def says(self, *reasons: str) -> None:
        """Wait until readiness gives all of these reasons."""
        self.world.wait_until(lambda: set(reasons) <= set(self._reasons()), f"the reasons {reasons}", 30)

    def mount(self, contents: Mapping[str, str], *, renewed: int) -> None:
        """Change mounted files, and wait until so many profiles at least use them."""
        before = renewals(self.worker, "provider")
        self.files.change(contents)
        self.world.wait_until(lambda: renewals(self.worker, "provider") >= before + renewed, f"{renewed} renewed")

    def _reasons(self) -> list[str]:
        answer: Any = httpx.get(f"http://127.0.0.1:{self.worker.ops_port}/readyz", timeout=5).json()
        return list(answer.get("reasons", []))


def worker_of(world: World) -> Worker:
    """Start the worker of both profiles, and wait until partitions are its own."""
    world.write_catalogue(catalogue() + SECOND_WORKFLOW)
    worker = world.worker()
    worker.start()
    world.wait_until(lambda: sample(worker, "onboarding_partitions_owned") > 0, "partitions", 30)
    return worker
