"""The deciders of one process: started when what they depend on is there, stopped with everything committed."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial

import structlog

from processor.adapters.acked_producer import AckedProducer
from processor.adapters.evidence_marks import EvidenceCaller, EvidenceMarks
from processor.adapters.topic_ends import TopicEnds
from processor.engine.member import Member
from processor.errors import ProcessorError
from processor.kafka_config import client_config
from processor.roles.clock import wall_clock
from processor.roles.deciders import Decider, make_completion, make_launch, make_preparation
from processor.roles.lag import LagWatch
from processor.roles.prerequisites import find_schemas, find_topics, find_transactions, wait_for
from processor.roles.provider import ProviderSide
from processor.roles.surroundings import Surroundings
from processor.settings import ApiSettings

log = structlog.stdlib.get_logger()

WATCH_S = 1.0
SHARES_A_WATCH = 10  # Partitions that came may call soon; those that went did not call any more when they left.
LEAVE_MARGIN_S = 15.0


def unrestored(members: Mapping[str, Member]) -> Iterator[str]:
    """Name the deciders whose partitions are not at work; what stopped several of them is said once."""
    stopped: dict[str, list[str]] = {}
    for name, member in members.items():
        if (why := member.why_stopped()) is not None:
            stopped.setdefault(why, []).append(name)
        elif not member.is_ready():
            yield f"{name}: partitions are being restored"
    for why, names in stopped.items():
        yield f"{', '.join(names)}: partitions are stopped, {why}"


class Workers:
    """The deciders named, with one provider side for all of them; belongs to the running event loop."""

    def __init__(
        self,
        around: Surroundings,
        producer: AckedProducer,
        deciders: tuple[str, ...],
        on_crash: Callable[[], None],
        *,
        is_renewal: bool = False,
    ) -> None:
        """Those of a renewal may write in transactions: they take the place of deciders that did."""
        self._is_renewal = is_renewal
        self.deciders: Mapping[str, Decider] = {}
        self._around = around
        self._names = deciders
        self._on_crash = on_crash
        self._provider = ProviderSide(around, producer, deciders[0])
        self._evidence: EvidenceCaller | None = None
        self._missing: str | None = "not started"
        self._is_stopping = False
        self._starting: asyncio.Task[None] | None = None
        self._lag: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin; what is not there yet is waited for in the background."""
        self._provider.start()
        self._starting = asyncio.create_task(self._start())
        self._starting.add_done_callback(self._started)

    @property
    def has_begun(self) -> bool:
        """Whether everything that the start needs was found."""
        return bool(self.deciders)

    @property
    def contacts(self) -> frozenset[str]:
        """The provider profiles that took us, at least once since the process started."""
        return self._provider.contacts

    def renewal(self, name: str, api: ApiSettings) -> Awaitable[None]:
        """Call a provider profile with these credentials and authorities; done when they are in use."""
        return self._provider.renewal(name, api)

    async def leave(self) -> bool:
        """Let every decider drain and leave; False when one did not end in time."""
        self._is_stopping, self._missing = True, "the deciders are stopping"
        has_ended = True
        for task in filter(None, (self._starting, self._lag)):
            task.cancel()
            await asyncio.wait([task])
        budget_s = self._around.settings.engine.drain_s_max + LEAVE_MARGIN_S
        for decider in self.deciders.values():
            decider.ask_to_stop()
        for decider in self.deciders.values():
            if not await asyncio.to_thread(decider.join, budget_s):
                log.error("process.crashed", decider=decider.name, reason="did not stop in time")
                has_ended = False
        return has_ended

    async def close(self) -> None:
        """Close the provider's side, after the deciders have left."""
        if self._evidence is not None:
            await self._evidence.close()
        await self._provider.close()

    def is_alive(self) -> bool:
        """Whether every decider turns; one that was told to stop has its budget for that."""
        if self._is_stopping:
            return True
        oldest = wall_clock() - round(self._around.settings.ops.heartbeat_s_max * 1000)
        return all(one.is_alive and one.member.turned_at >= oldest for one in self.deciders.values())

    def unready(self) -> Iterator[str]:
        """Name what this process lacks before work can be done."""
        if self._missing is not None:
            yield self._missing
        yield from unrestored({name: decider.member for name, decider in self.deciders.items()})
        yield from self._provider.unready()

    def degraded(self) -> Iterator[str]:
        """Name what outside of this process keeps some of its work from being done."""
        return self._provider.degraded()

    def holding(self) -> Mapping[str, Sequence[str]]:
        """Name what holds calls back right now, for each provider profile of which any are."""
        return self._provider.holding()

    async def _start(self) -> None:
        self._provider.count(await wait_for(partial(find_topics, self._around, self._names), self._wait))
        await wait_for(partial(find_schemas, self._around, self._names), self._wait)
        if not self._is_renewal:  # It would stand still for as long as that takes.
            await wait_for(partial(find_transactions, self._around, self._names), self._wait)
        self.deciders = {name: Decider(self._make(name), name, self._on_crash) for name in self._names}
        for decider in self.deciders.values():
            decider.start()
        self._missing = None
        self._lag = asyncio.create_task(self._watch_lag())
        log.info("process.ready")
        while True:
            for _ in range(SHARES_A_WATCH):
                self._provider.share({name: tuple(one.member.partitions) for name, one in self.deciders.items()})
                await asyncio.sleep(WATCH_S / SHARES_A_WATCH)
            self._measure()

    def _started(self, starting: asyncio.Task[None]) -> None:
        """End the process in order when starting failed for good: nobody else would say so."""
        if not starting.cancelled() and (error := starting.exception()) is not None:
            log.critical("process.crashed", exc_info=error)
            self._on_crash()

    def _wait(self, error: ProcessorError) -> None:
        """Put on readiness what is not there yet, and tell it once."""
        if str(error) != self._missing:
            log.warning("process.waiting", exc_info=error)
        self._missing = str(error)

    def _make(self, name: str) -> Member:
        caller = self._provider.caller(name)
        match name:
            case "preparation":
                return make_preparation(self._around, caller, self._is_held_up)
            case "launch":
                self._evidence = EvidenceCaller(caller, self._make_marks().judged_to)
                return make_launch(self._around, self._evidence)
            case _:
                return make_completion(self._around, caller)

    def _make_marks(self) -> EvidenceMarks:
        settings = self._around.settings
        return EvidenceMarks(
            client_config(settings, "launch.marks"),
            settings.group_id("completion"),
            settings.topics.workflows,
            request_s=settings.kafka.operation_timeout_s,
        )

    async def _watch_lag(self) -> None:
        settings = self._around.settings
        topics = settings.topics
        inputs = {"preparation": topics.requests, "launch": topics.launches, "completion": topics.workflows}
        ends = TopicEnds(client_config(settings, "lag"), settings.kafka.operation_timeout_s)
        watch = LagWatch(ends.of, self._around.metrics.engine, inputs)
        await watch.run({name: one.member.partitions for name, one in self.deciders.items()})

    def _is_held_up(self) -> bool:
        """Whether preparation should take no more in: launch has so much to do here, or the provider is away."""
        if self._provider.is_away:
            return True
        launch = self.deciders.get("launch")
        return launch is not None and launch.member.depth() >= self._around.settings.engine.launch_backlog_max

    def _measure(self) -> None:
        metrics = self._around.metrics
        self._provider.measure()
        for name, decider in self.deciders.items():
            for kind, count in decider.member.counts().items():
                metrics.engine.parts.labels(name, kind).set(count)
