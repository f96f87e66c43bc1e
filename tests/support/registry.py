"""A real Confluent-compatible schema registry (Apicurio, in-memory) from the jars of `make jars`."""

import base64
import ssl
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.support.java import SMALL_HEAP, JavaServer, cached
from tests.support.ports import free_port


@dataclass(frozen=True, slots=True)
class Guard:
    """Whom a registry lets in, and how it shows who it is: a certificate of an authority of its own."""

    user: str
    password: str
    authority: Path
    certificate: Path
    key: Path

    @property
    def options(self) -> dict[str, str]:
        """Quarkus' properties: HTTPS alone, and no route without the user."""
        users = "quarkus.security.users.embedded"
        return {
            "quarkus.http.insecure-requests": "disabled",
            "quarkus.http.ssl.certificate.files": str(self.certificate),
            "quarkus.http.ssl.certificate.key-files": str(self.key),
            "quarkus.http.auth.basic": "true",
            "quarkus.http.auth.permission.all.paths": "/*",
            "quarkus.http.auth.permission.all.policy": "authenticated",
            f"{users}.enabled": "true",
            f"{users}.plain-text": "true",
            f"{users}.users.{self.user}": self.password,
            f"{users}.roles.{self.user}": "sr-admin",
        }


def guard_in(directory: Path, user: str, password: str) -> Guard:
    """Make an authority and a certificate for this machine, below `directory`."""
    authority = trustme.CA()
    mine = authority.issue_cert("127.0.0.1", "localhost")
    guard = Guard(user, password, *(directory / name for name in ("ca.pem", "certificate.pem", "key.pem")))
    authority.cert_pem.write_to_path(str(guard.authority))
    guard.certificate.write_bytes(b"".join(each.bytes() for each in mine.cert_chain_pems))
    mine.private_key_pem.write_to_path(str(guard.key))
    return guard


class RunningRegistry:
    """A registry on a fixed port; it forgets everything when it stops."""

    def __init__(self, directory: Path, guard: Guard | None = None) -> None:
        """Choose the port; without a guard it is open to everybody. Raises ServerMissing without the jars."""
        port = free_port()
        self._guard = guard
        scheme, setting = ("http", "quarkus.http.port") if guard is None else ("https", "quarkus.http.ssl-port")
        self.url = f"{scheme}://127.0.0.1:{port}/apis/ccompat/v7"
        (jar,) = cached("apicurio").glob("*-runner.jar")
        given = {setting: str(port), "quarkus.http.host": "127.0.0.1", "quarkus.log.level": "WARN"}
        options = given | ({} if guard is None else guard.options)
        arguments = (*SMALL_HEAP, *(f"-D{name}={value}" for name, value in options.items()), "-jar", str(jar))
        self._server = JavaServer(arguments, directory / "registry.log", self._answers)

    def start(self) -> None:
        """Start the registry, empty; returns when it answers."""
        self._server.start(timeout_s=120)

    def stop(self) -> None:
        """Shut the registry down."""
        self._server.stop()

    def _answers(self) -> bool:
        asked = urllib.request.Request(f"{self.url}/subjects")
        trusted = None
        if self._guard is not None:
            pair = base64.b64encode(f"{self._guard.user}:{self._guard.password}".encode()).decode()
            asked.add_header("authorization", f"Basic {pair}")
            trusted = ssl.create_default_context(cafile=str(self._guard.authority))
        try:
            with urllib.request.urlopen(asked, timeout=2, context=trusted) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def start_registry(directory: Path, guard: Guard | None = None) -> RunningRegistry:
    """Start a registry that logs below `directory`; it dies with this process.

    Raises ServerMissing when the jars are not there, ServerFailed when it does not come up.
    """
    registry = RunningRegistry(directory, guard)
    registry.start()
    return registry
