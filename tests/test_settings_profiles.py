"""Settings of several profiles of the provider, and credentials for one kind of calls."""

from pathlib import Path

import pytest

from processor.settings import CredentialKind
from processor.settings_loading import load_settings
from tests.test_settings import ENOUGH, loaded, refused


def test_each_profile_of_the_provider_has_settings_of_its_own(tmp_path: Path) -> None:
    """By variables, by the file and by mounted secrets alike; what is not set has the same default as in `default`."""
    file = tmp_path / "settings.yaml"
    file.write_text("providers: {eu-bank: {base_url: https://from.file, version: 3}}\n")
    (tmp_path / "PROCESSOR_PROVIDERS__ASIA__TOKEN").write_text("tot_asia\n")
    (tmp_path / "token").write_text("tot_eu\n")
    settings = loaded(
        PROCESSOR_SETTINGS_FILE=str(file),
        PROCESSOR_SECRETS_DIRECTORY=str(tmp_path),
        PROCESSOR_PROVIDERS__EU_BANK__BASE_URL="https://eu.example.test/",
        PROCESSOR_PROVIDERS__EU_BANK__TOKEN_FILE=str(tmp_path / "token"),
        PROCESSOR_PROVIDERS__ASIA__BASE_URL="https://asia.example.test",
    )
    assert [*settings.profiles()] == ["default", "asia", "eu-bank"]
    assert settings.profile("default") is settings.api
    assert settings.profile("gone") is None
    eu, asia = settings.profile("eu-bank"), settings.profile("asia")
    assert eu
    assert asia
    assert (eu.base_url, eu.version, eu.call_deadline_s) == ("https://eu.example.test", 3, 15.0)
    assert eu.token
    assert asia.token
    assert [one.token.get_secret_value() for one in (eu, asia) if one.token] == ["tot_eu", "tot_asia"]


def test_a_deployment_may_do_without_the_default_profile() -> None:
    """Then nothing of it is missing; half of it is a mistake."""
    environ = {name: value for name, value in ENOUGH.items() if "_API__" not in name}
    environ |= {"PROCESSOR_PROVIDERS__EU__BASE_URL": "https://eu.test", "PROCESSOR_PROVIDERS__EU__TOKEN": "tot_x"}
    assert [*load_settings(environ).profiles()] == ["eu"]
    half = refused({**environ, "PROCESSOR_API__TOKEN": "tot_y"})
    assert [problem.split(" ")[0] for problem in half] == ["PROCESSOR_API__BASE_URL"]


@pytest.mark.parametrize(
    "name,value,problem",
    [
        ("PROVIDERS__EU__BASE_URLL", "x", "is PROCESSOR_PROVIDERS__EU__BASE_URL meant?"),
        ("PROVIDERS__DEFAULT__TOKEN", "x", "write its settings there"),
        ("PROVIDERS__EU", "x", "there is no such setting"),
        ("PROVIDERS___EU__TOKEN", "x", "a profile's name is"),
        ("PROVIDERS__EU__VERSION", "4", "less than or equal to 3, not '4'"),
        ("PROVIDERS__EU__KEY", "x", "PROCESSOR_PROVIDERS__EU__BASE_URL is not set"),
        ("PROVIDERS__EU__BASE_URL", "https://eu.test", "PROCESSOR_PROVIDERS__EU__KEY and PROCESSOR_PROVIDERS__EU__SEC"),
    ],
)
def test_settings_of_a_profile_are_held_to_the_same_names(name: str, value: str, problem: str) -> None:
    """A misspelt variable of a profile is refused like any other, under its own name."""
    problems = refused({**ENOUGH, f"PROCESSOR_{name}": value})
    assert [told for told in problems if problem in told]
    assert all(f"PROCESSOR_{name.rpartition('__')[0]}" in told for told in problems)


def test_a_kind_of_calls_may_have_a_credential_of_its_own() -> None:
    """What is set for a kind replaces the profile's whole credential there, and nowhere else."""
    api = loaded(PROCESSOR_API__CREDENTIALS__START__TOKEN="tot_start").api
    start = api.credential(CredentialKind.START)
    assert start.token
    assert (start.token.get_secret_value(), start.key) == ("tot_start", None)
    assert [api.credential(kind) for kind in (CredentialKind.CREATE, CredentialKind.READ, CredentialKind.KEYS)] == [
        api.credential()
    ] * 3
