"""Waiting for evidence: a call that is answered once completion has judged everything before an instant.

Completion commits a mark beside each offset (`engine/marking.py`). The smallest mark of all partitions of its input is
how far evidence is judged; a partition without one holds every answer back, however long.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from processor.adapters.group_offsets import GroupOffsets, read_offset
from processor.core.messages import AwaitEvidence, EvidenceJudged
from processor.engine.ports import Answer, Call, Caller, Owned, Ticket
from processor.errors import BrokerUnavailable
from processor.kafka_config import Config

log = structlog.stdlib.get_logger()

LOOK_S: Final = 1.0


class EvidenceMarks:
    """The marks of one group on one topic."""

    def __init__(self, config: Config, group_id: str, topic: str, *, request_s: float) -> None:
        self._admin = AdminClient(dict(config))
        self._offsets = GroupOffsets(config, group_id, request_s)
        self._topic = topic
        self._request_s = request_s

    def judged_to(self) -> int:
        """Return the instant before which everything is judged, 0 while a partition has no mark.

        Raises BrokerUnavailable.
        """
        try:
            found = self._admin.list_topics(self._topic, timeout=self._request_s).topics[self._topic]
            if found.error is not None or not found.partitions:
                raise BrokerUnavailable(f"the broker does not tell the partitions of {self._topic}")
        except KafkaException as error:
            raise BrokerUnavailable(f"the partitions of {self._topic} cannot be read") from error
        numbers = [*found.partitions]
        parts = self._offsets.of(self._topic, numbers)
        marks = [read_offset(part).mark if part.error is None else 0 for part in parts]
        return min(marks, default=0) if len(marks) == len(numbers) else 0


class EvidenceCaller:
    """A `Caller` that answers `AwaitEvidence` itself and leaves every other call to another one.

    Bound to the running event loop; the decider's thread calls it.
    """

    def __init__(self, caller: Caller, judged_to: Callable[[], int]) -> None:
        """`judged_to` may block and raise BrokerUnavailable."""
        self._caller = caller
        self._judged_to = judged_to
        self._loop = asyncio.get_running_loop()
        self._deliver: Callable[[Answer], None] = _nowhere
        self._waiting: dict[Ticket, AwaitEvidence] = {}
        self._looking: asyncio.Task[None] | None = None

    def bind(self, deliver: Callable[[Answer], None]) -> None:
        """Say where answers go."""
        self._deliver = deliver
        self._caller.bind(deliver)

    def start(self, calls: Sequence[tuple[Ticket, Call]], wants: Sequence[tuple[Ticket, str]]) -> None:
        """Start calls and queue for permits."""
        waits = [(ticket, call) for ticket, call in calls if isinstance(call, AwaitEvidence)]
        if waits:
            self._loop.call_soon_threadsafe(self._wait, waits)
            calls = [(ticket, call) for ticket, call in calls if not isinstance(call, AwaitEvidence)]
        self._caller.start(calls, wants)

    def release(self, ticket: Ticket) -> None:
        """Give a granted permit back unused."""
        self._caller.release(ticket)

    def forget(self, owned: Owned) -> None:
        """Drop what waits for a partition that is being given up."""
        self._loop.call_soon_threadsafe(self._drop, owned)
        self._caller.forget(owned)

    async def close(self) -> None:
        """Stop looking."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def _wait(self, waits: Sequence[tuple[Ticket, AwaitEvidence]]) -> None:
        for ticket, call in waits:
            older = self._waiting.get(ticket)
            self._waiting[ticket] = call
            if older is not None:
                self._deliver(Answer(ticket, older, None))
        if self._looking is None or self._looking.done():
            self._looking = self._loop.create_task(self._look())

    def _drop(self, owned: Owned) -> None:
        for ticket in [ticket for ticket in self._waiting if ticket.owned == owned]:
            self._deliver(Answer(ticket, self._waiting.pop(ticket), None))

    async def _look(self) -> None:
        while self._waiting:
            try:
                judged_to = await asyncio.to_thread(self._judged_to)
            except Exception as error:  # noqa: BLE001  # whatever it is, nothing is known to be judged: look again
                log.warning("broker.unavailable", reason=type(error).__name__)
                judged_to = 0
            self._answer(self._waiting, judged_to)
            await asyncio.sleep(LOOK_S)

    def _answer(self, waiting: Mapping[Ticket, AwaitEvidence], judged_to: int) -> None:
        for ticket, call in [*waiting.items()]:
            if call.until <= judged_to:
                del self._waiting[ticket]
                self._deliver(Answer(ticket, call, EvidenceJudged(call.request_id, call.attempt)))


def _nowhere(answer: Answer) -> None:
    raise AssertionError(f"bind comes first; nobody takes the answer for partition {answer.ticket.owned.partition}")
