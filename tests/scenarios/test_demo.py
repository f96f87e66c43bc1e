"""`processor demo`: what it makes up, how it judges, and the whole of it as a newcomer runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from processor.cli.demo_requests import made_up, read_file
from processor.cli.demo_settings import WORKFLOWS, Place, demo_catalogue, demo_settings, simulator_settings
from processor.cli.demo_tally import Board, ResultSeen, Verdict, examples, judged, percentile
from processor.cli.publish import LinesRejected
from processor.errors import SettingsInvalid
from processor.settings import Settings
from tests.support.root import ROOT
from tests.support.topics import topics_named

NOW = 1_790_000_000_000
LINE = '{"requestId": "1", "workflow": "person-check", "subject": {"reference": "subject-1"}}'


def seen(
    request_id: str, outcome: str = "COMPLETED", witness: str | None = "WEBHOOK", *, revision: int = 1, at: int = 20
) -> ResultSeen:
    event = {"requestId": request_id, "revision": revision, "outcome": outcome, "completedBy": witness}
    return ResultSeen({**event, "reason": None, "workflowId": f"w-{request_id}"}, at)


def verdict(*results: ResultSeen, asked: str = "abc", ran: tuple[str, ...] = ()) -> Verdict:
    return judged(asked, dict.fromkeys(asked, 10), len(asked), results, ran)


def test_one_result_for_each_request_is_good() -> None:
    """Each request has its one result, and each workflow that ran is named by one."""
    good = verdict(seen("a"), seen("b", "FAILED", "POLL"), seen("c", at=40), ran=("w-a", "w-b", "w-c"))
    assert good.is_good
    assert (good.outcomes, good.witnesses) == ({"COMPLETED": 2, "FAILED": 1}, {"WEBHOOK": 2, "POLL": 1})
    assert (good.p50_ms, good.p99_ms) == (10, 30)


def test_an_amendment_is_no_second_result() -> None:
    """Revision 2 follows a result that gave up; only revision 1 is counted."""
    assert verdict(seen("a", "EXPIRED", None), seen("a", revision=2), asked="a").is_good


@pytest.mark.parametrize(
    "results,ran,found",
    [
        ("ab", (), {"missing": ("c",)}),
        ("aabc", (), {"doubled": ("a",)}),
        ("abcd", (), {"unasked": ("d",)}),
        ("abc", ("w-a", "w-b", "w-c", "w-x"), {"workflows_surplus": 1}),
        # A request without a result may still have a workflow.
        ("ab", ("w-a", "w-b", "w-x"), {"missing": ("c",)}),
    ],
)
def test_anything_else_is_not_good(results: str, ran: tuple[str, ...], found: dict[str, object]) -> None:
    """A request without a result or with two, a result that nobody asked for, a workflow too many: each is found."""
    bad = verdict(*map(seen, results), ran=ran)
    assert not bad.is_good
    nothing = {"missing": (), "doubled": (), "unasked": (), "workflows_surplus": 0}
    assert {name: getattr(bad, name) for name in nothing} == nothing | found


@pytest.mark.parametrize(
    "ordered,percent,rank", [([], 50, None), ([7], 99, 7), ([1, 2, 3, 4], 50, 2), (range(1, 201), 99, 198)]
)
def test_a_percentile_is_the_nearest_rank(ordered: Sequence[int], percent: int, rank: int | None) -> None:
    """So many of a hundred are not above it."""
    assert percentile(ordered, percent) == rank


def test_the_examples_differ_as_much_as_they_can() -> None:
    """Each next example brings an outcome or a witness that was not shown yet."""
    results = [seen("a"), seen("b"), seen("c", witness="POLL"), seen("d", "FAILED", "RUN_ANSWER")]
    assert [event["requestId"] for event in examples(results, 3)] == ["a", "d", "c"]


def test_a_step_told_twice_counts_once() -> None:
    """Progress may be told again; the board counts requests, not events."""
    board = Board(2)
    for step in ("ACCEPTED", "ACCEPTED", "STARTED", "UNRECOGNIZED"):
        board.progressed({"step": step, "requestId": "a"})
    assert (len(board.accepted), len(board.started)) == (1, 1)
    assert [board.fate_of(request_id) for request_id in "ab"] == ["its workflow was started", "not accepted"]


def test_the_same_seed_makes_up_the_same_requests() -> None:
    """Both workflows occur, some requests come twice, some share their key."""
    batch = made_up(100, 7, NOW)
    assert batch == made_up(100, 7, NOW)
    assert batch != made_up(100, 8, NOW)
    assert (len(batch.request_ids), batch.repeats) == (100, 5)
    assert {line.record["workflow"] for line in batch.lines} == {"person-check", "company-check"}
    assert len({line.key for line in batch.lines}) == 90


@pytest.mark.parametrize(
    "lines,told",
    [
        ("", "holds no requests"),
        ('{"requestId": "1"}', "line 1: workflow is missing"),
        (f"{LINE}\n\n{LINE.replace('subject-1', 'subject-2')}", "line 3: its requestId stands in line 1 too"),
        ('{"requestId": "1", "workflow": "w"}\n{"requestId": "1", "workflow": "w"}', "line 2: its requestId"),
    ],
)
def test_a_file_that_cannot_work_is_refused_before_anything_starts(tmp_path: Path, lines: str, told: str) -> None:
    """The sentence names the line, and never repeats a value."""
    file = tmp_path / "requests.jsonl"
    file.write_text(lines, encoding="utf-8")
    with pytest.raises((SettingsInvalid, LinesRejected), match=told):
        read_file(file, NOW)


def test_a_repeated_line_is_a_duplicate(tmp_path: Path) -> None:
    """The same id under the same key is one request, as the processor sees it."""
    file = tmp_path / "requests.jsonl"
    file.write_text(f"{LINE}\n{LINE}\n", encoding="utf-8")
    batch = read_file(file, NOW)
    assert (batch.request_ids, batch.repeats, batch.is_made_up) == (frozenset("1"), 1, False)


def test_the_examples_name_workflows_of_the_demo() -> None:
    """Whoever gives the example file to a demo sees its requests complete."""
    workflows = demo_catalogue(settings_in({})).workflows
    batch = read_file(ROOT / "examples" / "requests.jsonl", NOW)
    assert {line.record["workflow"] for line in batch.lines} <= set(workflows)


def settings_in(environ: dict[str, str], bootstrap_servers: str | None = None, workflows: Path = WORKFLOWS) -> Settings:
    place = Place("demo-1", bootstrap_servers, None, workflows, 1)
    servers = {"broker": "broker:9092", "registry": "http://registry", "provider": "http://provider"}
    return demo_settings(place, environ, servers, simulator_settings(1), replicas=1)


def test_a_demo_never_calls_the_provider_of_an_installation() -> None:
    """Of the environment counts only how to reach a real broker, and only when one is asked for."""
    environ = {
        "PROCESSOR_API__BASE_URL": "https://production",
        "PROCESSOR_API__TOKEN": "tot_1",
        "PROCESSOR_KAFKA__GROUP_PROTOCOL": "consumer",
        "PROCESSOR_TOPICS__RESULTS": "production.results",
    }
    own, real = settings_in(environ), settings_in(environ, "broker:9092")
    assert {settings.api.base_url for settings in (own, real)} == {"http://provider"}
    assert {settings.topics.results for settings in (own, real)} == {"demo-1.results"}
    assert (own.kafka.group_protocol, real.kafka.group_protocol) == ("classic", "consumer")
    assert (dict(own.kafka.properties), dict(real.kafka.properties)) == ({"check.crcs": "false"}, {})


def test_results_stay_in_the_topics_of_the_demo() -> None:
    """A catalogue that names a topic of its own for results must not lead made-up ones there."""
    catalogue = demo_catalogue(settings_in({}, workflows=ROOT / "workflows.example.yaml"))
    assert {catalogue.results_topic_of(name) for name in catalogue.workflows} == {"demo-1.results"}


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "processor", "demo", *arguments)
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)


def assert_adds_up(told: dict[str, Any], requests: int) -> None:
    assert told["isGood"]
    assert (told["requests"], told["results"]) == (requests, requests)
    assert told["missing"] == told["doubled"] == told["unasked"] == []
    assert told["events"] > requests
    assert sum(told["outcomes"].values()) == sum(told["completedBy"].values()) == requests
    assert set(told["outcomes"]) <= {"COMPLETED", "FAILED"}
    assert (told["workflowsExecuted"], told["workflowsSurplus"]) == (requests, 0)
    assert 0 < told["p50Ms"] <= told["p99Ms"]


@pytest.mark.slow
def test_the_whole_job_on_embedded_servers() -> None:
    """Every request has exactly one result, by webhook or by poll; the numbers add up and the exit code says so."""
    ended = demo("--count", "50", "--json")
    assert ended.returncode == 0, ended.stderr
    assert_adds_up(json.loads(ended.stdout), 50)


@pytest.mark.broker
@pytest.mark.slow
def test_the_whole_job_on_a_real_cluster(bootstrap_servers: str) -> None:
    """The same on a cluster, in topics and groups of its own, of which nothing is left."""
    ended = demo("--count", "50", "--json", "--bootstrap-servers", bootstrap_servers)
    assert ended.returncode == 0, ended.stderr
    assert_adds_up(json.loads(ended.stdout), 50)
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    groups = [group.group_id for group in admin.list_consumer_groups().result(10).valid]
    assert [group for group in groups if group.startswith("demo-")] == []
    assert topics_named(bootstrap_servers, "demo-") == []


@pytest.mark.slow
def test_too_little_time_is_told_request_by_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo that did not get to its end says so, names the requests without a result, and exits 1."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # Its log is kept there.
    ended = demo("--count", "3", "--timeout", "1")
    assert ended.returncode == 1
    assert "not every request had its result within 1 s" in ended.stderr
    assert "demo-0003: no result; not accepted" in ended.stderr
    assert "Next:" not in ended.stdout
    assert [path.name for path in tmp_path.rglob("*.log")] == ["processor.log"]


@pytest.mark.slow
def test_ctrl_c_takes_everything_down_in_order() -> None:
    """The exit code is that of an interrupted program; nothing is left, and no traceback is shown."""
    command = (sys.executable, "-m", "processor", "demo")
    environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None, "it was started with a pipe"
        lines = iter(process.stderr.readline, "")
        assert any("started" in line for line in lines), "no progress was told"
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(20) == 130
        assert time.monotonic() - began < 15
    assert "stopped before the end" in rest
    assert "Traceback" not in rest
