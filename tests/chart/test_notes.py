"""What is said after an installation: the next commands, what there must be, and what is risky."""

from typing import Any

import pytest

from processor.adapters.catalogue_file import catalogue_of
from processor.adapters.request_lines import KeyPath, read_request_line
from processor.adapters.topic_specs import subjects_of
from processor.cli.starting import specs_for
from processor.settings import Settings
from tests.support.chart import ENOUGH, NO_PROVIDER, Values, chart, merged
from tests.support.root import ROOT

NOTES = "onboarding-processor/templates/NOTES.txt"
TLS: Values = {"kafka": {"properties": {"security.protocol": "ssl"}}}


def notes(**values: Any) -> str:  # noqa: ANN401  # as in values.yaml
    """Return what an installation with enough values and these is told."""
    return chart().render(merged(ENOUGH, values), name="onboarding", namespace="identity")[NOTES]


def listed(text: str, begin: str) -> list[str]:
    """Return the indented lines behind one that begins so."""
    _, _, rest = text.partition(begin)
    lines = rest.splitlines()[1:]
    return [line.strip() for line in lines[: next(n for n, line in enumerate(lines) if not line.startswith("  "))]]


@pytest.mark.parametrize(
    "values,workload",
    [
        ({}, "deployment/onboarding-onboarding-processor-submitter"),
        ({"layout": "all"}, "deployment/onboarding-onboarding-processor-all"),
        (
            {"submitter": {"persistence": {"enabled": True}}},
            "statefulset/onboarding-onboarding-processor-submitter",
        ),
    ],
    ids=["roles", "all", "persistent"],
)
def test_the_notes_name_the_next_commands(values: Values, workload: str) -> None:
    """Each is run in a pod that there is."""
    said = notes(**values)
    for command in ("topics create", "schemas register", "check"):
        assert f"  kubectl --namespace identity exec {workload} -- processor {command}\n" in said
    assert f"  kubectl --namespace identity rollout status {workload}\n" in said
    assert "  helm test onboarding --namespace identity --logs\n" in said
    assert "http://onboarding-onboarding-processor-ingestor.identity:80/webhooks;" in said


@pytest.mark.parametrize(
    "settings", [{}, {"application_id": "staging", "topics": {"requests": "identity.in", "control": "knobs"}}]
)
def test_the_notes_list_every_topic_and_subject(settings: Values) -> None:
    """They are those that `processor topics create` and `processor schemas register` make."""
    file = {"workflows": {"file": ROOT / "workflows.example.yaml"}}
    effective = Settings.model_validate(merged(file, settings))
    specs = specs_for(effective, catalogue_of(effective))
    said = notes(settings=settings)
    assert sorted(listed(said, "It needs these topics:")) == sorted(spec.name for spec in specs)
    assert sorted(listed(said, "and these subjects")) == sorted(f"{topic}-value" for topic in subjects_of(specs))


def test_a_set_up_job_leaves_nothing_to_do_by_hand() -> None:
    """The commands are named only where no Job runs them."""
    said = notes(setupJob={"enabled": True})
    assert "processor topics create" not in said
    assert "The Job onboarding-onboarding-processor-setup makes what is missing" in said


def test_who_makes_the_topics_is_said() -> None:
    """Strimzi, the Job or a person; a user with the least rights is told to let the Job do it."""
    cluster = {"cluster": "kafka", "topics": {"enabled": True}}
    said = notes(strimzi=cluster)
    assert "Strimzi makes the topics." in said
    assert "processor topics create" not in said
    assert "processor schemas register" in said
    assert "so set setupJob.enabled" in notes(strimzi={"cluster": "kafka", "users": {"enabled": True}})


def test_a_catalogue_of_somebody_else_is_read_at_starts() -> None:
    """The notes say what to do after a change of it, for each workload."""
    said = notes(workflows={"catalogue": "", "existingConfigMap": "catalogue"})
    names = [f"deployment/onboarding-onboarding-processor-{role}" for role in ("submitter", "ingestor", "reconciler")]
    assert f"  kubectl --namespace identity rollout restart {' '.join(names)}\n" in said
    assert "and both for each resultsTopic of the catalogue in the ConfigMap catalogue." in said


def test_the_request_of_the_notes_is_one() -> None:
    """What the notes of a staging installation say to publish can be published."""
    _, _, rest = notes(**NO_PROVIDER).partition("  echo '")
    line, _, _ = rest.partition("'")
    assert read_request_line(line, now=0, key=KeyPath(None)).record["requestId"] == "staging-1"


RISKS: list[tuple[Values, str]] = [
    ({"settings": merged(TLS, {"api": {"base_url": "http://a"}})}, "settings.api.base_url: http:// is no TLS"),
    (
        {"settings": merged(TLS, {"providers": {"bank": {"base_url": "http://a"}}})},
        "settings.providers.bank.base_url: http:// is no TLS",
    ),
    ({"settings": TLS, "ingress": {"enabled": True, "hosts": ["a.example"]}}, "webhooks come without TLS, unless"),
    ({"settings": {}}, "security.protocol is plaintext"),
    ({"settings": {"kafka": {"properties": {"security.protocol": "SASL_PLAINTEXT"}}}}, "is sasl_plaintext"),
    ({"settings": merged(TLS, {"topics": {"replication_factor": 1}})}, "topics.replication_factor is below 3"),
    ({"settings": merged(TLS, {"topics": {"min_insync_replicas": 1}})}, "topics.min_insync_replicas is below 2"),
    ({"settings": TLS, "reconciler": {"replicas": 0}}, "reconciler.replicas is 0; nothing does its work"),
    ({"settings": TLS, "ingestor": {"replicas": 1}}, "ingestor.replicas is 1; webhooks that come while"),
    ({"settings": TLS, "layout": "all", "all": {"replicas": 1}}, "all.replicas is 1; webhooks that come while"),
    (
        {"settings": TLS, "submitter": {"replicas": 13}, "acknowledgeIdleReplicas": True},
        "submitter.replicas is above the 12 partitions",
    ),
    ({"settings": TLS, "ingestor": {"service": {"type": "LoadBalancer"}}}, "is open without TLS"),
    (
        {"secrets": {"kafka": {"existingSecret": "user", "keys": {"sasl_username": "user"}}}},
        "security.protocol is plaintext",
    ),
    ({"settings": merged(TLS, {"webhook": {"port": 443}})}, "settings.webhook.port is 443: below 1024"),
    ({"settings": merged(TLS, {"ops": {"port": 1023}})}, "settings.ops.port is 1023: below 1024"),
    (merged(NO_PROVIDER, {"settings": TLS}), "no provider is called, and results are invented"),
]


@pytest.mark.parametrize("values,sentence", RISKS, ids=[sentence for _, sentence in RISKS])
def test_what_is_risky_is_said(values: Values, sentence: str) -> None:
    """Each risk has its warning, and nothing else has one."""
    said = notes(**values)
    assert said.count("WARNING: ") == 1
    assert sentence in said.partition("WARNING: ")[2]


def test_values_without_risks_warn_of_nothing() -> None:
    """A warning that is always there is read by nobody."""
    assert "WARNING" not in notes(settings=TLS)
    assert "WARNING" not in notes(strimzi={"cluster": "kafka", "users": {"enabled": True}})
    hidden = {"existingSecret": "user", "keys": {"properties": "properties"}}
    assert "WARNING" not in notes(secrets={"kafka": hidden})


def test_profiles_are_real_beside_a_simulator() -> None:
    """The simulator stands for one profile only."""
    said = notes(**merged(NO_PROVIDER, {"settings": {"providers": {"bank": {"base_url": "https://bank.example"}}}}))
    assert "WARNING: settings.providers: the simulator stands for settings.api only; workflows of bank" in said
