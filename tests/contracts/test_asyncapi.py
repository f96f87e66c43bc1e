"""asyncapi.yaml says what is: valid by the standard's own parser, and the same topics, schemas and headers as ours."""

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from processor.adapters.dead_letters import Coordinates, Fault, dead_letter_headers
from processor.adapters.event_headers import CONSTANT, event_headers
from processor.adapters.schema_files import PUBLIC_RECORDS, public_schema
from processor.adapters.topic_specs import Use, topic_specs
from processor.settings import Settings
from tests.contracts.asyncapi_document import DOCUMENT, SHOWN, with_examples
from tests.support.root import ROOT
from tests.support.servers import cannot_run

VALIDATE = Path(__file__).parent / "asyncapi" / "validate.cjs"
INSTALLED = ROOT / ".cache" / "asyncapi"
FORMAT = "application/vnd.apache.avro;version=1.9.0"
OTHERS_TOUCH = frozenset({Use.REQUESTS, Use.EVENTS, Use.DEAD_LETTERS})
SAID = ("cleanup.policy", "retention.ms", "max.message.bytes")  # Of a topic's configuration.


@cache
def document() -> dict[str, Any]:
    """Return the document as it is written, references unresolved."""
    found: dict[str, Any] = yaml.safe_load(DOCUMENT.read_text(encoding="utf-8"))
    return found


def at(reference: dict[str, str]) -> Any:  # noqa: ANN401  # whatever stands there
    """Return what a reference within the document leads to."""
    found: Any = document()
    for name in reference["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return found


def messages() -> dict[str, dict[str, Any]]:
    """Return address -> the message of each channel: one record type for each topic."""
    return {channel["address"]: at(*channel["messages"].values()) for channel in document()["channels"].values()}


def judged(directory: Path) -> tuple[int, dict[str, Any]]:
    """Return exit code and report of the parser about the document in a directory."""
    if shutil.which("node") is None:
        cannot_run("the AsyncAPI parser needs Node 18 or newer: apt-get install nodejs npm")
    lock = "package-lock.json"
    if not (INSTALLED / "stamp").exists() or (INSTALLED / lock).read_text() != (VALIDATE.parent / lock).read_text():
        cannot_run("the AsyncAPI parser is not in .cache: run `make asyncapi`")
    done = subprocess.run(
        ["node", VALIDATE, directory / DOCUMENT.name],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "NODE_PATH": str(INSTALLED / "node_modules")},
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow
def test_the_parser_has_nothing_to_say() -> None:
    """No error and no warning, and the fields that it read from the Avro files are those of our schemas."""
    code, report = judged(ROOT)
    assert (code, report["diagnostics"]) == (0, [])
    of_schemas = {name: [each["name"] for each in json.loads(public_schema(name))["fields"]] for name in PUBLIC_RECORDS}
    assert report["fields"] == {**of_schemas, "DeadLetter": []}


@pytest.mark.slow
@pytest.mark.parametrize(
    "file, text, broken",
    [
        ("asyncapi.yaml", "./schemas/OnboardingFinished.avsc", "./schemas/OnboardingEnded.avsc"),
        ("asyncapi.yaml", "schemaIdLocation: payload", "schemaIdLocation: trailer"),
        ("asyncapi.yaml", "    action: receive\n", ""),
        ("schemas/OnboardingFinished.avsc", '"type": "enum"', '"type": "enumeration"'),
    ],
)
def test_a_broken_document_is_refused(tmp_path: Path, file: str, text: str, broken: str) -> None:
    """The judgement above can fail: by a reference, a binding, a missing member, and by the Avro behind it."""
    shutil.copytree(ROOT / "schemas", tmp_path / "schemas")
    shutil.copy(DOCUMENT, tmp_path)
    whole = (tmp_path / file).read_text(encoding="utf-8")
    assert text in whole
    (tmp_path / file).write_text(whole.replace(text, broken))
    code, report = judged(tmp_path)
    assert code == 1
    assert report["diagnostics"] != []


def test_every_topic_that_others_touch_is_a_channel() -> None:
    """Each has its default name and the configuration that it is created with."""
    specs = [spec for spec in topic_specs(Settings().topics) if spec.use in OTHERS_TOUCH]
    channels = {channel["address"]: channel["bindings"]["kafka"] for channel in document()["channels"].values()}
    assert channels.keys() == {spec.name for spec in specs}
    for spec in specs:
        said = channels[spec.name]
        assert (said["topic"], said["partitions"], said["replicas"]) == (
            spec.name,
            spec.partitions,
            spec.replication_factor,
        )
        config = {
            name: ",".join(value) if isinstance(value, list) else str(value)
            for name, value in said["topicConfiguration"].items()
        }
        assert config == {name: value for name, value in spec.config.items() if name in SAID}, spec.name


def test_every_topic_has_the_payload_of_its_subject() -> None:
    """The schema is the file that is registered, not a copy; dead letters hold whatever their original did."""
    specs = {spec.name: spec.record for spec in topic_specs(Settings().topics)}
    for address, message in messages().items():
        record = specs[address]
        of_record = {"schemaFormat": FORMAT, "schema": {"$ref": f"./schemas/{record}.avsc"}}
        assert message.get("payload") == (of_record if record else None), address


def test_the_headers_are_those_that_are_written() -> None:
    """Every header of an event and of a dead letter is described, and what is always there is required."""
    bare = event_headers("OnboardingFinished", "id", 0, source="urn:x", traceparent=None)
    whole = event_headers("OnboardingFinished", "id", 0, source="urn:x", traceparent="x")
    letters = dead_letter_headers((), Fault("r", "T", "m"), Coordinates("t", 0, 0), failed_at=0, version="1")
    described = document()["components"]["schemas"]
    events, dead = described["EventHeaders"], described["DeadLetterHeaders"]
    assert set(events["required"]) == {name for name, _ in bare}
    assert set(events["properties"]) == {name for name, _ in whole}
    assert set(dead["required"]) == {name for name, _ in letters}
    assert set(dead["properties"]) == {*dead["required"], "dlq.value.omitted"}
    constant = {name: value.decode() for name, value in CONSTANT["OnboardingFinished"]}
    said = {name: value["const"] for name, value in events["properties"].items() if "const" in value}
    assert said == {name: constant[name] for name in ("ce_specversion", "content-type")}


def test_the_examples_are_records_of_the_kit() -> None:
    """`python -m tests.contracts.asyncapi_document` renews them: the parser does not hold examples to their schema."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert with_examples(text) == text
    assert {message["name"] for message in messages().values() if message["examples"]} == set(SHOWN)


def test_a_server_offers_every_way_in_that_is_described() -> None:
    """What a team may be asked to log in with, in the words of the standard."""
    offered = [at(scheme)["type"] for scheme in document()["servers"]["kafka"]["security"]]
    assert offered == ["scramSha512", "scramSha256", "oauth2", "X509"]
    assert len(offered) == len(document()["components"]["securitySchemes"])


def test_the_version_is_that_of_the_build() -> None:
    """Whoever holds a copy of the document knows which build it describes."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{document()["info"]["version"]}"\n' in project
