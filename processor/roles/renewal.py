"""Takes up secrets and certificates that change while the process runs; decides when, and how much must be renewed.

Rules:
- A change counts when two looks in a row show it: nobody reads half of what is being written.
- A process that works waits a time of its own, so that instances are not renewed all at once; one that does not work
  has nothing to lose.
- What cannot be loaded, contradicts itself or is no certificate is refused, and told once.
- What is new takes over when it works. Until then, and for good when it never does, what serves goes on.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace

import structlog

from processor.errors import SettingsInvalid
from processor.settings import Settings
from processor.settings_files import (
    Contents,
    SettingsSource,
    client_files,
    contents_of,
    kafka_files,
    profile_files,
    taking_up,
)
from processor.telemetry import ProcessMetrics

log = structlog.stdlib.get_logger()


@dataclass(frozen=True, slots=True)
class Serving:
    """Settings, and what the files held that clients read when they were made of them."""

    settings: Settings
    of_kafka: Contents  # And of the schema registry.
    of_profiles: Mapping[str, Contents]

    @classmethod
    def of(cls, settings: Settings) -> "Serving":
        """Read what the files hold now."""
        of_profiles = {name: contents_of(profile_files(api)) for name, api in settings.profiles().items()}
        return cls(settings, contents_of(kafka_files(settings)), of_profiles)


@dataclass(frozen=True, slots=True)
class Change:
    """What differs between what serves and what is to serve."""

    serving: Serving  # What is to serve.
    profiles: frozenset[str]  # Provider profiles with other credentials or authorities.
    is_of_process: bool  # Clients of Kafka or of the registry must be made anew.


def change(before: Serving, now: Serving) -> Change | None:
    """Return what must be renewed, None where nothing of it differs."""
    old, new = before.settings, now.settings
    is_of_process = (old.kafka, old.schema_registry, before.of_kafka) != (new.kafka, new.schema_registry, now.of_kafka)
    profiles = frozenset(
        name
        for name, api in new.profiles().items()
        if (old.profile(name), before.of_profiles.get(name)) != (api, now.of_profiles[name])
    )
    return Change(now, profiles, is_of_process) if is_of_process or profiles else None


@dataclass(frozen=True, slots=True)
class Watch:
    """What files held when they were last taken up, and at the last look."""

    taken: Contents | None = None  # None: never, so that what changed during the start is seen.
    seen: Contents | None = None
    due_s: float = 0.0


def looked(watch: Watch, found: Contents, now_s: float, *, delay_s: float, is_working: bool) -> tuple[Watch, bool]:
    """Take in one look; say whether what it shows is to be taken up now. `delay_s` counts from the first sight."""
    if found == watch.taken:
        return replace(watch, seen=found), False
    if found != watch.seen:
        due_s = now_s + delay_s if watch.seen == watch.taken else watch.due_s
        return Watch(watch.taken, found, due_s), False
    if is_working and now_s < watch.due_s:
        return watch, False
    return Watch(found, found), True


class Renewals:
    """Looks at files and has renewed what changed; belongs to the running event loop."""

    def __init__(  # noqa: PLR0913  # its outside, passed once
        self,
        source: SettingsSource,
        serving: Callable[[], Serving],
        renew: Callable[[Change], Coroutine[None, None, None]],
        *,
        is_working: Callable[[], bool],
        metrics: ProcessMetrics,
        on_crash: Callable[[], None],
    ) -> None:
        """`renew` returns when the change is in use; cancelled, it leaves what serves, or ends what it has begun."""
        self._source = source
        self._serving = serving
        self._renew = renew
        self._is_working = is_working
        self._metrics = metrics
        self._on_crash = on_crash
        self._watch = Watch()
        self._looking: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._looking = self._task(self._look())

    async def stop(self) -> None:
        """Look no more; a renewal that waits is given up."""
        for task in (self._looking, self._renewing):
            await _cancelled(task)

    async def _look(self) -> None:
        ops = self._serving().settings.ops
        while True:
            await asyncio.sleep(ops.reread_s)
            found = await asyncio.to_thread(self._found)
            self._watch, is_due = looked(
                self._watch,
                found,
                time.monotonic(),
                delay_s=random.uniform(0, ops.renewal_delay_s_max),  # noqa: S311  # spread, no secret
                is_working=self._is_working(),
            )
            if is_due:
                await self._take_up()

    def _found(self) -> Contents:
        return contents_of([*self._source.files(), *client_files(self._serving().settings)])

    async def _take_up(self) -> None:
        try:
            loaded = await asyncio.to_thread(self._loaded)
        except SettingsInvalid as error:
            self._metrics.renewals.labels("refused").inc()
            log.error("settings.refused", why=str(error))  # noqa: TRY400  # its text is all there is to know
            return
        await _cancelled(self._renewing)  # It waits for what is not there any more.
        changed = change(self._serving(), loaded)
        if changed is not None:
            self._renewing = self._task(self._renewal(changed))

    def _loaded(self) -> Serving:
        settings = taking_up(self._serving().settings, self._source.load())
        return Serving.of(settings)

    async def _renewal(self, changed: Change) -> None:
        what = "process" if changed.is_of_process else "provider"
        began_s = time.monotonic()
        log.info("settings.changed", what=what, count=len(changed.profiles))
        self._metrics.pending.set(1)
        try:
            await self._renew(changed)
        finally:
            self._metrics.pending.set(0)
        self._metrics.renewals.labels(what).inc()
        log.info("settings.renewed", what=what, seconds=round(time.monotonic() - began_s, 3))

    def _task(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """End the process in order when this failed: nobody else would say so."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("process.crashed", exc_info=error)
            self._on_crash()


async def _cancelled(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait([task])
