"""By which profile and version of the provider's API workflows are read, and whom an unknown one belongs to."""

from dataclasses import replace

import pytest

from processor.core.catalogue import Catalogue, ResultSource, Workflow
from processor.core.completion import Completion
from processor.core.messages import Finished, Observed, ReadResult, ReadStatus, StatusRead
from processor.core.model import ApiVersion
from processor.core.proof import Proof
from processor.core.reference import reference_of
from processor.core.state import CompletionPhase
from tests.core.workflows import BODY, COMPLETION, ID, NOW, ORIGIN, Run, result, started, status, webhook

CASES, RECORDS, TABLES = ApiVersion
GRACE_OVER = NOW + 10_000


def of(*apis: ApiVersion, provider: str = "default") -> Completion:
    """Return a completion whose catalogue has a workflow for each of those versions."""
    workflows = {
        f"w{number}": Workflow(f"w{number}", "definition", api=api, provider=provider)
        for number, api in enumerate(apis)
    }
    return Completion(Catalogue(workflows))


def observing(completion: Completion, provider: str = "default") -> Run:
    """A workflow that nobody started, whose first read is open."""
    run = Run(completion=completion)
    run.told(replace(webhook(), provider=provider))
    run.wakes()
    return run


def nameless(attempt: int, proof: Proof) -> StatusRead:
    """An answer that says nothing of whose workflow it is."""
    return status("RUNNING", attempt, proof=proof, record_id=None, case_id=None)


def apis_read(run: Run) -> list[ApiVersion]:
    """The versions of all status reads so far."""
    return [call.api for call in run.calls if isinstance(call, ReadStatus)]


@pytest.mark.parametrize("api", ApiVersion)
def test_a_request_is_read_by_the_profile_and_version_that_it_was_accepted_with(api: ApiVersion) -> None:
    """The catalogue may have moved the workflow to another version while this run was open."""
    run = Run()
    run.told(started(origin=replace(ORIGIN, api=api, provider="branch")), webhook(), status("COMPLETED"), result())
    assert run.calls == [
        ReadStatus("person-check", ID, 1, "branch", api),
        ReadResult("person-check", ID, 2, "branch", api),
    ]
    assert run.results() == ["request-1 COMPLETED 1"]


@pytest.mark.parametrize(
    "source, case_id, read_from",
    [
        (ResultSource.CASE, "case-7", "case-7"),
        (ResultSource.CASE, None, None),
        (ResultSource.WORKFLOW, "case-7", None),
    ],
)
def test_a_result_is_read_from_the_case_where_the_catalogue_says_so(
    source: ResultSource, case_id: str | None, read_from: str | None
) -> None:
    """Without a case there is only the workflow to read it from."""
    workflow = Workflow("person-check", "definition", api=CASES, result_source=source)
    run = Run(completion=Completion(Catalogue({"person-check": workflow})))
    run.told(started(origin=replace(ORIGIN, api=CASES), case_id=case_id), webhook(), status("COMPLETED"), result())
    assert run.calls[1:] == [ReadResult("person-check", ID, 2, "default", CASES, read_from)]
    ended = run.outputs[-1]
    assert isinstance(ended, Finished)
    assert ended.result == BODY


@pytest.mark.parametrize("is_rerun", [True, False])
def test_a_result_says_whether_the_workflow_may_have_been_run_twice(*, is_rerun: bool) -> None:
    """What launch knew of it travels with custody."""
    run = Run()
    run.told(started(is_rerun=is_rerun), webhook(), status("COMPLETED"), result())
    ended = run.outputs[-1]
    assert isinstance(ended, Finished)
    assert ended.is_rerun is is_rerun


@pytest.mark.parametrize(
    "apis, asked",
    [
        ([RECORDS], [RECORDS, CASES, TABLES]),
        ([TABLES, CASES], [TABLES, CASES, RECORDS]),
        ([CASES, RECORDS, RECORDS], [RECORDS, CASES, TABLES]),
        ([TABLES, RECORDS, CASES, RECORDS], [TABLES, RECORDS, CASES]),
        ([], [CASES, RECORDS, TABLES]),
    ],
)
def test_an_unknown_workflow_is_asked_for_by_each_version_that_may_have_started_it(
    apis: list[ApiVersion], asked: list[ApiVersion]
) -> None:
    """Version 3 first where it is used, for it alone repeats our reference; then the most used, then the rest.

    All are tried although no workflow speaks them now: a run of them may still be open. An answer that names nobody,
    or a first refusal, makes us try the next at once.
    """
    for proof in (Proof.DONE, Proof.REFUSED):
        run = observing(of(*apis))
        for attempt in range(1, len(asked) + 1):
            run.told(nameless(attempt, proof), now=GRACE_OVER)
        assert (apis_read(run), run.outputs) == (asked, [])
        assert (run.phase is CompletionPhase.FORGETTING) is (proof is Proof.DONE)


def test_a_failed_read_loses_no_version() -> None:
    """Each version that did not answer yet is asked again, and the one that named nobody is not."""
    run = observing(of(CASES, RECORDS))
    answers = [Proof.UNKNOWN, Proof.DONE, Proof.UNKNOWN, Proof.WAIT, Proof.UNKNOWN]
    for attempt, proof in enumerate(answers, 1):
        run.told(nameless(attempt, proof), now=GRACE_OVER)
        if run.head.timer is not None and not run.head.is_waiting:
            run.wakes()
    assert apis_read(run)[:2] == [CASES, RECORDS]
    assert set(apis_read(run)[2:]) == {CASES, TABLES}
    run.told(status("RUNNING", 6, record_id=None, case_id="CASE-7"), now=GRACE_OVER)
    assert isinstance(run.outputs[-1], Observed)


def test_the_provider_that_sent_the_webhook_is_asked() -> None:
    """By the versions that its workflows speak; a start that comes after all brings its own."""
    workflows = {"a": Workflow("a", "d", api=CASES), "b": Workflow("b", "d", api=TABLES, provider="branch")}
    run = observing(Completion(Catalogue(workflows)), "branch")
    assert run.calls == [ReadStatus(None, ID, 1, "branch", TABLES)]
    assert run.told(started()).calls == (ReadStatus("person-check", ID, 2, "default", RECORDS),)


@pytest.mark.parametrize("record_id", ["rec-1", None])
def test_our_own_reference_says_whose_a_workflow_is(record_id: str | None) -> None:
    """Launch hears of it under the key inside the reference, and under no other."""
    run = observing(COMPLETION)
    answer = status("RUNNING", record_id=record_id, our_reference=reference_of("rec-own", "request-9"))
    run.told(answer, now=GRACE_OVER)
    assert run.outputs == [Observed("rec-own", ID, record_id, None, "RUNNING", NOW, GRACE_OVER, "request-9")]


def test_an_observation_says_at_which_provider_it_was_made() -> None:
    """Launch takes it for the run of no request of another one."""
    workflows = {"a": Workflow("a", "d", api=CASES, provider="branch")}
    run = observing(Completion(Catalogue(workflows)), "branch")
    run.told(status("RUNNING", record_id=None, case_id="c-1"), now=GRACE_OVER)
    assert run.outputs == [Observed("c-1", ID, None, "c-1", "RUNNING", NOW, GRACE_OVER, provider="branch")]


def test_a_reference_that_is_none_of_ours_counts_for_nothing() -> None:
    """Then the record says it."""
    run = observing(COMPLETION)
    run.told(status("RUNNING", our_reference="onboarding-ref:somebody"), now=GRACE_OVER)
    assert run.outputs == [Observed("rec-1", ID, "rec-1", None, "RUNNING", NOW, GRACE_OVER)]
