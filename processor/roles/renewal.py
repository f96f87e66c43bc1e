"""Takes up secrets and certificates that change while the process runs; decides when, and how much must be renewed.

Rules:
- A change counts when two looks in a row show it, and nothing is written while it is read.
- Clients read copies of certificates and keys, made when these were found to belong together: whatever somebody writes
  later, and in which order, reaches nobody before it does so again.
- A process that was ever ready waits a time of its own, so that instances are not renewed all at once, in an outage
  least of all; one that never was has nothing to lose.
- What cannot be loaded, contradicts itself or is no certificate is refused, told once, and tried at each look.
- Each provider profile, and all clients of Kafka and the registry together, are renewed by themselves: what is refused
  or does not work yet holds nothing else up.
- What is new takes over when it works. Until then, and for good when it never does, what serves goes on.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeAlias

import structlog

from processor.errors import SettingsInvalid
from processor.file_copies import Contents, KeptFiles, contents_of, written_at
from processor.settings import ApiSettings, Settings
from processor.settings_files import (
    SettingsSource,
    client_files,
    process_files,
    process_reading,
    profile_files,
    profile_reading,
    taking_up,
    with_process,
    with_profile,
)
from processor.settings_relations import process_file_problems, profile_file_problems
from processor.telemetry import ProcessMetrics

log = structlog.stdlib.get_logger()


# What is renewed by itself: a provider profile, by its name, or (None) all clients of Kafka and the registry.
Part: TypeAlias = str | None


@dataclass(frozen=True, slots=True)
class Serving:
    """Settings, and what the files held that clients read when they are made of them."""

    settings: Settings
    of_process: KeptFiles
    of_profiles: Mapping[str, KeptFiles]

    @classmethod
    def of(cls, settings: Settings) -> "Serving":
        """Read what the files hold now."""
        of_profiles = {name: KeptFiles.of(profile_files(api)) for name, api in settings.profiles().items()}
        return cls(settings, KeptFiles.of(process_files(settings)), of_profiles)

    @classmethod
    def whole(cls, settings: Settings) -> "Serving":
        """Read what the files hold now; raises SettingsInvalid where clients cannot be made of it."""
        made = cls.of(settings)
        parts: list[Part] = [*made.of_profiles, None]
        if problems := [problem for part in parts for problem in made.problems(part)]:
            raise SettingsInvalid("\n".join(problems))
        return made

    @property
    def for_clients(self) -> Settings:
        """Settings that name copies of the files, which are there as long as this value lives."""
        settings = process_reading(self.settings, self.of_process)
        for name, kept in self.of_profiles.items():
            settings = profile_reading(settings, name, kept)
        return settings

    def problems(self, part: Part) -> Iterator[str]:
        """Yield a sentence for each file of this part of which no client can be made."""
        if part is None:
            yield from process_file_problems(self.for_clients)
        else:
            yield from profile_file_problems(part, self.for_clients.profiles()[part])

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
    is_open: bool = False  # What was taken up last was refused, or written meanwhile: it is to be tried again.


def looked(watch: Watch, found: Contents, now_s: float, *, delay_s: float, is_ready: bool) -> tuple[Watch, bool]:
    """Take in one look; say whether what it shows is to be taken up now. `delay_s` counts from the first sight."""
    watch = replace(watch, was_ready=watch.was_ready or is_ready)
    if found == watch.taken and not watch.is_open:
        return replace(watch, seen=found), False
    if found != watch.seen:
        due_s = now_s + delay_s if watch.seen == watch.taken else watch.due_s
        return replace(watch, seen=found, due_s=due_s), False
    if watch.was_ready and now_s < watch.due_s:
        return watch, False
    return replace(watch, taken=found, is_open=False), True


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is wanted by what files hold now, and why the rest of it is refused."""

    wanted: Serving
    refusals: Sequence[str]


def loaded_over(before: Serving, now: Serving) -> Loaded:
    """Take each part as it is now if clients can be made of its files, else as it was wanted before."""
    wanted, refusals = now, list[str]()
    for part in changed_parts(before, now):
        if problems := [*now.problems(part)]:
            wanted = wanted.with_part(part, before)
            refusals += problems
    return Loaded(wanted, refusals)


class Renewable(Protocol):
    """What can be renewed: a process."""

    async def renew_profile(self, name: str, api: ApiSettings) -> None:
        """Call a profile with these credentials and authorities; returns when they are in use.

        Cancelled, it leaves everything as it was.
        """

    async def find(self, serving: Serving) -> None:
        """Return when the broker and the registry know us by these settings."""

    async def renew_process(self, serving: Serving) -> None:
        """Make all clients anew; must not be cancelled."""


class Renewals:
    """Looks at files and has renewed what changed, each part by itself; belongs to the running event loop."""

    def __init__(  # noqa: PLR0913  # its outside, passed once
        self,
        source: SettingsSource,
        serving: Serving,
        renewable: Renewable,
        *,
        is_ready: Callable[[], bool],
        metrics: ProcessMetrics,
        on_crash: Callable[[], None],
    ) -> None:
        """`serving` is in use already; what is there later comes from `source`."""
        self.serving = serving
        self._source = source
        self._renewable = renewable
        self._is_ready = is_ready
        self._metrics = metrics
        self._on_crash = on_crash
        self._watch = Watch()
        self._wanted = serving
        self._refused: Contents | None = None  # Where something is refused now.
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
                await self._take_up(found)

    def _files(self) -> list[Path]:
        settings = (self.serving.settings, self._wanted.settings)
        return [*self._source.files(), *(file for each in settings for file in client_files(each))]

    def _found(self) -> Contents:
        return contents_of(self._files())

    async def _take_up(self, found: Contents) -> None:
        try:
            loaded = await asyncio.to_thread(self._loaded)
        except SettingsInvalid as error:
            self._refuse(found, str(error))
            return
        if loaded is None:
            self._watch = replace(self._watch, is_open=True)
            return
        before, self._wanted = self._wanted, loaded.wanted
        outdated = {*changed_parts(before, loaded.wanted)}
        await self._give_up([part for part in self._tasks if part in outdated])
        self._begin()
        self._refuse(found, "\n".join(loaded.refusals))

    def _loaded(self) -> Loaded | None:
        """Return what files say now; None when any of them was written meanwhile. Raises SettingsInvalid."""
        files = self._files()
        written = written_at(files)
        now = Serving.of(taking_up(self.serving.settings, self._source.load()))
        loaded = loaded_over(self._wanted, now)  # What was missing is judged where it lies: it may be back by then.
        return loaded if written_at(files) == written else None

    def _refuse(self, found: Contents, why: str) -> None:
        """Tell once for what is found why it is not taken up; an empty text: all of it is."""
        if why and found != self._refused:
            self._metrics.renewals.labels("refused").inc()
            log.error("settings.refused", why=why)
        self._metrics.pending.inc(bool(why) - (self._refused is not None))
        self._refused = found if why else None
        self._watch = replace(self._watch, is_open=bool(why))

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
        await self._renewable.renew_profile(name, now.for_clients.profiles()[name])
        self.serving = self.serving.with_part(name, now)

    async def _renew_process(self) -> None:
        now = self._wanted
        await self._renewable.find(self.serving.with_part(None, now))
        await self._give_up([part for part in self._tasks if part is not None])  # Their clients are replaced, too.
        serving = self.serving.with_part(None, now)
        await _to_its_end(self._renewable.renew_process(serving))
        self.serving = serving
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
