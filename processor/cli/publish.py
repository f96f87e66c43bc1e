"""`processor publish`: requests from JSON lines onto the requests topic, as upstream would publish them."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from processor.adapters.public_events import RequestWriter
from processor.adapters.publisher import Publisher
from processor.adapters.registry import registry_for
from processor.adapters.request_lines import DEFAULT_KEY, KeyPath, RequestLine, read_request_line
from processor.cli.lines import PROBLEMS_MAX, STDIN, TELL_EVERY, UNTOLD, opened
from processor.cli.options import AsJson, Brokers, Registry
from processor.cli.output import complain, say, say_json
from processor.cli.starting import now, overrides_of, publisher_for, settings_for
from processor.core.model import Instant
from processor.errors import PoisonError, ProcessorError, RequestRejected
from processor.settings import Settings
from processor.settings_loading import Need
from processor.wording import counted

app = typer.Typer(add_completion=False, rich_markup_mode=None)

NO_KEY = "none"


class LinesRejected(ProcessorError):
    """Some lines are no requests; the text names each line."""


@app.command(epilog="Example: processor publish examples/requests.jsonl")
def publish(
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSON lines, one request each; - reads standard input.")],
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            help=f"Member that is the message key, such as {DEFAULT_KEY} or tenant; {NO_KEY}: no key. "
            f"Without this option: {DEFAULT_KEY} where a line has it.",
        ),
    ] = None,
    as_json: AsJson = False,
    bootstrap_servers: Brokers = None,
    schema_registry: Registry = None,
) -> None:
    """Publish onboarding requests.

    Names are those of OnboardingRequested; instants are text such as 2026-11-24T12:00:00Z. A file is read whole before
    anything is published; standard input is published as it comes.
    """
    path = KeyPath(DEFAULT_KEY, is_optional=True) if key is None else KeyPath(None if key == NO_KEY else key)
    overrides = overrides_of(bootstrap_servers, schema_registry)
    settings = settings_for(Need.KAFKA, Need.REGISTRY, overrides=overrides)
    at = now()
    if Path(file).is_file():  # A pipe can be read only once.
        with opened(file) as lines:
            validate(lines, path, at)
    with sys.stdin if file == STDIN else opened(file) as lines:
        count = _publish_all(settings, lines, path, at)
    topic = settings.topics.requests
    if as_json:
        say_json({"published": count, "topic": topic})
    else:
        say(f"published {counted(count, 'request')} to {topic}")


def validate(lines: Iterable[str], key: KeyPath, at: Instant) -> int:
    """Return how many requests these lines hold; raises LinesRejected that names every bad line, up to a limit."""
    problems: list[str] = []
    count = 0
    for number, text in _numbered(lines):
        try:
            read_request_line(text, now=at, key=key)
            count += 1
        except RequestRejected as error:
            problems.append(f"line {number}: {error}")
        if len(problems) == PROBLEMS_MAX:
            problems.append(UNTOLD)
            break
    if problems:
        raise LinesRejected("\n".join((*problems, "nothing was published")))
    return count


def _publish_all(settings: Settings, lines: Iterable[str], key: KeyPath, at: Instant) -> int:
    """Publish every line and return how many the broker has; raises LinesRejected at the first bad one."""
    topic = settings.topics.requests
    writer = RequestWriter(registry_for(settings.schema_registry), topic)
    publisher = publisher_for(settings)
    publisher.expect(topic)
    try:
        for number, text in _numbered(lines):
            _publish_one(publisher, writer, settings, number, read_request_line(text, now=at, key=key))
    except PoisonError as error:
        done = publisher.finish(topic)
        raise LinesRejected(f"line {number}: {error}\n{done} requests were published before it") from None
    return publisher.finish(topic)


def _publish_one(
    publisher: Publisher, writer: RequestWriter, settings: Settings, number: int, line: RequestLine
) -> None:
    value, bytes_max = writer.write(line.record), settings.topics.request_bytes_max
    if len(value) > bytes_max:
        raise RequestRejected("too-large", f"the request has {len(value)} bytes; {bytes_max} are allowed")
    publisher.publish(settings.topics.requests, line.key, value)
    if number % TELL_EVERY == 0:
        complain(f"{number} lines read, {publisher.delivered} requests published")


def _numbered(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Give lines with their numbers, empty ones left out; raises LinesRejected where they are no text."""
    number = 0
    try:
        for number, text in enumerate(lines, start=1):
            if text.strip():
                yield number, text
    except UnicodeDecodeError:
        raise LinesRejected(f"line {number + 1}: it is not UTF-8 text; write the file as UTF-8") from None
