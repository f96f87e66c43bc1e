"""The field tables of docs/events.md, made from the schemas: `python -m tests.adapters.events_document` renews them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from processor.adapters.schema_files import PUBLIC_RECORDS, public_schema

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "events.md"
BEGIN, END = "<!-- fields: begin -->\n", "<!-- fields: end -->\n"


def with_tables(text: str) -> str:
    """Return the document with its field tables as the schemas say them."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    tables = (table for record in PUBLIC_RECORDS for table in tables_of(json.loads(public_schema(record)), "###"))
    return f"{before}{BEGIN}\n{''.join(tables)}{END}{after}"


def tables_of(record: Mapping[str, Any], level: str) -> Iterator[str]:
    """Give one table for a record, and one for each record that is described inside it."""
    rows = [
        f"{level} `{record['name']}`\n",
        record["doc"] + "\n",
        "| field | type | personal | meaning |\n|---|---|---|---|",
    ]
    for field in record["fields"]:
        personal = "yes" if "PII" in field.get("confluent:tags", ()) else ""
        rows.append(f"| `{field['name']}` | {kind(field['type'])} | {personal} | {field['doc']} |")
    yield "\n".join(rows) + "\n\n"
    for field in record["fields"]:
        for inner in records_in(field["type"]):
            yield from tables_of(inner, "####")


def records_in(schema: Any) -> Iterator[Mapping[str, Any]]:  # noqa: ANN401  # JSON
    """Give the records that are described in a field's type."""
    if isinstance(schema, list):
        for branch in schema:
            yield from records_in(branch)
    elif isinstance(schema, dict):
        if schema["type"] == "record":
            yield schema
        for key in ("items", "values"):
            yield from records_in(schema.get(key, []))


def kind(schema: Any) -> str:  # noqa: ANN401  # JSON
    """Say a type in words."""
    if isinstance(schema, list):
        is_optional = schema[0] == "null" and len(schema) == 2
        return f"{kind(schema[1])}, optional" if is_optional else " or ".join(map(kind, schema))
    if isinstance(schema, str):
        return f"`{schema}`" if schema[0].isupper() else schema
    words = {
        "record": lambda: f"`{schema['name']}`",
        "enum": lambda: " ".join(f"`{symbol}`" for symbol in schema["symbols"]),
        "array": lambda: f"list of {kind(schema['items'])}",
        "map": lambda: f"map of {kind(schema['values'])}",
    }
    plain = str(schema.get("logicalType", schema["type"]))
    return words.get(schema["type"], lambda: plain)()


if __name__ == "__main__":
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
