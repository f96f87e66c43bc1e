"""The chart's values: the same settings, defaults and words as in the program, its schema and its README.

`python -m tests.test_chart_values` writes the settings, and those of the simulator, into helm/values.schema.json,
the table into helm/README.md and the changes into helm/Chart.yaml anew.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from helm_python import HelmError
from pydantic import BaseModel

from processor.settings import ApiSettings, Settings
from processor.settings_loading import all_settings
from processor.simulator.settings import options
from tests.support.chart import CHART, ENOUGH, NO_PROVIDER, Values, chart, merged
from tests.support.root import ROOT

README = CHART / "README.md"
SCHEMA = CHART / "values.schema.json"
VALUES = CHART / "values.yaml"
ABOUT = CHART / "Chart.yaml"
CHANGES = "  artifacthub.io/changes: |\n"
PROFILE_NAME = "^[a-z0-9]+(-[a-z0-9]+)*$"
# Set by the chart itself, or different in each pod and so no value of all of them.
NOT_IN_VALUES = {("state", "directory"), ("workflows", "file"), ("kafka", "instance_name")}
# Of the simulator's: who it is, where it sends webhooks, and files of this machine.
NOT_FOR_THE_SIMULATOR = {
    "key",
    "secret",
    "organisation_tokens",
    "signing_key",
    "webhook_urls",
    "ledger_file",
    "replay_file",
}


def test_values_are_the_defaults_of_the_program() -> None:
    """A setting that values.yaml lists has there the default that it has without a chart."""
    defaults = Settings().model_dump()
    listed = flat(chart().values["settings"])
    assert {path: defaults[path[0]] if len(path) == 1 else defaults[path[0]][path[1]] for path in listed} == listed


def flat(values: Values) -> dict[tuple[str, ...], Any]:
    """Return each value under its path."""
    below = {name: flat(value) if isinstance(value, Mapping) else {(): value} for name, value in values.items()}
    return {(name, *rest): value for name, inner in below.items() for rest, value in inner.items()}


def settings_schema(section: type[BaseModel], listed: Values, path: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the JSON Schema of a section of the settings as values, without what is not in values."""
    own = section.model_json_schema()["properties"]
    secret = {setting.path for setting in all_settings() if setting.is_secret}
    properties: dict[str, Any] = {}
    for name, info in section.model_fields.items():
        inner = info.annotation
        if (*path, name) == ("providers",):
            properties[name] = profiles_schema()
        elif isinstance(inner, type) and issubclass(inner, BaseModel):
            if below := settings_schema(inner, listed.get(name, {}), (*path, name)):
                properties[name] = below
        elif (*path, name) not in secret | NOT_IN_VALUES:
            properties[name] = value_schema(name, own[name])
    if not properties:
        return {}
    required = {"required": sorted(listed)} if listed else {}
    return {"type": "object", "additionalProperties": False, **required, "properties": properties}


def profiles_schema() -> dict[str, Any]:
    """Return the schema of further profiles of the provider: each may have what `api` may have."""
    profile = settings_schema(ApiSettings, {}, ("api",))
    return {"type": "object", "propertyNames": {"pattern": PROFILE_NAME}, "additionalProperties": profile}


def value_schema(name: str, schema: Values) -> dict[str, Any]:
    """Return the schema of one setting as a value: without what draft-07 lacks, and a port that a Service can name."""
    kept = {word: value for word, value in schema.items() if word not in {"title", "default", "format"}}
    if name == "port":
        return kept | {"minimum": 1}
    if kept.get("type") == "object":
        return kept | {"additionalProperties": {"type": ["string", "number", "boolean"]}}
    return kept


def test_the_schema_knows_every_setting() -> None:
    """Each setting but secrets and the chart's own may be a value, and nothing else: add one in the code only."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert schema["properties"]["settings"] == settings_schema(Settings, chart().values["settings"])
    offered = {
        (section, setting)
        for section, inner in schema["properties"]["secrets"]["properties"].items()
        for setting in inner["properties"]["keys"]["properties"]
    }
    paths = {setting.path: setting for setting in all_settings()}
    assert offered <= paths.keys()
    named = {path for path, setting in paths.items() if setting.is_secret and "credentials" not in path}
    assert named <= offered  # The others go into `moreSecrets`.


def simulator_names() -> dict[str, Any]:
    """Return the schema of the names that settings of the simulator may have as values."""
    return {"enum": sorted({option.name for option in options()} - NOT_FOR_THE_SIMULATOR)}


def test_the_schema_knows_every_setting_of_the_simulator() -> None:
    """One that is misspelt stops the installation, not the simulator's pod."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert schema["properties"]["simulator"]["properties"]["settings"]["propertyNames"] == simulator_names()
    with pytest.raises(HelmError, match="invalid propertyName 'webhok_lost_rate'"):
        chart().render(merged(merged(ENOUGH, NO_PROVIDER), {"simulator": {"settings": {"webhok_lost_rate": 1}}}))


def test_the_schema_is_draft_07() -> None:
    """Helm 3 reads no newer one."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    jsonschema.Draft7Validator.check_schema(schema)


def comments() -> dict[str, str]:
    """Return what values.yaml says right above each key, by the key's dotted path."""
    said: dict[str, str] = {}
    parents: list[str] = []
    comment: list[str] = []
    for line in VALUES.read_text(encoding="utf-8").splitlines():
        if match := re.match(r" *# (.*)", line):
            comment.append(match[1])
            continue
        if match := re.match(r"( *)(\w+):", line):
            parents[len(match[1]) // 2 :] = [match[2]]
            said[".".join(parents)] = " ".join(comment)
        comment = []
    return said


def leaves(values: Values, schema: Values, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Give dotted path and default of each value; what the schema leaves open counts as one."""
    for name, value in values.items():
        inner = schema["properties"][name]
        if "properties" in inner:
            yield from leaves(value, inner, (*path, name))
        else:
            yield ".".join((*path, name)), value


def documented() -> Iterator[tuple[str, Any, str]]:
    """Give path, default and comment of each value, in the order of values.yaml."""
    said = comments()
    values = yaml.safe_load(VALUES.read_text(encoding="utf-8"))
    for path, value in leaves(values, json.loads(SCHEMA.read_text(encoding="utf-8"))):
        yield path, value, said[path]


def values_table() -> str:
    """Return the table of values for the README."""
    rows = [f"| `{path}` | `{json.dumps(value)}` | {said} |" for path, value, said in documented()]
    return "\n".join(["| value | default | meaning |", "|---|---|---|", *rows])


def test_every_value_has_a_comment_that_begins_with_its_name() -> None:
    """Whoever searches a name finds what it means."""
    wrong = [path for path, _, said in documented() if said.split(" ")[0] != path.rpartition(".")[2]]
    assert wrong == []


def test_the_readme_lists_every_value() -> None:
    """The table is the one that values.yaml makes: `python -m tests.test_chart`."""
    assert values_table() in README.read_text(encoding="utf-8")


def changes() -> Iterator[dict[str, str]]:
    """Give kind and description of each entry about the chart that the change log has for the chart's version."""
    version = chart().metadata["version"]
    parts = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## ")
    (part,) = [each for each in parts if each.startswith(f"[{version}]") or f"\nTo become {version}.\n" in each]
    for section in part.split("\n### ")[1:]:
        kind, _, entries = section.partition("\n")
        for entry in entries.split("\n- ")[1:]:
            words = " ".join(entry.split())
            if words.startswith("**Chart: "):
                text = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", words.removeprefix("**Chart: ").replace("**", ""))
                yield {"kind": kind.strip().lower(), "description": text[:1].upper() + text[1:]}


def changes_text() -> str:
    """Return the changes as Artifact Hub reads them, indented as an annotation."""
    lines = [
        f"    - kind: {each['kind']}\n      description: {json.dumps(each['description'], ensure_ascii=False)}\n"
        for each in changes()
    ]
    return "".join(lines)


def test_what_is_new_in_the_chart_moves_with_its_version() -> None:
    """The changes that Artifact Hub shows are those of the change log for this version, and no older ones."""
    annotations = yaml.safe_load(ABOUT.read_text(encoding="utf-8"))["annotations"]
    told = yaml.safe_load(annotations["artifacthub.io/changes"])
    assert told == list(changes())
    assert {each["kind"] for each in told} <= {"added", "changed", "deprecated", "removed", "fixed", "security"}


def test_artifact_hub_is_told_the_image_of_this_version() -> None:
    """Scanners look at the image that the default values run."""
    annotations = chart().metadata["annotations"]
    (image,) = yaml.safe_load(annotations["artifacthub.io/images"])
    assert image["image"] == f"{chart().values['image']['repository']}:{chart().metadata['appVersion']}"
    assert annotations["artifacthub.io/license"] == "Apache-2.0"
    assert all(each["url"].startswith("https://") for each in yaml.safe_load(annotations["artifacthub.io/links"]))


EXAMPLES = [
    yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
]


@pytest.mark.parametrize("values", EXAMPLES, ids=[", ".join(values) for values in EXAMPLES])
def test_the_examples_of_the_readme_are_taken(values: Values) -> None:
    """Each is good beside the five values without a default, and one with a simulator beside none of the provider."""
    base = merged(NO_PROVIDER, {"workflows": ENOUGH["workflows"]}) if "simulator" in values else ENOUGH
    assert chart().render(merged(base, values), name="onboarding")


def write() -> None:
    """Write what is made from the code and from values.yaml."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    schema["properties"]["settings"] = settings_schema(Settings, chart().values["settings"])
    schema["properties"]["simulator"]["properties"]["settings"]["propertyNames"] = simulator_names()
    SCHEMA.write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")
    before, _, rest = README.read_text(encoding="utf-8").partition("| value | default | meaning |\n")
    after = re.sub(r"\A(\|.*\n)*", "", rest)
    README.write_text(f"{before}{values_table()}\n{after}", encoding="utf-8")
    before, _, rest = ABOUT.read_text(encoding="utf-8").partition(CHANGES)
    after = re.sub(r"\A(    .*\n)*", "", rest)
    ABOUT.write_text(f"{before}{CHANGES}{changes_text()}{after}", encoding="utf-8")


if __name__ == "__main__":
    write()
