"""Makes the files of the kit: `python -m tests.contracts.kit.maker` renews them after a change."""

import base64
import json
import shutil
import struct
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

from fastavro import parse_schema, schemaless_reader, schemaless_writer

from processor.adapters.avro import PREFIX_BYTES, RECORD_NAMES, EventEncoder
from processor.adapters.avro_records import finished_record, progressed_record
from processor.adapters.event_headers import TRACEPARENT as TRACEPARENT_HEADER
from processor.adapters.event_headers import Headers
from processor.adapters.public_events import RequestWriter
from processor.core.messages import Progressed
from tests.contracts.kit.dead import dead_letters
from tests.contracts.kit.others import Event, Request, links, requests, steps
from tests.contracts.kit.results import Result, results
from tests.contracts.kit.sample import (
    KIT,
    LINKS,
    NEWER,
    PROGRESS,
    REQUESTS,
    RESULTS,
    KitRegistry,
    KitSchema,
    Sample,
    Story,
    kit_schemas,
    newest_of,
)
from tests.contracts.kit.stories import stories

SOURCE = "urn:onboarding"
DEFINITIONS = {"person-check": "3b2d8a4f-579f-4e2e-a51c-f859e532fe8c"}
FILES = ("requests.json", "results.json", "links.json", "progress.json", "dead-letters.json")
BEGIN, END = "<!-- samples: begin -->\n", "<!-- samples: end -->\n"
HEADER_FRAME = b"\x01"


@cache
def samples() -> Mapping[str, Sequence[Sample]]:
    """Return file -> its samples, as today's build writes them."""
    registry = KitRegistry()
    encoder = EventEncoder(registry, source=SOURCE, definitions=DEFINITIONS)
    writer = RequestWriter(registry, REQUESTS)
    of_results = [_of_result(encoder, each) for each in results()]
    assert of_results[0].value is not None, "a result has a value"
    return {
        "requests.json": [_of_request(writer, each) for each in requests()],
        "results.json": of_results,
        "links.json": [_of_event(encoder, LINKS, each) for each in links()],
        "progress.json": [_of_event(encoder, PROGRESS, each) for each in steps()],
        "dead-letters.json": dead_letters(writer.write, of_results[0].value),
    }


def _of_result(encoder: EventEncoder, result: Result) -> Sample:
    """Return a result; the bytes of another version are those that a build with that schema writes."""
    event = result.event
    value, headers = encoder.encode(RESULTS, event)
    schema = newest_of("OnboardingFinished")
    if result.version is not None:
        schema = _schema("OnboardingFinished", result.version)
        record = {**finished_record(event, DEFINITIONS[event.origin.workflow]), **dict(result.newer)}
        value = _framed(schema, record)
    key = event.origin.key or event.origin.request_id.encode()
    return Sample(result.name, result.what, result.expected, RESULTS, key, value, headers, schema.schema_id)


def _of_event(encoder: EventEncoder, topic: str, event: Event) -> Sample:
    value, headers = encoder.encode(topic, event.event)
    schema = newest_of(RECORD_NAMES[type(event.event)])
    if event.version is not None and isinstance(event.event, Progressed):
        schema = _schema("OnboardingProgressed", event.version)
        value = _framed(schema, progressed_record(event.event))
    key = event.event.origin.key
    return Sample(event.name, event.what, event.expected, topic, key, value, headers, schema.schema_id)


def _of_request(writer: RequestWriter, request: Request) -> Sample:
    headers: Headers = ()
    if request.traceparent is not None:
        headers = ((TRACEPARENT_HEADER, request.traceparent.encode()),)
    schema, value = newest_of("OnboardingRequested"), writer.write(dict(request.record))
    if request.version is not None:
        schema = _schema("OnboardingRequested", request.version)
        value = _framed(schema, request.record)
    if request.framing == "header":
        headers = (*headers, ("__value_schema_id", HEADER_FRAME + bytes.fromhex(schema.guid.replace("-", ""))))
        value = value[PREFIX_BYTES:]
    return Sample(request.name, request.what, request.expected, REQUESTS, request.key, value, headers, schema.schema_id)


def _schema(record: str, version: int) -> KitSchema:
    return next(each for each in kit_schemas().values() if (each.record, each.version) == (record, version))


def _framed(schema: KitSchema, record: Mapping[str, Any]) -> bytes:
    """Return a record as a serializer with this schema frames it."""
    body = BytesIO()
    schemaless_writer(body, parse_schema(json.loads(schema.text)), dict(record))
    return struct.pack(">bI", 0, schema.schema_id) + body.getvalue()


def fields_of(sample: Sample) -> Mapping[str, Any] | None:
    """Return what a reader with the newest released schema sees, instants as RFC 3339; None where nobody can read."""
    if sample.schema_id is None or sample.value is None:
        return None
    written = kit_schemas()[sample.schema_id]
    has_prefix = not any(name == "__value_schema_id" for name, _ in sample.headers)
    payload = BytesIO(sample.value[PREFIX_BYTES if has_prefix else 0 :])
    reader = parse_schema(json.loads(newest_of(written.record).text))
    record = schemaless_reader(payload, parse_schema(json.loads(written.text)), reader)
    assert isinstance(record, dict), "every event is a record"
    return {name: _plain(value) for name, value in record.items()}


def _plain(value: object) -> object:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value


def files() -> Iterator[tuple[str, str]]:
    """Give each file of the kit but its README: path below the kit, text."""
    for name, of_file in samples().items():
        yield name, _json([_sample_json(sample) for sample in of_file])
    yield "stories.json", _json([_story_json(each) for each in stories()])
    yield "schemas.json", _json([_schema_json(each) for each in kit_schemas().values()])
    for each in kit_schemas().values():
        yield f"registry/schemas/ids/{each.schema_id}", _json({"schema": each.text})
        yield f"registry/schemas/guids/{each.guid}", _json({"schema": each.text})


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def _sample_json(sample: Sample) -> Mapping[str, Any]:
    return {
        "name": sample.name,
        "what": sample.what,
        "expected": sample.expected,
        "topic": sample.topic,
        "schemaId": sample.schema_id,
        "key": _base64(sample.key),
        "headers": [{"name": name, "value": _base64(value)} for name, value in sample.headers],
        "value": _base64(sample.value),
        "fields": fields_of(sample),
    }


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _story_json(story: Story) -> Mapping[str, Any]:
    return {
        "name": story.name,
        "what": story.what,
        "deliveries": [{"sample": each.sample, "isAborted": each.is_aborted} for each in story.deliveries],
        "actedOn": [{"requestId": request_id, "revision": revision} for request_id, revision in story.acted_on],
        "truth": story.truth,
    }


def _schema_json(schema: KitSchema) -> Mapping[str, Any]:
    return {
        "id": schema.schema_id,
        "guid": schema.guid,
        "record": schema.record,
        "version": schema.version,
        "isReleased": schema.version != NEWER,
        "schema": schema.text,
    }


def with_table(text: str) -> str:
    """Return the README with its table of samples as they are."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{_tables()}\n{END}{after}"


def _tables() -> str:
    lines: list[str] = []
    for name, of_file in samples().items():
        lines += [f"### `{name}`", "", "| sample | what it is | what a correct consumer does |", "|---|---|---|"]
        lines += [f"| `{sample.name}` | {sample.what} | {sample.expected} |" for sample in of_file]
        lines.append("")
    lines += [
        "### `stories.json`",
        "",
        "| story | what happens | acted on, once each | the truth at the end |",
        "|---|---|---|---|",
    ]
    for story in stories():
        acted = ", ".join(f"`{request_id}` revision {revision}" for request_id, revision in story.acted_on)
        truth = ", ".join(f"`{request_id}`: {outcome}" for request_id, outcome in story.truth.items())
        lines.append(f"| `{story.name}` | {story.what} | {acted} | {truth} |")
    return "\n".join([*lines, ""])


def renew(directory: Path = KIT) -> None:
    """Write every file of the kit."""
    shutil.rmtree(directory / "registry", ignore_errors=True)
    for name, text in files():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    readme = directory / "README.md"
    readme.write_text(with_table(readme.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    renew()
