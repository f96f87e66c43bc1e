"""`processor backup` and `processor restore`: a stopped deployment into a file, and out of it."""

from pathlib import Path
from typing import Annotated

import typer

from processor.adapters.snapshot_file import SnapshotFile
from processor.cli.migrate import (
    DryRun,
    Partitions,
    RequestsTopic,
    moved_overrides,
    new_id,
    tell_moved,
)
from processor.cli.options import AsJson, Brokers, Yes
from processor.cli.output import complain, confirm, say, say_json
from processor.cli.starting import now, overrides_of, settings_for
from processor.roles import relocation, relocation_restore
from processor.roles.relocation_session import tools_for
from processor.settings_loading import Need

backup_app = typer.Typer(add_completion=False, rich_markup_mode=None)
restore_app = typer.Typer(add_completion=False, rich_markup_mode=None)
File = Annotated[Path, typer.Argument(metavar="FILE", help="Holds personal data; only its owner may read it.")]


@backup_app.command(epilog="Example: processor backup onboarding.snapshot --seal")
def backup(
    file: File,
    seal: Annotated[
        bool, typer.Option("--seal", help="Let it never start again here, so that it can go on from the file.")
    ] = False,
    as_json: AsJson = False,
    bootstrap_servers: Brokers = None,
) -> None:
    """Write a stopped deployment to a file: its state, what it has not read yet, its pauses."""
    settings = settings_for(Need.KAFKA, overrides=overrides_of(bootstrap_servers))
    with tools_for(settings, complain) as tools:
        header, count = relocation.back_up(settings, file, tools, new_id, now(), is_sealing=seal)
    if as_json:
        told = {"file": str(file), "madeAt": header.made_at, "items": count, "isSealed": header.is_sealed}
        say_json({"applicationId": header.application_id, **told})
        return
    say(f"{file} holds {count} entries and records of {header.application_id} as of {header.made_at}")
    if not header.is_sealed:
        say("once it runs again the file is out of date: what is restored from it would repeat what was done since")


@restore_app.command(epilog="Example: processor restore onboarding.snapshot --to-application-id onboarding-2")
def restore(  # noqa: PLR0917  # its options
    file: File,
    to_application_id: Annotated[
        str | None,
        typer.Option("--to-application-id", metavar="ID", help="Under which it starts then, instead of the setting."),
    ] = None,
    partitions: Partitions = None,
    requests_topic: RequestsTopic = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
    bootstrap_servers: Brokers = None,
) -> None:
    """Make a deployment of a new application id out of a file, on this cluster or another one.

    May be run again whenever it was interrupted.
    """
    place = moved_overrides(to_application_id, partitions, requests_topic)
    settings = settings_for(Need.KAFKA, overrides={**overrides_of(bootstrap_servers), **place})
    snapshot = SnapshotFile(file)
    header = snapshot.header
    if not header.is_sealed and not yes and not dry_run:
        confirm(f"Did {header.application_id} never run again after {header.made_at}?")
    with tools_for(settings, complain) as tools:
        moved = relocation_restore.restore(settings, snapshot, tools, is_dry=dry_run)
    tell_moved(moved, settings, is_dry=dry_run, as_json=as_json)
