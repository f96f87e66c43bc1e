"""The image, built once for all tests that look at one."""

from collections.abc import Iterator
from pathlib import Path
from shutil import copy2, copytree, ignore_patterns

import pytest

from tests.image.dockerfile import COPIED
from tests.image.engine import Engine, Image, engine
from tests.support.root import ROOT

EPOCH = 1_700_000_000
ARGUMENTS = {
    "SOURCE_DATE_EPOCH": str(EPOCH),
    "REVISION": "0123456789abcdef",
    "CREATED": "2023-11-14T22:13:20Z",
    "SOURCE": "https://git.example.test/onboarding-processor",
}
# The package registry may be reached through an authority that only this machine trusts.
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
SECRETS = {"ca": CERTIFICATES} if CERTIFICATES.is_file() else {}


@pytest.fixture(scope="session")
def builder() -> Iterator[Engine]:
    """Give what builds and runs images here."""
    with engine() as found:
        yield found


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give what the image is built from, as it is now: a checkout may change while tests run."""
    context = tmp_path_factory.mktemp("sources")
    for name in (*COPIED, "Dockerfile", ".dockerignore"):
        if (ROOT / name).is_dir():
            copytree(ROOT / name, context / name, ignore=ignore_patterns("__pycache__"))
        else:
            copy2(ROOT / name, context / name)
    return context


@pytest.fixture(scope="session")
def image(builder: Engine, sources: Path) -> Image:
    """Give the image of this checkout."""
    return builder.build(sources, ARGUMENTS, SECRETS)
