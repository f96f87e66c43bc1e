"""The chart, rendered by the real Helm in process: what Kubernetes gets, and what the processor makes of it."""

import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from helm_python import HelmError, lint

from processor.adapters.catalogue_file import catalogue_of
from processor.adapters.web_listener import ListenerLimits
from processor.kafka_properties import is_secret_property
from processor.roles.process import FLUSH_S
from processor.roles.workers import LEAVE_MARGIN_S
from processor.settings import Settings, effective
from processor.settings_loading import EVERYTHING, load_settings
from tests.support.chart import CHART, ENOUGH, Values, chart, container, found, merged, pod, refused, rendered
from tests.support.pods import Container
from tests.support.root import ROOT

KUBERNETES_VERSIONS = ("1.30", "1.37")
ROLES = ("submitter", "ingestor", "reconciler")
STATEFUL = ("submitter", "reconciler")
CLOSING_S = 5  # Of the operations port and of the process.
CANARY = "Zebra-Quagga-7"

EVERYTHING_GIVEN: Values = {
    "image": {"registry": "registry.example.test", "digest": f"sha256:{'0' * 64}"},
    "imagePullSecrets": [{"name": "pull"}],
    "secrets": {
        "kafka": {"existingSecret": "kafka-user", "keys": {"sasl_username": "user", "properties": "properties"}},
        "schema_registry": {"existingSecret": "registry"},
    },
    "serviceAccount": {"annotations": {"example.test/identity": "processor"}},
    "extraVolumes": [{"name": "authority", "secret": {"secretName": "authority"}}],
    "extraVolumeMounts": [{"name": "authority", "mountPath": "/etc/authority"}],
    **{
        role: {
            "podAnnotations": {"example.test/team": "onboarding"},
            "podLabels": {"team": "onboarding"},
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
            "affinity": {"podAntiAffinity": {}},
        }
        for role in ROLES
    },
}


def environment(objects: list[dict[str, Any]], role: str, folder: Path) -> dict[str, str]:
    """Return the variables of a role's container, every secret in its files the canary."""
    return Container(objects, pod(objects, role), container(objects, role)).variables(folder, secret_text)


def secret_text(file: str) -> str:
    """Return what a mounted secret holds."""
    return '{"security.protocol": "ssl"}' if "PROPERTIES" in file else CANARY


def test_helm_finds_nothing_to_warn_about() -> None:
    """Lint, strict, says nothing above a remark, with enough values and without any."""
    for values in ({}, dict(ENOUGH)):
        report = lint(CHART, values, strict=True)
        assert [message for message in report["messages"] if message["severity"] > 1] == []
        assert report["errors"] == []


def test_the_oldest_kubernetes_that_is_checked_is_the_oldest_that_is_allowed() -> None:
    """Helm refuses one that nobody looked at."""
    assert chart().metadata["kubeVersion"] == f">={KUBERNETES_VERSIONS[0]}.0-0"


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("values", [{}, EVERYTHING_GIVEN], ids=["enough", "everything"])
def test_kubernetes_knows_every_field(version: str, values: Values) -> None:
    """Each object fits the strict schema of the oldest and the newest Kubernetes; an unknown kind is an error."""
    objects = rendered(**values)
    assert len(objects) == 11
    for item in objects:
        assert kubernetes_validate.validate(item, version, strict=True) == version


def test_the_schemas_of_kubernetes_see_a_wrong_field() -> None:
    """The check above can fail, deep inside a pod too."""
    deployment = found(rendered(), "Deployment", "submitter")
    deployment["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["periodSecond"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, KUBERNETES_VERSIONS[0], strict=True)


@pytest.mark.parametrize("role", ROLES)
def test_pods_fit_the_restricted_level(role: str) -> None:
    """Kubernetes' Pod Security level `restricted`, a root file system that is read only, and no token."""
    objects = rendered()
    spec, one = pod(objects, role), container(objects, role)
    assert spec["securityContext"].items() >= {"runAsNonRoot": True, "runAsUser": 10001}.items()
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {kind for volume in spec["volumes"] for kind in volume if kind != "name"} <= {
        "configMap",
        "emptyDir",
        "projected",
    }
    assert spec["automountServiceAccountToken"] is False
    assert found(objects, "ServiceAccount")["automountServiceAccountToken"] is False


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("values", [{}, EVERYTHING_GIVEN], ids=["enough", "everything"])
def test_what_a_pod_is_given_makes_settings(tmp_path: Path, role: str, values: Values) -> None:
    """Variables and files of a pod load without a problem (an unknown one is a problem), and so does the catalogue."""
    settings = load_settings(environment(rendered(**values), role, tmp_path), needs=EVERYTHING)
    assert settings.kafka.bootstrap_servers == "kafka-0:9092"
    assert settings.api.secret is not None
    assert settings.api.secret.get_secret_value() == CANARY
    catalogue = catalogue_of(settings)
    assert "person-check" in catalogue.workflows
    assert container(rendered(**values), role)["args"] == ["run", role]


GIVEN: Values = {
    "application_id": "staging",
    "kafka": {
        "properties": {"message.max.bytes": 2000000, "ssl.ca.location": "/etc/ssl/a,b.pem", "log.queue": True},
        "max_poll_interval_ms": 1000000,
    },
    "api": {"calls_per_second_max": 0.5, "is_503_not_executed": True, "call_deadline_s": 20, "http_client": "httpx"},
    "webhook": {"networks": ["203.0.113.0/24", "198.51.100.7"], "status_paths": [], "path": "/hooks/in"},
    "topics": {"requests": "identity.requests"},
}


def test_values_arrive_as_they_were_written(tmp_path: Path) -> None:
    """Large numbers, fractions, lists, flags and librdkafka properties mean in the pod what they mean in values."""
    settings = load_settings(environment(rendered(settings=GIVEN), "submitter", tmp_path))
    expected = Settings.model_validate(merged(ENOUGH["settings"], GIVEN))
    sections = {name for name, value in GIVEN.items() if isinstance(value, Mapping)} - {"api"}
    assert {name: effective(settings)[name] for name in sections} == {
        name: effective(expected)[name] for name in sections
    }
    assert effective(settings)["api"].items() >= GIVEN["api"].items()
    assert settings.application_id == "staging"


def test_an_organisation_token_stands_instead_of_key_and_secret(tmp_path: Path) -> None:
    """Naming the token is enough; the defaults for key and secret do not contradict it."""
    secrets = {"api": {"keys": {"token": "organisation-token"}}}
    settings = load_settings(environment(rendered(secrets=secrets), "submitter", tmp_path))
    assert (settings.api.key, settings.api.secret) == (None, None)
    assert settings.api.token is not None


def test_other_profiles_of_the_provider_are_values_and_further_secrets(tmp_path: Path) -> None:
    """What is plain stands in values by the profile's name, what is secret in a Secret by the variable's."""
    more = [{"existingSecret": "bank", "keys": {"PROCESSOR_PROVIDERS__EU_BANK__TOKEN": "token"}}]
    given = {"providers": {"eu-bank": {"base_url": "https://bank.example.test", "calls_in_flight_max": 40}}}
    objects = rendered(settings=given, moreSecrets=more)
    profile = load_settings(environment(objects, "submitter", tmp_path)).profile("eu-bank")
    assert profile is not None
    assert profile.token is not None
    assert (profile.base_url, profile.calls_in_flight_max) == ("https://bank.example.test", 40)
    assert profile.token.get_secret_value() == CANARY


@pytest.mark.parametrize("role", ROLES)
def test_probes_ask_the_operations_port(role: str) -> None:
    """Liveness never asks whether the role is ready, and ports are those of the settings."""
    one = container(rendered(settings={"ops": {"port": 9081}, "webhook": {"port": 9080}}), role)
    ports = {port["name"]: port["containerPort"] for port in one["ports"]}
    assert ports == {"ops": 9081} | ({"webhook": 9080} if role == "ingestor" else {})
    asked = {name: one[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    live, ready = {"path": "/livez", "port": "ops"}, {"path": "/readyz", "port": "ops"}
    assert asked == {"startupProbe": live, "livenessProbe": live, "readinessProbe": ready}


def test_only_the_ingestor_is_reached_from_outside() -> None:
    """The one Service leads to the webhook port of the ingestor's pods and to no others."""
    objects = rendered()
    spec = found(objects, "Service")["spec"]
    labels = {role: found(objects, "Deployment", role)["spec"]["template"]["metadata"]["labels"] for role in ROLES}
    assert [role for role in ROLES if spec["selector"].items() <= labels[role].items()] == ["ingestor"]
    assert spec["ports"] == [{"name": "webhook", "port": 80, "targetPort": "webhook", "appProtocol": "http"}]


@pytest.mark.parametrize("kind", ["Deployment", "PodDisruptionBudget"])
@pytest.mark.parametrize("role", ROLES)
def test_selectors_choose_the_pods_of_one_role(kind: str, role: str) -> None:
    """They hold name, instance and component: nothing that an upgrade changes, nothing that two roles share."""
    objects = rendered(**{role: {"podLabels": {"app.kubernetes.io/component": "other", "team": "a"}}})
    assert found(objects, kind, role)["spec"]["selector"]["matchLabels"] == {
        "app.kubernetes.io/name": "onboarding-processor",
        "app.kubernetes.io/instance": "onboarding",
        "app.kubernetes.io/component": role,
    }
    labels = found(objects, "Deployment", role)["spec"]["template"]["metadata"]["labels"]
    assert (labels["app.kubernetes.io/component"], labels["team"]) == (role, "a")


@pytest.mark.parametrize("drain_s", [40, 92.5])
@pytest.mark.parametrize("transaction_ms", [8000, 40000])
@pytest.mark.parametrize("role", STATEFUL)
def test_a_stop_has_time_to_drain_and_commit(role: str, transaction_ms: int, drain_s: float) -> None:
    """The grace period holds the drain, the last transaction or the leave, the flush and a margin, and no preStop."""
    given = {"engine": {"drain_s_max": drain_s}, "kafka": {"transaction_timeout_ms": transaction_ms}}
    spec = pod(rendered(settings=given), role)
    leave_s = max(LEAVE_MARGIN_S, transaction_ms / 1000)
    assert spec["terminationGracePeriodSeconds"] == math.ceil(drain_s + leave_s) + FLUSH_S + CLOSING_S
    assert "lifecycle" not in spec["containers"][0]


def test_the_ingestor_serves_until_load_balancers_have_forgotten_it() -> None:
    """It sleeps before it stops, and its grace period holds the sleep, the open requests, the flush and a margin."""
    spec = pod(rendered(), "ingestor")
    assert spec["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert spec["terminationGracePeriodSeconds"] == 5 + ListenerLimits().drain_s + FLUSH_S + CLOSING_S


@pytest.mark.parametrize("role", STATEFUL)
@pytest.mark.parametrize("volumes", [False, True])
def test_one_rebalance_is_over_before_the_next_pod_goes(role: str, *, volumes: bool) -> None:
    """What has state waits after each pod of a rollout; the ingestor is in no group and waits for nothing."""
    kind, values = ("StatefulSet" if volumes else "Deployment"), {role: {"persistence": {"enabled": volumes}}}
    assert found(rendered(**values), kind, role)["spec"]["minReadySeconds"] == 10
    assert "minReadySeconds" not in found(rendered(**{role: {"minReadySeconds": 0}}), "Deployment", role)["spec"]
    assert "minReadySeconds" not in found(rendered(), "Deployment", "ingestor")["spec"]


def test_a_rollout_moves_each_partition_once_and_misses_no_webhook() -> None:
    """Where there is state one pod after the other is replaced; for webhooks the new pod comes before the old goes."""
    objects = rendered()
    ways = {role: found(objects, "Deployment", role)["spec"]["strategy"]["rollingUpdate"] for role in ROLES}
    assert ways["submitter"] == ways["reconciler"] == {"maxUnavailable": 1, "maxSurge": 0}
    assert ways["ingestor"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_a_single_replica_does_not_keep_a_node_from_being_drained() -> None:
    """There is a disruption budget only where there is more than one pod."""
    objects = rendered(reconciler={"replicas": 1})
    budgets = [item["metadata"]["name"] for item in objects if item["kind"] == "PodDisruptionBudget"]
    assert sorted(budgets) == ["onboarding-onboarding-processor-ingestor", "onboarding-onboarding-processor-submitter"]


@pytest.mark.parametrize(
    "values",
    [{"settings": {"topics": {"results": "other"}}}, {"workflows": {"catalogue": "version: 1\nworkflows: {}\n"}}],
    ids=["settings", "catalogue"],
)
def test_a_change_of_what_is_read_at_start_makes_new_pods(values: Values) -> None:
    """The checksum in the pod's annotations follows settings and catalogue."""
    before, after = (
        found(objects, "Deployment", "submitter")["spec"]["template"]["metadata"]["annotations"]
        for objects in (rendered(), rendered(**values))
    )
    assert before != after


def test_the_catalogue_arrives_as_it_was_written() -> None:
    """Whatever text a file holds, the mounted one holds it too, so that errors name the right line."""
    text = "  # indented\n\n# ünïcode: {{ no template }}\t|\nversion: 1\nworkflows: {}\n\n"
    assert found(rendered(workflows={"catalogue": text}), "ConfigMap", "workflows")["data"] == {"workflows.yaml": text}


def test_the_catalogue_may_be_there_already() -> None:
    """An existing ConfigMap is mounted under the name that the processor reads, and none is made."""
    objects = rendered(workflows={"catalogue": "", "existingConfigMap": "catalogue", "key": "onboarding.yaml"})
    assert [item["metadata"]["name"] for item in objects if item["kind"] == "ConfigMap"] == [
        "onboarding-onboarding-processor-settings"
    ]
    [volume] = [volume for volume in pod(objects, "submitter")["volumes"] if volume["name"] == "workflows"]
    assert volume["configMap"] == {"name": "catalogue", "items": [{"key": "onboarding.yaml", "path": "workflows.yaml"}]}


REFUSALS: list[tuple[Values, str]] = [
    ({"settings": {"kafka": {"bootstrap_servers": ""}}}, "settings.kafka.bootstrap_servers is missing; set it to"),
    ({"settings": {"schema_registry": {"url": ""}}}, "settings.schema_registry.url is missing; set it to"),
    ({"settings": {"api": {"base_url": ""}}}, "settings.api.base_url is missing; set it to"),
    ({"secrets": {"api": {"existingSecret": ""}}}, "secrets.api.existingSecret is missing; make a Secret"),
    ({"secrets": {"api": {"keys": {"key": "", "secret": ""}}}}, "secrets.api.keys names no key in it; name one"),
    ({"workflows": {"catalogue": ""}}, "workflows.catalogue is missing; give --set-file"),
    ({"workflows": {"existingConfigMap": "catalogue"}}, "are both set; unset one of them"),
    ({"submitter": {"replicas": 13}}, "submitter.replicas: 13 are more than the 12 partitions"),
    ({"reconciler": {"replicas": 13}}, "reconciler.replicas: 13 are more than the 12 partitions"),
    (
        {"submitter": {"terminationGracePeriodSeconds": 49}},
        "submitter.terminationGracePeriodSeconds: at least 50, or a stop is cut off",
    ),
    ({"ingestor": {"terminationGracePeriodSeconds": 14}}, "ingestor.terminationGracePeriodSeconds: at least 15"),
    ({"settings": {"ops": {"port": 8080}}}, "settings.ops.port is settings.webhook.port too; choose another one"),
    (
        {
            "settings": {"kafka": {"sasl_username": "a"}},
            "secrets": {"kafka": {"existingSecret": "kafka-user", "keys": {"sasl_username": "user"}}},
        },
        "settings.kafka.sasl_username is set, and secrets.kafka.keys.sasl_username too; unset one of them",
    ),
    ({"settings": {"providers": {"eu": {"token": CANARY}}}}, "'token' not allowed"),
    ({"settings": {"providers": {"EU": {}}}}, "invalid propertyName 'EU'"),
    ({"moreSecrets": [{"existingSecret": "bank", "keys": {"token": "a"}}]}, "invalid propertyName 'token'"),
    ({"submiter": {}}, "'submiter' not allowed"),
    ({"submitter": {"replica": 1}}, "'replica' not allowed"),
    ({"settings": {"kafka": {"bootstrap_server": "a"}}}, "'bootstrap_server' not allowed"),
    ({"settings": {"api": {"secret": CANARY}}}, "'secret' not allowed"),
    ({"settings": {"kafka": {"instance_name": "a"}}}, "'instance_name' not allowed"),
    ({"settings": {"kafka": {"group_protocol": "fast"}}}, "/settings/kafka/group_protocol"),
    ({"settings": {"ops": {"port": 0}}}, "/settings/ops/port"),
    ({"settings": {"engine": None}}, "missing property 'engine'"),
]


@pytest.mark.parametrize("values,sentence", REFUSALS, ids=[sentence for _, sentence in REFUSALS])
def test_bad_values_are_refused_before_anything_is_installed(values: Values, sentence: str) -> None:
    """What is missing, misspelt or contradictory is named, with the remedy, and secrets are no values."""
    said = refused(**values)
    assert sentence in said
    assert CANARY not in said


def test_everything_that_is_missing_is_told_at_once() -> None:
    """Nobody has to install five times to learn five names."""
    with pytest.raises(HelmError) as caught:
        chart().render({}, name="onboarding")
    assert str(caught.value).count(" is missing; ") == 5


def test_idle_replicas_can_be_wanted() -> None:
    """Whoever says so may have more replicas than partitions."""
    objects = rendered(submitter={"replicas": 13}, acknowledgeIdleReplicas=True)
    assert found(objects, "Deployment", "submitter")["spec"]["replicas"] == 13


@pytest.mark.parametrize(
    "name",
    [
        "sasl.password",
        "ssl.key.pem",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.config",
        "sasl.oauthbearer.token.endpoint.url",
        "sasl.jaas.config",
        "ssl.ca.location",
        "linger.ms",
    ],
)
def test_a_property_that_may_be_secret_stays_out_of_values(name: str) -> None:
    """The chart and the processor think the same of a librdkafka property."""
    values = {"kafka": {"properties": {name: CANARY}}}
    if not is_secret_property(name):
        assert rendered(settings=values)
        return
    said = refused(settings=values)
    assert f"settings.kafka.properties: {name} may be secret; put all properties into a Secret" in said
    assert CANARY not in said


def test_long_names_stay_valid() -> None:
    """Names of objects fit into a label, whatever the release is called."""
    objects = chart().render(dict(ENOUGH), name="r" * 53)
    names = re.findall(r"^  name: (\S+)$", "\n".join(objects.values()), re.MULTILINE)
    assert [name for name in names if len(name) > 63] == []
    assert len(set(names)) == 7


def test_the_versions_of_chart_and_program_agree() -> None:
    """The default image is the one that this source makes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert chart().metadata["appVersion"] == project["version"]
    assert container(rendered(), "submitter")["image"] == f"onboarding-processor:{project['version']}"
