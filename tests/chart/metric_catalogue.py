"""Which metrics the program has, with their labels, and what expressions for Prometheus say of them."""

import re
from collections.abc import Iterator, Mapping
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from processor.adapters.access_token import TokenOutcome
from processor.adapters.gate import HeldBy
from processor.adapters.webhook_intake import REPEATED, Trouble
from processor.adapters.webserver import BodyRefusal
from processor.core.model import Outcome, Witness
from processor.core.proof import Operation, Proof
from processor.core.webhook import Refusal, Unreadable
from processor.roles.machines import CompletionMachine, LaunchMachine, PreparationMachine
from processor.roles.process import Role
from processor.telemetry import Metrics

SCRAPED = frozenset({"namespace", "job", "pod", "instance", "container"})  # What a scrape adds.
MACHINES = (PreparationMachine, LaunchMachine, CompletionMachine)
DECIDERS = frozenset(machine.name for machine in MACHINES)

# The closed lists behind labels, by metric and label; `""` stands for every metric with the label.
WORDS: Mapping[tuple[str, str], frozenset[str]] = {
    ("", "decider"): DECIDERS,
    ("", "role"): frozenset(Role),
    ("", "operation"): frozenset(Operation),
    ("", "proof"): frozenset(Proof),
    ("", "by"): frozenset(HeldBy),
    ("", "completed_by"): frozenset(Witness),
    ("", "kind"): frozenset(gauge for machine in MACHINES for gauge in machine.gauges) | {"parked"},
    ("onboarding_links_total", "what"): frozenset({"issued", "refused"}),
    ("onboarding_results_total", "outcome"): frozenset(Outcome),
    ("onboarding_result_age_seconds", "outcome"): frozenset(Outcome),
    ("onboarding_amendments_total", "outcome"): frozenset(Outcome),
    ("onboarding_token_renewals_total", "outcome"): frozenset(TokenOutcome),
    ("onboarding_transactions_total", "outcome"): frozenset({"committed", "aborted", "unknown"}),
    ("onboarding_webhooks_total", "reason"): frozenset(
        {*Refusal, *Unreadable, *Trouble, *BodyRefusal, "accepted", REPEATED}
    ),
    ("onboarding_input_purges_total", "outcome"): frozenset({"done", "refused"}),
}


def made_on(registry: CollectorRegistry) -> list[MetricWrapperBase]:
    """Make every metric of the program on a registry."""
    metrics = Metrics(registry)
    sections = (metrics.engine, metrics.calls, metrics.requests, metrics.webhooks, metrics.process)
    return [one for section in sections for one in vars(section).values() if isinstance(one, MetricWrapperBase)]


@cache
def catalogue() -> Mapping[str, frozenset[str]]:
    """Return the labels of each series that the program exposes, by the series' name."""
    return dict(entry for one in made_on(CollectorRegistry()) for entry in series_of(one))


def exposition() -> str:
    """Return what Prometheus would scrape, with one series of each metric."""
    registry = CollectorRegistry()
    for one in made_on(registry):
        if labels := one._labelnames:  # noqa: SLF001  # the library says them nowhere else
            one.labels(*labels)
    return generate_latest(registry).decode()


def series_of(metric: MetricWrapperBase) -> Iterator[tuple[str, frozenset[str]]]:
    """Give the series of one metric with their labels."""
    name, labels = metric._name, frozenset(metric._labelnames)  # noqa: SLF001  # the library says them nowhere else
    if isinstance(metric, Counter):
        yield f"{name}_total", labels
    elif isinstance(metric, Histogram):
        yield f"{name}_bucket", labels | {"le"}
        yield from ((f"{name}_{part}", labels) for part in ("sum", "count"))
    else:
        yield name, labels


def selectors(expr: str) -> Iterator[tuple[str, str]]:
    """Give name and matchers of each selector in an expression."""
    yield from re.findall(r"\b(onboarding[_:][a-z0-9_:]+)(?:\{([^}]*)\})?", expr)


def unknown_names(expr: str, recorded: frozenset[str] = frozenset()) -> Iterator[str]:
    """Give what an expression names and the program has not: metrics, labels, words of closed lists."""
    labels: set[str] = set(SCRAPED)
    for name, matchers in selectors(expr):
        if ":" in name:
            if name not in recorded:
                yield name
            labels |= {"decider"}
            continue
        if name not in catalogue():
            yield name
            continue
        labels |= catalogue()[name]
        yield from (f"{name}: {wrong}" for wrong in unknown_matchers(name, matchers))
    for grouped in re.findall(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)", expr):
        yield from (label for label in re.findall(r"\w+", grouped) if label not in labels)


def unknown_matchers(name: str, matchers: str) -> Iterator[str]:
    """Give the labels in matchers that a metric has not, and the words that its labels never have."""
    for label, _, text in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', matchers):
        if label not in catalogue()[name] | SCRAPED:
            yield label
        family = re.sub(r"_(bucket|sum|count)$", "", name)
        words = WORDS.get((family, label), WORDS.get(("", label)))
        if words is not None and not text.startswith("$"):
            yield from (word for word in text.split("|") if word not in words)
