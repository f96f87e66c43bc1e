"""`processor results`: results as a consumer reads them, committed ones only."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer

from processor.adapters.catalogue_file import catalogue_of
from processor.adapters.public_events import RESULT, ResultReader, personal_fields, without_personal_data
from processor.adapters.registry import registry_for
from processor.adapters.topic_reader import END, FIRST, Newest
from processor.cli.options import AsJson, Brokers, Registry
from processor.cli.output import complain, say, say_json, say_table
from processor.cli.starting import (
    overrides_of,
    reader_for,
    results_topics,
    settings_for,
)
from processor.engine.ports import InputRecord
from processor.errors import UndecodableMessage
from processor.settings import Settings
from processor.settings_loading import Need

app = typer.Typer(add_completion=False, rich_markup_mode=None)

NEWEST = 20
OFFSETS_A_RESULT = 3  # A result, the marker of its transaction, and some room for aborted ones.
COLUMNS = (
    "requestId",
    "revision",
    "workflow",
    "outcome",
    "decision",
    "reason",
    "workflowId",
    "finishedAt",
    "completedBy",
)


@app.command(epilog="Example: processor results --follow --json")
def results(
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Wait for new results, until Ctrl-C or --max.")] = False,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Begin with the oldest result.")] = False,
    count_max: Annotated[
        int | None, typer.Option("--max", min=1, help=f"Show at most so many (default: the {NEWEST} newest).")
    ] = None,
    show_result: Annotated[bool, typer.Option("--show-result", help="Show personal data too.")] = False,
    topic: Annotated[list[str] | None, typer.Option("--topic", help="Instead of all topics of results.")] = None,
    as_json: AsJson = False,
    bootstrap_servers: Brokers = None,
    schema_registry: Registry = None,
) -> None:
    """Show results: the newest, all from the beginning, or new ones as they come.

    Personal data (decision, result, subject reference, attributes) is hidden unless --show-result. With --json each
    result is one object on a line.
    """
    overrides = overrides_of(bootstrap_servers, schema_registry)
    settings = settings_for(Need.KAFKA, Need.REGISTRY, overrides=overrides)
    decoder = ResultReader(registry_for(settings.schema_registry))
    view = _View(decoder, show_result=show_result, as_json=as_json)
    with reader_for(settings) as reader:
        start = FIRST if from_beginning else END if follow else Newest((count_max or NEWEST) * OFFSETS_A_RESULT)
        reader.begin(topic or _topics_of(settings), start)
        if follow:
            view.stream(reader.follow(), count_max)
        elif from_beginning:
            view.stream(reader.until_end(), count_max)
        else:
            view.show(view.newest(reader.until_end(), count_max or NEWEST))
    if view.unreadable:
        raise typer.Exit(1)


class _View:
    """Decodes results and prints them."""

    def __init__(self, decoder: ResultReader, *, show_result: bool, as_json: bool) -> None:
        self._decoder = decoder
        self._hidden: frozenset[str] = frozenset() if show_result else personal_fields(RESULT)
        self._as_json = as_json
        self._columns = tuple(name for name in COLUMNS if name not in self._hidden)
        self.unreadable = 0

    def read(self, record: InputRecord) -> Mapping[str, Any] | None:
        """Return a result as it may be shown; None for what is none, which is said."""
        try:
            result = self._decoder.read(record.topic, record.value, record.headers)
        except UndecodableMessage as error:
            self.unreadable += 1
            complain(f"{record.topic}[{record.partition}] at offset {record.offset} is no result: {error}")
            return None
        return without_personal_data(result, self._hidden)

    def newest(self, records: Iterable[InputRecord], count: int) -> list[Mapping[str, Any]]:
        """Return the newest results, the oldest of them first; few are in memory at a time, for each may be large."""
        found: list[Mapping[str, Any]] = []
        for record in records:
            if (result := self.read(record)) is not None:
                found.append(result)
            if len(found) >= 2 * count:
                found = _last(found, count)
        return _last(found, count)

    def show(self, found: Sequence[Mapping[str, Any]]) -> None:
        """Print results that are there: as a table, or one JSON object a line."""
        if self._as_json:
            for result in found:
                say_json(result, is_line=True)
        elif found:
            say_table(self._columns, [[result[name] for name in self._columns] for result in found])
        else:
            complain("there are no results")

    def stream(self, records: Iterable[InputRecord | None], count_max: int | None) -> None:
        """Print each result as it comes, until there are no more or so many were printed."""
        shown = 0
        for record in records:
            result = None if record is None else self.read(record)
            if result is None:
                continue
            if self._as_json:
                say_json(result, is_line=True)
            else:
                say("  ".join(str(result[name]) for name in self._columns if result[name] is not None))
            shown += 1
            if shown == count_max:
                return


def _last(found: list[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    return sorted(found, key=lambda result: str(result["finishedAt"]))[-count:]


def _topics_of(settings: Settings) -> Sequence[str]:
    """Return the topics of results; those that workflows name only where the catalogue is at hand."""
    if not settings.workflows.file.is_file():
        complain(f"there is no catalogue {settings.workflows.file}; only {settings.topics.results} is read")
        return (settings.topics.results,)
    return results_topics(settings, catalogue_of(settings))
