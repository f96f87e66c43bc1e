"""Secrets come by reference: Secrets that exist, or ExternalSecrets that make what the workloads mount."""

from pathlib import Path
from typing import Any

import pytest

from processor.settings_loading import load_settings
from tests.support.chart import Values, container, merged, pod, refused, rendered
from tests.support.pods import Container, Object

STORE: Values = {"kind": "ClusterSecretStore", "name": "vault"}
API: Values = {"key": {"key": "onboarding", "property": "key"}, "secret": {"key": "onboarding", "property": "secret"}}
EVERY: Values = {
    "api": API,
    "kafka": {"sasl_username": {"key": "kafka/user"}, "sasl_password": {"key": "kafka/password", "version": "2"}},
    "schema_registry": {"username": {"key": "registry/user"}, "password": {"key": "registry/password"}},
    "more": {"PROCESSOR_PROVIDERS__BANK__TOKEN": {"key": "bank"}},
}


def stored(remote_refs: Values, **more: Any) -> Values:  # noqa: ANN401  # as in values.yaml
    """Return values with which secrets come out of a store."""
    external = {"enabled": True, "secretStoreRef": STORE, "remoteRefs": remote_refs}
    return merged({"externalSecrets": external, "secrets": {"api": {"existingSecret": ""}}}, more)


def made(objects: list[Object]) -> dict[str, set[str]]:
    """Return name -> keys of each Secret that the operator makes."""
    return {
        item["spec"]["target"]["name"]: {each["secretKey"] for each in item["spec"]["data"]}
        for item in objects
        if item["kind"] == "ExternalSecret"
    }


def mounted(objects: list[Object], role: str = "submitter") -> dict[str, set[str]]:
    """Return name -> keys of each Secret that a workload mounts."""
    (volume,) = [volume for volume in pod(objects, role)["volumes"] if volume["name"] == "secrets"]
    return {
        source["secret"]["name"]: {item["key"] for item in source["secret"]["items"]}
        for source in volume["projected"]["sources"]
    }


@pytest.mark.parametrize("role", ["submitter", "ingestor", "reconciler"])
@pytest.mark.parametrize("remote_refs", [{"api": API}, EVERY], ids=["api", "every"])
def test_external_secrets_make_the_secrets_that_are_mounted(remote_refs: Values, role: str) -> None:
    """Names and keys on both sides are the same."""
    objects = rendered(**stored(remote_refs))
    assert made(objects) == mounted(objects, role)
    assert len(made(objects)) == len(remote_refs)


def test_what_a_store_holds_makes_settings(tmp_path: Path) -> None:
    """Each place in the store is the setting that it is named after."""
    profile = {"providers": {"bank": {"base_url": "https://bank.example.test"}}}
    objects = rendered(**stored(EVERY, settings=profile))
    one = Container(objects, pod(objects, "submitter"), container(objects, "submitter"))
    settings = load_settings(one.variables(tmp_path, lambda file: f"text-of-{file}"))
    assert settings.kafka.sasl_username == "text-of-PROCESSOR_KAFKA__SASL_USERNAME"
    assert settings.api.secret is not None
    assert settings.api.secret.get_secret_value() == "text-of-PROCESSOR_API__SECRET"
    bank = settings.profile("bank")
    assert bank is not None
    assert bank.token is not None


def test_a_place_in_a_store_is_taken_as_it_is_given() -> None:
    """Store, interval and places reach the operator."""
    objects = rendered(**stored({"api": {"token": {"key": "a", "property": "b", "version": "3"}}}))
    (item,) = [item for item in objects if item["kind"] == "ExternalSecret"]
    assert item["spec"]["secretStoreRef"] == STORE
    assert item["spec"]["refreshInterval"] == "1h"
    assert item["spec"]["data"] == [{"secretKey": "token", "remoteRef": {"key": "a", "property": "b", "version": "3"}}]


def test_some_secrets_may_exist_and_others_come_from_a_store() -> None:
    """Each section is for itself."""
    objects = rendered(**stored({"api": API}, secrets={"schema_registry": {"existingSecret": "registry"}}))
    assert mounted(objects) == made(objects) | {"registry": {"username", "password"}}


def test_a_changed_secret_makes_no_new_pods() -> None:
    """The processor reads it again by itself, so no annotation of a pod depends on one."""
    annotations = rendered()[0]["metadata"].get("annotations", {})
    assert not any("secret" in name for name in annotations)
    for item in rendered(**stored(EVERY)):
        if item["kind"] == "Deployment":
            assert item["spec"]["template"]["metadata"]["annotations"].keys() == {
                "checksum/settings",
                "checksum/workflows",
            }


def test_nothing_is_mounted_where_there_is_nothing() -> None:
    """The set-up needs no credentials of the provider, and where brokers and registry want none it has no secrets."""
    (job,) = [item for item in rendered(setupJob={"enabled": True}) if item["kind"] == "Job"]
    assert "secret" not in str(job["spec"]).lower()


def test_both_halves_of_a_credential_may_come_from_different_places() -> None:
    """A user name is no secret, and what stands in secret properties is not seen."""
    user = {"existingSecret": "user"}
    assert rendered(settings={"kafka": {"sasl_username": "onboarding"}}, secrets={"kafka": user})
    assert rendered(secrets={"kafka": {**user, "keys": {"properties": "properties"}}})
    more = [{"existingSecret": "user", "keys": {"PROCESSOR_SCHEMA_REGISTRY__PASSWORD": "password"}}]
    assert rendered(settings={"schema_registry": {"username": "onboarding"}}, moreSecrets=more)


PROXY = {"proxy_username": "user", "proxy_password": "password"}


@pytest.mark.parametrize("keys", [{"key": "key", "secret": "secret"}, {"token": "token"}], ids=["key", "token"])
def test_who_we_are_at_a_proxy_lies_beside_the_credentials_of_the_provider(tmp_path: Path, keys: Values) -> None:
    """Beside a token as beside key and secret; in a Secret of its own it is one of moreSecrets."""
    proxied = {"settings": {"api": {"proxy_url": "http://proxy:3128"}}}
    objects = rendered(**proxied, secrets={"api": {"existingSecret": "provider", "keys": {**keys, **PROXY}}})
    assert mounted(objects)["provider"] == {*keys.values(), *PROXY.values()}
    one = Container(objects, pod(objects, "submitter"), container(objects, "submitter"))
    api = load_settings(one.variables(tmp_path, lambda file: f"text-of-{file}")).api
    assert (api.proxy_url, api.proxy_username) == ("http://proxy:3128", "text-of-PROCESSOR_API__PROXY_USERNAME")
    assert api.proxy_password is not None
    assert api.proxy_password.get_secret_value() == "text-of-PROCESSOR_API__PROXY_PASSWORD"
    own = {"PROCESSOR_API__PROXY_USERNAME": "a", "PROCESSOR_API__PROXY_PASSWORD": "b"}
    assert mounted(rendered(**proxied, moreSecrets=[{"existingSecret": "egress", "keys": own}]))["egress"] == {"a", "b"}


REFUSALS: list[tuple[Values, str]] = [
    (
        {"secrets": {"api": {"keys": {"proxy_password": "password"}}}},
        "api: proxy_password is given without proxy_username; name its key in secrets.api.keys.proxy_username",
    ),
    (
        {"settings": {"kafka": {"sasl_username": "onboarding"}}},
        "kafka: sasl_username is given without sasl_password; name its key in secrets.kafka.keys.sasl_password",
    ),
    ({"secrets": {"kafka": {"existingSecret": "user"}}}, "kafka: sasl_password is given without sasl_username"),
    ({"secrets": {"api": {"keys": {"secret": ""}}}}, "api: key is given without secret"),
    (
        {"settings": {"schema_registry": {"username": "onboarding"}}},
        "schema_registry: username is given without password",
    ),
    (
        {"moreSecrets": [{"existingSecret": "a", "keys": {"PROCESSOR_API__KEY": "key"}}]},
        "PROCESSOR_API__KEY is given twice, by secrets, externalSecrets, moreSecrets or settings",
    ),
    (
        {
            "settings": {"schema_registry": {"username": "a"}},
            "moreSecrets": [
                {
                    "existingSecret": "a",
                    "keys": {"PROCESSOR_SCHEMA_REGISTRY__USERNAME": "a", "PROCESSOR_SCHEMA_REGISTRY__PASSWORD": "b"},
                }
            ],
        },
        "PROCESSOR_SCHEMA_REGISTRY__USERNAME is given twice",
    ),
    (stored({"api": {"secret": {"key": "a"}}}), "api: secret is given without key"),
    (
        stored({"api": API}, secrets={"api": {"existingSecret": "provider"}}),
        "secrets.api.existingSecret is set, and externalSecrets.remoteRefs.api too; unset one of them",
    ),
    (stored({"api": API}, externalSecrets={"secretStoreRef": {"name": ""}}), "secretStoreRef.name is missing"),
    (stored({}), "secrets.api.existingSecret is missing; make a Secret"),
    (stored({}, secrets={"api": {"existingSecret": "provider"}}), "says no place of a secret; fill a section of it"),
    (stored({"api": {**API, "token": {"key": "a"}}}), "token stands instead of key and secret; leave one or the other"),
    (stored({"api": {"password": {"key": "a"}}}), "'password' not allowed"),
    (stored({"api": {"key": {"property": "a"}}}), "missing property 'key'"),
    (stored({"more": {"token": {"key": "a"}}}), "invalid propertyName 'token'"),
    (
        stored(EVERY, settings={"kafka": {"sasl_username": "a"}}),
        "settings.kafka.sasl_username is set, and secrets.kafka.keys.sasl_username too; unset one of them",
    ),
    (
        stored(EVERY, setupJob={"enabled": True}),
        "setupJob.when is before, but externalSecrets.remoteRefs.kafka makes a Secret that the Job needs",
    ),
]


@pytest.mark.parametrize("values,sentence", REFUSALS, ids=[sentence for _, sentence in REFUSALS])
def test_secrets_that_cannot_be_had_are_refused(values: Values, sentence: str) -> None:
    """What is missing, given twice or there too late is named with the remedy."""
    assert sentence in refused(**values)


def test_a_section_that_is_switched_off_is_not_judged() -> None:
    """Places may stay in a file of values while the operator is not used."""
    values = stored({"kafka": EVERY["kafka"]}, secrets={"api": {"existingSecret": "provider"}})
    assert rendered(**merged(values, {"externalSecrets": {"enabled": False, "secretStoreRef": {"name": ""}}}))
