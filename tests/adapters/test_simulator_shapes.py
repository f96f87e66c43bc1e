"""What the provider leaves undocumented and the simulator can be told: names, paths, limits, keys."""

from email.utils import parsedate_to_datetime

import orjson
import pytest

from processor.simulator.signing import Keys
from tests.adapters.simulator_world import DEFINITION, FOREIGN_ID, START, World


def test_the_members_and_kinds_of_webhooks_have_the_names_they_are_given() -> None:
    """A path makes objects, an empty one leaves the member out; what is not named stays as it is."""
    world = World(
        webhook_shape="workflowId=data.workflow.id,status=data.state,caseId=,definitionId=data.workflow.definition",
        webhook_kinds={"completed": "workflow.completed"},
    )
    workflow_id = orjson.loads(world.run(recordId=FOREIGN_ID).body)["id"]
    world.later(100)
    ((_, told),) = world.webhooks
    assert told == {
        "type": "workflow.completed",
        "recordId": FOREIGN_ID,
        "data": {"workflow": {"id": workflow_id, "definition": DEFINITION}, "state": "COMPLETED"},
    }


def test_parameters_and_runs_have_the_paths_they_are_given() -> None:
    """The documented path of parameters is then unknown, as are the documented members."""
    world = World(
        parameters_path="/v1/{of}/sets",
        parameters_definition_member="definition",
        parameters_values_member="values",
        parameters_id_path="set.id",
        run_id_path="workflow.id",
    )
    made = world.told("POST /v1/mine/sets", {"definition": DEFINITION, "values": {"n": 1}})
    assert set(made) == {"set"}
    assert world.ask("POST /parameters", {"definition": DEFINITION, "values": {}}).status == 404
    documented = {"workflowDefinitionId": DEFINITION, "parameters": {}}
    assert world.ask("POST /v1/mine/sets", documented).status == 400
    run = orjson.loads(world.run(parametersId=made["set"]["id"]).body)
    assert (set(run), run["status"]) == ({"workflow", "recordId", "status"}, "RUNNING")
    assert world.told(f"GET /workflows/{run['workflow']['id']}")["id"] == run["workflow"]["id"]
    assert world.provider.ledger.runs[0].asked.parameters == b'{"n":1}'


def test_status_words_are_what_they_are_given() -> None:
    """Running, awaiting, ended well; the result knows a good end by whatever word."""
    world = World(running_status="started", awaiting_status="user-done", completed_status="done", awaiting_rate=1)
    world.told("POST /link", {"workflowDefinitionId": DEFINITION})
    world.later(1000)
    (run,) = world.provider.ledger.runs
    seen = [run.status]
    for _ in range(2):
        world.later(50)
        seen.append(world.told(f"GET /workflows/{run.workflow_id}")["status"])
    assert seen == ["started", "user-done", "done"]
    assert world.told(f"GET /workflows/{run.workflow_id}/result")["output"]["decision"]


def test_there_may_be_no_results() -> None:
    """A definition without an output has none to read."""
    world = World(results_available=False, complete_at_once_rate=1)
    assert world.ask(f"GET /workflows/{orjson.loads(world.run().body)['id']}/result").status == 404


def test_calls_above_the_limit_are_told_to_come_later() -> None:
    """A second's worth may come at once, then as many as refill; what is refused is counted, and executes nothing."""
    world = World(calls_per_second_max=5, retry_after_s=2)
    answers = [world.run() for _ in range(7)]
    assert [answer.status for answer in answers] == [200] * 5 + [429] * 2
    assert answers[-1].headers == (("Retry-After", "2"),)
    world.later(199)
    assert world.run().status == 429
    world.later(1)
    assert [world.run().status, world.run().status] == [200, 429]
    world.later(10_000)
    assert [world.run().status for _ in range(6)] == [200] * 5 + [429]
    assert (world.counters.over_limit, world.provider.ledger.seq) == (5, 11)


def test_retry_after_can_be_a_date() -> None:
    """Whole seconds only, so it is never earlier than the number would be."""
    world = World(throttled_rate=1, retry_after_s=7, retry_after_as_date=True)
    for milliseconds, seconds in ((0, 7), (1, 8), (998, 8)):
        world.later(milliseconds)
        ((name, value),) = world.ask("POST /cases", {}).headers
        assert (name, value[-4:]) == ("Retry-After", " GMT")
        assert parsedate_to_datetime(value).timestamp() == START / 1000 + seconds


def test_the_key_endpoint_may_need_a_credential() -> None:
    """Whether it does is unknown; any token will do."""
    line = f"GET /auth/webhooks/key/{FOREIGN_ID}"
    for settings, statuses in (({}, (404, 404)), ({"key_needs_credential": True}, (401, 404))):
        world = World(auth_required=True, **settings)
        assert (world.ask(line).status, world.ask(line, authorization="tot_simulator").status) == statuses


def test_two_keys_are_alive_after_a_rotation() -> None:
    """What is on its way still verifies; the key before the last is gone."""
    keys = Keys()
    first = keys.current
    second = keys.rotate()
    assert keys.current is second
    assert (keys.find(first.key_id.upper()), keys.find(second.key_id)) == (first, second)
    third = keys.rotate()
    assert [keys.find(signer.key_id) for signer in (first, second, third)] == [None, second, third]


@pytest.mark.parametrize(
    "given",
    [
        {"webhook_shape": "unknown=x"},
        {"webhook_shape": "status"},
        {"webhook_shape": {"status": 1}},
        {"webhook_kinds": "ended=x"},
        {"parameters_path": "parameters"},
        {"run_id_path": ""},
        {"parameters_id_path": "a..b"},
        {"calls_per_second_max": -1},
        {"user_definitions": "b", "definitions": "a"},
    ],
)
def test_a_shape_that_means_nothing_is_refused_by_its_name(given: dict[str, object]) -> None:
    """Whoever mistypes it reads which setting it was."""
    with pytest.raises(ValueError, match=next(iter(given))):
        World(**given)
