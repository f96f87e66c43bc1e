"""What commands print: answers on standard output, as a table or as JSON; everything else on standard error."""

import json
import sys
from collections.abc import Sequence

import typer


def say(text: str) -> None:
    """Print an answer."""
    print(text, flush=True)


def say_json(value: object, *, is_line: bool = False) -> None:
    """Print one JSON document, on one line where many follow each other."""
    say(json.dumps(value, ensure_ascii=False, indent=None if is_line else 2, default=str))


def complain(text: str) -> None:
    """Print what is wrong, or how things go, where it does not mix with the answer."""
    print(text, file=sys.stderr, flush=True)


def confirm(question: str) -> None:
    """Go on where a person says yes; raises typer.Abort where one does not, or where nobody is there to ask."""
    try:
        typer.confirm(question, abort=True, err=True)
    except typer.Abort:
        if not sys.stdin.isatty():
            complain("\nnobody said yes: answer with --yes where nobody is there to ask")
        raise


def say_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table: with rules on a terminal, as aligned columns elsewhere."""
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _say_ruled(columns, texts)
        return
    lines = [[*columns], *texts]
    widths = [max(len(line[number]) for line in lines) for number in range(len(columns))]
    for line in lines:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _say_ruled(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415  # only a terminal needs it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*columns)
    for row in rows:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    Console().print(table)
