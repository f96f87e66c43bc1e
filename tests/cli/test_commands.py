"""How commands begin and end: help, usage, settings, exit codes. No server is asked."""

import gzip
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from processor.adapters.embedded_registry import registry_in_thread
from processor.cli.main import COMMANDS, exit_code_of
from processor.errors import (
    BrokerUnavailable,
    ProcessorError,
    RegistryUnavailable,
    RequestRejected,
    SettingsInvalid,
    StateUnreadable,
)
from tests.cli.commands import command, environment

HELP = """
import sys
from processor.cli.main import app
try:
    app(["--help"], prog_name="processor")
finally:
    print("loaded:", *sorted({"pydantic", "confluent_kafka", "aiohttp", "structlog", "rich"} & set(sys.modules)))
"""


def test_help_loads_no_command_and_names_every_one() -> None:
    """Help is there at once, because nothing that a command needs is loaded for it."""
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, timeout=60, check=True)
    assert [name for name in COMMANDS if f"\n  {name} " not in done.stdout] == []
    assert done.stdout.splitlines()[-1] == "loaded:"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    """Whoever asks a command for help sees how it is used."""
    said = command(name, "--help")
    assert (said.code, said.err) == (0, "")
    members = ("create", "list") if name in {"topics", "schemas", "held"} else ()
    assert f"processor {name}" in said.out
    assert members or "Example: processor" in said.out


@pytest.mark.parametrize(
    "args",
    [
        ("topics", "create"),
        ("topics", "check"),
        ("topics", "acls"),
        ("topics", "migrate"),
        ("topics", "unseal"),
        ("schemas", "register"),
        ("schemas", "check"),
        ("held", "list"),
        ("held", "show"),
        ("held", "resolve"),
    ],
)
def test_every_command_of_a_group_has_help_with_an_example(args: tuple[str, str]) -> None:
    """As above, one level down."""
    said = command(*args, "--help")
    assert said.code == 0
    assert f"Example: processor {' '.join(args)}" in said.out


@pytest.mark.parametrize(
    "error,code",
    [
        (SettingsInvalid("x"), 2),
        (BrokerUnavailable("x"), 3),
        (RegistryUnavailable("x"), 3),
        (StateUnreadable("x"), 1),
        (RequestRejected("x", "x"), 1),
        (ProcessorError("x"), 1),
    ],
)
def test_an_error_ends_a_command_with_its_code(error: ProcessorError, code: int) -> None:
    """Scripts can tell a finding from a mistake of theirs, and both from a server that is away."""
    assert exit_code_of(error) == code


@pytest.mark.parametrize(
    "args",
    [
        ("run",),
        ("check",),
        ("topics", "create"),
        ("topics", "check"),
        ("schemas", "check"),
        ("topics", "migrate", "--to-application-id", "x"),
        ("topics", "unseal"),
        ("backup", "x"),
        ("restore", "x"),
        ("publish", "-"),
        ("results",),
        ("held", "list"),
        ("pause", "--list"),
        ("resume", "x"),
    ],
)
def test_missing_settings_are_named_one_a_line_without_a_traceback(args: tuple[str, ...]) -> None:
    """Wrong settings are exit code 2, and each line names its variable and what to do."""
    said = command(*args)
    assert (said.code, said.out) == (2, "")
    assert {line.split(" ")[0].split("__")[0] for line in said.err.splitlines()} <= {
        "PROCESSOR_KAFKA",
        "PROCESSOR_SCHEMA_REGISTRY",
        "PROCESSOR_API",
    }


@pytest.mark.parametrize(
    "args,complaint",
    [
        (("topcs",), "Did you mean 'topics'?"),
        (("run", "sumbitter"), "'submitter'"),
        (("publish",), "Missing argument 'FILE'"),
        (("held", "resolve", "r-1"), "say one of --started WORKFLOW_ID, --not-executed and --give-up"),
        (("held", "resolve", "r-1", "--give-up", "--not-executed"), "say one of"),
        (("held", "resolve", "r-1", "--started", " "), "name the workflow"),
        (("held", "resolve", "r-1", "--started", "../w-1"), "name the workflow"),
        (("results", "--max", "0"), "--max"),
        (("simulate", "--set", "seed"), "write NAME=VALUE"),
        (("simulate", "--set", "webhook_lost_rate=2"), "webhook_lost_rate must lie in 0..1"),
        (("simulate", "--set", "nothing=2"), "unknown: nothing"),
    ],
)
def test_wrong_usage_is_explained(args: tuple[str, ...], complaint: str) -> None:
    """Usage that cannot be meant is exit code 2."""
    said = command(*args)
    assert said.code == 2
    assert complaint in said.err


def test_the_version_is_that_of_the_package() -> None:
    """Support asks for it first."""
    assert command("--version").out.strip() == version("onboarding-processor")


def test_a_server_that_is_away_is_exit_code_3_and_says_why(tmp_path: Path) -> None:
    """No traceback, and the cause that the client saw."""
    env = {**environment(tmp_path), "PROCESSOR_KAFKA__OPERATION_TIMEOUT_S": "0.2"}
    for args in (("topics", "check"), ("results", "--topic", "t")):
        said = command(*args, env=env)
        assert (said.code, said.out) == (3, "")
        assert "broker does not answer" in said.err


def test_a_catalogue_that_is_not_there_is_exit_code_2(tmp_path: Path) -> None:
    """Which topics there are depends on the catalogue."""
    env = {**environment(tmp_path), "PROCESSOR_WORKFLOWS__FILE": str(tmp_path / "none.yaml")}
    said = command("topics", "create", "--dry-run", env=env)
    assert said.code == 2
    assert "none.yaml" in said.err


def test_the_settings_of_the_simulator_can_be_listed() -> None:
    """Everything that `--set` takes is in the list, with its meaning."""
    listed = command("simulate", "--list", "--json").json()
    assert {"seed", "webhook_lost_rate", "run_ghost_rate"} <= {each["name"] for each in listed}
    assert all(each["meaning"] for each in listed)


MANY = """
import os, sys
from importlib import import_module
from processor.cli.main import COMMANDS, app
import_module("processor.cli." + COMMANDS[sys.argv[1]][0])
codes = []
for _ in range(50):
    child = os.fork()  # Spares 50 times the imports; a child ends as any interpreter does.
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        app(sys.argv[1:], prog_name="processor")
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(*sorted(set(codes)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("args,code", [(("check",), "1"), (("results",), "3"), (("simulate", "--list"), "0")])
def test_commands_end_as_they_should_every_time(tmp_path: Path, args: tuple[str, ...], code: str) -> None:
    """No library aborts a process that has done its work: between them these load all that commands load."""
    env = {**os.environ, **environment(tmp_path), "PROCESSOR_KAFKA__OPERATION_TIMEOUT_S": "0.1"}
    with registry_in_thread() as registry:
        env["PROCESSOR_SCHEMA_REGISTRY__URL"] = registry
        call = [sys.executable, "-c", MANY, *args]
        done = subprocess.run(call, env=env, capture_output=True, text=True, timeout=110, check=True)
    assert done.stdout.strip() == code


def test_rights_are_printed_without_asking_a_broker(tmp_path: Path) -> None:
    """Whoever administers ACLs gets the lines to paste, or the same for programs, of one role or of all."""
    env = environment(tmp_path)
    lines = command("topics", "acls", "ingestor", "--user", "User:hook", env=env).out.splitlines()
    assert [line.split(" --allow-principal ")[1] for line in lines] == [
        "User:hook --operation Write --topic t.workflows",
        "User:hook --operation Write --topic t.dead_letters",
    ]
    everything = command("topics", "acls", "--json", env=env).json()["acls"]
    written = {"resource": {"type": "topic", "name": "t.company-results", "patternType": "literal"}}
    assert {**written, "operations": ["Write"]} in everything
    assert {acl["resource"]["patternType"] for acl in everything} == {"literal", "prefix"}, "Strimzi's words"
    assert command("topics", "acls", "somebody", env=env).code == 2


def test_rights_that_say_nothing_of_results_need_no_catalogue(tmp_path: Path) -> None:
    """Who administers Kafka has none at hand; where one is needed, the file that is missing is named."""
    env = {**environment(tmp_path), "PROCESSOR_WORKFLOWS__FILE": str(tmp_path / "nowhere.yaml")}
    assert "--topic t.workflows" in command("topics", "acls", "ingestor", "mover", env=env).out
    said = command("topics", "acls", "ingestor", "submitter", env=env)
    assert (said.code, said.out) == (2, "")
    assert "nowhere.yaml: cannot be read" in said.err


@pytest.mark.parametrize("user", ["foo", "User:", ":foo", ""])
def test_a_principal_without_its_type_is_refused(user: str, tmp_path: Path) -> None:
    """Kafka would take the line and grant nobody anything."""
    said = command("topics", "acls", "--user", user, env=environment(tmp_path))
    assert (said.code, said.out) == (2, "")
    assert "write User:NAME" in said.err


def test_a_question_that_nobody_answers_names_the_option_that_does(tmp_path: Path) -> None:
    """As in a pipeline, where standard input has ended."""
    said = command("topics", "unseal", env=environment(tmp_path))
    assert (said.code, said.out.strip()) == (1, "")
    assert "answer with --yes" in said.err


@pytest.mark.parametrize(
    "content",
    [b"", b'""', b"\x1f\x8b", gzip.compress(b'""'), gzip.compress(b"x")],
    ids=["empty", "text", "cut short", "packed", "packed text"],
)
def test_what_is_no_snapshot_is_not_restored(content: bytes, tmp_path: Path) -> None:
    """The file is named in one sentence, and nothing of what it holds."""
    file = tmp_path / "onboarding.snapshot"
    file.write_bytes(content)
    said = command("restore", str(file), "--to-application-id", "other", env=environment(tmp_path))
    assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
    assert said.err.startswith(f"{file} is ")
    assert not set(said.err) & set("'\"\\")


@pytest.mark.parametrize("application_id", ["a b", "", "x" * 61])
def test_an_application_id_that_will_not_do_is_told_once(application_id: str, tmp_path: Path) -> None:
    """Topics that are named after it are not to blame."""
    said = command("topics", "migrate", "--to-application-id", application_id, env=environment(tmp_path))
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert said.err.startswith("PROCESSOR_APPLICATION_ID (from the command): string should match pattern")


def test_help_says_what_can_be_done_with_schemas() -> None:
    """A pipeline looks for the word lint."""
    assert "lint" in command("--help").out
