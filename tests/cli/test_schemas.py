"""`processor schemas` as the pipeline of a publisher uses it: a registry and a file, no catalogue and no broker."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from processor.adapters.embedded_registry import registry_in_thread
from processor.adapters.registry import Finding, Verdict
from processor.adapters.schema_files import public_schema, schemas_directory
from processor.cli.schemas import level_command
from tests.cli.commands import NOBODY, Said, command

TOPIC = "onboarding.requests"
SUBJECT = f"{TOPIC}-value"
NAMED = ("--topic", f"{TOPIC}=OnboardingRequested")
RELEASED = schemas_directory() / "released"


@pytest.fixture
def registry() -> Iterator[str]:
    """Give the address of a registry that holds nothing."""
    with registry_in_thread() as url:
        yield url


def schemas(*args: str, registry: str) -> Said:
    """Run one of the commands with the address of a registry, and no other setting."""
    return command("schemas", *args, "--schema-registry", registry)


def finding(said: Said) -> dict[str, object]:
    """Return the only finding."""
    (found,) = said.json()["findings"]
    assert isinstance(found, dict)
    return found


def put_level(url: str, level: str) -> None:
    """Give the subject a level."""
    httpx.put(f"{url}/config/{SUBJECT}", json={"compatibility": level}).raise_for_status()


def post_schema(url: str, text: str) -> None:
    """Register a schema as somebody else would."""
    httpx.post(f"{url}/subjects/{SUBJECT}/versions", json={"schema": text}).raise_for_status()


def test_a_dry_run_needs_a_registry_and_a_topic_only(registry: str) -> None:
    """It says what would be registered, exits 0, and registers nothing."""
    said = schemas("register", "--dry-run", *NAMED, "--json", registry=registry)
    assert (said.code, finding(said)["verdict"]) == (0, "missing")
    assert httpx.get(f"{registry}/subjects").json() == []
    assert schemas("check", *NAMED, registry=registry).code == 1
    assert schemas("register", *NAMED, registry=registry).code == 0
    checked = schemas("check", *NAMED, "--json", registry=registry)
    assert (checked.code, finding(checked)["verdict"]) == (0, "present")


def test_a_level_that_lets_readers_break_is_a_warning_with_its_remedy(registry: str) -> None:
    """The exit code stays 0; the command that is told does what it says, and then there is nothing to tell."""
    post_schema(registry, public_schema("OnboardingRequested"))
    said = schemas("check", *NAMED, registry=registry)
    assert said.code == 0
    assert f"{SUBJECT}: its compatibility level is BACKWARD; it should be FULL_TRANSITIVE" in said.err
    told = finding(schemas("check", *NAMED, "--json", registry=registry))["setLevel"]
    assert str(told) in said.err
    _, _, method, _, _, _, body, url = shlex.split(str(told))
    httpx.request(method, url, json=json.loads(body)).raise_for_status()
    after = schemas("check", *NAMED, registry=registry)
    assert (after.code, after.err) == (0, "")
    mended = finding(schemas("check", *NAMED, "--json", registry=registry))
    assert (mended["level"], mended["warnings"], mended["setLevel"]) == ("FULL_TRANSITIVE", [], None)


def test_a_version_that_we_cannot_read_is_a_warning_beside_ours(registry: str) -> None:
    """Whoever writes with it is dead-lettered, though our own schema is in place and the newest."""
    text = public_schema("OnboardingRequested")
    post_schema(registry, text.replace("timestamp-micros", "timestamp-millis"))
    put_level(registry, "NONE")
    post_schema(registry, text)
    put_level(registry, "FULL_TRANSITIVE")
    warnings = schemas("check", *NAMED, "--json", registry=registry).json()["findings"][0]["warnings"]
    assert [warning[:42] for warning in warnings] == ["version 1 and ours do not read each other "]


def test_a_version_that_nobody_uses_ours_with_forbids_it(registry: str) -> None:
    """An older version counts as much as the newest: the pipeline fails before anything is registered."""
    text = public_schema("OnboardingProgressed")
    post_schema(registry, text.replace("timestamp-micros", "timestamp-millis"))
    put_level(registry, "NONE")
    post_schema(registry, text.replace('"UNRECOGNIZED",', '"UNRECOGNIZED", "LATER",', 1))
    said = schemas("register", "--dry-run", "--topic", f"{TOPIC}=OnboardingProgressed", "--json", registry=registry)
    assert (said.code, finding(said)["verdict"]) == (1, "incompatible")
    assert "version 1 and ours do not read each other" in str(finding(said)["remedy"])


@pytest.mark.parametrize("named", ["onboarding.requests", "=OnboardingRequested", "onboarding.requests=Onboarding"])
def test_a_topic_without_a_record_is_wrong_usage(named: str) -> None:
    """The records that there are, are told."""
    said = schemas("check", "--topic", named, registry=f"http://{NOBODY}")
    assert said.code == 2
    assert "OnboardingLinkIssued" in said.err


def test_a_registry_that_is_not_there_says_nothing_about_schemas() -> None:
    """A pipeline tells a registry that is down from a schema that does not fit."""
    assert schemas("register", "--dry-run", *NAMED, registry=f"http://{NOBODY}").code == 3


def test_the_command_for_the_level_shows_no_password() -> None:
    """Of several registries it names the first, and nothing of the credentials in an address."""
    missing = Finding(TOPIC, SUBJECT, "OnboardingRequested", Verdict.MISSING, None, "", level="NONE")
    told = level_command(missing, "https://me:secret@one.example/, https://two.example")
    assert shlex.split(told)[-1] == f"https://one.example/config/{SUBJECT}"
    assert "secret" not in told


def changed(directory: Path, old: str, new: str) -> str:
    """Write a schema of requests that somebody changed, and return its path."""
    text = public_schema("OnboardingRequested")
    assert old in text
    file = directory / "ours.avsc"
    file.write_text(text.replace(old, new))
    return str(file)


def test_files_are_judged_offline(tmp_path: Path) -> None:
    """A released version is good, whichever; so is one that only adds what may come and go."""
    released = [str(file) for file in sorted(RELEASED.rglob("*.avsc"))]
    said = command("schemas", "lint", *released, "--json")
    assert (said.code, {found["grade"] for found in said.json()["findings"]}) == (0, {"good"})
    field = '{"name": "branch", "type": ["null", "string"], "doc": "A branch.", "default": null},'
    own = command("schemas", "lint", changed(tmp_path, '"fields": [', f'"fields": [{field}'), "--json")
    assert own.code == 0
    assert [found["finding"] for found in own.json()["findings"]] == [
        "it reads every released version, and is read by it"
    ]


def test_a_file_that_breaks_somebody_fails_the_pipeline(tmp_path: Path) -> None:
    """What only people could take wrongly is a warning, and no failure."""
    broken = command("schemas", "lint", changed(tmp_path, "timestamp-micros", "timestamp-millis"))
    assert broken.code == 1
    assert "problem" in broken.out
    unclear = command("schemas", "lint", changed(tmp_path, "; UTC, microseconds since the epoch.", "."))
    assert (unclear.code, "warning" in unclear.out) == (0, True)
    (tmp_path / "none.avsc").write_text("{")
    assert command("schemas", "lint", str(tmp_path / "none.avsc")).code == 1
    assert command("schemas", "lint", str(tmp_path / "missing.avsc")).code == 2
