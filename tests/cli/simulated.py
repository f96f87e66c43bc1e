"""The provider on a thread of its own, for commands that run in this one."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Thread

from processor.simulator.server import Simulator
from processor.simulator.settings import SimulatorSettings, settings_from


@contextmanager
def simulated(**given: object) -> Iterator[tuple[Simulator, str]]:
    """Give a running simulator with these settings and faults, and its address."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    try:
        simulator = Simulator(settings_from(given))
        url = asyncio.run_coroutine_threadsafe(simulator.start(), loop).result(10)
        try:
            yield simulator, url
        finally:
            asyncio.run_coroutine_threadsafe(simulator.stop(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def known_to(url: str) -> Mapping[str, str]:
    """Return the variables of a provider profile that the simulator at this address knows."""
    known = SimulatorSettings()
    named = {"BASE_URL": url, "KEY": known.key, "SECRET": known.secret}
    return {f"PROCESSOR_API__{name}": text for name, text in named.items()}
