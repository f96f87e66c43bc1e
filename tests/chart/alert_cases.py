"""For each alert what makes it fire, and the nearest that must not: series as `promtool test rules` reads them.

Values: `0+1x60` begins at 0 and goes up by 1 each minute, 60 times; `_x15` is absent for 15 minutes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

FOREVER = "x500"

Series = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Case:
    """One alert: looked at `at`, it fires once with these labels and this description, and not for the quiet series."""

    alert: str
    at: str
    fires: Series
    description: str
    quiet: tuple[Series, ...]
    labels: Mapping[str, str] = field(default_factory=dict)


def results(outcome: str, by: str = "WEBHOOK", workflow: str = "person-check") -> str:
    """Return the series of results of one kind."""
    return f'onboarding_results_total{{workflow="{workflow}",outcome="{outcome}",completed_by="{by}"}}'


def webhooks(status: str, reason: str = "accepted") -> str:
    """Return the series of webhooks of one kind."""
    return f'onboarding_webhooks_total{{status="{status}",reason="{reason}"}}'


def of(name: str, **labels: str) -> str:
    """Return the series of a metric with these labels."""
    inner = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"onboarding_{name}{{{inner}}}"


LINKS = of("links_total", workflow="person-check", what="issued")
DEAD = of("dead_letters_total", source="onboarding.requests", reason="bad-avro")
DEAD_WEBHOOK = of("dead_letters_total", source="webhook/eu", reason="webhook-not-json")
NEW = "_x20 1x100"  # A series that comes into being with its first event.
OLD = "1x500"  # What happened long ago.


def burns(kind: str, bad: str, good: str, said: str, *, quiet: tuple[Series, ...]) -> list[Case]:
    """Return the three alerts on the burn of a budget; each needs both of its windows to burn, and traffic."""
    return [
        Case(
            f"Onboarding{kind}BurnFast",
            "1h10m",
            {bad: f"0+20{FOREVER}", good: f"0+80{FOREVER}"},
            f"20% of {said} within 1h, 14.4 times what the objective allows.",
            ({good: f"0+80{FOREVER}", bad: "0+80x40 3200x100"}, *quiet),  # It is over: the short window says so.
        ),
        Case(
            f"Onboarding{kind}BurnSteady",
            "6h10m",
            {bad: f"0+8{FOREVER}", good: f"0+92{FOREVER}"},
            f"8% of {said} within 6h, 6 times what the objective allows.",
            ({good: f"0+92{FOREVER}", bad: "0+8x330 2640x100"}, *quiet),
        ),
        Case(
            f"Onboarding{kind}BurnSlow",
            "6h30m",
            {bad: f"0+2{FOREVER}", good: f"0+98{FOREVER}"},
            f"2% of {said} within 3d, more than the objective allows.",
            ({good: f"0+99996{FOREVER}", bad: f"0+4{FOREVER}"}, *quiet),
        ),
    ]


COMPLETION = burns(
    "Completion",
    results("UNDETERMINED", "OPERATOR"),
    results("COMPLETED"),
    "the results say UNDETERMINED or EXPIRED",
    quiet=(
        {results("UNDETERMINED"): "0x30 1x500"},  # One result in hours is no rate.
        {
            results("COMPLETED"): f"0+50{FOREVER}",
            results("FAILED"): f"0+50{FOREVER}",
        },  # Both are the provider's answer.
        {results("EXPIRED"): f"0+50{FOREVER}", results("COMPLETED"): f"0+50{FOREVER}", LINKS: f"0+50{FOREVER}"},
    ),
)
WEBHOOK = burns(
    "Webhook",
    webhooks("503", "broker-unavailable"),
    webhooks("202"),
    "the webhooks were answered 5xx",
    quiet=(
        {webhooks("503", "fault"): "0x30 1x500"},
        {webhooks("202"): f"0+50{FOREVER}", webhooks("401", "signature-wrong"): f"0+50{FOREVER}"},
    ),
)
EXPIRED = Case(
    "OnboardingCompletionBurnFast",
    "1h10m",
    {results("EXPIRED"): f"0+50{FOREVER}", results("COMPLETED"): f"0+50{FOREVER}"},
    "50% of the results say UNDETERMINED or EXPIRED within 1h, 14.4 times what the objective allows.",
    (),
)

INSTANCES = [
    Case(
        "OnboardingAbsent",
        "15m",
        {},
        "No instance was scraped for 10 minutes: none runs, or monitoring does not reach them.",
        ({of("build_info", version="0.2.0", revision="a"): f"1{FOREVER}"},),
    ),
    Case(
        "OnboardingRoleNotReady",
        "10m",
        {of("ready", role="submitter", pod="a"): f"0{FOREVER}", of("ready", role="submitter", pod="b"): f"0{FOREVER}"},
        "No submitter takes work in.",
        (
            {
                of("ready", role="submitter", pod="a"): f"0{FOREVER}",
                of("ready", role="submitter", pod="b"): f"1{FOREVER}",
            },
        ),
        {"role": "submitter"},
    ),
    Case(
        "OnboardingRestoreStuck",
        "25m",
        {of("restoring_partitions", decider="launch"): f"2{FOREVER}"},
        "Not restored after 20 minutes: 2 of the partitions of launch. Their requests wait.",
        ({of("restoring_partitions", decider="launch"): "2x15 0x100"},),
        {"decider": "launch"},
    ),
    Case(
        "OnboardingPartitionStopped",
        "5m",
        {of("stopped_partitions", decider="launch"): f"1{FOREVER}"},
        "Stopped: 1 of the partitions of launch. Their state or input cannot be read; the others go on.",
        ({of("stopped_partitions", decider="launch"): f"0{FOREVER}"},),
        {"decider": "launch"},
    ),
    Case(
        "OnboardingKeysParked",
        "10m",
        {of("state_parts", decider="launch", kind="parked"): f"3{FOREVER}"},
        "Parked: 3 facts of launch, for a rule failed on their keys.",
        ({of("state_parts", decider="launch", kind="waiting"): f"3{FOREVER}"},),
        {"decider": "launch"},
    ),
    Case(
        "OnboardingTransactionsFailing",
        "50m",
        {
            of("transactions_total", decider="launch", outcome="aborted"): f"0+5{FOREVER}",
            of("transactions_total", decider="launch", outcome="committed"): f"0+95{FOREVER}",
        },
        "5% of the transactions of launch within 30 minutes.",
        (
            {
                of("transactions_total", decider="launch", outcome="aborted"): f"0+1{FOREVER}",
                of("transactions_total", decider="launch", outcome="committed"): f"0+99{FOREVER}",
            },
            {
                of("transactions_total", decider="launch", outcome="unknown"): "0x30 1x100",
                of("transactions_total", decider="launch", outcome="committed"): "0x500",
            },
        ),
        {"decider": "launch"},
    ),
    Case(
        "OnboardingSecretsPending",
        "20m",
        {of("settings_pending"): f"1{FOREVER}"},
        "What was mounted anew is not in use; what was there before serves on, until it expires.",
        ({of("settings_pending"): "1x10 0x100"},),
    ),
    Case(
        "OnboardingPurgeRefused",
        "25m",
        {of("input_purges_total", decider="launch", outcome="refused"): NEW},
        "The topic that launch reads grows without end.",
        ({of("input_purges_total", decider="launch", outcome="done"): f"0+1{FOREVER}"},),
        {"decider": "launch"},
    ),
]

INPUT = [
    Case(
        "OnboardingLagNotDraining",
        "1h",
        {of("input_lag_records", decider="launch"): f"2000+10{FOREVER}"},
        "Waiting for launch: 2600 records, and they do not become fewer.",
        (
            {of("input_lag_records", decider="launch"): "9000-100x80"},
            {of("input_lag_records", decider="launch"): f"900+1{FOREVER}"},
        ),
        {"decider": "launch"},
    ),
    Case(
        "OnboardingStalled",
        "30m",
        {of("input_lag_records", decider="launch"): f"5{FOREVER}", of("facts_total", decider="launch"): f"9{FOREVER}"},
        "Waiting for launch: 5 records, and none was decided for 15 minutes.",
        (
            {of("input_lag_records", decider="launch"): f"5{FOREVER}", of("facts_total", decider="launch"): "0+1x500"},
            {
                of("input_lag_records", decider="launch"): f"0{FOREVER}",
                of("facts_total", decider="launch"): f"9{FOREVER}",
            },
        ),
        {"decider": "launch"},
    ),
    Case(
        "OnboardingDeadLetters",
        "25m",
        {DEAD: NEW},
        "Dead letters from onboarding.requests for bad-avro within 15 minutes: 1.",
        ({DEAD: OLD}, {DEAD_WEBHOOK: NEW}),
        {"source": "onboarding.requests", "reason": "bad-avro"},
    ),
    Case(
        "OnboardingWebhooksUnreadable",
        "25m",
        {webhooks("202", "webhook-not-json"): NEW},
        "Webhooks within 15 minutes, for webhook-not-json: 1. Their bytes are in the dead letters.",
        ({webhooks("202", "repeated"): NEW, webhooks("202", "webhook-not-json"): OLD},),
        {"reason": "webhook-not-json"},
    ),
]

PROVIDER = [
    Case(
        "OnboardingProviderAway",
        "15m",
        {of("calls_held_back", provider="default", by="breaker"): f"1{FOREVER}"},
        "No call of profile default begins but probes; requests wait.",
        (
            {of("calls_held_back", provider="default", by="breaker"): "1x8 0x100"},
            {of("calls_held_back", provider="default", by="slots"): f"1{FOREVER}"},
        ),
        {"provider": "default"},
    ),
    Case(
        "OnboardingCallsHeldBack",
        "15m",
        {of("calls_held_back", provider="default", by="token"): f"1{FOREVER}"},
        "No call of profile default begins, for token.",
        ({of("calls_held_back", provider="default", by="rate"): f"1{FOREVER}"},),
        {"provider": "default", "by": "token"},
    ),
    Case(
        "OnboardingTokenRefused",
        "25m",
        {of("token_renewals_total", outcome="refused"): NEW},
        "Access tokens were refused within 15 minutes; calls go on as long as the last token lives.",
        (
            {
                of("token_renewals_total", outcome="renewed"): f"0+1{FOREVER}",
                of("token_renewals_total", outcome="refused"): OLD,
            },
        ),
    ),
    Case(
        "OnboardingWorkflowPaused",
        "10m",
        {of("paused_workflows", workflow="person-check"): f"1{FOREVER}"},
        "Requests for person-check wait: the provider refuses them for a fault of ours, or a person paused it.",
        ({of("paused_workflows", workflow="person-check"): f"0{FOREVER}"},),
        {"workflow": "person-check"},
    ),
    Case(
        "OnboardingStatusUnlisted",
        "25m",
        {of("unlisted_statuses_total", workflow="person-check"): NEW},
        "It counts as running for person-check; if it is an end, its results come only by the deadline.",
        ({of("unlisted_statuses_total", workflow="person-check"): OLD},),
        {"workflow": "person-check"},
    ),
]

OUTCOMES = [
    Case(
        "OnboardingRunsHeld",
        "20m",
        {of("state_parts", decider="launch", kind="held"): f"2{FOREVER}"},
        "Held: 2 runs, mails or links.",
        ({of("state_parts", decider="launch", kind="unknown"): f"2{FOREVER}"},),
    ),
    Case(
        "OnboardingResultsUndetermined",
        "25m",
        {results("UNDETERMINED"): NEW},
        "Results of person-check within 15 minutes: 1.",
        ({results("COMPLETED"): f"0+1{FOREVER}"},),
        {"workflow": "person-check"},
    ),
    Case(
        "OnboardingWebhooksLost",
        "1h20m",
        {results("COMPLETED", "POLL"): f"0+1{FOREVER}", results("COMPLETED"): f"0+1{FOREVER}"},
        "50% of the results within 1h came by a poll: webhooks do not arrive.",
        (
            {results("COMPLETED", "POLL"): f"0+1{FOREVER}", results("COMPLETED"): f"0+9{FOREVER}"},
            {results("COMPLETED", "POLL"): "0x30 3x100"},
            {results("COMPLETED", "RUN_ANSWER"): f"0+9{FOREVER}"},
        ),
    ),
    Case(
        "OnboardingWebhooksNotBelieved",
        "30m",
        {webhooks("401", "signature-wrong"): f"0+1{FOREVER}", webhooks("202"): f"0+9{FOREVER}"},
        "10% of the webhooks within 15 minutes were refused as not genuine.",
        (
            {webhooks("401", "signature-wrong"): f"0+1{FOREVER}", webhooks("202"): f"0+99{FOREVER}"},
            {webhooks("401", "signature-wrong"): "0x15 1x100"},
        ),
    ),
]

CASES = (*COMPLETION, EXPIRED, *WEBHOOK, *INSTANCES, *INPUT, *PROVIDER, *OUTCOMES)
