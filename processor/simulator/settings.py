"""What the simulator is told: fixed settings, and the faults that may be changed while it runs.

Every field has a default and a line of documentation, so that a command can offer each as an option.
"""
# ruff: noqa: RUF009  # `setting` only declares a field; its defaults are all immutable

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self, TypeVar

T = TypeVar("T")

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


def setting(default: T, doc: str, *, is_secret: bool = False) -> T:
    """Declare a field with its default and its line of documentation; a secret stays out of `repr`."""
    declared: T = field(default=default, metadata={"doc": doc}, repr=not is_secret)
    return declared


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong, and how long things take: rates are 0..1, ranges are drawn from evenly."""

    latency_ms: Span = setting(Span(0, 0), "time before each answer of the provider's routes")
    completion_ms: Span = setting(Span(200, 200), "time from the execution of a run to its end")
    complete_at_once_rate: float = setting(0.0, "runs whose own answer already says that they ended")
    failed_rate: float = setting(0.0, "runs that end badly")
    failed_status: str = setting("FAILED", "the status word of a run that ended badly")
    status_hides_record: bool = setting(default=False, doc="version 2 answers leave the record id out")
    result_delay_ms: int = setting(0, "how long after the end of a run its result still answers 404")
    webhook_lost_rate: float = setting(0.0, "webhooks that are never sent")
    webhook_doubled_rate: float = setting(0.0, "webhooks that are sent twice")
    webhook_delay_ms: Span = setting(Span(0, 0), "time from the end of a run to its webhook")
    error_5xx_rate: float = setting(0.0, "reads and creations answered 5xx, not executed")
    throttled_rate: float = setting(0.0, "calls answered 429, not executed")
    retry_after_s: int = setting(1, "Retry-After of a 429; 0 leaves the header out")
    run_5xx_unexecuted_rate: float = setting(0.0, "runs answered 5xx and not executed")
    run_5xx_executed_rate: float = setting(0.0, "runs executed and answered 5xx")
    run_silent_rate: float = setting(0.0, "runs executed and never answered")
    run_hung_up_rate: float = setting(0.0, "runs executed, the connection closed without an answer")
    run_ghost_rate: float = setting(0.0, "runs never answered and executed later")
    ghost_delay_ms: Span = setting(Span(60_000, 60_000), "time from such a request to its execution")
    refused_rate: float = setting(1.0, "calls answered 400 among those whose content holds a marker")
    refused_record_marker: str = setting("simulator-refuses-record", "marker that refuses a record or case")
    refused_run_marker: str = setting("simulator-refuses-run", "marker in a record or parameters: refuses the run")
    forbidden: bool = setting(default=False, doc="every call with a token answers 403")
    credentials_refused: bool = setting(default=False, doc="authorize and refresh answer 401")
    keys_down: bool = setting(default=False, doc="the webhook key endpoint answers 503")
    outage: bool = setting(default=False, doc="every route of the provider answers 503")
    outage_every_s: float = setting(0.0, "period of the outage windows; 0 means none")
    outage_for_s: float = setting(0.0, "length of the outage at the end of each period")

    def __post_init__(self) -> None:
        """Refuse rates outside 0..1, run faults that add up to more than 1, and negative times."""
        for name, value in _values(self).items():
            if name.endswith("_rate") and not 0 <= value <= 1:
                raise ValueError(f"{name} must lie in 0..1, not {value}")
            if name.endswith(("_s", "_ms")) and not isinstance(value, Span) and value < 0:
                raise ValueError(f"{name} must not be negative, not {value}")
        if sum(getattr(self, name) for name in RUN_FAULT_RATES) > 1 + 1e-9:
            raise ValueError(f"{', '.join(RUN_FAULT_RATES)} must add up to at most 1")


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """What stays as it is while the simulator runs, and the faults it begins with."""

    seed: int = setting(1, "seed of everything that is drawn")
    key: str = setting("simulator-key", "the key that authorize accepts")
    secret: str = setting("simulator-secret", "the secret that authorize accepts", is_secret=True)
    token_s: float = setting(3600.0, "life of an access token")
    refresh_s: float = setting(90 * 86_400.0, "life of a refresh token")
    auth_required: bool = setting(default=True, doc="refuse calls without a valid token")
    definitions: tuple[str, ...] = setting((), "the definition ids that exist; empty means all")
    unknown_ids_refused: bool = setting(default=False, doc="404 for records, cases, parameters made elsewhere")
    webhook_urls: tuple[str, ...] = setting((), "where webhooks go in turn: URLs, or ports of 127.0.0.1/webhooks")
    webhook_retries: int = setting(5, "deliveries after the first one that failed")
    webhook_retry_s: float = setting(5.0, "time from a failed delivery to the next")
    webhook_timeout_s: float = setting(10.0, "time that a receiver has to answer")
    webhook_concurrency: int = setting(128, "deliveries at the same time")
    silence_s: float = setting(120.0, "how long a call that is never answered is held open")
    runs_max: int = setting(200_000, "runs kept in memory; the oldest go first")
    contents_max: int = setting(200_000, "records, cases and parameter sets kept in memory, of each")
    body_bytes_max: int = setting(1 << 20, "largest request body")
    ledger_file: str = setting("", "file that the ledger is appended to, and restored from at start")
    signing_key: str = setting("", "RSA private key of the webhooks, PEM text; empty makes one", is_secret=True)
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        """Refuse limits of nothing and addresses that are none."""
        for name in ("token_s", "refresh_s", "webhook_concurrency", "runs_max", "contents_max", "body_bytes_max"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be greater than 0")
        for name in ("webhook_retries", "webhook_retry_s", "webhook_timeout_s", "silence_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        object.__setattr__(self, "webhook_urls", webhook_urls(self.webhook_urls))


@dataclass(frozen=True, slots=True)
class Option:
    """One field as an option of a command; a range or a list is given as text (`20..80`, `a,b`)."""

    name: str
    default: bool | int | float | str
    doc: str


def options() -> tuple[Option, ...]:
    """List every setting and every fault, flat, for a command to offer."""
    return tuple(
        Option(each.name, _as_text(each.default), each.metadata["doc"])
        for owner in (SimulatorSettings, Faults)
        for each in fields(owner)
        if "doc" in each.metadata
    )


def settings_from(given: Mapping[str, object]) -> SimulatorSettings:
    """Build settings from flat names of fields, faults among them; raises ValueError that names the field."""
    names = set(_values(Faults()))
    faults = changed(Faults(), {name: value for name, value in given.items() if name in names})
    plain = {name: value for name, value in given.items() if name not in names}
    return replace(SimulatorSettings(), **_coerced(SimulatorSettings(), plain), faults=faults)


def changed(faults: Faults, given: Mapping[str, object]) -> Faults:
    """Put new values in place of some faults; raises ValueError that names what is unknown or wrong."""
    return replace(faults, **_coerced(faults, given))


def shown(faults: Faults) -> dict[str, bool | int | float | str]:
    """Show every fault in the form in which it can be given."""
    return {name: _as_text(value) for name, value in _values(faults).items()}


def webhook_urls(given: tuple[str, ...]) -> tuple[str, ...]:
    """Turn ports into URLs of this machine; raises ValueError on anything that is neither."""
    urls = tuple(f"http://127.0.0.1:{each}/webhooks" if each.isdigit() else each for each in given)
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise ValueError("webhook_urls takes ports and http or https URLs, separated by commas")
    return urls


def _values(owner: Faults | SimulatorSettings) -> dict[str, Any]:
    """Name every documented field of `owner` with its value."""
    return {each.name: getattr(owner, each.name) for each in fields(owner) if "doc" in each.metadata}


def _coerced(owner: Faults | SimulatorSettings, given: Mapping[str, object]) -> dict[str, Any]:
    """Turn each given value into the type of the field it names."""
    current = _values(owner)
    unknown = sorted(set(given) - set(current))
    if unknown:
        raise ValueError(f"unknown: {', '.join(unknown)}; known: {', '.join(current)}")
    return {name: _read(name, value, type(current[name])) for name, value in given.items()}


def _read(name: str, value: object, kind: type) -> object:
    """Read one value, given as JSON or as an option's text."""
    try:
        return _READERS[kind](value)
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"{name} cannot be read as {kind.__name__}") from error


def _list_of_texts(value: Any) -> tuple[str, ...]:  # noqa: ANN401  # whatever JSON or a caller holds
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(str(part).strip() for part in parts if str(part).strip())


def _number(value: Any) -> float:  # noqa: ANN401  # as above
    if isinstance(value, bool):
        raise TypeError
    return float(value)


def _whole(value: Any) -> int:  # noqa: ANN401  # as above
    number = _number(value)
    if number != int(number):
        raise ValueError
    return int(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


_BOOLEANS: Mapping[object, bool] = {True: True, False: False, "true": True, "false": False}
_READERS: Mapping[type, Callable[[Any], object]] = {
    Span: Span.of,
    tuple: _list_of_texts,
    bool: lambda value: _BOOLEANS[value],
    int: _whole,
    float: _number,
    str: _text,
}


def _as_text(value: object) -> bool | int | float | str:
    """Show a default as an option's text."""
    if isinstance(value, Span):
        return f"{value.low:g}" if value.low == value.high else f"{value.low:g}..{value.high:g}"
    if isinstance(value, tuple):
        return ",".join(value)
    assert isinstance(value, bool | int | float | str), "a setting is a range, a list or a plain value"
    return value
