"""A small schema registry over HTTP for the demo and for tests: the stable routes, in memory, rules enforced.

It is never meant for production: nothing is stored, nothing is protected, and it binds to the loopback address.
"""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from processor.adapters.embedded_subjects import (
    INVALID_SCHEMA,
    NO_SUBJECT_LEVEL,
    Refused,
    Subjects,
    Version,
    level_named,
)

MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
BODY_BYTES_MAX = 1_048_576

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class EmbeddedRegistry:
    """One registry; start it, use the address that it returns, stop it. All on one event loop."""

    def __init__(self) -> None:
        self.subjects = Subjects()
        self._runner: web.AppRunner | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Serve, and return the address; port 0 takes a free one."""
        app = web.Application(middlewares=[_answer_refusals], client_max_size=BODY_BYTES_MAX)
        app.add_routes(self._routes())
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        return f"http://{host}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Close all connections; stopping twice is harmless."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _routes(self) -> list[web.RouteDef]:
        subject, schema = "/subjects/{subject}", "/schemas/ids/{id}"
        check = "/compatibility/subjects/{subject}/versions"
        return [
            web.get("/", _constant({})),
            web.get("/schemas/types", _constant(["AVRO"])),
            web.get("/mode", _constant({"mode": "READWRITE"})),
            web.get("/mode/{subject}", _constant({"mode": "READWRITE"})),
            web.get("/subjects", self._list),
            web.post(subject, self._lookup),
            web.delete(subject, self._delete),
            web.get(f"{subject}/versions", self._numbers),
            web.post(f"{subject}/versions", self._register),
            web.get(f"{subject}/versions/{{version}}", self._version),
            web.get(f"{subject}/versions/{{version}}/schema", self._version_schema),
            web.get(schema, self._schema),
            web.get(f"{schema}/schema", self._schema_text),
            web.get(f"{schema}/subjects", self._schema_subjects),
            web.get(f"{schema}/versions", self._schema_versions),
            web.get("/schemas/guids/{guid}", self._schema_by_guid),
            web.get("/config", self._level),
            web.put("/config", self._set_level),
            web.get("/config/{subject}", self._subject_level),
            web.put("/config/{subject}", self._set_subject_level),
            web.delete("/config/{subject}", self._unset_subject_level),
            web.post(check, self._check),
            web.post(f"{check}/{{version}}", self._check),
        ]

    async def _list(self, _request: web.Request) -> web.Response:
        return _json(self.subjects.names())

    async def _numbers(self, request: web.Request) -> web.Response:
        return _json(self.subjects.numbers(_subject(request)))

    async def _register(self, request: web.Request) -> web.Response:
        version = self.subjects.register(_subject(request), await _schema_in(request))
        return _json(
            {"id": version.schema_id, "version": version.number, "guid": self.subjects.guid(version.schema_id)}
        )

    async def _lookup(self, request: web.Request) -> web.Response:
        subject = _subject(request)
        return _json(self._described(subject, self.subjects.lookup(subject, await _schema_in(request))))

    async def _delete(self, request: web.Request) -> web.Response:
        is_permanent = request.query.get("permanent", "").lower() == "true"
        return _json(self.subjects.delete(_subject(request), is_permanent=is_permanent))

    async def _version(self, request: web.Request) -> web.Response:
        subject = _subject(request)
        return _json(self._described(subject, self.subjects.version(subject, request.match_info["version"])))

    async def _version_schema(self, request: web.Request) -> web.Response:
        version = self.subjects.version(_subject(request), request.match_info["version"])
        return _json(json.loads(self.subjects.text(version.schema_id)))

    async def _schema(self, request: web.Request) -> web.Response:
        schema_id = _schema_id(request)
        return _json({"schema": self.subjects.text(schema_id), "guid": self.subjects.guid(schema_id)})

    async def _schema_by_guid(self, request: web.Request) -> web.Response:
        guid = request.match_info["guid"]
        return _json({"schema": self.subjects.text(self.subjects.id_of_guid(guid)), "guid": guid})

    async def _schema_text(self, request: web.Request) -> web.Response:
        return _json(json.loads(self.subjects.text(_schema_id(request))))

    async def _schema_subjects(self, request: web.Request) -> web.Response:
        return _json(sorted({subject for subject, _ in self.subjects.uses(_schema_id(request))}))

    async def _schema_versions(self, request: web.Request) -> web.Response:
        uses = self.subjects.uses(_schema_id(request))
        return _json([{"subject": subject, "version": number} for subject, number in uses])

    async def _level(self, _request: web.Request) -> web.Response:
        return _json({"compatibilityLevel": self.subjects.level})

    async def _set_level(self, request: web.Request) -> web.Response:
        self.subjects.level = level_named((await _body(request)).get("compatibility"))
        return _json({"compatibility": self.subjects.level})

    async def _subject_level(self, request: web.Request) -> web.Response:
        subject = _subject(request)
        is_default_wanted = request.query.get("defaultToGlobal", "").lower() == "true"
        if subject not in self.subjects.levels and not is_default_wanted:
            raise Refused(NO_SUBJECT_LEVEL, f"Subject '{subject}' does not have subject-level compatibility configured")
        return _json({"compatibilityLevel": self.subjects.level_of(subject)})

    async def _set_subject_level(self, request: web.Request) -> web.Response:
        level = level_named((await _body(request)).get("compatibility"))
        self.subjects.levels[_subject(request)] = level
        return _json({"compatibility": level})

    async def _unset_subject_level(self, request: web.Request) -> web.Response:
        level = self.subjects.levels.pop(_subject(request), self.subjects.level)
        return _json({"compatibilityLevel": level})

    async def _check(self, request: web.Request) -> web.Response:
        number = request.match_info.get("version")
        unlike = self.subjects.unlike(_subject(request), await _schema_in(request), number)
        is_verbose = request.query.get("verbose", "").lower() == "true"
        return _json({"is_compatible": not unlike} | ({"messages": list(unlike)} if is_verbose else {}))

    def _described(self, subject: str, version: Version) -> dict[str, Any]:
        schema_id = version.schema_id
        return {
            "subject": subject,
            "version": version.number,
            "id": schema_id,
            "guid": self.subjects.guid(schema_id),
            "schemaType": "AVRO",
            "schema": self.subjects.text(schema_id),
        }


@contextmanager
def registry_in_thread() -> Iterator[str]:
    """Serve a registry on a thread of its own while the block runs, for callers that block; gives its address."""
    loop = asyncio.new_event_loop()
    registry = EmbeddedRegistry()
    thread = threading.Thread(target=loop.run_forever, name="embedded-registry", daemon=True)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(registry.start(), loop).result()
    finally:
        asyncio.run_coroutine_threadsafe(registry.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@web.middleware
async def _answer_refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn our refusals, and the framework's own, into the API's error body."""
    try:
        return await handler(request)
    except Refused as refused:
        return _json({"error_code": refused.code, "message": str(refused)}, refused.status)
    except web.HTTPException as error:
        return _json({"error_code": error.status, "message": error.reason}, error.status)


def _constant(answer: Any) -> Handler:  # noqa: ANN401  # JSON
    async def handle(_request: web.Request) -> web.StreamResponse:
        return _json(answer)

    return handle


def _json(answer: Any, status: int = 200) -> web.Response:  # noqa: ANN401  # JSON
    return web.Response(text=json.dumps(answer), status=status, content_type=MEDIA_TYPE)


def _subject(request: web.Request) -> str:
    return request.match_info["subject"]


def _schema_id(request: web.Request) -> int:
    text = request.match_info["id"]
    if not text.isdecimal():
        raise web.HTTPNotFound
    return int(text)


async def _body(request: web.Request) -> dict[str, Any]:
    """Return the request's JSON object."""
    try:
        body = json.loads(await request.text())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest
    return body


async def _schema_in(request: web.Request) -> str:
    """Return the schema text of a request's body; only Avro without references is served."""
    body = await _body(request)
    text = body.get("schema")
    if body.get("schemaType", "AVRO") != "AVRO" or body.get("references") or not isinstance(text, str):
        raise Refused(INVALID_SCHEMA, "Only self-contained Avro schemas are served here")
    return text
