"""What of the provider's result is published: the decision, and as much of the body as the catalogue allows.

The body is opaque JSON. A path that does not fit its shape, or a body that is no JSON, costs only what would have
been read from it; it never keeps a request from its end.
"""

import json
from dataclasses import dataclass

from processor.core.catalogue import ResultShape, Workflow
from processor.core.messages import ResultRead
from processor.core.model import JsonValue
from processor.core.paths import value_in

DECISION_CHARS_MAX = 1_024  # A decision is a word or a number; what is longer is none.

NOT_CONFIGURED = "not-configured"
TOO_LARGE = "too-large"
UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class PublishedResult:
    """The members of `Finished` that come from the result; hash and size are those of the provider's whole body."""

    decision: str | None = None
    result: str | None = None
    result_hash: str | None = None
    result_bytes: int | None = None
    result_omitted: str | None = None


def wants_result(workflow: Workflow) -> bool:
    """Say whether anything of the result is published at all."""
    return workflow.result_shape is not ResultShape.NONE or workflow.decision_path is not None


def published_result(read: ResultRead, workflow: Workflow, body_bytes_max: int) -> PublishedResult:
    """Return what is published of a result that was read; `body_bytes_max` bounds the part of the body."""
    needs_json = workflow.decision_path is not None or workflow.result_shape is ResultShape.SELECTED
    value = _parsed(read.body) if needs_json else None
    decision = _decision_text(value_in(value, workflow.decision_path)) if workflow.decision_path else None
    if workflow.result_shape is ResultShape.NONE:
        return PublishedResult(decision, result_omitted=NOT_CONFIGURED)
    result = read.body if workflow.result_shape is ResultShape.FULL else _selected(value, workflow.result_paths)
    omitted = None
    if read.body is None:
        omitted = TOO_LARGE
    elif result is None:
        omitted = UNAVAILABLE
    elif _bytes_in(result, read, workflow) > body_bytes_max:
        omitted = TOO_LARGE
    return PublishedResult(decision, None if omitted else result, read.body_hash, read.body_bytes, omitted)


def _bytes_in(result: str, read: ResultRead, workflow: Workflow) -> int:
    return read.body_bytes if workflow.result_shape is ResultShape.FULL else len(result)  # `_selected` is ASCII.


def _parsed(body: str | None) -> JsonValue:
    if body is None:
        return None
    try:
        value: JsonValue = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value


def _selected(value: JsonValue, paths: tuple[str, ...]) -> str | None:
    """Return a JSON object of path -> value for the paths that lead somewhere; None without anything to look in."""
    if value is None:
        return None
    found = {path: item for path in paths if (item := value_in(value, path)) is not None}
    return json.dumps(found, separators=(",", ":"))


def _decision_text(value: JsonValue) -> str | None:
    """Return text as it is, numbers and booleans as JSON text; an object or a list is no decision."""
    if isinstance(value, str):
        return value if len(value) <= DECISION_CHARS_MAX else None
    return json.dumps(value) if isinstance(value, bool | int | float) else None
