"""Who builds and runs the image: Docker or Podman where one answers, else buildah and crun, which need no engine.

All of them run it as Kubernetes' `restricted` does: read-only root, no capabilities, no new privileges.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol
from uuid import uuid4

from tests.image.bundle import Bundle
from tests.image.debian import DebianBases, tool_missing
from tests.support.root import ROOT
from tests.support.servers import cannot_run

STATE_DIRECTORY = "/var/lib/processor"
TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Image:
    """What an image says of itself, in the words of the OCI image specification."""

    reference: str
    config: Mapping[str, Any]
    layers: tuple[str, ...]


class Engine(Protocol):
    """Builds images, and says by which command one is run on the host's network."""

    @property
    def clamps_times(self) -> bool:
        """Whether SOURCE_DATE_EPOCH is also the time of what the engine itself writes into a layer."""
        ...

    def build(self, context: Path, arguments: Mapping[str, str], secrets: Mapping[str, Path]) -> Image:
        """Build the image of this context; secrets are seen by the build only."""
        ...

    def command(
        self, image: Image, arguments: Sequence[str], variables: Iterable[str], files: Mapping[Path, str]
    ) -> tuple[str, ...]:
        """Return a command that runs the image until SIGTERM.

        The named variables come from the environment of the command; `files` are seen at a path inside, read-only.
        """
        ...

    def output(self, image: Image, program: Sequence[str]) -> str:
        """Return what another program prints that is run in the image instead of ours."""
        ...


class ClientEngine:
    """Docker or Podman, by their commands."""

    clamps_times = False

    def __init__(self, client: str, stack: ExitStack) -> None:
        """Keep what the engine is called; the stack removes what is built."""
        self._client = client
        self._stack = stack

    def build(self, context: Path, arguments: Mapping[str, str], secrets: Mapping[str, Path]) -> Image:
        """See Engine."""
        reference = f"onboarding-processor-test:{uuid4().hex[:12]}"
        given = (*_build_arguments(arguments), *_secret_arguments(secrets))
        _run(self._client, "build", "--tag", reference, *given, str(context))
        self._stack.callback(_run, self._client, "image", "rm", "--force", reference)
        (told,) = json.loads(_run(self._client, "image", "inspect", reference))
        return Image(reference, told["Config"], tuple(told["RootFS"]["Layers"]))

    def command(
        self, image: Image, arguments: Sequence[str], variables: Iterable[str], files: Mapping[Path, str]
    ) -> tuple[str, ...]:
        """See Engine."""
        given = [part for name in variables for part in ("--env", name)]
        seen = [part for file, path in files.items() for part in ("--volume", f"{file}:{path}:ro")]
        return (*self._restricted(), *given, *seen, image.reference, *arguments)

    def output(self, image: Image, program: Sequence[str]) -> str:
        """See Engine."""
        return _run(*self._restricted(), "--entrypoint", program[0], image.reference, *program[1:])

    def _restricted(self) -> tuple[str, ...]:
        return (
            *(self._client, "run", "--rm", "--interactive", "--network", "host", "--read-only", "--tmpfs", "/tmp"),  # noqa: S108  # inside
            *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        )


class Buildah:
    """Buildah on bases made by debootstrap; what it built is run by crun."""

    clamps_times = True

    def __init__(self, bases: DebianBases, directory: Path, stack: ExitStack) -> None:
        """Keep where states of containers lie; the stack removes what is built."""
        self._bases = bases
        self._directory = directory
        self._stack = stack
        self._roots: dict[str, str] = {}

    def build(self, context: Path, arguments: Mapping[str, str], secrets: Mapping[str, Path]) -> Image:
        """See Engine."""
        reference = f"localhost/onboarding-processor-test:{uuid4().hex[:12]}"
        self._bases.buildah(
            *("bud", "--quiet", "--isolation", "chroot", "--tag", reference),
            *("--timestamp", arguments["SOURCE_DATE_EPOCH"]),
            *_build_arguments({**self._bases.arguments(), **arguments}),
            *_secret_arguments(secrets),
            str(context),
        )
        self._stack.callback(self._bases.buildah, "rmi", reference)
        told = json.loads(self._bases.buildah("inspect", "--type", "image", reference))["OCIv1"]
        return Image(reference, told["config"], tuple(told["rootfs"]["diff_ids"]))

    def command(
        self, image: Image, arguments: Sequence[str], variables: Iterable[str], files: Mapping[Path, str]
    ) -> tuple[str, ...]:
        """See Engine."""
        return self._bundled(image, (*image.config["Entrypoint"], *arguments), variables, files)

    def output(self, image: Image, program: Sequence[str]) -> str:
        """See Engine."""
        return _run(*self._bundled(image, program, (), {}))

    def _bundled(
        self, image: Image, program: Sequence[str], variables: Iterable[str], files: Mapping[Path, str]
    ) -> tuple[str, ...]:
        root, volume = self._root(image.reference), self._directory / uuid4().hex
        volume.mkdir()
        own = Path(f"{root}{STATE_DIRECTORY}").stat()  # As an engine does, which makes a volume of what the image has.
        os.chown(volume, own.st_uid, own.st_gid)
        bundle = Bundle(
            root=root,
            user=image.config["User"],
            environment=tuple(image.config["Env"]),
            variables=tuple(variables),
            program=tuple(program),
            writable={str(volume): STATE_DIRECTORY},
            readable={str(file): path for file, path in files.items()},
        )
        return (sys.executable, "-m", "tests.image.bundle", bundle.to_json())

    def _root(self, reference: str) -> str:
        """Return where the files of an image lie; containers share them, since none can write there."""
        if reference not in self._roots:
            container = self._bases.buildah("from", reference).strip()
            self._stack.callback(self._bases.buildah, "rm", container)
            self._roots[reference] = self._bases.buildah("mount", container).strip()
        return self._roots[reference]


@contextmanager
def engine() -> Iterator[Engine]:
    """Give what builds and runs images here; skip the test, or fail it in CI, where nothing does.

    What was built is removed when the block is left.
    """
    client = next((name for name in ("docker", "podman") if _answers(name)), None)
    missing = None if client else tool_missing()
    if missing:
        cannot_run(f"no Docker or Podman answers here, and to build an image without them: {missing}")
    with TemporaryDirectory(prefix="image-") as directory, ExitStack() as stack:
        if client:
            yield ClientEngine(client, stack)
        else:
            yield Buildah(DebianBases(ROOT / ".cache" / "image"), Path(directory), stack)


def _answers(client: str) -> bool:
    if not shutil.which(client):
        return False
    return subprocess.run([client, "info"], capture_output=True, timeout=20, check=False).returncode == 0


def _build_arguments(arguments: Mapping[str, str]) -> list[str]:
    return [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]


def _secret_arguments(secrets: Mapping[str, Path]) -> list[str]:
    return [part for name, file in secrets.items() for part in ("--secret", f"id={name},src={file}")]


def _run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stderr[-3_000:]}"
    return done.stdout
