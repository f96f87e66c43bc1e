"""An installation on the broker that trusts nobody: each role a process with a principal, and rights, of its own."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from processor.adapters.acls import ROLES, Acl, Grantee, Installation, acls_of, installation_of
from processor.adapters.catalogue_file import catalogue_of
from processor.settings_loading import load_settings
from tests.support.secure_broker import Access, SecureBroker, Way
from tests.support.worker import Worker
from tests.support.world import World, world

CHECKED, LINKED, AGAIN = "person-check", "linked", "again"
DEFINITIONS = {name: f"00000000-0000-4000-8000-{number:012}" for number, name in enumerate((CHECKED, LINKED, AGAIN))}
RECORD = "record: {table: people, columns: {ref: requestId}}, deadline: 60s, poll: {first: 1s, max: 1s}"
CATALOGUE = f"""\
version: 1
workflows:
  {CHECKED}: {{definition: {DEFINITIONS[CHECKED]}, unknown: {{policy: hold, adoptionWindow: 1s}}, {RECORD}}}
  {LINKED}: {{definition: {DEFINITIONS[LINKED]}, mode: link, {RECORD}}}
  {AGAIN}: {{definition: {DEFINITIONS[AGAIN]}, unknown: {{policy: rerun, adoptionWindow: 1s}}, {RECORD}}}
"""
SIMULATOR: Mapping[str, object] = {"completion_ms": 200, "user_definitions": [DEFINITIONS[LINKED]]}
SETTINGS = {
    "PROCESSOR_ENGINE__CLOCK_MARGIN_S": "1",
    "PROCESSOR_ENGINE__MARK_INTERVAL_S": "0.5",
    "PROCESSOR_ENGINE__PURGE_INTERVAL_S": "7",  # One partition a second has its turn.
    "PROCESSOR_ENGINE__POSITION_AGE_S": "1",
}


@dataclass
class Guarded:
    """Made by `guarded`."""

    world: World
    secure: SecureBroker
    way: Way
    everyone: Access = field(init=False)  # Of `start_as_one`.
    users: dict[Grantee, Access] = field(default_factory=dict)
    workers: dict[Grantee, Worker] = field(default_factory=dict)

    @property
    def installation(self) -> Installation:
        """What the rights depend on."""
        settings = load_settings(self.world.environ)
        return installation_of(settings, catalogue_of(settings))

    def rights(self, grantee: Grantee) -> tuple[Acl, ...]:
        """Return the least rights of somebody, as documented."""
        return acls_of([grantee], self.installation)

    def user(self, grantee: Grantee, *, is_granted: bool = True) -> Access:
        """Return the principal of a role or of those who use commands, with exactly its rights."""
        if grantee not in self.users:
            name = f"{self.world.application_id}-{grantee}"
            access = self.users[grantee] = self.secure.admit(self.way, name)
            if is_granted:
                self.secure.grant(access, self.rights(grantee))
        return self.users[grantee]

    def worker(self, role: Grantee, *, is_granted: bool = True) -> Worker:
        """Make the process of a role, not started yet; webhooks go to the last ingestor made."""
        access = self.user(role, is_granted=is_granted)
        with self._as(access):
            made = self.workers[role] = self.world.worker(role)
        ingestor = self.workers.get(Grantee.INGESTOR)
        self.world.provider.send_webhooks_to(*([ingestor.webhook_port] if ingestor else []))
        return made

    def started(self, role: Grantee) -> Worker:
        """Make the process of a role, start it and wait until it works."""
        made = self.worker(role)
        made.start()
        self.world.wait_until(made.is_ready, f"{role} ready", 40)
        return made

    def start_as_one(self) -> Worker:
        """Start one process with all roles, as one principal with the rights of them all, and wait until it works."""
        self.everyone = self.secure.admit(self.way, self.world.application_id)
        self.secure.grant(self.everyone, acls_of(ROLES, self.installation))
        with self._as(self.everyone):
            return self.world.started(timeout_s=60)

    def command(self, grantee: Grantee, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command as somebody who may; `code` is how it must end."""
        with self._as(self.user(grantee)):
            done = self.world.command(*arguments)
        assert done.returncode == code, f"{arguments}: {done.stdout}{done.stderr}"
        return done

    def reasons(self, role: Grantee) -> str:
        """Return why a process says that it is not ready, an empty text when it is or nothing answers."""
        worker = self.workers[role]
        worker.assert_alive()
        try:
            answer: Any = httpx.get(f"http://127.0.0.1:{worker.ops_port}/readyz", timeout=2).json()
        except httpx.HTTPError:
            return ""
        return " ".join(answer.get("reasons", ()))

    @contextmanager
    def _as(self, access: Access) -> Iterator[None]:
        plain = self.world.environ
        self.world.environ = plain | dict(access.environ)
        try:
            yield
        finally:
            self.world.environ = plain


@contextmanager
def guarded(
    secure: SecureBroker, way: Way, directory: Path, *, settings: Mapping[str, str] | None = None
) -> Iterator[Guarded]:
    """Make such an installation; nobody in it has any right before it is given."""
    every = SETTINGS | dict(settings or {})
    with world(secure.bootstrap_servers, directory, workflows=CATALOGUE, simulator=SIMULATOR, settings=every) as made:
        yield Guarded(made, secure, way)
