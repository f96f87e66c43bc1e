"""`processor demo`: its options; the work is in `demo`."""

from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer

from processor.cli.demo import Options
from processor.cli.demo import demo as run_demo
from processor.cli.demo_requests import made_up, read_file
from processor.cli.demo_settings import WORKFLOWS, Place
from processor.cli.options import AsJson
from processor.cli.starting import now

app = typer.Typer(add_completion=False, rich_markup_mode=None)

TIMEOUT_S = 60.0
REQUESTS_A_SECOND_MIN = 100


@app.command(epilog="Example: processor demo --bootstrap-servers kafka-0:9092")
def demo(
    *,
    requests: Annotated[Path | None, typer.Option("--requests", help="JSON lines instead of made-up requests.")] = None,
    workflows: Annotated[
        Path, typer.Option("--workflows", help="Your catalogue instead of the demo's.", show_default=False)
    ] = WORKFLOWS,
    count: Annotated[int, typer.Option("--count", min=1, max=100_000, help="How many requests to make up.")] = 200,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the requests and of what the provider does.")] = 1,
    bootstrap_servers: Annotated[
        str | None,
        typer.Option(help="A real cluster instead of the embedded broker, reached as PROCESSOR_KAFKA__… says."),
    ] = None,
    schema_registry: Annotated[
        str | None,
        typer.Option(help="A real registry instead of the embedded one, as PROCESSOR_SCHEMA_REGISTRY__… says."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep topics and subjects on real servers.")] = False,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", min=1, help="Give up after so many seconds; 60, and 1 more for each 100 requests."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Keep the log and say where it is.")] = False,
    as_json: AsJson = False,
) -> None:
    """Do the whole job once, on servers of its own, against a simulated provider.

    Exit code 0 only when every request has exactly one result. On a real cluster everything is called demo-…; it is
    deleted at the end, unless a result is missing or --keep is given.
    """
    batch = made_up(count, seed, now()) if requests is None else read_file(requests, now())
    options = Options(
        place=Place(f"demo-{uuid4().hex[:8]}", bootstrap_servers, schema_registry, workflows, seed),
        batch=batch,
        timeout_s=timeout or TIMEOUT_S + len(batch.lines) / REQUESTS_A_SECOND_MIN,
        is_kept=keep,
        is_verbose=verbose,
        as_json=as_json,
    )
    raise typer.Exit(run_demo(options))
