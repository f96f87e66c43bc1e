"""The provider's side of a working process: every profile of the provider, and the pauses that everyone follows."""

import asyncio
from collections.abc import Collection, Iterator, Mapping

import structlog

from processor.adapters.acked_producer import AckedProducer
from processor.adapters.caller import ApiCaller
from processor.adapters.control_topic import ControlTopic
from processor.adapters.dispatcher import Backlog, Dispatcher, Judged
from processor.adapters.fault_watch import FaultWatch
from processor.adapters.gate import Gate, HeldBy, Priority
from processor.adapters.pauses import Pauses, Standing
from processor.adapters.profiles import NoProvider, Profiles
from processor.kafka_config import reader_config
from processor.roles.call_listener import CallListener, Told
from processor.roles.clock import wall_clock
from processor.roles.profile_side import ProfileSide
from processor.roles.surroundings import Surroundings
from processor.settings import ApiSettings

log = structlog.stdlib.get_logger()

CLOSE_S = 5.0
NEVER = 2**62
PRIORITIES = {
    "preparation": Priority.PREPARATION,
    "launch": Priority.LAUNCH,
    "completion": Priority.COMPLETION,
}


class ProviderSide:
    """Everything between the deciders' calls and the provider; belongs to the running event loop."""

    def __init__(self, around: Surroundings, producer: AckedProducer, decider: str) -> None:
        """`decider` is one of this process: under its group id pauses are read."""
        settings = around.settings
        names = settings.profiles()
        bytes_max = settings.engine.calls_bytes_max // len(names)
        told = Told()
        self._settings = settings
        self._metrics = around.metrics.calls
        for workflow in around.catalogue.workflows:  # What is paused is heard, or met again.
            self._metrics.paused.labels(workflow).set(0)
        self._callers: list[ApiCaller] = []
        self._sides = tuple(
            ProfileSide(
                name,
                around,
                CallListener(name, around.metrics, around.catalogue, told),
                bytes_max=bytes_max,
                publish=self._publish,
            )
            for name in names
        )
        self._elsewhere = _elsewhere(CallListener("", around.metrics, around.catalogue, told))
        self.profiles = Profiles({side.name: side.dispatcher for side in self._sides}, self._elsewhere)
        self._unconfigured_told: set[str] = set()
        self._owned: Mapping[str, Collection[int]] = {}
        self._control = ControlTopic(
            settings.topics.control,
            reader_config(settings, "control", decider=decider),
            producer,
            heard=self.profiles.heard,
            on_read=self.profiles.open,
            alarm=lambda why: log.warning("broker.unavailable", topic=settings.topics.control, reason=why),
        )

    def caller(self, decider: str) -> ApiCaller:
        """Return the caller of one decider; each call and permit goes to the profile that it names."""
        permit_ms = round(self._settings.engine.send_window_s * 1000)
        caller = ApiCaller(self.profiles, PRIORITIES[decider], permit_ms=permit_ms)
        self._callers.append(caller)
        return caller

    def start(self) -> None:
        """Obtain tokens, read which workflows are paused; calls start when both are there and partitions are ours."""
        for side in self._sides:
            side.start()
        self._control.start()

    async def renewal(self, name: str, api: ApiSettings) -> None:
        """Call a profile with these credentials and authorities; done when they are in use."""
        for side in self._sides:
            if side.name == name:
                await side.renewal(api)

    def count(self, partitions: Mapping[str, int]) -> None:
        """Take in how many partitions each decider here has in the whole deployment: they carry the limits."""
        for side in self._sides:
            side.count(partitions)

    def share(self, owned: Mapping[str, Collection[int]]) -> None:
        """Use the parts of all limits that the partitions owned here carry."""
        if owned != self._owned:
            self._owned = owned
            for side in self._sides:
                side.share(owned)

    @property
    def contacts(self) -> frozenset[str]:
        """The profiles that took us, at least once since the process started."""
        return frozenset(side.name for side in self._sides if side.had_contact)

    @property
    def is_away(self) -> bool:
        """Whether every profile that a workflow uses is away; may be asked on any thread."""
        used = [side for side in self._sides if side.is_used]
        return bool(used) and not any(side.reach.is_there for side in used)

    def unready(self) -> Iterator[str]:
        """Name what is missing here before calls can be made: the pauses, first contact, a profile."""
        backlogs = {side: side.dispatcher.backlog() for side in self._sides}
        if any(HeldBy.PAUSES_UNREAD in backlog.held_by for backlog in backlogs.values()):
            topic = self._settings.topics.control
            yield f"{topic}, {HeldBy.PAUSES_UNREAD}: it is not read yet, no call starts before"
        for side, backlog in backlogs.items():
            yield from side.unready(backlog)
        if any(self._elsewhere.backlog().waiting.values()):
            for name in sorted(self.profiles.unconfigured):
                yield f"provider {name} is not configured: its calls wait until it is"

    def degraded(self) -> Iterator[str]:
        """Name what outside of this process holds calls back, and is no normal operation."""
        backlogs = {side: side.dispatcher.backlog() for side in self._sides}
        for side, backlog in backlogs.items():
            yield from side.degraded(backlog)
        pauses = {pause.workflow: pause for backlog in backlogs.values() for pause in backlog.paused}
        for pause in pauses.values():
            yield f"workflow {pause.workflow}, {HeldBy.PAUSE}: {pause.reason}, {pause.why}"

    def holding(self) -> Mapping[str, tuple[HeldBy, ...]]:
        """Name what holds calls back right now, normal operation or not, for each profile of which any are."""
        held = {side.name: side.dispatcher.backlog().held_by for side in self._sides}
        return {name: tuple(by for by in HeldBy if by in words) for name, words in held.items() if words}

    def measure(self) -> None:
        """Show in metrics what is open, what waits, and what holds it back."""
        backlogs = {side.name: side.dispatcher.backlog() for side in self._sides}
        everywhere: list[Backlog] = [*backlogs.values(), self._elsewhere.backlog()]
        self._metrics.in_flight.set(sum(backlog.calls_open for backlog in everywhere))
        self._metrics.permits_waiting.set(
            sum(sum(backlog.waiting.values()) + backlog.waiting_held for backlog in everywhere)
        )
        for side in self._sides:
            self._metrics.slots.labels(side.name).set(side.dispatcher.slots)
            for by in HeldBy:
                self._metrics.held_back.labels(side.name, by).set(by in backlogs[side.name].held_by)
        for name in self.profiles.unconfigured - self._unconfigured_told:
            self._unconfigured_told.add(name)
            log.error("provider.unconfigured", provider=name)

    async def close(self) -> None:
        """End what is open and close; every decider has left before."""
        for caller in self._callers:
            caller.close()
        await self.profiles.close(CLOSE_S)
        await asyncio.to_thread(self._control.close)
        for side in self._sides:
            await side.close()

    def _publish(self, standing: Standing) -> None:
        self._control.publish(standing)


def _elsewhere(listener: CallListener) -> Dispatcher:
    """Make where calls wait whose profile is not configured: nothing starts there, and no verdict is reached."""
    watch: FaultWatch[Judged] = FaultWatch(refusals_max=NEVER, quiet_ms=NEVER)
    return Dispatcher(
        NoProvider(),
        Gate(slots_max=1, bytes_max=1),
        Pauses({}),
        watch,
        listener=listener,
        publish=lambda _: None,
        clock=wall_clock,
        result_bytes_max=0,
    )
