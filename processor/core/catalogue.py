"""The workflow catalogue as values: what a workflow name that requests may use stands for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from processor.core.model import DAY_MS, DEFAULT_PROVIDER, MINUTE_MS, SECOND_MS, ApiVersion

SUCCESS_WORDS = frozenset({"COMPLETED"})
FAILURE_WORDS = frozenset(
    {"FAILED", "ERROR", "CANCELLED", "CANCELED", "EXPIRED", "REJECTED", "ABORTED", "TERMINATED"},
)
RUNNING_WORDS = frozenset({"RUNNING"})


class Mode(StrEnum):
    """How a workflow is started."""

    RUN = "run"
    LINK = "link"  # A link for the end user, who starts it.
    LINK_SEND = "link-send"  # The same, mailed by the provider.
    TOKEN = "token"  # noqa: S105  # A token for the widget of the end user.


class Adoption(StrEnum):
    """By what a run of unknown outcome can be recognised later."""

    RECORD = "record"
    PARAMETERS = "parameters"  # Our reference among the parameters, which the provider's answers repeat.
    NONE = "none"


class UnknownPolicy(StrEnum):
    """What happens to an unknown run after its adoption window."""

    HOLD = "hold"  # A person decides.
    RERUN = "rerun"  # It is run again: at least once instead of at most once.


class ResultShape(StrEnum):
    """How much of the provider's result goes to the results topic."""

    FULL = "full"
    SELECTED = "selected"
    NONE = "none"


class ResultSource(StrEnum):
    """Where the provider's result is read."""

    WORKFLOW = "workflow"
    CASE = "case"  # As before version 2.


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
    provider: str = DEFAULT_PROVIDER
    is_record_given: bool = False  # The request must bring the id of a record.
    is_case_given: bool = False  # The same for a case.
    is_exclusive: bool = False  # Nobody else starts workflows on records or cases that requests share.
    is_newest_link: bool = False  # Of several links for one record only the newest can have been used.
    reuse_ms: int | None = None  # How long a subject's record or case is used again; None makes a new one each time.
    locale: str = "en"  # For requests that name none.
    email_path: str = "subject.email"
    result_source: ResultSource = ResultSource.WORKFLOW
    case_workflow_path: str | None = None  # Where a case that is read shows the workflow that ran on it.
    case_status_path: str | None = None


def is_for_end_users(workflow: Workflow | None) -> bool:
    """Whether an end user starts the workflow, with a link or token."""
    return workflow is not None and workflow.mode is not Mode.RUN


def has_version_3_link(workflow: Workflow | None, api: ApiVersion) -> bool:
    """Whether a start by that version brings workflow and link at once, so that one more link is one more start."""
    return api is ApiVersion.TABLES and is_for_end_users(workflow)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All workflows by the name that requests use."""

    workflows: Mapping[str, Workflow]
    results_topic: str = "onboarding.results"

    def find(self, name: str) -> Workflow | None:
        """Return the workflow of that name, or None."""
        return self.workflows.get(name)

    def serving(self, provider: str) -> tuple[Workflow, ...]:
        """Return the workflows of one provider profile."""
        return tuple(workflow for workflow in self.workflows.values() if workflow.provider == provider)

    def results_topic_of(self, name: str) -> str:
        """Return where results of that workflow go; the default topic for an unknown one."""
        workflow = self.workflows.get(name)
        return (workflow.results_topic if workflow else None) or self.results_topic
