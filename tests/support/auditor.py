"""Checks what came out against what went in and what the provider executed; knows topics and the ledger only.

It shares no decision with the program: each rule is said here again, in terms of what anybody can read.
`tests/support/evidence.py` reads what it is given.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID, uuid5

NAMESPACE = UUID("0ec3a1f0-971d-540f-b416-b579179217ff")  # Of event ids, see docs/events.md.
GAVE_UP = frozenset({"EXPIRED", "UNDETERMINED"})
REAL = frozenset({"COMPLETED", "FAILED"})
GOOD_STATUS = "COMPLETED"
NOBODY_KNEW = frozenset({"run-unknown", "deadline-passed"})  # Reasons that a late trace of the run refutes.


@dataclass(frozen=True, slots=True)
class Published:
    """One request that upstream published and that can be decoded."""

    request_id: str
    key: bytes | None
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Result:
    """One result event, as a reader with read_committed sees it."""

    request_id: str
    revision: int
    outcome: str
    workflow_id: str | None
    record_id: str | None
    status: str | None
    reason: str | None
    event_id: str
    key: bytes | None
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Run:
    """One workflow that the provider executed; `request_id` is what the record and the parameters name."""

    seq: int
    workflow_id: str
    request_id: str | None
    record_id: str | None
    final_status: str
    is_finished: bool
    answered: str  # What the caller heard: yes, error, no, dropped.


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that can be read from outside."""

    published: Sequence[Published]
    results: Sequence[Result]
    runs: Sequence[Run]
    records: Sequence[str] = ()  # Ids of records, in the order in which the provider made them.
    webhooks: frozenset[str] = frozenset()  # Ids of workflows of which a webhook reached its topic.
    dead_letters: Mapping[str, int] = field(default_factory=dict)  # Reason -> count.


@dataclass(frozen=True, slots=True)
class Report:
    """What the auditor found."""

    violations: tuple[str, ...]
    outcomes: Mapping[str, int]
    amendments: Mapping[str, int]
    explanations: tuple[str, ...]  # One for each request that was given up at first.
    dead_letters: Mapping[str, int]
    requests: int
    runs: int
    foreign_runs: int

    def __str__(self) -> str:
        """Show everything for people: what expired by kind, what stayed undetermined one by one."""
        rows = [
            ("requests", self.requests),
            ("runs executed", self.runs),
            ("runs of others", self.foreign_runs),
            *((f"result {name}", count) for name, count in sorted(self.outcomes.items())),
            *((f"amendment {name}", count) for name, count in sorted(self.amendments.items())),
            *((f"dead letter {name}", count) for name, count in sorted(self.dead_letters.items())),
            ("violations", len(self.violations)),
        ]
        lines = [f"{name:<28}{count:>8}" for name, count in rows]
        expired = Counter(each.partition(": ")[2] for each in self.explanations if ": EXPIRED" in each)
        lines += [f"{count} times {what}" for what, count in expired.most_common()]
        lines += [each for each in self.explanations if ": EXPIRED" not in each]
        return "\n".join([*lines, *(f"VIOLATION {each}" for each in self.violations)])


def audit(evidence: Evidence) -> Report:
    """Check every rule and explain every give-up."""
    case = _Case(evidence)
    checks = (
        _one_result_each,
        _amendments,
        _event_ids_and_places,
        _one_run_each,
        _outcomes_are_true,
        _evidence_is_used,
        _order_within_a_key,
    )
    wanted = set(case.keys)
    return Report(
        violations=tuple(violation for check in checks for violation in check(case)),
        outcomes=Counter(result.outcome for result in evidence.results if result.revision == 1),
        amendments=Counter(result.outcome for result in evidence.results if result.revision != 1),
        explanations=tuple(_explanations(case)),
        dead_letters=dict(evidence.dead_letters),
        requests=len(wanted),
        runs=len(evidence.runs),
        foreign_runs=sum(run.request_id not in wanted for run in evidence.runs),
    )


class _Case:
    """The evidence, by request."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.keys: dict[str, bytes | None] = {}
        for published in evidence.published:
            self.keys.setdefault(published.request_id, published.key)  # Later ones are duplicates.
        self.workflows = {run.workflow_id.lower(): run for run in evidence.runs}
        self._results: dict[str, list[Result]] = defaultdict(list)
        for result in evidence.results:
            self._results[result.request_id].append(result)
        self._runs: dict[str | None, list[Run]] = defaultdict(list)
        for run in evidence.runs:
            self._runs[run.request_id].append(run)

    def results(self, request_id: str, revision: int) -> list[Result]:
        """Return the results of a request with this revision; more than one is a violation."""
        return [result for result in self._results[request_id] if result.revision == revision]

    def runs(self, request_id: str) -> list[Run]:
        """Return the executed runs of a request; more than one is a violation."""
        return self._runs[request_id]

    def run_of(self, result: Result) -> Run | None:
        """Return the executed run that a result names."""
        return self.workflows.get((result.workflow_id or "").lower())


def _one_result_each(case: _Case) -> Iterator[str]:
    """Each request has exactly one result, and nothing else has any."""
    for request_id in case.keys:
        count = len(case.results(request_id, 1))
        if count != 1:
            yield f"{request_id}: {count} results of revision 1"
    for result in case.evidence.results:
        if result.request_id not in case.keys:
            yield f"{result.request_id}: a result that nobody asked for"
        if result.revision not in {1, 2}:
            yield f"{result.request_id}: revision {result.revision}"


def _amendments(case: _Case) -> Iterator[str]:
    """At most one amendment, only after a give-up, behind it on the same partition, and it tells a real outcome."""
    for request_id in case.keys:
        firsts, seconds = case.results(request_id, 1), case.results(request_id, 2)
        if len(seconds) > 1:
            yield f"{request_id}: {len(seconds)} amendments"
        for first, second in zip(firsts, seconds, strict=False):
            if first.outcome not in GAVE_UP:
                yield f"{request_id}: {first.outcome} was amended to {second.outcome}"
            if second.outcome not in REAL:
                yield f"{request_id}: an amendment that says {second.outcome}"
            if (first.partition, first.offset) > (
                second.partition,
                second.offset,
            ) or first.partition != second.partition:
                yield f"{request_id}: the amendment does not stand behind what it amends"


def _event_ids_and_places(case: _Case) -> Iterator[str]:
    """An event id is what anybody can compute, and a result has the key of its request."""
    for result in case.evidence.results:
        name = f"OnboardingFinished/{result.revision}/{result.request_id}"
        if result.event_id != str(uuid5(NAMESPACE, name)):
            yield f"{result.request_id}: event id {result.event_id}"
        if result.request_id not in case.keys:
            continue
        key = case.keys[result.request_id]
        if result.key != (result.request_id.encode() if key is None else key):
            yield f"{result.request_id}: its result has another key"


def _one_run_each(case: _Case) -> Iterator[str]:
    """No request was run twice."""
    for request_id in case.keys:
        runs = case.runs(request_id)
        if len(runs) > 1:
            yield f"{request_id}: executed {len(runs)} times: {', '.join(run.workflow_id for run in runs)}"


def _outcomes_are_true(case: _Case) -> Iterator[str]:
    """Who says COMPLETED or FAILED names a run of that request that ended so; what was not started has no run."""
    for result in case.evidence.results:
        if result.outcome == "NOT_STARTED" and case.runs(result.request_id):
            yield f"{result.request_id}: NOT_STARTED, but executed"
        if result.outcome not in REAL:
            continue
        run = case.run_of(result)
        if run is None:
            yield f"{result.request_id}: {result.outcome} names a workflow that was never executed"
        elif run.request_id != result.request_id:
            yield f"{result.request_id}: {result.outcome} names a workflow of {run.request_id}"
        elif not run.is_finished:
            yield f"{result.request_id}: {result.outcome}, but its workflow still runs"
        elif (result.outcome == "COMPLETED") != (run.final_status == GOOD_STATUS):
            yield f"{result.request_id}: {result.outcome}, but its workflow ended {run.final_status}"


def _evidence_is_used(case: _Case) -> Iterator[str]:
    """A request whose workflow was told of by a webhook does not stay given up: it is adopted or amended."""
    for request_id in case.keys:
        firsts, runs = case.results(request_id, 1), case.runs(request_id)
        is_open = bool(firsts) and firsts[0].outcome in GAVE_UP and not case.results(request_id, 2)
        if is_open and firsts[0].reason in NOBODY_KNEW and len(runs) == 1 and _was_told(case, runs[0]):
            yield f"{request_id}: stays {firsts[0].outcome} although a webhook of its workflow came"


def _order_within_a_key(case: _Case) -> Iterator[str]:
    """Requests of one key are prepared in the order in which they stand on their topic.

    Told by the records that their workflows were run on. A request that expired while a record was being made for
    it may leave one behind that is younger than its successor's; that was never a preparation.
    """
    made_at = {record_id: number for number, record_id in enumerate(case.evidence.records)}
    last: dict[bytes, tuple[int, str]] = {}
    seen: set[str] = set()
    for each in sorted(case.evidence.published, key=lambda each: (each.partition, each.offset)):
        numbers = [made_at[run.record_id] for run in case.runs(each.request_id) if run.record_id in made_at]
        if each.key is None or each.request_id in seen or not numbers:
            continue
        seen.add(each.request_id)
        number, before = last.get(each.key, (-1, ""))
        if number > numbers[0]:
            yield f"{each.request_id}: prepared before {before}, which came first under its key"
        last[each.key] = (numbers[0], each.request_id)


def _was_told(case: _Case, run: Run) -> bool:
    return run.is_finished and run.workflow_id.lower() in case.evidence.webhooks


def _explanations(case: _Case) -> Iterator[str]:
    """Say of each request that was given up what the ledger knows of it."""
    for request_id in case.keys:
        for first in case.results(request_id, 1):
            if first.outcome in GAVE_UP:
                later = case.results(request_id, 2)
                end = f"amended to {later[0].outcome}" if later else "stands"
                yield f"{request_id}: {first.outcome} ({first.reason}); {_what_happened(case, first)}; {end}"


def _what_happened(case: _Case, result: Result) -> str:
    runs = case.runs(result.request_id)
    if not runs:
        return "the provider executed nothing"
    run = runs[0]
    heard = {
        "yes": "its answer was sent, and known" if result.workflow_id else "its answer was sent and not written down",
        "error": "executed, but answered with an error",
        "no": "executed, but never answered",
        "dropped": "executed, but the connection was cut",
    }[run.answered]
    webhook = "a webhook came" if _was_told(case, run) else "no webhook came"
    return f"{heard}; it {'ended ' + run.final_status if run.is_finished else 'still runs'}; {webhook}"
