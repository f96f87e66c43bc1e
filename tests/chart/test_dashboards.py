"""The dashboards: their expressions are good, name what there is, and choose by variables; no panel hides another."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.chart.metric_catalogue import catalogue, selectors, unknown_names
from tests.chart.test_rules import promtool
from tests.chart.validation import output
from tests.support.chart import CHART, found, rendered

FILES = tuple(sorted((CHART / "dashboards").glob("*.json")))
GRID_WIDTH = 24
SCOPE = ('namespace=~"$namespace"', 'job=~"$job"')
SAMPLES = {"$__rate_interval": "5m", "$__range": "6h"}

Dashboard = dict[str, Any]

every_dashboard = pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])


def dashboard(path: Path) -> Dashboard:
    """Return what a file holds."""
    loaded: Dashboard = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def panels(path: Path) -> list[dict[str, Any]]:
    """Return the panels that show something."""
    return [panel for panel in dashboard(path)["panels"] if panel["type"] != "row"]


def expressions(path: Path) -> Iterator[tuple[str, str]]:
    """Give each expression with the legend of its series."""
    for panel in panels(path):
        yield from ((target["expr"], target["legendFormat"]) for target in panel["targets"])


def queries(path: Path) -> Iterator[str]:
    """Give the expressions behind variables."""
    for variable in dashboard(path)["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


def test_each_dashboard_can_be_found_again() -> None:
    """Its address stays, whatever release brings it, and leads to the other one."""
    uids = {dashboard(path)["uid"]: dashboard(path)["title"] for path in FILES}
    assert uids == {
        "onboarding-overview": "Onboarding: requests and provider",
        "onboarding-engine": "Onboarding: engine",
    }
    for path in FILES:
        assert path.stem == dashboard(path)["uid"]
        assert {link["url"] for link in dashboard(path)["links"]} == {f"/d/{uid}" for uid in uids if uid != path.stem}


@every_dashboard
def test_data_source_namespace_and_job_are_chosen(path: Path) -> None:
    """By variables, which every panel and every selector obeys."""
    names = [variable["name"] for variable in dashboard(path)["templating"]["list"]]
    assert names[:3] == ["datasource", "namespace", "job"]
    for panel in panels(path):
        for asked in (panel, *panel["targets"]):
            assert asked["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for expr, _ in expressions(path):
        assert all(one in matchers for _, matchers in selectors(expr) for one in SCOPE), expr
        assert set(re.findall(r"\$(?!__)(\w+)", expr)) <= set(names), expr


@every_dashboard
def test_every_panel_says_what_it_shows(path: Path) -> None:
    """A title, a sentence, a unit, and a legend for each of several series."""
    for panel in panels(path):
        assert panel["title"], panel["id"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        if panel["type"] == "timeseries":
            assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]
    titles = [panel["title"] for panel in panels(path)]
    assert len(set(titles)) == len(titles)


@every_dashboard
def test_every_metric_in_a_panel_exists(path: Path) -> None:
    """With its labels, the words that those can have, and the labels that legends name."""
    for expr, legend in expressions(path):
        assert list(unknown_names(expr)) == [], expr
        kept = {label for inner in re.findall(r"\bby \(([^)]*)\)", expr) for label in re.findall(r"\w+", inner)}
        assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= kept, legend
    assert [wrong for query in queries(path) for wrong in unknown_names(query)] == []


def test_every_metric_is_shown() -> None:
    """What the program tells, somebody can see without writing an expression."""
    shown = {name for path in FILES for expr, _ in expressions(path) for name, _ in selectors(expr)}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in catalogue()}
    assert families - {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown} == set()


@every_dashboard
def test_windows_follow_the_zoom(path: Path) -> None:
    """Counters are looked at in windows that fit the scrape interval and the time shown, never in fixed ones."""
    windows = {window for expr, _ in expressions(path) for window in re.findall(r"\[([^\]]*)\]", expr)}
    assert windows <= SAMPLES.keys()
    for expr, _ in expressions(path):
        counted = [name for name, _ in selectors(expr) if name.endswith(("_total", "_bucket", "_count", "_sum"))]
        assert len(re.findall(r"\b(?:rate|increase)\(", expr)) == len(counted), expr


def filled(expr: str) -> str:
    """Return an expression as Prometheus gets it."""
    for name, text in SAMPLES.items():
        expr = expr.replace(name, text)
    return re.sub(r"\$\w+", ".*", expr)


@every_dashboard
def test_promtool_reads_every_expression(tmp_path: Path, path: Path) -> None:
    """Each as the expression of a rule, its variables filled in."""
    rules = [{"record": f"panel:{number}", "expr": filled(expr)} for number, (expr, _) in enumerate(expressions(path))]
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [{"name": "a", "rules": rules}]}), encoding="utf-8")
    assert f"{len(rules)} rules found" in output([promtool(), "check", "rules", str(tmp_path / "rules.yaml")])


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    """Say whether two places on the grid share a cell."""
    is_beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    is_above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    return not (is_beside or is_above)


@every_dashboard
def test_no_panel_hides_another(path: Path) -> None:
    """Places lie within the grid, share no cell, and leave no hole in a line of panels."""
    everything = dashboard(path)["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    for panel in everything:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= GRID_WIDTH, panel["title"]
    pairs = combinations(everything, 2)
    assert [(a["title"], b["title"]) for a, b in pairs if overlap(a["gridPos"], b["gridPos"])] == []
    lines: dict[int, int] = {}
    for panel in everything:
        lines[panel["gridPos"]["y"]] = lines.get(panel["gridPos"]["y"], 0) + panel["gridPos"]["w"]
    assert set(lines.values()) == {GRID_WIDTH}


@pytest.mark.parametrize(
    "one,other,shared",
    [((0, 0), (8, 0), False), ((0, 0), (7, 0), True), ((0, 0), (0, 8), False), ((0, 0), (0, 7), True)],
)
def test_a_hidden_panel_is_seen(one: tuple[int, int], other: tuple[int, int], shared: bool) -> None:  # noqa: FBT001  # a column of the table
    """The rule above can fail."""
    first, second = ({"x": x, "y": y, "w": 8, "h": 8} for x, y in (one, other))
    assert overlap(first, second) is shared


def test_grafanas_sidecar_finds_them() -> None:
    """A ConfigMap with its label holds the files as they are."""
    made = found(
        rendered(dashboards={"enabled": True, "annotations": {"folder": "identity"}}), "ConfigMap", "dashboards"
    )
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert made["metadata"]["annotations"] == {"folder": "identity"}
    assert {name: json.loads(text) for name, text in made["data"].items()} == {
        path.name: dashboard(path) for path in FILES
    }


def test_grafanas_operator_finds_them() -> None:
    """One GrafanaDashboard for each, with the labels of the Grafana that shows it."""
    labels = {"dashboards": "grafana"}
    values = {"enabled": True, "kind": "GrafanaDashboard", "instanceSelector": labels, "folder": "Identity"}
    objects = rendered(dashboards=values)
    for path in FILES:
        spec = found(objects, "GrafanaDashboard", path.stem.removeprefix("onboarding-"))["spec"]
        assert json.loads(spec.pop("json")) == dashboard(path)
        assert spec == {"instanceSelector": {"matchLabels": labels}, "folder": "Identity"}
