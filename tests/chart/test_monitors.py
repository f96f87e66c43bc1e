"""What Prometheus scrapes: every pod with metrics, once, whatever layout, ready or not."""

from typing import Any

import pytest

from tests.chart.policies import selects, templates
from tests.chart.validation import Object
from tests.support.chart import found, rendered

LAYOUTS = {"roles": {"submitter", "ingestor", "reconciler"}, "all": {"all"}}


def pods(objects: list[Object]) -> list[Object]:
    """Return the templates of all pods."""
    return [dict(template) for _, template in templates(objects)]


def scraped(chosen: list[Object], port: str) -> set[str]:
    """Return the components whose pods have the port."""
    return {
        template["metadata"]["labels"]["app.kubernetes.io/component"]
        for template in chosen
        for one in template["spec"]["containers"]
        if port in {named["name"] for named in one.get("ports", ())}
    }


def made(layout: str, **values: Any) -> list[Object]:  # noqa: ANN401  # as in values.yaml
    """Return the objects with a setting of the port that is no default."""
    return rendered(layout=layout, settings={"ops": {"port": 9081}}, **values)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_pod_monitor_finds_every_pod_with_metrics(layout: str) -> None:
    """By the port's name, so that its number is a setting; the job is the release."""
    objects = made(layout, podMonitor={"enabled": True, "labels": {"release": "prometheus"}})
    monitor = found(objects, "PodMonitor")
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    chosen = [template for template in pods(objects) if selects(monitor["spec"]["selector"], template)]
    assert scraped(chosen, endpoint["port"]) == LAYOUTS[layout]
    assert (endpoint["path"], endpoint["interval"]) == ("/metrics", "30s")
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["identity"]}
    assert {template["metadata"]["labels"][monitor["spec"]["jobLabel"]] for template in chosen} == {"onboarding"}
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_service_monitor_finds_the_same_pods(layout: str) -> None:
    """Through one headless Service, which leads to pods that are not ready too."""
    objects = made(layout, serviceMonitor={"enabled": True})
    monitor, service = (
        found(objects, kind, suffix) for kind, suffix in (("ServiceMonitor", ""), ("Service", "metrics"))
    )
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    services = [item for item in objects if item["kind"] == "Service" and wanted <= item["metadata"]["labels"].items()]
    assert services == [service]
    [endpoint], [port] = monitor["spec"]["endpoints"], service["spec"]["ports"]
    assert (endpoint["port"], port["port"]) == (port["name"], 9081)
    chosen = [template for template in pods(objects) if selects({"matchLabels": service["spec"]["selector"]}, template)]
    assert scraped(chosen, port["targetPort"]) == LAYOUTS[layout]
    assert (service["spec"]["clusterIP"], service["spec"]["publishNotReadyAddresses"]) == ("None", True)
    assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "onboarding"


def test_nothing_of_monitoring_is_made_unasked() -> None:
    """A cluster without the operators takes the chart as it is."""
    kinds = {item["apiVersion"].partition("/")[0] for item in rendered()}
    assert kinds & {"monitoring.coreos.com", "grafana.integreatly.org"} == set()
