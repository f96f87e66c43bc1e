"""What the simulator is told: fixed settings, and the faults that may be changed while it runs.

Every field has a default and a line of documentation, so that a command can offer each as an option.
"""
# ruff: noqa: RUF009  # `setting` only declares a field; its defaults are all immutable

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from processor.simulator.fields import Option, as_text, coerced, options_of, setting, values_of
from processor.simulator.webhooks import KINDS, MEMBERS

RUN_FAULT_RATES = (
    "run_5xx_unexecuted_rate",
    "run_5xx_executed_rate",
    "run_silent_rate",
    "run_hung_up_rate",
    "run_ghost_rate",
)


@dataclass(frozen=True, slots=True)
class Span:
    """A closed range to draw from, in the unit of the field that holds it; both ends equal means fixed."""

    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse a range that nothing can be drawn from."""
        if not 0 <= self.low <= self.high < float("inf"):
            raise ValueError(f"a range needs 0 <= low <= high, not {self.low}..{self.high}")

    def __str__(self) -> str:
        return f"{self.low:g}" if self.low == self.high else f"{self.low:g}..{self.high:g}"

    @classmethod
    def of(cls, value: object) -> Self:
        """Read `50`, `"50"`, `"20..80"` or `[20, 80]`; raises ValueError otherwise."""
        if isinstance(value, cls):
            return value
        parts: list[Any] = value.split("..") if isinstance(value, str) else [value]
        if isinstance(value, list | tuple):
            parts = list(value)
        if len(parts) not in (1, 2) or any(isinstance(part, bool | None | dict | list) for part in parts):
            raise ValueError("give a number, `low..high` or [low, high]")
        return cls(float(parts[0]), float(parts[-1]))


@dataclass(frozen=True, slots=True)
class Names:
    """What the provider calls things that we have names for: `ours=theirs`, separated by commas, or a JSON object."""

    pairs: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return ",".join(f"{ours}={theirs}" for ours, theirs in self.pairs)

    @property
    def names(self) -> dict[str, str]:
        """Theirs by ours."""
        return dict(self.pairs)

    @classmethod
    def of(cls, value: object) -> Self:
        """Read `a=b,c=d` or a mapping; raises ValueError otherwise."""
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            value = dict(pair.split("=", 1) for pair in value.split(",") if pair)
        if not isinstance(value, Mapping) or not all(isinstance(text, str) for pair in value.items() for text in pair):
            raise ValueError("give ours=theirs, separated by commas, or an object of texts")
        return cls(tuple((ours.strip(), theirs.strip()) for ours, theirs in value.items()))


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong, and how long things take: rates are 0..1, ranges are drawn from evenly.

    A *start* is a call that may not be repeated: a run, a token, a link, a link by mail.
    """

    latency_ms: Span = setting(Span(0, 0), "time before each answer of the provider's routes")
    completion_ms: Span = setting(
        Span(200, 200), "time from the execution of a run, or the walk of its user, to its end"
    )
    complete_at_once_rate: float = setting(0.0, "runs whose own answer already says that they ended")
    failed_rate: float = setting(0.0, "runs that end badly")
    running_status: str = setting("RUNNING", "the status word of a run that goes on")
    awaiting_status: str = setting("AWAITING", "the status word of a run whose user is done")
    completed_status: str = setting("COMPLETED", "the status word of a run that ended well")
    failed_status: str = setting("FAILED", "the status word of a run that ended badly")
    expired_status: str = setting("EXPIRED", "the status word of a run that ended by its expiresAt")
    status_hides_record: bool = setting(default=False, doc="version 2 answers leave the record id out")
    result_delay_ms: int = setting(0, "how long after the end of a run its result still answers 404")
    webhook_lost_rate: float = setting(0.0, "webhooks that are never sent")
    webhook_doubled_rate: float = setting(0.0, "webhooks that are sent twice")
    webhook_delay_ms: Span = setting(Span(0, 0), "time from the end of a run to its webhook")
    awaiting_rate: float = setting(0.0, "runs with a user that say halfway, with a webhook, that the user is done")
    status_update_rate: float = setting(0.0, "runs without a user that send a webhook halfway")
    user_walks_ms: Span = setting(Span(1000, 1000), "time after which the user walks a link or token")
    user_absent_rate: float = setting(0.0, "links and tokens whose user never comes")
    error_5xx_rate: float = setting(0.0, "reads and creations answered 5xx, not executed")
    throttled_rate: float = setting(0.0, "calls answered 429, not executed")
    calls_per_second_max: int = setting(0, "calls a second above which 429 is answered; 0 means no limit")
    retry_after_s: int = setting(1, "Retry-After of a 429; 0 leaves the header out")
    retry_after_as_date: bool = setting(default=False, doc="Retry-After is an HTTP date")
    run_5xx_unexecuted_rate: float = setting(0.0, "starts answered 5xx and not executed")
    run_5xx_executed_rate: float = setting(0.0, "starts executed and answered 5xx")
    run_silent_rate: float = setting(0.0, "starts executed and never answered")
    run_hung_up_rate: float = setting(0.0, "starts executed, the connection closed without an answer")
    run_ghost_rate: float = setting(0.0, "starts never answered and executed later")
    ghost_delay_ms: Span = setting(Span(60_000, 60_000), "time from such a request to its execution")
    refused_rate: float = setting(1.0, "calls answered 400 among those whose content holds a marker")
    refused_record_marker: str = setting("simulator-refuses-record", "marker that refuses a record or case")
    refused_run_marker: str = setting("simulator-refuses-run", "marker in a record or parameters: refuses the start")
    forbidden: bool = setting(default=False, doc="every call with a token answers 403")
    credentials_refused: bool = setting(default=False, doc="authorize and refresh answer 401")
    keys_down: bool = setting(default=False, doc="the webhook key endpoint answers 503")
    outage: bool = setting(default=False, doc="every route of the provider answers 503")
    outage_every_s: float = setting(0.0, "period of the outage windows; 0 means none")
    outage_for_s: float = setting(0.0, "length of the outage at the end of each period")

    def __post_init__(self) -> None:
        """Refuse rates outside 0..1, run faults that add up to more than 1, and negative numbers."""
        for name, value in values_of(self).items():
            if name.endswith("_rate") and not 0 <= value <= 1:
                raise ValueError(f"{name} must lie in 0..1, not {value}")
            if name.endswith(("_s", "_ms", "_max")) and not isinstance(value, Span) and value < 0:
                raise ValueError(f"{name} must not be negative, not {value}")
        if sum(getattr(self, name) for name in RUN_FAULT_RATES) > 1 + 1e-9:
            raise ValueError(f"{', '.join(RUN_FAULT_RATES)} must add up to at most 1")


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """What stays as it is while the simulator runs, and the faults it begins with."""

    seed: int = setting(1, "seed of everything that is drawn")
    key: str = setting("simulator-key", "the key that authorize accepts")
    secret: str = setting("simulator-secret", "the secret that authorize accepts", is_secret=True)
    organisation_tokens: tuple[str, ...] = setting(
        ("tot_simulator",), "the tokens that are accepted bare, without `Bearer`", is_secret=True
    )
    token_s: float = setting(3600.0, "life of an access token")
    refresh_s: float = setting(90 * 86_400.0, "life of a refresh token")
    auth_required: bool = setting(default=True, doc="refuse calls without a valid token")
    strict: bool = setting(default=True, doc="refuse what is not of the version asked for, and wrong types in a case")
    definitions: tuple[str, ...] = setting((), "the definition ids that exist; empty means all")
    user_definitions: tuple[str, ...] = setting((), "the definition ids that need an end user")
    unknown_ids_refused: bool = setting(default=False, doc="404 for records, cases, parameters made elsewhere")
    link_s: float = setting(3600.0, "life of a link and of an end user's token")
    links_expire_previous: bool = setting(default=True, doc="a link ends the one before of its subject and definition")
    link_base_url: str = setting("https://link.transactionlink.io", "what links begin with")
    case_shows_workflow: bool = setting(default=False, doc="a case tells workflow id and status of its last run")
    results_available: bool = setting(default=True, doc="runs have a result to read")
    version_3_results: bool = setting(default=True, doc="runs of version 3 have one too")
    run_id_path: str = setting("id", "where the answer of a run holds the workflow id")
    parameters_path: str = setting("/parameters", "path that makes a parameter set")
    parameters_definition_member: str = setting("workflowDefinitionId", "member of its request: the definition id")
    parameters_values_member: str = setting("parameters", "member of its request: the values")
    parameters_id_path: str = setting("id", "where its answer holds the id")
    webhook_shape: Names = setting(
        Names(), "paths of webhook members (kind, workflowId, caseId, recordId, status, definitionId); empty for none"
    )
    webhook_kinds: Names = setting(Names(), "words of webhook kinds (completed, awaiting, status-update)")
    webhook_urls: tuple[str, ...] = setting((), "where webhooks go in turn: URLs, or ports of 127.0.0.1/webhooks")
    webhook_retries: int = setting(5, "deliveries after the first one that failed")
    webhook_retry_s: float = setting(5.0, "time from a failed delivery to the next")
    webhook_timeout_s: float = setting(10.0, "time that a receiver has to answer")
    webhook_concurrency: int = setting(128, "deliveries at the same time")
    silence_s: float = setting(120.0, "how long a call that is never answered is held open")
    runs_max: int = setting(200_000, "runs kept in memory; the oldest go first")
    contents_max: int = setting(200_000, "records, cases, parameter sets and links kept in memory, of each")
    body_bytes_max: int = setting(1 << 20, "largest request body")
    ledger_file: str = setting("", "file that the ledger is appended to, and restored from at start")
    key_needs_credential: bool = setting(default=False, doc="the webhook key endpoint needs a token")
    replay_file: str = setting(
        "", "recorded conversation that is played back instead, see processor/simulator/replay.py"
    )
    signing_key: str = setting("", "RSA private key of the webhooks, PEM text; empty makes one", is_secret=True)
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        """Refuse limits of nothing and addresses that are none."""
        positive = (
            "token_s",
            "refresh_s",
            "link_s",
            "webhook_concurrency",
            "runs_max",
            "contents_max",
            "body_bytes_max",
        )
        for name in positive:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be greater than 0")
        for name in ("webhook_retries", "webhook_retry_s", "webhook_timeout_s", "silence_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        foreign = set(self.user_definitions) - set(self.definitions)
        if self.definitions and foreign:
            raise ValueError(f"user_definitions must be in definitions, unlike {', '.join(sorted(foreign))}")
        self._check_names()
        object.__setattr__(self, "webhook_urls", webhook_urls(self.webhook_urls))

    def _check_names(self) -> None:
        """Refuse names that mean nothing."""
        for name, known in (("webhook_shape", MEMBERS), ("webhook_kinds", KINDS)):
            if unknown := set(getattr(self, name).names) - set(known):
                raise ValueError(f"{name} knows {', '.join(known)}, not {', '.join(sorted(unknown))}")
        for name in ("run_id_path", "parameters_id_path"):
            if not all(getattr(self, name).split(".")):
                raise ValueError(f"{name} must be names of members, separated by dots")
        if not self.parameters_path.startswith("/"):
            raise ValueError("parameters_path must begin with /")


def options() -> tuple[Option, ...]:
    """List every setting and every fault, flat, for a command to offer."""
    return tuple(options_of(SimulatorSettings, Faults))


def settings_from(given: Mapping[str, object]) -> SimulatorSettings:
    """Build settings from flat names of fields, faults among them; raises ValueError that names the field."""
    names = set(values_of(Faults()))
    faults = changed(Faults(), {name: value for name, value in given.items() if name in names})
    plain = {name: value for name, value in given.items() if name not in names}
    return replace(SimulatorSettings(), **coerced(SimulatorSettings(), plain), faults=faults)


def changed(faults: Faults, given: Mapping[str, object]) -> Faults:
    """Put new values in place of some faults; raises ValueError that names what is unknown or wrong."""
    return replace(faults, **coerced(faults, given))


def shown(faults: Faults) -> dict[str, bool | int | float | str]:
    """Show every fault in the form in which it can be given."""
    return {name: as_text(value) for name, value in values_of(faults).items()}


def webhook_urls(given: tuple[str, ...]) -> tuple[str, ...]:
    """Turn ports into URLs of this machine; raises ValueError on anything that is neither."""
    urls = tuple(f"http://127.0.0.1:{each}/webhooks" if each.isdigit() else each for each in given)
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise ValueError("webhook_urls takes ports and http or https URLs, separated by commas")
    return urls
