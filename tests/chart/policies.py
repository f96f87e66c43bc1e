"""What platform teams ask of every object that a chart makes, as rules over rendered objects.

Each rule gives a sentence for every breach of it. What a rule must know of the installation it finds in the objects.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from processor.settings_loading import all_settings

Object = Mapping[str, Any]
Rule = Callable[[Sequence[Object]], Iterator[str]]

NAME_CHARACTERS_MAX = 63
LONG_RUNNING = frozenset({"Deployment", "StatefulSet"})
LABELS = (
    "helm.sh/chart",
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/version",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/managed-by",
)
SELECTING = frozenset({"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"})
# The volumes that the level `restricted` allows.
VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
SECRET_VARIABLES = frozenset(setting.variable for setting in all_settings() if setting.is_secret)
SECRET_WORDS = frozenset(variable.rpartition("__")[2] for variable in SECRET_VARIABLES)


def title(item: Object) -> str:
    """Return what an object is called in a report."""
    return f"{item['kind']}/{item['metadata']['name']}"


def templates(objects: Sequence[Object]) -> Iterator[tuple[Object, Object]]:
    """Give each object that makes pods with the template of its pods."""
    for item in objects:
        if item["kind"] == "Pod":
            yield item, item
        elif item["kind"] == "CronJob":
            yield item, item["spec"]["jobTemplate"]["spec"]["template"]
        elif "template" in item.get("spec", {}) and "containers" in item["spec"]["template"].get("spec", {}):
            yield item, item["spec"]["template"]


def containers(objects: Sequence[Object]) -> Iterator[tuple[str, Object, Object]]:
    """Give each container of each pod, those that prepare a pod too: where it is, its pod, and it."""
    for item, template in templates(objects):
        spec = template["spec"]
        for one in (*spec.get("initContainers", ()), *spec["containers"]):
            yield f"{title(item)}: {one['name']}", spec, one


def restricted_pods(objects: Sequence[Object]) -> Iterator[str]:
    """Pods fit the Pod Security level `restricted`: what belongs to the pod."""
    for item, template in templates(objects):
        spec, context = template["spec"], template["spec"].get("securityContext", {})
        for name in ("hostNetwork", "hostPID", "hostIPC"):
            if spec.get(name):
                yield f"{title(item)}: {name}"
        for name in context.keys() & {"sysctls", "windowsOptions", "seLinuxOptions"}:
            yield f"{title(item)}: securityContext.{name}"
        for volume in spec.get("volumes", ()):
            yield from (f"{title(item)}: a volume of {kind}" for kind in volume.keys() - VOLUMES - {"name"})


def restricted_containers(objects: Sequence[Object]) -> Iterator[str]:
    """Pods fit the Pod Security level `restricted`: what belongs to each container; and root is read-only."""
    for where, spec, one in containers(objects):
        own = one.get("securityContext", {})
        both = spec.get("securityContext", {}) | own
        wanted = {
            "runAsNonRoot is not true": both.get("runAsNonRoot") is True,
            "runAsUser is 0": both.get("runAsUser") != 0,
            "seccompProfile is not RuntimeDefault": both.get("seccompProfile") == {"type": "RuntimeDefault"},
            "allowPrivilegeEscalation is not false": own.get("allowPrivilegeEscalation") is False,
            "privileged": not own.get("privileged"),
            "procMount": "procMount" not in own,
            "not all capabilities are dropped": own.get("capabilities") == {"drop": ["ALL"]},
            "readOnlyRootFilesystem is not true": own.get("readOnlyRootFilesystem") is True,
            "hostPort": not any("hostPort" in port for port in one.get("ports", ())),
        }
        yield from (f"{where}: {breach}" for breach, is_kept in wanted.items() if not is_kept)


def no_token(objects: Sequence[Object]) -> Iterator[str]:
    """No pod is given a token for Kubernetes' API, neither by itself nor by its account."""
    for item, template in templates(objects):
        if template["spec"].get("automountServiceAccountToken") is not False:
            yield f"{title(item)}: a token is mounted"
    for item in objects:
        if item["kind"] == "ServiceAccount" and item.get("automountServiceAccountToken") is not False:
            yield f"{title(item)}: a token is mounted"


def probes(objects: Sequence[Object]) -> Iterator[str]:
    """Whatever runs on has three probes, and its life never hangs on being ready."""
    for item, template in templates(objects):
        if item["kind"] not in LONG_RUNNING:
            continue
        for one in template["spec"]["containers"]:
            for name in ("startupProbe", "livenessProbe", "readinessProbe"):
                if name not in one:
                    yield f"{title(item)}: {one['name']}: no {name}"
            if one.get("livenessProbe", {}).get("httpGet", {}).get("path") == "/readyz":
                yield f"{title(item)}: {one['name']}: it dies of not being ready"


def resources(objects: Sequence[Object]) -> Iterator[str]:
    """Every container asks for CPU and memory and is bounded in memory, not in CPU: throttled pods miss deadlines."""
    for where, _, one in containers(objects):
        given = one.get("resources", {})
        if not given.get("requests", {}).keys() >= {"cpu", "memory"}:
            yield f"{where}: no requests"
        if given.get("limits", {}).keys() != {"memory"}:
            yield f"{where}: its limits are not memory alone"


def one_image(objects: Sequence[Object]) -> Iterator[str]:
    """Every container has one and the same image, of a named version, never the latest."""
    images = Counter(one["image"] for _, _, one in containers(objects))
    if len(images) > 1:
        yield f"several images: {', '.join(sorted(images))}"
    for image in images:
        if not re.fullmatch(r".+(:[\w.-]+|@sha256:[0-9a-f]{64})", image) or image.endswith(":latest"):
            yield f"{image} names no version"


def replicas_of(item: Object, objects: Sequence[Object]) -> int:
    """Return how many pods a workload may have, whoever decides on it."""
    if "replicas" in item["spec"]:
        return int(item["spec"]["replicas"])
    for scaler in objects:
        target = scaler.get("spec", {}).get("scaleTargetRef")
        if target and (target["kind"], target["name"]) == (item["kind"], item["metadata"]["name"]):
            return int(scaler["spec"].get("maxReplicas") or scaler["spec"]["maxReplicaCount"])
    return 1


def budgets(objects: Sequence[Object]) -> Iterator[str]:
    """A node can be drained, and takes one pod of a workload at a time: a budget where there are several pods."""
    found = [item["spec"] for item in objects if item["kind"] == "PodDisruptionBudget"]
    for item, template in templates(objects):
        if item["kind"] not in LONG_RUNNING:
            continue
        mine = [budget for budget in found if selects(budget["selector"], template)]
        wanted = int(replicas_of(item, objects) > 1)
        if len(mine) != wanted:
            yield f"{title(item)}: {len(mine)} disruption budgets, not {wanted}"
        yield from (f"{title(item)}: no pod may go" for one in mine if one.get("maxUnavailable") != 1)


def selects(selector: Mapping[str, Any], template: Object) -> bool:
    """Say whether a selector of labels chooses the pods of a template."""
    labels: Mapping[str, str] = template["metadata"].get("labels", {})
    return bool(selector["matchLabels"].items() <= labels.items())


def no_secret_values(objects: Sequence[Object]) -> Iterator[str]:
    """No secret is in an object: no Secret but the simulator's, whose values are known to all, and no such variable."""
    for item in objects:
        component = item["metadata"].get("labels", {}).get("app.kubernetes.io/component")
        if item["kind"] == "Secret" and component != "simulator":
            yield f"{title(item)}: a Secret with values"
        if item["kind"] == "ConfigMap":
            yield from (f"{title(item)}: {name}" for name in item.get("data", {}) if is_secret_variable(name))
    for where, _, one in containers(objects):
        named = [variable["name"] for variable in one.get("env", ()) if "value" in variable]
        yield from (f"{where}: {name}" for name in named if is_secret_variable(name))


def is_secret_variable(name: str) -> bool:
    """Say whether a variable holds a secret setting, that of a further profile of the provider too."""
    is_of_profile = name.startswith("PROCESSOR_PROVIDERS__") and name.rpartition("__")[2] in SECRET_WORDS
    return name in SECRET_VARIABLES or is_of_profile


def labels(objects: Sequence[Object]) -> Iterator[str]:
    """Every object says what it is, by Kubernetes' recommended labels, and every pod whose it is."""
    for item in objects:
        own = item["metadata"].get("labels", {})
        yield from (f"{title(item)}: no label {name}" for name in LABELS if name not in own)
    for item, template in templates(objects):
        missing = SELECTING - template["metadata"].get("labels", {}).keys()
        yield from (f"{title(item)}: its pods have no label {name}" for name in sorted(missing))


def selectors(objects: Sequence[Object]) -> Iterator[str]:
    """A workload chooses its own pods, by what never changes, and no two the same; whatever chooses pods finds some."""
    chosen: Counter[str] = Counter()
    for item, template in templates(objects):
        if item["kind"] in LONG_RUNNING:
            selector = item["spec"]["selector"]
            if selector["matchLabels"].keys() != SELECTING or not selects(selector, template):
                yield f"{title(item)}: its selector"
            chosen.update(title(other) for other, pods in templates(objects) if selects(selector, pods))
    yield from (f"{one}: chosen by {count} workloads" for one, count in chosen.items() if count > 1)
    for item in objects:
        for selector in choices(item):
            if not any(selects(selector, pods) for _, pods in templates(objects)):
                yield f"{title(item)}: it chooses no pod"


def choices(item: Object) -> Iterator[Mapping[str, Any]]:
    """Give the selectors of pods in an object that is no workload."""
    spec = item.get("spec", {})
    match item["kind"]:
        case "Service":
            yield {"matchLabels": spec["selector"]}
        case "PodDisruptionBudget" | "PodMonitor":
            yield spec["selector"]
        case "NetworkPolicy":
            yield spec["podSelector"]


def names(objects: Sequence[Object]) -> Iterator[str]:
    """Names and label values fit into a label, no two objects of a kind share one, and all say their namespace."""
    for item in objects:
        metadata = item["metadata"]
        texts = (metadata["name"], *metadata.get("labels", {}).values())
        yield from (f"{title(item)}: {text} is too long" for text in texts if len(text) > NAME_CHARACTERS_MAX)
        if not metadata.get("namespace"):
            yield f"{title(item)}: no namespace"
    counts = Counter(title(item) for item in objects)
    yield from (f"{name} is there {count} times" for name, count in counts.items() if count > 1)


def references(objects: Sequence[Object]) -> Iterator[str]:
    """What the chart makes and an object names is there: accounts, settings, the catalogue, what is scaled."""
    mine = {item["metadata"]["name"] for item in objects if item["kind"] in {"ConfigMap", "ServiceAccount"}}
    # The Service of webhooks is always there, and named after the release as all is.
    services = {item["metadata"]["name"] for item in objects if item["kind"] == "Service"}
    (prefix,) = {name.removesuffix("-ingestor") for name in services if name.endswith("-ingestor")}
    for item, template in templates(objects):
        spec = template["spec"]
        named = {spec["serviceAccountName"]} if "serviceAccountName" in spec else set()
        named |= {volume["configMap"]["name"] for volume in spec.get("volumes", ()) if "configMap" in volume}
        for one in (*spec.get("initContainers", ()), *spec["containers"]):
            named |= {source["configMapRef"]["name"] for source in one.get("envFrom", ()) if "configMapRef" in source}
        ours = {name for name in named if name == prefix or name.startswith(f"{prefix}-")}
        yield from (f"{title(item)}: there is no {name}" for name in sorted(ours - mine))
    workloads = {title(item) for item in objects if item["kind"] in LONG_RUNNING}
    for item in objects:
        target = item.get("spec", {}).get("scaleTargetRef")
        if target and f"{target['kind']}/{target['name']}" not in workloads:
            yield f"{title(item)}: there is no {target['kind']}/{target['name']}"


RULES: tuple[Rule, ...] = (
    restricted_pods,
    restricted_containers,
    no_token,
    probes,
    resources,
    one_image,
    budgets,
    no_secret_values,
    labels,
    selectors,
    names,
    references,
)
