"""A machine as small as the engine's rules allow, and as dangerous as launch: each number must be run at most once.

Numbers come by key. Those of one key are served in order: created (harmless, repeatable), permitted, intended, run,
published. An intent without an answer is unknown when its deadline has passed and the input was read that far.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from processor.engine.ports import InputRecord, OutputRecord
from processor.errors import PoisonError, StateUnreadable, TransientError, UndecodableMessage

CALL_MS, MARGIN_MS, WINDOW_MS, BACKOFF_MS, KNOWN_MS = 2_000, 500, 3_000, 50, 600_000


@dataclass(frozen=True, slots=True)
class Timer:
    due_at: int
    is_behind_evidence: bool = False


@dataclass(frozen=True, slots=True)
class Head:
    """What a key is doing."""

    id: int
    phase: str  # create, ready, back-off, intent, unknown
    attempt: int
    first: int
    next: int
    timer: Timer | None = None
    is_waiting: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    id: int
    timer: None = None
    is_waiting: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    id: int
    timer: Timer | None
    is_waiting: bool = False


@dataclass(frozen=True, slots=True)
class Arrived:
    id: int


@dataclass(frozen=True, slots=True)
class Evidence:
    id: int
    attempt: int
    proof: str


@dataclass(frozen=True, slots=True)
class Permit:
    until: int


@dataclass(frozen=True, slots=True)
class Answered:
    id: int
    attempt: int
    proof: str  # created, done, refused, not-sent, unknown


@dataclass(frozen=True, slots=True)
class Fired:
    part: str
    due_at: int


@dataclass(frozen=True, slots=True)
class Resumed:
    part: str


@dataclass(frozen=True, slots=True)
class Create:
    id: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Run:
    id: int
    attempt: int
    send_before: int


@dataclass(frozen=True, slots=True)
class Result:
    id: int
    outcome: str


@dataclass(slots=True)
class Decision:
    changes: dict[str, Any] = field(default_factory=dict)
    calls: list[Create | Run] = field(default_factory=list)
    outputs: list[Result] = field(default_factory=list)
    wants_permit: str | None = None


_CODED: dict[str, type[Any]] = {one.__name__: one for one in (Head, Waiting, Known, Permit, Answered)}


class RuleFailed(Exception):  # the bug that a build has
    """A rule of the toy is broken in this build, for some numbers."""


class Toy:
    """Serves `engine.ports.Machine`."""

    name = "toy"
    input_topic = "numbers"
    state_topic = "toy-state"
    gauges: tuple[str, ...] = ("active", "waiting", "known")
    live_gauges = 2
    unjudged: int | None = None
    is_internal = False

    def __init__(self, broken: Mapping[int, str] | None = None, *, waits_for_evidence: bool = True) -> None:
        self.broken = broken or {}  # Number -> the class of the fact whose rule fails.
        self.waits_for_evidence = waits_for_evidence
        self.is_registry_down = False

    def arrived(self, record: InputRecord) -> tuple[str, Any]:
        if self.is_registry_down:
            raise TransientError("the registry is down")
        try:
            fields = json.loads(record.value or b"")
        except ValueError as error:
            raise UndecodableMessage("malformed", "no JSON") from error
        if "format" in fields:
            raise StateUnreadable("a newer format")
        key = (record.key or b"").decode()
        return key, Evidence(**fields) if "proof" in fields else Arrived(**fields)

    def poisoned(
        self, record: InputRecord, error: PoisonError
    ) -> tuple[Sequence[OutputRecord], tuple[str, Any] | None]:
        letter = OutputRecord("dead-letters", record.key, record.value, (("reason", error.reason.encode()),))
        left = dict(record.headers).get("custody")
        return (letter,), None if left is None else ((record.key or b"").decode(), Arrived(int(left)))

    def timer_fired(self, part: str, due_at: int) -> Fired:
        return Fired(part, due_at)

    def resumed(self, part: str) -> Resumed:
        return Resumed(part)

    def decide(self, state: Mapping[str, Any], fact: Any, now: int) -> Decision:  # noqa: ANN401
        head = state.get("head")
        number = getattr(fact, "id", head.id if head is not None else -1)
        if self.broken.get(number) == type(fact).__name__:
            raise RuleFailed
        return _Step(state, head, now, self.waits_for_evidence).take(fact)

    def gauge_of(self, part: Any) -> int:  # noqa: ANN401
        return (Head, Waiting, Known).index(type(part))

    def encode(self, value: Any) -> bytes:  # noqa: ANN401
        fields = {name: getattr(value, name) for name in value.__slots__}
        timer = fields.get("timer")
        if timer is not None:
            fields["timer"] = {"due_at": timer.due_at, "is_behind_evidence": timer.is_behind_evidence}
        return json.dumps([type(value).__name__, fields]).encode()

    def decode(self, data: bytes) -> Any:  # noqa: ANN401
        name, fields = json.loads(data)
        if name not in _CODED:
            raise StateUnreadable(f"a part named {name}")
        if fields.get("timer") is not None:
            fields["timer"] = Timer(**fields["timer"])
        return _CODED[name](**fields)

    def to_records(self, output: Result, source: InputRecord | None) -> Sequence[OutputRecord]:
        del source
        return (OutputRecord("results", None, json.dumps(asdict(output)).encode()),)

    def must_finish(self, call: Create | Run) -> bool:
        return isinstance(call, Run)

    def evidence(self, key: str, call: Create | Run, fact: Any, now: int) -> OutputRecord | None:  # noqa: ANN401
        del now
        proof = "not-sent" if fact is None else fact.proof
        if not isinstance(call, Run) or proof == "unknown":
            return None
        value = json.dumps({"id": call.id, "attempt": call.attempt, "proof": proof}).encode()
        return OutputRecord(self.input_topic, key.encode(), value)


class MarkedToy(Toy):
    """The same, with a mark: a number is judged when its result is out."""

    unjudged = 0

    def gauge_of(self, part: Any) -> int:  # noqa: ANN401
        return 2 if isinstance(part, Known) else 0


@dataclass(slots=True)
class _Step:
    """One fact folded into one key."""

    state: Mapping[str, Any]
    head: Head | None
    now: int
    waits_for_evidence: bool
    decision: Decision = field(default_factory=Decision)

    def take(self, fact: Any) -> Decision:  # noqa: ANN401
        match fact:
            case Arrived():
                self._arrived(fact.id)
            case Permit():
                self._permitted(fact.until)
            case Answered():
                self._told(fact.id, fact.attempt, fact.proof)
            case Evidence():
                self._told(fact.id, fact.attempt, fact.proof)
            case Resumed():
                self._resumed()
            case Fired():
                self._fired(fact.part)
        return self.decision

    def _put(self, head: Head) -> None:
        self.head = self.decision.changes["head"] = head

    def _arrived(self, number: int) -> None:
        if f"known/{number}" in self.state:
            return
        self.decision.changes[f"known/{number}"] = Known(number, Timer(self.now + KNOWN_MS))
        if self.head is None:
            self._create(number, 0, 0)
        else:
            self.decision.changes[f"wait/{self.head.next:06d}"] = Waiting(number)
            self._put(replace(self.head, next=self.head.next + 1))

    def _create(self, number: int, first: int, after: int) -> None:
        self._put(Head(number, "create", 1, first, after, is_waiting=True))
        self.decision.calls.append(Create(number, 1))

    def _ready(self, head: Head, attempt: int) -> None:
        self._put(replace(head, phase="ready", attempt=attempt, timer=None, is_waiting=True))
        self.decision.wants_permit = "runs"

    def _permitted(self, until: int) -> None:
        if self.head is not None and self.head.phase == "ready":
            timer = Timer(self.now + CALL_MS + MARGIN_MS, is_behind_evidence=self.waits_for_evidence)
            self._put(replace(self.head, phase="intent", timer=timer, is_waiting=False))
            self.decision.calls.append(Run(self.head.id, self.head.attempt, until))

    def _told(self, number: int, attempt: int, proof: str) -> None:
        head = self.head
        if head is None or (head.id, head.attempt) != (number, attempt):
            return
        if proof == "created":
            if head.phase == "create":
                self._ready(head, attempt)
        elif head.phase in {"intent", "unknown"}:
            if proof == "not-sent":
                timer = Timer(self.now + BACKOFF_MS)
                self._put(replace(head, phase="back-off", attempt=attempt + 1, timer=timer))
            elif proof == "unknown":
                self._unknown(head)
            else:
                self._end(head, proof)

    def _unknown(self, head: Head) -> None:
        if head.phase == "intent":
            timer = Timer(self.now + WINDOW_MS, is_behind_evidence=self.waits_for_evidence)
            self._put(replace(head, phase="unknown", timer=timer))

    def _end(self, head: Head, outcome: str) -> None:
        self.decision.outputs.append(Result(head.id, outcome))
        if head.first == head.next:
            self.decision.changes["head"] = self.head = None
            return
        name = f"wait/{head.first:06d}"
        waiting = self.state[name]
        self.decision.changes[name] = None
        self._create(waiting.id, head.first + 1, head.next)

    def _resumed(self) -> None:
        assert self.head is not None, "only what waits is asked to resume"
        if self.head.phase == "create":
            self.decision.calls.append(Create(self.head.id, 1))
        else:
            assert self.head.phase == "ready", "nothing else waits"
            self.decision.wants_permit = "runs"

    def _fired(self, part: str) -> None:
        if part.startswith("known/"):
            self.decision.changes[part] = None
            return
        assert self.head is not None, "a timer of a part that is gone does not fire"
        if self.head.phase == "back-off":
            self._ready(self.head, self.head.attempt)
        elif self.head.phase == "intent":
            self._unknown(self.head)
        else:
            assert self.head.phase == "unknown", "nothing else has a timer"
            self._end(self.head, "undetermined")
