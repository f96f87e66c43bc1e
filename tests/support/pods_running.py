"""The pods of a rendered chart as processes of this machine; Services are addresses that lead to them."""

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.support.chart import found
from tests.support.pods import Container, Object, containers, whole
from tests.support.ports import free_port
from tests.support.root import ROOT
from tests.support.waiting import wait_until
from tests.support.worker import Worker

SIMULATOR = "simulator"
COMPONENT = "app.kubernetes.io/component"
COMMAND_S = 120.0


class Pods:
    """Pods on ports of their own, whatever the chart says; no secret is known but those that the chart makes."""

    def __init__(self, objects: list[Object], folder: Path, group: int) -> None:
        self.workers: dict[str, Worker] = {}
        self.simulator_url = f"http://127.0.0.1:{free_port()}"
        self._objects = objects
        self._folder = folder
        self._group = group

    def start(self, *workloads: str) -> None:
        """Start the workloads, then the simulator that sends its webhooks to them."""
        for name in workloads:
            one = self._only(name)
            environ = self._environ(one, name)
            self.workers[name] = Worker(one.command(), environ, self._folder / f"{name}.log", self._group)
        self._start_simulator()
        for worker in self.workers.values():
            worker.start()

    def _start_simulator(self) -> None:
        one = self._only(SIMULATOR)
        (port,) = one.spec["ports"]
        moved = {f"--port={port['containerPort']}": f"--port={self.simulator_url.rpartition(':')[2]}"}
        command = [self._local(moved.get(word, word)) for word in one.command()]
        with (self._folder / "simulator.log").open("wb") as log:
            subprocess.Popen(
                command,
                cwd=ROOT,
                env=self._environ(one, SIMULATOR),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=self._group,
            )

    def wait_until(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait until something is so; raises AssertionError that says what was not, and what workers logged last."""
        wait_until(is_so, what, self.workers.values(), timeout_s=90)

    def simulator_answers(self) -> bool:
        """Whether the simulator's probe would succeed."""
        probe = self._only(SIMULATOR).spec["readinessProbe"]["httpGet"]
        try:
            return httpx.get(f"{self.simulator_url}{probe['path']}", timeout=2).is_success
        except httpx.HTTPError:
            return False

    def simulator(self, route: str) -> Any:  # noqa: ANN401  # whatever JSON it answers
        """Return what one of the simulator's own routes tells."""
        return httpx.get(f"{self.simulator_url}/_simulator/{route}", timeout=5).raise_for_status().json()

    def run(self, kind: str, suffix: str) -> None:
        """Run each container of a Job or a Pod to its end; raises AssertionError with what one said that failed."""
        item = found(self._objects, kind, suffix)
        for one in containers(self._objects, item):
            environ = self._environ(one, f"{suffix}-{one.spec['name']}")
            run([self._local(word) for word in one.command()], environ)

    def publish(self, line: str) -> None:
        """Publish a request with the settings of the first workload."""
        one = self._only(next(iter(self.workers)))
        environ = self._environ(one, next(iter(self.workers)))
        run([sys.executable, "-m", "processor", "publish", "-"], environ, line)

    def _environ(self, one: Container, name: str) -> dict[str, str]:
        variables = one.variables(self._folder / name, lambda file: f"nobody made {file}")
        return whole({variable: self._local(text) for variable, text in variables.items()})

    def _only(self, component: str) -> Container:
        """Return the one container of a workload."""
        (item,) = [each for each in self._workloads() if labels(each)[COMPONENT] == component]
        (one,) = containers(self._objects, item)
        return one

    def _workloads(self) -> list[Object]:
        return [item for item in self._objects if item["kind"] in {"Deployment", "StatefulSet"}]

    def _local(self, text: str) -> str:
        """Return a text with the addresses of Services replaced by those of this machine."""
        for item in self._objects:
            if item["kind"] == "Service":
                name, spec = f"{item['metadata']['name']}.{item['metadata']['namespace']}", item["spec"]
                for port in spec["ports"]:
                    address = f"{name}:{port['port']}"
                    if address in text:
                        text = text.replace(address, self._address(spec["selector"], port["targetPort"]))
        return text

    def _address(self, selector: dict[str, str], port: str) -> str:
        """Return where the one workload listens that a selector chooses, on the port of a name."""
        (item,) = [each for each in self._workloads() if selector.items() <= labels(each).items()]
        component = labels(item)[COMPONENT]
        assert port in {each["name"] for each in self._only(component).spec["ports"]}, f"{component} has no port {port}"
        if component == SIMULATOR:
            return self.simulator_url.removeprefix("http://")
        worker = self.workers[component]
        return f"127.0.0.1:{worker.webhook_port if port == 'webhook' else worker.ops_port}"


def labels(item: Object) -> dict[str, str]:
    """Return the labels of the pods that a workload makes."""
    found_labels: dict[str, str] = item["spec"]["template"]["metadata"]["labels"]
    return found_labels


def run(command: Sequence[str], environ: Mapping[str, str], stdin: str = "") -> None:
    """Run a command to its end; raises AssertionError with what it said when it failed."""
    done = subprocess.run(
        command, cwd=ROOT, env=environ, input=stdin, capture_output=True, text=True, timeout=COMMAND_S, check=False
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
