"""Settings: where they come from, what is refused, and how they are shown.

`python -m tests.test_settings` writes docs/settings.md anew.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from pydantic import ValidationError

from processor.errors import SettingsInvalid
from processor.kafka_config import (
    client_config,
    consumer_config,
    plain_producer_config,
    producer_config,
    reader_config,
)
from processor.kafka_properties import REFUSED_PROPERTIES
from processor.settings import MASK, Settings, credentials_fingerprint, effective
from processor.settings_loading import EVERYTHING, Need, Setting, all_settings, default_text, load_settings

NOBODY = 65_534
CANARY = "Zebra-Quagga-7"
PAGE = Path(__file__).parent.parent / "docs" / "settings.md"

ENOUGH = {
    "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": "kafka-0:9092",
    "PROCESSOR_SCHEMA_REGISTRY__URL": "http://registry:8081",
    "PROCESSOR_API__BASE_URL": "https://api.example.test/",
    "PROCESSOR_API__KEY": "key",
    "PROCESSOR_API__SECRET": CANARY,
}


def loaded(**variables: str) -> Settings:
    return load_settings(ENOUGH | variables)


def refused(environ: Mapping[str, str], needs: frozenset[Need] = EVERYTHING) -> list[str]:
    """Return the problems that loading names, one a line."""
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(environ, needs=needs)
    return str(caught.value).splitlines()


def test_five_variables_are_enough() -> None:
    """Everything else has the default that architecture and documents name."""
    settings = loaded()
    assert settings.api.base_url == "https://api.example.test"
    assert settings.kafka.group_protocol == "classic"
    assert (settings.api.call_deadline_s, settings.api.run_deadline_s) == (15.0, 30.0)
    assert settings.topics.requests == "onboarding.requests"
    assert settings.topics.preparation_state == "onboarding.preparation-state"
    assert settings.group_id("launch") == "onboarding.launch"


def test_the_application_id_begins_internal_topics_only() -> None:
    """Staging and production share a cluster and may share public topics, never internal ones."""
    topics = loaded(PROCESSOR_APPLICATION_ID="staging", PROCESSOR_TOPICS__CONTROL="my.control").topics
    assert topics.results == "onboarding.results"
    assert topics.launches == "staging.launches"
    assert topics.completion_state == "staging.completion-state"
    assert topics.control == "my.control"


def test_the_environment_wins_over_secret_files_and_those_over_the_file(tmp_path: Path) -> None:
    """Overrides of a command win over all of them."""
    file = tmp_path / "settings.yaml"
    file.write_text("api: {secret: from-file, key: from-file, call_deadline_s: 20}\nops: {port: 1}\n")
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "PROCESSOR_API__SECRET").write_text("from-secret\n")
    (secrets / "PROCESSOR_API__KEY").write_text("from-secret")
    (secrets / "unrelated").write_text("x")
    environ = {
        **{name: value for name, value in ENOUGH.items() if "SECRET" not in name},
        "PROCESSOR_SETTINGS_FILE": str(file),
        "PROCESSOR_SECRETS_DIRECTORY": str(secrets),
        "PROCESSOR_OPS__PORT": "2",
    }
    settings = load_settings(environ, overrides={"ops": {"port": 3}})
    assert settings.api.secret
    assert settings.api.key
    assert settings.api.secret.get_secret_value() == "from-secret"
    assert settings.api.key.get_secret_value() == "key"
    assert (settings.api.call_deadline_s, settings.ops.port) == (20.0, 3)


def test_a_secret_can_be_a_mounted_file(tmp_path: Path) -> None:
    """NAME_FILE holds the path of a file with the value; a line end at its end is no part of it."""
    file = tmp_path / "secret"
    file.write_text(f"{CANARY}\n")
    environ = {name: value for name, value in ENOUGH.items() if "SECRET" not in name}
    settings = load_settings({**environ, "PROCESSOR_API__SECRET_FILE": str(file)})
    assert settings.api.secret
    assert settings.api.secret.get_secret_value() == CANARY
    both = refused({**ENOUGH, "PROCESSOR_API__SECRET_FILE": str(file)})
    assert both == ["PROCESSOR_API__SECRET_FILE: PROCESSOR_API__SECRET is set too; unset one of them"]
    gone = refused({**environ, "PROCESSOR_API__SECRET_FILE": str(file) + "-gone"})
    assert len(gone) == 2
    assert "cannot be read (No such file or directory)" in gone[0]
    file.write_text("\n")  # As a file is while it is being written.
    assert f"PROCESSOR_API__SECRET_FILE: {file} is empty; write the secret there" in refused(
        {**environ, "PROCESSOR_API__SECRET_FILE": str(file)}
    )


def test_lists_and_properties_are_read_from_text() -> None:
    """Lists are comma-separated or JSON, properties a JSON object whose numbers become text."""
    settings = loaded(
        PROCESSOR_WEBHOOK__NETWORKS="203.0.113.0/24, 2001:db8::/32",
        PROCESSOR_WEBHOOK__STATUS_PATHS='["status", "data.status"]',
        PROCESSOR_KAFKA__PROPERTIES='{"socket.timeout.ms": 1000, "socket.keepalive.enable": true}',
    )
    assert settings.webhook.networks == ("203.0.113.0/24", "2001:db8::/32")
    assert settings.webhook.status_paths == ("status", "data.status")
    assert settings.kafka.properties == {"socket.timeout.ms": "1000", "socket.keepalive.enable": "true"}


def test_all_problems_are_told_at_once_under_their_variables() -> None:
    """An operator mends a deployment in one round: what is wrong, where it came from, what it means."""
    problems = refused(
        ENOUGH
        | {
            "PROCESSOR_API__CALL_DEADLINE_S": "soon",
            "PROCESSOR_OPS__PORT": "70000",
            "PROCESSOR_KAFKA__BOOTSTRAP_SERVER": "kafka:9092",
            "PROCESSOR_KAFKA__PROPERTIES": "acks=all",
            "PROCESSOR_LOGGING__FORMAT": "xml",
            "PROCESSOR_SCHEMA_REGISTRY__URL": "registry:8081",
        },
    )
    assert [problem.split(" ")[0].rstrip(":") for problem in problems] == [
        "PROCESSOR_KAFKA__BOOTSTRAP_SERVER",
        "PROCESSOR_KAFKA__PROPERTIES",
        "PROCESSOR_SCHEMA_REGISTRY__URL",
        "PROCESSOR_API__CALL_DEADLINE_S",
        "PROCESSOR_OPS__PORT",
        "PROCESSOR_LOGGING__FORMAT",
    ]
    assert problems[0].endswith("there is no such setting; is PROCESSOR_KAFKA__BOOTSTRAP_SERVERS meant?")
    assert problems[3] == (
        "PROCESSOR_API__CALL_DEADLINE_S (from the environment): input should be a valid number, unable to parse string "
        "as a number, not 'soon'; it means: Limit of one call, from connecting to the last byte (default 15)"
    )


def test_a_name_that_means_nothing_is_refused() -> None:
    """A misspelt variable would else silently leave a default in place."""
    (problem,) = refused({**ENOUGH, "PROCESSOR_FROBNICATE": "1"})
    assert problem == "PROCESSOR_FROBNICATE: there is no such setting; docs/settings.md lists all of them; unset it"


def test_a_misspelt_key_of_the_settings_file_is_refused(tmp_path: Path) -> None:
    """Files are held to the same names as the environment."""
    file = tmp_path / "settings.yaml"
    file.write_text("api: {base_urll: x}\nkafka: 3\n")
    environ = {name: value for name, value in ENOUGH.items() if "KAFKA" not in name}
    problems = refused({**environ, "PROCESSOR_SETTINGS_FILE": str(file)})
    assert problems == [
        f"PROCESSOR_KAFKA (from {file}): it is a section; write its settings below it",
        f"PROCESSOR_API__BASE_URLL (from {file}): there is no such setting; is PROCESSOR_API__BASE_URL meant?",
    ]


@pytest.mark.parametrize(
    "text, problem",
    [
        ("a: [", "settings.yaml:2 is not valid YAML"),
        ("- a", "must be a mapping of sections"),
        (None, "cannot be read (No such file or directory)"),
    ],
)
def test_an_unreadable_settings_file_is_refused(tmp_path: Path, text: str | None, problem: str) -> None:
    """It names the file, and the line where there is one."""
    file = tmp_path / "settings.yaml"
    if text is not None:
        file.write_text(text + "\n")
    (told,) = refused({**ENOUGH, "PROCESSOR_SETTINGS_FILE": str(file)})
    assert told.startswith("PROCESSOR_SETTINGS_FILE: ")
    assert problem in told


@contextmanager
def bound_by_modes() -> Iterator[None]:
    """Be nobody while the block runs, where we are root: root may look everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("closed", ["mounts", "mounts/secrets"])
@pytest.mark.parametrize(
    "variable, file, problem",
    [
        ("PROCESSOR_SECRETS_DIRECTORY", "mounts/secrets", "cannot be read (Permission denied); mount the secret there"),
        ("PROCESSOR_API__CA_FILE", "mounts/secrets/ca.pem", "there is no file"),
    ],
)
def test_where_we_may_not_look_is_a_problem_as_any_other(closed: str, variable: str, file: str, problem: str) -> None:
    """A mode that changed while the process runs must not end it: what serves goes on, and the problem is told."""
    with TemporaryDirectory() as directory:  # Those of pytest are closed to all others.
        base = Path(directory)
        (base / "mounts" / "secrets").mkdir(parents=True)
        for path in (base, base / "mounts", base / "mounts" / "secrets"):
            path.chmod(0o755)
        (base / closed).chmod(0)
        with bound_by_modes():
            (told,) = refused({**ENOUGH, variable: str(base / file)})
        (base / closed).chmod(0o755)
    assert told.startswith(f"{variable}: ")
    assert problem in told


def test_variables_that_kubernetes_makes_of_services_are_no_settings() -> None:
    """A service called processor-… puts its addresses under our prefix into every pod of its namespace."""
    links = {
        "PROCESSOR_INGESTOR_SERVICE_HOST": "10.0.0.1",
        "PROCESSOR_INGESTOR_SERVICE_PORT": "8080",
        "PROCESSOR_INGESTOR_PORT": "tcp://10.0.0.1:8080",
        "PROCESSOR_INGESTOR_PORT_8080_TCP_ADDR": "10.0.0.1",
    }
    assert loaded(**links) == loaded()


def test_only_what_a_command_talks_to_must_be_set() -> None:
    """Making topics needs no provider, and a role without the API no credentials."""
    assert load_settings({}, needs=frozenset()) == Settings()
    problems = refused({})
    assert [problem.split(" ")[0] for problem in problems] == [
        "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS",
        "PROCESSOR_SCHEMA_REGISTRY__URL",
        "PROCESSOR_API__BASE_URL",
        "PROCESSOR_API__KEY",
    ]
    assert len(refused({}, frozenset({Need.KAFKA}))) == 1


@pytest.mark.parametrize(
    "variables, blamed",
    [
        ({"API__CONNECT_TIMEOUT_S": "6"}, "API__CONNECT_TIMEOUT_S"),
        ({"API__RUN_DEADLINE_S": "36"}, "ENGINE__DRAIN_S_MAX"),
        ({"ENGINE__DRAIN_S_MAX": "300"}, "KAFKA__MAX_POLL_INTERVAL_MS"),
        ({"KAFKA__SESSION_TIMEOUT_MS": "400000"}, "KAFKA__MAX_POLL_INTERVAL_MS"),
        ({"KAFKA__OPERATION_TIMEOUT_S": "10"}, "KAFKA__OPERATION_TIMEOUT_S"),
        ({"KAFKA__GROUP_PROTOCOL": "consumer", "KAFKA__SESSION_TIMEOUT_MS": "6000"}, "KAFKA__SESSION_TIMEOUT_MS"),
        ({"KAFKA__SASL_USERNAME": "u"}, "KAFKA__SASL_PASSWORD"),
        ({"WEBHOOK__ACK_TIMEOUT_S": "4"}, "WEBHOOK__READ_TIMEOUT_S"),
        ({"WEBHOOK__NETWORKS": "nowhere"}, "WEBHOOK__NETWORKS"),
        ({"WEBHOOK__KEY_PATH": "/key"}, "WEBHOOK__KEY_PATH"),
        ({"TOPICS__RESULT_BYTES_MAX": "1000000"}, "TOPICS__RESULT_BYTES_MAX"),
        ({"TOPICS__REQUEST_BYTES_MAX": "500000"}, "TOPICS__REQUEST_BYTES_MAX"),
        ({"WEBHOOK__BODY_BYTES_MAX": "950000"}, "WEBHOOK__BODY_BYTES_MAX"),
        ({"API__RESPONSE_BYTES_MAX": "1024"}, "API__RESPONSE_BYTES_MAX"),
        ({"TOPICS__REPLICATION_FACTOR": "1"}, "TOPICS__MIN_INSYNC_REPLICAS"),
        ({"OPS__PORT": "8080"}, "OPS__PORT"),
        ({"API__TOKEN": "tot_x"}, "API__TOKEN"),
        ({"API__CALLS_IN_FLIGHT_MAX": "11"}, "API__CALLS_IN_FLIGHT_MAX"),
        ({"API__CREDENTIALS__READ__KEY": "k"}, "API__CREDENTIALS__READ__SECRET"),
        ({"PROVIDERS__EU__CONNECT_TIMEOUT_S": "6"}, "PROVIDERS__EU__CONNECT_TIMEOUT_S"),
        ({"PROVIDERS__EU__RUN_DEADLINE_S": "36"}, "ENGINE__DRAIN_S_MAX"),
        ({"PROVIDERS__EU__CA_FILE": "/nowhere/ca.pem"}, "PROVIDERS__EU__CA_FILE"),
        ({"PROVIDERS__EU__CALLS_IN_FLIGHT_MAX": "11"}, "PROVIDERS__EU__CALLS_IN_FLIGHT_MAX"),
        ({"WEBHOOK__KEY_BASE_URLS": "zz=https://keys.example.test"}, "WEBHOOK__KEY_BASE_URLS"),
        ({"SCHEMA_REGISTRY__USERNAME": "u"}, "SCHEMA_REGISTRY__PASSWORD"),
        ({"SCHEMA_REGISTRY__CA_FILE": "/nowhere/ca.pem"}, "SCHEMA_REGISTRY__CA_FILE"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(variables: Mapping[str, str], blamed: str) -> None:
    """Each is good by itself; together they would break a promise or never work."""
    other = {f"PROCESSOR_PROVIDERS__EU__{name}": "https://eu.example.test" for name in ("BASE_URL", "TOKEN")}
    problems = refused(ENOUGH | other | {f"PROCESSOR_{name}": value for name, value in variables.items()})
    assert [problem.split(":")[0] for problem in problems if f"PROCESSOR_{blamed}:" in problem] == [
        f"PROCESSOR_{blamed}"
    ]


def test_two_topics_may_not_share_a_name() -> None:
    """Two kinds of records in one topic cannot be told apart; both settings are named."""
    problems = refused({**ENOUGH, "PROCESSOR_TOPICS__LINKS": "onboarding.results"})
    assert [problem.split(":")[0] for problem in problems] == ["PROCESSOR_TOPICS__RESULTS", "PROCESSOR_TOPICS__LINKS"]


@pytest.mark.parametrize("name", [*REFUSED_PROPERTIES, "no.such.property", "error_cb", "on_commit"])
def test_properties_that_break_a_promise_or_do_not_exist_are_refused_by_name(name: str) -> None:
    """The value is not repeated: it may be a secret."""
    (problem,) = refused({**ENOUGH, "PROCESSOR_KAFKA__PROPERTIES": f'{{"{name}": "{CANARY}"}}'})
    assert problem.startswith(f"PROCESSOR_KAFKA__PROPERTIES: {name}")
    assert CANARY not in problem


def test_every_other_property_of_librdkafka_passes_through() -> None:
    """It reaches every client, and speed settings of ours give way to it."""
    settings = loaded(
        PROCESSOR_KAFKA__PROPERTIES='{"security.protocol": "SASL_SSL", "linger.ms": "7", "fetch.wait.max.ms": 9}',
        PROCESSOR_KAFKA__SASL_USERNAME="user",
        PROCESSOR_KAFKA__SASL_PASSWORD=CANARY,
    )
    for config in (
        client_config(settings, "topics"),
        reader_config(settings, "control"),
        consumer_config(settings, "launch"),
        producer_config(settings, "launch", "0a1b"),
        plain_producer_config(settings, "ingestor", delivery_timeout_ms=2000),
    ):
        assert config["security.protocol"] == "SASL_SSL"
        assert (config["sasl.username"], config["sasl.password"]) == ("user", CANARY)
        assert (config.get("linger.ms"), config.get("fetch.wait.max.ms")) == ("7", "9")


def without_logger(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != "logger"}


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_deciders_consumer_reads_committed_records_and_commits_nothing_itself(protocol: str) -> None:
    """The assignor is set for group protocol classic only: with the other one the broker has it."""
    expected = {
        "bootstrap.servers": "kafka-0:9092",
        "client.id": "onboarding.launch",
        "reconnect.backoff.ms": 20,
        "group.id": "onboarding.launch",
        "group.protocol": protocol,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "check.crcs": True,
        "max.poll.interval.ms": 300_000,
        "fetch.wait.max.ms": 50,
        "queued.max.messages.kbytes": 8192,
    }
    if protocol == "classic":
        expected |= {"partition.assignment.strategy": "cooperative-sticky", "session.timeout.ms": 6000}
        expected |= {"heartbeat.interval.ms": 1000}
        settings = loaded(PROCESSOR_KAFKA__SESSION_TIMEOUT_MS="6000")
    else:
        settings = loaded(PROCESSOR_KAFKA__GROUP_PROTOCOL=protocol)
    assert without_logger(consumer_config(settings, "launch")) == expected


@pytest.mark.parametrize("session_ms,beat_ms", [(45_000, 1_000), (6_000, 1_000), (3_000, 1_000), (1_500, 500)])
def test_a_member_is_heard_three_times_within_its_session(session_ms: int, beat_ms: int) -> None:
    """Once a second, more often where a session is short; what the operator says wins."""
    settings = loaded(PROCESSOR_KAFKA__SESSION_TIMEOUT_MS=str(session_ms))
    assert consumer_config(settings, "launch")["heartbeat.interval.ms"] == beat_ms
    own = loaded(
        PROCESSOR_KAFKA__SESSION_TIMEOUT_MS=str(session_ms),
        PROCESSOR_KAFKA__PROPERTIES='{"heartbeat.interval.ms": 500}',
    )
    assert consumer_config(own, "launch")["heartbeat.interval.ms"] == "500"


def test_a_deciders_producer_is_transactional_and_waits_shortly_between_transactions() -> None:
    """Its id is fresh at each start unless the instance has a name; the partitioner is Java's."""
    expected = {
        "bootstrap.servers": "kafka-0:9092",
        "client.id": "onboarding.launch",
        "reconnect.backoff.ms": 20,
        "transactional.id": "onboarding.launch.0a1b",
        "transaction.timeout.ms": 10_000,
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "linger.ms": 2,
        "message.max.bytes": 1_000_000,
        "retry.backoff.ms": 2,
        "retry.backoff.max.ms": 10,
    }
    assert without_logger(producer_config(loaded(), "launch", "0a1b")) == expected
    named = producer_config(loaded(PROCESSOR_KAFKA__INSTANCE_NAME="submitter-0"), "launch", "0a1b")
    assert named["transactional.id"] == "onboarding.launch.submitter-0"


def test_what_is_shown_holds_no_secret() -> None:
    """Secrets are masked in the effective settings, in their text form and in every problem."""
    settings = loaded(
        PROCESSOR_KAFKA__PROPERTIES=f'{{"ssl.key.password": "{CANARY}", "debug": "msg"}}',
        PROCESSOR_SCHEMA_REGISTRY__USERNAME="user",
        PROCESSOR_SCHEMA_REGISTRY__PASSWORD=CANARY,
        PROCESSOR_API__CREDENTIALS__READ__TOKEN=CANARY,
        PROCESSOR_PROVIDERS__EU__BASE_URL="https://eu.example.test",
        PROCESSOR_PROVIDERS__EU__TOKEN=CANARY,
        PROCESSOR_PROVIDERS__EU__CREDENTIALS__START__TOKEN=CANARY,
    )
    shown = effective(settings)
    assert shown["api"]["secret"] == MASK
    assert shown["api"]["token"] is None
    assert shown["api"]["credentials"]["read"]["token"] == MASK
    assert shown["providers"]["eu"]["credentials"]["start"]["token"] == MASK
    assert shown["kafka"]["properties"] == {"ssl.key.password": MASK, "debug": "msg"}
    assert CANARY not in str(shown)
    assert CANARY not in repr(settings.api)
    address = {"PROCESSOR_SCHEMA_REGISTRY__URL": f"https://user:{CANARY}@registry"}
    assert "no user name or password" in refused(ENOUGH | address)[0]


def test_an_address_with_a_password_is_not_repeated() -> None:
    """The problem names the setting and says what to do, without the address."""
    problems = refused({**ENOUGH, "PROCESSOR_API__BASE_URL": f"https://user:{CANARY}@api.example.test"})
    assert CANARY not in "".join(problems)


def test_other_credentials_have_another_fingerprint() -> None:
    """A pause names it, so that an answer to old credentials does not pause again; it tells nothing else."""
    first, same, other, start = (
        credentials_fingerprint(settings.api)
        for settings in (
            loaded(),
            loaded(),
            loaded(PROCESSOR_API__SECRET="other"),
            loaded(PROCESSOR_API__CREDENTIALS__START__TOKEN="tot_start"),
        )
    )
    assert first == same != other
    assert first != start
    assert len(first) == 16


def test_every_default_can_be_written_in_the_environment() -> None:
    """What the page shows as a default may be copied into a deployment."""
    environ = {
        setting.variable: default_text(setting.default)
        for setting in all_settings()
        if setting.default not in (None, "") and "<" not in str(setting.default)
    }
    assert load_settings(environ, needs=frozenset()) == Settings()


def test_settings_cannot_be_changed() -> None:
    """The tree is one value for the life of the process."""
    with pytest.raises(ValidationError):
        loaded().ops.port = 1


def test_every_setting_says_what_it_means() -> None:
    """Descriptions are what operators read in documents and problems."""
    assert [setting.variable for setting in all_settings() if not setting.description] == []


def settings_page() -> str:
    """Return docs/settings.md as the code has it."""
    lines = [
        "# Settings",
        "",
        "Made from the code (`python -m tests.test_settings`); a test keeps it so.",
        "",
        "Later wins: default, the YAML file that `PROCESSOR_SETTINGS_FILE` names (sections and names as below, in",
        "lower case: `kafka: {group_protocol: consumer}`), files in the directory `PROCESSOR_SECRETS_DIRECTORY` that",
        "are named like the variables, the environment. A secret (marked ●) may also lie in a file that",
        "`<variable>_FILE` names. Durations end in `_MS` (milliseconds) or `_S` (seconds). Lists are written `a,b` or",
        "as a JSON list. A wrong, unknown or contradictory setting stops the start; all problems are told at once.",
        "Secrets and certificates that change in their files are taken up while the process runs; all else at a start.",
        "",
        "`PROCESSOR_API__…` is the profile `default` of the provider. Each further profile has the same settings, with",
        "the same defaults, under `PROCESSOR_PROVIDERS__<NAME>__…` (in the file: `providers: {<name>: {…}}`). Its name",
        "is lower-case letters and digits with single `-` between them; in a variable it is upper-case with `_` for",
        "`-`: `PROCESSOR_PROVIDERS__EU_BANK__BASE_URL` is the `base_url` of `eu-bank`. The catalogue chooses a profile",
        "for each workflow. Credentials under `CREDENTIALS__` serve one kind of calls: `CREATE` records, cases and",
        "parameters, `START` runs, tokens and links, `READ` statuses, results and cases, `KEYS` webhook keys. A kind",
        "that has none uses the profile's own. Limits of calls are those of a profile for the whole deployment.",
    ]
    section = None
    for setting in all_settings():
        if setting.path[0] != section and len(setting.path) > 1:
            section = setting.path[0]
            lines += ["", f"## {section}", "", "| variable | default | meaning |", "|---|---|---|"]
        elif section is None:
            lines += ["", "| variable | default | meaning |", "|---|---|---|"]
        lines.append(_row(setting))
    return "\n".join(lines) + "\n"


def _row(setting: Setting) -> str:
    default = "" if setting.default in (None, "", ()) else f"`{default_text(setting.default)}`"
    mark = " ●" if setting.is_secret else ""
    return f"| `{setting.variable}`{mark} | {default} | {setting.description} |"


def test_the_settings_page_is_in_step_with_the_code() -> None:
    """Operators may trust every name, default and meaning on it."""
    assert PAGE.read_text(encoding="utf-8") == settings_page()


if __name__ == "__main__":
    PAGE.write_text(settings_page(), encoding="utf-8")
