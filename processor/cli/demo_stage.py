"""Everything that a demo needs, in one process and on one event loop: started in order, stopped in the other."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from processor.adapters import registry
from processor.adapters.embedded_registry import EmbeddedRegistry
from processor.adapters.registry import subject_of
from processor.adapters.topic_specs import TopicSpec, subjects_of
from processor.cli.demo_broker import Broker, Cluster, EmbeddedBroker
from processor.cli.demo_settings import Place, demo_catalogue, demo_settings, simulator_settings
from processor.cli.output import complain
from processor.cli.starting import specs_for
from processor.errors import FatalError, ProcessorError
from processor.roles.process import Process
from processor.settings import Settings
from processor.simulator.server import Simulator
from processor.simulator.settings import SimulatorSettings


class Stage:
    """A running demo; `is_kept` says whether topics and subjects on somebody else's servers stay when it ends."""

    def __init__(self, settings: Settings, broker: Broker, simulator: Simulator, *, has_own_registry: bool) -> None:
        catalogue = demo_catalogue(settings)
        self.settings = settings
        self.specs: tuple[TopicSpec, ...] = specs_for(settings, catalogue)
        self.simulator = simulator
        self.is_broken = threading.Event()  # A decider's thread ended by itself.
        self.is_kept = False
        self._broker = broker
        self._is_running = False
        self._is_registered = False
        self.has_own_broker = isinstance(broker, EmbeddedBroker)
        self.has_own_registry = has_own_registry
        self._process = Process(settings, catalogue, (), on_crash=self.is_broken.set)

    @property
    def is_embedded(self) -> bool:
        """Whether nothing outlives this process."""
        return self.has_own_broker and self.has_own_registry

    @property
    def webhook_port(self) -> int:
        """Where the provider's webhooks come in."""
        assert self._process.ingestor is not None, "a demo runs all roles"
        return self._process.ingestor.port

    def prepare(self) -> None:
        """Create topics and register schemas; blocks. Raises a ProcessorError that names what is refused."""
        self._broker.create(self.specs)
        findings = registry.register(registry.registry_for(self.settings.schema_registry), subjects_of(self.specs))
        self._is_registered = True
        refused = [f"{finding.subject}: {finding.remedy}" for finding in findings if not finding.is_good]
        if refused:
            raise FatalError("\n".join(refused))

    async def start(self) -> None:
        """Start the roles, and send the provider's webhooks to them."""
        self._is_running = True
        await self._process.start()
        self.simulator.send_webhooks_to(str(self.webhook_port))

    def unready(self) -> list[str]:
        """Name what keeps the roles from working; a group gives a first member its partitions after some seconds."""
        assert self._process.workers is not None, "a demo runs all roles"
        deciders = self._process.workers.deciders
        waiting = [f"{name}: no partitions yet" for name, decider in deciders.items() if not decider.member.partitions]
        return [*self._process.unready(), *waiting]

    def degraded(self) -> list[str]:
        """Name what outside of the roles holds some of their work up."""
        return [*self._process.degraded()]

    async def stop(self) -> None:
        """Let the roles commit and leave; stopping twice is harmless."""
        if self._is_running:
            self._is_running = False
            await self._process.stop()

    def remove(self) -> None:
        """Delete what would outlive this process, unless it is to be kept; blocks. What stays is told."""
        if self.is_kept or self.is_embedded:
            return
        try:
            self._broker.remove(self.specs)
            if self._is_registered and not self.has_own_registry:
                client = registry.registry_for(self.settings.schema_registry)
                for topic in subjects_of(self.specs):
                    client.delete_subject(subject_of(topic))
        except ProcessorError as error:
            complain(str(error))
        except Exception as error:  # noqa: BLE001  # whatever the registry's client raises
            complain(f"the demo's subjects could not be deleted ({type(error).__name__}); delete them by hand")


@asynccontextmanager
async def staged(place: Place, environ: Mapping[str, str]) -> AsyncIterator[Stage]:
    """Build the stage and start it; afterwards stop it and remove what nobody wants to keep.

    Raises SettingsInvalid, BrokerUnavailable, RegistryUnavailable, FatalError.
    """
    async with AsyncExitStack() as closing:
        servers: dict[str, str] = {}
        if place.schema_registry is None:
            own_registry = EmbeddedRegistry()
            closing.push_async_callback(own_registry.stop)
            servers["registry"] = await own_registry.start()
        else:
            servers["registry"] = place.schema_registry
        simulator = Simulator(simulator_settings(place.seed))
        servers["provider"] = await simulator.start()
        closing.push_async_callback(simulator.stop)
        broker, settings = await asyncio.to_thread(_connected, place, environ, servers, simulator.settings)
        stage = Stage(settings, broker, simulator, has_own_registry=place.schema_registry is None)
        closing.push_async_callback(asyncio.to_thread, stage.remove)
        await asyncio.to_thread(stage.prepare)
        closing.push_async_callback(stage.stop)
        await stage.start()
        yield stage


def _connected(
    place: Place, environ: Mapping[str, str], servers: dict[str, str], provider: SimulatorSettings
) -> tuple[Broker, Settings]:
    """Return the broker, and settings with as many replicas as it allows; blocks."""
    broker: Broker
    if place.bootstrap_servers is None:
        broker = EmbeddedBroker()
        servers["broker"] = broker.bootstrap_servers
    else:
        servers["broker"] = place.bootstrap_servers
        broker = Cluster(demo_settings(place, environ, servers, provider, replicas=1))
    return broker, demo_settings(place, environ, servers, provider, replicas=broker.replicas())
