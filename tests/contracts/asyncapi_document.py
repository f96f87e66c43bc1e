"""The examples of asyncapi.yaml, out of the consumer kit: `python -m tests.contracts.asyncapi_document` renews them."""

import json
import re
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import yaml
from fastavro import parse_schema, schemaless_reader

from processor.adapters.avro import PREFIX_BYTES
from processor.adapters.schema_files import without_logical_types
from tests.contracts.kit.maker import samples
from tests.contracts.kit.sample import Sample, kit_schemas

DOCUMENT = Path(__file__).resolve().parents[2] / "asyncapi.yaml"
SHOWN = {
    "OnboardingRequested": ("request-person", "request-bare", "request-link-again"),
    "OnboardingFinished": ("completed-by-webhook", "expired-before-end", "amended-to-completed"),
    "OnboardingLinkIssued": ("link", "link-again"),
    "OnboardingProgressed": ("started", "link-refused"),
    "DeadLetter": ("dead-bad-json",),
}
_INDENT = " " * 6
_BLOCK = re.compile(r"^ {6}# examples of (\w+): begin\n.*?^ {6}# examples: end\n", re.MULTILINE | re.DOTALL)


def with_examples(text: str) -> str:
    """Return the document with the examples of each message as the kit has them."""
    by_name = {sample.name: sample for of_file in samples().values() for sample in of_file}

    def block(found: re.Match[str]) -> str:
        examples = {"examples": [_example(by_name[name]) for name in SHOWN[found[1]]]}
        lines = yaml.safe_dump(examples, sort_keys=False, allow_unicode=True, width=110).splitlines()
        inside = "".join(f"{_INDENT}{line}\n" for line in lines)
        return f"{_INDENT}# examples of {found[1]}: begin\n{inside}{_INDENT}# examples: end\n"

    return _BLOCK.sub(block, text)


def _example(sample: Sample) -> Mapping[str, Any]:
    """Return a sample as a message example: headers as text, of the payload what is there, instants as they are."""
    example: dict[str, Any] = {"name": sample.name, "summary": sample.what}
    if sample.headers:
        example["headers"] = {name: value.decode() for name, value in sample.headers}
    if sample.schema_id is not None and sample.value is not None:
        schema = parse_schema(without_logical_types(json.loads(kit_schemas()[sample.schema_id].text)))
        record = schemaless_reader(BytesIO(sample.value[PREFIX_BYTES:]), schema, None)
        assert isinstance(record, dict), "every event is a record"
        example["payload"] = {name: value for name, value in record.items() if value not in (None, {}, [])}
    return example


if __name__ == "__main__":
    DOCUMENT.write_text(with_examples(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
