"""The peer to beat: what a careful team writes by hand with asyncio, at least once, without state or recovery.

One consumer, a bounded number of tasks, three POSTs an event, one result produced; offsets are committed when all
before them are done. `python -m bench.peer_asyncio CLIENT SETTINGS` with CLIENT aiohttp or httpx.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import httpx
import uvloop
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from tests.support.events import decoded

Post = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
VERSION_2 = "application/json;version=2"


class Peer:
    """The hand-written consumer."""

    def __init__(self, settings: dict[str, Any], post: Post) -> None:
        self._settings = settings
        self._post = post
        servers = settings["bootstrap_servers"]
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": settings["group"],
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
            }
        )
        self._producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True, "linger.ms": 5})
        self._slots = asyncio.Semaphore(settings["in_flight"])
        self._open: dict[int, set[int]] = {}
        self._read_to: dict[int, int] = {}

    async def run(self) -> None:
        """Consume until killed."""
        self._consumer.subscribe([self._settings["requests"]])
        committed_at, tasks = 0.0, set()
        loop = asyncio.get_running_loop()
        while True:
            for message in await asyncio.to_thread(self._consumer.consume, 100, 0.02):
                if message.error() is not None:
                    continue
                await self._slots.acquire()
                task = loop.create_task(self._serve(message))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            self._producer.poll(0)
            if loop.time() - committed_at > 1:
                committed_at = loop.time()
                self._commit()

    async def _serve(self, message: Message) -> None:
        partition, offset = message.partition() or 0, message.offset() or 0
        self._open.setdefault(partition, set()).add(offset)
        self._read_to[partition] = max(self._read_to.get(partition, 0), offset + 1)
        try:
            request = decoded("OnboardingRequested", message.value() or b"")
            request_id = request["requestId"]
            columns = {"fullName": request["subject"]["lastName"], "ref": request_id}
            record = await self._post("/tables/people/records", columns)
            definition = self._settings["definition"]
            values = {"workflowDefinitionId": definition, "parameters": {"ref": request_id}}
            parameters = await self._post("/parameters", values)
            body = {"workflowDefinitionId": definition, "recordId": record["id"], "parametersId": parameters["id"]}
            started = await self._post("/workflows/run", body)
            result = json.dumps({"requestId": request_id, "workflowId": started["id"]}).encode()
            self._producer.produce(self._settings["results"], result, request_id.encode())
        finally:
            self._open[partition].discard(offset)
            self._slots.release()

    def _commit(self) -> None:
        topic = self._settings["requests"]
        offsets = [
            TopicPartition(topic, partition, min(self._open[partition], default=read_to))
            for partition, read_to in self._read_to.items()
        ]
        if offsets:
            self._consumer.commit(offsets=offsets, asynchronous=True)


async def _main(client: str, settings: dict[str, Any], token: str) -> None:
    base_url, in_flight = settings["base_url"], settings["in_flight"]
    async with AsyncExitStack() as stack:
        headers = {"Authorization": f"Bearer {token}", "Accept": VERSION_2}
        if client == "aiohttp":
            connector = aiohttp.TCPConnector(limit=in_flight)
            session = aiohttp.ClientSession(base_url, headers=headers, connector=connector)
            await stack.enter_async_context(session)

            async def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
                async with session.post(path, json=body) as answer:
                    answer.raise_for_status()
                    read: dict[str, Any] = await answer.json()
                    return read

        else:
            limits = httpx.Limits(max_connections=in_flight)
            other = httpx.AsyncClient(base_url=base_url, headers=headers, limits=limits, timeout=60)
            await stack.enter_async_context(other)

            async def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
                answer = await other.post(path, json=body)
                answer.raise_for_status()
                read: dict[str, Any] = answer.json()
                return read

        await Peer(settings, post).run()


if __name__ == "__main__":
    given = json.loads(sys.argv[2])
    access = httpx.post(f"{given['base_url']}/auth/authorize", json=given["credentials"]).json()["accessToken"]
    uvloop.run(_main(sys.argv[1], given, access))
