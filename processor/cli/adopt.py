"""`processor adopt`: takes over workflows that another service started, so that their results come from here.

Each line becomes what `launch` would have handed over: a start with custody, on the topic that `completion` reads. A
start that is repeated for the same request changes nothing, so a list may be adopted again after a failure.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from typing import Annotated, TextIO

import typer

from processor.adapters.adoption_lines import Adopting, Row, Twice, rows_in
from processor.adapters.catalogue_file import catalogue_of
from processor.adapters.codec import Codec
from processor.cli.lines import PROBLEMS_MAX, STDIN, TELL_EVERY, UNTOLD, opened
from processor.cli.options import AsJson, Brokers
from processor.cli.output import complain, say, say_json
from processor.cli.starting import now, overrides_of, publisher_for, settings_for
from processor.core.keys import canonical_id
from processor.core.messages import Started
from processor.errors import ProcessorError, RequestRejected
from processor.roles.machines import RECORD_OVERHEAD_BYTES, custody_headers
from processor.settings import Settings
from processor.settings_loading import Need
from processor.wording import counted

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class ListRejected(ProcessorError):
    """Some lines cannot be adopted; the text names each of them."""


@app.command(epilog="Example: processor adopt running.jsonl --dry-run")
def adopt(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="JSON lines, or CSV with a header; - reads standard input.")
    ],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check every line, publish nothing.")] = False,
    as_json: AsJson = False,
    bootstrap_servers: Brokers = None,
) -> None:
    """Take over workflows that another service started: their results are published like those of our own.

    A line has workflowId, requestId and workflow (its name in the catalogue); it may have key, deadlineAt, requestedAt,
    startedAt, recordId, caseId, subjectReference, tenant, sourceSystem, correlationId and attributes (in CSV a column
    attributes.NAME for each). All lines are checked before the first is sent. The same list may be adopted again: what
    was taken over already stays as it is. Never publish these request ids as requests too, nor adopt one that has its
    result already: it would get a second one, and no check can see that.
    """
    needs = () if dry_run else (Need.KAFKA,)
    settings = settings_for(*needs, overrides=overrides_of(bootstrap_servers))
    adopting = Adopting(catalogue_of(settings), now())
    codec = Codec(write_format=settings.state.write_format)
    with _lines_of(file) as lines:
        counts = _checked(settings, adopting, codec, lines)
        if not dry_run:
            lines.seek(0)
            _publish_all(settings, adopting, codec, lines)
    _tell(settings, counts, is_dry_run=dry_run, as_json=as_json)


def _checked(settings: Settings, adopting: Adopting, codec: Codec, lines: Iterable[str]) -> Mapping[str, int]:
    """Return how many lines there are of each workflow; raises ListRejected that names every bad one, up to a limit."""
    problems: list[str] = []
    counts: Counter[str] = Counter()
    twice = Twice()
    for row in _rows(lines):
        try:
            started = _started(adopting, row)
            problem = twice.problem(started, row.number) or _size_problem(settings, codec.encode(started))
            counts[started.origin.workflow] += 1
        except RequestRejected as error:
            problem = str(error)
        if problem:
            problems.append(f"line {row.number}: {problem}")
        if len(problems) == PROBLEMS_MAX:
            problems.append(UNTOLD)
            break
        if row.number % TELL_EVERY == 0:
            complain(f"{row.number} lines checked")
    if not counts and not problems:
        problems.append("there is no line to adopt")
    if problems:
        raise ListRejected("\n".join((*problems, "nothing was adopted")))
    return counts


def _publish_all(settings: Settings, adopting: Adopting, codec: Codec, lines: Iterable[str]) -> None:
    """Publish a start for each line; raises BrokerUnavailable when not all of them arrived."""
    topic = settings.topics.workflows
    publisher = publisher_for(settings)
    publisher.expect(topic)
    for count, row in enumerate(_rows(lines), start=1):
        started = _started(adopting, row)
        key = canonical_id(started.workflow_id).encode()
        headers = custody_headers(started.origin, "started")
        publisher.publish(topic, key, codec.encode(started), headers=headers)
        if count % TELL_EVERY == 0:
            complain(f"{counted(publisher.delivered, 'workflow')} handed over")
    publisher.finish(topic)


def _started(adopting: Adopting, row: Row) -> Started:
    if row.problem is not None:
        raise RequestRejected("bad-line", row.problem)
    return adopting.started(row.given)


def _size_problem(settings: Settings, value: bytes) -> str | None:
    room = settings.topics.record_bytes_max - RECORD_OVERHEAD_BYTES
    return None if len(value) <= room else f"its attributes are too large; {room} bytes are allowed in all"


def _rows(lines: Iterable[str]) -> Iterator[Row]:
    """Yield rows; raises ListRejected where the file is no text."""
    number = 0
    try:
        for row in rows_in(lines):
            number = row.number
            yield row
    except UnicodeDecodeError:
        raise ListRejected(f"behind line {number}: it is not UTF-8 text; write the file as UTF-8") from None


@contextmanager
def _lines_of(file: str) -> Iterator[TextIO]:
    """Open a file, to be read twice; what can be read only once is held in memory."""
    if file == STDIN:
        yield _held(sys.stdin)
        return
    with opened(file) as lines:
        yield lines if lines.seekable() else _held(lines)


def _held(stream: TextIO) -> StringIO:
    try:
        return StringIO(stream.read(), newline="")
    except UnicodeDecodeError:
        raise ListRejected("it is not UTF-8 text; write it as UTF-8") from None


def _tell(settings: Settings, counts: Mapping[str, int], *, is_dry_run: bool, as_json: bool) -> None:
    if is_dry_run:
        complain("not checked: that none of these request ids has a result already; it would get a second one")
    total, topic = sum(counts.values()), settings.topics.workflows
    if as_json:
        adopted = 0 if is_dry_run else total
        say_json({"lines": total, "adopted": adopted, "topic": topic, "workflows": dict(sorted(counts.items()))})
        return
    each = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    workflows = counted(total, "workflow")
    say(f"{workflows} can be adopted ({each})" if is_dry_run else f"adopted {workflows} ({each})")
