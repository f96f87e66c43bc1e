"""The Dockerfile as values."""

import re

from tests.support.root import ROOT


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile as (word, rest), continued lines joined, comments left out."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def final_stage() -> dict[str, str]:
    """Return the last instruction of each kind in the last stage."""
    starts = [number for number, (word, _) in enumerate(instructions()) if word == "FROM"]
    return dict(instructions()[starts[-1] :])


COPIED = [
    source
    for word, rest in instructions()
    if word == "COPY" and not rest.startswith("--from")
    for source in rest.split()[:-1]
]
