"""Pods of a rendered chart on this machine: what their containers are given, and the processes that they would be."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.chart import found

Object = dict[str, Any]
SecretText = Callable[[str], str]  # By the name of the file.

POD_NAME = "pod-0"


def containers(objects: list[Object], item: Object) -> "Iterator[Container]":
    """Give each container of the pod that an object is, or that it makes, in the order in which they begin."""
    pod = item["spec"] if item["kind"] == "Pod" else item["spec"]["template"]["spec"]
    for spec in (*pod.get("initContainers", ()), *pod["containers"]):
        yield Container(objects, pod, spec)


@dataclass(frozen=True, slots=True)
class Container:
    """A container of our image: its specification, that of its pod, and all objects beside it."""

    objects: list[Object]
    pod: Object
    spec: Object

    def command(self) -> list[str]:
        """Return its command line; `processor` and `python` of the image are those of this test."""
        arguments = list(map(str, self.spec.get("args", ())))
        if "command" not in self.spec:
            return [sys.executable, "-m", "processor", *arguments]
        program, *more = self.spec["command"]
        assert program == "python", "our image has no other program, and no shell"
        return [sys.executable, *more, *arguments]

    def variables(self, folder: Path, secret_text: SecretText) -> dict[str, str]:
        """Return its variables; its volumes are laid out under `folder`, and paths lead there.

        A Secret that the chart does not make holds `secret_text`.
        """
        variables: dict[str, str] = {}
        for source in self.spec.get("envFrom", ()):
            variables |= found(self.objects, "ConfigMap", source["configMapRef"]["name"])["data"]
        for variable in self.spec.get("env", ()):
            variables[variable["name"]] = variable.get("value", POD_NAME)
        volumes = {volume["name"]: volume for volume in self.pod["volumes"]}
        mounts = {mount["mountPath"]: mount["name"] for mount in self.spec["volumeMounts"]}
        for path, volume in mounts.items():
            place = folder / path.lstrip("/")
            place.mkdir(parents=True, exist_ok=True)
            # A volume that is not among the pod's is the claim of a StatefulSet.
            for name, text in self._files(volumes.get(volume, {}), secret_text):
                (place / name).write_text(text, encoding="utf-8")
        return {
            name: f"{folder}{value}" if value.startswith(tuple(mounts)) else value for name, value in variables.items()
        }

    def _files(self, volume: Object, secret_text: SecretText) -> Iterator[tuple[str, str]]:
        """Give name and text of each file in a volume."""
        if "configMap" in volume:
            yield from found(self.objects, "ConfigMap", volume["configMap"]["name"])["data"].items()
        made = {item["metadata"]["name"]: item["stringData"] for item in self.objects if item["kind"] == "Secret"}
        for source in volume.get("projected", {}).get("sources", []):
            own = made.get(source["secret"]["name"])
            for item in source["secret"]["items"]:
                yield item["path"], secret_text(item["path"]) if own is None else own[item["key"]]


def whole(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment of a process that is given these variables."""
    return {"PATH": os.environ["PATH"], **variables}
