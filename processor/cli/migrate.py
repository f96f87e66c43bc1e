"""`processor topics migrate` and `processor topics unseal`: a stopped deployment on other topics, or free again."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import uuid4

import typer

from processor.cli.options import AsJson, Brokers, Yes
from processor.cli.output import complain, confirm, say, say_json, say_table
from processor.cli.starting import overrides_of, settings_for
from processor.roles import relocation
from processor.roles.relocation import Moved
from processor.roles.relocation_session import tools_for
from processor.settings import Settings
from processor.settings_loading import Need

Partitions = Annotated[
    int | None, typer.Option("--partitions", min=1, max=1000, help="Of the topics that are made; else as the setting.")
]
RequestsTopic = Annotated[
    str | None,
    typer.Option("--requests-topic", metavar="NAME", help="Another requests topic; without it the present one stays."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be moved.")]


def migrate(  # noqa: PLR0917  # its options
    to_application_id: Annotated[
        str, typer.Option("--to-application-id", metavar="ID", help="Under which it starts then; never used before.")
    ],
    partitions: Partitions = None,
    requests_topic: RequestsTopic = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    bootstrap_servers: Brokers = None,
) -> None:
    """Move a stopped deployment to topics of another application id, with as many partitions as are wanted.

    The old one is sealed, so that it never starts again. May be run again whenever it was interrupted.
    """
    overrides = overrides_of(bootstrap_servers)
    old = settings_for(Need.KAFKA, overrides=overrides)
    new = settings_for(
        Need.KAFKA, overrides={**overrides, **moved_overrides(to_application_id, partitions, requests_topic)}
    )
    with tools_for(old, complain) as tools:
        moved = relocation.migrate(old, new, tools, new_id, is_dry=dry_run)
    tell_moved(moved, new, is_dry=dry_run, as_json=as_json)


def unseal(yes: Yes = False, as_json: AsJson = False, bootstrap_servers: Brokers = None) -> None:
    """Let a deployment start again that was sealed by `backup --seal`, or by a move that is called off."""
    settings = settings_for(Need.KAFKA, overrides=overrides_of(bootstrap_servers))
    if not yes:
        question = f"Is nothing running, and will nothing ever run, that was made of {settings.application_id}?"
        confirm(question)
    with tools_for(settings, complain) as tools:
        relocation.unseal(settings, tools)
    if as_json:
        say_json({"unsealed": settings.application_id})
    else:
        say(f"{settings.application_id} may start again")


def new_id() -> str:
    """Return an id for one move."""
    return uuid4().hex


def moved_overrides(
    application_id: str | None, partitions: int | None, requests_topic: str | None
) -> Mapping[str, object]:
    """Return what a new place changes in the settings."""
    topics: dict[str, object] = {}
    if partitions is not None:
        topics["partitions"] = partitions
    if requests_topic is not None:
        topics["requests"] = requests_topic
    named = {} if application_id is None else {"application_id": application_id}
    return {**named, **({"topics": topics} if topics else {})}


def tell_moved(moved: Moved, new: Settings, *, is_dry: bool, as_json: bool) -> None:
    """Say what was moved, or would be, and what to do next."""
    if as_json:
        say_json({"wouldMove" if is_dry else "moved": moved_json(moved, new)})
        return
    say_table(
        ("decider", "partitions", "entries", "unread records"),
        [(name, moved.partitions[name], moved.entries.get(name, 0), _unread(moved, name)) for name in moved.partitions],
    )
    if is_dry:
        say("nothing was written; unread records are counted with markers of transactions")
        return
    say(f"start it with PROCESSOR_APPLICATION_ID={new.application_id}, never again under the old one")
    if "preparation" not in moved.kept:
        say(f"requests are read from {new.topics.requests} now: let publishers write there")


def moved_json(moved: Moved, new: Settings) -> Mapping[str, Any]:
    """Return what was moved, for programs."""
    return {
        "applicationId": new.application_id,
        "requestsTopic": new.topics.requests,
        "deciders": {
            name: {
                "partitions": count,
                "entries": moved.entries.get(name, 0),
                "unread": moved.records.get(name, 0),
                "inputStays": name in moved.kept,
            }
            for name, count in moved.partitions.items()
        },
    }


def _unread(moved: Moved, decider: str) -> object:
    return "stay" if decider in moved.kept else moved.records.get(decider, 0)
