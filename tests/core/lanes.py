"""A lane of preparation in a test: its catalogue, its requests, and its state folded fact by fact."""

from dataclasses import dataclass, field, replace

from processor.core.catalogue import CaseTemplate, Catalogue, Mode, RecordTemplate, Workflow
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
PEOPLE = RecordTemplate("people", {"ref": "requestId"})
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
        "given-case": Workflow("given-case", "definition-4", api=ApiVersion.CASES, is_case_given=True),
        "given-record": Workflow("given-record", "definition-5", is_record_given=True),
        "linked": Workflow("linked", "definition-6", mode=Mode.LINK, record=PEOPLE, provider="second", locale="de"),
        "widget": Workflow("widget", "definition-7", mode=Mode.TOKEN, is_record_given=True),
        "mailed": Workflow("mailed", "definition-8", mode=Mode.LINK_SEND, record=PEOPLE, email_path="columns.mail"),
        "mailed-case": Workflow(
            "mailed-case",
            "definition-9",
            api=ApiVersion.CASES,
            mode=Mode.LINK_SEND,
            case=CaseTemplate({"email": "subject.email"}),
        ),
        "mailed-given-case": Workflow(
            "mailed-given-case", "definition-10", api=ApiVersion.CASES, mode=Mode.LINK_SEND, is_case_given=True
        ),
        "inline": Workflow(
            "inline", "definition-11", api=ApiVersion.TABLES, record=PEOPLE, parameters={"ours": "reference"}
        ),
        "inline-bare": Workflow("inline-bare", "definition-12", api=ApiVersion.TABLES, mode=Mode.LINK),
        "referred": Workflow("referred", "definition-13", record=PEOPLE, parameters={"ours": "reference"}),
        "commented": Workflow(
            "commented", "definition-13", record=PEOPLE, parameters={"ours": "reference", "said": "parameters.comment"}
        ),
        "commented-inline": Workflow(
            "commented-inline",
            "definition-13",
            api=ApiVersion.TABLES,
            record=PEOPLE,
            parameters={"ours": "reference", "said": "parameters.comment"},
        ),
        "returning": Workflow("returning", "definition-14", record=PEOPLE, reuse_ms=90 * DAY_MS),
        "returning-soon": Workflow("returning-soon", "definition-15", record=PEOPLE, reuse_ms=DAY_MS),
        "returning-case": Workflow(
            "returning-case",
            "definition-16",
            api=ApiVersion.CASES,
            mode=Mode.LINK,
            case=CaseTemplate({"lastName": "subject.lastName"}),
            reuse_ms=90 * DAY_MS,
        ),
        "returning-mail": Workflow(
            "returning-mail",
            "definition-16",
            api=ApiVersion.CASES,
            mode=Mode.LINK_SEND,
            case=CaseTemplate({"email": "subject.email"}),
            reuse_ms=90 * DAY_MS,
        ),
        "returning-elsewhere": Workflow(
            "returning-elsewhere", "definition-17", record=PEOPLE, reuse_ms=90 * DAY_MS, provider="second"
        ),
        "returning-company": Workflow(
            "returning-company", "definition-18", record=RecordTemplate("companies", {}), reuse_ms=90 * DAY_MS
        ),
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

    def done(self, made_id: str, now: int = NOW) -> Decision:
        """Answer the open call: it made this."""
        call = self.calls[-1]
        assert isinstance(call, Create)
        return self.told(
            CallAnswered(call.operation, call.attempt, Proof.DONE, made_id, None, None, "201", call.request_id), now=now
        )

    def prepared(self) -> list[Prepared]:
        """What was handed over so far."""
        return [output for output in self.outputs if isinstance(output, Prepared)]

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
    workflow = CATALOGUE.find(request.workflow)
    assert workflow is not None
    return Origin(
        request.request_id, request.workflow, KEY, topic, NOW - 5, NOW, deadline_at, "customer-7", "tenant-1", "crm",
        "correlation-1", {"orderId": "A-17"}, "00-1-2-01", workflow.api, workflow.provider,
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
