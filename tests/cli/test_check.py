"""`processor check` without any server."""

from pathlib import Path

import pytest

from processor.cli.check import changed_settings
from processor.settings import Settings
from tests.cli.commands import command, environment


def test_settings_that_differ_from_their_defaults_are_shown_and_secrets_are_not() -> None:
    """What a person set is what a person wants to see; the rest is in the documents."""
    given = {
        "application_id": "staging",
        "kafka": {"bootstrap_servers": "kafka:9092", "properties": {"ssl.key.password": "hush", "linger.ms": "9"}},
        "api": {"secret": "hush", "call_deadline_s": 15},
        "topics": {"partitions": 6},
    }
    shown = dict(changed_settings(Settings.model_validate(given)))
    assert shown == {
        "PROCESSOR_APPLICATION_ID": "staging",
        "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": "kafka:9092",
        "PROCESSOR_KAFKA__PROPERTIES": "ssl.key.password=***, linger.ms=9",
        "PROCESSOR_API__SECRET": "***",
        "PROCESSOR_TOPICS__PARTITIONS": "6",
    }


@pytest.mark.slow
def test_everything_that_is_away_is_a_finding(tmp_path: Path) -> None:
    """All of it is looked at, whatever else is wrong, and the exit code is 1."""
    said = command("check", "--json", env={**environment(tmp_path), "PROCESSOR_KAFKA__OPERATION_TIMEOUT_S": "0.2"})
    assert said.code == 1
    found = {each["area"]: each["grade"] for each in said.json()["findings"]}
    assert found == {"catalogue": "good", "broker": "problem", "registry": "problem", "api": "problem"}
    assert said.json()["settings"]["api"]["secret"] == "***"
    assert "secret-of-test" not in said.out + said.err


def test_an_ingestor_needs_no_registry_and_no_credentials(tmp_path: Path) -> None:
    """Only what the named roles talk to is looked at."""
    env = {**environment(tmp_path), "PROCESSOR_KAFKA__OPERATION_TIMEOUT_S": "0.2"}
    for name in ("SCHEMA_REGISTRY__URL", "API__KEY", "API__SECRET"):
        del env[f"PROCESSOR_{name}"]
    said = command("check", "ingestor", "--json", env=env)
    assert [each["area"] for each in said.json()["findings"]] == ["catalogue", "broker"]
    del env["PROCESSOR_API__BASE_URL"]
    assert "PROCESSOR_WEBHOOK__KEY_BASE_URL" in command("check", "ingestor", env=env).err


def test_unknown_variables_are_told(tmp_path: Path) -> None:
    """A misspelt variable would otherwise be a default that nobody wanted."""
    said = command("check", env={**environment(tmp_path), "PROCESSOR_TOPICS__PARTITION": "3"})
    assert said.code == 2
    assert "is PROCESSOR_TOPICS__PARTITIONS meant?" in said.err
