"""`processor publish` before anything is published: what it refuses."""

import json
from pathlib import Path

from tests.cli.commands import command, environment

GOOD = json.dumps({"requestId": "r-1", "workflow": "person-check"})


def test_every_bad_line_is_named_and_nothing_is_published(tmp_path: Path) -> None:
    """A file is read whole first; numbers are those that an editor shows, empty lines count."""
    file = tmp_path / "requests.jsonl"
    file.write_text(f"{GOOD}\n\n{{}}\nnonsense\n{GOOD}\n")
    said = command("publish", str(file), env=environment(tmp_path))
    assert said.code == 1
    assert said.err.splitlines() == [
        "line 3: requestId is missing; every request has one",
        "line 4: it is not JSON (column 1); write one object a line",
        "nothing was published",
    ]


def test_complaints_end_after_a_while(tmp_path: Path) -> None:
    """A file of something else does not fill the screen."""
    file = tmp_path / "requests.jsonl"
    file.write_text("nonsense\n" * 1000)
    lines = command("publish", str(file), env=environment(tmp_path)).err.splitlines()
    assert lines[-2:] == ["there may be more; nothing after this line was looked at", "nothing was published"]
    assert len(lines) == 22


def test_what_is_no_text_is_refused_with_its_line(tmp_path: Path) -> None:
    """Another encoding is a finding, not a crash."""
    file = tmp_path / "requests.jsonl"
    file.write_bytes(GOOD.encode() + b"\n\xff\xfe\n")
    said = command("publish", str(file), env=environment(tmp_path))
    assert said.code == 1
    assert "it is not UTF-8 text" in said.err


def test_a_file_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    """Exit code 2, with the system's reason."""
    said = command("publish", str(tmp_path / "none"), env=environment(tmp_path))
    assert said.code == 2
    assert "No such file" in said.err


def test_a_registry_that_is_away_is_exit_code_3(tmp_path: Path) -> None:
    """The lines are good, and nobody can write them."""
    file = tmp_path / "requests.jsonl"
    file.write_text(GOOD)
    said = command("publish", str(file), env=environment(tmp_path))
    assert said.code == 3
    assert "schema registry did not answer" in said.err
