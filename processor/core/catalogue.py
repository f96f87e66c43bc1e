"""The workflow catalogue as values: what a workflow name that requests may use stands for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from processor.core.model import DAY_MS, MINUTE_MS, SECOND_MS, ApiVersion

SUCCESS_WORDS = frozenset({"COMPLETED"})
FAILURE_WORDS = frozenset(
    {"FAILED", "ERROR", "CANCELLED", "CANCELED", "EXPIRED", "REJECTED", "ABORTED", "TERMINATED"},
)
RUNNING_WORDS = frozenset({"RUNNING"})


class Mode(StrEnum):
    """How a workflow is started."""

    RUN = "run"


class Adoption(StrEnum):
    """By what a run of unknown outcome can be recognised later."""

    RECORD = "record"
    NONE = "none"


class UnknownPolicy(StrEnum):
    """What happens to an unknown run after its adoption window."""

    HOLD = "hold"


class ResultShape(StrEnum):
    """How much of the provider's result goes to the results topic."""

    FULL = "full"
    SELECTED = "selected"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class RecordTemplate:
    """Which table a record is made in, and column name -> dotted path into the request."""

    table: str
    columns: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CaseTemplate:
    """Case member -> dotted path into the request."""

    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PollPolicy:
    """Status reads: the first wait, doubled up to the longest."""

    first_ms: int = 5 * SECOND_MS
    max_ms: int = 5 * MINUTE_MS


@dataclass(frozen=True, slots=True)
class Workflow:
    """One entry of the catalogue."""

    name: str
    definition: str
    api: ApiVersion = ApiVersion.RECORDS
    mode: Mode = Mode.RUN
    record: RecordTemplate | None = None
    case: CaseTemplate | None = None
    parameters: Mapping[str, str] | None = None
    adoption: Adoption = Adoption.RECORD
    success: frozenset[str] = SUCCESS_WORDS
    failure: frozenset[str] = FAILURE_WORDS
    running: frozenset[str] = RUNNING_WORDS  # Any other status counts as running too, with an alarm.
    result_shape: ResultShape = ResultShape.FULL
    result_paths: tuple[str, ...] = ()
    decision_path: str | None = None
    results_topic: str | None = None
    deadline_ms: int = 7 * DAY_MS
    unknown_policy: UnknownPolicy = UnknownPolicy.HOLD
    adoption_window_ms: int = 15 * MINUTE_MS
    poll: PollPolicy = field(default_factory=PollPolicy)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All workflows by the name that requests use."""

    workflows: Mapping[str, Workflow]
    results_topic: str = "onboarding.results"

    def find(self, name: str) -> Workflow | None:
        """Return the workflow of that name, or None."""
        return self.workflows.get(name)

    def results_topic_of(self, name: str) -> str:
        """Return where results of that workflow go; the default topic for an unknown one."""
        workflow = self.workflows.get(name)
        return (workflow.results_topic if workflow else None) or self.results_topic
