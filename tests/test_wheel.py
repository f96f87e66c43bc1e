"""The wheel: what is installed works without the checkout beside it."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.root import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel as the image does."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ["pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"]
    subprocess.run([sys.executable, "-m", *build, "--wheel-dir", folder, ROOT], check=True, timeout=100)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_carries_every_module_and_every_schema(wheel: Path) -> None:
    """The schemas lie inside the package, where the program looks first."""
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "processor").rglob("*.py")}
    schemas = {f"processor/{path.relative_to(ROOT)}" for path in (ROOT / "schemas").rglob("*.avsc")}
    names = set(zipfile.ZipFile(wheel).namelist())
    assert (modules | schemas) - names == set()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"processor"}


def test_the_schemas_are_found_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """Unpacked anywhere, the program finds its own schemas."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    ask = "from processor.adapters.schema_files import schemas_directory as where; print(where())"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, sys.argv[1]); {ask}", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True)
    assert Path(done.stdout.strip()) == tmp_path / "processor" / "schemas"


def test_the_command_is_called_processor(wheel: Path) -> None:
    """Installing puts one command on the path."""
    names = [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("entry_points.txt")]
    assert "processor = processor.cli.main:main" in zipfile.ZipFile(wheel).read(names[0]).decode()
