"""What docs/migration.md shows is what the commands take."""

import json
import re
from pathlib import Path

from processor.adapters.adoption_lines import Adopting
from processor.adapters.catalogue_file import load_catalogue
from processor.core.catalogue import Catalogue, ResultSource, Workflow
from processor.core.model import ApiVersion

DOCUMENT = Path(__file__).parents[2] / "docs" / "migration.md"
NOW = 1_764_000_000_000 + 365 * 86_400_000  # The day of the example.


def blocks(language: str) -> list[str]:
    """Return the code blocks of a language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)


def test_the_entries_before_and_after_are_good_ones(tmp_path: Path) -> None:
    """The first speaks version 1 and reads its case, the second version 2 and makes a record."""
    found = []
    for block in blocks("yaml"):
        file = tmp_path / "workflows.yaml"
        file.write_text(f"version: 1\nworkflows:\n{block}")
        found.append(load_catalogue(file).workflows["person-check"])
    assert [each.api for each in found] == [ApiVersion.CASES, ApiVersion.RECORDS]
    assert [each.result_source for each in found] == [ResultSource.CASE, ResultSource.WORKFLOW]


def test_the_line_to_adopt_is_a_good_one() -> None:
    """On one line, as the document says."""
    (block,) = blocks("json")
    catalogue = Catalogue({"person-check": Workflow("person-check", "d")})
    started = Adopting(catalogue, NOW).started(json.loads(block.replace("\n", " ")))
    assert (started.origin.request_id, started.origin.key) == ("order-17", b"C-1001")
