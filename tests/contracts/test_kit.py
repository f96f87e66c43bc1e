"""The consumer kit is what the processor writes now, holds everything that can come, and can be used without us."""

import base64
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from processor.adapters.avro import RequestDecoder
from processor.core.messages import Step
from processor.core.model import Outcome, Reason, Witness
from processor.core.result_body import NOT_CONFIGURED, TOO_LARGE, UNAVAILABLE
from processor.errors import UndecodableMessage
from tests.contracts.kit.maker import files, samples, with_table
from tests.contracts.kit.sample import KIT, KitRegistry
from tests.contracts.kit.stories import stories
from tests.contracts.kit.using import README, blocks, served_registry

EVENTS = KIT.parent / "docs" / "events.md"


def kept(name: str) -> Any:  # noqa: ANN401  # JSON
    """Return what a file of the kit holds."""
    return json.loads((KIT / name).read_text(encoding="utf-8"))


def said(name: str, field: str) -> set[Any]:
    """Return every value that a field has in the samples of a file."""
    return {sample["fields"][field] for sample in kept(name)}


def header_of(sample: Mapping[str, Any], name: str) -> str | None:
    """Return a header of a sample as text."""
    found = [base64.b64decode(each["value"]).decode() for each in sample["headers"] if each["name"] == name]
    return found[-1] if found else None


def test_the_kit_is_what_is_written_now() -> None:
    """`python -m tests.contracts.kit.maker` renews it; a change of bytes is a change of what consumers meet."""
    made = dict(files())
    there = {str(path.relative_to(KIT)) for path in KIT.rglob("*") if path.is_file()}
    assert there == {*made, "README.md"}
    for name, text in made.items():
        assert (KIT / name).read_text(encoding="utf-8") == text, name
    assert with_table(README) == README


def test_every_result_that_can_come_is_there() -> None:
    """Each outcome, reason, witness and word of `resultOmitted`, with and without; and revision 2."""
    assert said("results.json", "outcome") == {*Outcome, "UNRECOGNIZED"}
    assert said("results.json", "reason") == {*Reason, None}
    assert said("results.json", "completedBy") == {*Witness, "UNRECOGNIZED", None}
    assert said("results.json", "resultOmitted") == {NOT_CONFIGURED, TOO_LARGE, UNAVAILABLE, None}
    assert said("results.json", "revision") == {1, 2}
    assert said("results.json", "isRerun") == {True, False, None}
    assert {None, "approved"} <= said("results.json", "decision")


def test_messages_are_those_of_the_processor() -> None:
    """Operators find the sentences of the kit in the code; a refusal's is made of the provider's answer."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in (KIT.parent / "processor" / "core").glob("*.py"))
    messages = {message for message in said("results.json", "message") if message and not message.startswith("HTTP ")}
    assert [message for message in sorted(messages) if f'"{message}"' not in code] == []


def test_every_schema_has_written_something() -> None:
    """Of each released version there are records, and of one that is not released yet."""
    used = {
        sample["schemaId"] for name in ("requests", "results", "links", "progress") for sample in kept(f"{name}.json")
    }
    assert used == {schema["id"] for schema in kept("schemas.json")}


def test_every_step_and_every_kind_of_link_is_there() -> None:
    """A link, a token, both, neither; and each step of progress."""
    kinds = {(bool(sample["fields"]["link"]), bool(sample["fields"]["token"])) for sample in kept("links.json")}
    assert kinds == {(True, False), (False, True), (True, True), (False, False)}
    assert said("links.json", "attempt") == {1, 2}
    assert said("progress.json", "step") == set(Step)


def test_a_dead_letter_of_every_reason_is_there() -> None:
    """The reasons are those that docs/events.md lists; undecodable requests are so for that very reason."""
    section = EVENTS.read_text(encoding="utf-8").partition("| `dlq.reason` | meaning |")[2].partition("\n\n")[0]
    listed = set(re.findall(r"^\| `(.+?)` \|", section, re.MULTILINE))
    letters = kept("dead-letters.json")
    assert {header_of(sample, "dlq.reason") for sample in letters} == listed
    assert {header_of(sample, "dlq.source.partition") for sample in letters} == {"3", "-1"}
    assert len([sample for sample in letters if header_of(sample, "dlq.value.omitted")]) == 1


@pytest.mark.parametrize("sample", samples()["requests.json"], ids=lambda sample: sample.name)
def test_requests_of_the_kit_are_taken(sample: Any) -> None:  # noqa: ANN401  # a Sample
    """What the kit shows to publishers is what the processor reads, in both framings and of both versions."""
    request = RequestDecoder(KitRegistry()).decode(sample.topic, sample.value, sample.headers)
    assert request.request_id.startswith("kit-request")


def test_stories_end_as_the_rules_say() -> None:
    """The highest revision that was committed is the truth, and each (request id, revision) is acted on once."""
    by_name = {sample["name"]: sample["fields"] for sample in kept("results.json")}
    assert len(by_name) == len(kept("results.json"))
    for story in stories():
        seen = [by_name[each.sample] for each in story.deliveries if not each.is_aborted]
        assert list(dict.fromkeys((each["requestId"], each["revision"]) for each in seen)) == list(story.acted_on)
        truth = {each["requestId"]: each["outcome"] for each in sorted(seen, key=lambda each: int(each["revision"]))}
        assert truth == story.truth, story.name


def run_elsewhere(code: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run Python code in a directory that holds the kit and nothing else of ours."""
    shutil.copytree(KIT, directory / "kit")
    return subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=directory, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.slow
def test_the_kit_is_read_with_a_web_server_for_a_registry(tmp_path: Path) -> None:
    """The README's code for a service's own deserializer runs as it stands, but for the port."""
    with served_registry() as url:
        done = run_elsewhere(blocks("python")[1].replace("http://localhost:8099", url), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_the_kit_is_read_without_anything_of_ours(tmp_path: Path) -> None:
    """The README's first code runs as it stands, and notices a sample that says something else."""
    code = blocks("python")[0]
    done = run_elsewhere(code, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    changed = run_elsewhere(code.replace('["outcome"] ==', '["outcome"] !='), tmp_path / "again")
    assert "AssertionError: completed-by-webhook" in changed.stderr


@pytest.mark.parametrize("reason", ["short-frame", "bad-magic", "unknown-schema", "bad-avro", "bad-json", "bad-value"])
def test_undecodable_requests_of_the_kit_are_so(reason: str) -> None:
    """Their bytes are no decoration: reading them ends with the reason that stands beside them."""
    (sample,) = [each for each in samples()["dead-letters.json"] if each.name == f"dead-{reason}"]
    with pytest.raises(UndecodableMessage) as caught:
        RequestDecoder(KitRegistry(), unknown_tries=1).decode("onboarding.requests", sample.value)
    assert caught.value.reason == reason
