"""How much of the provider's result is published, and what its decision is."""

from dataclasses import replace

import pytest

from processor.core.catalogue import ResultShape, Workflow
from processor.core.messages import ResultRead
from processor.core.proof import Proof
from processor.core.result_body import DECISION_CHARS_MAX, PublishedResult, published_result, wants_result

BODY = '{"output": {"decision": "ACCEPT", "score": 7, "ok": true, "list": [1], "none": null}, "person": {"name": "x"}}'
READ = ResultRead(1, Proof.DONE, BODY, len(BODY), "hash-1", None, "200")
FULL = Workflow("w", "d", decision_path="output.decision")
SELECTED = replace(FULL, result_shape=ResultShape.SELECTED, result_paths=("output.score", "output.list.0", "absent.x"))
NONE = replace(FULL, result_shape=ResultShape.NONE)


@pytest.mark.parametrize(
    "workflow, read, body_bytes_max, published",
    [
        (FULL, READ, 1_000, PublishedResult("ACCEPT", BODY, "hash-1", len(BODY))),
        (FULL, READ, len(BODY), PublishedResult("ACCEPT", BODY, "hash-1", len(BODY))),
        (FULL, READ, len(BODY) - 1, PublishedResult("ACCEPT", None, "hash-1", len(BODY), "too-large")),
        (
            FULL,
            replace(READ, body=None, body_bytes=9_999_999),
            1_000,
            PublishedResult(None, None, "hash-1", 9_999_999, "too-large"),
        ),
        (
            SELECTED,
            READ,
            1_000,
            PublishedResult("ACCEPT", '{"output.score":7,"output.list.0":1}', "hash-1", len(BODY)),
        ),
        (SELECTED, READ, 35, PublishedResult("ACCEPT", None, "hash-1", len(BODY), "too-large")),
        (SELECTED, replace(READ, body="{"), 1_000, PublishedResult(None, None, "hash-1", len(BODY), "unavailable")),
        (SELECTED, replace(READ, body=None), 1_000, PublishedResult(None, None, "hash-1", len(BODY), "too-large")),
        (NONE, READ, 1_000, PublishedResult("ACCEPT", result_omitted="not-configured")),
        (FULL, replace(READ, body="no JSON"), 1_000, PublishedResult(None, "no JSON", "hash-1", len(BODY))),
    ],
)
def test_the_catalogue_says_how_much_is_published(
    workflow: Workflow, read: ResultRead, body_bytes_max: int, published: PublishedResult
) -> None:
    """All, selected paths, or only the decision; what is left out says why; hash and size stay the whole's."""
    assert published_result(read, workflow, body_bytes_max) == published


@pytest.mark.parametrize(
    "path, decision",
    [
        ("output.decision", "ACCEPT"),
        ("output.score", "7"),
        ("output.ok", "true"),
        ("output.list", None),
        ("output.none", None),
        ("output", None),
        ("absent", None),
        (None, None),
    ],
)
def test_a_decision_is_a_word_or_a_number(path: str | None, decision: str | None) -> None:
    """Numbers and booleans are their JSON text; an object, a list or nothing is no decision."""
    assert published_result(READ, replace(FULL, decision_path=path), 1_000).decision == decision


def test_a_decision_of_a_whole_document_is_none() -> None:
    """A path that by mistake names a document must not carry it past the configured shape."""
    read = replace(READ, body='{"output":{"decision":"' + "x" * (DECISION_CHARS_MAX + 1) + '"}}')
    assert published_result(read, NONE, 1_000_000).decision is None


def test_a_body_nested_beyond_reason_costs_only_what_it_would_have_told() -> None:
    """The request still ends COMPLETED."""
    read = replace(READ, body="[" * 200_000)
    assert published_result(read, SELECTED, 1_000_000).result_omitted == "unavailable"


def test_nothing_is_read_where_nothing_would_be_published() -> None:
    """A decision alone is reason enough to read the result."""
    assert [wants_result(workflow) for workflow in (FULL, NONE, replace(NONE, decision_path=None))] == [
        True,
        True,
        False,
    ]
