"""A dispatcher with callers on a real event loop, a provider that answers when told, and a clock that stands still."""

import asyncio
from dataclasses import dataclass, field, replace

from processor.adapters.caller import ApiCaller
from processor.adapters.calling import ApiCall, ApiFact, Provider, operation_of
from processor.adapters.dispatcher import Dispatcher
from processor.adapters.fault_watch import FaultWatch
from processor.adapters.gate import Gate, Priority
from processor.adapters.pauses import Pauses, Standing
from processor.adapters.profiles import NoProvider, Profiles
from processor.core.messages import (
    CallAnswered,
    CaseRead,
    Create,
    Judge,
    ReadCase,
    ReadResult,
    ReadStatus,
    ResultRead,
    StartWorkflow,
    StatusRead,
)
from processor.core.proof import Operation, Proof
from processor.engine.ports import Answer, Owned, Ticket

FIRST = Owned(0, 1)
PERMIT_MS = 5_000
NEVER = 10**9


class FakeProvider:
    """Answers a call when `answer` is told to, has a token while `has_token`, and is there unless `is_away`."""

    def __init__(self) -> None:
        self.has_token = True
        self.is_away = False
        self.is_waited_for = False
        self.open: dict[str, tuple[ApiCall, asyncio.Future[ApiFact]]] = {}
        self.made: list[ApiCall] = []
        self._token = asyncio.Event()
        self._called = asyncio.Event()

    async def ready(self) -> None:
        self.is_waited_for = True
        await self._token.wait()
        self.is_waited_for = False

    def renew(self) -> None:
        self.has_token, self.is_away = True, False
        self._token.set()

    async def perform(self, call: ApiCall) -> ApiFact:
        self.made.append(call)
        self._called.set()
        future: asyncio.Future[ApiFact] = asyncio.get_running_loop().create_future()
        self.open[name_of(call)] = (call, future)
        try:
            return await future
        finally:
            self.open.pop(name_of(call), None)

    async def called(self, times: int) -> None:
        """Wait until so many calls were made."""
        async with asyncio.timeout(2):
            while len(self.made) < times:
                self._called.clear()
                await self._called.wait()

    def answer(self, name: str, proof: Proof = Proof.DONE, wait_ms: int | None = None) -> None:
        call, future = self.open[name]
        future.set_result(replace(fact(call, proof), wait_ms=wait_ms))

    def fail(self, name: str, error: Exception) -> None:
        self.open[name][1].set_exception(error)


@dataclass
class Told:
    """What the listener heard."""

    answered: list[tuple[str, Proof]] = field(default_factory=list)
    pauses: list[str] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)


class Listener:
    def __init__(self, told: Told) -> None:
        self._told = told

    def answered(self, call: ApiCall, fact: ApiFact, seconds: float) -> None:
        assert seconds >= 0
        self._told.answered.append((name_of(call), fact.proof))

    def throttled(self, seconds: float) -> None:
        self._told.waits_s.append(seconds)

    def paused(self, workflow: str, reason: str, why: str) -> None:
        assert why
        self._told.pauses.append(f"{workflow} {reason}")

    def resumed(self, workflow: str) -> None:
        self._told.pauses.append(f"{workflow} resumed")


class Desk:
    """One process: three callers, and a dispatcher for the profile `default` and one for `bank`."""

    def __init__(self, *, slots: int = 10, refusals: int = 3, is_open: bool = True, per_second: float = 0.0) -> None:
        self.now = 0
        self.told = Told()
        self.published: list[Standing] = []
        self.provider, self.bank = FakeProvider(), FakeProvider()
        self.dispatcher, self.bank_dispatcher, elsewhere = (
            self._dispatcher(provider, Gate(slots_max=slots, bytes_max=10**6, per_second_max=per_second), refusals)
            for provider in (self.provider, self.bank, NoProvider())
        )
        self.elsewhere = elsewhere
        self.profiles = Profiles({"default": self.dispatcher, "bank": self.bank_dispatcher}, elsewhere)
        self.answers: list[Answer] = []
        self.preparation, self.launch, self.completion = (
            self._caller(priority) for priority in (Priority.PREPARATION, Priority.LAUNCH, Priority.COMPLETION)
        )
        if is_open:
            self.profiles.open()

    def _dispatcher(self, provider: Provider, gate: Gate, refusals: int) -> Dispatcher:
        return Dispatcher(
            provider,
            gate,
            Pauses({"check": "ours", "other": "ours too"}),
            FaultWatch(refusals_max=refusals),
            listener=Listener(self.told),
            publish=self.published.append,
            clock=lambda: self.now,
            result_bytes_max=1_000,
            chance=lambda: 1.0,
        )

    def _caller(self, priority: Priority) -> ApiCaller:
        caller = ApiCaller(self.profiles, priority, permit_ms=PERMIT_MS)
        caller.bind(self.answers.append)
        return caller

    def facts(self) -> list[tuple[str, object]]:
        """Take what was answered: key and fact."""
        taken = [(answer.ticket.key, answer.fact) for answer in self.answers]
        self.answers.clear()
        return taken

    def proofs(self) -> dict[str, Proof | None]:
        """Take what was answered: key and what it proved, None for a call that was dropped."""
        return {key: getattr(fact, "proof", None) for key, fact in self.facts()}

    async def close(self, budget_s: float = 0.0) -> int:
        for caller in (self.preparation, self.launch, self.completion):
            caller.close()
        return await self.profiles.close(budget_s)


async def settle() -> None:
    """Let everything that can happen without the outside happen."""
    for _ in range(8):
        await asyncio.sleep(0)


def ticket(key: str, owned: Owned = FIRST) -> Ticket:
    return Ticket(owned, key)


def create(name: str, workflow: str = "check", attempt: int = 1, provider: str = "default") -> Create:
    return Create(Operation.CREATE_RECORD, workflow, name, attempt, b"{}", provider)


def run(name: str, workflow: str = "check", send_before: int = NEVER, provider: str = "default") -> StartWorkflow:
    return StartWorkflow(workflow, name, 1, "record", None, None, send_before, NEVER, provider=provider)


def status(name: str, attempt: int = 1, workflow: str | None = "check") -> ReadStatus:
    return ReadStatus(workflow, name, attempt)


def judge(name: str, operation: Operation = Operation.CREATE_RECORD, workflow: str = "check") -> Judge:
    return Judge(operation, workflow, name, 1)


def name_of(call: ApiCall) -> str:
    return call.workflow_id if isinstance(call, ReadStatus | ReadResult) else call.request_id


def fact(call: ApiCall, proof: Proof) -> ApiFact:
    match call:
        case ReadStatus():
            return StatusRead(call.attempt, proof, "RUNNING", None, None, None, "200")
        case ReadResult():
            return ResultRead(call.attempt, proof, "{}", 2, None, None, "200")
        case ReadCase():
            return CaseRead(call.request_id, call.attempt, proof, None, None, None, "200")
        case Create() | StartWorkflow():
            operation = operation_of(call)
            return CallAnswered(operation, call.attempt, proof, "made", None, None, "201", call.request_id)
