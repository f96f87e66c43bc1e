"""A call that waits for evidence is answered by marks alone, and every other call goes on to who makes it."""

import asyncio
from collections.abc import Callable, Sequence

from processor.adapters.evidence_marks import EvidenceCaller
from processor.core.messages import AwaitEvidence, EvidenceJudged, ReadStatus
from processor.engine.ports import Answer, Call, Owned, Ticket
from processor.errors import BrokerUnavailable

OWNED = Owned(3, 1)
TICKET = Ticket(OWNED, "key")
CALL = AwaitEvidence("A", 2, 1_000)


class Inner:
    """The caller behind it: writes down what reaches it."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.wants: list[str] = []
        self.forgotten: list[Owned] = []
        self.released: list[Ticket] = []

    def bind(self, deliver: Callable[[Answer], None]) -> None:
        """Answer nothing."""

    def start(self, calls: Sequence[tuple[Ticket, Call]], wants: Sequence[tuple[Ticket, str]]) -> None:
        """Take calls and wants."""
        self.calls += [call for _, call in calls]
        self.wants += [want for _, want in wants]

    def release(self, ticket: Ticket) -> None:
        """Take a permit back."""
        self.released.append(ticket)

    def forget(self, owned: Owned) -> None:
        """Drop a partition."""
        self.forgotten.append(owned)


class Marks:
    """Marks as a broker would show them: the given answers in turn, the last one from then on."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self) -> int:
        """Give the next answer."""
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def run(marks: Marks, script: Callable[[EvidenceCaller, Inner], None], seconds: float) -> tuple[list[Answer], Inner]:
    """Let a script use a caller for a while; return what was answered."""
    answers: list[Answer] = []
    inner = Inner()

    async def main() -> None:
        caller = EvidenceCaller(inner, marks)
        caller.bind(answers.append)
        script(caller, inner)
        await asyncio.sleep(seconds)
        await caller.close()

    asyncio.run(main())
    return answers, inner


def test_it_is_answered_when_every_mark_has_come_so_far() -> None:
    """Not before, and neither an outage of the broker nor any other failure is an answer, or the end of looking."""
    marks = Marks(BrokerUnavailable("away"), ValueError("no partitions"), 1_000)
    answers, inner = run(marks, lambda caller, _: caller.start([(TICKET, CALL)], []), 2.3)
    assert answers == [Answer(TICKET, CALL, EvidenceJudged("A", 2))]
    assert inner.calls == []


def test_a_mark_that_is_too_old_answers_nothing() -> None:
    """It waits without limit."""
    answers, _ = run(Marks(999), lambda caller, _: caller.start([(TICKET, CALL)], []), 0.3)
    assert answers == []


def test_what_is_dropped_is_answered_without_a_fact() -> None:
    """A partition that goes takes its waiting with it; the next owner asks again."""

    def script(caller: EvidenceCaller, _: Inner) -> None:
        caller.start([(TICKET, CALL)], [])
        caller.forget(OWNED)

    answers, inner = run(Marks(0), script, 0.2)
    assert answers == [Answer(TICKET, CALL, None)]
    assert inner.forgotten == [OWNED]


def test_asking_again_replaces_the_older_call() -> None:
    """A key waits once."""

    def script(caller: EvidenceCaller, _: Inner) -> None:
        caller.start([(TICKET, CALL)], [])
        caller.start([(TICKET, AwaitEvidence("A", 3, 5))], [])

    answers, _ = run(Marks(5), script, 0.3)
    assert answers == [Answer(TICKET, CALL, None), Answer(TICKET, AwaitEvidence("A", 3, 5), EvidenceJudged("A", 3))]


def test_everything_else_goes_on() -> None:
    """Reads, starts and permits are the other caller's."""
    read = ReadStatus("check", "W", 1)

    def script(caller: EvidenceCaller, _: Inner) -> None:
        caller.start([(TICKET, read), (TICKET, CALL)], [(TICKET, "default/check")])
        caller.release(TICKET)

    _, inner = run(Marks(0), script, 0.1)
    assert (inner.calls, inner.wants, inner.released) == ([read], ["default/check"], [TICKET])
