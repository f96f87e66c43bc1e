"""When changed secrets and certificates are taken up, how much is renewed for them, and what is refused."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from processor.errors import SettingsInvalid
from processor.file_copies import Contents, KeptFiles
from processor.roles.renewal import Serving, Watch, changed_parts, loaded_over, looked
from processor.settings import Settings
from processor.settings_files import SettingsSource, client_files, taking_up

FILE = Path("secret")
OLD: Contents = {FILE: "old"}
NEW: Contents = {FILE: "new"}
HALF: Contents = {FILE: "half"}
DELAY_S = 60.0


def taken_at(looks: list[tuple[float, Contents]], *, was_ready: bool = True) -> list[tuple[float, Contents]]:
    """Return what is taken up when these looks follow each other, after OLD was; it is not ready while they do."""
    watch, _ = looked(Watch(OLD, OLD), OLD, -1, delay_s=DELAY_S, is_ready=was_ready)
    taken = []
    for now_s, found in looks:
        watch, is_due = looked(watch, found, now_s, delay_s=DELAY_S, is_ready=False)
        if is_due:
            taken.append((now_s, found))
    return taken


@pytest.mark.parametrize(
    "looks,once_ready,never_ready",
    [
        pytest.param([(0, OLD), (90, OLD)], [], [], id="nothing changed"),
        pytest.param([(0, NEW)], [], [], id="one look may show half of it"),
        pytest.param([(0, NEW), (5, NEW), (60, NEW)], [(60, NEW)], [(5, NEW)], id="a time of its own after it is seen"),
        pytest.param(
            [(0, HALF), (5, NEW), (60, NEW)], [(60, NEW)], [(60, NEW)], id="the time counts from the first sight"
        ),
        pytest.param([(0, NEW), (5, OLD), (90, OLD)], [], [], id="changed back"),
        pytest.param([(0, NEW), (5, OLD), (90, NEW), (95, NEW)], [], [(95, NEW)], id="changed back, and changed again"),
        pytest.param([(0, NEW), (60, NEW), (65, NEW), (200, NEW)], [(60, NEW)], [(60, NEW)], id="once"),
        pytest.param([(0, HALF), (60, NEW), (61, HALF), (62, NEW)], [], [], id="as long as it changes"),
    ],
)
def test_when_a_change_is_taken_up(
    looks: list[tuple[float, Contents]],
    once_ready: list[tuple[float, Contents]],
    never_ready: list[tuple[float, Contents]],
) -> None:
    """Two looks show the same, and a process that was ever ready has waited its time: in an outage all are unready."""
    assert (taken_at(looks), taken_at(looks, was_ready=False)) == (once_ready, never_ready)


def test_what_changed_while_the_process_started_is_seen() -> None:
    """Nothing was ever looked at, so the first contents count as a change."""
    watch, _ = looked(Watch(), OLD, 0, delay_s=0, is_ready=True)
    assert looked(watch, OLD, 1, delay_s=0, is_ready=True)[1]


def test_what_was_refused_is_tried_at_each_look_and_waits_when_it_changes() -> None:
    """It may have been read while it was written; what takes its place waits a time of its own again."""
    watch = Watch(NEW, NEW, 0, was_ready=True, is_open=True)
    watch, is_due = looked(watch, NEW, 5, delay_s=DELAY_S, is_ready=True)
    assert is_due
    assert not looked(watch, NEW, 10, delay_s=DELAY_S, is_ready=True)[1]
    watch, _ = looked(Watch(NEW, NEW, 0, was_ready=True, is_open=True), HALF, 5, delay_s=DELAY_S, is_ready=True)
    assert [looked(watch, HALF, at_s, delay_s=0, is_ready=True)[1] for at_s in (10, 5 + DELAY_S)] == [False, True]


KEYS = {"key": "key", "secret": "one"}
BASE: Mapping[str, Any] = {
    "kafka": {"bootstrap_servers": "kafka:9092", "properties": {"ssl.ca.location": "kafka-ca.pem"}},
    "schema_registry": {"url": "https://registry", "ca_file": "registry-ca.pem"},
    "api": {"base_url": "https://provider", "ca_file": "api-ca.pem", **KEYS},
    "providers": {"bank": {"base_url": "https://bank", **KEYS}},
}


def serving(files: Mapping[str, str] = {}, **sections: Mapping[str, Any]) -> Serving:
    """Return what serves: settings, of which some sections get other members, and what files hold."""
    settings = Settings.model_validate({name: {**BASE[name], **sections.get(name, {})} for name in BASE})
    of_process, of_default, of_bank = (
        KeptFiles({Path(name): files.get(name, "as before") for name in names})
        for names in (("kafka-ca.pem", "registry-ca.pem"), ("api-ca.pem",), ())
    )
    return Serving(settings, of_process, {"default": of_default, "bank": of_bank})


@pytest.mark.parametrize(
    "now,parts",
    [
        (serving(), []),
        (serving(api={"secret": "two"}), ["default"]),
        (serving(providers={"bank": {"base_url": "https://bank", "token": "tot_1"}}), ["bank"]),
        (serving({"api-ca.pem": "new"}), ["default"]),
        (serving({"kafka-ca.pem": "new"}), [None]),
        (serving({"registry-ca.pem": "new"}), [None]),
        (serving(kafka={"sasl_username": "u", "sasl_password": "p"}), [None]),
        (serving(schema_registry={"username": "u", "password": "p"}), [None]),
        (serving({"kafka-ca.pem": "new"}, api={"secret": "two"}), ["default", None]),
    ],
)
def test_which_parts_are_renewed(now: Serving, parts: list[str | None]) -> None:
    """Only a change for Kafka or the registry makes deciders leave; each profile of the provider changes alone."""
    assert [*changed_parts(serving(), now)] == parts
    after = serving()
    for part in parts:
        after = after.with_part(part, now)
    assert after == now


def test_files_that_will_not_do_hold_up_their_own_part_alone(tmp_path: Path) -> None:
    """A bundle that is none leaves its part as it was wanted before; a secret beside it is taken up."""
    file = tmp_path / "ca.pem"
    file.write_text("half a certifi", encoding="utf-8")
    none: Mapping[str, Any] = {"api": {"ca_file": None}, "kafka": {"properties": {}}}
    before = Serving.of(serving(schema_registry={"ca_file": None}, **none).settings)
    bank = {"base_url": "https://bank", "token": "tot_1"}
    now = Serving.of(serving(schema_registry={"ca_file": file}, providers={"bank": bank}, **none).settings)
    loaded = loaded_over(before, now)
    assert [*changed_parts(before, loaded.wanted)] == ["bank"]
    assert [refusal.split(":")[0] for refusal in loaded.refusals] == ["PROCESSOR_SCHEMA_REGISTRY__CA_FILE"]
    with pytest.raises(SettingsInvalid, match="PROCESSOR_SCHEMA_REGISTRY__CA_FILE"):
        Serving.whole(now.settings)


def test_only_who_we_are_and_whom_we_trust_is_taken_up() -> None:
    """What else another settings file says waits for a restart; a profile that came or went, too."""
    loaded = serving(
        kafka={"sasl_username": "u", "sasl_password": "p", "bootstrap_servers": "other:9092", "properties": {"a": "b"}},
        schema_registry={"url": "https://other", "username": "u", "password": "p"},
        api={"secret": "two", "calls_in_flight_max": 1},
        providers={"other": {"base_url": "https://other"}},
    ).settings
    wanted = serving(
        kafka={"sasl_username": "u", "sasl_password": "p", "properties": {"a": "b"}},
        schema_registry={"username": "u", "password": "p"},
        api={"secret": "two"},
    ).settings
    assert taking_up(serving().settings, loaded) == wanted


def test_which_files_are_looked_at() -> None:
    """Those that settings are read from, and those that clients read: named by a variable, a setting or a property."""
    environ = {
        "PROCESSOR_SETTINGS_FILE": "settings.yaml",
        "PROCESSOR_SECRETS_DIRECTORY": "secrets",
        "PROCESSOR_API__SECRET_FILE": "secret",
        "PROCESSOR_WORKFLOWS__FILE": "workflows.yaml",
        "SSL_CERT_FILE": "somebody-elses",
    }
    properties = {
        "ssl.ca.location": "ca",
        "ssl.certificate.location": "certificate",
        "ssl.key.location": "key",
        "ssl.keystore.location": "keystore",
        "sasl.kerberos.keytab": "keytab",
        "security.protocol": "ssl",
    }
    source = SettingsSource(environ, Settings)
    assert {str(file) for file in source.files()} == {"settings.yaml", "secrets", "secret"}
    named = {str(file) for file in client_files(serving(kafka={"properties": properties}).settings)}
    assert named == {"ca", "certificate", "key", "keystore", "keytab", "registry-ca.pem", "api-ca.pem"}


def test_what_can_be_read_only_once_is_not_looked_at(tmp_path: Path) -> None:
    """Who gives a secret by a pipe gets what was there at the start: another read would wait for ever."""
    file, pipe = tmp_path / "file", tmp_path / "pipe"
    file.write_text("secret", encoding="utf-8")
    os.mkfifo(pipe)
    named = {"PROCESSOR_SECRETS_DIRECTORY": str(tmp_path), "PROCESSOR_API__KEY_FILE": str(file)}
    assert SettingsSource(named, Settings).can_be_read_again
    assert not SettingsSource({**named, "PROCESSOR_API__SECRET_FILE": str(pipe)}, Settings).can_be_read_again
