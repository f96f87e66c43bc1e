"""Provider profiles as files: written by a probe, read by `check` and by the simulator."""

from pathlib import Path

import pytest

from processor.adapters.profile_file import ProviderProfile, profile_text, read_profile
from processor.errors import SettingsInvalid
from processor.simulator.profile import profile_settings

PROFILE = ProviderProfile(
    webhook={
        "workflowId": ("data.id", "id"),
        "status": ("data.status",),
        "kind": ("type",),
        "recordId": (),
        "caseId": (),
        "definitionId": ("data.definition",),
    },
    parameters={
        "path": "/parameter-sets",
        "definitionMember": "definitionId",
        "valuesMember": "values",
        "idPath": "data.id",
    },
    status_words=("RUNNING", "AWAITING", "DONE"),
    is_record_shown=False,
    run_id_path="id",
    is_result_available=True,
)


@pytest.mark.parametrize("profile", [PROFILE, ProviderProfile(), ProviderProfile(is_result_available=False)])
def test_what_is_written_is_what_is_read(tmp_path: Path, profile: ProviderProfile) -> None:
    """What was not seen is left out."""
    file = tmp_path / "profile.yaml"
    file.write_text(profile_text(profile))
    assert read_profile(file) == profile


def test_the_simulator_plays_a_profile_that_was_written(tmp_path: Path) -> None:
    """It has a reader of its own, which must understand the same file."""
    file = tmp_path / "profile.yaml"
    file.write_text(profile_text(PROFILE))
    assert profile_settings(file) == {
        "webhook_shape": {
            "kind": "type",
            "workflowId": "data.id",
            "caseId": "",
            "recordId": "",
            "status": "data.status",
            "definitionId": "data.definition",
        },
        "parameters_path": "/parameter-sets",
        "parameters_definition_member": "definitionId",
        "parameters_values_member": "values",
        "parameters_id_path": "data.id",
        "run_id_path": "id",
        "results_available": True,
        "status_hides_record": True,
        "running_status": "RUNNING",
        "awaiting_status": "AWAITING",
        "completed_status": "DONE",
    }


def test_every_problem_is_told_with_its_line(tmp_path: Path) -> None:
    """All of them at once."""
    file = tmp_path / "profile.yaml"
    file.write_text("version: 2\nwebhook: {workflowID: [a]}\nstatusWords: RUNNING\nstatusShowsRecord: maybe\n")
    with pytest.raises(SettingsInvalid) as refused:
        read_profile(file)
    lines = [line.split(": ")[:2] for line in str(refused.value).splitlines()]
    assert lines == [
        ["profile.yaml:1", "version"],
        ["profile.yaml:2", "webhook.workflowID"],
        ["profile.yaml:3", "statusWords"],
        ["profile.yaml:4", "statusShowsRecord"],
    ]
