"""The closed lists of what the program tells: log events, log fields, metrics.

`processor/logs.py` drops whatever is not listed here, so that personal data reaches no log by mistake. Labels come
from closed lists or from the catalogue, never from a message.
"""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

EVENT_SENTENCES: Mapping[str, str] = {
    # The process.
    "process.started": "The process began: roles, build, application id, group protocol.",
    "process.waiting": "Something that the start needs is not there yet; it is tried again.",
    "process.ready": "All partitions are restored and all schemas found; work is taken in.",
    "process.draining": "Asked to stop: intake has ended, open runs are awaited.",
    "process.stopped": "Everything was committed and closed; how long it took and how many calls were left open.",
    "process.crashed": "An exception that nobody handled; the process or thread ends.",
    # Secrets and certificates that change while the process runs.
    "settings.changed": "Secrets or certificates have changed; they are taken up as soon as they work.",
    "settings.waiting": "Changed secrets or certificates do not work yet; those of before serve on.",
    "settings.renewed": "Changed secrets or certificates are in use; what was renewed for it, and how long it took.",
    "settings.refused": "Changed settings contradict themselves or cannot be read; those of before serve on.",
    # Partitions and transactions of a decider.
    "partition.assigned": "Partitions came to this member.",
    "partition.revoked": "Partitions were handed over after their open runs ended.",
    "partition.lost": "Partitions were taken away; what was not committed of them is dropped.",
    "partition.restoring": "A restore goes on: records read and remaining.",
    "partition.restored": "A partition's state is complete; it begins to work.",
    "partition.stopped": "A partition needs a person or another build; the others go on.",
    "partition.redelivered": "Records below the state's position were skipped.",
    "transaction.aborted": "A transaction was aborted; its facts are decided again.",
    "transaction.unknown": "A commit of unknown outcome was decided by its token, partition by partition.",
    "transaction.mended": "A transaction that was not committed hung in so many partitions; it was aborted there.",
    "record.dead_lettered": "An input record went to the dead letters.",
    "key.parked": "A rule failed on one key, which waits for a new build; the partition goes on.",
    "evidence.published": "What calls proved for partitions that are gone was published to their next owner.",
    "partition.stuck": "A partition delivered nothing although there was something to read; it was placed anew.",
    "input.purge_refused": "The broker refuses to delete internal input; it is kept for the topic's retention.",
    # Requests.
    "request.accepted": "A request was taken into custody.",
    "request.prepared": "A request's repeatable creations are done; custody passes to launch.",
    "workflow.started": "A workflow runs for a request; custody passes to completion.",
    "workflow.adopted": "A run of unknown outcome, or the walk of a link, was recognised by what showed itself.",
    "link.issued": "A link or token was issued, or mailed by the provider.",
    "link.refused": "One more link was asked for, and there will be none.",
    "workflow.held": "A run of unknown outcome waits for a late observation or a person.",
    "workflow.observed": "A webhook showed a workflow that nobody started here.",
    "result.published": "A request's one result is out.",
    "result.amended": "A real outcome came after all and is out as revision 2.",
    "status.unlisted": "The provider said a status that neither list of the catalogue knows; it counts as running.",
    # The provider.
    "call.failed": "A call of the provider's API was not answered as hoped; what that proves.",
    "workflow.paused": "A workflow is paused: the fault is ours (credentials, permission, definition, many refusals).",
    "workflow.resumed": "A paused workflow goes on.",
    "provider.unreachable": "The provider cannot be reached, or only fails; no call begins until a probe is answered.",
    "provider.reachable": "The provider answers again; what waited goes on, few calls at once at first.",
    "provider.throttled": "The provider asks us to wait; no call begins until then. Told once a minute at most.",
    "provider.unconfigured": "Calls name a provider profile that is not configured; they wait for it.",
    "token.renewed": "A new access token was obtained.",
    "token.refused": "The provider refuses our credentials.",
    # Webhooks.
    "webhook.accepted": "A genuine webhook is in Kafka.",
    "webhook.refused": "A webhook was not believed, or not taken now.",
    "webhook.unreadable": "A genuine webhook says nothing to us; its bytes are in the dead letters.",
    # Surroundings.
    "broker.unavailable": "Kafka does not answer; work waits.",
    "registry.unavailable": "The schema registry does not answer; work waits.",
}
LOG_EVENTS = frozenset(EVENT_SENTENCES)

# What a log line may carry: ids, closed words, counts, durations, coordinates. Never names of people, addresses,
# numbers, message keys, column and parameter values, bodies, links or tokens.
LOG_FIELDS = frozenset(
    {
        # who tells
        "role",
        "roles",
        "decider",
        "client",
        "application_id",
        "instance",
        "version",
        "build",
        "group_protocol",
        # coordinates
        "topic",
        "partition",
        "partitions",
        "offset",
        "key_hash",
        # counts and durations
        "count",
        "facts",
        "records",
        "remaining",
        "tries",
        "committed",
        "aborted",
        "dropped",
        "calls_open",
        "body_bytes",
        "seconds",
        "wait_ms",
        # what it is about
        "request_id",
        "workflow",
        "definition_id",
        "workflow_id",
        "record_id",
        "case_id",
        "event_id",
        "decision_id",
        "correlation_id",
        "trace_id",
        "tenant",
        "attempt",
        "attempts",
        "revision",
        # closed words
        "provider",
        "operation",
        "proof",
        "phase",
        "outcome",
        "status",
        "http_status",
        "completed_by",
        "reason",
        "fact",
        "what",
        "why",
        "key_id",
        # addresses of our own
        "host",
        "port",
        "url",
        "file",
        # errors; logs.py makes them of an exception
        "error_type",
        "error_at",
        "error_causes",
        "error_message",
        # lines of libraries
        "logger",
        "at",
        "text",
        "suppressed",
    }
)

_CALL_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0)
_COMMIT_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_WEBHOOK_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_RESTORE_S = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_REQUEST_S = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0, 604_800.0)


class EngineMetrics:
    """What deciders do with partitions, transactions and state."""

    def __init__(self, registry: CollectorRegistry) -> None:
        make = _Maker(registry)
        self.partitions = make.gauge("partitions_owned", "Partitions that this process owns.", "decider")
        self.rebalances = make.counter(
            "rebalanced_partitions", "Partitions that came or went: assigned, revoked, lost.", "decider", "change"
        )
        self.lag = make.gauge(
            "input_lag_records",
            "Input that can be read and is not decided yet, in offsets over the partitions owned here; asked seldom.",
            "decider",
        )
        self.drain_seconds = make.histogram(
            "drain_seconds", "How long open runs were awaited before partitions were handed over.", _CALL_S, "decider"
        )
        self.restore_seconds = make.histogram(
            "restore_seconds", "How long restoring one partition's state took.", _RESTORE_S, "decider"
        )
        self.restored_records = make.counter("restored_records", "State records that restores read.", "decider")
        self.restoring = make.gauge("restoring_partitions", "Partitions whose state is not complete yet.", "decider")
        self.restore_remaining = make.gauge(
            "restore_remaining_records", "State records that running restores have still to read.", "decider"
        )
        self.transactions = make.counter(
            "transactions", "Transactions by outcome: committed, aborted, unknown.", "decider", "outcome"
        )
        self.transaction_seconds = make.histogram(
            "transaction_seconds", "How long a transaction took, from its begin to its outcome.", _COMMIT_S, "decider"
        )
        self.unknown_partitions = make.counter(
            "unknown_commit_partitions",
            "Partitions of unknown commits by what their token showed: committed, aborted, dropped.",
            "decider",
            "verdict",
        )
        self.facts = make.counter("facts", "Facts that were decided and committed.", "decider")
        self.records = make.counter("written_records", "Records that committed transactions wrote.", "decider")
        self.redelivered = make.counter("redelivered_records", "Input records skipped as already decided.", "decider")
        self.parked = make.counter("parked_keys", "Keys that were parked because a rule failed on them.", "decider")
        self.stopped = make.gauge("stopped_partitions", "Partitions that need a person or another build.", "decider")
        self.evidence = make.counter("evidence_records", "Answers published for partitions that are gone.", "decider")
        self.watchdog = make.counter("watchdog_restarts", "Members replaced for lack of progress.", "decider")
        self.purges = make.counter(
            "input_purges", "Purges of internal input by outcome: done, refused.", "decider", "outcome"
        )
        self.parts = make.gauge(
            "state_parts", "Parts of the state by kind, such as waiting, unknown, held, running.", "decider", "kind"
        )


class CallMetrics:
    """What calls of the provider's API cost and prove."""

    def __init__(self, registry: CollectorRegistry) -> None:
        make = _Maker(registry)
        self.calls = make.counter("calls", "Calls of the provider's API by what they proved.", "operation", "proof")
        self.seconds = make.histogram(
            "call_duration_seconds",
            "How long calls took, by HTTP status or, without an answer, by reason.",
            _CALL_S,
            "operation",
            "status",
        )
        self.in_flight = make.gauge("calls_in_flight", "Calls that are open.")
        self.permits_waiting = make.gauge("permits_waiting", "Calls and launches that wait for what holds them back.")
        self.paused = make.gauge("paused_workflows", "Whether a workflow is paused for a fault of ours.", "workflow")
        self.held_back = make.gauge(
            "calls_held_back",
            "Whether this holds calls back right now: slots, bytes, rate, token, breaker, ramp, retry-after, "
            "pauses-unread, pause.",
            "provider",
            "by",
        )
        self.slots = make.gauge("call_slots", "Calls that may be open here: this instance's part.", "provider")
        self.tokens = make.counter("token_renewals", "Access tokens by outcome: renewed, refused, failed.", "outcome")


class RequestMetrics:
    """What becomes of requests."""

    def __init__(self, registry: CollectorRegistry) -> None:
        make = _Maker(registry)
        self.accepted = make.counter("requests", "Requests taken into custody.", "workflow")
        self.duplicates = make.counter("duplicate_requests", "Requests that were known already.")
        self.results = make.counter(
            "results", "Results published, by who told the end first.", "workflow", "outcome", "completed_by"
        )
        self.amendments = make.counter("amendments", "Results of revision 2 published.", "workflow", "outcome")
        self.age = make.histogram(
            "result_age_seconds", "From the request's own time to its result.", _REQUEST_S, "workflow", "outcome"
        )
        self.adopted = make.counter(
            "adopted_runs", "Runs and walked links recognised by what showed itself.", "workflow"
        )
        self.links = make.counter("links", "Links, mails and tokens by what became of them.", "workflow", "what")
        self.held = make.counter("held_runs", "Runs of unknown outcome that were held.", "workflow")
        self.unlisted_statuses = make.counter(
            "unlisted_statuses", "Status reads that neither list of the catalogue knows.", "workflow"
        )
        self.dead_letters = make.counter("dead_letters", "Records sent to the dead letters.", "source", "reason")


class WebhookMetrics:
    """What comes in at the webhook port."""

    def __init__(self, registry: CollectorRegistry) -> None:
        make = _Maker(registry)
        self.handled = make.counter("webhooks", "Webhooks by answer and reason.", "status", "reason")
        self.seconds = make.histogram("webhook_seconds", "From a webhook's headers to our answer.", _WEBHOOK_S)
        self.key_fetches = make.counter(
            "webhook_key_fetches", "Fetches of webhook keys by outcome: found, missing, failed.", "outcome"
        )


class ProcessMetrics:
    """What runs, and what it withheld."""

    def __init__(self, registry: CollectorRegistry) -> None:
        make = _Maker(registry)
        self.build = make.gauge("build_info", "Always 1; the labels say which build runs.", "version", "revision")
        self.ready = make.gauge("ready", "Whether a role lacks nothing itself: 0 is the 503 of /readyz.", "role")
        self.renewals = make.counter(
            "settings_renewals",
            "Changed secrets and certificates by what became of them: provider, process, refused.",
            "what",
        )
        self.pending = make.gauge(
            "settings_pending", "Changes of secrets and certificates that are not in use yet, as they do not work."
        )
        self.log_drops = make.counter("log_drops", "Fields and names kept out of log lines because nobody listed them.")


class Metrics:
    """Every metric of the program, made once on one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # A series of times beside each counter would double what is scraped.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.engine = EngineMetrics(registry)
        self.calls = CallMetrics(registry)
        self.requests = RequestMetrics(registry)
        self.webhooks = WebhookMetrics(registry)
        self.process = ProcessMetrics(registry)


class _Maker:
    """Makes metrics whose names begin with `onboarding_`; a counter's name ends in `_total` by itself."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, sentence: str, *labels: str) -> Counter:
        return Counter(f"onboarding_{name}", sentence, labels, registry=self._registry)

    def gauge(self, name: str, sentence: str, *labels: str) -> Gauge:
        return Gauge(f"onboarding_{name}", sentence, labels, registry=self._registry)

    def histogram(self, name: str, sentence: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"onboarding_{name}", sentence, labels, registry=self._registry, buckets=buckets)
