"""The alerts: promtool reads them, each fires and stays silent, and each is explained where it says so."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.alert_cases import CASES, Case, Series
from tests.chart.metric_catalogue import exposition, selectors, unknown_names
from tests.chart.validation import HUNG_S, output
from tests.support.chart import CHART, found, refused, rendered
from tests.support.root import ROOT
from tests.support.servers import cannot_run

RULES = CHART / "rules" / "onboarding.yaml"
RUNBOOK = ROOT / "docs" / "alerts.md"
SCOPE = {"namespace": "identity", "job": "onboarding"}
ON = {"prometheusRule": {"enabled": True}}


def groups(text: str | None = None) -> list[dict[str, Any]]:
    """Return the groups of rules of the file, or of another text."""
    found: list[dict[str, Any]] = yaml.safe_load(RULES.read_text(encoding="utf-8") if text is None else text)["groups"]
    return found


def alerts() -> dict[str, dict[str, Any]]:
    """Return the alerts of the file by name."""
    return {rule["alert"]: rule for group in groups() for rule in group["rules"] if "alert" in rule}


def shipped(**values: Any) -> list[dict[str, Any]]:  # noqa: ANN401  # as in values.yaml
    """Return the groups of rules that the chart makes."""
    made: list[dict[str, Any]] = found(rendered(**values), "PrometheusRule")["spec"]["groups"]
    return made


def promtool() -> str:
    """Return the command; skips where it is missing, and fails there in CI."""
    return shutil.which("promtool") or cannot_run("promtool is missing: apt-get install prometheus")


def scoped(series: str, scope: dict[str, str]) -> str:
    """Return a series with the labels that a scrape adds."""
    labels = ",".join(f'{name}="{value}"' for name, value in scope.items())
    return series.replace("{", f"{{{labels},", 1).replace(",}", "}") if "{" in series else f"{series}{{{labels}}}"


def group_of(series: Series, scope: dict[str, str], at: str, case: Case, *, is_firing: bool) -> dict[str, Any]:
    """Return one test of promtool: these series, and whether the alert of the case fires."""
    annotations = alerts()[case.alert]["annotations"] | {"description": case.description}
    labels = scope | dict(case.labels) | alerts()[case.alert]["labels"]
    if not series:
        labels = dict(alerts()[case.alert]["labels"])  # What is absent has no labels but those it was asked by.
    expected = [{"exp_labels": labels, "exp_annotations": annotations}] if is_firing else []
    return {
        "interval": "1m",
        "input_series": [{"series": scoped(name, scope), "values": values} for name, values in series.items()],
        "alert_rule_test": [{"eval_time": at, "alertname": case.alert, "exp_alerts": expected}],
    }


def judged(folder: Path, rules: list[dict[str, Any]], tests: list[dict[str, Any]]) -> None:
    """Let promtool test rules; what it finds wrong is told.

    No group needs another, so each stands in a file of its own with its tests: promtool evaluates every rule of a
    file in every test of it. Burn rates take hours, so they are looked at every five minutes.
    """
    names = []
    for group in rules:
        alerts_here = {rule.get("alert") for rule in group["rules"]}
        its = [one for one in tests if one["alert_rule_test"][0]["alertname"] in alerts_here]
        file = folder / f"{group['name']}.yaml"
        rule_file = file.with_suffix(".rules")
        rule_file.write_text(json.dumps({"groups": [group]}), encoding="utf-8")
        interval = "5m" if any("Burn" in (alert or "") for alert in alerts_here) else "1m"
        asked = {"rule_files": [rule_file.name], "evaluation_interval": interval, "tests": its}
        file.write_text(json.dumps(asked), encoding="utf-8")
        names.append(str(file))
    output([promtool(), "test", "rules", *names])


def test_promtool_reads_the_rules() -> None:
    """As they stand in the file, and as the chart ships them."""
    assert "SUCCESS" in output([promtool(), "check", "rules", str(RULES)])


def test_promtool_has_nothing_to_say_of_the_metrics() -> None:
    """Names, units, suffixes and help are as Prometheus wants them."""
    asked = [promtool(), "check", "metrics"]
    done = subprocess.run(asked, input=exposition(), capture_output=True, text=True, timeout=HUNG_S, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
@pytest.mark.timeout(HUNG_S)
def test_every_alert_fires(tmp_path: Path) -> None:
    """With the labels, the severity and the sentence that people then read."""
    firing = [group_of(case.fires, SCOPE, case.at, case, is_firing=True) for case in CASES]
    judged(tmp_path, groups(), firing)


@pytest.mark.slow
@pytest.mark.timeout(HUNG_S)
def test_every_alert_stays_silent(tmp_path: Path) -> None:
    """Just below its threshold, for what is somebody else's, and after it is over."""
    quiet = [group_of(series, SCOPE, case.at, case, is_firing=False) for case in CASES for series in case.quiet]
    judged(tmp_path, groups(), quiet)


def test_every_alert_has_a_case_for_both() -> None:
    """An alert that was never seen to fire, or to be silent, is not tested."""
    assert {case.alert for case in CASES} == alerts().keys()
    assert alerts().keys() == {case.alert for case in CASES if case.quiet}


def test_every_alert_says_what_it_is_and_where_to_read_on() -> None:
    """Severity, a summary, a sentence, and the section of docs/alerts.md with its name; no section is left over."""
    for name, rule in alerts().items():
        assert rule["labels"].keys() == {"severity"}
        assert rule["labels"]["severity"] in {"critical", "warning"}, name
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["description"].endswith("."), name
        assert rule["annotations"]["runbook_url"] == f"docs/alerts.md#{name.lower()}"
    sections = re.findall(r"^### (\w+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    assert sections == list(alerts())


def test_the_runbook_names_metrics_that_exist() -> None:
    """Whoever looks at what a section says finds it."""
    named = re.findall(r"`(onboarding_[^`]*)`", RUNBOOK.read_text(encoding="utf-8"))
    assert named
    assert [wrong for expr in named for wrong in unknown_names(expr)] == []


def test_every_metric_in_a_rule_exists() -> None:
    """With its labels, and with the words that those can have."""
    recorded = frozenset(rule["record"] for group in groups() for rule in group["rules"] if "record" in rule)
    wrong = [name for group in groups() for rule in group["rules"] for name in unknown_names(rule["expr"], recorded)]
    assert wrong == []


@pytest.mark.parametrize(
    "expr,unknown",
    [
        ("onboarding_facts > 0", ["onboarding_facts"]),
        ('rate(onboarding_results_total{outcom="COMPLETED"}[5m])', ["onboarding_results_total: outcom"]),
        ('onboarding_results_total{outcome=~"COMPLETED|LOST"}', ["onboarding_results_total: LOST"]),
        ("sum by (namespace, topic) (onboarding_facts_total)", ["topic"]),
        ("onboarding:lag:sum", ["onboarding:lag:sum"]),
        ('histogram_quantile(0.5, rate(onboarding_result_age_seconds_bucket{workflow=~"$w"}[5m]))', []),
    ],
)
def test_a_name_that_is_none_is_seen(expr: str, unknown: list[str]) -> None:
    """The rules above can fail: metrics, labels, words, groupings and recorded names."""
    assert list(unknown_names(expr)) == unknown


def test_the_chart_ships_the_file_held_to_its_release() -> None:
    """Every selector asks for the release's namespace and job, and nothing else is changed."""
    scope = 'namespace="identity", job="onboarding"'
    made = shipped(**ON)
    count = sum(len(list(selectors(rule["expr"]))) for group in groups() for rule in group["rules"])
    assert json.dumps(made).count(json.dumps(scope)[1:-1]) == count
    for group in made:
        for rule in group["rules"]:
            rule["expr"] = rule["expr"].replace(f"{{{scope}, ", "{").replace(f"{{{scope}}}", "")
    assert made == groups()


def test_promtool_reads_what_is_shipped(tmp_path: Path) -> None:
    """The rendered rules are rules too, with every value that changes them set."""
    values = {"enabled": True, "job": "a/b", "objectives": {"completion": 0.9995, "webhooks": 0.9}}
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": shipped(prometheusRule=values)}), encoding="utf-8")
    assert "SUCCESS" in output([promtool(), "check", "rules", str(tmp_path / "rules.yaml")])


def test_alerts_of_one_release_are_silent_about_another(tmp_path: Path) -> None:
    """Two releases that one Prometheus scrapes do not alarm twice."""
    [case] = [case for case in CASES if case.alert == "OnboardingDeadLetters"]
    other = {**SCOPE, "namespace": "other"}
    tests = [group_of(case.fires, scope, case.at, case, is_firing=scope == SCOPE) for scope in (SCOPE, other)]
    judged(tmp_path, shipped(**ON), tests)


def changed(**values: Any) -> dict[str, dict[str, Any]]:  # noqa: ANN401  # as in values.yaml
    """Return the alerts that the chart makes otherwise than without these values, by name."""
    before, after = (
        {rule.get("alert", rule.get("record")): rule for group in shipped(**made) for rule in group["rules"]}
        for made in (ON, {"prometheusRule": {"enabled": True, **values}})
    )
    gone: dict[str, dict[str, Any]] = {name: {} for name in before if name not in after}
    return gone | {name: rule for name, rule in after.items() if rule != before[name]}


def test_objectives_are_values() -> None:
    """Each changes its three alerts on burn rates, and nothing else."""
    burns = {name: ("Completion" if "Completion" in name else "Webhook") for name in alerts() if "Burn" in name}
    for objective, kind, value in (("completion", "Completion", 0.95), ("webhooks", "Webhook", 0.9995)):
        made = changed(objectives={objective: value})
        assert made.keys() == {name for name, of_kind in burns.items() if of_kind == kind}
        assert all(rule["expr"].count(f"(1 - {value})") == 2 for rule in made.values())


def test_an_alert_can_be_changed_and_left_out() -> None:
    """By its name: what is not said stays."""
    made = changed(
        overrides={
            "OnboardingStalled": {"for": "1h", "labels": {"team": "identity"}, "expr": "vector(1)"},
            "OnboardingAbsent": {"enabled": False},
        }
    )
    assert made["OnboardingAbsent"] == {}
    assert made["OnboardingStalled"] == alerts()["OnboardingStalled"] | {
        "for": "1h",
        "labels": {"team": "identity", "severity": "critical"},
        "expr": "vector(1)",
    }
    assert len(made) == 2


def test_runbooks_are_where_the_house_has_them() -> None:
    """The address in values stands before the anchor."""
    made = changed(runbookUrl="https://wiki.example.test/alerts")
    assert made.keys() == alerts().keys()
    urls = {name: rule["annotations"]["runbook_url"] for name, rule in made.items()}
    assert urls["OnboardingStalled"] == "https://wiki.example.test/alerts#onboardingstalled"


@pytest.mark.parametrize(
    "values,said",
    [
        ({"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}, "would be scraped twice; unset one"),
        ({"prometheusRule": {"overrides": {"OnboardingStaled": {}}}}, "there is no alert OnboardingStaled"),
        ({"prometheusRule": {"overrides": {"OnboardingStalled": {"four": "1h"}}}}, "'four' not allowed"),
        ({"prometheusRule": {"objectives": {"completion": 99}}}, "/prometheusRule/objectives/completion"),
        ({"podMonitor": {"interval": "30"}}, "/podMonitor/interval"),
        ({"dashboards": {"enabled": True, "kind": "GrafanaDashboard"}}, "dashboards.instanceSelector is missing"),
    ],
)
def test_impossible_values_are_refused(values: dict[str, Any], said: str) -> None:
    """With a text that says what to change."""
    assert said in refused(**values)
