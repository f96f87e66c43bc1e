"""Staging in a box: the provider is played beside the processor, and what the chart renders answers a request."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from processor.simulator.settings import SimulatorSettings, options
from tests.support.chart import NO_PROVIDER, Values, found, merged, refused, rendered
from tests.support.events import decoded
from tests.support.onboarding import catalogue
from tests.support.pods import Object, containers
from tests.support.pods_running import Pods
from tests.support.reading import Follower
from tests.support.topics import delete_topics, topics_named
from tests.support.worker import watchdog
from tests.test_chart_values import NOT_FOR_THE_SIMULATOR

WORKLOADS = {"roles": ("submitter", "ingestor", "reconciler"), "all": ("all",)}
FAULTS = {"seed": 7, "completion_ms": "200..300", "webhook_doubled_rate": 1}
NO_COMMAND: Values = {"enabled": False}
TOPICS = ("requests", "results", "links", "progress", "dead_letters")


def staged(
    layout: str, prefix: str, bootstrap_servers: str, registry_url: str, command: Values = NO_COMMAND
) -> list[Object]:
    """Return the objects of a staging installation of its own on a cluster of one broker."""
    given: Values = {
        "layout": layout,
        "settings": {
            "application_id": prefix.rstrip("."),
            "kafka": {"bootstrap_servers": bootstrap_servers},
            "schema_registry": {"url": registry_url},
            "topics": {
                **{name: f"{prefix}{name}" for name in TOPICS},
                "partitions": 3,
                "replication_factor": 1,
                "min_insync_replicas": 1,
            },
        },
        "workflows": {"catalogue": catalogue()},
        "simulator": {"settings": FAULTS},
        "setupJob": {"enabled": True},
        "command": command,
        "all": {"persistence": {"enabled": layout == "all"}},
    }
    return rendered(**merged(NO_PROVIDER, given))


@contextmanager
def running(objects: list[Object], folder: Path, *workloads: str) -> Iterator[Pods]:
    """Give the pods, their topics and schemas made by the chart's Job; nothing outlives the block but topics."""
    with watchdog() as group:
        pods = Pods(objects, folder, group)
        pods.run("Job", "setup")
        pods.start(*workloads)
        try:
            pods.wait_until(pods.simulator_answers, "the simulator answers")
            for name, worker in pods.workers.items():
                pods.wait_until(worker.is_ready, f"{name} ready")
            yield pods
        finally:
            for worker in pods.workers.values():
                worker.kill()


@pytest.mark.broker
@pytest.mark.registry
@pytest.mark.timeout(360)
@pytest.mark.parametrize("layout", WORKLOADS)
def test_a_request_becomes_a_result(
    layout: str, tmp_path: Path, topic_prefix: str, bootstrap_servers: str, registry_url: str
) -> None:
    """Commands, variables and files of the manifests are enough, from the Job before the pods to the test after."""
    objects = staged(layout, topic_prefix, bootstrap_servers, registry_url)
    with running(objects, tmp_path, *WORKLOADS[layout]) as pods:
        pods.publish(json.dumps({"requestId": "staging-1", "workflow": "person-check"}))
        with Follower(bootstrap_servers, f"{topic_prefix}results") as results:
            pods.wait_until(lambda: bool(results.read_to_end()), "a result")
            (record,) = results.records
        # Each is sent twice: the setting has arrived, and so have both webhooks.
        pods.wait_until(lambda: pods.simulator("counters")["webhooks"].get("delivered") == 2, "two webhooks taken")
        pods.run("Pod", "test")
        codes = [worker.terminate() for worker in pods.workers.values()]
        with pytest.raises(AssertionError, match="Connection refused"):
            pods.run("Pod", "test")
    result = decoded("OnboardingFinished", record.value or b"")
    assert (result["requestId"], result["outcome"]) == ("staging-1", "COMPLETED")
    assert set(codes) == {0}
    delete_topics(bootstrap_servers, topics_named(bootstrap_servers, topic_prefix))


def arguments(**settings: Any) -> list[str]:  # noqa: ANN401  # as in values.yaml
    """Return what the simulator is started with."""
    objects = rendered(**merged(NO_PROVIDER, {"simulator": {"settings": settings}}))
    (one,) = containers(objects, found(objects, "Deployment", "simulator"))
    words: list[str] = one.spec["args"]
    return words


def test_without_it_nothing_of_a_simulator_is_there() -> None:
    """By default the chart makes none, and makes no Secret."""
    assert [item for item in rendered() if "simulator" in str(item) or item["kind"] == "Secret"] == []


def test_the_simulators_settings_are_values() -> None:
    """Texts, numbers, flags and lists arrive as `processor simulate --set` reads them."""
    words = arguments(completion_ms="200..900", runs_max=1000000, keys_down=True, definitions=["a", "b"], token_s=0.5)
    assert [word for word in words if word.startswith("--set=")] == [
        "--set=completion_ms=200..900",
        "--set=definitions=a,b",
        "--set=keys_down=true",
        "--set=runs_max=1000000",
        "--set=token_s=0.5",
    ]


def test_every_setting_of_the_simulator_may_be_a_value_but_those_of_the_chart() -> None:
    """Who it is, where it sends webhooks and what is a file of this machine is no value."""
    names = {option.name for option in options()}
    assert names >= NOT_FOR_THE_SIMULATOR
    for name in sorted(NOT_FOR_THE_SIMULATOR):
        assert f"'{name}'" in refused(**merged(NO_PROVIDER, {"simulator": {"settings": {name: "a"}}}))
    assert arguments(**dict.fromkeys(sorted(names - NOT_FOR_THE_SIMULATOR), "1"))


def test_the_simulators_credentials_are_those_that_everybody_knows() -> None:
    """They are no secret: the program's own defaults, in a Secret since workloads read one, and only with it."""
    known = SimulatorSettings()
    secret = found(rendered(**NO_PROVIDER), "Secret", "simulator")
    assert secret["stringData"] == {"key": known.key, "secret": known.secret}


@pytest.mark.parametrize(
    "values,named",
    [
        ({"settings": {"api": {"base_url": "https://api.example.test"}}}, "settings.api.base_url"),
        ({"secrets": {"api": {"existingSecret": "provider"}}}, "secrets.api.existingSecret"),
        ({"settings": {"webhook": {"key_base_url": "https://keys.example"}}}, "settings.webhook.key_base_url"),
        (
            {
                "externalSecrets": {
                    "enabled": True,
                    "secretStoreRef": {"name": "vault"},
                    "remoteRefs": {"api": {"token": {"key": "a"}}},
                }
            },
            "externalSecrets.remoteRefs.api",
        ),
        ({"settings": {"api": {"proxy_url": "http://proxy:3128"}}}, "settings.api.proxy_url"),
    ],
)
def test_a_provider_and_its_simulator_are_not_both_there(values: Values, named: str) -> None:
    """Nobody plays at a real provider, or runs real requests on a simulator, by an oversight."""
    said = refused(**merged(NO_PROVIDER, values))
    assert f"simulator.enabled stands instead of a provider, but {named} is set; unset it" in said
