"""What a demo shows: how things go on standard error, what came of it on standard output."""

import json
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from processor.adapters.public_events import RESULT, personal_fields, without_personal_data
from processor.cli.demo_tally import Board, Event, Verdict
from processor.cli.output import complain, say, say_table

WIDTH_MAX = 110
TELL_EVERY_S = 1.0
NAMES_MAX = 10
# Left out of the events that are shown, to keep them short.
UNSHOWN = frozenset({"eventId", "definitionId", "resultHash", "resultBytes", "tenant", "sourceSystem", "attempts"})
STAGES = ("published", "accepted", "started", "results")
OUTCOME_NOTES = {
    "COMPLETED": "",
    "FAILED": "the provider says the workflow ended badly",
    "NOT_STARTED": "refused for good, no workflow was run",
    "EXPIRED": "the deadline came first",
    "UNDETERMINED": "whether the workflow ran is not known",
}
ENDED_BADLY = "ended-badly"  # What every FAILED says.
REASON_NOTES = {"unknown-workflow": "the catalogue has no such workflow; give yours by --workflows"}
WITNESS_NOTES = {
    "WEBHOOK": "{lost} webhooks were lost, {doubled} sent twice",
    "POLL": "what a lost webhook would have said",
    "RUN_ANSWER": "the run's own answer said that it had ended",
}


class Screen(Protocol):
    """Shows how far the requests are; a `with` ends it."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, leaving the last state on the screen."""

    def show(self, board: Board, seconds: float) -> None:
        """Show the board; `seconds` have passed since the first request."""


def screen_for(events: int, requests: int) -> Screen:
    """Return bars for a terminal, and a line each second elsewhere."""
    return _Bars(events, requests) if sys.stderr.isatty() else _Lines()


class _Bars:
    """A bar for each step that requests take."""

    def __init__(self, events: int, requests: int) -> None:
        columns = (TextColumn("  {task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=Console(stderr=True))
        totals = (events, requests, requests, requests)
        self._tasks = [self._progress.add_task(name, total=total) for name, total in zip(STAGES, totals, strict=True)]

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, board: Board, seconds: float) -> None:  # noqa: ARG002  # bars have clocks of their own
        for task, count in zip(self._tasks, _counts(board), strict=True):
            self._progress.update(task, completed=count)


class _Lines:
    """A line each second."""

    def __init__(self) -> None:
        self._told_s = 0.0
        self._latest: tuple[int, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, board: Board, seconds: float) -> None:
        if seconds < self._told_s + TELL_EVERY_S and not board.is_complete:
            return
        counts = _counts(board)
        if counts != self._latest:
            complain(f"{seconds:5.1f} s  " + "  ".join(f"{name} {n}" for name, n in zip(STAGES, counts, strict=True)))
        self._told_s, self._latest = seconds, counts


def _counts(board: Board) -> tuple[int, ...]:
    return board.published, len(board.accepted), len(board.started), len(board.finished)


def say_verdict(verdict: Verdict, webhooks: Mapping[str, int]) -> None:
    """Print the table."""
    one_each = "exactly one" if not (verdict.missing or verdict.doubled or verdict.unasked) else "NOT exactly one"
    rows: list[tuple[str, object, str]] = [
        ("requests", verdict.requests, _repeats(verdict.events - verdict.requests)),
        ("results", verdict.results, f"{one_each} for each request (read_committed)"),
    ]
    for outcome, note in OUTCOME_NOTES.items():
        if verdict.outcomes.get(outcome) or outcome in {"COMPLETED", "FAILED"}:
            rows.append((outcome.lower().replace("_", " "), verdict.outcomes.get(outcome, 0), note))
    for reason, count in sorted(verdict.reasons.items()):
        if reason != ENDED_BADLY:
            rows.append((reason, count, REASON_NOTES.get(reason, "")))
    for witness, note in WITNESS_NOTES.items():
        name = f"told by {witness.lower().replace('_', ' ')}"
        text = note.format(lost=webhooks.get("lost", 0), doubled=webhooks.get("doubled", 0))
        rows.append((name, verdict.witnesses.get(witness, 0), text))
    rows += [
        ("workflows run", verdict.workflows_executed, _executed(verdict)),
        ("p50", _seconds(verdict.p50_ms), "from a request's event to its result's"),
        ("p99", _seconds(verdict.p99_ms), ""),
    ]
    say_table(("measure", "value", "note"), rows)


def say_events(events: Sequence[Event], *, is_made_up: bool) -> None:
    """Print results nearly as they stand on the topic: members without a value, and some others, are left out."""
    personal = frozenset[str]() if is_made_up else personal_fields(RESULT)
    whose = "all people and companies are made up" if is_made_up else "personal data is hidden"
    say(f"\n{len(events)} of the result events ({whose}; some members are left out):")
    width = min(WIDTH_MAX, shutil.get_terminal_size().columns)
    for event in events:
        whole = without_personal_data(event, personal)
        shown = {name: value for name, value in whole.items() if _is_there(value) and name not in UNSHOWN}
        if is_made_up and "result" in shown:
            shown["result"] = json.loads(shown["result"])  # JSON as text in the event.
        lines = textwrap.fill(
            json.dumps(shown, ensure_ascii=False, default=str),
            width,
            initial_indent="  ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        if sys.stdout.isatty():
            Console(width=width).print(lines, markup=False, soft_wrap=True)
        else:
            say(lines)


def verdict_json(verdict: Verdict, broker: str, seconds: float) -> dict[str, Any]:
    """Return the verdict for programs."""
    return {
        "isGood": verdict.is_good,
        "broker": broker,
        "seconds": round(seconds, 3),
        "requests": verdict.requests,
        "events": verdict.events,
        "results": verdict.results,
        "missing": list(verdict.missing),
        "doubled": list(verdict.doubled),
        "unasked": list(verdict.unasked),
        "outcomes": dict(verdict.outcomes),
        "reasons": dict(verdict.reasons),
        "completedBy": dict(verdict.witnesses),
        "workflowsExecuted": verdict.workflows_executed,
        "workflowsSurplus": verdict.workflows_surplus,
        "p50Ms": verdict.p50_ms,
        "p99Ms": verdict.p99_ms,
    }


def complain_about(verdict: Verdict, board: Board) -> None:
    """Print what is wrong, request by request."""
    for request_id in verdict.missing[:NAMES_MAX]:
        complain(f"{request_id}: no result; {board.fate_of(request_id)}")
    for request_id in verdict.doubled[:NAMES_MAX]:
        complain(f"{request_id}: more than one result")
    for request_id in verdict.unasked[:NAMES_MAX]:
        complain(f"{request_id}: a result, but nobody asked")
    more = sum(max(0, len(ids) - NAMES_MAX) for ids in (verdict.missing, verdict.doubled, verdict.unasked))
    if more:
        complain(f"and {more} more")
    if verdict.workflows_surplus:
        complain(f"{verdict.workflows_surplus} workflows ran at the provider that no request accounts for")


def _is_there(value: object) -> bool:
    return value not in (None, {}, [])


def _repeats(count: int) -> str:
    return f"{count} of them published twice, as upstream may" if count else ""


def _executed(verdict: Verdict) -> str:
    return f"{verdict.workflows_surplus} too many" if verdict.workflows_surplus else "none twice for a request"


def _seconds(milliseconds: int | None) -> str:
    return "-" if milliseconds is None else f"{milliseconds / 1000:.2f} s"
