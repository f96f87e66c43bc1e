"""The public events as upstream writes and downstream reads them: with the schemas, and nothing else of ours."""

import json
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
from fastavro import parse_schema, schemaless_reader, schemaless_writer

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
FRAME = b"\x00"
FRAME_BYTES = 5  # A zero and the schema's id, big-endian.


def schema_text(name: str) -> str:
    """Return the schema of a public event as it stands in its file."""
    return (SCHEMAS / f"{name}.avsc").read_text(encoding="utf-8")


@cache
def _schema(name: str) -> Any:  # noqa: ANN401  # what fastavro makes of it
    return parse_schema(json.loads(schema_text(name)))


def encoded(name: str, record: dict[str, Any], schema_id: int) -> bytes:
    """Return an event as a registry's serializer frames it."""
    body = BytesIO()
    schemaless_writer(body, _schema(name), record)
    return FRAME + schema_id.to_bytes(4, "big") + body.getvalue()


def decoded(name: str, value: bytes) -> dict[str, Any]:
    """Return an event's record; instants are aware datetimes. Raises ValueError when it is not framed."""
    if len(value) < FRAME_BYTES or value[:1] != FRAME:
        raise ValueError("the value does not begin with a schema's id")
    record = schemaless_reader(BytesIO(value[FRAME_BYTES:]), _schema(name), None)
    assert isinstance(record, dict), "every event is a record"
    return record


def register(registry_url: str, topic: str, name: str) -> int:
    """Register the schema of a topic's values and return its id."""
    body = {"schemaType": "AVRO", "schema": schema_text(name)}
    answer = httpx.post(f"{registry_url}/subjects/{topic}-value/versions", json=body, timeout=10)
    answer.raise_for_status()
    return int(answer.json()["id"])
