"""The chart as both Helms render it for each file of values in helm/ci, and what the schemas say of every object.

An object that no schema covers is a problem of its own: `kubernetes-validate` only warns about it, and exits with 0.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import yaml
from kubernetes_validate.utils import all_versions, major_minor, schema_contents
from referencing import Registry, Resource

from tests.support.chart import CHART, Values, chart
from tests.support.root import ROOT
from tests.support.servers import cannot_run

CI_FILES = tuple(sorted((CHART / "ci").glob("*-values.yaml")))
CI_NAMES = tuple(path.name.removesuffix("-values.yaml") for path in CI_FILES)
OBJECT_META = "https://kubernetes.io/api/_definitions.json#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
CRDS = ROOT.parent / "shared" / "crds"
NEWEST = tuple(dict.fromkeys(map(major_minor, all_versions())))[-4:]
KUBERNETES_VERSIONS = (chart().metadata["kubeVersion"].removeprefix(">=").removesuffix(".0-0"), *NEWEST)
RELEASE, NAMESPACE = "onboarding", "identity"
HELM_3 = "v3."
HUNG_S = 300  # No test of speed: a command that still runs then never ends.

Object = dict[str, Any]


def values_of(name: str) -> Values:
    """Return the values of a file in helm/ci."""
    values: Values = yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text(encoding="utf-8"))
    return values


@cache
def helm_4_text(name: str, release: str = RELEASE) -> str:
    """Return what Helm 4 makes of a file of values, notes left out."""
    files = chart().render(dict(values_of(name)), name=release, namespace=NAMESPACE)
    return "\n---\n".join(text for file, text in files.items() if not file.endswith("NOTES.txt"))


@cache
def helm_3() -> str:
    """Return the command of Helm 3; skips where there is none, and fails there in CI."""
    for folder in (Path(sys.executable).parent, *map(Path, os.environ["PATH"].split(os.pathsep))):
        command = shutil.which("helm", path=str(folder))
        if command is not None and output([command, "version", "--short"]).startswith(HELM_3):
            return command
    return cannot_run("Helm 3 is missing: the package helm-binary brings it on Linux x86-64, elsewhere install helm 3")


@cache
def helm_3_text(name: str) -> str:
    """Return what Helm 3 makes of a file of values, notes left out."""
    file = str(CHART / "ci" / f"{name}-values.yaml")
    return output([helm_3(), "template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--values", file])


def output(command: Sequence[str]) -> str:
    """Return the standard output of a command; its errors are told when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=HUNG_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def objects_in(text: str) -> list[Object]:
    """Return the objects of a rendered text."""
    return [item for item in yaml.load_all(text, yaml.CSafeLoader) if item is not None]  # safe, and fast


def objects_of(name: str, release: str = RELEASE) -> list[Object]:
    """Return the objects that Helm 4 makes of a file of values; they may be changed."""
    objects: list[Object] = json.loads(objects_as_json(name, release))
    return objects


@cache
def objects_as_json(name: str, release: str) -> str:
    """Return the same as JSON, which is read in a tenth of the time."""
    return json.dumps(objects_in(helm_4_text(name, release)))


def title(item: Mapping[str, Any]) -> str:
    """Return what an object is called in a report."""
    return f"{item['kind']}/{item['metadata']['name']}"


def problems(item: Object, version: str) -> Iterator[str]:
    """Give what is wrong with an object for a version of Kubernetes."""
    try:
        for error in validator_of(item["apiVersion"], item["kind"], version).iter_errors(item):
            yield f"{title(item)} in {version}: {'.'.join(map(str, error.absolute_path))}: {error.message[:300]}"
    except LookupError:
        yield f"{title(item)}: no schema covers {item['apiVersion']} {item['kind']}"


@cache
def validator_of(api_version: str, kind: str, version: str) -> jsonschema.Draft202012Validator:
    """Return what judges a kind of object; raises LookupError where no schema covers it."""
    group, _, short = api_version.rpartition("/")
    try:  # Files are named by the kind, the first word of the group, and the version.
        is_builtin = "." not in group or group.endswith(".k8s.io")
        name = "-".join(filter(None, [kind.lower(), group.partition(".")[0] if is_builtin else group, short]))
        schema = strict_schema(name, version)
    except FileNotFoundError:
        schema = custom_schema(api_version, kind)
    return jsonschema.Draft202012Validator(schema, registry=definitions(version))


@cache
def definitions(version: str) -> Registry[Any]:
    """Return the types that a version's schemas refer to."""
    return Resource.from_contents(strict_schema("_definitions", version)) @ Registry()


def strict_schema(name: str, version: str) -> dict[str, Any]:
    """Return a schema of kubernetes-validate; raises FileNotFoundError."""
    schema: dict[str, Any] = schema_contents(f"kubernetes-json-schema/v{version}.0-local-strict/{name}.json", version)
    return schema


def custom_schema(api_version: str, kind: str) -> dict[str, Any]:
    """Return the schema of a custom resource, its metadata and its outermost keys as strict as the rest.

    Raises LookupError where there is none; skips where the folder of such schemas is not there.
    """
    if not CRDS.is_dir():
        cannot_run("custom resources are not validated: their schemas are not beside this clone, in ../shared/crds")
    group, _, version = api_version.partition("/")
    file = CRDS / group / f"{kind.lower()}_{version}.json"
    if not file.is_file():
        raise LookupError(file.name)
    schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    own = {"metadata": {"$ref": OBJECT_META}, "apiVersion": {"const": api_version}, "kind": {"const": kind}}
    return schema | {"additionalProperties": False, "properties": schema["properties"] | own}
