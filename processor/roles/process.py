"""One process: the roles it was asked for, what they share, and the order of start and stop."""

import asyncio
import gc
import signal
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from functools import partial
from importlib.metadata import version

import structlog
import uvloop
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from processor.adapters.acked_producer import AckedProducer
from processor.adapters.catalogue_file import catalogue_of
from processor.adapters.web_listener import ListenerLimits, WebListener
from processor.adapters.webserver import ops_app
from processor.core.catalogue import Catalogue
from processor.errors import FatalError, ProcessorError, SettingsInvalid
from processor.kafka_config import Config, plain_producer_config
from processor.logs import configure_logging
from processor.roles.clock import wall_clock
from processor.roles.first_contact import FirstContact
from processor.roles.ingestor import Ingestor
from processor.roles.listening import listen
from processor.roles.prerequisites import find_schemas, find_topics, wait_for
from processor.roles.renewal import Renewals, Serving
from processor.roles.surroundings import Surroundings
from processor.roles.workers import Workers
from processor.settings import ApiSettings, Settings
from processor.settings_files import SettingsSource
from processor.telemetry import Metrics

log = structlog.stdlib.get_logger()

DISTRIBUTION = "onboarding-processor"
OPS_LIMITS = ListenerLimits(connections_max=64, drain_s=1.0)
FLUSH_S = 5.0
EXIT_CRASHED = 1
GC_THRESHOLDS = (100_000, 50, 50)


class Role(StrEnum):
    """What a process can be."""

    SUBMITTER = "submitter"
    INGESTOR = "ingestor"
    RECONCILER = "reconciler"


class Process:
    """The roles of one process, on the running event loop; deciders have threads of their own."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        roles: Sequence[Role],
        *,
        on_crash: Callable[[], None],
        source: SettingsSource | None = None,
    ) -> None:
        """Take up changes of secrets and certificates from `source`, if it can be read again.

        Raises SettingsInvalid where no client can be made of the files that settings name.
        """
        self.roles = tuple(roles) or tuple(Role)
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # CPU, memory and open files, by the names that every dashboard knows.
        self.ops_port = settings.ops.port
        self._on_crash = on_crash
        self._is_draining = self._has_begun = False
        serving = Serving.whole(settings)
        around = self._around = Surroundings(
            settings=serving.for_clients,
            catalogue=catalogue,
            metrics=Metrics(self.registry),
            start_id=uuid.uuid4().hex,
            version=version(DISTRIBUTION),
            kept=serving,
        )
        self._ready = around.metrics.process.ready
        around.metrics.process.build.labels(around.version, around.revision).set(1)
        self._producer = AckedProducer(_producer_config(around.settings), send_timeout_s=settings.webhook.ack_timeout_s)
        self.ingestor = self._make_ingestor(around) if Role.INGESTOR in self.roles else None
        self._contact = self._make_contact() if Role.INGESTOR in self.roles else None
        is_working = Role.SUBMITTER in self.roles or Role.RECONCILER in self.roles
        self.workers = Workers(around, self._producer, self._deciders(), on_crash) if is_working else None
        self._renewals = (
            self._make_renewals(source, serving) if source is not None and source.can_be_read_again else None
        )
        self._ops = WebListener(
            ops_app(
                is_alive=self.is_alive,
                unready=self.unready,
                degraded=self.degraded,
                holding=self.holding,
                metrics=self._exposition,
            ),
            OPS_LIMITS,
        )

    async def start(self) -> None:
        """Start everything; what depends on something that is not there yet waits for it, unready.

        Raises SettingsInvalid where an address cannot be listened on.
        """
        settings = self._around.settings
        log.info(
            "process.started",
            roles=list(self.roles),
            application_id=settings.application_id,
            group_protocol=settings.kafka.group_protocol,
        )
        self.ops_port = await listen(self._ops, "ops", settings.ops.host, settings.ops.port)
        if self.ingestor is not None:
            await self.ingestor.start()
        if self._contact is not None:
            self._contact.start()
        if self.workers is not None:
            await self.workers.start()
        if self._renewals is not None:
            self._renewals.start()

    async def renew_profile(self, name: str, api: ApiSettings) -> None:
        """Call a provider profile with these credentials and authorities; returns when they are in use.

        Cancelled, it leaves everything as it was. Where nobody calls, webhook keys are fetched with them at once.
        """
        if self.workers is not None:
            await self.workers.renewal(name, api)
        if self.ingestor is not None:
            self.ingestor.renew(name, api)

    async def find(self, serving: Serving) -> None:
        """Return when the broker and the registry know us by these settings; at once where they never knew us."""
        if self.workers is not None and not self._have_workers_begun():
            return
        around = replace(self._around, settings=serving.for_clients, kept=serving)
        deciders, told = self._deciders(), set[str]()

        def tell(error: ProcessorError) -> None:
            if str(error) not in told:
                told.add(str(error))
                log.warning("settings.waiting", exc_info=error)

        await wait_for(partial(find_topics, around, deciders), tell)
        if deciders:
            await wait_for(partial(find_schemas, around, deciders), tell)

    async def renew_process(self, serving: Serving) -> None:
        """Make all clients anew: deciders commit and leave, new ones join; webhooks go on.

        Must not be cancelled.
        """
        settings = serving.for_clients
        self._around = replace(self._around, settings=settings, kept=serving, start_id=uuid.uuid4().hex)
        self._producer.renew(_producer_config(settings))
        before = self.workers
        if before is None:
            return
        self._has_begun = self._have_workers_begun()
        has_left = await before.leave()
        deciders, is_renewal = self._deciders(), self._has_begun
        around = replace(self._around, contacts=before.contacts)
        self.workers = Workers(around, self._producer, deciders, self._on_crash, is_renewal=is_renewal)
        if not has_left:  # Its store is still open, so nobody else can work here.
            self._on_crash()
        elif not self._is_draining:
            await self.workers.start()
        await before.close()  # Nobody waits for this any more.

    async def stop(self) -> None:
        """Take nothing more in, let open calls end, commit, leave the groups, close."""
        self._is_draining = True
        log.info("process.draining", roles=list(self.roles))
        if self._renewals is not None:
            await self._renewals.stop()
        if self.ingestor is not None:
            await self.ingestor.stop()
        if self._contact is not None:
            await self._contact.stop()
        if self.workers is not None:
            await self.workers.leave()
            await self.workers.close()
        await asyncio.to_thread(self._producer.close, FLUSH_S)
        await self._ops.stop()
        log.info("process.stopped", roles=list(self.roles))

    def is_alive(self) -> bool:
        """Whether every thread still turns; what is outside does not count."""
        return self.workers is None or self.workers.is_alive()

    def unready(self) -> Iterator[str]:
        """Name what this process lacks before work can be done."""
        if self._is_draining:
            yield "the process is stopping"
        if self._contact is not None:
            yield from self._contact.unready()
        if self.workers is not None:
            yield from self.workers.unready()

    def degraded(self) -> Iterator[str]:
        """Name what outside of this process keeps some of its work from being done."""
        if self.workers is not None:
            yield from self.workers.degraded()

    def holding(self) -> Mapping[str, Sequence[str]]:
        """Name what holds calls back right now, for each provider profile of which any are."""
        return {} if self.workers is None else self.workers.holding()

    def _have_workers_begun(self) -> bool:
        """Whether broker and registry ever knew us: those who were renewed a moment ago were found before."""
        return self._has_begun or (self.workers is not None and self.workers.has_begun)

    def _exposition(self) -> tuple[bytes, str]:
        is_ready = self.is_alive() and not any(self.unready())
        for role in self.roles:
            self._ready.labels(role).set(is_ready)
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    def _deciders(self) -> tuple[str, ...]:
        submitter = ("preparation", "launch") if Role.SUBMITTER in self.roles else ()
        return (*submitter, "completion") if Role.RECONCILER in self.roles else submitter

    def _make_renewals(self, source: SettingsSource, serving: Serving) -> Renewals:
        return Renewals(
            source,
            serving,
            self,
            is_ready=lambda: not any(self.unready()),
            metrics=self._around.metrics.process,
            on_crash=self._on_crash,
        )

    def _make_ingestor(self, around: Surroundings) -> Ingestor:
        return Ingestor(
            around.settings,
            self._producer,
            around.metrics,
            clock=wall_clock,
            version=around.version,
        )

    def _make_contact(self) -> FirstContact:
        settings = self._around.settings
        topic, timeout_s = settings.topics.workflows, settings.kafka.operation_timeout_s
        return FirstContact(lambda: self._producer.find(topic, timeout_s))


def _producer_config(settings: Settings) -> Config:
    timeout_ms = round(settings.webhook.ack_timeout_s * 1000)
    return plain_producer_config(settings, "producer", delivery_timeout_ms=timeout_ms)


async def serve(settings: Settings, catalogue: Catalogue, roles: Sequence[Role], source: SettingsSource) -> int:
    """Run until SIGTERM, SIGINT or a crash; return the exit code."""
    loop = asyncio.get_running_loop()
    is_over, crashes = asyncio.Event(), []

    def crashed() -> None:
        crashes.append(1)
        with suppress(RuntimeError):  # The loop may be gone already.
            loop.call_soon_threadsafe(is_over.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, is_over.set)
    _collect_seldom()
    process = Process(settings, catalogue, roles, on_crash=crashed, source=source)
    await process.start()
    await is_over.wait()
    await process.stop()
    return EXIT_CRASHED if crashes else 0


def _collect_seldom() -> None:
    """Let the collector of cycles look at new objects only, and seldom.

    Deciders make many small values and no cycles; with Python's defaults the collector took a fifth of their time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def run(settings: Settings, roles: Sequence[Role], source: SettingsSource) -> int:
    """Run these roles (none: all of them) in this process until it is told to stop; return the exit code.

    What `source` gives later is taken up as far as it is secrets and certificates. Raises SettingsInvalid before
    any work is begun.
    """
    catalogue = catalogue_of(settings)
    configure_logging(settings.logging.format, settings.logging.level)
    try:
        return uvloop.run(serve(settings, catalogue, roles, source))
    except SettingsInvalid:
        raise
    except FatalError as error:
        log.critical("process.crashed", exc_info=error)
        return EXIT_CRASHED
