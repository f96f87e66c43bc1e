"""Files of lines as commands take them: named or on standard input, and how much is told of them."""

from pathlib import Path
from typing import Final, TextIO

import typer

STDIN: Final = "-"
TELL_EVERY: Final = 10_000
PROBLEMS_MAX: Final = 20
UNTOLD: Final = "there may be more; nothing after this line was looked at"  # Behind so many problems.


def opened(file: str) -> TextIO:
    """Open a file that was named on the command line, its line ends left as they are."""
    try:
        return Path(file).open(encoding="utf-8", newline="")
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read ({error.strerror})", param_hint="FILE") from None
