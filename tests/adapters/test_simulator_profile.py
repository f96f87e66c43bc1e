"""Provider profiles: what was found out about a real workspace becomes settings of the simulator."""

from pathlib import Path

import orjson
import pytest

from processor.cli.simulate import profile_values
from processor.errors import SettingsInvalid
from processor.simulator.profile import profile_settings
from processor.simulator.settings import SimulatorSettings, settings_from
from tests.adapters.simulator_world import DEFINITION, FOREIGN_ID, World

WHOLE = """
version: 1
webhook:
  workflowId: [data.id, id]
  status: [data.state]
  kind: [event]
  recordId: []
parameters: {path: /v1/sets, definitionMember: definition, valuesMember: values, idPath: set.id}
statusWords: [STARTED, USER_DONE, DONE]
statusShowsRecord: false
run: {idPath: workflow.id}
result: {available: false}
"""


def written(tmp_path: Path, text: str) -> Path:
    """Write a profile."""
    path = tmp_path / "provider.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_profile_says_how_the_provider_speaks(tmp_path: Path) -> None:
    """Every name in it has its effect, and what a webhook did not show is not in it."""
    world = World(**profile_settings(written(tmp_path, WHOLE)))
    set_id = world.told("POST /v1/sets", {"definition": DEFINITION, "values": {}})["set"]["id"]
    run = orjson.loads(world.run(recordId=FOREIGN_ID, parametersId=set_id).body)
    assert run == {"workflow": run["workflow"], "status": "STARTED"}
    workflow_id = run["workflow"]["id"]
    world.later(100)
    assert world.told(f"GET /workflows/{workflow_id}")["status"] == "DONE"
    assert world.ask(f"GET /workflows/{workflow_id}/result").status == 404
    assert world.webhooks == [(100, {"event": "completed", "data": {"id": workflow_id, "state": "DONE"}})]


@pytest.mark.parametrize(
    "words, expected",
    [
        ("[DONE]", ("RUNNING", "AWAITING", "DONE")),
        ("[GOES, DONE]", ("GOES", "AWAITING", "DONE")),
        ("[GOES, MORE, STILL, DONE]", ("GOES", "MORE", "DONE")),
    ],
)
def test_status_words_have_their_meaning_by_their_place(
    tmp_path: Path, words: str, expected: tuple[str, str, str]
) -> None:
    """The first runs, the last ended well, the second of three or more is that of a user who is done."""
    faults = settings_from(profile_settings(written(tmp_path, f"version: 1\nstatusWords: {words}"))).faults
    assert (faults.running_status, faults.awaiting_status, faults.completed_status) == expected


def test_an_empty_profile_changes_nothing(tmp_path: Path) -> None:
    """What was not found out stays as the simulator plays it without a profile."""
    assert settings_from(profile_settings(written(tmp_path, "version: 1"))) == SimulatorSettings()


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", "the file must be an object"),
        ("{}", "`version` must be 1"),
        ("version: 2", "`version` must be 1"),
        ("version: 1\nunknown: 1", "the file has the unknown key unknown; known are version, webhook"),
        ("version: 1\nwebhook: {workflow: [id]}", "`webhook` has the unknown key workflow"),
        ("version: 1\nwebhook: {status: state}", "`webhook.status` must be a list of texts"),
        ("version: 1\nwebhook: [status]", "`webhook` must be an object"),
        ("version: 1\nparameters: {path: 1}", "`parameters.path` must be a text"),
        ("version: 1\nparameters: {idpath: id}", "`parameters` has the unknown key idpath"),
        ("version: 1\nstatusWords: []", "`statusWords` must name the words"),
        ("version: 1\nstatusWords: DONE", "`statusWords` must be a list of texts"),
        ("version: 1\nstatusShowsRecord: maybe", "`statusShowsRecord` must be true or false"),
        ("version: 1\nresult: {available: 1}", "`result.available` must be true or false"),
        ("version: 1\nrun: id", "`run` must be an object"),
        ("version: 1\n  run: [", "line 2: this is not YAML"),
    ],
)
def test_what_is_no_profile_is_refused_with_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    """It names the file, the key, and what would be right; a command shows it as it is."""
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=r"provider\.yaml") as refused:
        profile_settings(path)
    assert sentence in str(refused.value)
    with pytest.raises(SettingsInvalid, match="--profile") as shown:
        profile_values(path)
    assert str(refused.value) in str(shown.value)


def test_a_profile_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Whoever mistypes the path reads which one."""
    with pytest.raises(SettingsInvalid, match=r"none\.yaml: it cannot be read"):
        profile_values(tmp_path / "none.yaml")
