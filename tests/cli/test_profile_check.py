"""What of a provider profile does not fit settings and catalogue."""

from collections.abc import Mapping
from typing import Any

import pytest

from processor.adapters.profile_file import ProviderProfile
from processor.cli.profile_check import profile_findings
from processor.core.catalogue import Adoption, Catalogue, ResultShape, Workflow
from processor.core.model import ApiVersion
from processor.settings import DEFAULT_PROFILE, Settings

SETTINGS = Settings.model_validate({"providers": {"second": {"base_url": "https://api.test"}}})
WORKFLOW = Workflow("person-check", "d", parameters={"ref": "requestId"})
FITTING: Mapping[str, Any] = {
    "webhook": {"workflowId": ("id",), "status": ("status",), "kind": ("type",), "recordId": (), "caseId": ()},
    "parameters": {
        "path": "/parameters",
        "definitionMember": "workflowDefinitionId",
        "valuesMember": "parameters",
        "idPath": "id",
    },
    "status_words": ("Running", "COMPLETED"),
    "is_record_shown": True,
    "run_id_path": "id",
    "is_result_available": True,
}


def findings(
    workflow: Workflow = WORKFLOW, provider: str = DEFAULT_PROFILE, **seen: object
) -> list[tuple[str, str, str]]:
    """Return grade, setting and remedy of what does not fit."""
    profile = ProviderProfile(**{**FITTING, **seen})
    found = profile_findings(profile, SETTINGS, Catalogue({workflow.name: workflow}), provider)
    return [(str(each.grade), each.setting, each.remedy) for each in found]


def test_what_fits_is_one_good_finding() -> None:
    """Also a profile in which nothing was seen."""
    assert findings() == [("good", "", "")]
    nothing = profile_findings(ProviderProfile(), SETTINGS, Catalogue({"person-check": WORKFLOW}), DEFAULT_PROFILE)
    assert [each.grade for each in nothing] == ["good"]


def test_webhook_members_that_are_not_read_are_told_with_the_paths_to_set() -> None:
    """Without the workflow id no webhook is of use; the rest only makes logs poorer."""
    webhook = {"workflowId": ("data.id",), "status": ("data.status",)}
    assert findings(webhook=webhook) == [
        (
            "problem",
            "PROCESSOR_WEBHOOK__WORKFLOW_ID_PATHS",
            "set it to data.id,workflowId,workflowExecutionId,executionId,id",
        ),
        ("warning", "PROCESSOR_WEBHOOK__STATUS_PATHS", "set it to data.status,status"),
    ]
    ((grade, setting, _),) = findings(webhook={"workflowId": (), "status": ("status",)})
    assert (grade, setting) == ("warning", "PROCESSOR_WEBHOOK__WORKFLOW_ID_PATHS")


def test_parameters_of_another_shape_are_a_problem_where_a_workflow_has_any() -> None:
    """The variable is that of the profile which was probed."""
    seen = {"idPath": "data.id"}
    (found,) = findings(parameters=seen)
    assert found == ("problem", "PROCESSOR_API__PARAMETERS_ID_PATH", "set it to data.id")
    ((grade, setting, _),) = findings(provider="second", parameters=seen)
    assert (grade, setting) == ("warning", "PROCESSOR_PROVIDERS__SECOND__PARAMETERS_ID_PATH")
    inline = Workflow("person-check", "d", api=ApiVersion.TABLES, parameters={})
    assert findings(inline, parameters=seen)[0][0] == "warning"


@pytest.mark.parametrize(
    "words,expected",
    [
        (("RUNNING", "DONE"), [("problem", "statuses.success (catalogue)")]),
        (("RUNNING", "AWAITING", "COMPLETED"), [("warning", "statuses.running (catalogue)")]),
        (("COMPLETED", "DONE"), [("problem", "statuses.success (catalogue)"), ("problem", "statuses (catalogue)")]),
        (("COMPLETED",), []),
        ((), []),
    ],
)
def test_status_words_must_mean_what_they_were_seen_to_mean(
    words: tuple[str, ...], expected: list[tuple[str, str]]
) -> None:
    """An end that is not listed never ends anything; an unlisted word on the way is an alarm each time."""
    found = [(grade, setting) for grade, setting, _ in findings(status_words=words) if grade != "good"]
    assert found == expected


def test_a_status_without_record_makes_adoption_by_record_useless() -> None:
    """Unless the workflow does not count on it."""
    assert [setting for _, setting, _ in findings(is_record_shown=False)] == ["adoption (catalogue)"]
    by_none = Workflow("person-check", "d", adoption=Adoption.NONE)
    assert findings(by_none, is_record_shown=False) == [("good", "", "")]


def test_a_run_id_elsewhere_and_a_missing_result_are_told() -> None:
    """The first is no setting; the second is one of the catalogue."""
    assert [grade for grade, *_ in findings(run_id_path="data.id")] == ["problem"]
    assert [setting for _, setting, _ in findings(is_result_available=False)] == ["result.publish (catalogue)"]
    silent = Workflow("person-check", "d", result_shape=ResultShape.NONE)
    assert findings(silent, is_result_available=False) == [("good", "", "")]
