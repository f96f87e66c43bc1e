"""`processor probe` against the simulator: one run, and what is written of it."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from processor.adapters.catalogue_file import load_catalogue
from processor.adapters.profile_file import ProviderProfile, read_profile
from processor.cli.probe_run import Prober
from processor.cli.probe_talk import End, Talk
from processor.cli.starting import now
from processor.core.model import OnboardingRequest
from processor.settings import ApiSettings
from processor.simulator.profile import profile_settings
from processor.simulator.server import Simulator
from tests.cli.commands import Said, command
from tests.cli.simulated import known_to, simulated
from tests.support.ports import free_port

CANARY = "Zuzanna-Canary"
CATALOGUE = """\
version: 1
workflows:
  records:
    definition: 3b2d8a4f-579f-4e2e-a51c-f859e532fe8c
    record: {table: people, columns: {name: subject.lastName, ref: requestId}}
    parameters: {orderId: attributes.orderId}
  cases:
    definition: 3b2d8a4f-579f-4e2e-a51c-f859e532fe8d
    api: 1
    case: {lastName: subject.lastName, email: subject.email}
  tables:
    definition: 3b2d8a4f-579f-4e2e-a51c-f859e532fe8e
    api: 3
    parameters: {orderId: attributes.orderId, ours: reference}
    adoption: parameters
  links:
    definition: 3b2d8a4f-579f-4e2e-a51c-f859e532fe8f
    mode: link
    record: {table: people, columns: {name: subject.lastName}}
  links-of-tables:
    definition: 3b2d8a4f-579f-4e2e-a51c-f859e532fe90
    api: 3
    mode: link
"""
QUICK = {"completion_ms": "150", "user_walks_ms": "50"}


class Bench:
    """A directory, a simulator and what a probe wrote there."""

    def __init__(self, directory: Path, simulator: Simulator, env: Mapping[str, str], port: int) -> None:
        self.simulator = simulator
        self._directory = directory
        self._env = env
        self._port = port

    def probe(self, workflow: str, *args: str, stdin: str = "", lines: int = 1, asked_for: str = "") -> Said:
        """Probe a workflow with a request of a made-up person."""
        request = {
            "requestId": "r-probe",
            "workflow": asked_for or workflow,
            "subject": {"reference": CANARY, "lastName": CANARY, "email": f"{CANARY}@example.test"},
            "attributes": {"orderId": CANARY},
        }
        (self._directory / "request.jsonl").write_text(f"{json.dumps(request)}\n" * lines)
        files = [f"--{name}={self._directory / name}" for name in ("profile", "report", "record")]
        fixed = ("--request", str(self._directory / "request.jsonl"), "--poll", "0.05", "--wait", "3", *files)
        return command("probe", workflow, *fixed, *args, env=self._env, stdin=stdin)

    def heard(self, workflow: str, *args: str) -> Said:
        """Probe a workflow, webhooks included, without a question."""
        return self.probe(workflow, "--yes", "--webhook-port", str(self._port), *args)

    def text(self, name: str) -> str:
        """Return what was written."""
        return (self._directory / name).read_text()

    def path(self, name: str) -> Path:
        """Return where it was written."""
        return self._directory / name

    @property
    def profile(self) -> ProviderProfile:
        """The profile that was written."""
        return read_profile(self._directory / "profile")


@contextmanager
def bench(directory: Path, **given: object) -> Iterator[Bench]:
    """Give a bench whose simulator has these settings and faults."""
    (directory / "workflows.yaml").write_text(CATALOGUE)
    port = free_port()
    with simulated(**{**QUICK, "webhook_urls": str(port), **given}) as (simulator, url):
        env = {**known_to(url), "PROCESSOR_WORKFLOWS__FILE": str(directory / "workflows.yaml")}
        yield Bench(directory, simulator, env, port)


def test_one_run_teaches_words_members_and_shapes(tmp_path: Path) -> None:
    """The provider executed once; what was seen is in the profile, and settings that fit it are good."""
    with bench(tmp_path) as made:
        said = made.heard("records", "--json")
        assert made.simulator.counters.executed == 1
    assert said.code == 0, said.err
    told = said.json()
    assert (told["end"], told["statusWords"], told["webhooks"]) == ("ended well", ["RUNNING", "COMPLETED"], 1)
    assert [each["grade"] for each in told["findings"]] == ["good"]
    assert made.profile == ProviderProfile(
        webhook={
            "workflowId": ("workflowId",),
            "status": ("status",),
            "kind": ("type",),
            "recordId": ("recordId",),
            "caseId": (),
            "definitionId": (),
        },
        parameters={
            "path": "/parameters",
            "definitionMember": "workflowDefinitionId",
            "valuesMember": "parameters",
            "idPath": "id",
        },
        status_words=("RUNNING", "COMPLETED"),
        is_record_shown=True,
        run_id_path="id",
        is_result_available=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("workflow", ["records", "cases", "tables", "links", "links-of-tables"])
def test_nothing_that_is_written_holds_a_value(tmp_path: Path, workflow: str) -> None:
    """Neither what upstream said nor an id, link or token of the provider; in any version and mode."""
    with bench(tmp_path) as made:
        said = made.heard(workflow, "--json")
        secrets = [run.workflow_id for run in made.simulator.ledger.runs]
    assert said.json()["end"] == "ended well", said.err
    assert len(secrets) == 1
    for name in ("profile", "report", "record"):
        text = made.text(name)
        assert not [
            each for each in (CANARY, *secrets, "simulator-secret", "Bearer", "link.transactionlink") if each in text
        ]
    assert CANARY not in said.out + said.err


@pytest.mark.slow
def test_a_recording_is_played_back_as_it_was(tmp_path: Path) -> None:
    """Whoever talks to the recording meets the same words and shapes, with ids that follow the caller."""
    with bench(tmp_path) as made:
        assert made.heard("records").code == 0
        words, profile = made.profile.status_words, made.text("profile")
    recording = tmp_path / "kept.jsonl"
    made.path("record").rename(recording)
    with bench(tmp_path, replay_file=str(recording)) as replayed:
        said = replayed.heard("records", "--json")
    assert (said.json()["end"], replayed.profile.status_words) == ("ended well", words)
    assert replayed.text("profile") == profile


@pytest.mark.slow
def test_every_webhook_of_a_run_is_recorded_and_played_back(tmp_path: Path) -> None:
    """One that says it goes on, and the one of its end."""
    with bench(tmp_path, status_update_rate=1) as made:
        assert made.heard("records", "--json").json()["webhooks"] == 2
    recording = tmp_path / "kept.jsonl"
    made.path("record").rename(recording)
    starts = [line for line in map(json.loads, recording.read_text().splitlines()) if "webhooks" in line]
    told = [(each["body"]["type"], each["body"]["status"]) for line in starts for each in line["webhooks"]]
    assert told == [("status-update", "RUNNING"), ("completed", "COMPLETED")]
    with bench(tmp_path, replay_file=str(recording)) as replayed:
        assert replayed.heard("records", "--json").json()["webhooks"] == 2


@pytest.mark.slow
def test_the_simulator_plays_the_profile(tmp_path: Path) -> None:
    """A provider that calls everything otherwise is learnt, and its double behaves in the same way."""
    odd = {
        "webhook_shape": "workflowId=data.run,status=data.state,kind=name,recordId=,caseId=",
        "status_hides_record": True,
        "results_available": False,
    }
    with bench(tmp_path, **odd) as made:
        said = made.heard("records", "--json")
    settings = {each["setting"] for each in said.json()["findings"]}
    assert said.code == 1
    assert settings == {
        "PROCESSOR_WEBHOOK__WORKFLOW_ID_PATHS",
        "PROCESSOR_WEBHOOK__STATUS_PATHS",
        "PROCESSOR_WEBHOOK__KIND_PATHS",
        "adoption (catalogue)",
        "result.publish (catalogue)",
    }
    kept = tmp_path / "kept.yaml"
    made.path("profile").rename(kept)
    with bench(tmp_path, **profile_settings(kept)) as double:
        assert double.heard("records").code == 1
    assert double.text("profile") == kept.read_text()


@pytest.mark.slow
def test_an_end_that_nobody_listed_is_told_as_a_word(tmp_path: Path) -> None:
    """The probe cannot know that it is one: it waits, and the report shows the word."""
    with bench(tmp_path, completed_status="DONE") as made:
        said = made.probe("records", "--yes", "--wait", "0.5")
    assert said.code == 1
    assert said.out == "records: still running when the wait was over\n"
    assert "| DONE | " in made.text("report")
    assert "| not listed |" in made.text("report")
    assert made.profile.status_words == ()


@pytest.mark.slow
def test_a_link_is_shown_to_the_person_alone_and_its_workflow_found_by_its_webhook(tmp_path: Path) -> None:
    """No call tells the id; a webhook of our record does, once its status shows that record."""
    with bench(tmp_path) as made:
        said = made.heard("links")
        assert made.simulator.counters.executed == 1
    assert said.code == 0, said.err
    assert "open this link as the end user: https://link.transactionlink.io/" in said.err
    without = tmp_path / "without"
    without.mkdir()
    with bench(without) as made:
        said = made.probe("links", "--yes")
    assert said.code == 1
    assert "nothing told the workflow id" in said.out
    assert "`--webhook-port`" in made.text("report")


@pytest.mark.slow
def test_answers_that_repeat_our_reference_are_told(tmp_path: Path) -> None:
    """That is what adoption by parameters needs."""
    with bench(tmp_path) as made:
        assert made.heard("tables").code == 0
    assert "| parameters.ours | text(" in made.text("report")
    assert "| our reference |" in made.text("report")


@pytest.mark.slow
@pytest.mark.parametrize(
    "faults,end,executed",
    [
        ({"error_5xx_rate": 1}, "not started", 0),
        ({"run_5xx_unexecuted_rate": 1}, "the outcome of the start is unknown", 0),
        ({"run_5xx_executed_rate": 1}, "the outcome of the start is unknown", 1),
        ({"failed_rate": 1}, "ended badly", 1),
    ],
)
def test_nothing_is_ever_repeated(tmp_path: Path, faults: Mapping[str, Any], end: str, executed: int) -> None:
    """What goes wrong is told, and the exit code is 1."""
    with bench(tmp_path, **faults) as made:
        said = made.probe("records", "--yes", "--json")
        assert made.simulator.counters.executed == executed
        starts = made.simulator.counters.routes.get("POST /workflows/run", Counter())
        assert starts.total() <= 1
    assert (said.code, said.json()["end"]) == (1, end)
    assert made.profile.status_words == ()


def test_a_start_that_was_interrupted_may_have_happened(tmp_path: Path) -> None:
    """Whoever loses patience while the call is open is told to look for it, not that nothing was run."""
    (tmp_path / "workflows.yaml").write_text(CATALOGUE)
    catalogue = load_catalogue(tmp_path / "workflows.yaml")
    talk = Talk(catalogue.workflows["records"], "r-probe")

    async def interrupted(url: str) -> None:
        api = ApiSettings(base_url=url, key=SecretStr("simulator-key"), secret=SecretStr("simulator-secret"))
        prober = Prober(talk, catalogue, api, clock=now, show_link=lambda _: None)
        await prober.authorize()
        with suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await prober.begin(OnboardingRequest("r-probe", "records", now()))
        await prober.close()

    with simulated(run_silent_rate=1) as (simulator, url):
        asyncio.run(interrupted(url))
        assert simulator.counters.executed == 1
    assert (talk.end, talk.why) == (End.UNKNOWN, "run: not answered")


def test_a_run_is_told_although_a_file_cannot_be_written(tmp_path: Path) -> None:
    """What was learnt is not lost: the report comes to standard output, and the exit code tells."""
    with bench(tmp_path) as made:
        made.path("report").mkdir()
        said = made.probe("records", "--yes")
    assert said.code == 1
    assert said.out.startswith("# Probe of records")
    assert "the report cannot be written to" in said.err
    assert made.profile.status_words == ("RUNNING", "COMPLETED")


def test_a_refused_credential_ends_it_before_anything_is_made(tmp_path: Path) -> None:
    """Exit code 3: the provider cannot be used, and nothing is written."""
    with bench(tmp_path, credentials_refused=True) as made:
        said = made.probe("records", "--yes")
        assert list(made.simulator.counters.routes) == ["POST /auth/authorize"]
    assert said.code == 3
    assert "the provider gives no token" in said.err
    assert not made.path("report").exists()


def test_a_person_is_asked_first(tmp_path: Path) -> None:
    """With the address, the definition and what it costs; without a yes nothing happens."""
    with bench(tmp_path) as made:
        said = made.probe("records", stdin="n\n")
        assert made.simulator.counters.routes == {}
    assert said.code == 1
    assert "ONE real run of records (definition 3b2d8a4f-579f-4e2e-a51c-f859e532fe8c, mode run)" in said.err


@pytest.mark.parametrize(
    "workflow,args,more,complaint",
    [
        ("recrds", (), {}, "the catalogue has cases, links"),
        ("records", (), {"lines": 2}, "has 2 requests; a probe takes one"),
        ("records", (), {"asked_for": "cases"}, "the request is for cases"),
        ("records", ("--report", "/none/report.md"), {}, "is no directory"),
        ("records", ("--request", "/none"), {}, "cannot be read"),
    ],
)
def test_what_was_typed_wrong_is_told_before_anything_is_run(
    tmp_path: Path, workflow: str, args: tuple[str, ...], more: Mapping[str, Any], complaint: str
) -> None:
    """Exit code 2."""
    with bench(tmp_path) as made:
        said = made.probe(workflow, "--yes", *args, **more)
        assert made.simulator.counters.routes == {}
    assert said.code == 2
    assert complaint in " ".join(said.err.replace("│", "").split())
