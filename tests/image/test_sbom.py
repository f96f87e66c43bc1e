"""The bill of materials that `make sbom` writes: what security teams scan without pulling the image."""

import json
import re
import subprocess
import sys
import tomllib
from typing import Any

import pytest
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation import make_schemabased_validator
from packaging.utils import canonicalize_name

from tests.image.lock import locked
from tests.support.root import ROOT

pytestmark = pytest.mark.slow

FILE = ROOT / "dist" / "sbom.cdx.json"


@pytest.fixture(scope="module")
def text() -> str:
    """Give the document as it is written now."""
    FILE.unlink(missing_ok=True)
    subprocess.run(["make", "sbom"], cwd=ROOT, check=True, timeout=280)
    return FILE.read_text("utf-8")


@pytest.fixture(scope="module")
def document(text: str) -> dict[str, Any]:
    """Give the document as values."""
    read: dict[str, Any] = json.loads(text)
    return read


def test_it_is_valid(text: str) -> None:
    """The standard's own schema, the strict one, has nothing to say."""
    assert make_schemabased_validator(OutputFormat.JSON, SchemaVersion.V1_6).validate_str(text) is None
    broken = text.replace('"bomFormat"', '"bombFormat"')
    assert make_schemabased_validator(OutputFormat.JSON, SchemaVersion.V1_6).validate_str(broken) is not None


def test_it_is_about_this_program(document: dict[str, Any]) -> None:
    """Name, version and licence are those of the project."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    subject = document["metadata"]["component"]
    assert (subject["name"], subject["version"]) == (project["name"], project["version"])
    assert subject["licenses"][0]["license"]["id"] == project["license"]


def test_it_lists_what_is_locked_and_nothing_else(document: dict[str, Any]) -> None:
    """One component for each distribution that is installed on this platform, with its version."""
    found = {canonicalize_name(each["name"]): each["version"] for each in document["components"]}
    assert found == locked()
    assert len(found) == len(document["components"])


def test_each_component_can_be_looked_up_and_has_a_licence(document: dict[str, Any]) -> None:
    """Package URLs are what scanners search by; licences are what lawyers ask for."""
    assert all(each["purl"].startswith("pkg:pypi/") for each in document["components"])
    # Its metadata names none; the licence file in its wheel does.
    assert [each["name"] for each in document["components"] if not each.get("licenses")] == ["pyreqwest"]


def test_it_says_who_needs_whom(document: dict[str, Any]) -> None:
    """The program's own dependencies hang on it."""
    (ours,) = (each for each in document["dependencies"] if each["ref"] == document["metadata"]["component"]["bom-ref"])
    assert {"httpx", "rocksdict"} <= {each.partition("==")[0] for each in ours["dependsOn"]}


def test_it_tells_nothing_of_the_machine(text: str) -> None:
    """No path, no time: everybody who makes it gets the same."""
    assert str(ROOT) not in text
    assert re.search(r"file:|/home/|/root/|/tmp/|\"timestamp\"", text) is None
    assert sys.prefix not in text
