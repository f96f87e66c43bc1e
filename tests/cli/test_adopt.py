"""`processor adopt` before anything is published: what it checks, and what it refuses."""

import json
from pathlib import Path

from tests.cli.commands import command, environment

GOOD = {"workflowId": "w-1", "requestId": "r-1", "workflow": "person-check"}
OTHER = {"workflowId": "w-2", "requestId": "r-2", "workflow": "company-check"}


def written(directory: Path, *lines: object) -> str:
    """Write a list and return its name."""
    file = directory / "running.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return str(file)


def test_a_dry_run_checks_every_line_and_needs_no_broker(tmp_path: Path) -> None:
    """It says how many of each workflow there are, and what it could not check."""
    env = environment(tmp_path)
    del env["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"]
    said = command("adopt", written(tmp_path, GOOD, OTHER), "--dry-run", "--json", env=env)
    assert said.code == 0
    assert said.err == "not checked: that none of these request ids has a result already; it would get a second one\n"
    assert said.json() == {
        "lines": 2,
        "adopted": 0,
        "topic": "t.workflows",
        "workflows": {"company-check": 1, "person-check": 1},
    }


def test_every_bad_line_is_named_and_nothing_is_adopted(tmp_path: Path) -> None:
    """All of the list is checked before the first line is sent; no value is repeated."""
    file = written(tmp_path, GOOD, {**OTHER, "tenant": 7}, {**OTHER, "requestId": "r-1"}, {**OTHER, "secret": "x"})
    said = command("adopt", file, env=environment(tmp_path))
    assert (said.code, said.out) == (1, "")
    assert [line.split(";")[0] for line in said.err.splitlines()] == [
        "line 2: tenant must be text",
        "line 3: requestId stands in line 1 already",
        "line 4: the line has an unknown member",
        "nothing was adopted",
    ]


def test_a_line_that_fits_into_no_record_is_refused(tmp_path: Path) -> None:
    """Rather than half the list being handed over."""
    file = written(tmp_path, {**GOOD, "attributes": {"a": "x" * 1_000_000}})
    assert "its attributes are too large" in command("adopt", file, env=environment(tmp_path)).err


def test_complaints_end_after_a_while(tmp_path: Path) -> None:
    """A file of something else does not fill the screen."""
    lines = command("adopt", written(tmp_path, *[GOOD] * 100), env=environment(tmp_path)).err.splitlines()
    assert len(lines) == 22


def test_a_list_from_standard_input_is_checked_whole_too(tmp_path: Path) -> None:
    """It is held in memory; an empty one is a mistake."""
    env = environment(tmp_path)
    text = "workflowId,requestId,workflow\nw-1,r-1,person-check\n"
    assert command("adopt", "-", "--dry-run", env=env, stdin=text).out == "1 workflow can be adopted (person-check 1)\n"
    assert command("adopt", "-", "--dry-run", env=env, stdin="\n").err.startswith("there is no line to adopt\n")


def test_what_is_no_text_and_what_is_not_there(tmp_path: Path) -> None:
    """A finding and wrong usage, not a crash."""
    file = tmp_path / "running.csv"
    file.write_bytes(b"workflowId,requestId,workflow\nw-1,r-1,person-check\n\xff\xfe\n")
    said = command("adopt", str(file), env=environment(tmp_path))
    assert (said.code, "it is not UTF-8 text" in said.err) == (1, True)
    assert command("adopt", str(tmp_path / "none"), env=environment(tmp_path)).code == 2


def test_a_broker_that_is_away_is_exit_code_3(tmp_path: Path) -> None:
    """The list is good, and nobody can take it."""
    env = {**environment(tmp_path), "PROCESSOR_KAFKA__OPERATION_TIMEOUT_S": "0.2"}
    assert command("adopt", written(tmp_path, GOOD), env=env).code == 3
