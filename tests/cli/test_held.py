"""What `processor held resolve` says before a person decides."""

from dataclasses import replace

import pytest

from processor.adapters.state_reader import Held
from processor.cli.held import is_seen, unseen_text
from processor.core.launch_parts import new_head
from processor.core.messages import Observed, Prepared
from tests.adapters.samples import AT, ORIGIN

KEY = "record-1"
PREPARED = Prepared(ORIGIN, KEY, KEY, None, is_own=True, parameters_id=None, prepared_at=AT)
SEEN = Observed(KEY, "W-77", KEY, None, "RUNNING", AT, AT)
HELD = Held(KEY, 0, new_head(PREPARED, 0, 1), (SEEN, replace(SEEN, workflow_id="w-78")))


@pytest.mark.parametrize("workflow_id,expected", [("W-77", True), ("w-77", True), ("w-78", True), ("w-79", False)])
def test_a_workflow_that_was_seen_is_a_candidate(workflow_id: str, expected: bool) -> None:  # noqa: FBT001  # a column
    """Ids are compared as keys spell them."""
    assert is_seen(HELD, workflow_id) == expected


def test_who_names_another_workflow_is_told_what_was_seen() -> None:
    """So that a wrong copy is noticed before somebody else's result is published."""
    told = unseen_text(HELD, "w-79")
    assert told.startswith("workflow w-79 is no candidate: ")
    assert "(seen there: W-77, w-78)" in told
    assert "(seen there: none)" in unseen_text(replace(HELD, candidates=()), "w-79")
