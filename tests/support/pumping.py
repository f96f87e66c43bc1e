"""Bytes between two connections, as whoever stands between client and server passes them on."""

import asyncio
from contextlib import suppress
from typing import TypeAlias

PIECE_BYTES = 65_536

Connection: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def passed_both_ways(one: Connection, other: Connection) -> None:
    """Pass on what either side sends until one of them leaves; then both are closed."""
    ways = [asyncio.create_task(_pump(one[0], other[1])), asyncio.create_task(_pump(other[0], one[1]))]
    with suppress(asyncio.CancelledError):  # The loop ends.
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for way in ways:
        way.cancel()
    for _, writer in (one, other):
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
