"""Ways in and out, in the chart: routes, certificate and network policies lead to what is there and to nothing else."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.chart.validation import KUBERNETES_VERSIONS, Object, problems
from tests.support.chart import Values, container, found, merged, refused, rendered

GATEWAY = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateway"}}}]
MONITORING = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
POLICY: Values = {"enabled": True, "webhooksFrom": GATEWAY, "metricsFrom": MONITORING}
ROUTES: Values = {
    "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["hooks.example.test"]},
    "ingress": {"enabled": True, "hosts": ["in.example.test"], "className": "public"},
    "certificate": {"enabled": True, "issuerRef": {"name": "authority"}, "dnsNames": ["more.example.test"]},
}
STAGING: Values = {
    "settings": {"api": {"base_url": ""}},
    "secrets": {"api": {"existingSecret": ""}},
    "simulator": {"enabled": True, "port": 7090},
    "setupJob": {"enabled": True},
}
EVERY_POD = ("submitter", "ingestor", "reconciler", "simulator", "setup", "test")
ROLES = ("submitter", "ingestor", "reconciler")
KINDS = ("HTTPRoute", "Ingress", "Certificate", "NetworkPolicy")
DNS = {("UDP", 53), ("TCP", 53)}


def pods_of(role: str) -> dict[str, Any]:
    """Return the peer that is the pods of a role of this release."""
    own = {"name": "onboarding-processor", "instance": "onboarding", "component": role}
    return {"podSelector": {"matchLabels": {f"app.kubernetes.io/{name}": value for name, value in own.items()}}}


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    """Return all objects of a kind."""
    return [item for item in objects if item["kind"] == kind]


def labels(objects: list[Object], role: str) -> dict[str, str]:
    """Return the labels of a role's pods."""
    kind = {"test": "Pod", "setup": "Job"}.get(role, "Deployment")
    item = found(objects, kind, role)
    given: dict[str, str] = (item if role == "test" else item["spec"]["template"])["metadata"]["labels"]
    return given


def outgoing(objects: list[Object], role: str) -> set[tuple[str, int]]:
    """Return protocols and ports that a role's pods may reach."""
    rules = found(objects, "NetworkPolicy", role)["spec"]["egress"]
    return {(port["protocol"], port["port"]) for rule in rules for port in rule["ports"]}


def incoming(objects: list[Object], role: str) -> Iterator[tuple[Any, int]]:
    """Give peer and port number of what may reach a role's pods; a port that no container has is an error."""
    numbers = {port["name"]: port["containerPort"] for port in container(objects, role)["ports"]}
    for rule in found(objects, "NetworkPolicy", role)["spec"]["ingress"]:
        for peer in rule["from"]:
            for port in rule["ports"]:
                yield peer, numbers[port["port"]]


def test_nothing_stands_around_the_workloads_unless_it_is_asked_for() -> None:
    """Each of these needs something in the cluster that may not be there."""
    kinds = {item["kind"] for item in rendered()}
    assert kinds & {*KINDS, "ScaledObject", "TriggerAuthentication", "HorizontalPodAutoscaler"} == set()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_schemas_know_every_field_of_a_way_in_or_out(version: str, kind: str) -> None:
    """Strictly, in each version of Kubernetes; those of others by their makers' schemas."""
    annotated = {name: {**ROUTES[name], "annotations": {"example.test/team": "a"}} for name in ("httpRoute", "ingress")}
    objects = of_kind(rendered(**{**ROUTES, **annotated}, **STAGING, networkPolicy=POLICY), kind)
    assert len(objects) == (6 if kind == "NetworkPolicy" else 1)
    assert [problem for item in objects for problem in problems(item, version)] == []


def test_a_route_leads_to_the_webhook_port_for_the_path_of_webhooks_alone() -> None:
    """Port and path are those of the settings; webhooks of other profiles come below the path."""
    objects = rendered(settings={"webhook": {"path": "/hooks"}}, ingestor={"service": {"port": 8000}}, **ROUTES)
    service = found(objects, "Service", "ingestor")
    ports = {port["port"]: port["name"] for port in service["spec"]["ports"]}
    [rule] = found(objects, "HTTPRoute")["spec"]["rules"]
    [target] = rule["backendRefs"]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/hooks"}}]
    assert (target["name"], ports[target["port"]]) == (service["metadata"]["name"], "webhook")
    [host] = found(objects, "Ingress")["spec"]["rules"]
    [path] = host["http"]["paths"]
    assert (host["host"], path["path"], path["pathType"]) == ("in.example.test", "/hooks", "Prefix")
    assert path["backend"]["service"] == {"name": service["metadata"]["name"], "port": {"name": "webhook"}}
    assert service["spec"]["selector"].items() <= labels(objects, "ingestor").items()


def test_a_certificate_has_all_names_and_the_ingress_shows_it() -> None:
    """Those of route and ingress where they are on, and further ones."""
    objects = rendered(**ROUTES)
    certificate, ingress = found(objects, "Certificate")["spec"], found(objects, "Ingress")["spec"]
    assert sorted(certificate["dnsNames"]) == ["hooks.example.test", "in.example.test", "more.example.test"]
    assert ingress["tls"] == [{"secretName": certificate["secretName"], "hosts": ["in.example.test"]}]
    assert certificate["issuerRef"] == {"name": "authority", "kind": "Issuer", "group": "cert-manager.io"}


def test_an_ingress_shows_a_certificate_that_is_there_already_or_none() -> None:
    """Where a controller has one of its own, none is named."""
    ingress = {"enabled": True, "hosts": ["in.example.test"]}
    assert "tls" not in found(rendered(ingress=ingress), "Ingress")["spec"]
    [tls] = found(rendered(ingress={**ingress, "tlsSecret": "mine"}), "Ingress")["spec"]["tls"]
    assert tls["secretName"] == "mine"


def test_each_pod_has_one_policy() -> None:
    """Jobs, tests and the simulator too; it says both directions, so what no rule names is denied."""
    objects = rendered(networkPolicy=POLICY, **STAGING)
    for role in EVERY_POD:
        chosen = [
            policy["metadata"]["name"].rpartition("-")[2]
            for policy in of_kind(objects, "NetworkPolicy")
            if policy["spec"]["podSelector"]["matchLabels"].items() <= labels(objects, role).items()
        ]
        assert chosen == [role]
        assert found(objects, "NetworkPolicy", role)["spec"]["policyTypes"] == ["Ingress", "Egress"]


@pytest.mark.parametrize("role", ROLES)
def test_only_monitoring_and_the_gateway_come_in(role: str) -> None:
    """Each to its own port, whatever number the settings give it; webhooks, and `helm test`, to the ingestor alone."""
    objects = rendered(networkPolicy=POLICY, settings={"ops": {"port": 9081}, "webhook": {"port": 9080}})
    webhooks = [(peer, 9080) for peer in (*GATEWAY, pods_of("test")) if role == "ingestor"]
    assert list(incoming(objects, role)) == [*((peer, 9081) for peer in MONITORING), *webhooks]


def test_without_monitoring_nobody_comes_in_but_webhooks() -> None:
    """An empty list of peers would mean everybody, so there is no rule then."""
    objects = rendered(networkPolicy={"enabled": True, "webhooksFrom": GATEWAY}, test={"enabled": False})
    rules = {role: found(objects, "NetworkPolicy", role)["spec"]["ingress"] for role in ROLES}
    assert rules["submitter"] == rules["reconciler"] == []
    assert [rule["from"] for rule in rules["ingestor"]] == [GATEWAY]


ADDRESSES: Values = {
    "kafka": {"bootstrap_servers": "kafka-0:9092, kafka-1:9093,[::1]:9094,kafka-2"},
    "schema_registry": {"url": "http://registry.example.test/apis/ccompat/v7"},
    "api": {"base_url": "https://api.example.test:8443/v"},
    "webhook": {"key_base_url": "https://keys.example.test", "key_base_urls": ["eu=https://keys.example.test:7443/a"]},
    "providers": {"eu": {"base_url": "http://eu.example.test:7080"}},
}


@pytest.mark.parametrize("role", ROLES)
def test_pods_reach_what_the_settings_name_and_nothing_else(role: str) -> None:
    """DNS, brokers, the provider with its key endpoints, and the registry, which the ingestor does not need."""
    objects = rendered(networkPolicy=POLICY, settings=ADDRESSES)
    brokers, provider = {9092, 9093, 9094}, {8443, 443, 7443, 7080}
    registry = set() if role == "ingestor" else {80}
    assert outgoing(objects, role) == DNS | {("TCP", port) for port in brokers | provider | registry}
    assert all("to" not in rule for rule in found(objects, "NetworkPolicy", role)["spec"]["egress"])


def test_pods_reach_the_proxy_of_a_profile_instead_of_the_provider() -> None:
    """Through a proxy nothing of the profile is called directly, its key endpoint as little as its API."""
    proxied = {"api": {"proxy_url": "http://proxy.example.test:3128"}}
    objects = rendered(networkPolicy=POLICY, settings=merged(ADDRESSES, proxied))
    assert outgoing(objects, "ingestor") == DNS | {("TCP", port) for port in (9092, 9093, 9094, 3128, 7443, 7080)}
    of_both = merged(proxied, {"providers": {"eu": {"proxy_url": "http://egress.example.test"}}})
    objects = rendered(networkPolicy=POLICY, settings=merged(ADDRESSES, of_both))
    assert outgoing(objects, "ingestor") == DNS | {("TCP", port) for port in (9092, 9093, 9094, 3128, 80)}


def test_who_knows_addresses_and_ports_can_say_them() -> None:
    """Then the rules hold those, and what the settings say no longer counts."""
    peers: Mapping[str, list[Any]] = {
        name: [{"ipBlock": {"cidr": f"10.0.{number}.0/24"}}]
        for number, name in enumerate(("dns", "brokers", "registry", "provider"))
    }
    ports = {"dns": 5353, "brokers": 9094, "registry": 8085, "provider": 9443}
    targets = {name: {"to": peers[name], "ports": [port]} for name, port in ports.items()}
    objects = rendered(networkPolicy={**POLICY, **targets})
    rules = found(objects, "NetworkPolicy", "submitter")["spec"]["egress"]
    assert [(rule["to"], {port["port"] for port in rule["ports"]}) for rule in rules] == [
        (peers[name], {port}) for name, port in ports.items()
    ]


def test_the_simulator_is_called_by_the_processor_and_calls_its_webhook_port() -> None:
    """It stands for the provider: no port to the outside is open then, and no gateway needs to be named."""
    objects = rendered(networkPolicy={"enabled": True}, **STAGING)
    assert list(incoming(objects, "simulator")) == [(pods_of(role), 7090) for role in (*ROLES, "test")]
    assert (pods_of("simulator"), 8080) in list(incoming(objects, "ingestor"))
    assert outgoing(objects, "simulator") == DNS | {("TCP", 8080)}
    assert outgoing(objects, "ingestor") == DNS | {("TCP", 9092), ("TCP", 7090)}
    rules = found(objects, "NetworkPolicy", "submitter")["spec"]["egress"]
    assert [rule["to"] for rule in rules if "to" in rule] == [[pods_of("simulator")]]


def test_the_set_up_reaches_brokers_and_registry_from_its_first_moment() -> None:
    """Its policy comes before it, at the same hook; nobody comes in. The test pod reaches what it checks."""
    objects = rendered(networkPolicy=POLICY, setupJob={"enabled": True})
    job, policy = found(objects, "Job", "setup"), found(objects, "NetworkPolicy", "setup")
    hook, weight = "helm.sh/hook", "helm.sh/hook-weight"
    before, after = policy["metadata"]["annotations"], job["metadata"]["annotations"]
    assert before[hook] == after[hook]
    assert int(before[weight]) < int(after[weight])
    assert outgoing(objects, "setup") == DNS | {("TCP", 9092), ("TCP", 8081)}
    assert outgoing(objects, "test") == DNS | {("TCP", port) for port in (9092, 8081, 443, 8080)}
    assert policy["spec"]["ingress"] == found(objects, "NetworkPolicy", "test")["spec"]["ingress"] == []


def test_further_rules_are_added() -> None:
    """In for every workload, such as for a tool that looks into it; out for every pod, such as to a token endpoint."""
    into = {"from": [{"podSelector": {"matchLabels": {"app": "tool"}}}], "ports": [{"port": "ops", "protocol": "TCP"}]}
    out = {"to": [{"ipBlock": {"cidr": "10.9.0.0/16"}}], "ports": [{"port": 8443, "protocol": "TCP"}]}
    objects = rendered(networkPolicy={**POLICY, "extraIngress": [into], "extraEgress": [out]})
    for role in ROLES:
        spec = found(objects, "NetworkPolicy", role)["spec"]
        assert (spec["ingress"][-1], spec["egress"][-1]) == (into, out)
    assert found(objects, "NetworkPolicy", "test")["spec"]["egress"][-1] == out


REFUSALS: list[tuple[Values, str]] = [
    ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs is missing, so no gateway would take the route; name one"),
    ({"ingress": {"enabled": True}}, "ingress.hosts is missing, so the Ingress would take the path of every host"),
    (
        {"certificate": {"enabled": True, "dnsNames": ["a.example.test"]}},
        "certificate.issuerRef.name is missing; name the Issuer or ClusterIssuer that signs",
    ),
    ({"certificate": {"enabled": True, "issuerRef": {"name": "a"}}}, "certificate.dnsNames is missing, and neither"),
    (
        {**ROUTES, "ingress": {"enabled": True, "hosts": ["a.example.test"], "tlsSecret": "other"}},
        "ingress.tlsSecret is another one than the Secret of certificate; unset it",
    ),
    ({"networkPolicy": {"enabled": True}}, "networkPolicy.webhooksFrom is missing, so no webhook would come in; name"),
    (
        {"networkPolicy": {**POLICY, "metricsFrom": []}, "podMonitor": {"enabled": True}},
        "networkPolicy.metricsFrom is missing, so nobody could scrape what podMonitor names; name Prometheus",
    ),
    ({"networkPolicy": {**POLICY, "webhooksFrom": [{}]}}, "/networkPolicy/webhooksFrom/0"),
    ({"networkPolicy": {**POLICY, "metricsFrom": [{"podSelektor": {}}]}}, "'podSelektor' not allowed"),
    ({"httpRoute": {"hostnames": ["UPPER.example.test"]}}, "/httpRoute/hostnames/0"),
    ({"ingress": {"host": "a.example.test"}}, "'host' not allowed"),
    ({"certificate": {"issuer": "a"}}, "'issuer' not allowed"),
]


@pytest.mark.parametrize("values,sentence", REFUSALS, ids=[sentence for _, sentence in REFUSALS])
def test_ways_that_lead_nowhere_are_refused(values: Values, sentence: str) -> None:
    """Each sentence says what to change."""
    assert sentence in refused(**values)
