"""Checks what came out against what went in and what the provider executed; knows topics and ledgers only.

It shares no decision with the program: each rule is said here again, in terms of what anybody can read
(`tests/support/audit_runs.py`, `audit_links.py`). `tests/support/evidence.py` reads what it is given.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tests.support import audit_links as links
from tests.support import audit_runs as runs
from tests.support.testimony import GAVE_UP, Case, Evidence, Result, Run

CHECKS: tuple[Callable[[Case], Iterator[str]], ...] = (
    runs.one_result_each,
    runs.amendments,
    runs.event_ids_and_places,
    runs.one_run_each,
    runs.no_run_repeated_in_the_face_of_evidence,
    runs.outcomes_are_true,
    runs.one_request_a_workflow,
    runs.evidence_is_used,
    runs.order_within_a_key,
    runs.one_case_a_person,
    links.links_are_asked_for,
    links.link_events_are_in_place,
    links.links_are_real,
    links.one_mail_a_link,
    links.what_was_not_started_has_no_link,
    links.progress_is_told_once,
)
HEARD = {
    "error": "executed, but answered with an error",
    "no": "executed, but never answered",
    "dropped": "executed, but the connection was cut",
}


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
    workflows: Mapping[str, Mapping[str, int]]  # Outcome -> count, by workflow.
    counts: Mapping[str, int]  # Of everything else that is worth a row.

    def __str__(self) -> str:
        """Show everything for people: what expired by kind, what stayed undetermined one by one."""
        rows = [
            ("requests", self.requests),
            ("runs executed", self.runs),
            ("runs of others", self.foreign_runs),
            *((name, count) for name, count in self.counts.items() if count),
            *((f"result {name}", count) for name, count in sorted(self.outcomes.items())),
            *((f"amendment {name}", count) for name, count in sorted(self.amendments.items())),
            *((f"dead letter {name}", count) for name, count in sorted(self.dead_letters.items())),
            ("violations", len(self.violations)),
        ]
        lines = [f"{name:<28}{count:>8}" for name, count in rows]
        if len(self.workflows) > 1:
            lines += [f"{name}: {_counted(outcomes)}" for name, outcomes in self.workflows.items()]
        expired = Counter(each.partition(": ")[2] for each in self.explanations if ": EXPIRED" in each)
        lines += [f"{count} times {what}" for what, count in expired.most_common()]
        lines += [each for each in self.explanations if ": EXPIRED" not in each]
        return "\n".join([*lines, *(f"VIOLATION {each}" for each in self.violations)])


def audit(evidence: Evidence) -> Report:
    """Check every rule and explain every give-up."""
    case = Case(evidence)
    return Report(
        violations=tuple(violation for check in CHECKS for violation in check(case)),
        outcomes=Counter(result.outcome for result in evidence.results if result.revision == 1),
        amendments=Counter(result.outcome for result in evidence.results if result.revision != 1),
        explanations=tuple(_explanations(case)),
        dead_letters=dict(evidence.dead_letters),
        requests=len(case.requests),
        runs=len(evidence.runs),
        foreign_runs=sum(run.request_id not in case.requests for run in evidence.runs),
        workflows=_by_workflow(case),
        counts=_counts(case),
    )


def _by_workflow(case: Case) -> dict[str, Counter[str]]:
    """Count first outcomes and amendments by workflow, in the order of the catalogue."""
    found: dict[str, Counter[str]] = {name: Counter() for name in case.evidence.terms}
    for request_id, published in case.requests.items():
        outcomes = found.setdefault(published.workflow, Counter())
        outcomes.update(result.outcome for result in case.results(request_id, 1))
        outcomes.update("amended" for _ in case.results(request_id, 2))
    return found


def _counts(case: Case) -> dict[str, int]:
    evidence = case.evidence
    return {
        "results of repeated runs": sum(result.is_rerun for result in evidence.results if result.revision == 1),
        "runs repeated": sum(
            max(0, len(case.runs(request_id)) - 1) for request_id in case.requests if case.terms(request_id).may_rerun
        ),
        **{f"{mode} made": count for mode, count in sorted(Counter(link.mode for link in evidence.links).items())},
        "walked": sum(link.used_by is not None for link in evidence.links),
        "link events": len(evidence.issued),
        "of further links": sum(each.attempt > 1 for each in evidence.issued),
        "further links refused": sum(each.step == "LINK_REFUSED" for each in evidence.progress),
        "held": sum(each.step == "HELD" for each in evidence.progress),
    }


def _counted(outcomes: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items())) or "none"


def _explanations(case: Case) -> Iterator[str]:
    """Say of each request that was given up what the ledger knows of it."""
    for request_id in case.requests:
        for first in case.results(request_id, 1):
            if first.outcome in GAVE_UP:
                later = case.results(request_id, 2)
                end = f"amended to {later[0].outcome}" if later else "stands"
                yield f"{request_id}: {first.outcome} ({first.reason}); {_what_happened(case, first)}; {end}"


def _what_happened(case: Case, result: Result) -> str:
    executed = case.runs(result.request_id)
    told = ", one more time ".join(_what_became_of(case, result, run) for run in executed)
    if case.terms(result.request_id).has_user:
        told = f"{_what_was_made(case, result.request_id)}; {told or 'nobody came'}"
    is_known = result.workflow_id is not None or case.results(result.request_id, 2)
    if executed and not is_known and runs.is_for_a_person(case, result.request_id):
        told += "; whose it is a person must say"
    return told or "the provider executed nothing"


def _what_was_made(case: Case, request_id: str) -> str:
    """Say how many links there are, and how many we know of."""
    made, issued = len(case.links(request_id)), len(case.issued(request_id))
    return f"{made} made for its end user, {issued} handed out" if made else "nothing was made for its end user"


def _what_became_of(case: Case, result: Result, run: Run) -> str:
    if run.is_walked:
        heard = "its end user came"
    elif run.answered == "yes":
        heard = "its answer was sent, and known" if result.workflow_id else "its answer was sent and not written down"
    else:
        heard = HEARD[run.answered]
    webhook = "a webhook came" if runs.was_told(case, run) else "no webhook came"
    return f"{heard}; it {'ended ' + run.final_status if run.is_finished else 'still runs'}; {webhook}"
