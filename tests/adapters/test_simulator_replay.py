"""Recorded conversations played back: the same answers and webhooks in order, and nothing that was not said."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from processor.simulator.api import Api, Request
from processor.simulator.model import Answer, Counters
from processor.simulator.provider import Provider
from processor.simulator.recording import recording_in
from processor.simulator.replay import Replay
from processor.simulator.schedule import Schedule
from processor.simulator.settings import settings_from
from processor.simulator.signing import Keys
from tests.adapters.simulator_world import G1, G2, START

RUN = {"method": "POST", "path": "/workflows/run"}
STATUS = {"method": "GET", "path": "/workflows/{id}"}


def line(request: object, response: object, **more: object) -> dict[str, Any]:
    """Build one exchange."""
    return {"request": request, "response": response, **more}


def written(tmp_path: Path, *lines: object) -> Path:
    """Write a recording."""
    path = tmp_path / "recording.jsonl"
    path.write_text("\n".join(json.dumps(each) for each in lines), encoding="utf-8")
    return path


class Player:
    """A replay without sockets, and a clock that a test moves by hand."""

    def __init__(self, tmp_path: Path, *lines: object, **given: object) -> None:
        settings = settings_from({"auth_required": False, **given})
        self.now = START
        self.webhooks: list[Any] = []
        self.schedule = Schedule()
        provider = Provider(settings, self.schedule, Counters(), lambda _body: None)
        recording = recording_in(written(tmp_path, *lines))
        self.replay = Replay(recording, Api(provider, Keys(), START), provider.scene, self._sent)

    def _sent(self, body: bytes) -> None:
        self.webhooks.append(orjson.loads(body))

    def ask(self, line: str, body: object = None, *, accept: str = G2) -> tuple[str, Answer]:
        """Make one call, given as `METHOD /path`; returns the name that it is counted by, and the answer."""
        method, path = line.split(" ")
        sent = b"" if body is None else orjson.dumps(body)
        request = Request(method, path, "", accept, "", "application/json", sent, self.now)
        return self.replay.answer(request)[:2]

    def told(self, line: str, body: object = None, *, accept: str = G2) -> Any:  # noqa: ANN401  # any JSON
        """Make one call, and read its answer."""
        return orjson.loads(self.ask(line, body, accept=accept)[1].body)


def test_the_answers_of_a_path_come_in_their_order_and_the_last_again_and_again(tmp_path: Path) -> None:
    """Two workflows that are asked for in turn both run and then end."""
    words = ("RUNNING", "AWAITING", "COMPLETED")
    player = Player(tmp_path, *(line(STATUS, {"status": 200, "body": {"status": word}}) for word in words))
    seen = [(name, player.told(f"GET /workflows/{name}")["status"]) for name in "aababbab"]
    for name in "ab":
        assert [word for asked, word in seen if asked == name] == [*words, "COMPLETED"]


def test_ids_follow_the_caller_and_the_webhook_follows_the_answer(tmp_path: Path) -> None:
    """A made id is the same in answer and webhook; whoever asks with it finds what its exchange knew."""
    player = Player(
        tmp_path,
        line(
            RUN,
            {"status": 200, "body": {"id": "{new.workflow}", "recordId": "{body.recordId}", "status": "RUNNING"}},
            webhooks=[{"afterMs": 50, "body": {"workflowId": "{new.workflow}", "who": "record {body.recordId}"}}],
        ),
        line(STATUS, {"status": 200, "body": {"ids": ["{path.id}", "{body.recordId}", "{body.none}", 1]}}),
    )
    first, second = (player.told("POST /workflows/run", {"recordId": record}) for record in ("r-1", "r-2"))
    assert (first["recordId"], second["recordId"]) == ("r-1", "r-2")
    assert first["id"] != second["id"]
    assert player.told(f"GET /workflows/{first['id']}") == {"ids": [first["id"], "r-1", None, 1]}
    player.schedule.do_due(START + 49)
    assert player.webhooks == []
    player.schedule.do_due(START + 50)
    assert player.webhooks == [
        {"workflowId": said["id"], "who": f"record {said['recordId']}"} for said in (first, second)
    ]


def test_all_webhooks_of_a_call_come_in_their_order(tmp_path: Path) -> None:
    """Each at its own time, those of one instant as they are written."""
    told = [(20, "COMPLETED"), (10, "AWAITING"), (10, "AWAITING again")]
    webhooks = [{"afterMs": after_ms, "body": {"id": "{new.id}", "status": word}} for after_ms, word in told]
    player = Player(tmp_path, line(RUN, {"status": 200, "body": {"id": "{new.id}"}}, webhooks=webhooks))
    made = player.told("POST /workflows/run")["id"]
    player.schedule.do_due(START + 10)
    assert [each["status"] for each in player.webhooks] == ["AWAITING", "AWAITING again"]
    player.schedule.do_due(START + 20)
    assert player.webhooks[2:] == [{"id": made, "status": "COMPLETED"}]


def test_what_was_not_recorded_is_refused_and_counted(tmp_path: Path) -> None:
    """A client that says something else than the recorded one is told so, by method, path or version."""
    player = Player(tmp_path, line(RUN | {"accept": G2}, {"status": 200, "body": {}}))
    assert player.ask("POST /workflows/run")[0] == "POST /workflows/run"
    for asked, accept, name in (
        ("POST /workflows/run", G1, "not-recorded POST /workflows/run"),
        ("GET /workflows/x", G2, "not-recorded GET /workflows/{workflowId}"),
        ("GET /elsewhere", G2, "not-recorded"),
    ):
        route, answer = player.ask(asked, accept=accept)
        assert (route, answer.status) == (name, 404)
        assert orjson.loads(answer.body)["errors"][0]["code"] == "NOT_RECORDED"


def test_a_plain_path_comes_before_a_placeholder(tmp_path: Path) -> None:
    """Whatever the order of the lines."""
    anything = line({"method": "post", "path": "/workflows/{x}"}, {"status": 202, "body": {}})
    player = Player(tmp_path, anything, line(RUN, {"status": 200, "body": {}}))
    assert [player.ask(f"POST /workflows/{name}")[1].status for name in ("run", "other")] == [200, 202]


def test_headers_and_text_are_as_recorded(tmp_path: Path) -> None:
    """But for what belonged to the recorded connection."""
    headers = {"Content-Type": "text/html", "Retry-After": "3", "Content-Length": "7", "Transfer-Encoding": "chunked"}
    player = Player(
        tmp_path,
        line(RUN, {"status": 503, "headers": headers, "text": "<html>"}),
        line(STATUS, {"status": 204}),
    )
    answer = player.ask("POST /workflows/run")[1]
    assert (answer.status, answer.media_type, answer.body) == (503, "text/html", b"<html>")
    assert answer.headers == (("retry-after", "3"),)
    assert player.ask("GET /workflows/x")[1].body == b""


def test_credentials_and_limits_are_the_simulator_s_own(tmp_path: Path) -> None:
    """A recording holds no secrets, so the caller authorizes as ever."""
    player = Player(tmp_path, line(RUN, {"status": 200, "body": {}}), auth_required=True, calls_per_second_max=2)
    assert player.ask("POST /workflows/run")[1].status == 401
    credentials = {"key": "simulator-key", "secret": "simulator-secret"}
    assert player.told("POST /auth/authorize", credentials)["accessToken"]
    assert player.ask("POST /workflows/run")[1].status == 429


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", "it holds no exchange"),
        ("{", "line 1"),
        ("[]", "an exchange has `request`, `response`"),
        ('{"request": {}, "response": {}, "more": {}}', "an exchange has"),
        ('{"request": {}, "response": {}}', "`request` needs a `method` and a `path`"),
        ('{"request": {"method": "GET", "path": "x"}, "response": {}}', "begins with /"),
        ('{"request": {"method": "GET", "path": "/x", "url": ""}, "response": {}}', "`request` must be an object of"),
        ('{"request": {"method": "GET", "path": "/x"}, "response": {}}', "`response.status` must be a number"),
        ('{"request": {"method": "GET", "path": "/x"}, "response": {"status": 99}}', "200 to 599"),
        ('{"request": {"method": "GET", "path": "/x"}, "response": {"status": 200, "headers": []}}', "headers"),
        (
            '{"request": {"method": "GET", "path": "/x", "accept": "a;version=9"}, "response": {"status": 200}}',
            "version",
        ),
        (
            '{"request": {"method": "GET", "path": "/x"}, "response": {"status": 200}, "webhooks": [{"afterMs": -1}]}',
            "one of `webhooks` needs a `body`",
        ),
        ('{"request": {"method": "GET", "path": "/x"}, "response": {"status": 200}, "webhooks": {}}', "must be a list"),
        ('{"request": {"method": "GET", "path": "/x"}, "response": {"status": 200}, "webhook": {}}', "an exchange has"),
    ],
)
def test_what_is_no_recording_is_refused_by_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    """It names the file, the line, and what would be right."""
    path = tmp_path / "recording.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"recording\.jsonl") as refused:
        recording_in(path)
    assert sentence in str(refused.value)


def test_memory_is_bounded(tmp_path: Path) -> None:
    """What was learnt of old ids is forgotten first."""
    made = line(RUN, {"status": 200, "body": {"id": "{new.id}", "was": "{body.was}"}})
    player = Player(tmp_path, made, line(STATUS, {"status": 200, "body": {"was": "{body.was}"}}), runs_max=2)
    ids = [player.told("POST /workflows/run", {"was": number})["id"] for number in range(3)]
    assert [player.told(f"GET /workflows/{each}")["was"] for each in ids] == [None, 1, 2]


@pytest.mark.slow
def test_the_command_plays_a_recording_with_a_profile(tmp_path: Path) -> None:
    """`processor simulate` serves what the files say; one that is not there is named."""
    recording = written(tmp_path, line(STATUS, {"status": 200, "body": {"id": "{path.id}"}}))
    profile = tmp_path / "provider.yaml"
    profile.write_text("version: 1\nstatusWords: [DONE]", encoding="utf-8")
    command = [sys.executable, "-m", "processor", "simulate", "--port", "0", "--set", "auth_required=false"]
    given = ["--profile", str(profile), "--replay"]
    with subprocess.Popen([*command, *given, str(recording)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert httpx.get(f"{url}/workflows/w-1").json() == {"id": "w-1"}
        assert httpx.get(f"{url}/_simulator/faults").json()["completed_status"] == "DONE"
        assert httpx.get(f"{url}/cases/c-1").status_code == 404
        routes = httpx.get(f"{url}/_simulator/counters").json()["routes"]
        assert routes["not-recorded GET /cases/{caseId}"] == {"404": 1}
        process.terminate()
    assert process.returncode == 0
    ended = subprocess.run([*command, *given, str(tmp_path / "none")], capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "none cannot be opened" in ended.stderr
