"""What the auditor is given: values that anybody can read from topics and from the provider's ledgers."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

GAVE_UP = frozenset({"EXPIRED", "UNDETERMINED"})
REAL = frozenset({"COMPLETED", "FAILED"})


@dataclass(frozen=True, slots=True)
class Terms:
    """What the catalogue says of a workflow, as far as a promise depends on it."""

    definition_id: str | None = None
    provider: str = "default"
    api: int = 2
    mode: str = "run"  # run, link, token or mail
    is_own: bool = True  # Each request has a record or case made for it alone, if any.
    is_adopted: bool = True  # A run that shows itself is adopted without a person.
    is_newest: bool = False  # Of several links for one record the newest counts, whoever walked.
    is_reusing: bool = False  # A person who comes again under the same key has the record or case of before.
    may_rerun: bool = False

    @property
    def has_user(self) -> bool:
        """Whether an end user starts it."""
        return self.mode != "run"

    @property
    def is_run_by_call(self) -> bool:
        """Whether our own call executes it; version 3 executes it for an end user too."""
        return not self.has_user or self.api == 3


@dataclass(frozen=True, slots=True)
class Published:
    """One request that upstream published and that can be decoded."""

    request_id: str
    key: bytes | None
    partition: int
    offset: int
    workflow: str = ""
    link_attempt: int = 1
    subject_reference: str | None = None


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
    case_id: str | None = None
    definition_id: str | None = None
    attempts: int = 1
    is_rerun: bool = False
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Issued:
    """One link event, as a reader with read_committed sees it; `secret_hash` is that of what the end user holds."""

    request_id: str
    attempt: int
    secret_hash: str | None  # None for a mail.
    event_id: str
    key: bytes | None
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Progress:
    """One progress event."""

    request_id: str
    step: str
    attempt: int | None
    workflow_id: str | None
    event_id: str


@dataclass(frozen=True, slots=True)
class Run:
    """One workflow that the provider executed; `request_id` is what its parameters or record name."""

    seq: int
    workflow_id: str
    request_id: str | None
    record_id: str | None
    final_status: str
    is_finished: bool
    answered: str  # What the caller heard: yes, error, no, dropped.
    case_id: str | None = None
    definition_id: str | None = None
    provider: str = "default"
    is_walked: bool = False  # Executed by an end user, with a link or token.
    executed_at: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """One link, token or mail that the provider made; `secret_hash` is the SHA-256 of what the end user holds."""

    secret_hash: str
    mode: str
    request_id: str | None
    answered: str
    used_by: str | None  # Id of the workflow that the end user started or went on with.


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that can be read from outside, and what the catalogue promised."""

    published: Sequence[Published]
    results: Sequence[Result]
    runs: Sequence[Run]
    records: Sequence[str] = ()  # Ids of records and cases, in the order in which the providers made them.
    webhooks: Mapping[str, int] = field(default_factory=dict)  # Workflow id -> when its first webhook was stored.
    dead_letters: Mapping[str, int] = field(default_factory=dict)  # Reason -> count.
    links: Sequence[Link] = ()
    issued: Sequence[Issued] = ()
    progress: Sequence[Progress] = ()
    started: Sequence[tuple[str, str]] = ()  # Workflow id and request id of each passing of custody to completion.
    terms: Mapping[str, Terms] = field(default_factory=dict)  # By workflow name.
    settled_ms: int = 0  # After its execution a run is not repeated sooner, as far as settings say.


class Case:
    """The evidence, by request."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.requests: dict[str, Published] = {}
        self._numbers: dict[str, set[int]] = defaultdict(set)
        for published in evidence.published:
            # Later ones are duplicates, but for the links that they ask for; a number may overtake the one before it.
            self.requests.setdefault(published.request_id, published)
            self._numbers[published.request_id] |= {1, published.link_attempt}
        self.workflows = {run.workflow_id.lower(): run for run in evidence.runs}
        self._results: dict[str, list[Result]] = defaultdict(list)
        for result in evidence.results:
            self._results[result.request_id].append(result)
        self._runs: dict[str | None, list[Run]] = defaultdict(list)
        for run in evidence.runs:
            self._runs[run.request_id].append(run)
        self._links: dict[str | None, list[Link]] = defaultdict(list)
        for link in evidence.links:
            self._links[link.request_id].append(link)
        self._issued: dict[str, list[Issued]] = defaultdict(list)
        for issued in evidence.issued:
            self._issued[issued.request_id].append(issued)
        self._beside: dict[str, set[str]] = defaultdict(set)
        for request_id in self.requests:
            for subject_id in self._subjects_of(request_id):
                self._beside[subject_id].add(request_id)

    def key(self, request_id: str) -> bytes:
        """Return the key that the events about a request have: its own, and its id where it has none."""
        key = self.requests[request_id].key
        return request_id.encode() if key is None else key

    def terms(self, request_id: str) -> Terms:
        """Return what the catalogue says of a request's workflow."""
        return self.evidence.terms.get(self.requests[request_id].workflow, Terms())

    def numbers(self, request_id: str) -> set[int]:
        """Return the numbers of the links that were asked for; the first is asked for by the request itself."""
        return self._numbers[request_id]

    def results(self, request_id: str, revision: int) -> list[Result]:
        """Return the results of a request with this revision; more than one is a violation."""
        return [result for result in self._results[request_id] if result.revision == revision]

    def all_results(self, request_id: str) -> list[Result]:
        """Return everything that was said of a request in the end, in order of revision."""
        return sorted(self._results[request_id], key=lambda result: result.revision)

    def runs(self, request_id: str) -> list[Run]:
        """Return the executed runs of a request, in order."""
        return self._runs[request_id]

    def run_of(self, result: Result) -> Run | None:
        """Return the executed run that a result names."""
        return self.workflows.get((result.workflow_id or "").lower())

    def links(self, request_id: str) -> list[Link]:
        """Return what the provider made for the end user of a request, in order."""
        return self._links[request_id]

    def issued(self, request_id: str) -> list[Issued]:
        """Return the link events of a request."""
        return self._issued[request_id]

    def beside(self, request_id: str) -> set[str]:
        """Return the other requests that had a run or a result on the same record or case."""
        return {other for each in self._subjects_of(request_id) for other in self._beside[each]} - {request_id}

    def _subjects_of(self, request_id: str) -> set[str]:
        told = (*self._runs.get(request_id, ()), *self._results.get(request_id, ()))
        return {each.lower() for item in told for each in (item.record_id, item.case_id) if each}


def same(one: str | None, other: str | None) -> bool:
    """Whether two ids are one, however they are spelled; None is no id."""
    return (one or "").lower() == (other or "").lower()
