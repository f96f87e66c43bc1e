"""A workflow of completion in a test: its catalogue, its facts, and its state folded fact by fact."""

from dataclasses import dataclass, field, replace

from processor.core.catalogue import Catalogue, ResultShape, Workflow
from processor.core.completion import Completion, Fact
from processor.core.completion_steps import CompletionPolicy
from processor.core.messages import (
    Call,
    Finished,
    Output,
    ReadResult,
    ReadStatus,
    Replaced,
    ResultRead,
    Started,
    StatusRead,
    TimerFired,
    WebhookReceived,
)
from processor.core.model import DAY_MS, Origin, Witness
from processor.core.proof import Proof
from processor.core.state import CompletionPhase, Decision, Part, WorkflowState

NOW = 1_800_000_000_000
DEADLINE = NOW + 7 * DAY_MS
ID = "9E8D-1"
POLICY = CompletionPolicy()
CATALOGUE = Catalogue(
    {
        "person-check": Workflow("person-check", "definition-1", decision_path="output.decision"),
        "no-result": Workflow("no-result", "definition-2", result_shape=ResultShape.NONE),
        "own-words": Workflow("own-words", "definition-3", success=frozenset({"Done"}), failure=frozenset({"Bad"})),
    }
)
COMPLETION = Completion(CATALOGUE)
ORIGIN = Origin(
    "request-1", "person-check", b"customer-7", "onboarding.results", NOW - 50, NOW - 40, DEADLINE,
    subject_reference="customer-7", correlation_id="correlation-1", attributes={"orderId": "A-17"},
)  # fmt: skip
STARTED = Started(ORIGIN, ID, "rec-1", None, "RUNNING", NOW - 10, Witness.RUN_ANSWER, attempts=1, revision=1)
NEWER = replace(STARTED, workflow_id="9E8D-2", started_at=NOW - 5)
BODY = '{"output":{"decision":"ACCEPT"}}'


@dataclass
class Run:
    """The state of one workflow id, folded fact by fact, with all that was called and published."""

    state: dict[str, Part] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    completion: Completion = COMPLETION

    def told(self, *facts: Fact, now: int = NOW) -> Decision:
        """Fold facts and return the decision on the last one."""
        decision = Decision()
        for fact in facts:
            decision = self.completion.decide(dict(self.state), fact, now)
            for name, part in decision.changes.items():
                if part is None:
                    self.state.pop(name, None)
                else:
                    self.state[name] = part
            self.calls += decision.calls
            self.outputs += decision.outputs
        return decision

    def wakes(self) -> Decision:
        """Let the timer fire at its time."""
        assert self.head.timer is not None
        due_at = self.head.timer.due_at
        return self.told(TimerFired("head", due_at), now=due_at)

    def wakes_and_hears(self, word: str) -> None:
        """Let the timer fire; where it makes us read, let the provider answer at once: a status, or no result yet."""
        assert self.head.timer is not None
        due_at = self.head.timer.due_at
        for call in self.wakes().calls:
            attempt = call.attempt
            is_status = isinstance(call, ReadStatus)
            self.told(status(word, attempt) if is_status else result(attempt, proof=Proof.UNKNOWN), now=due_at)

    @property
    def head(self) -> WorkflowState:
        """The state, which must be there."""
        head = self.state["head"]
        assert isinstance(head, WorkflowState)
        return head

    @property
    def phase(self) -> CompletionPhase | None:
        """The phase, None without a state."""
        return self.head.phase if "head" in self.state else None

    def results(self) -> list[str]:
        """The results so far, in short."""
        return [
            f"{output.origin.request_id} {output.outcome} {output.revision}"
            for output in self.outputs
            if isinstance(output, Finished)
        ]


def started(**changes: object) -> Started:
    return replace(STARTED, **changes)  # type: ignore[arg-type]


def of_workflow(name: str) -> Started:
    return started(origin=replace(ORIGIN, workflow=name))


def replaced(newer: Started | None = None, workflow_id: str = ID) -> Replaced:
    """A newer workflow of the request takes over from that of `workflow_id`."""
    return Replaced(workflow_id, NEWER if newer is None else newer)


def webhook(received_at: int = NOW) -> WebhookReceived:
    return WebhookReceived(ID, received_at, "COMPLETED", "workflow", None, None, None, "key-1", b"{}")


def status(word: str | None, attempt: int = 1, *, proof: Proof = Proof.DONE, **changes: object) -> StatusRead:
    return replace(StatusRead(attempt, proof, word, "rec-1", None, None, "200"), **changes)  # type: ignore[arg-type]


def result(
    attempt: int = 2, *, proof: Proof = Proof.DONE, body: str | None = BODY, size: int = len(BODY)
) -> ResultRead:
    return ResultRead(attempt, proof, body if proof is Proof.DONE else None, size, "hash-1", None, "200")


def read_status(attempt: int, workflow: str | None = "person-check") -> ReadStatus:
    return ReadStatus(workflow, ID, attempt)


def read_result(attempt: int, workflow: str = "person-check") -> ReadResult:
    return ReadResult(workflow, ID, attempt)
