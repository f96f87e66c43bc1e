"""The lock of what is installed to run, as values."""

import re

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.root import ROOT


def locked() -> dict[str, str]:
    """Return the version of each distribution that the lock chooses for this platform, by normalised name."""
    lines = re.findall(r"^\S+==[^\\\n]+", (ROOT / "requirements.lock").read_text("utf-8"), flags=re.MULTILINE)
    chosen = [each for each in map(Requirement, lines) if each.marker is None or each.marker.evaluate()]
    return {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in chosen}
