"""Lists of workflows that another service started."""

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from processor.adapters.adoption_lines import Adopting, Row, Twice, rows_in
from processor.core.catalogue import Catalogue, ResultSource, Workflow
from processor.core.completion import Completion
from processor.core.messages import Started
from processor.core.model import DAY_MS, HOUR_MS, ApiVersion, Origin, Witness
from processor.core.state import Decision
from processor.errors import RequestRejected

NOW = 1_764_000_000_000  # 2025-11-24T16:00:00Z.
WORKFLOW = Workflow("person-check", "d-1", api=ApiVersion.CASES, provider="other", results_topic="people.results")
IN_CASE = Workflow("old-check", "d-2", api=ApiVersion.CASES, result_source=ResultSource.CASE)
CATALOGUE = Catalogue({each.name: each for each in (WORKFLOW, IN_CASE)})
ADOPTING = Adopting(CATALOGUE, NOW)
LEAST = {"workflowId": "W-1", "requestId": "r-1", "workflow": "person-check"}
FULL: dict[str, Any] = {
    **LEAST,
    "key": "k-1",
    "deadlineAt": "2025-11-25T17:00:00+01:00",
    "requestedAt": "2025-11-24T14:00:00Z",
    "startedAt": "2025-11-24T15:00:00Z",
    "recordId": "record-1",
    "caseId": "case-1",
    "subjectReference": "C-1",
    "tenant": "t-1",
    "sourceSystem": "old-service",
    "correlationId": "c-1",
    "attributes": {"channel": "web"},
}
STARTED = Started(
    origin=Origin(
        request_id="r-1",
        workflow="person-check",
        key=b"k-1",
        results_topic="people.results",
        requested_at=NOW - 2 * HOUR_MS,
        accepted_at=NOW,
        deadline_at=NOW + DAY_MS,
        subject_reference="C-1",
        tenant="t-1",
        source_system="old-service",
        correlation_id="c-1",
        attributes={"channel": "web"},
        api=ApiVersion.CASES,
        provider="other",
    ),
    workflow_id="W-1",
    record_id="record-1",
    case_id="case-1",
    status=None,
    started_at=NOW - HOUR_MS,
    told_by=Witness.OPERATOR,
    attempts=0,
    revision=1,
)


def test_a_line_becomes_the_start_that_launch_would_have_handed_over() -> None:
    """Every member has its place; profile, version and topic are those of the catalogue."""
    assert ADOPTING.started(FULL) == STARTED


def test_what_a_line_leaves_out_the_catalogue_and_the_clock_say() -> None:
    """No key, the workflow's deadline from now on, and now for what nobody remembers."""
    started = ADOPTING.started(LEAST)
    assert (started.origin.key, started.origin.deadline_at) == (None, NOW + WORKFLOW.deadline_ms)
    assert (started.origin.requested_at, started.started_at) == (NOW, NOW)
    only_start = ADOPTING.started({**LEAST, "startedAt": "2025-11-24T15:00:00Z"})
    assert only_start.origin.requested_at == only_start.started_at == NOW - HOUR_MS


def test_of_a_deadline_90_days_count() -> None:
    """As of a request's: what stands for an adopted workflow is kept until then."""
    started = ADOPTING.started({**LEAST, "deadlineAt": "9999-01-01T00:00:00Z"})
    assert started.origin.deadline_at == NOW + 90 * DAY_MS


@pytest.mark.parametrize(
    "change,complaint",
    [
        ({"workflowId": None}, "workflowId is missing; every line has one"),
        ({"requestId": " "}, "requestId is missing; every line has one"),
        ({"workflow": "persn"}, "workflow is not in the catalogue, which has old-check, person-check"),
        ({"requestId": "a\nb"}, "requestId cannot be used: the request id holds control characters"),
        ({"workflowId": "a/b"}, "workflowId must be one id as the provider gave it"),
        ({"recordId": "x" * 201}, "recordId must be one id as the provider gave it"),
        ({"deadlineAt": "2025-11-24T15:59:59Z"}, "deadlineAt has passed"),
        ({"deadlineAt": "tomorrow"}, "deadlineAt must be an instant such as"),
        ({"startedAt": "2025-11-24T15:00:00"}, "with its time zone"),
        ({"startedAt": "2025-11-24T18:00:00Z"}, "startedAt lies in the future"),
        ({"tenant": 7}, "tenant must be text"),
        ({"attributes": {"a": 1}}, "attributes must be an object of texts"),
        ({"attributes": "a"}, "in CSV a column attributes.NAME"),
        ({"attributes": {"a": "\ud800"}}, "attributes holds half a character"),
        ({"recordID": "x"}, "is recordId meant?"),
        ({"workflow": "old-check"}, "caseId is missing; by the catalogue"),
    ],
)
def test_a_wrong_line_is_told_with_its_member_and_what_to_write(change: Mapping[str, Any], complaint: str) -> None:
    """And nothing of its values."""
    with pytest.raises(RequestRejected, match=complaint.replace("?", r"\?")):
        ADOPTING.started({**LEAST, **change})


def test_csv_and_json_lines_say_the_same() -> None:
    """Columns are members, attributes have a column each, an empty cell was not given; comma or semicolon."""
    columns = [*FULL, "attributes.channel", "attributes.note"]
    columns.remove("attributes")
    for delimiter in ",;":
        cells = [str(FULL.get(name, "")) for name in columns[:-2]]
        text = [delimiter.join(columns) + "\r\n", delimiter.join([*cells, "web", ""]) + "\r\n"]
        (row,) = rows_in(["\ufeff" + text[0], *text[1:]])
        assert (row.number, ADOPTING.started(row.given)) == (2, STARTED)
    (row,) = rows_in(["\n", json.dumps(FULL)])
    assert (row.number, ADOPTING.started(row.given)) == (2, STARTED)


def test_lines_that_cannot_be_read_are_told_by_number() -> None:
    """The others are read all the same; CSV ends where its quotes do not."""
    rows = list(rows_in(['{"a": 1}\n', "\n", "[]\n", "nonsense\n", '{"b": 2}\n']))
    assert [(row.number, row.problem) for row in rows] == [
        (1, None),
        (3, "it is no JSON object; write one a line"),
        (4, "it is not JSON (column 1); write one object a line"),
        (5, None),
    ]
    rows = list(rows_in(["a,b\n", "1,2\n", "\n", "1\n", '1,"x\n', "y"]))
    assert [row.number for row in rows] == [2, 4, 6]
    assert [bool(row.problem) for row in rows] == [False, True, True]
    assert list(rows_in(["a,a\n", "1,2\n"])) == [Row(1, {}, "a column stands twice in the header line; name each once")]
    assert list(rows_in(["\n", " \n"])) == []


def test_one_workflow_has_one_request() -> None:
    """A list in which one of them stands twice is a mistake, however the id is spelt."""
    twice = Twice()
    assert twice.problem(STARTED, 1) is None
    same_workflow = replace(STARTED, workflow_id="w-1 ", origin=replace(STARTED.origin, request_id="r-2"))
    assert "workflowId stands in line 1 already" in (twice.problem(same_workflow, 2) or "")
    same_request = replace(STARTED, workflow_id="w-2")
    assert "requestId stands in line 1 already" in (twice.problem(same_request, 3) or "")
    assert (
        twice.problem(replace(STARTED, workflow_id="w-3", origin=replace(STARTED.origin, request_id="r-3")), 4) is None
    )


def test_a_list_that_is_adopted_again_changes_nothing() -> None:
    """Completion knows the request of a workflow, although a later adoption says another time and deadline."""
    completion = Completion(CATALOGUE)
    again = Adopting(CATALOGUE, NOW + HOUR_MS).started(LEAST)
    for first, second in permutations((ADOPTING.started(LEAST), again)):
        state = completion.decide({}, first, NOW).changes
        held = {name: part for name, part in state.items() if part is not None}
        assert completion.decide(held, second, NOW + HOUR_MS) == Decision()
