"""A server on an event loop of its own, beside tests that have none."""

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager


@contextmanager
def in_thread(listen: Callable[[], Awaitable[asyncio.Server]], name: str) -> Iterator[None]:
    """Serve what `listen` starts, in a thread, while the block runs."""
    started: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()

    async def serve() -> None:
        loop, is_over = asyncio.get_running_loop(), asyncio.Event()
        server = await listen()
        started.put(lambda: loop.call_soon_threadsafe(is_over.set))
        await is_over.wait()
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name=name, daemon=True)
    thread.start()
    stop = started.get(timeout=10)
    try:
        yield
    finally:
        stop()
        thread.join(10)
