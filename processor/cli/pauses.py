"""`processor pause` and `processor resume`: say on the control topic what all instances then do."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from processor.adapters.acked_producer import AckedProducer
from processor.adapters.catalogue_file import catalogue_of
from processor.adapters.control_topic import read_standings, set_pause
from processor.adapters.control_topic import resume as send_resume
from processor.adapters.event_headers import rfc3339
from processor.adapters.pauses import PauseReason, Standing
from processor.cli.options import AsJson, Brokers
from processor.cli.output import complain, say, say_json, say_table
from processor.cli.starting import DELIVERY_S, now, overrides_of, settings_for
from processor.errors import ProcessorError
from processor.kafka_config import plain_producer_config, reader_config
from processor.settings import Settings
from processor.settings_loading import Need

pause_app = typer.Typer(add_completion=False, rich_markup_mode=None)
resume_app = typer.Typer(add_completion=False, rich_markup_mode=None)
Name = Annotated[str | None, typer.Argument(metavar="[WORKFLOW]", help="Name of the workflow in the catalogue.")]
FLUSH_S = 5.0


class NothingToDo(ProcessorError):
    """The workflow is not paused, or not known."""


@pause_app.command(epilog="Example: processor pause person-check --why 'definition is being changed'")
def pause(
    workflow: Name = None,
    listed: Annotated[bool, typer.Option("--list", help="List the paused workflows instead.")] = False,
    why: Annotated[str, typer.Option("--why", help="For others to read; no personal data.")] = "",
    as_json: AsJson = False,
    bootstrap_servers: Brokers = None,
) -> None:
    """Pause a workflow everywhere: its requests wait, nothing of them is lost, what runs already is followed."""
    settings = settings_for(Need.KAFKA, overrides=overrides_of(bootstrap_servers))
    known = _known(settings)
    if listed:
        _tell_paused([standing for standing in known.values() if standing.is_paused], as_json=as_json)
        return
    name = _named(settings, workflow, known)
    with _producer(settings) as producer:
        paused = set_pause(producer, settings.topics.control, known, name, why=why, now=now())
    _tell(paused, f"{name} is paused; `processor resume {name}` lets it go on", as_json=as_json)


@resume_app.command(epilog="Example: processor resume person-check")
def resume(workflow: Name = None, as_json: AsJson = False, bootstrap_servers: Brokers = None) -> None:
    """Let a paused workflow go on: whoever paused it, a person or a fault of ours that is mended now."""
    settings = settings_for(Need.KAFKA, overrides=overrides_of(bootstrap_servers))
    known = _known(settings)
    name = _named(settings, workflow, known)
    if name not in known or not known[name].is_paused:
        raise NothingToDo(f"{name} is not paused; `processor pause --list` shows those that are")
    with _producer(settings) as producer:
        resumed = send_resume(producer, settings.topics.control, known, name, now=now())
    _tell(resumed, f"{name} goes on", as_json=as_json)


def standing_json(standing: Standing) -> Mapping[str, Any]:
    """Return what is known of a workflow, for programs."""
    return {
        "workflow": standing.workflow,
        "isPaused": standing.is_paused,
        "reason": standing.reason,
        "generation": standing.generation,
        "at": rfc3339(standing.at),
        "why": standing.why,
    }


def _known(settings: Settings) -> Mapping[str, Standing]:
    return read_standings(settings.topics.control, reader_config(settings, "command"))


def _named(settings: Settings, workflow: str | None, known: Mapping[str, Standing]) -> str:
    """Return the name that was given; one that neither the catalogue nor the topic knows is a mistake."""
    if workflow is None:
        raise typer.BadParameter("name the workflow", param_hint="WORKFLOW")
    names = catalogue_of(settings).workflows
    if workflow not in names and workflow not in known:
        raise NothingToDo(f"there is no workflow {workflow}; the catalogue has {', '.join(sorted(names))}")
    return workflow


@contextmanager
def _producer(settings: Settings) -> Iterator[AckedProducer]:
    config = plain_producer_config(settings, "command", delivery_timeout_ms=round(DELIVERY_S * 1000))
    producer = AckedProducer(config, send_timeout_s=FLUSH_S)
    try:
        yield producer
    finally:
        producer.close(FLUSH_S)


def _tell(standing: Standing, text: str, *, as_json: bool) -> None:
    if as_json:
        say_json(standing_json(standing))
    else:
        say(text)


def _tell_paused(paused: list[Standing], *, as_json: bool) -> None:
    if as_json:
        say_json({"paused": [standing_json(standing) for standing in paused]})
    elif not paused:
        complain("no workflow is paused")
    else:
        say_table(
            ("workflow", "by", "since", "why"),
            [(each.workflow, _by(each), rfc3339(each.at), each.why) for each in paused],
        )


def _by(standing: Standing) -> str:
    return "a person" if standing.reason is PauseReason.OPERATOR else "a fault that instances met"
