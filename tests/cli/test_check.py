"""`processor check` without any server."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from processor.cli.check import catalogue_findings, changed_settings
from processor.cli.check_provider import Wanted, ahead_ms_of, clock_finding, key_path_finding, provider_findings
from processor.cli.check_secrecy import is_local, secrecy_findings
from processor.cli.findings import Finding
from processor.core.catalogue import Catalogue, Workflow
from processor.settings import Settings
from tests.cli.commands import command, environment
from tests.cli.simulated import simulated
from tests.support.egress_proxy import egress_proxy


def test_settings_that_differ_from_their_defaults_are_shown_and_secrets_are_not() -> None:
    """What a person set is what a person wants to see; the rest is in the documents."""
    given = {
        "application_id": "staging",
        "kafka": {"bootstrap_servers": "kafka:9092", "properties": {"ssl.key.password": "hush", "linger.ms": "9"}},
        "api": {"secret": "hush", "call_deadline_s": 15},
        "topics": {"partitions": 6},
    }
    shown = dict(changed_settings(Settings.model_validate(given)))
    assert shown == {
        "PROCESSOR_APPLICATION_ID": "staging",
        "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": "kafka:9092",
        "PROCESSOR_KAFKA__PROPERTIES": "ssl.key.password=***, linger.ms=9",
        "PROCESSOR_API__SECRET": "***",
        "PROCESSOR_TOPICS__PARTITIONS": "6",
    }


@pytest.mark.slow
def test_everything_that_is_away_is_a_finding(tmp_path: Path) -> None:
    """All of it is looked at, whatever else is wrong, and the exit code is 1."""
    said = command("check", "--json", env={**environment(tmp_path), "PROCESSOR_KAFKA__OPERATION_TIMEOUT_S": "0.2"})
    assert said.code == 1
    found = {each["area"]: each["grade"] for each in said.json()["findings"]}
    assert found == {
        "catalogue": "good",
        "broker": "problem",
        "registry": "problem",
        "credentials": "problem",
        "webhook keys": "problem",
        "clock": "not checked",
    }
    assert all(each["setting"].startswith("PROCESSOR_") for each in said.json()["findings"])
    assert all(each["remedy"] for each in said.json()["findings"] if each["grade"] == "problem")
    assert said.json()["settings"]["api"]["secret"] == "***"
    assert "secret-of-test" not in said.out + said.err


@pytest.mark.parametrize("count,said", [(2, "2: flow-0, flow-1"), (12, "12: flow-0, flow-1, flow-10, …")])
def test_many_workflows_do_not_make_the_table_wide(count: int, said: str) -> None:
    """The first ones are named, and how many there are; a screen is not wider."""
    workflows = {f"flow-{number}": Workflow(f"flow-{number}", "a definition") for number in range(count)}
    (finding,) = catalogue_findings(Catalogue(workflows))
    assert (finding.name, finding.text) == ("workflows", said)


def test_an_ingestor_needs_no_registry_and_no_credentials(tmp_path: Path) -> None:
    """Only what the named roles talk to is looked at."""
    env = {**environment(tmp_path), "PROCESSOR_KAFKA__OPERATION_TIMEOUT_S": "0.2"}
    for name in ("SCHEMA_REGISTRY__URL", "API__KEY", "API__SECRET"):
        del env[f"PROCESSOR_{name}"]
    said = command("check", "ingestor", "--json", env=env)
    assert [each["area"] for each in said.json()["findings"]] == ["catalogue", "broker", "webhook keys", "clock"]
    del env["PROCESSOR_API__BASE_URL"]
    assert "PROCESSOR_WEBHOOK__KEY_BASE_URL" in command("check", "ingestor", env=env).err


def test_unknown_variables_are_told(tmp_path: Path) -> None:
    """A misspelt variable would otherwise be a default that nobody wanted."""
    said = command("check", env={**environment(tmp_path), "PROCESSOR_TOPICS__PARTITION": "3"})
    assert said.code == 2
    assert "is PROCESSOR_TOPICS__PARTITIONS meant?" in said.err


def looked_at(url: str, **api: object) -> dict[tuple[str, str], Finding]:
    """Return the findings about a provider at this address, by area and name."""
    wanted = Wanted(credentials=True, webhook_keys=True)
    given = {"base_url": url, "key": "simulator-key", "secret": "simulator-secret", **api}
    return {(each.area, each.name): each for each in provider_findings(Settings.model_validate({"api": given}), wanted)}


def test_a_provider_that_knows_us_is_good_in_every_way() -> None:
    """One authorize, two keys that do not exist, one date: nothing was run or made."""
    with simulated() as (simulator, url):
        found = looked_at(url)
        assert {name: each.grade for name, each in found.items()} == {
            ("credentials", "default: create, start, read"): "good",
            ("webhook keys", "default"): "good",
            ("clock", "default"): "good",
        }
        asked = {route: answers.total() for route, answers in simulator.counters.routes.items()}
        assert asked == {"POST /auth/authorize": 1, "GET /auth/webhooks/key/{keyId}": 3}


def test_every_credential_of_every_profile_is_tried_and_the_wrong_one_named() -> None:
    """By the variable that holds it; organisation tokens cannot be tried without a call."""
    with simulated() as (_, url):
        right = {"key": "simulator-key", "secret": "simulator-secret"}
        providers = {
            "second": {"base_url": url, **right, "credentials": {"start": {"key": "wrong", "secret": "wrong"}}},
            "third": {"base_url": url, "token": "tot_simulator"},
        }
        given = {"api": {"base_url": url, **right}, "providers": providers}
        findings = provider_findings(Settings.model_validate(given), Wanted(credentials=True, webhook_keys=False))
    found = {each.name: (each.grade, each.setting) for each in findings if each.area == "credentials"}
    assert found == {
        "default: create, start, read": ("good", "PROCESSOR_API__KEY"),
        "second: create, read": ("good", "PROCESSOR_PROVIDERS__SECOND__KEY"),
        "second: start": ("problem", "PROCESSOR_PROVIDERS__SECOND__CREDENTIALS__START__KEY"),
        "third: create, start, read": ("not checked", "PROCESSOR_PROVIDERS__THIRD__TOKEN"),
    }


def test_a_key_endpoint_that_asks_who_we_are_needs_a_credential_of_its_own() -> None:
    """That of the API serves at its own address; elsewhere, and for an organisation token, one is to be set."""
    with simulated(key_needs_credential=True) as (_, url):
        assert looked_at(url)["webhook keys", "default"].grade == "good"
        webhook = {"key_base_url": url}
        given = {"api": {"base_url": "http://127.0.0.1:9"}, "webhook": webhook}
        wanted = Wanted(credentials=False, webhook_keys=True)
        keys, clock = provider_findings(Settings.model_validate(given), wanted)
    assert (keys.grade, keys.setting) == ("problem", "PROCESSOR_API__CREDENTIALS__KEYS__TOKEN")
    assert (clock.grade, clock.setting) == ("good", "PROCESSOR_WEBHOOK__KEY_BASE_URL")


def test_a_key_endpoint_that_fails_is_told_by_its_address() -> None:
    """Which is that of the API, unless it has one of its own."""
    with simulated(keys_down=True) as (_, url):
        found = looked_at(url)["webhook keys", "default"]
    assert (found.grade, found.setting) == ("problem", "PROCESSOR_API__BASE_URL")
    assert "answered 503" in found.text


def test_a_proxy_that_opens_the_way_is_good_and_one_that_does_not_is_all_that_is_told() -> None:
    """Nothing behind it can be seen then; the finding names proxy and reason, and never the password."""
    with simulated() as (simulator, url), egress_proxy({url.removeprefix("http://"): urlsplit(url).port or 0}) as proxy:
        found = looked_at(url, proxy_url=proxy.url)
        assert {each.grade for each in found.values()} == {"good"}
        asked = sum(answers.total() for answers in simulator.counters.routes.values())
        assert len(proxy.asked) == asked == 5
        assert found["proxy", "default"].text == f"everything goes through {proxy.url}"
        proxy.credentials = ("us", "right")
        unknown = looked_at(url, proxy_url=proxy.url, proxy_username="us", proxy_password="wrong-word")
        tunnel = looked_at(url.replace("http://", "https://"), proxy_url=proxy.url)
    away = looked_at(url, proxy_url=proxy.url)
    for told, text in ((unknown, "asks who we are"), (tunnel, "opens no way: proxy"), (away, "opens no way: connect")):
        (finding,) = told.values()
        assert (finding.area, finding.grade, finding.setting) == ("proxy", "problem", "PROCESSOR_API__PROXY_URL")
        assert finding.text == f"{proxy.url} {text}"
        assert "PROXY_PASSWORD" in finding.remedy
        assert "wrong-word" not in repr(finding)


@pytest.mark.parametrize(
    "path,webhook",
    [("", {"key_path": "/auth/webhook/key/{keyId}"}), ("/v2", {})],
)
def test_a_wrong_path_of_the_keys_is_not_taken_for_a_right_one(path: str, webhook: dict[str, str]) -> None:
    """Any address answers 404 to what it does not know, so a made-up key alone proves nothing."""
    with simulated() as (_, url):
        given = {"api": {"base_url": url + path}, "webhook": webhook}
        found = provider_findings(Settings.model_validate(given), Wanted(credentials=False, webhook_keys=True))
    (keys,) = (each for each in found if each.area == "webhook keys")
    assert (keys.grade, keys.setting) == ("warning", "PROCESSOR_WEBHOOK__KEY_PATH")
    assert "cannot be told from a wrong path: it answered 404" in keys.text
    assert "PROCESSOR_API__BASE_URL" in keys.remedy


@pytest.mark.parametrize(
    "status,grade",
    [
        (400, "good"),
        (422, "good"),
        (200, "warning"),
        (302, "warning"),
        (401, "warning"),
        (404, "warning"),
        (500, "warning"),
    ],
)
def test_only_the_refusal_of_an_id_that_is_none_proves_the_path(status: int, grade: str) -> None:
    """Who refuses the id has read it; any other answer may come from somewhere else."""
    assert key_path_finding("default", "PROCESSOR_API__BASE_URL", status).grade == grade


def test_a_token_that_is_no_organisation_token_is_told() -> None:
    """By the variable that holds it, of whatever kind of calls, and without showing any of it."""
    given = {
        "api": {"base_url": "https://a.test", "token": "tot_right", "credentials": {"keys": {"token": "odd-token"}}},
        "providers": {"eu": {"base_url": "https://b.test", "token": "odd-token"}},
    }
    found = secrecy_findings(Settings.model_validate(given))
    assert [(each.grade, each.setting) for each in found] == [
        ("warning", "PROCESSOR_API__CREDENTIALS__KEYS__TOKEN"),
        ("warning", "PROCESSOR_PROVIDERS__EU__TOKEN"),
    ]
    assert "odd" not in str(found)


def test_what_goes_in_clear_beyond_the_cluster_is_told() -> None:
    """Credentials to the provider and the registry, and keys that prove webhooks."""
    given: dict[str, dict[str, object]] = {
        "api": {"base_url": "http://api.example.test"},
        "providers": {"eu": {"base_url": "http://simulator:8090"}, "us": {"base_url": "https://us.example.test"}},
        "webhook": {"key_base_url": "http://192.0.2.1", "key_base_urls": "us=http://keys.example.test"},
        "schema_registry": {"url": "http://registry.example.test", "username": "u", "password": "p"},
    }
    found = secrecy_findings(Settings.model_validate(given))
    assert {each.grade for each in found} == {"warning"}
    assert [each.setting for each in found] == [
        "PROCESSOR_API__BASE_URL",
        "PROCESSOR_WEBHOOK__KEY_BASE_URL",
        "PROCESSOR_WEBHOOK__KEY_BASE_URLS",
        "PROCESSOR_SCHEMA_REGISTRY__URL",
    ]
    del given["schema_registry"]["password"], given["schema_registry"]["username"]
    assert len(secrecy_findings(Settings.model_validate(given))) == 3


@pytest.mark.parametrize(
    "host,is_near",
    [
        ("127.0.0.1:8090", True),
        ("[::1]:8090", True),
        ("localhost", True),
        ("registry", True),
        ("registry.kafka.svc", True),
        ("registry.kafka.svc.cluster.local:8081", True),
        ("10.0.0.1", False),
        ("api.example.test", False),
        ("local.example.test", False),
    ],
)
def test_hosts_that_are_near(host: str, is_near: bool) -> None:  # noqa: FBT001  # a column of the table
    """Loopback, a name that only the cluster resolves, and names that say so."""
    assert is_local(f"http://{host}/x") == is_near


@pytest.mark.parametrize(
    "ahead_ms,grade",
    [
        (None, "not checked"),
        (0, "good"),
        (30_000, "good"),
        (-30_001, "warning"),
        (120_000, "warning"),
        (120_001, "problem"),
        (-120_001, "problem"),
    ],
)
def test_clocks_may_differ_by_half_a_minute(ahead_ms: int | None, grade: str) -> None:
    """Beyond that it is a warning, beyond two minutes runs of unknown outcome are no longer told apart."""
    assert clock_finding("default", "X", ahead_ms).grade == grade


@pytest.mark.parametrize(
    "date,ahead_ms",
    [
        ("Mon, 24 Nov 2025 16:00:00 GMT", -500),  # Cut to whole seconds: it means the middle of one.
        ("Mon, 24 Nov 2025 15:59:00 GMT", 59_500),
        ("yesterday", None),
        (None, None),
    ],
)
def test_a_clock_is_compared_with_the_date_of_an_answer(date: str | None, ahead_ms: int | None) -> None:
    """An answer without one says nothing."""
    assert ahead_ms_of(date, 1_764_000_000_000) == ahead_ms
