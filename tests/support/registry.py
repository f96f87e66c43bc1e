"""A real Confluent-compatible schema registry (Apicurio, in-memory) from the jars of `make jars`."""

import urllib.request
from pathlib import Path

from tests.support.java import SMALL_HEAP, JavaServer, cached, free_port


class RunningRegistry:
    """A registry on a fixed port; it forgets everything when it stops."""

    def __init__(self, directory: Path) -> None:
        """Choose the port; raises ServerMissing without the jars."""
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
        (jar,) = cached("apicurio").glob("*-runner.jar")
        options = (f"-Dquarkus.http.port={port}", "-Dquarkus.http.host=127.0.0.1", "-Dquarkus.log.level=WARN")
        arguments = (*SMALL_HEAP, *options, "-jar", str(jar))
        self._server = JavaServer(arguments, directory / "registry.log", self._answers)

    def start(self) -> None:
        """Start the registry, empty; returns when it answers."""
        self._server.start(timeout_s=120)

    def stop(self) -> None:
        """Shut the registry down."""
        self._server.stop()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def start_registry(directory: Path) -> RunningRegistry:
    """Start a registry that logs below `directory`; it dies with this process.

    Raises ServerMissing when the jars are not there, ServerFailed when it does not come up.
    """
    registry = RunningRegistry(directory)
    registry.start()
    return registry
