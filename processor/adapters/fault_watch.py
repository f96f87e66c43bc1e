"""Whether refusals are genuine or our own fault, told from how many come in a row.

Rules, for each workflow and operation:
- A refused request is suspect until a verdict.
- A success finds all suspects genuine: the same call works for others.
- So many different requests refused in a row, without a success between, are our own fault: all suspects are.
- Nothing more refused for a while: the suspects are genuine.
- A verdict that nobody has asked for yet is remembered. A suspect of which nothing is known (its refusal was seen by
  a former owner) counts as refused now.

Pure: time is an argument, and whoever waits for a verdict is only carried. Verdicts are returned, not delivered.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeAlias, TypeVar

from processor.core.model import Instant
from processor.core.proof import Operation

Waiter = TypeVar("Waiter")

QUIET_MS: Final = 10_000
REMEMBERED_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Suspect:
    """A refused request."""

    workflow: str
    operation: Operation
    request_id: str


@dataclass(frozen=True, slots=True)
class Verdict(Generic[Waiter]):
    """Whoever waited is told."""

    waiter: Waiter
    is_our_fault: bool


_Row: TypeAlias = tuple[str, Operation]


@dataclass(slots=True)
class _Refusals(Generic[Waiter]):
    """The refusals of one workflow and operation since the last verdict."""

    last_at: Instant
    waiters: dict[str, list[Waiter]] = field(default_factory=dict)  # By request id, in the order of refusal.


class FaultWatch(Generic[Waiter]):
    """Counts refusals in a row and says what they were."""

    def __init__(
        self,
        *,
        refusals_max: int,
        quiet_ms: int = QUIET_MS,
        remembered_max: int = REMEMBERED_MAX,
    ) -> None:
        self._refusals_max = refusals_max
        self._quiet_ms = quiet_ms
        self._remembered_max = remembered_max
        self._rows: dict[_Row, _Refusals[Waiter]] = {}
        self._remembered: OrderedDict[Suspect, bool] = OrderedDict()

    def refused(self, suspect: Suspect, now: Instant) -> bool:
        """Count a refusal; returns whether there are too many in a row, so that the workflow must be paused."""
        self._remembered.pop(suspect, None)  # A verdict on an older refusal that nobody asked for.
        row = self._row(suspect, now)
        row.last_at = now
        row.waiters.setdefault(suspect.request_id, [])
        return len(row.waiters) >= self._refusals_max

    def excuse(self, suspect: Suspect) -> None:
        """Remember a refusal as our own fault without counting it: it is older than a resume, or met a pause."""
        self._remember(suspect, is_our_fault=True)

    def succeeded(self, workflow: str, operation: Operation) -> tuple[Verdict[Waiter], ...]:
        """Find all suspects of a workflow and operation genuine."""
        if not self._rows:  # Nearly always: the path of every call.
            return ()
        return tuple(self._settle((workflow, operation), is_our_fault=False))

    def condemn(self, workflow: str) -> tuple[Verdict[Waiter], ...]:
        """Find all suspects of a workflow our own fault: it was paused."""
        rows = [row for row in self._rows if row[0] == workflow]
        return tuple(verdict for row in rows for verdict in self._settle(row, is_our_fault=True))

    def sweep(self, now: Instant) -> tuple[Verdict[Waiter], ...]:
        """Find suspects genuine after which nothing more was refused for a while."""
        quiet = [row for row, refusals in self._rows.items() if now - refusals.last_at >= self._quiet_ms]
        return tuple(verdict for row in quiet for verdict in self._settle(row, is_our_fault=False))

    def judge(self, suspect: Suspect, waiter: Waiter, now: Instant) -> bool | None:
        """Return whether a refusal was our own fault, or None: then `waiter` comes back with a verdict later.

        Ask `is_too_many` afterwards: a suspect of which nothing was known counts as refused now.
        """
        known = self._remembered.pop(suspect, None)
        if known is None:
            self._row(suspect, now).waiters.setdefault(suspect.request_id, []).append(waiter)
        return known

    def is_too_many(self, workflow: str, operation: Operation) -> bool:
        """Whether the refusals in a row are so many that the workflow must be paused."""
        row = self._rows.get((workflow, operation))
        return row is not None and len(row.waiters) >= self._refusals_max

    def drop(self, suspect: Suspect, waiter: Waiter) -> None:
        """Let one stop waiting for a verdict; the refusal still counts."""
        row = self._rows.get((suspect.workflow, suspect.operation))
        waiters = row.waiters.get(suspect.request_id, []) if row else []
        if waiter in waiters:
            waiters.remove(waiter)

    def suspects(self) -> Mapping[_Row, int]:
        """Return how many requests are suspect, by workflow and operation."""
        return {row: len(refusals.waiters) for row, refusals in self._rows.items()}

    def _row(self, suspect: Suspect, now: Instant) -> _Refusals[Waiter]:
        return self._rows.setdefault((suspect.workflow, suspect.operation), _Refusals(now))

    def _settle(self, row: _Row, *, is_our_fault: bool) -> Iterator[Verdict[Waiter]]:
        refusals = self._rows.pop(row, None)
        for request_id, waiters in refusals.waiters.items() if refusals else ():
            if not waiters:
                self._remember(Suspect(*row, request_id), is_our_fault=is_our_fault)
            for waiter in waiters:
                yield Verdict(waiter, is_our_fault)

    def _remember(self, suspect: Suspect, *, is_our_fault: bool) -> None:
        self._remembered[suspect] = is_our_fault
        self._remembered.move_to_end(suspect)
        if len(self._remembered) > self._remembered_max:
            self._remembered.popitem(last=False)
