"""Workflows that another service started, as people list them, into starts that `completion` takes custody of; pure.

A list is JSON lines, one object each, or CSV with a header line; which of the two, its first character says. Instants
are RFC 3339 text. No message repeats a value: attributes and references may be personal data.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from itertools import chain
from typing import Any, Final

from processor.adapters.api_requests import path_segment
from processor.adapters.avro_records import EPOCH
from processor.core.acceptance import id_fault
from processor.core.catalogue import Catalogue, ResultSource, Workflow
from processor.core.keys import canonical_id
from processor.core.messages import Started
from processor.core.model import MINUTE_MS, Instant, Origin, Witness, deadline_from
from processor.errors import RequestRejected

BAD_LINE: Final = "bad-line"
REQUIRED: Final = ("workflowId", "requestId", "workflow")
TEXTS: Final = ("key", "recordId", "caseId", "subjectReference", "tenant", "sourceSystem", "correlationId")
INSTANTS: Final = ("deadlineAt", "requestedAt", "startedAt")
ATTRIBUTES: Final = "attributes"
MEMBERS: Final = (*REQUIRED, *TEXTS, *INSTANTS, ATTRIBUTES)
CLOCK_MARGIN_MS: Final = 2 * MINUTE_MS

_COLUMN_PREFIX = f"{ATTRIBUTES}."  # Of CSV columns that hold one attribute each.


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list: what it says, or why it cannot be read."""

    number: int  # As an editor counts lines.
    given: Mapping[str, Any]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Adopting:
    """Turns rows into starts, as of `now`: what a row leaves out, the catalogue says."""

    catalogue: Catalogue
    now: Instant

    def started(self, given: Mapping[str, Any]) -> Started:
        """Return the start that hands a workflow over; raises RequestRejected that names the member and the remedy."""
        _check_members(given)
        workflow = self._workflow(_required(given, "workflow"))
        request_id, workflow_id = _required(given, "requestId"), _required(given, "workflowId")
        fault = id_fault(request_id)
        if fault is not None:
            raise _refused("requestId", f"cannot be used: {fault}")
        for name in ("workflowId", "recordId", "caseId"):
            _check_id(given, name)
        case_id = _text(given, "caseId")
        if workflow.result_source is ResultSource.CASE and case_id is None:
            raise _refused("caseId", "is missing; by the catalogue the result of this workflow is read from its case")
        started_at = self._past(given, "startedAt")
        requested_at = self._past(given, "requestedAt")
        return Started(
            origin=self._origin(given, workflow, request_id, _first(requested_at, started_at, self.now)),
            workflow_id=workflow_id.strip(),
            record_id=_text(given, "recordId"),
            case_id=case_id,
            status=None,
            started_at=_first(started_at, requested_at, self.now),
            told_by=Witness.OPERATOR,
            attempts=0,
            revision=1,
        )

    def _workflow(self, name: str) -> Workflow:
        workflow = self.catalogue.find(name)
        if workflow is None:
            raise _refused(
                "workflow", f"is not in the catalogue, which has {', '.join(sorted(self.catalogue.workflows))}"
            )
        return workflow

    def _origin(self, given: Mapping[str, Any], workflow: Workflow, request_id: str, requested_at: Instant) -> Origin:
        key = _text(given, "key")
        return Origin(
            request_id=request_id,
            workflow=workflow.name,
            key=None if key is None else key.encode(),
            results_topic=self.catalogue.results_topic_of(workflow.name),
            requested_at=requested_at,
            accepted_at=self.now,
            deadline_at=self._deadline(given, workflow),
            subject_reference=_text(given, "subjectReference"),
            tenant=_text(given, "tenant"),
            source_system=_text(given, "sourceSystem"),
            correlation_id=_text(given, "correlationId"),
            attributes=_attributes(given),
            api=workflow.api,
            provider=workflow.provider,
        )

    def _deadline(self, given: Mapping[str, Any], workflow: Workflow) -> Instant:
        deadline_at = _instant(given, "deadlineAt")
        if deadline_at is not None and deadline_at <= self.now:
            raise _refused("deadlineAt", "has passed; write a later one, or leave it out for the catalogue's deadline")
        return deadline_from(deadline_at, workflow.deadline_ms, self.now)

    def _past(self, given: Mapping[str, Any], name: str) -> Instant | None:
        at = _instant(given, name)
        if at is not None and at > self.now + CLOCK_MARGIN_MS:
            raise _refused(name, "lies in the future; is its time zone right?")
        return at


def rows_in(lines: Iterable[str]) -> Iterator[Row]:
    """Yield the rows of a list, empty lines left out; after one that breaks CSV there are no more."""
    numbered = enumerate(lines, start=1)
    for number, first in numbered:
        if first.strip():
            rest = (line for _, line in numbered)
            is_json = first.lstrip("\ufeff \t").startswith("{")
            yield from (
                _json_rows(number, chain((first,), rest)) if is_json else _csv_rows(number, chain((first,), rest))
            )
            return


def _json_rows(first_number: int, lines: Iterable[str]) -> Iterator[Row]:
    for number, line in enumerate(lines, start=first_number):
        text = line.lstrip("\ufeff")
        if not text.strip():
            continue
        try:
            given = json.loads(text)
        except (ValueError, RecursionError) as error:
            where = f" (column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
            yield Row(number, {}, f"it is not JSON{where}; write one object a line")
            continue
        yield (
            Row(number, given) if isinstance(given, dict) else Row(number, {}, "it is no JSON object; write one a line")
        )


def _csv_rows(first_number: int, lines: Iterable[str]) -> Iterator[Row]:
    """Yield rows by the names in the header line; a cell that is empty was not given."""
    texts = iter(lines)
    header = next(texts).lstrip("\ufeff")
    delimiter = ";" if header.count(";") > header.count(",") else ","
    reader = csv.reader(chain((header,), texts), delimiter=delimiter, strict=True)
    try:
        names = [name.strip() for name in next(reader)]
        if len(set(names)) != len(names):
            yield Row(first_number, {}, "a column stands twice in the header line; name each once")
            return
        for cells in reader:
            number = first_number + reader.line_num - 1
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(names):
                yield Row(number, {}, f"it has {len(cells)} cells, the header line {len(names)}; write one for each")
                continue
            yield Row(number, _nested(dict(zip(names, cells, strict=True))))
    except csv.Error:
        number = first_number + reader.line_num - 1
        yield Row(number, {}, "it is no CSV, nor is what follows it; close what is quoted, or write JSON lines")


def _nested(cells: Mapping[str, str]) -> Mapping[str, Any]:
    """Return a row as JSON lines would give it, `attributes.x` columns below one member."""
    given: dict[str, Any] = {}
    attributes: dict[str, str] = {}
    for name, cell in cells.items():
        if not cell:
            continue
        if name.startswith(_COLUMN_PREFIX):
            attributes[name.removeprefix(_COLUMN_PREFIX)] = cell
        else:
            given[name] = cell
    return {**given, ATTRIBUTES: attributes} if attributes else given


def _check_members(given: Mapping[str, Any]) -> None:
    for name in given:
        if name not in MEMBERS:
            close = get_close_matches(name, MEMBERS, n=1)
            known = f"is {close[0]} meant?" if close else f"known are {', '.join(MEMBERS)}"
            raise _refused("the line", f"has an unknown member; {known}")


def _check_id(given: Mapping[str, Any], name: str) -> None:
    """Refuse an id that fits in no address: its status could never be read."""
    text = _text(given, name)
    if text is not None and path_segment(text.strip()) is None:
        raise _refused(name, "must be one id as the provider gave it: at most 200 printable characters, no slash")


def _required(given: Mapping[str, Any], name: str) -> str:
    text = _text(given, name)
    if text is None or not text.strip():
        raise _refused(name, "is missing; every line has one")
    return text


def _text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    return None if value is None or value == "" else _checked(value, name, "must be text")


def _checked(value: object, name: str, remedy: str) -> str:
    if not isinstance(value, str):
        raise _refused(name, remedy)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _refused(name, "holds half a character; write it whole") from None
    return value


def _attributes(given: Mapping[str, Any]) -> Mapping[str, str]:
    attributes = given.get(ATTRIBUTES) or {}
    if not isinstance(attributes, dict):
        raise _refused(ATTRIBUTES, "must be an object of texts; in CSV a column attributes.NAME for each")
    for text in (*attributes, *attributes.values()):
        _checked(text, ATTRIBUTES, "must be an object of texts")
    return attributes


def _instant(given: Mapping[str, Any], name: str) -> Instant | None:
    text = _text(given, name)
    if text is None:
        return None
    remedy = "must be an instant such as 2026-11-24T12:00:00Z"
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise _refused(name, remedy) from None
    if at.tzinfo is None:
        raise _refused(name, f"{remedy}, with its time zone")
    return (at.astimezone(UTC) - EPOCH) // timedelta(milliseconds=1)


def _first(*instants: Instant | None) -> Instant:
    return next(at for at in instants if at is not None)


def _refused(name: str, what: str) -> RequestRejected:
    return RequestRejected(BAD_LINE, f"{name} {what}")


class Twice:
    """Finds what stands twice in a list: one workflow has one request, and one request one workflow."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], int] = {}

    def problem(self, started: Started, number: int) -> str | None:
        """Say which line has the same workflow or request already, None where none has; remembers this one."""
        pairs = (("workflowId", canonical_id(started.workflow_id)), ("requestId", started.origin.request_id))
        for name, text in pairs:
            before = self._lines.setdefault((name, text), number)
            if before != number:
                return f"{name} stands in line {before} already; one request has one workflow, so leave one line out"
        return None
