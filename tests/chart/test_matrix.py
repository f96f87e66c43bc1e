"""Every file of values in helm/ci: both Helms take it and agree, and Kubernetes knows every field of what they make."""

import re
from collections.abc import Callable
from pathlib import Path

import kubernetes_validate
import pytest
import trustme
from helm_python import lint

from processor.adapters.catalogue_file import catalogue_of
from processor.settings_loading import load_settings
from tests.chart.policies import templates
from tests.chart.validation import (
    CI_FILES,
    CI_NAMES,
    CRDS,
    KUBERNETES_VERSIONS,
    NAMESPACE,
    RELEASE,
    Object,
    helm_3,
    helm_3_text,
    helm_4_text,
    objects_in,
    objects_of,
    output,
    problems,
    title,
    values_of,
)
from tests.support.chart import CHART, chart, found
from tests.support.servers import cannot_run


def test_each_file_says_in_its_first_line_what_it_is() -> None:
    """Whoever looks for an example reads one line of each."""
    assert len(CI_FILES) >= 2
    for path in CI_FILES:
        first = path.read_text(encoding="utf-8").splitlines()[0]
        assert first.startswith("# "), path.name
        assert first.endswith("."), path.name


@pytest.mark.parametrize("name", CI_NAMES)
def test_the_processor_takes_what_each_file_says(tmp_path: Path, name: str) -> None:
    """An example that would not start is none: its settings and its catalogue load without a problem."""
    authority = trustme.CA()
    user = authority.issue_cert("user.example.test")
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    user.cert_chain_pems[0].write_to_path(tmp_path / "user.crt")
    user.private_key_pem.write_to_path(tmp_path / "user.key")
    objects = objects_of(name)
    [*_, (_, template)] = [one for one in templates(objects) if "envFrom" in one[1]["spec"]["containers"][0]]
    sources = [
        source for volume in template["spec"]["volumes"] for source in volume.get("projected", {}).get("sources", ())
    ]
    secrets = {item["path"]: "secret" for source in sources for item in source["secret"]["items"]}
    variables = found(objects, "ConfigMap", "settings")["data"] | secrets
    settings = load_settings({name: re.sub(r"/etc/[/\w-]+/", f"{tmp_path}/", text) for name, text in variables.items()})
    if text := values_of(name)["workflows"].get("catalogue"):
        (tmp_path / "workflows.yaml").write_text(text, encoding="utf-8")
        assert catalogue_of(settings, tmp_path / "workflows.yaml").workflows


@pytest.mark.parametrize("name", CI_NAMES)
def test_helm_4_finds_nothing_to_warn_about(name: str) -> None:
    """Lint, strict, says nothing above a remark."""
    report = lint(CHART, dict(values_of(name)), strict=True)
    assert ([message for message in report["messages"] if message["severity"] > 1], report["errors"]) == ([], [])


def test_helm_3_finds_nothing_to_warn_about() -> None:
    """Lint, strict, says nothing above a remark, whichever file it is given."""
    for path in CI_FILES:
        said = output([helm_3(), "lint", "--strict", str(CHART), "--values", str(path)])
        assert "[WARNING]" not in said
        assert "[ERROR]" not in said


@pytest.mark.parametrize("name", CI_NAMES)
def test_both_helms_make_the_same_objects(name: str) -> None:
    """Whoever has still Helm 3 gets what the others get."""
    third, fourth = (sorted(objects_in(text), key=title) for text in (helm_3_text(name), helm_4_text(name)))
    assert third == fourth


def test_the_versions_judged_are_the_newest_four_and_the_oldest_allowed() -> None:
    """The chart promises no version that nobody looked at."""
    assert len(set(KUBERNETES_VERSIONS)) == 5
    assert f"{KUBERNETES_VERSIONS[-1]}.0" == kubernetes_validate.latest_version()


@pytest.mark.parametrize("name", CI_NAMES)
def test_a_schema_covers_every_object_and_knows_every_field(name: str) -> None:
    """Strictly, in each version of Kubernetes; custom resources by the schemas of their makers."""
    objects = objects_of(name)
    assert objects
    assert [problem for item in objects for version in KUBERNETES_VERSIONS for problem in problems(item, version)] == []


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_kubernetes_validate_itself_says_the_same(version: str) -> None:
    """What is judged above by its schemas, read once, is what the tool says of each object."""
    for item in objects_of("minimal"):
        assert kubernetes_validate.validate(item, version, strict=True) == version


def misspell(item: Object) -> None:
    """Break a probe, deep inside a pod."""
    item["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["httpGet"]["prot"] = "ops"


def retype(item: Object) -> None:
    """Give a number as a text."""
    item["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = "60"


def misname(item: Object) -> None:
    """Ask for a kind that nobody knows."""
    item["kind"] = "Deploymint"


def date(item: Object) -> None:
    """Ask for a version of the API that is gone."""
    item["apiVersion"] = "extensions/v1beta1"


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize(
    "breaking,said",
    [
        (misspell, "containers.0.livenessProbe.httpGet: Additional properties are not allowed ('prot' was unexpected)"),
        (retype, "spec.template.spec.terminationGracePeriodSeconds: '60' is not of type 'integer'"),
        (misname, "no schema covers apps/v1 Deploymint"),
        (date, "no schema covers extensions/v1beta1 Deployment"),
    ],
)
def test_a_wrong_object_is_seen(breaking: Callable[[Object], None], said: str, version: str) -> None:
    """The check above can fail: on a field deep inside, and on what no schema covers."""
    item = found(objects_of("minimal"), "Deployment", "submitter")
    assert list(problems(item, version)) == []
    breaking(item)
    [problem] = problems(item, version)
    assert said in problem


CUSTOM: list[tuple[str, str, Callable[[Object], object], str]] = [
    (
        "everything",
        "PodMonitor",
        lambda o: o["spec"]["podMetricsEndpoints"][0].update(intervall="1s"),
        "'intervall' was",
    ),
    ("everything", "PrometheusRule", lambda o: o["spec"]["groups"][0]["rules"][0].update(expr=["a"]), "rules.0.expr: "),
    (
        "everything",
        "ScaledObject",
        lambda o: o["spec"]["triggers"][0]["metadata"].update(topic=1),
        "metadata.topic: 1 is",
    ),
    (
        "everything",
        "HTTPRoute",
        lambda o: o["spec"]["rules"][0]["matches"][0]["path"].update(type="All"),
        "'All' is not",
    ),
    ("everything", "Certificate", lambda o: o["spec"]["issuerRef"].pop("name"), "'name' is a required property"),
    ("everything", "ExternalSecret", lambda o: o.update(speck={}), "'speck' was unexpected"),
    ("all-scaled", "GrafanaDashboard", lambda o: o["metadata"].update(labels=["a"]), "metadata.labels: "),
    ("strimzi", "KafkaTopic", lambda o: o["spec"].update(partitions="12"), "spec.partitions: '12' is not of type"),
]


@pytest.mark.parametrize("name,kind,breaking,said", CUSTOM, ids=[kind for _, kind, _, _ in CUSTOM])
def test_a_wrong_custom_resource_is_seen(name: str, kind: str, breaking: Callable[[Object], object], said: str) -> None:
    """The schemas of their makers are as strict, on metadata and on the outermost keys too."""
    item = next(item for item in objects_of(name) if item["kind"] == kind)
    assert list(problems(item, KUBERNETES_VERSIONS[-1])) == []
    breaking(item)
    assert said in "".join(problems(item, KUBERNETES_VERSIONS[-1]))


def test_every_custom_resource_is_in_the_matrix() -> None:
    """Each schema that lies beside this clone judges some object of some file."""
    if not CRDS.is_dir():
        cannot_run("the schemas of custom resources are not beside this clone, in ../shared/crds")
    made = {f"{item['apiVersion']} {item['kind']}".lower() for name in CI_NAMES for item in objects_of(name)}
    files = CRDS.rglob("*.json")
    wanted = {f"{path.parent.name}/{path.stem.rpartition('_')[2]} {path.stem.rpartition('_')[0]}" for path in files}
    assert wanted <= made


def test_what_is_made_depends_on_values_alone() -> None:
    """No template asks the cluster what it can do: what `helm template` shows is what an installation makes."""
    sources = [*CHART.rglob("templates/**/*.yaml"), *CHART.rglob("templates/**/*.tpl")]
    assert sources
    assert [path.name for path in sources if re.search(r"\.Capabilities|\blookup ", path.read_text("utf-8"))] == []


@pytest.mark.parametrize("name", CI_NAMES)
def test_labels_of_the_house_are_on_every_object_and_pod(name: str) -> None:
    """Policies of clusters demand them everywhere, on Jobs and tests too; no selector has them, for none may change."""
    house = {"squad": "onboarding-squad"}
    files = chart().render({**values_of(name), "commonLabels": house}, name=RELEASE, namespace=NAMESPACE)
    objects = objects_in("\n---\n".join(text for file, text in files.items() if not file.endswith("NOTES.txt")))
    labelled = [*objects, *(template for _, template in templates(objects))]
    assert [each for each in labelled if not house.items() <= each["metadata"]["labels"].items()] == []
    assert "onboarding-squad" not in str(
        [item["spec"]["selector"] for item in objects if "selector" in item.get("spec", {})]
    )
