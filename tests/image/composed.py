"""The services of `compose.yaml` as values, and ours among them run by the image."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from tests.image.engine import Engine, Image
from tests.support.root import ROOT
from tests.support.worker import Worker

FILE = ROOT / "compose.yaml"
OURS = ("simulator", "topics", "schemas", "processor")
PORTS = ("PROCESSOR_WEBHOOK__PORT", "PROCESSOR_OPS__PORT")


def services() -> Mapping[str, Mapping[str, Any]]:
    """Return every service by name."""
    read: Mapping[str, Mapping[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]
    return read


@dataclass(frozen=True, slots=True)
class Service:
    """A service of ours: what it runs, with which variables and files."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    files: Mapping[Path, str]

    def moved(self, addresses: Mapping[str, str]) -> "Service":
        """Return it with other addresses in place of the names that only compose's own network knows."""

        def there(text: str) -> str:
            for name, address in addresses.items():
                text = text.replace(name, address)
            return text

        environment = {name: there(value) for name, value in self.environment.items()}
        return replace(self, command=tuple(there(each) for each in self.command), environment=environment)


def service(name: str) -> Service:
    """Return a service of ours."""
    said = services()[name]
    files = {}
    for volume in said["volumes"]:
        file, path, access = volume.split(":")
        assert access == "ro", f"{volume}: nothing of ours is written to"
        files[ROOT / file] = path
    return Service(tuple(said["command"]), dict(said["environment"]), files)


@dataclass(frozen=True, slots=True)
class Stage:
    """Where services run: who runs which image, where logs go, and the process group that ends with the test."""

    engine: Engine
    image: Image
    directory: Path
    group: int

    def worker(self, name: str, service: Service) -> Worker:
        """Return a service that runs until it is stopped, on ports of its own; not started yet."""
        command = self.engine.command(self.image, service.command, (*service.environment, *PORTS), service.files)
        return Worker(command, _environ(service), self.directory / f"{name}.log", self.group)

    def run(self, service: Service, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run another command in a service's surroundings, or its own where none is given; return how it ended."""
        command = self.engine.command(
            self.image, arguments or service.command, tuple(service.environment), service.files
        )
        return subprocess.run(
            command,
            cwd=ROOT,
            env=_environ(service),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def _environ(service: Service) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PROCESSOR_")}
    return {**inherited, **service.environment}
