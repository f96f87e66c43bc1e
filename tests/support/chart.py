"""The chart as the real Helm renders it, in process and without a cluster."""

import json
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
import yaml
from helm_python import Chart, HelmError

from tests.support.root import ROOT

CHART = ROOT / "helm"

Values = Mapping[str, Any]

ENOUGH: Values = {
    "settings": {
        "kafka": {"bootstrap_servers": "kafka-0:9092"},
        "schema_registry": {"url": "https://registry:8081"},
        "api": {"base_url": "https://api.example.test"},
    },
    "secrets": {"api": {"existingSecret": "provider"}},
    "workflows": {"catalogue": (ROOT / "workflows.example.yaml").read_text(encoding="utf-8")},
}
# Put on top of ENOUGH: the simulator instead of a provider.
NO_PROVIDER: Values = {
    "simulator": {"enabled": True},
    "settings": {"api": {"base_url": ""}},
    "secrets": {"api": {"existingSecret": ""}},
}


@cache
def chart() -> Chart:
    return Chart.load(CHART)


def merged(base: Values, over: Values) -> dict[str, Any]:
    """Return `base` with `over` on top, mapping by mapping."""
    both = {
        name: merged(base[name], over[name])
        for name in base.keys() & over.keys()
        if isinstance(base[name], Mapping) and isinstance(over[name], Mapping)
    }
    return {**base, **over, **both}


def rendered(**values: Any) -> list[dict[str, Any]]:  # noqa: ANN401  # as in values.yaml
    """Return every object that an installation with enough values and these makes."""
    return deepcopy(objects_of(json.dumps(merged(ENOUGH, values))))


@cache
def objects_of(values: str) -> list[dict[str, Any]]:
    files = chart().render(json.loads(values), name="onboarding", namespace="identity")
    return [
        document
        for file, text in files.items()
        if not file.endswith("NOTES.txt")
        for document in yaml.load_all(text, yaml.CSafeLoader)  # safe, and fast
        if document is not None
    ]


def found(objects: list[dict[str, Any]], kind: str, suffix: str = "") -> dict[str, Any]:
    """Return the one object of a kind whose name ends so."""
    [one] = [item for item in objects if item["kind"] == kind and item["metadata"]["name"].endswith(suffix)]
    return one


def pod(objects: list[dict[str, Any]], role: str) -> dict[str, Any]:
    """Return the pod's specification of a role."""
    spec: dict[str, Any] = found(objects, "Deployment", role)["spec"]["template"]["spec"]
    return spec


def container(objects: list[dict[str, Any]], role: str) -> dict[str, Any]:
    [one] = pod(objects, role)["containers"]
    assert isinstance(one, dict)
    return one


def refused(**values: Any) -> str:  # noqa: ANN401  # as in values.yaml
    """Return what Helm says of values that it does not take."""
    with pytest.raises(HelmError) as caught:
        rendered(**values)
    return str(caught.value)
