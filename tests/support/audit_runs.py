"""The auditor's rules for results and runs: each yields a sentence for each time that it is broken."""

from collections import defaultdict
from collections.abc import Iterator
from uuid import UUID, uuid5

from tests.support.testimony import GAVE_UP, REAL, Case, Result, Run, same

NAMESPACE = UUID("0ec3a1f0-971d-540f-b416-b579179217ff")  # Of event ids, see docs/events.md.
GOOD_STATUS = "COMPLETED"
NOBODY_KNEW = frozenset({"run-unknown", "deadline-passed"})  # Reasons that a late trace of the run refutes.


def one_result_each(case: Case) -> Iterator[str]:
    """Each request has exactly one result, and nothing else has any."""
    for request_id in case.requests:
        count = len(case.results(request_id, 1))
        if count != 1:
            yield f"{request_id}: {count} results of revision 1"
    for result in case.evidence.results:
        if result.request_id not in case.requests:
            yield f"{result.request_id}: a result that nobody asked for"
        if result.revision not in {1, 2}:
            yield f"{result.request_id}: revision {result.revision}"


def amendments(case: Case) -> Iterator[str]:
    """At most one amendment, only after a give-up, behind it on the same partition, and it tells a real outcome."""
    for request_id in case.requests:
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


def event_ids_and_places(case: Case) -> Iterator[str]:
    """An event id is what anybody can compute, and a result has the key of its request."""
    for result in case.evidence.results:
        name = f"OnboardingFinished/{result.revision}/{result.request_id}"
        if result.event_id != str(uuid5(NAMESPACE, name)):
            yield f"{result.request_id}: event id {result.event_id}"
        if result.request_id in case.requests and result.key != case.key(result.request_id):
            yield f"{result.request_id}: its result has another key"


def one_run_each(case: Case) -> Iterator[str]:
    """No request is run twice by us, unless its workflow may be repeated and the result says so.

    In version 3 each further link that upstream asks for is one more run. What an end user starts is not ours.
    """
    for request_id in case.requests:
        runs = [run for run in case.runs(request_id) if not run.is_walked]
        walks = len(case.runs(request_id)) - len(runs)
        if len(runs) > _runs_allowed(case, request_id):
            yield f"{request_id}: executed {len(runs)} times: {', '.join(run.workflow_id for run in runs)}"
        if walks and not case.terms(request_id).has_user:
            yield f"{request_id}: an end user started it, and its workflow has none"
        if not case.terms(request_id).may_rerun and any(result.is_rerun for result in case.all_results(request_id)):
            yield f"{request_id}: says that it was repeated, and it may not be"


def _runs_allowed(case: Case, request_id: str) -> int:
    terms = case.terms(request_id)
    if not terms.is_run_by_call:
        return 0
    if terms.has_user:
        return len(case.numbers(request_id))
    repeated = [result.attempts for result in case.all_results(request_id) if result.is_rerun]
    return max(repeated) if terms.may_rerun and repeated else 1


def no_run_repeated_in_the_face_of_evidence(case: Case) -> Iterator[str]:
    """A run is not repeated when a webhook of it was stored before anybody may begin to think of that."""
    for request_id in case.requests:
        runs = [run for run in case.runs(request_id) if not run.is_walked]
        if not case.terms(request_id).may_rerun:
            continue
        for run in runs[:-1]:
            told_at = case.evidence.webhooks.get(run.workflow_id.lower())
            if told_at is not None and told_at < run.executed_at + case.evidence.settled_ms:
                after_ms = told_at - run.executed_at
                yield f"{request_id}: repeated although {run.workflow_id} was told of {after_ms} ms after its execution"


def outcomes_are_true(case: Case) -> Iterator[str]:
    """Who says COMPLETED or FAILED names a run of that request that ended so; what was not started has no run."""
    for result in case.evidence.results:
        if result.outcome == "NOT_STARTED" and case.runs(result.request_id):
            yield f"{result.request_id}: NOT_STARTED, but executed"
        if result.outcome not in REAL:
            continue
        run = case.run_of(result)
        if run is None:
            yield f"{result.request_id}: {result.outcome} names a workflow that was never executed"
            continue
        if run.request_id != result.request_id and not _may_be_anybodys(case, result, run):
            yield f"{result.request_id}: {result.outcome} names a workflow of {run.request_id}"
        elif not run.is_finished:
            yield f"{result.request_id}: {result.outcome}, but its workflow still runs"
        elif (result.outcome == "COMPLETED") != (run.final_status == GOOD_STATUS):
            yield f"{result.request_id}: {result.outcome}, but its workflow ended {run.final_status}"
        yield from _is_what_was_asked(case, result, run)


def _may_be_anybodys(case: Case, result: Result, run: Run) -> bool:
    """Whether the catalogue says that the newest link of a record has a run, whoever's link was walked before."""
    known = result.request_id in case.requests and run.request_id in case.requests
    return known and case.terms(result.request_id).is_newest and case.terms(run.request_id or "").is_newest


def _is_what_was_asked(case: Case, result: Result, run: Run) -> Iterator[str]:
    """The run was one for that record or case, of that definition, at that provider."""
    if not (same(result.record_id, run.record_id) and same(result.case_id, run.case_id)):
        yield f"{result.request_id}: {result.outcome} names a workflow of another record or case"
    if result.request_id not in case.requests:
        return
    terms = case.terms(result.request_id)
    if terms.definition_id is None:
        return
    if {result.definition_id, run.definition_id} != {terms.definition_id}:
        yield f"{result.request_id}: {result.outcome} names a workflow of another definition"
    if run.provider != terms.provider:
        yield f"{result.request_id}: {result.outcome} names a workflow of the provider {run.provider}"


def one_request_a_workflow(case: Case) -> Iterator[str]:
    """No workflow is held by two requests: neither do two results name it, nor was it passed on for two."""
    holders: dict[str, set[str]] = defaultdict(set)
    for result in case.evidence.results:
        if result.workflow_id is not None:
            holders[result.workflow_id.lower()].add(result.request_id)
    yield from _claimed(holders, "named by the results of")
    started: dict[str, set[str]] = defaultdict(set)
    for progress in case.evidence.progress:
        if progress.step == "STARTED" and progress.workflow_id is not None:
            started[progress.workflow_id.lower()].add(progress.request_id)
    for workflow_id, request_id in case.evidence.started:
        started[workflow_id.lower()].add(request_id)
    yield from _claimed(started, "started for")


def _claimed(holders: dict[str, set[str]], how: str) -> Iterator[str]:
    for workflow_id, request_ids in holders.items():
        if len(request_ids) > 1:
            yield f"{workflow_id}: {how} {' and '.join(sorted(request_ids))}"


def evidence_is_used(case: Case) -> Iterator[str]:
    """A request whose workflow was told of by a webhook does not stay given up: it is adopted or amended.

    Unless several requests of one record may have it, or the catalogue leaves that to a person.
    """
    for request_id in case.requests:
        firsts, runs = case.results(request_id, 1), case.runs(request_id)
        is_open = bool(firsts) and firsts[0].outcome in GAVE_UP and not case.results(request_id, 2)
        if not is_open or firsts[0].reason not in NOBODY_KNEW or len(runs) != 1 or not was_told(case, runs[0]):
            continue
        if is_for_a_person(case, request_id):
            continue
        yield f"{request_id}: stays {firsts[0].outcome} although a webhook of its workflow came"


def is_for_a_person(case: Case, request_id: str) -> bool:
    """Whether nobody but a person may say whose a run is that shows itself on the record of a request."""
    terms = case.terms(request_id)
    if terms.is_own:
        return not terms.is_adopted
    return not terms.is_adopted or any(_is_doubtful(case, other) for other in case.beside(request_id))


def _is_doubtful(case: Case, request_id: str) -> bool:
    """Whether a request may have a run that nobody told us of, now or for a while."""
    firsts, runs = case.results(request_id, 1), case.runs(request_id)
    gave_up = any(first.outcome in GAVE_UP for first in firsts)
    return gave_up or case.terms(request_id).has_user or any(run.answered != "yes" for run in runs)


def order_within_a_key(case: Case) -> Iterator[str]:
    """Requests of one key are prepared in the order in which they stand on their topic.

    Told by the records and cases of their own that their workflows were run on. A request that expired while a record
    was being made for it may leave one behind that is younger than its successor's; that was never a preparation.
    """
    made_at = {record_id: number for number, record_id in enumerate(case.evidence.records)}
    last: dict[bytes, tuple[int, str]] = {}
    seen: set[str] = set()
    for each in sorted(case.evidence.published, key=lambda each: (each.partition, each.offset)):
        ids = [run.record_id or run.case_id or "" for run in case.runs(each.request_id)]
        numbers = [made_at[each_id] for each_id in ids if each_id in made_at]
        if each.key is None or each.request_id in seen or not numbers or not case.terms(each.request_id).is_own:
            continue
        seen.add(each.request_id)
        number, before = last.get(each.key, (-1, ""))
        if number > numbers[0]:
            yield f"{each.request_id}: prepared before {before}, which came first under its key"
        last[each.key] = (numbers[0], each.request_id)


def one_case_a_person(case: Case) -> Iterator[str]:
    """Requests of one person under one key share a record or case, where the catalogue says that people come again."""
    found: dict[tuple[bytes, str, str], set[str]] = defaultdict(set)
    for request_id, published in case.requests.items():
        if not case.terms(request_id).is_reusing or published.key is None or published.subject_reference is None:
            continue
        person = (published.key, published.workflow, published.subject_reference)
        found[person] |= {
            each.lower()
            for result in case.all_results(request_id)
            for each in (result.record_id, result.case_id)
            if each is not None
        }
    for (_, workflow, reference), ids in found.items():
        if len(ids) > 1:
            yield f"{workflow}: the person {reference} has {len(ids)} records or cases"


def was_told(case: Case, run: Run) -> bool:
    """Whether a run ended and a webhook of it was stored."""
    return run.is_finished and run.workflow_id.lower() in case.evidence.webhooks
