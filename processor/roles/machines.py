"""The three deciders as the engine sees them: what their records mean, how their messages and parts are written."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from processor.adapters.avro import EventEncoder, PublicEvent, RequestDecoder
from processor.adapters.calling import unanswered
from processor.adapters.codec import Codec
from processor.adapters.dead_letters import Coordinates, Fault, dead_letter_headers
from processor.adapters.event_headers import TRACEPARENT, read_traceparent
from processor.core.completion import Completion
from processor.core.keys import canonical_id
from processor.core.launch import Launch
from processor.core.launch_calls import REPEATABLE
from processor.core.messages import (
    Call,
    CallAnswered,
    CallProved,
    Create,
    CustodyUnreadable,
    DeadLettered,
    Finished,
    LinkAsked,
    LinkIssued,
    LinkOver,
    Observed,
    OperatorDecided,
    Output,
    Prepared,
    Progressed,
    Replaced,
    RequestArrived,
    Resumed,
    Started,
    StartWorkflow,
    TimerFired,
    WebhookReceived,
)
from processor.core.model import Instant, Origin
from processor.core.preparation import Preparation
from processor.core.proof import Proof
from processor.core.state import (
    Candidate,
    CompletionPhase,
    Decision,
    GaveUp,
    Issued,
    KnownRequest,
    KnownSubject,
    KnownWorkflow,
    Launching,
    LaunchPhase,
    PendingRequest,
    Preparing,
    WaitingLaunch,
    WorkflowState,
)
from processor.engine.ports import Headers, InputRecord, OutputRecord
from processor.errors import PoisonError, UndecodableMessage
from processor.settings import TopicsSettings

ToLaunch: TypeAlias = Prepared | LinkAsked | LinkOver | Observed | CallProved | OperatorDecided

NEVER_CALLED = "never called: its partition went before its commit was known"
CUSTODY = "custody"
REQUEST_ID = "request-id"
WORKFLOW = "workflow"
RESULTS_TOPIC = "results-topic"
REQUEST_KEY = "request-key"
VALUE_OMITTED = "dlq.value.omitted"  # How many bytes the original had that no dead letter of ours can hold.
KEY_LENGTH_MAX = 512
RECORD_OVERHEAD_BYTES = 8 * 1024  # Keys, headers and framing beside a value.


@dataclass(frozen=True, slots=True)
class Writing:
    """What all machines need to write records."""

    topics: TopicsSettings
    codec: Codec
    encoder: EventEncoder
    version: str


class _Machine:
    """What the three have in common."""

    name: str
    gauges: tuple[str, ...]
    live_gauges: int
    is_internal: bool = True
    unjudged: int | None = None

    def __init__(self, decider: Preparation | Launch | Completion, writing: Writing, topics: tuple[str, str]) -> None:
        self.input_topic, self.state_topic = topics
        self._decider: Any = decider
        self._writing = writing
        self._room = writing.topics.record_bytes_max - RECORD_OVERHEAD_BYTES
        self.encode = writing.codec.encode
        self.decode = writing.codec.decode

    def decide(self, state: Mapping[str, Any], fact: Any, now: Instant) -> Decision:  # noqa: ANN401  # its own facts
        """Fold one fact into one key's state; pure."""
        decision: Decision = self._decider.decide(state, fact, now)
        return decision

    def timer_fired(self, part: str, due_at: Instant) -> TimerFired:
        """Return the fact that a part's timer is due."""
        return TimerFired(part, due_at)

    def resumed(self, part: str) -> Resumed:
        """Return the fact that a new owner found a waiting part."""
        return Resumed(part)

    def must_finish(self, call: Call) -> bool:
        """Whether a drain must wait for this call: cut, it would leave litter or an unknown run."""
        return isinstance(call, StartWorkflow | Create)

    def evidence(self, key: str, call: Call, fact: Any, now: Instant) -> OutputRecord | None:  # noqa: ANN401  # any answer
        """Return what an answer proves to the partition's next owner; nothing, but for launch."""
        del key, call, fact, now
        return None

    def poisoned(
        self,
        record: InputRecord,
        error: PoisonError,
    ) -> tuple[Sequence[OutputRecord], tuple[str, Any] | None]:
        """Return the dead letter of an unreadable record, and the fact left of it when it carried custody."""
        fault = Fault(error.reason, type(error).__name__, str(error))
        return (self._dead_letter(record, fault),), _custody_left(record)

    def to_records(self, output: Output, source: InputRecord | None) -> Sequence[OutputRecord]:
        """Return a message as records; `source` is the input record being decided, if it is one."""
        match output:
            case Finished() | LinkIssued() | Progressed():
                return (self._event(output),)
            case DeadLettered():
                assert source is not None, "only an input record can be set aside"
                return (self._dead_letter(source, Fault(output.reason, "RequestRejected", output.message)),)
            case _:
                return (self._message(output),)

    def _message(self, message: Prepared | LinkAsked | LinkOver | Observed | Started | Replaced) -> OutputRecord:
        """Return a message to another decider of ours."""
        topics, value = self._writing.topics, self._writing.codec.encode(message)
        match message:
            case Prepared():
                headers = custody_headers(message.origin, "prepared")
                return OutputRecord(topics.launches, message.launch_key.encode(), value, headers)
            case LinkAsked() | LinkOver() | Observed():
                return OutputRecord(topics.launches, message.launch_key.encode(), value)
            case Started():
                key = canonical_id(message.workflow_id).encode()
                return OutputRecord(topics.workflows, key, value, custody_headers(message.origin, "started"))
            case Replaced():
                return OutputRecord(topics.workflows, canonical_id(message.workflow_id).encode(), value)

    def _event(self, event: PublicEvent) -> OutputRecord:
        topic = self._topic_of(event)
        value, headers = self._writing.encoder.encode(topic, event)
        if len(value) > self._room and isinstance(event, Finished) and event.result is not None:
            lean = replace(event, result=None, result_omitted="too-large")
            value, headers = self._writing.encoder.encode(topic, lean)
        key = event.origin.key
        return OutputRecord(topic, event.origin.request_id.encode() if key is None else key, value, headers)

    def _topic_of(self, event: PublicEvent) -> str:
        topics = self._writing.topics
        match event:
            case Finished():
                return event.origin.results_topic
            case LinkIssued():
                return topics.links
            case Progressed():
                return topics.progress

    def _dead_letter(self, record: InputRecord, fault: Fault) -> OutputRecord:
        """Return a record's dead letter; of one that was written with a higher limit than ours, what fits."""
        where = Coordinates(record.topic, record.partition, record.offset)
        at, version = record.timestamp, self._writing.version
        headers = dead_letter_headers(record.headers, fault, where, failed_at=at, version=version)
        key, value, topic = record.key, record.value, self._writing.topics.dead_letters
        if _size(key, value, headers) > self._room:  # Where it was read, it still is.
            headers = (*headers, (VALUE_OMITTED, str(len(value or b"")).encode()))
            value = b""
        if _size(key, value, headers) > self._room:
            headers = dead_letter_headers((), fault, where, failed_at=at, version=version)
            key = None
        return OutputRecord(topic, key, value, headers)


class PreparationMachine(_Machine):
    """`preparation`: requests in, one lane for each message key."""

    name = "preparation"
    gauges: tuple[str, ...] = ("active", "waiting", "known", "subject")
    live_gauges = 2
    is_internal = False

    def __init__(
        self,
        decider: Preparation,
        writing: Writing,
        decoder: RequestDecoder,
        on_duplicate: Callable[[], None],
    ) -> None:
        super().__init__(decider, writing, (writing.topics.requests, writing.topics.preparation_state))
        self._decoder = decoder
        self._on_duplicate = on_duplicate

    def decide(self, state: Mapping[str, Any], fact: Any, now: Instant) -> Decision:  # noqa: ANN401  # its own facts
        """Fold one fact into one lane; a request that changes nothing was known already."""
        decision = super().decide(state, fact, now)
        if isinstance(fact, RequestArrived) and not decision.changes and not decision.outputs:
            self._on_duplicate()
        return decision

    def arrived(self, record: InputRecord) -> tuple[str, RequestArrived]:
        """Return lane and fact of a request event; raises PoisonError, RegistryUnavailable."""
        bytes_max = self._writing.topics.request_bytes_max
        size = len(record.value or b"") + len(record.key or b"")
        if size > bytes_max:
            raise UndecodableMessage("too-large", f"a request of {size} bytes; {bytes_max} are allowed")
        request = self._decoder.decode(record.topic, record.value, record.headers)
        lane = lane_key(record.key) if record.key is not None else lane_key(request.request_id.encode())
        return lane, RequestArrived(request, record.key, read_traceparent(record.headers))

    @staticmethod
    def gauge_of(part: object) -> int:
        """Return the class that a part is counted in."""
        return _PREPARATION_GAUGES[type(part)]


class LaunchMachine(_Machine):
    """`launch`: custody, evidence and decisions in, by record or case."""

    name = "launch"
    gauges: tuple[str, ...] = (
        "active",
        "waiting",
        "unknown",
        "held",
        "known",
        "candidate",
        "gave-up",
        "issued",
        "rerun",
    )
    live_gauges = 2  # What waits for evidence or a person is no backlog: it must not stop everybody's intake.

    def __init__(self, decider: Launch, writing: Writing) -> None:
        super().__init__(decider, writing, (writing.topics.launches, writing.topics.launch_state))

    def arrived(self, record: InputRecord) -> tuple[str, ToLaunch]:
        """Return launch key and fact of a record; raises PoisonError, StateUnreadable."""
        message = self.decode(_value(record))
        if not isinstance(message, ToLaunch):
            raise UndecodableMessage("unexpected-type", f"{type(message).__name__} does not belong on this topic")
        return message.launch_key, message

    @staticmethod
    def gauge_of(part: object) -> int:
        """Return the class that a part is counted in; a link with candidates waits for a person."""
        if isinstance(part, Launching):
            return _LAUNCHING_GAUGES.get(part.phase, 0)
        is_for_person = isinstance(part, Issued) and part.has_candidates
        return _LAUNCHING_GAUGES[LaunchPhase.HELD] if is_for_person else _LAUNCH_GAUGES[type(part)]

    def must_finish(self, call: Call) -> bool:
        """Whether a drain must wait for this call; a link or token that is lost is issued again."""
        return isinstance(call, StartWorkflow) and call.operation not in REPEATABLE

    def evidence(self, key: str, call: Call, fact: Any, now: Instant) -> OutputRecord | None:  # noqa: ANN401  # any answer
        """Return what the answer of a run or a mail proves, or that it was never called.

        A link or token is no evidence, but a secret.
        """
        if not isinstance(call, StartWorkflow) or call.operation in REPEATABLE:
            return None
        if fact is None:
            fact = unanswered(call, Proof.NOT_SENT, NEVER_CALLED)
        if not isinstance(fact, CallAnswered):
            return None
        proved = CallProved(
            launch_key=key,
            request_id=call.request_id,
            attempt=call.attempt,
            proof=fact.proof,
            workflow_id=fact.made_id,
            status=fact.status,
            why=fact.why,
            proved_at=now,
            operation=fact.operation,
        )
        return OutputRecord(self.input_topic, key.encode(), self.encode(proved))


class CompletionMachine(_Machine):
    """`completion`: started workflows and webhooks in, by workflow id."""

    name = "completion"
    gauges: tuple[str, ...] = ("running", "early", "expired", "ended", "forgetting")
    live_gauges = 1
    unjudged: int | None = 1  # Webhooks of workflows that nobody here started, until launch has heard of them.

    def __init__(self, decider: Completion, writing: Writing) -> None:
        super().__init__(decider, writing, (writing.topics.workflows, writing.topics.completion_state))

    def decide(self, state: Mapping[str, Any], fact: Any, now: Instant) -> Decision:  # noqa: ANN401  # its own facts
        """Fold one fact into one workflow, and learn from its end when to poll the next ones."""
        decision = super().decide(state, fact, now)
        self._decider = self._decider.taught(fact, decision)
        return decision

    def arrived(self, record: InputRecord) -> tuple[str, Started | Replaced | WebhookReceived]:
        """Return workflow id and fact of a record; raises PoisonError, StateUnreadable."""
        message = self.decode(_value(record))
        if not isinstance(message, Started | Replaced | WebhookReceived):
            raise UndecodableMessage("unexpected-type", f"{type(message).__name__} does not belong on this topic")
        return canonical_id(message.workflow_id), message

    @staticmethod
    def gauge_of(part: WorkflowState) -> int:
        """Return the class that a part is counted in."""
        return _COMPLETION_GAUGES[part.phase]


# Positions in `gauges`; they are written with each part, so none may get another number.
_PREPARATION_GAUGES: Mapping[type, int] = {Preparing: 0, PendingRequest: 1, KnownRequest: 2, KnownSubject: 3}

_LAUNCH_GAUGES: Mapping[type, int] = {
    WaitingLaunch: 1,
    KnownWorkflow: 4,
    KnownRequest: 4,
    Candidate: 5,
    GaveUp: 6,
    Issued: 7,
}
_LAUNCHING_GAUGES: Mapping[LaunchPhase, int] = {
    LaunchPhase.UNKNOWN: 2,
    LaunchPhase.HELD: 3,
    LaunchPhase.GATHERING: 8,
    LaunchPhase.CERTAIN: 8,
}

_COMPLETION_GAUGES: Mapping[CompletionPhase, int] = {
    CompletionPhase.RUNNING: 0,
    CompletionPhase.FETCHING: 0,
    CompletionPhase.EARLY: 1,
    CompletionPhase.OBSERVING: 1,
    CompletionPhase.FORGETTING: 4,
    CompletionPhase.REPLACED: 4,
    CompletionPhase.EXPIRED: 2,
    CompletionPhase.ENDED: 3,
}


def lane_key(key: bytes) -> str:
    """Return a message key as the text of its lane; a key that is no plain text goes by its hash."""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        text = "\0"
    if text and "\0" not in text and len(key) <= KEY_LENGTH_MAX:
        return text
    return f"sha256:{hashlib.sha256(key).hexdigest()}"


def _size(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    return len(key or b"") + len(value or b"") + sum(len(name) + len(content) for name, content in headers)


def _value(record: InputRecord) -> bytes:
    if record.value is None:
        raise UndecodableMessage("null-value", "a record without a value means nothing on this topic")
    return record.value


def custody_headers(origin: Origin, name: str) -> Headers:
    """Return headers that still name the request when the value cannot be read."""
    headers: Headers = (
        (CUSTODY, name.encode()),
        (REQUEST_ID, origin.request_id.encode()),
        (WORKFLOW, origin.workflow.encode()),
        (RESULTS_TOPIC, origin.results_topic.encode()),
    )
    if origin.key is not None:
        headers = (*headers, (REQUEST_KEY, origin.key))
    return headers if origin.traceparent is None else (*headers, (TRACEPARENT, origin.traceparent.encode()))


def _custody_left(record: InputRecord) -> tuple[str, CustodyUnreadable] | None:
    headers = dict(record.headers)
    if CUSTODY not in headers or record.key is None:
        return None
    try:
        state_key = record.key.decode()
        fact = CustodyUnreadable(
            state_key=state_key,
            request_id=headers[REQUEST_ID].decode(),
            workflow=headers[WORKFLOW].decode(),
            key=headers.get(REQUEST_KEY),
            results_topic=headers[RESULTS_TOPIC].decode(),
            at=record.timestamp,
        )
    except (KeyError, UnicodeDecodeError):
        return None
    return state_key, fact
