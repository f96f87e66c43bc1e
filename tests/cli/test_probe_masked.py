"""What a probe tells of values: nothing, whatever they look like; and which members it takes for a status."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from processor.cli.probe_learn import profile_of
from processor.cli.probe_record import recording_text
from processor.cli.probe_report import report_text
from processor.cli.probe_talk import End, Exchange, Heard, Stage, Talk
from processor.core.catalogue import Workflow
from processor.core.model import ApiVersion
from processor.core.proof import Operation
from processor.settings import ApiSettings, WebhookSettings

WORKFLOW = "9e8d7c6b-0000-4000-8000-0000000000e1"


def exchange(step: Operation, body: object, *, sent: object = None, status: int = 200) -> Exchange:
    """Return a call and its answer."""
    path = f"/workflows/{WORKFLOW}" if sent is None else "/workflows/run"
    raw = json.dumps(body).encode()
    return Exchange(step, Stage.ENDED, "GET", path, "", sent, status, "", {}, raw, 1_000, 0.001)


def talk_of(exchanges: Sequence[Exchange], *webhooks: object, words: Sequence[str] = ("RUNNING", "COMPLETED")) -> Talk:
    """Return a probe in which this was said, and which ended well."""
    return Talk(
        Workflow("w", "definition-1", ApiVersion.RECORDS),
        "r-probe",
        End.COMPLETED,
        exchanges=list(exchanges),
        heard=[Heard(1_100 + number, body, None) for number, body in enumerate(webhooks)],
        ids={"workflow": WORKFLOW},
        words=dict.fromkeys(words, 1_000),
    )


def written(decision: str, *, is_listed: bool) -> tuple[str, str, Talk]:
    """Return recording and report of a probe whose values are these."""
    person = {"decision": decision, "status": decision, "type": decision, "isListed": is_listed, "isPep": not is_listed}
    ended = {"id": WORKFLOW, "status": "COMPLETED", "output": person, "person": [person]}
    talk = talk_of(
        [
            exchange(
                Operation.CREATE_RECORD, {"id": "r", **person}, sent={"note": f"{decision}!", "isListed": is_listed}
            ),
            exchange(Operation.RUN, {**ended, "status": "Running"}, sent={"workflowDefinitionId": "definition-1"}),
            exchange(Operation.READ_STATUS, {**ended}),
            exchange(Operation.READ_RESULT, {**ended, "status": decision}),
            exchange(Operation.READ_RESULT, {"errors": [{"code": "GONE", "message": decision}]}, status=404),
        ],
        {"type": "completed", "workflowId": WORKFLOW, **{name: person[name] for name in ("decision", "isListed")}},
        {"type": "awaiting", "status": "completed", "workflowId": WORKFLOW, "data": person},
    )
    webhook = WebhookSettings()
    return recording_text(talk, webhook), report_text(talk, [], 0, webhook), talk


def test_values_change_nothing_that_is_written() -> None:
    """Neither words that are a status elsewhere, nor flags: two people of whom other things are true look the same."""
    first = written("REJECTED", is_listed=True)
    others = [written("APPROVED", is_listed=False), written("ZZCANARY", is_listed=False)]
    for other in others:
        assert first[:2] == other[:2]


def test_words_stay_where_they_are_a_status_a_kind_or_a_code() -> None:
    """So that what is played back ends as it did, and the report tells what to list."""
    recording, report, _ = written("REJECTED", is_listed=True)
    lines = [json.loads(line) for line in recording.splitlines()]
    bodies = [line["response"]["body"] for line in lines]
    assert [body.get("status") for body in bodies] == ["masked", "RUNNING", "COMPLETED", "masked", None]
    assert bodies[-1] == {"errors": [{"code": "GONE", "message": "masked"}]}
    person = {"decision": "masked", "status": "masked", "type": "masked", "isListed": True, "isPep": True}
    assert bodies[2]["output"] == person
    assert [each["body"] for each in lines[1]["webhooks"]] == [
        {"type": "completed", "workflowId": "{new.workflow}", "decision": "masked", "isListed": True},
        {"type": "awaiting", "status": "COMPLETED", "workflowId": "{new.workflow}", "data": person},
    ]
    assert "REJECTED" not in report
    assert "| the word GONE |" in report


@pytest.mark.parametrize(
    "webhooks,paths",
    [
        ([{"type": "completed", "status": "COMPLETED"}], ("status",)),
        ([{"type": "AWAITING", "status": "RUNNING"}, {"type": "COMPLETED", "status": "COMPLETED"}], ("status",)),
        ([{"type": "x", "status": "COMPLETED", "data": {"status": "COMPLETED"}, "decision": "COMPLETED"}], ("status",)),
        ([{"name": "completed", "data": {"state": "COMPLETED", "decision": "COMPLETED"}}], ("data.state",)),
        ([{"type": "completed", "data": {"phase": "completed"}}], ("data.phase",)),
        ([{"type": "completed", "decision": "REJECTED"}], ()),
        ([{"type": "completed"}], ()),
        ([{"event": {"name": "completed"}}], ()),
    ],
)
def test_a_member_that_holds_the_same_word_is_no_status(webhooks: Sequence[Any], paths: Sequence[str]) -> None:
    """What the settings name comes before a name, a name before a word that was read, and a kind is never one."""
    profile = profile_of(talk_of([], *webhooks), ApiSettings(base_url="http://127.0.0.1:9"), WebhookSettings())
    assert profile.webhook is not None
    assert profile.webhook["status"] == paths
