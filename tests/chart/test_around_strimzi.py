"""Topics and users of Strimzi in the chart: the very ones that the program makes and needs, and pods that use them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme

from processor.adapters.acls import ROLES, Grantee, Installation, Pattern, acls_of
from processor.adapters.topic_specs import topic_specs
from processor.settings import Settings
from processor.settings_loading import load_settings
from tests.chart.kafka_facts import FACTS, rights, text
from tests.chart.validation import KUBERNETES_VERSIONS, Object, problems
from tests.support.chart import ENOUGH, Values, container, found, merged, pod, refused, rendered
from tests.support.pods import Container

CANARY = "Zebra-Quagga-7"
RERUN = "version: 1\nworkflows:\n  a: {definition: d, resultsTopic: identity.a, unknown: {policy: rerun}}\n"
OWN: Values = {
    "settings": {
        "application_id": "Staging_2",
        "topics": {
            "requests": "identity.requests",
            "dead_letters": "Dead_Letters",
            "partitions": 24,
            "replication_factor": 2,
            "min_insync_replicas": 1,
            "record_bytes_max": 2_000_000,
        },
    },
    "workflows": {"catalogue": RERUN},
}
EXISTING: Values = {"workflows": {"catalogue": "", "existingConfigMap": "catalogue"}}
TOLD: Values = {"strimzi": {"catalogue": {"resultsTopics": ["identity.b"], "rerun": True}}}


class Case(NamedTuple):
    """Values, and what their catalogue says of topics and runs."""

    values: Values
    results_topics: tuple[str, ...]
    has_rerun: bool

    @property
    def settings(self) -> Settings:
        """The settings of this installation."""
        return Settings.model_validate(merged(ENOUGH["settings"], self.values.get("settings", {})))


CASES = {
    "as it comes": Case({}, ("onboarding.company-results",), has_rerun=True),
    "own names": Case(OWN, ("identity.a",), has_rerun=True),
    "nothing runs again": Case(
        {"workflows": {"catalogue": RERUN.replace("rerun", "hold")}}, ("identity.a",), has_rerun=False
    ),
    "catalogue there already": Case(EXISTING, (), has_rerun=False),
    "catalogue there already, and told": Case(merged(EXISTING, TOLD), ("identity.b",), has_rerun=True),
}
EACH_CASE = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
USER_ROLES: Mapping[str, tuple[Grantee, ...]] = {
    "submitter": (Grantee.SUBMITTER,),
    "ingestor": (Grantee.INGESTOR,),
    "reconciler": (Grantee.RECONCILER,),
    "setup": (Grantee.SETUP,),
}


def on(what: str, values: Values = {}, **more: Any) -> list[Object]:  # noqa: ANN401, B006  # as in values.yaml; never changed
    """Return what is rendered with topics or users enabled."""
    return rendered(**merged(values, {"strimzi": {"cluster": "main", what: {"enabled": True, **more}}}))


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    """Return all objects of a kind."""
    return [item for item in objects if item["kind"] == kind]


def granted(objects: list[Object], role: str) -> set[tuple[str, str, str, tuple[str, ...]]]:
    """Return the rights of a user, as a set."""
    acls = found(objects, "KafkaUser", f"-{role}")["spec"]["authorization"]["acls"]
    rows = [
        (*(acl["resource"][key] for key in ("type", "name", "patternType")), tuple(acl["operations"])) for acl in acls
    ]
    assert len(rows) == len(set(rows))
    return set(rows)


def least(grantees: tuple[Grantee, ...], installation: Installation) -> set[tuple[str, str, str, tuple[str, ...]]]:
    """Return the rights that the program names, in Strimzi's words."""
    patterns = {Pattern.LITERAL: "literal", Pattern.PREFIXED: "prefix"}
    return {
        (str(acl.resource.kind), acl.resource.name, patterns[acl.resource.pattern], tuple(map(str, acl.operations)))
        for acl in acls_of(grantees, installation)
    }


def test_the_chart_was_told_what_the_code_says() -> None:
    """Mend it with `python -m tests.chart.kafka_facts`."""
    assert FACTS.read_text(encoding="utf-8") == text()


def test_what_runs_again_only_adds_rights() -> None:
    """So one list, with marks on what it adds, says both."""
    for grantees in [*([role] for role in Grantee), ROLES]:
        plain = acls_of(grantees, Installation(Settings(), ("onboarding.results",)))
        unmarked = [right for right in rights(grantees) if "rerun" not in right]
        assert len(unmarked) == len(plain)


@pytest.mark.parametrize("kind,number", [("KafkaTopic", 11), ("KafkaUser", 4)])
@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_schemas_know_every_field_of_a_topic_and_a_user(version: str, kind: str, number: int) -> None:
    """Strimzi's own, strictly."""
    both = merged(OWN, {"strimzi": {"users": {"enabled": True, "secretAnnotations": {"example.test/copy": "yes"}}}})
    items = of_kind(on("topics", both), kind)
    assert len(items) == number + (kind == "KafkaTopic")
    assert [problem for item in items for problem in problems(item, version)] == []


@EACH_CASE
def test_topics_are_those_that_the_command_makes(case: Case) -> None:
    """Names, partitions, replicas and every configuration are those of `processor topics create`."""
    made = {
        item["spec"]["topicName"]: (item["spec"]["partitions"], item["spec"]["replicas"], item["spec"]["config"])
        for item in of_kind(on("topics", case.values), "KafkaTopic")
    }
    assert made == {
        spec.name: (spec.partitions, spec.replication_factor, dict(spec.config))
        for spec in topic_specs(case.settings.topics, case.results_topics)
    }


@EACH_CASE
@pytest.mark.parametrize("role", USER_ROLES)
def test_users_have_the_least_rights(role: str, case: Case) -> None:
    """Those that `processor topics acls` names for the role, and no other."""
    results_topics = tuple(sorted({case.settings.topics.results, *case.results_topics}))
    installation = Installation(case.settings, results_topics, case.has_rerun)
    assert granted(on("users", case.values), role) == least(USER_ROLES[role], installation)


def test_one_workload_with_all_roles_has_one_user_with_all_their_rights() -> None:
    """In layout `all`; each resource is named once."""
    objects = on("users", {"layout": "all", "test": {"enabled": False}, **EXISTING})
    assert len(of_kind(objects, "KafkaUser")) == 1
    assert granted(objects, "all") == least(ROLES, Installation(Settings(), ("onboarding.results",)))


def test_people_may_have_their_rights_in_the_pods_of_one_workload() -> None:
    """Those of `held`, `adopt`, `pause` and `resume` on top of the workload's own, and nobody else has them."""
    objects = on("users", EXISTING, operatorsIn="reconciler")
    installation = Installation(Settings(), ("onboarding.results",))
    own, theirs = (least((grantee,), installation) for grantee in (Grantee.RECONCILER, Grantee.OPERATOR))
    assert granted(objects, "reconciler") == own | theirs
    assert granted(objects, "submitter") == least((Grantee.SUBMITTER,), installation)


def test_topics_stay_when_the_release_goes() -> None:
    """They hold requests, custody and state; no `helm uninstall` may delete them."""
    for item in of_kind(on("topics"), "KafkaTopic"):
        assert item["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_objects_of_topics_are_called_as_kubernetes_allows() -> None:
    """As the topic where that is a name there; else alike, and unlike that of any other topic."""
    names = ["a_b", "a-b", "A-b", "a..b", ".a", "a" * 249]
    topics = dict(zip(("requests", "results", "links", "progress", "launches", "workflows"), names, strict=True))
    objects = of_kind(on("topics", {"settings": {"topics": topics}}), "KafkaTopic")
    called = {item["spec"]["topicName"]: item["metadata"]["name"] for item in objects}
    assert names == [name for name in called if name in names]
    assert called["a-b"] == "a-b"
    assert len(set(called.values())) == len(called)
    for name in called.values():
        assert len(name) <= 253
        assert all(label[:1].isalnum() and label[-1:].isalnum() and label == label.lower() for label in name.split("."))


def test_topics_that_others_make_are_left_out() -> None:
    """Such as that of the requests, which publishers may own."""
    names = [item["spec"]["topicName"] for item in of_kind(on("topics"), "KafkaTopic")]
    left = on("topics", {"strimzi": {"topics": {"except": ["onboarding.requests"]}}})
    assert {item["spec"]["topicName"] for item in of_kind(left, "KafkaTopic")} == {*names} - {"onboarding.requests"}


def test_topics_and_users_lie_where_their_operator_looks() -> None:
    """The cluster's label and the namespace are by value; the release's own by default."""
    for namespace, expected in (("", "identity"), ("kafka", "kafka")):
        values = {"strimzi": {"namespace": namespace, "users": {"enabled": True}}}
        items = [item for kind in ("KafkaTopic", "KafkaUser") for item in of_kind(on("topics", values), kind)]
        assert {item["metadata"]["namespace"] for item in items} == {expected}
        assert {item["metadata"]["labels"]["strimzi.io/cluster"] for item in items} == {"main"}


@pytest.fixture(scope="module")
def certificates() -> Mapping[str, str]:
    """Return what lies in the Secrets of a cluster's authority and of a user with a certificate."""
    authority = trustme.CA()
    user = authority.issue_cert("user.example.test")
    texts = {"ca.crt": authority.cert_pem, "user.crt": user.cert_chain_pems[0], "user.key": user.private_key_pem}
    return {name: pem.bytes().decode() for name, pem in texts.items()}


@pytest.mark.parametrize("way", ["scram-sha-512", "tls"])
@pytest.mark.parametrize("role", ["submitter", "ingestor", "reconciler"])
def test_pods_come_to_the_brokers_as_their_user(
    role: str, way: str, certificates: Mapping[str, str], tmp_path: Path
) -> None:
    """What a pod is given makes settings that name its user, or its certificate, and the cluster's authority."""
    objects = on("users", {"settings": {"kafka": {"properties": {"linger.ms": 4}}}}, authentication=way)
    user = found(objects, "KafkaUser", role)
    assert user["spec"]["authentication"] == {"type": way}
    given = Container(objects, pod(objects, role), container(objects, role))
    variables = given.variables(tmp_path, lambda file: certificates.get(file, CANARY))
    variables["PROCESSOR_KAFKA__PROPERTIES"] = variables["PROCESSOR_KAFKA__PROPERTIES"].replace('"/', f'"{tmp_path}/')
    kafka = load_settings(variables).kafka
    assert kafka.properties["linger.ms"] == "4"
    for name in [name for name in kafka.properties if name.endswith(".location")]:
        file = Path(kafka.properties[name])
        assert file.read_text() == certificates[file.name]
    if way == "tls":
        assert kafka.sasl_username is None
        assert kafka.properties.keys() >= {"ssl.ca.location", "ssl.certificate.location", "ssl.key.location"}
        assert kafka.properties["security.protocol"] == "SSL"
        return
    assert kafka.sasl_password is not None
    assert (kafka.sasl_username, kafka.sasl_password.get_secret_value()) == (user["metadata"]["name"], CANARY)
    assert kafka.properties.items() >= {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512"}.items()


@pytest.mark.parametrize("role", ["submitter", "ingestor", "reconciler", "setup", "test"])
def test_each_pod_is_given_its_own_user_and_no_other(role: str) -> None:
    """Set-up and test have one together; the Secrets are named like the users, the authority like the cluster."""
    values = {"setupJob": {"enabled": True, "when": "after"}}
    for way, keys in (("scram-sha-512", {"password"}), ("tls", {"user.crt", "user.key"})):
        objects = on("users", values, authentication=way)
        users = {item["metadata"]["name"] for item in of_kind(objects, "KafkaUser")}
        sources = [
            source["secret"]
            for volume in pod_of(objects, role)["volumes"]
            for source in volume.get("projected", {}).get("sources", [])
        ]
        own = {"name": f"onboarding-onboarding-processor-{'setup' if role == 'test' else role}"}
        mounted = {(source["name"], item["key"]) for source in sources for item in source["items"]}
        assert {pair for pair in mounted if pair[0] in users} == {(own["name"], key) for key in keys}
        assert ("main-cluster-ca-cert", "ca.crt") in mounted


def pod_of(objects: list[Object], role: str) -> dict[str, Any]:
    """Return the specification of a pod, of whatever makes it."""
    spec: dict[str, Any] = {"test": lambda: found(objects, "Pod", role)["spec"]}.get(
        role, lambda: found(objects, "Job" if role == "setup" else "Deployment", role)["spec"]["template"]["spec"]
    )()
    return spec


def test_the_authority_may_be_another_one_or_none() -> None:
    """A listener with a certificate that everybody trusts needs none."""
    named = on("users", {"strimzi": {"clusterCa": {"existingSecret": "mine", "key": "tls.crt"}}})
    [volume] = [item for item in pod(named, "submitter")["volumes"] if item["name"] == "kafka-certificates"]
    [source] = volume["projected"]["sources"]
    assert source["secret"] == {"name": "mine", "items": [{"key": "tls.crt", "path": "ca.crt"}]}
    none = on("users", {"strimzi": {"clusterCa": {"enabled": False}}})
    properties = json.loads(found(none, "ConfigMap", "settings")["data"]["PROCESSOR_KAFKA__PROPERTIES"])
    assert "ssl.ca.location" not in properties
    assert "kafka-certificates" not in {item["name"] for item in pod(none, "submitter")["volumes"]}


@pytest.mark.parametrize(
    "way,sasl,parameters",
    [
        ("scram-sha-512", "scram_sha512", {"password": "password", "ca": "ca.crt"}),
        ("tls", "none", {"ca": "ca.crt", "cert": "user.crt", "key": "user.key"}),
    ],
)
def test_keda_comes_to_the_brokers_as_the_user_of_the_workload(
    way: str, sasl: str, parameters: Mapping[str, str]
) -> None:
    """Its rights suffice to read the lag: it may describe its groups and topics."""
    objects = on("users", {"keda": {"reconciler": {"enabled": True}}}, authentication=way)
    [trigger] = found(objects, "ScaledObject", "reconciler")["spec"]["triggers"]
    spec = found(objects, "TriggerAuthentication", "reconciler")["spec"]
    assert (trigger["metadata"]["sasl"], trigger["metadata"]["tls"]) == (sasl, "enable")
    assert {item["parameter"]: item["key"] for item in spec["secretTargetRef"]} == parameters
    user = found(objects, "KafkaUser", "reconciler")["metadata"]["name"]
    assert {item["name"] for item in spec["secretTargetRef"]} == {user, "main-cluster-ca-cert"}
    told = {item["name"]: item["value"] for item in container(objects, "reconciler")["env"]}
    for item in spec.get("env", []):
        assert (item["parameter"], told[item["name"]], item["containerName"]) == ("username", user, "reconciler")
    may = {(kind, name) for kind, name, *_ in granted(objects, "reconciler")}
    metadata = trigger["metadata"]
    assert {("group", metadata["consumerGroup"]), ("topic", metadata["topic"])} <= may


USERS: Values = {"strimzi": {"cluster": "main", "users": {"enabled": True}}}
REFUSALS: list[tuple[Values, str]] = [
    (
        {"strimzi": {"topics": {"enabled": True}}},
        "strimzi.cluster is missing, so no operator would make the topics; set",
    ),
    ({"strimzi": {"users": {"enabled": True}}}, "strimzi.cluster is missing, so no operator would make the users; set"),
    (
        {"strimzi": {"cluster": "main", "topics": {"enabled": True, "except": ["request"]}}},
        "strimzi.topics.except: request is no topic of this installation; write one of onboarding.requests, ",
    ),
    (TOLD, "strimzi.catalogue is for workflows.existingConfigMap, but workflows.catalogue is given"),
    (merged(USERS, {"secrets": {"kafka": {"existingSecret": "a"}}}), "the users have Secrets of their own, but"),
    (
        merged(USERS, {"settings": {"kafka": {"sasl_username": "a"}}}),
        "each workload has a user of its own, but settings.kafka.sasl_username is set; unset it",
    ),
    (
        merged(USERS, {"settings": {"kafka": {"properties": {"security.protocol": "ssl"}}}}),
        "security.protocol SSL does not fit strimzi.users.authentication; leave it out",
    ),
    (
        merged(USERS, {"setupJob": {"enabled": True}}),
        "setupJob.when is before, but strimzi.users makes the user that the Job needs, and comes later; set",
    ),
    (
        merged(USERS, {"strimzi": {"users": {"operatorsIn": "all"}}}),
        "strimzi.users.operatorsIn: there is no workload all in layout roles; write one of submitter, ingestor",
    ),
    ({"strimzi": {"users": {"authentication": "plain"}}}, "/strimzi/users/authentication"),
    ({"strimzi": {"topic": {}}}, "'topic' not allowed"),
]


@pytest.mark.parametrize("values,sentence", REFUSALS, ids=[sentence for _, sentence in REFUSALS])
def test_topics_and_users_that_cannot_be_are_refused(values: Values, sentence: str) -> None:
    """Each sentence says what to change."""
    assert sentence in refused(**values)
