"""Whether a process should be in service: what it lacks itself says no, what is wrong outside does not."""

from typing import cast

import pytest

from processor.core.catalogue import Catalogue, RecordTemplate, Workflow
from processor.engine.member import Member
from processor.roles.process import Process, Role
from processor.roles.renewal import Serving
from processor.roles.workers import unrestored
from processor.settings import Settings
from processor.simulator.server import Simulator
from processor.simulator.settings import settings_from
from tests.support.waiting import eventually

NOBODY = "127.0.0.1:1"
SEALED = "this deployment was moved"
STATE_LOST = "state was lost"


class Partitions:
    """What a member says of its partitions."""

    def __init__(self, why_stopped: str | None = None, *, is_ready: bool = False) -> None:
        self._why_stopped = why_stopped
        self._is_ready = is_ready

    def why_stopped(self) -> str | None:
        return self._why_stopped

    def is_ready(self) -> bool:
        return self._is_ready


@pytest.mark.parametrize(
    "preparation, launch, told",
    [
        (Partitions(is_ready=True), Partitions(is_ready=True), []),
        (Partitions(), Partitions(is_ready=True), ["preparation: partitions are being restored"]),
        (Partitions(SEALED), Partitions(SEALED), [f"preparation, launch: partitions are stopped, {SEALED}"]),
        (
            Partitions(SEALED),
            Partitions(STATE_LOST),
            [f"preparation: partitions are stopped, {SEALED}", f"launch: partitions are stopped, {STATE_LOST}"],
        ),
    ],
)
def test_partitions_that_stopped_say_why_once(preparation: Partitions, launch: Partitions, told: list[str]) -> None:
    """A sealed deployment stops all partitions of all deciders for the same reason."""
    members = {"preparation": cast("Member", preparation), "launch": cast("Member", launch)}
    assert [*unrestored(members)] == told


async def test_who_the_provider_took_is_still_known_when_the_deciders_are_renewed() -> None:
    """An outage of the provider in that moment is not taken for settings that are wrong."""
    simulator = Simulator(settings_from({}))
    settings = Settings.model_validate(
        {
            "kafka": {"bootstrap_servers": NOBODY, "operation_timeout_s": 0.1},
            "schema_registry": {"url": f"http://{NOBODY}"},
            "api": {"base_url": await simulator.start(), "key": "simulator-key", "secret": "simulator-secret"},
            "ops": {"host": "127.0.0.1", "port": 0},
        }
    )
    catalogue = Catalogue({"check": Workflow("check", "definition", record=RecordTemplate("people", {}))})
    process = Process(settings, catalogue, [Role.RECONCILER], on_crash=lambda: None)
    await process.start()
    await eventually(lambda: process.workers is not None and process.workers.contacts == {"default"})
    await simulator.stop()
    for _ in range(2):
        await process.renew_process(Serving.of(settings))
        await eventually(lambda: [*process.degraded()] == ["provider default, token: token failed: connect"])
        assert not any("provider" in reason for reason in process.unready())
    await process.stop()
