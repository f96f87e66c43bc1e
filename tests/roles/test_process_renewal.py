"""What a process renews in which order, and what it goes on with when a renewal is given up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from ssl import SSLError
from typing import Any, cast

import pytest
import trustme

from processor.core.catalogue import Catalogue
from processor.roles.deciders import Decider
from processor.roles.ingestor import Ingestor
from processor.roles.process import Process, Role
from processor.roles.renewal import Serving
from processor.roles.workers import Workers
from processor.settings import ApiSettings, Settings

NOBODY = "127.0.0.1:1"
AWAY: dict[str, Any] = {
    "kafka": {"bootstrap_servers": NOBODY, "operation_timeout_s": 0.1},
    "schema_registry": {"url": f"http://{NOBODY}"},
    "api": {"base_url": f"http://{NOBODY}", "token": "tot_x"},
    "webhook": {"host": "127.0.0.1", "port": 0, "ack_timeout_s": 0.1},
    "ops": {"host": "127.0.0.1", "port": 0},
}


class Renewed:
    """A part of a process that is renewed when `works` is set; notes with what."""

    def __init__(self) -> None:
        self.used: list[str] = []
        self.begun = 0
        self.works = asyncio.Event()

    def renew(self, name: str, api: ApiSettings) -> None:
        self.used.append(f"{name} {api.version}")

    async def renewal(self, name: str, api: ApiSettings) -> None:
        self.begun += 1
        await self.works.wait()
        self.renew(name, api)


class Joined:
    """A decider that has begun, and leaves when it is asked to."""

    name = "preparation"

    def ask_to_stop(self) -> None:
        pass

    def join(self, budget_s: float) -> bool:
        return budget_s > 0


@asynccontextmanager
async def started(*roles: Role) -> AsyncIterator[Process]:
    """Give a process whose broker, registry and provider are away."""
    process = Process(Settings.model_validate(AWAY), Catalogue({}), roles, on_crash=lambda: None)
    await process.start()
    yield process
    await process.stop()


async def test_webhook_keys_follow_the_calls() -> None:
    """A secret that is given up before it had a token leaves the keys with what serves, too."""
    async with started(Role.INGESTOR) as process:
        calls, keys = Renewed(), Renewed()
        ingestor, process.ingestor = process.ingestor, cast("Ingestor", keys)
        process.workers = cast("Workers", calls)
        mistyped = asyncio.create_task(process.renew_profile("default", ApiSettings(version=1)))
        await asyncio.sleep(0)
        mistyped.cancel()
        await asyncio.wait([mistyped])
        assert (calls.begun, calls.used, keys.used) == (1, [], [])
        calls.works.set()
        await process.renew_profile("default", ApiSettings(version=2))
        assert calls.used == keys.used == ["default 2"]
        process.workers = None
        await process.renew_profile("default", ApiSettings(version=3))
        assert keys.used == ["default 2", "default 3"]
        process.ingestor = ingestor


async def test_what_never_worked_is_replaced_at_once_and_nothing_else() -> None:
    """Deciders that are just coming back with what worked are not taken for such that never worked."""
    async with started(Role.SUBMITTER) as process:
        serving = Serving.of(Settings.model_validate(AWAY))
        async with asyncio.timeout(5):
            await process.find(serving)
            await process.renew_process(serving)
            await process.find(serving)
        assert process.workers is not None
        process.workers.deciders = {"preparation": cast("Decider", Joined())}
        await process.renew_process(serving)
        assert not process.workers.has_begun
        finding = asyncio.create_task(process.find(serving))
        assert not (await asyncio.wait([finding], timeout=0.3))[0]
        finding.cancel()
        await asyncio.wait([finding])


async def test_files_that_are_spoilt_meanwhile_disturb_no_renewal(tmp_path: Path) -> None:
    """All clients are made anew of the authorities that were taken up, whatever stands in their file by then."""
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    files = {"api": {**AWAY["api"], "ca_file": file}, "schema_registry": {**AWAY["schema_registry"], "ca_file": file}}
    properties = {"properties": {"security.protocol": "ssl", "ssl.ca.location": str(file)}}
    serving = Serving.whole(Settings.model_validate({**AWAY, **files, "kafka": {**AWAY["kafka"], **properties}}))
    async with started(Role.SUBMITTER) as process:
        file.write_text("half a certifi", encoding="utf-8")
        await process.renew_process(serving)
        await process.renew_profile("default", serving.for_clients.api)
        with pytest.raises(SSLError):
            await process.renew_profile("default", serving.settings.api)
