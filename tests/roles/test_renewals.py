"""Parts are renewed each by itself, given up for what is newer, and never left half replaced."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
import trustme
from prometheus_client import CollectorRegistry

from processor.errors import SettingsInvalid
from processor.roles.renewal import Renewals, Serving
from processor.settings import ApiSettings, Settings
from processor.settings_files import SettingsSource
from processor.settings_relations import process_file_problems
from processor.telemetry import ProcessMetrics
from tests.support.waiting import eventually

OLD, NEW = "old", "new"
AUTHORITY = trustme.CA().cert_pem.bytes()


class Desk:
    """A process that renews when told: `works` are the secrets and passwords that are known outside."""

    def __init__(self, directory: Path) -> None:
        self.file, self.authority = directory / "secret", directory / "ca.pem"
        self.authority.write_bytes(AUTHORITY)
        self.secret = self.password = OLD
        self.works = {OLD}
        self.is_refused = self.is_written_when_loaded = False
        self.used: list[str] = []  # What was taken into use, in order.
        self.begun: list[str] = []  # Secrets with which a profile's renewal began.
        self.may_replace = asyncio.Event()
        self.is_replacing = False
        self.crashes = self.loads = 0
        self.registry = CollectorRegistry()
        self._changes = 0
        self._is_known = asyncio.Condition()

    def load(self) -> Settings:
        self.loads += 1
        if self.is_written_when_loaded:
            self.is_written_when_loaded = False
            os.utime(self.file, (1, 1))  # What it holds is the same again.
            return self.settings("half")
        if self.is_refused:
            raise SettingsInvalid("PROCESSOR_API__SECRET: it is wrong")
        return self.settings(self.secret)

    def settings(self, secret: str) -> Settings:
        kafka = {"sasl_username": "processor", "sasl_password": self.password}
        api = {"base_url": "https://provider", "key": "key", "secret": secret}
        registry = {"url": "https://registry", "ca_file": self.authority}
        ops = {"reread_s": 0.005, "renewal_delay_s_max": 0}
        return Settings.model_validate({"kafka": kafka, "schema_registry": registry, "api": api, "ops": ops})

    def change(self, *, secret: str | None = None, password: str | None = None) -> None:
        self.secret, self.password = secret or self.secret, password or self.password
        self._changes += 1
        self.file.write_text(str(self._changes), encoding="utf-8")

    async def known(self, word: str) -> None:
        """Let the outside know a secret or password."""
        self.works.add(word)
        async with self._is_known:
            self._is_known.notify_all()

    async def _wait_for(self, word: str) -> None:
        async with self._is_known:
            await self._is_known.wait_for(lambda: word in self.works)

    async def renew_profile(self, name: str, api: ApiSettings) -> None:
        assert api.secret is not None
        secret = api.secret.get_secret_value()
        self.begun.append(secret)
        await self._wait_for(secret)
        self.used.append(f"{name} {secret}")

    async def find(self, serving: Serving) -> None:
        await self._wait_for(password_of(serving.settings))

    async def renew_process(self, serving: Serving) -> None:
        settings = serving.for_clients
        self.is_replacing = True
        await self.may_replace.wait()
        assert settings.api.secret is not None
        self.used.append(f"process {password_of(settings)} with {settings.api.secret.get_secret_value()}")
        self.is_replacing = False

    def crashed(self) -> None:
        self.crashes += 1

    def pending(self) -> float | None:
        return self.registry.get_sample_value("onboarding_settings_pending")

    def refused(self) -> float | None:
        return self.registry.get_sample_value("onboarding_settings_renewals_total", {"what": "refused"})


def password_of(settings: Settings) -> str:
    assert settings.kafka.sasl_password is not None
    return settings.kafka.sasl_password.get_secret_value()


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[tuple[Desk, Renewals]]:
    """Give a process whose files are looked at."""
    desk = Desk(directory)
    desk.change()
    source = SettingsSource({"PROCESSOR_API__SECRET_FILE": str(desk.file)}, desk.load)
    renewals = Renewals(
        source,
        Serving.of(desk.load()),
        desk,
        is_ready=lambda: True,
        metrics=ProcessMetrics(desk.registry),
        on_crash=desk.crashed,
    )
    with structlog.testing.capture_logs():
        renewals.start()
        yield desk, renewals
        desk.may_replace.set()
        await renewals.stop()
    assert desk.crashes == 0


async def until(desk: Desk, *used: str) -> None:
    """Wait until exactly this was taken into use."""
    await eventually(lambda: desk.used == [*used])


async def pending(desk: Desk, count: int) -> None:
    """Wait until so many changes are not in use yet."""
    await eventually(lambda: desk.pending() == count)


async def test_what_does_not_work_yet_holds_nothing_else_up(tmp_path: Path) -> None:
    """A password that the broker does not know waits; the provider's secret of the same hour is used."""
    async with running(tmp_path) as (desk, _):
        desk.may_replace.set()
        desk.works.add("secret-2")
        desk.change(password="password-2")
        await pending(desk, 1)
        desk.change(secret="secret-2")
        await until(desk, "default secret-2")
        assert desk.pending() == 1
        await desk.known("password-2")
        await until(desk, "default secret-2", "process password-2 with secret-2")
        await pending(desk, 0)


async def test_a_profile_that_waits_is_begun_anew_with_new_clients_alone(tmp_path: Path) -> None:
    """When all clients are replaced, the new ones serve with the secret of before, until the new one works.

    A change of something else leaves it waiting as it was.
    """
    async with running(tmp_path) as (desk, _):
        desk.may_replace.set()
        desk.change(secret="secret-2")
        await pending(desk, 1)
        desk.works.add("password-2")
        desk.change(password="password-2")
        await until(desk, "process password-2 with old")
        await pending(desk, 1)
        await desk.known("secret-2")
        await until(desk, "process password-2 with old", "default secret-2")
        assert desk.begun == ["secret-2"] * 2  # When it changed, and with the new clients.


async def test_what_is_newer_takes_the_place_of_what_waits(tmp_path: Path) -> None:
    """A mistyped secret is never used, and one that is taken back leaves nothing to do."""
    async with running(tmp_path) as (desk, _):
        desk.change(secret="mistyped")
        await pending(desk, 1)
        desk.works.add("secret-2")
        desk.change(secret="secret-2")
        await until(desk, "default secret-2")
        desk.change(secret="mistyped again")
        await pending(desk, 1)
        desk.change(secret="secret-2")
        await pending(desk, 0)
        assert desk.used == ["default secret-2"]


async def test_a_replacement_that_has_begun_is_ended_before_anything_newer(tmp_path: Path) -> None:
    """Nobody replaces what is just being replaced; what came meanwhile follows."""
    async with running(tmp_path) as (desk, _):
        desk.works |= {"password-2", "password-3"}
        desk.change(password="password-2")
        await eventually(lambda: desk.is_replacing)
        loads = desk.loads
        desk.change(password="password-3")
        await eventually(lambda: desk.loads > loads)
        desk.may_replace.set()
        await until(desk, "process password-2 with old", "process password-3 with old")


async def test_a_stop_waits_for_a_replacement_and_for_nothing_else(tmp_path: Path) -> None:
    """What waits outside is given up; what has begun ends, and nothing begins after it."""
    async with running(tmp_path) as (desk, renewals):
        desk.works.add("password-2")
        desk.change(secret="mistyped", password="password-2")
        await eventually(lambda: desk.is_replacing)
        stopping = asyncio.create_task(renewals.stop())
        assert not (await asyncio.wait([stopping], timeout=0.05))[0]
        desk.may_replace.set()
        await stopping
        assert (desk.used, desk.pending()) == (["process password-2 with old"], 0)


async def test_what_is_refused_changes_nothing_and_is_counted_once(tmp_path: Path) -> None:
    """The next change is looked at as any other."""
    async with running(tmp_path) as (desk, _):
        desk.is_refused = True
        desk.change(secret=NEW)
        await eventually(lambda: desk.refused() == 1)
        await asyncio.sleep(0.05)
        assert desk.refused() == 1
        desk.is_refused = False
        desk.works.add(NEW)
        desk.change()
        await until(desk, f"default {NEW}")


async def test_what_is_refused_waits_as_what_does_not_work(tmp_path: Path) -> None:
    """A metric says so until it is mended or taken back, and each look tries it again: it may be whole by then."""
    async with running(tmp_path) as (desk, _):
        await pending(desk, 0)
        desk.is_refused = True
        desk.change(secret=NEW)
        await pending(desk, 1)
        desk.is_refused = False
        desk.works.add(NEW)
        await until(desk, f"default {NEW}")
        await pending(desk, 0)


async def test_what_is_written_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    """Half of it was read, and afterwards the file holds what it held at the look: nothing would show it."""
    async with running(tmp_path) as (desk, _):
        await pending(desk, 0)
        desk.works |= {NEW, "half"}
        desk.is_written_when_loaded = True
        desk.change(secret=NEW)
        await until(desk, f"default {NEW}")


async def test_what_comes_back_while_it_is_judged_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was missing when it was read, so there is no copy of it: clients would read whatever it holds later."""
    judged: list[tuple[int, list[str]]] = []  # At which load, and what was wrong.

    def coming_back(settings: Settings) -> Iterator[str]:
        desk.authority.write_bytes(AUTHORITY)
        problems = [*process_file_problems(settings)]
        judged.append((desk.loads, problems))
        yield from problems

    async with running(tmp_path) as (desk, _):
        monkeypatch.setattr("processor.roles.renewal.process_file_problems", coming_back)
        desk.authority.unlink()
        await eventually(lambda: bool(judged) and desk.loads > judged[0][0])
        assert ([problems for _, problems in judged], desk.is_replacing, desk.pending()) == ([[]], False, 0)
