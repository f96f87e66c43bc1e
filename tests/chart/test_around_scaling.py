"""Autoscalers in the chart: KEDA on lag for what reads Kafka, CPU for the ingestor; each points at what is there."""

from typing import Any

import pytest

from processor.settings import Settings
from tests.chart.validation import KUBERNETES_VERSIONS, Object, problems
from tests.support.chart import ENOUGH, Values, container, found, merged, refused, rendered

SCRAM: Values = {
    "settings": {
        "kafka": {
            "sasl_username": "onboarding",
            "properties": {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512"},
        }
    },
    "secrets": {"kafka": {"existingSecret": "kafka-user"}},
}
INPUTS = {
    "submitter": {"preparation": "requests", "launch": "launches"},
    "reconciler": {"completion": "workflows"},
}
BOTH: Values = {"keda": {role: {"enabled": True} for role in INPUTS}}


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    """Return all objects of a kind."""
    return [item for item in objects if item["kind"] == kind]


def triggers(objects: list[Object], role: str) -> dict[str, dict[str, Any]]:
    """Return the triggers of a role by the consumer group that they watch."""
    listed = found(objects, "ScaledObject", role)["spec"]["triggers"]
    return {trigger["metadata"]["consumerGroup"]: trigger for trigger in listed}


@pytest.mark.parametrize("values", [{}, SCRAM], ids=["plain", "scram"])
@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_schemas_know_every_field_of_an_autoscaler(version: str, values: Values) -> None:
    """Strictly: KEDA's own schemas, and those of Kubernetes."""
    objects = rendered(**merged(merged(values, BOTH), {"hpa": {"enabled": True}}))
    scalers = [
        item
        for kind in ("ScaledObject", "TriggerAuthentication", "HorizontalPodAutoscaler")
        for item in of_kind(objects, kind)
    ]
    assert len(scalers) == 3 + 2 * bool(values)
    assert [problem for item in scalers for problem in problems(item, version)] == []


@pytest.mark.parametrize("role", INPUTS)
def test_lag_is_that_of_the_groups_and_topics_of_the_program(role: str) -> None:
    """Whatever they are called by settings; the topic is always named, or KEDA would have to describe the group."""
    given = {"application_id": "staging", "topics": {"requests": "identity.requests", "launches": "secret-launches"}}
    objects = rendered(settings=given, **BOTH)
    settings = Settings.model_validate(merged(ENOUGH["settings"], given))
    topics = settings.topics.model_dump()
    assert {group: trigger["metadata"]["topic"] for group, trigger in triggers(objects, role).items()} == {
        settings.group_id(decider): topics[setting] for decider, setting in INPUTS[role].items()
    }


@pytest.mark.parametrize("role", INPUTS)
def test_lag_that_pods_cannot_help_adds_none(role: str) -> None:
    """Not for a record that nobody can serve, nor for partitions without lag; a first start counts from the beginning.

    The version is one that brokers from 2.5 to 4.x speak; without it KEDA speaks 1.0, which Kafka 4.0 refuses.
    """
    for trigger in triggers(rendered(keda={role: {"enabled": True, "lagThreshold": 1200}}), role).values():
        assert (
            trigger["metadata"].items()
            >= {
                "lagThreshold": "1200",
                "excludePersistentLag": "true",
                "limitToPartitionsWithLag": "true",
                "offsetResetPolicy": "earliest",
                "version": "2.5.0",
                "bootstrapServers": "kafka-0:9092",
            }.items()
        )
        assert trigger["useCachedMetrics"] is True
        assert "allowIdleConsumers" not in trigger["metadata"]


@pytest.mark.parametrize("role", INPUTS)
def test_pods_are_never_none_and_never_more_than_partitions(role: str) -> None:
    """As many as partitions at most, also where nobody says how many; they go slowly, for each moves partitions."""
    spec = found(rendered(settings={"topics": {"partitions": 5}}, **BOTH), "ScaledObject", role)["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 5)
    assert "idleReplicaCount" not in spec
    fewer = found(rendered(keda={role: {"enabled": True, "maxReplicas": 4}}), "ScaledObject", role)["spec"]
    assert fewer["maxReplicaCount"] == 4
    down = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    assert down["stabilizationWindowSeconds"] >= 600
    assert [policy["value"] for policy in down["policies"]] == [1]


@pytest.mark.parametrize("role", [*INPUTS, "ingestor"])
def test_an_autoscaler_owns_the_number_of_pods_of_a_workload_that_is_there(role: str) -> None:
    """The workload then has no replicas of its own, or each upgrade would throw them back; the others keep theirs."""
    objects = rendered(hpa={"enabled": True}) if role == "ingestor" else rendered(keda={role: {"enabled": True}})
    [scaler] = of_kind(objects, "ScaledObject") + of_kind(objects, "HorizontalPodAutoscaler")
    target = scaler["spec"]["scaleTargetRef"]
    workload = found(objects, target["kind"], target["name"])
    assert (workload["apiVersion"], workload["metadata"]["name"]) == (target["apiVersion"], target["name"])
    assert workload["metadata"]["labels"]["app.kubernetes.io/component"] == role
    others = [item for item in of_kind(objects, "Deployment") if item is not workload]
    assert "replicas" not in workload["spec"]
    assert [item["spec"]["replicas"] for item in others] == [2, 2]


def test_the_ingestor_is_scaled_by_its_part_of_the_cpu_that_it_asks_for() -> None:
    """Utilization is a part of the request, so there must be one."""
    spec = found(rendered(hpa={"enabled": True, "maxReplicas": 4}), "HorizontalPodAutoscaler")["spec"]
    [metric] = spec["metrics"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 4)
    assert metric["resource"] == {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    resources = {"requests": {"cpu": None}}
    assert "ingestor.resources.requests.cpu is missing" in refused(
        hpa={"enabled": True}, ingestor={"resources": resources}
    )


@pytest.mark.parametrize(
    "properties,sasl,tls",
    [
        ({}, "none", "disable"),
        ({"security.protocol": "ssl"}, "none", "enable"),
        ({"security.protocol": "SASL_PLAINTEXT", "sasl.mechanisms": "PLAIN"}, "plaintext", "disable"),
        ({"security.protocol": "sasl_ssl", "sasl.mechanism": "SCRAM-SHA-256"}, "scram_sha256", "enable"),
        ({"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512"}, "scram_sha512", "enable"),
    ],
)
def test_keda_comes_to_brokers_as_the_processor_does(properties: Values, sasl: str, tls: str) -> None:
    """The words of librdkafka, in those of KEDA."""
    given = {"settings": {"kafka": {"sasl_username": "onboarding", "properties": properties}}}
    objects = rendered(**merged(given, BOTH), secrets={"kafka": {"existingSecret": "kafka-user"}})
    for trigger in triggers(objects, "submitter").values():
        assert (trigger["metadata"]["sasl"], trigger["metadata"]["tls"]) == (sasl, tls)
        assert ("authenticationRef" in trigger) is (sasl != "none")


def test_keda_reads_the_very_secret_of_the_processor() -> None:
    """The password where it is, the user name as the container is told, the authority where it is said to be."""
    ca = {"keda": {"ca": {"existingSecret": "cluster-ca"}}}
    objects = rendered(**merged(merged(SCRAM, BOTH), ca))
    for role in INPUTS:
        authentication = found(objects, "TriggerAuthentication", role)
        for trigger in triggers(objects, role).values():
            assert trigger["authenticationRef"] == {"name": authentication["metadata"]["name"]}
        assert authentication["spec"]["secretTargetRef"] == [
            {"parameter": "password", "name": "kafka-user", "key": "password"},
            {"parameter": "ca", "name": "cluster-ca", "key": "ca.crt"},
        ]
        assert authentication["spec"]["env"] == [
            {"parameter": "username", "name": "PROCESSOR_KAFKA__SASL_USERNAME", "containerName": role}
        ]
        [told] = container(objects, role)["envFrom"]
        settings = found(objects, "ConfigMap", told["configMapRef"]["name"])["data"]
        assert settings["PROCESSOR_KAFKA__SASL_USERNAME"] == "onboarding"


def test_a_user_name_may_be_in_the_secret_too() -> None:
    """As the processor reads it there."""
    values: Values = {
        "settings": {"kafka": {"properties": SCRAM["settings"]["kafka"]["properties"]}},
        "secrets": {"kafka": {"existingSecret": "kafka-user", "keys": {"sasl_username": "user"}}},
    }
    spec = found(rendered(**merged(values, BOTH)), "TriggerAuthentication", "submitter")["spec"]
    assert {"parameter": "username", "name": "kafka-user", "key": "user"} in spec["secretTargetRef"]
    assert "env" not in spec


def test_a_secret_out_of_a_store_is_read_where_it_will_be() -> None:
    """KEDA names the Secret that the ExternalSecret makes."""
    store = {
        "enabled": True,
        "secretStoreRef": {"name": "store"},
        "remoteRefs": {"kafka": {"sasl_password": {"key": "a"}}},
    }
    objects = rendered(**merged(merged({"settings": SCRAM["settings"]}, BOTH), {"externalSecrets": store}))
    made = found(objects, "ExternalSecret", "kafka")["spec"]
    [password] = found(objects, "TriggerAuthentication", "submitter")["spec"]["secretTargetRef"]
    assert password["name"] == made["target"]["name"]
    assert password["key"] in {item["secretKey"] for item in made["data"]}


def test_a_stateful_set_is_scaled_too() -> None:
    """Where state is kept on volumes, the target is what is there then."""
    objects = rendered(submitter={"persistence": {"enabled": True}}, **BOTH)
    target = found(objects, "ScaledObject", "submitter")["spec"]["scaleTargetRef"]
    assert target["kind"] == "StatefulSet"
    assert "replicas" not in found(objects, "StatefulSet", target["name"])["spec"]


def test_one_workload_with_all_roles_is_scaled_by_all_three_groups() -> None:
    """In layout `all` each group has its trigger, and no pods of the ingestor can be scaled by themselves."""
    objects = rendered(layout="all", keda={"all": {"enabled": True}})
    assert triggers(objects, "all").keys() == {"onboarding.preparation", "onboarding.launch", "onboarding.completion"}
    said = refused(layout="all", keda={"submitter": {"enabled": True}}, hpa={"enabled": True})
    assert "keda.submitter.enabled: there is no such workload in layout all; enable one of all instead" in said
    assert "hpa.enabled: the ingestor has no pods of its own in layout all; unset it" in said


def test_a_trigger_authentication_of_ones_own_says_all_that_it_holds() -> None:
    """None is made then, and nothing is said beside it that is not given."""
    own: Values = {"keda": {"triggerAuthentication": "kafka-oauth"}}
    objects = rendered(**merged(merged(SCRAM, BOTH), own))
    assert of_kind(objects, "TriggerAuthentication") == []
    for trigger in triggers(objects, "submitter").values():
        assert trigger["authenticationRef"] == {"name": "kafka-oauth"}
        assert {"sasl", "tls"} & trigger["metadata"].keys() == set()
    said = rendered(**merged(merged(SCRAM, BOTH), {"keda": own["keda"] | {"sasl": "oauthbearer", "tls": "enable"}}))
    for trigger in triggers(said, "submitter").values():
        assert (trigger["metadata"]["sasl"], trigger["metadata"]["tls"]) == ("oauthbearer", "enable")


OAUTH = {"settings": {"kafka": {"properties": {"security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER"}}}}
IN_SECRET = {"secrets": {"kafka": {"existingSecret": "a", "keys": {"properties": "properties"}}}}
REFUSALS: list[tuple[Values, str]] = [
    (
        {"keda": {"submitter": {"enabled": True, "maxReplicas": 13}}},
        "keda.submitter.maxReplicas: 13 are more than the 12 partitions of settings.topics.partitions, and the",
    ),
    (
        {"keda": {"reconciler": {"enabled": True, "minReplicas": 4, "maxReplicas": 3}}},
        "keda.reconciler.minReplicas: 4 are more than the 3 that there may be at most; lower it",
    ),
    (
        {"keda": {"all": {"enabled": True}}},
        "keda.all.enabled: there is no such workload in layout roles; enable one of submitter, reconciler instead",
    ),
    ({"keda": {"submitter": {"enabled": True, "minReplicas": 0}}}, "/keda/submitter/minReplicas"),
    (merged(OAUTH, BOTH), "no TriggerAuthentication for the mechanism oauthbearer; make one, and name it by"),
    (merged(IN_SECRET, BOTH), "cannot be seen here; set keda.sasl and keda.tls"),
    (
        merged({"settings": {"kafka": {"properties": SCRAM["settings"]["kafka"]["properties"]}}}, BOTH),
        "keda: no user name for the brokers is known; set settings.kafka.sasl_username",
    ),
    (merged({"settings": SCRAM["settings"]}, BOTH), "keda: no password for the brokers is known; set secrets.kafka"),
    (
        merged({"settings": {"kafka": {"properties": {"ssl.ca.location": "/etc/authority/ca.crt"}}}}, BOTH),
        "keda.ca.existingSecret is missing: the authority of the brokers is the file /etc/authority/ca.crt, which KEDA",
    ),
    (
        merged({"settings": {"kafka": {"properties": {"ssl.certificate.location": "/etc/me/tls.crt"}}}}, BOTH),
        "which KEDA cannot read; make a TriggerAuthentication with cert and key, and name it by",
    ),
    ({"hpa": {"enabled": True, "minReplicas": 7}}, "hpa.minReplicas: 7 is above hpa.maxReplicas; lower it"),
    ({"keda": {"lagTreshold": 1}}, "'lagTreshold' not allowed"),
    ({"hpa": {"targetCPU": 1}}, "'targetCPU' not allowed"),
]


@pytest.mark.parametrize("values,sentence", REFUSALS, ids=[sentence for _, sentence in REFUSALS])
def test_autoscalers_that_cannot_work_are_refused(values: Values, sentence: str) -> None:
    """Each sentence says what to change."""
    assert sentence in refused(**values)
