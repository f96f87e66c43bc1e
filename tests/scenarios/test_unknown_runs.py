"""Runs of unknown outcome beyond the plain ones: shared records, our own reference, the case, and running again."""

import json

import pytest

from tests.scenarios.conftest import Everything

pytestmark = pytest.mark.broker


def test_a_run_is_repeated_where_the_catalogue_says_so(every: Everything, request_id: str) -> None:
    """Executed, no answer, no webhook: nothing tells of it, so after all evidence was judged it is run once more."""
    with every.provider.faults(run_hung_up_rate=1, webhook_lost_rate=1):
        every.ask("v2-rerun", request_id)
        every.world.wait_until(lambda: len(every.provider.runs_with(request_id)) == 1, "the first run")
    result = every.world.result(request_id, timeout_s=40)
    runs = [run["workflowId"] for run in every.provider.runs_with(request_id)]
    assert (result["outcome"], result["isRerun"], result["attempts"]) == ("COMPLETED", True, 2)
    assert (len(runs), result["workflowId"]) == (2, runs[1])


def test_a_run_that_shows_itself_is_not_repeated(every: Everything, request_id: str) -> None:
    """The webhook comes while the window is open: the run is adopted, also where it could be run again."""
    with every.provider.faults(run_hung_up_rate=1):
        every.ask("v2-rerun", request_id)
        result = every.world.result(request_id)
    assert (result["outcome"], result["isRerun"], result["attempts"]) == ("COMPLETED", False, 1)
    assert len(every.provider.runs_with(request_id)) == 1


def test_a_shared_record_leaves_the_choice_to_a_person(every: Everything, request_id: str) -> None:
    """Another service may run workflows on it: the candidate is shown, and taken when somebody says so."""
    record_id = every.provider.create_record(ref=request_id)
    with every.provider.faults(run_hung_up_rate=1):
        every.ask("v2-shared", request_id, recordId=record_id)
        every.world.wait_until(lambda: "HELD" in every.world.steps(request_id), "the request held")
    (run,) = every.provider.runs_with(request_id)
    shown = every.world.command("held", "show", request_id, "--json")
    assert shown.returncode == 0, shown.stderr
    assert run["workflowId"] in json.dumps(json.loads(shown.stdout))
    resolved = every.world.command("held", "resolve", request_id, "--started", run["workflowId"], "--yes")
    assert resolved.returncode == 0, resolved.stderr
    assert every.world.result(request_id)["workflowId"] == run["workflowId"]


def test_an_exclusive_record_is_as_good_as_an_own_one(every: Everything, request_id: str) -> None:
    """The catalogue promises that nobody else starts workflows on it, so the run is adopted by itself."""
    record_id = every.provider.create_record(ref=request_id)
    with every.provider.faults(run_hung_up_rate=1):
        every.ask("v2-exclusive", request_id, recordId=record_id)
        result = every.world.result(request_id)
    (run,) = every.provider.runs_with(request_id)
    assert (result["outcome"], result["workflowId"]) == ("COMPLETED", run["workflowId"])


def test_launches_of_one_record_are_made_one_at_a_time(every: Everything, request_id: str) -> None:
    """While the outcome of one is unknown the next one waits; then both end, each with a run of its own."""
    record_id = every.provider.create_record(ref=request_id)
    first, second = f"{request_id}-1", f"{request_id}-2"
    with every.provider.faults(run_hung_up_rate=1, webhook_delay_ms=2_500):
        every.ask("v2-exclusive", first, recordId=record_id)
        every.world.wait_until(lambda: len(every.provider.runs_with(request_id)) == 1, "the first run")
    every.ask("v2-exclusive", second, recordId=record_id)
    results = [every.world.result(one) for one in (first, second)]
    runs = every.provider.runs_with(request_id)
    assert [result["workflowId"] for result in results] == [run["workflowId"] for run in runs]
    assert len(runs) == 2


def test_our_own_reference_finds_a_run_without_a_record(every: Everything, request_id: str) -> None:
    """Version 3 repeats the parameters, and among them is the reference that we planted."""
    with every.provider.faults(run_hung_up_rate=1):
        every.ask("v3-bare", request_id)
        result = every.world.result(request_id)
    (run,) = every.provider.runs_with(request_id)
    assert (result["outcome"], result["workflowId"], result["attempts"]) == ("COMPLETED", run["workflowId"], 1)


def test_the_case_is_a_witness(every: Everything, request_id: str) -> None:
    """A case of the request's own shows which workflow ran on it, where the provider tells; no webhook is needed."""
    with every.provider.faults(run_hung_up_rate=1, webhook_lost_rate=1):
        every.ask("v1-witness", request_id)
        result = every.world.result(request_id)
    assert (result["outcome"], result["attempts"]) == ("COMPLETED", 1)
    assert [run["workflowId"] for run in every.provider.runs() if run["caseId"] == result["caseId"]] == [
        result["workflowId"]
    ]
