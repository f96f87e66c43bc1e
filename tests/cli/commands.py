"""Runs commands in this process, as a shell would."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from processor.cli.main import app

CATALOGUE = """\
version: 1
workflows:
  person-check:
    definition: 3b2d8a4f-579f-4e2e-a51c-f859e532fe8c
    record: {table: people, columns: {ref: requestId}}
  company-check:
    definition: 9c2d8a4f-579f-4e2e-a51c-f859e532fe8c
    record: {table: companies, columns: {ref: requestId}}
    resultsTopic: {prefix}company-results
"""
NOBODY = "127.0.0.1:9"  # The discard port: nothing listens there.


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> Any:  # noqa: ANN401  # whatever was printed
        """Return the document that was printed."""
        return json.loads(self.out)


def command(*args: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Said:
    """Run a command with these variables only."""
    done = CliRunner().invoke(app, list(args), env=dict(env or {}), input=stdin, prog_name="processor")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Said(done.exit_code, done.stdout, done.stderr)


def environment(
    directory: Path, *, prefix: str = "t.", broker: str = NOBODY, registry: str = f"http://{NOBODY}"
) -> dict[str, str]:
    """Return variables that all commands can work with; topics are named after the prefix, one broker is enough."""
    file = directory / "workflows.yaml"
    file.write_text(CATALOGUE.replace("{prefix}", prefix))
    named = {
        f"PROCESSOR_TOPICS__{name.upper()}": f"{prefix}{name}"
        for name in ("requests", "results", "links", "progress", "dead_letters")
    }
    return {
        **named,
        "PROCESSOR_APPLICATION_ID": prefix.rstrip("."),
        "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": broker,
        "PROCESSOR_KAFKA__OPERATION_TIMEOUT_S": "5",
        "PROCESSOR_SCHEMA_REGISTRY__URL": registry,
        "PROCESSOR_API__BASE_URL": f"http://{NOBODY}",
        "PROCESSOR_API__KEY": "key-of-test",
        "PROCESSOR_API__SECRET": "secret-of-test",
        "PROCESSOR_WORKFLOWS__FILE": str(file),
        "PROCESSOR_TOPICS__PARTITIONS": "3",
        "PROCESSOR_TOPICS__REPLICATION_FACTOR": "1",
        "PROCESSOR_TOPICS__MIN_INSYNC_REPLICAS": "1",
    }
