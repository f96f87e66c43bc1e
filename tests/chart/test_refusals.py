"""What an API server would refuse, or what would stop every pod, is refused before anything is installed."""

import json

import pytest
from helm_python import HelmError

from tests.support.chart import ENOUGH, Values, chart, found, refused, rendered

MOUNT = "extraVolumeMounts"
REFUSALS: list[tuple[Values, str]] = [
    ({"fullnameOverride": "My_App"}, "objects would be called My_App-…"),
    ({"fullnameOverride": "my.app"}, "objects would be called my.app-…"),
    ({"nameOverride": "My App"}, "/nameOverride"),
    ({"commonLabels": {"app.kubernetes.io/name": "a"}}, "invalid propertyName 'app.kubernetes.io/name'"),
    ({"commonLabels": {"team": "Team Onboarding"}}, "/commonLabels"),
    ({"image": {"tag": "1.2.3+build"}}, "/image/tag"),
    ({"settings": {"kafka": {"bootstrap_servers": "https://kafka:9092"}}}, "are host:port without a scheme"),
    ({"settings": {"api": {"base_url": "api.example"}}}, "settings.api.base_url is no address; begin it with"),
    ({"settings": {"schema_registry": {"url": "registry:8081"}}}, "settings.schema_registry.url is no address"),
    ({"settings": {"providers": {"bank": {"base_url": "bank"}}}}, "settings.providers.bank.base_url is no address"),
    ({"settings": {"api": {"proxy_url": "proxy:3128"}}}, "settings.api.proxy_url is no proxy; write http://proxy:3128"),
    ({"settings": {"api": {"proxy_url": "http://a:b@proxy"}}}, "settings.api.proxy_url is no proxy; write http://"),
    (
        {"settings": {"providers": {"bank": {"base_url": "https://bank", "proxy_url": "https://proxy"}}}},
        "settings.providers.bank.proxy_url is no proxy; write http://proxy:3128",
    ),
    ({"workflows": {"catalogue": "version: 1\n  workflows: ["}}, "workflows.catalogue is no YAML mapping ("),
    ({"workflows": {"catalogue": "- person-check\n"}}, "workflows.catalogue is no YAML mapping ("),
    ({"workflows": {"catalogue": "workflows: [person-check]\n"}}, "workflows.catalogue has no mapping `workflows`"),
    ({"workflows": {"catalogue": "version: 1\n"}}, "workflows.catalogue has no mapping `workflows`"),
    (
        {"workflows": {"catalogue": "workflows: { person-check: }\n"}},
        "workflows.catalogue: the workflow person-check is no mapping; give it a definition",
    ),
    ({"podMonitor": {"enabled": True, "scrapeTimeout": "31s"}}, "podMonitor.scrapeTimeout: 31s is longer than"),
    ({"serviceMonitor": {"enabled": True, "interval": "9s500ms"}}, "serviceMonitor.scrapeTimeout: 10s is longer than"),
    (
        {"submitter": {"progressDeadlineSeconds": 10}},
        "submitter.progressDeadlineSeconds: 10 is no more than submitter.minReadySeconds, and no rollout would end",
    ),
    (
        {"ingestor": {"podAnnotations": {"checksum/settings": "a"}}},
        "ingestor.podAnnotations: checksum/settings is the chart's own; leave it out",
    ),
    (
        {"ingestor": {"service": {"externalTrafficPolicy": "Local"}}},
        "ingestor.service.externalTrafficPolicy means nothing for a ClusterIP",
    ),
    (
        {"ingestor": {"service": {"type": "NodePort", "loadBalancerSourceRanges": ["203.0.113.0/24"]}}},
        "ingestor.service.loadBalancerSourceRanges would let in everybody, since type is NodePort",
    ),
    ({"ingestor": {"service": {"loadBalancerSourceRanges": ["203.0.113.7"]}}}, "loadBalancerSourceRanges/0"),
    ({"extraVolumes": [{"name": "tmp", "emptyDir": {}}]}, "extraVolumes: there is a volume tmp already"),
    ({"extraVolumes": [{"name": "a"}, {"name": "a"}]}, "extraVolumes: there is a volume a already"),
    ({MOUNT: [{"name": "authority", "mountPath": "/a"}]}, "extraVolumeMounts: extraVolumes has no authority"),
    ({MOUNT: [{"name": "secrets", "mountPath": "/a"}]}, "extraVolumeMounts: extraVolumes has no secrets"),
    (
        {"extraVolumes": [{"name": "a"}], MOUNT: [{"name": "a", "mountPath": "/var/lib/processor/"}]},
        "extraVolumeMounts: something is mounted at /var/lib/processor already",
    ),
    (
        {"extraVolumes": [{"name": "a"}], MOUNT: [{"name": "a", "mountPath": "/a"}] * 2},
        "extraVolumeMounts: something is mounted at /a already",
    ),
]


@pytest.mark.parametrize("values,sentence", REFUSALS, ids=[sentence for _, sentence in REFUSALS])
def test_what_a_cluster_would_refuse_is_refused_with_a_sentence(values: Values, sentence: str) -> None:
    """Half an installation is worse than none, and the API server's words name no value of the chart."""
    assert sentence in refused(**values)


@pytest.mark.parametrize("release", ["3rd-team", "team.onboarding"])
def test_a_release_whose_name_no_service_may_have_needs_another_name(release: str) -> None:
    """Helm takes releases that begin with a digit or hold a dot; Services may be called neither."""
    with pytest.raises(HelmError, match="set fullnameOverride to lower-case letters"):
        chart().render(dict(ENOUGH), name=release)
    assert chart().render({**ENOUGH, "fullnameOverride": "onboarding"}, name=release)


def test_a_scrape_may_take_as_long_as_its_interval() -> None:
    """Whatever the units in which both are said."""
    assert rendered(podMonitor={"enabled": True, "interval": "1m", "scrapeTimeout": "60s"})


def test_the_volume_for_scratch_files_may_be_mounted_elsewhere_too() -> None:
    """It is in every pod, and holds nothing."""
    assert "/scratch" in json.dumps(rendered(extraVolumeMounts=[{"name": "tmp", "mountPath": "/scratch"}]))


def test_a_claim_says_what_it_is() -> None:
    """The cluster fills both words in; whoever compares by a server-side apply would see a difference for ever."""
    objects = rendered(submitter={"persistence": {"enabled": True}})
    [claim] = found(objects, "StatefulSet", "submitter")["spec"]["volumeClaimTemplates"]
    assert (claim["apiVersion"], claim["kind"]) == ("v1", "PersistentVolumeClaim")
