"""Takes up secrets and certificates that change while the process runs; decides when, and how much must be renewed.

Rules:
- A change counts when two looks in a row show it: nobody reads half of what is being written.
- A process that was ever ready waits a time of its own, so that instances are not renewed all at once, in an outage
  least of all; one that never was has nothing to lose.
- What cannot be loaded, contradicts itself or is no certificate is refused, and told once.
- Each provider profile, and all clients of Kafka and the registry together, are renewed by themselves: what does not
  work yet holds nothing else up.
- What is new takes over when it works. Until then, and for good when it never does, what serves goes on.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import structlog

from processor.errors import SettingsInvalid
from processor.settings import ApiSettings, Settings
from processor.settings_files import (
    Contents,
    SettingsSource,
    client_files,
    contents_of,
    process_files,
    profile_files,
    taking_up,
    with_process,
    with_profile,
)
from processor.telemetry import ProcessMetrics

log = structlog.stdlib.get_logger()


# What is renewed by itself: a provider profile, by its name, or (None) all clients of Kafka and the registry.
Part: TypeAlias = str | None


@dataclass(frozen=True, slots=True)
class Serving:
    """Settings, and what the files held that clients read when they were made of them."""

    settings: Settings
    of_process: Contents
    of_profiles: Mapping[str, Contents]

    @classmethod
    def of(cls, settings: Settings) -> "Serving":
        """Read what the files hold now."""
        of_profiles = {name: contents_of(profile_files(api)) for name, api in settings.profiles().items()}
        return cls(settings, contents_of(process_files(settings)), of_profiles)

    def with_part(self, part: Part, now: "Serving") -> "Serving":
        """Return what serves when this part is as it is now."""
        if part is None:
            return Serving(with_process(self.settings, now.settings), now.of_process, self.of_profiles)
        of_profiles = {**self.of_profiles, part: now.of_profiles[part]}
        return Serving(with_profile(self.settings, part, now.settings), self.of_process, of_profiles)


def changed_parts(before: Serving, now: Serving) -> Iterator[Part]:
    """Yield each part that must be renewed, profiles first: they are quick, and no partition stands still for them."""
    yield from (name for name in before.of_profiles if before.with_part(name, now) != before)
    if before.with_part(None, now) != before:
        yield None


@dataclass(frozen=True, slots=True)
class Watch:
    """What files held when they were last taken up, and at the last look."""

    taken: Contents | None = None  # None: never, so that what changed during the start is seen.
    seen: Contents | None = None
    due_s: float = 0.0
    was_ready: bool = False  # At any look.


def looked(watch: Watch, found: Contents, now_s: float, *, delay_s: float, is_ready: bool) -> tuple[Watch, bool]:
    """Take in one look; say whether what it shows is to be taken up now. `delay_s` counts from the first sight."""
    watch = replace(watch, was_ready=watch.was_ready or is_ready)
    if found == watch.taken:
        return replace(watch, seen=found), False
    if found != watch.seen:
        due_s = now_s + delay_s if watch.seen == watch.taken else watch.due_s
        return replace(watch, seen=found, due_s=due_s), False
    if watch.was_ready and now_s < watch.due_s:
        return watch, False
    return replace(watch, taken=found), True


class Renewable(Protocol):
    """What can be renewed: a process."""

    async def renew_profile(self, name: str, api: ApiSettings) -> None:
        """Call a profile with these credentials and authorities; returns when they are in use.

        Cancelled, it leaves everything as it was.
        """

    async def find(self, settings: Settings) -> None:
        """Return when the broker and the registry know us by these settings."""

    async def renew_process(self, settings: Settings) -> None:
        """Make all clients of Kafka and the registry anew; must not be cancelled."""


class Renewals:
    """Looks at files and has renewed what changed, each part by itself; belongs to the running event loop."""

    def __init__(  # noqa: PLR0913  # its outside, passed once
        self,
        source: SettingsSource,
        settings: Settings,
        renewable: Renewable,
        *,
        is_ready: Callable[[], bool],
        metrics: ProcessMetrics,
        on_crash: Callable[[], None],
    ) -> None:
        """`settings` are in use already; what is there later comes from `source`."""
        self.serving = Serving.of(settings)
        self._source = source
        self._renewable = renewable
        self._is_ready = is_ready
        self._metrics = metrics
        self._on_crash = on_crash
        self._watch = Watch()
        self._wanted = self.serving
        self._looking: asyncio.Task[None] | None = None
        self._tasks: dict[Part, asyncio.Task[None]] = {}
        self._is_stopping = False

    def start(self) -> None:
        """Begin to look."""
        self._looking = self._task(self._look())

    async def stop(self) -> None:
        """Look no more; a renewal that waits is given up, one that has begun to replace something ends first."""
        self._is_stopping = True
        if self._looking is not None:
            await _cancelled(self._looking)
        await self._give_up(list(self._tasks))

    async def _look(self) -> None:
        ops = self.serving.settings.ops
        while True:
            await asyncio.sleep(ops.reread_s)
            found = await asyncio.to_thread(self._found)
            self._watch, is_due = looked(
                self._watch,
                found,
                time.monotonic(),
                delay_s=random.uniform(0, ops.renewal_delay_s_max),  # noqa: S311  # spread, no secret
                is_ready=self._is_ready(),
            )
            if is_due:
                await self._take_up()

    def _found(self) -> Contents:
        return contents_of(
            [*self._source.files(), *client_files(self.serving.settings), *client_files(self._wanted.settings)]
        )

    async def _take_up(self) -> None:
        try:
            self._wanted = await asyncio.to_thread(self._loaded)
        except SettingsInvalid as error:
            self._metrics.renewals.labels("refused").inc()
            log.error("settings.refused", why=str(error))  # noqa: TRY400  # its text is all there is to know
            return
        await self._give_up(list(self._tasks))  # Each waits for what is not there any more.
        self._begin()

    def _loaded(self) -> Serving:
        return Serving.of(taking_up(self.serving.settings, self._source.load()))

    def _begin(self) -> None:
        """Begin to renew what is not as wanted, and is not being renewed."""
        if self._is_stopping:
            return
        for part in changed_parts(self.serving, self._wanted):
            if part not in self._tasks or self._tasks[part].done():
                self._tasks[part] = self._task(self._renewal(part))

    async def _give_up(self, parts: Sequence[Part]) -> None:
        for part in parts:
            await _cancelled(self._tasks[part])

    async def _renewal(self, part: Part) -> None:
        facts = {"what": "process"} if part is None else {"what": "provider", "provider": part}
        began_s = time.monotonic()
        log.info("settings.changed", **facts)
        self._metrics.pending.inc()
        try:
            await (self._renew_process() if part is None else self._renew_profile(part))
        finally:
            self._metrics.pending.dec()
        self._metrics.renewals.labels(facts["what"]).inc()
        log.info("settings.renewed", **facts, seconds=round(time.monotonic() - began_s, 3))

    async def _renew_profile(self, name: str) -> None:
        now = self._wanted
        await self._renewable.renew_profile(name, now.settings.profiles()[name])
        self.serving = self.serving.with_part(name, now)

    async def _renew_process(self) -> None:
        now = self._wanted
        await self._renewable.find(self.serving.with_part(None, now).settings)
        await self._give_up([part for part in self._tasks if part is not None])  # Their clients are replaced, too.
        await _to_its_end(self._renewable.renew_process(self.serving.with_part(None, now).settings))
        self.serving = self.serving.with_part(None, now)
        self._begin()

    def _task(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """End the process in order when this failed: nobody else would say so."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("process.crashed", exc_info=error)
            self._on_crash()


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def _to_its_end(work: Coroutine[None, None, None]) -> None:
    """Do what must not be left half done, also when it is cancelled meanwhile."""
    doing = asyncio.create_task(work)
    while not doing.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(doing)
    doing.result()
