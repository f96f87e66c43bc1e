"""A lane of preparation in a test: its catalogue, its requests, and its state folded fact by fact."""

from dataclasses import dataclass, field, replace

from processor.core.catalogue import CaseTemplate, Catalogue, RecordTemplate, Workflow
from processor.core.messages import Call, CallAnswered, Create, Finished, Prepared, Progressed, RequestArrived
from processor.core.model import (
    DAY_MS,
    ApiVersion,
    OnboardingRequest,
    Origin,
    Phone,
    Subject,
)
from processor.core.preparation import Fact, Preparation
from processor.core.proof import Operation, Proof
from processor.core.state import Decision, Part, Preparing

NOW = 1_800_000_000_000
DEADLINE = NOW + 7 * DAY_MS
KEY = b"customer-7"
CATALOGUE = Catalogue(
    {
        "person-check": Workflow(
            "person-check",
            "definition-1",
            record=RecordTemplate(
                "people", {"fullName": "subject.lastName", "ref": "requestId", "score": "columns.score"}
            ),
            parameters={"orderId": "attributes.orderId"},
        ),
        "bare": Workflow("bare", "definition-2"),
        "of-cases": Workflow(
            "of-cases",
            "definition-3",
            api=ApiVersion.CASES,
            case=CaseTemplate({"lastName": "subject.lastName", "phone": "subject.phone"}),
            results_topic="results.cases",
            deadline_ms=DAY_MS,
        ),
        "given-case": Workflow("given-case", "definition-4", api=ApiVersion.CASES),
    }
)
PREPARATION = Preparation(CATALOGUE)
REQUEST = OnboardingRequest(
    "request-1",
    "person-check",
    requested_at=NOW - 5,
    subject=Subject(reference="customer-7", last_name="Example", phone=Phone("48", "500500500")),
    columns={"score": 7},
    tenant="tenant-1",
    source_system="crm",
    correlation_id="correlation-1",
    attributes={"orderId": "A-17"},
)
RECORD_BODY = b'{"fullName":"Example","ref":"request-1","score":7}'
PARAMETERS_BODY = b'{"orderId":"A-17"}'
CREATE_RECORD = Create(Operation.CREATE_RECORD, "person-check", "request-1", 1, RECORD_BODY)


@dataclass
class Lane:
    """The state of one lane, folded fact by fact, with all that was called and published."""

    state: dict[str, Part] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    outputs: list[object] = field(default_factory=list)

    def told(self, *facts: Fact, now: int = NOW) -> Decision:
        """Fold facts and return the decision on the last one."""
        decision = Decision()
        for fact in facts:
            decision = PREPARATION.decide(dict(self.state), fact, now)
            for name, part in decision.changes.items():
                if part is None:
                    self.state.pop(name, None)
                else:
                    self.state[name] = part
            self.calls += decision.calls
            self.outputs += decision.outputs
        return decision

    @property
    def head(self) -> Preparing:
        """The head, which must be there."""
        head = self.state["head"]
        assert isinstance(head, Preparing)
        return head


def arrived(request: OnboardingRequest = REQUEST, key: bytes | None = KEY) -> RequestArrived:
    return RequestArrived(request, key, traceparent="00-1-2-01")


def answered(proof: Proof, made_id: str | None = None, *, attempt: int = 1, **changes: object) -> CallAnswered:
    answer = CallAnswered(Operation.CREATE_RECORD, attempt, proof, made_id, None, None, f"{proof}", "request-1")
    return replace(answer, **changes)  # type: ignore[arg-type]


def origin(
    request: OnboardingRequest = REQUEST, deadline_at: int = DEADLINE, topic: str = "onboarding.results"
) -> Origin:
    return Origin(
        request.request_id, request.workflow, KEY, topic, NOW - 5, NOW, deadline_at, "customer-7", "tenant-1", "crm",
        "correlation-1", {"orderId": "A-17"}, "00-1-2-01",
    )  # fmt: skip


def named(request_id: str, **changes: object) -> OnboardingRequest:
    return replace(REQUEST, request_id=request_id, **changes)  # type: ignore[arg-type]


def kinds(outputs: list[object]) -> list[str]:
    """The outputs in short: class, and id of the request or outcome."""
    return [
        f"{output.origin.request_id} {output.outcome}" if isinstance(output, Finished)
        else f"{output.origin.request_id} {type(output).__name__}" if isinstance(output, Prepared)
        else type(output).__name__
        for output in outputs
        if not isinstance(output, Progressed)
    ]  # fmt: skip
