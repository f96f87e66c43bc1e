"""The field tables of docs/events.md, made from the schemas, with examples out of the consumer kit.

`python -m tests.adapters.events_document` renews them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from processor.adapters.schema_files import PUBLIC_RECORDS, public_schema
from tests.contracts.kit.maker import fields_of, samples
from tests.contracts.kit.sample import kit_schemas

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "events.md"
BEGIN, END = "<!-- fields: begin -->\n", "<!-- fields: end -->\n"
EXAMPLE_CHARS_MAX = 60


def with_tables(text: str) -> str:
    """Return the document with its field tables as the schemas say them."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    tables = (
        table
        for record in PUBLIC_RECORDS
        for table in tables_of(json.loads(public_schema(record)), "###", samples_of(record))
    )
    return f"{before}{BEGIN}\n{''.join(tables)}{END}{after}"


def samples_of(record: str) -> Sequence[Mapping[str, Any]]:
    """Return the values of the kit that are of a record, as a reader sees them."""
    return [
        fields
        for of_file in samples().values()
        for sample in of_file
        if sample.schema_id is not None and kit_schemas()[sample.schema_id].record == record
        if (fields := fields_of(sample)) is not None
    ]


def tables_of(record: Mapping[str, Any], level: str, values: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Give one table for a record, and one for each record that is described inside it; `values` are samples of it."""
    rows = [
        f"{level} `{record['name']}`\n",
        record["doc"] + "\n",
        "| field | type | personal | meaning | example |\n|---|---|---|---|---|",
    ]
    for field in record["fields"]:
        personal = "yes" if "PII" in field.get("confluent:tags", ()) else ""
        example = example_of([value[field["name"]] for value in values])
        rows.append(f"| `{field['name']}` | {kind(field['type'])} | {personal} | {field['doc']} | {example} |")
    yield "\n".join(rows) + "\n\n"
    for field in record["fields"]:
        for inner in records_in(field["type"]):
            inside = [each for value in values for each in values_of(value[field["name"]], inner)]
            yield from tables_of(inner, "####", inside)


def example_of(values: Sequence[object]) -> str:
    """Return the first value that is there as it would be written, cut where it is long; empty without any."""
    for value in values:
        if value not in (None, {}, [], ""):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            short = text if len(text) <= EXAMPLE_CHARS_MAX else f"{text[:EXAMPLE_CHARS_MAX]}…"
            return f"`{short.replace('|', chr(92) + '|')}`"
    return ""


def values_of(value: object, record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Give what of a field's value is of a record that is described in its type."""
    names = {field["name"] for field in record["fields"]}
    if isinstance(value, Mapping) and value.keys() == names:
        yield value
    elif isinstance(value, Mapping):
        for member in value.values():
            yield from values_of(member, record)
    elif isinstance(value, list):
        for member in value:
            yield from values_of(member, record)


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
