"""The dispatchers of one process by provider profile; a call of a profile that is not configured any more waits.

It neither fails nor becomes unknown: whoever brings the profile back finds it waiting.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import NoReturn

from processor.adapters.calling import ApiCall
from processor.adapters.dispatcher import Asked, Dispatcher, Owner
from processor.adapters.pauses import Standing
from processor.core.model import Instant


class Profiles:
    """Where calls of each profile go; everything but what is said to be callable from any thread on the event loop."""

    def __init__(self, dispatchers: Mapping[str, Dispatcher], elsewhere: Dispatcher) -> None:
        """Take the dispatchers of what is configured; `elsewhere` is never opened, and keeps what names another."""
        self.clock: Callable[[], Instant] = elsewhere.clock
        self.unconfigured: set[str] = set()  # Profiles that calls named.
        self.is_closed = False
        self._by_name = dispatchers
        self._elsewhere = elsewhere
        self._all = (*dispatchers.values(), elsewhere)

    def of(self, provider: str) -> Dispatcher:
        """Return where calls of a profile go."""
        dispatcher = self._by_name.get(provider)
        if dispatcher is None:
            self.unconfigured.add(provider)
            return self._elsewhere
        return dispatcher

    def add(self, owner: Owner) -> None:
        """Let an owner hear of every second that passes."""
        for dispatcher in self._all:
            dispatcher.add(owner)

    def pump(self) -> None:
        """Start what may start now."""
        for dispatcher in self._all:
            dispatcher.pump()

    def cut(self, chosen: Callable[[Asked], bool]) -> None:
        """Cut open reads, answered without a fact."""
        for dispatcher in self._all:
            dispatcher.cut(chosen)

    def call_soon(self, function: Callable[..., None], *arguments: object) -> None:
        """Run something on the event loop; from any thread."""
        self._elsewhere.call_soon(function, *arguments)

    def open(self) -> None:
        """Let calls start: which workflows are paused has been read; from any thread."""
        for dispatcher in self._by_name.values():
            dispatcher.open()

    def heard(self, workflow: str, standing: Standing | None) -> None:
        """Take in what the control topic says of a workflow; from any thread.

        Every profile hears it: older requests of the workflow may be bound to another than the catalogue names now,
        and a pause says by its fingerprint whom it holds.
        """
        for dispatcher in self._by_name.values():
            dispatcher.heard(workflow, standing)

    async def close(self, budget_s: float) -> int:
        """Close all at once; as in `Dispatcher.close`."""
        self.is_closed = True
        return sum(await asyncio.gather(*(dispatcher.close(budget_s) for dispatcher in self._all)))


class NoProvider:
    """The `Provider` of nothing: it is away for ever."""

    has_token = False
    is_away = True

    async def perform(self, call: ApiCall) -> NoReturn:
        """Never come here: nothing starts while the provider is away."""
        raise AssertionError(f"there is no provider for a {type(call).__name__}")

    async def ready(self) -> None:
        """Wait for ever."""
        await asyncio.Event().wait()
