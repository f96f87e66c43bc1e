"""Plays a recorded conversation back: each call gets the next recorded answer, the last one again and again.

The answers to one path come in order, whoever asks in between for another. What was not recorded answers 404 with the
code NOT_RECORDED, and is counted as such. Credentials, webhook keys, outages and the limit of calls are
the simulator's own, for a recording holds no secrets; `recording` says what one looks like.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from processor.simulator import draws, routing
from processor.simulator.api import Api, Request
from processor.simulator.model import Answer, Generation, Refused
from processor.simulator.reading import generation_in
from processor.simulator.recording import Exchange, Pattern, Recording
from processor.simulator.routing import Kind
from processor.simulator.scene import Scene

PLACEHOLDER = re.compile(r"\{(path|body|new)\.([^{}]+)\}")
NOT_RECORDED = "not-recorded"

Known = dict[tuple[str, str], Any]  # What placeholders stand for: (path, body or new; name) -> value.


class Replay:
    """Answers in place of the API."""

    def __init__(self, recording: Recording, api: Api, scene: Scene, send: Callable[[bytes], None]) -> None:
        self._recording = recording
        self._api = api
        self._scene = scene
        self._send = send
        self._router = routing.Router()
        self._turns: dict[tuple[str, str], int] = {}  # Pattern and path -> how often it was answered.
        self._known_of: dict[str, Known] = {}  # Made id -> what its exchange knew.

    def answer(self, request: Request) -> tuple[str, Answer, int]:
        """Answer a request: the pattern's name, the answer, and how many milliseconds it takes."""
        found = self._router.find(request.method, request.path)
        if found is not None and found[0].kind in (Kind.CREDENTIAL, Kind.KEY):
            return self._api.answer(request)
        wait_ms = draws.within(self._scene.source, self._scene.faults.latency_ms)
        name = NOT_RECORDED if found is None else f"{NOT_RECORDED} {found[0].name}"
        try:
            self._api.refuse_all(request.at)
            self._api.admit(request)
            pattern, placeholders = self._matched(request)
            name = pattern.name
            return name, self._played(pattern, placeholders, request), wait_ms
        except Refused as refused:
            return name, self._api.refusal(refused), wait_ms

    def _matched(self, request: Request) -> tuple[Pattern, dict[str, str]]:
        segments, generation = request.path[1:].split("/"), generation_in(request.accept)
        for pattern in self._recording:
            placeholders = pattern.matched(request.method, segments, generation)
            if placeholders is not None:
                return pattern, placeholders
        version = generation or Generation.G1
        raise Refused(404, "NOT_RECORDED", f"the recording has no {request.method} of this path in version {version}")

    def _played(self, pattern: Pattern, placeholders: Mapping[str, str], request: Request) -> Answer:
        exchanges = self._recording[pattern]
        turn = self._turns.get((pattern.name, request.path), 0)
        self._turns[pattern.name, request.path] = turn + 1
        exchange = exchanges[min(turn, len(exchanges) - 1)]
        known = self._learnt(placeholders, request.body)
        body = self._filled(exchange.body, known)
        for webhook in exchange.webhooks:
            self._send_at(request.at + webhook.after_ms, orjson.dumps(self._filled(webhook.body, known)))
        self._remember(known)
        _bound(self._turns, self._scene.settings.runs_max)
        return Answer(exchange.status, _bytes(exchange, body), exchange.media_type, exchange.headers)

    def _send_at(self, due_at: int, webhook: bytes) -> None:
        self._scene.schedule.at(due_at, lambda _now: self._send(webhook))

    def _learnt(self, placeholders: Mapping[str, str], body: bytes) -> Known:
        """Gather what this exchange knows: what earlier ones knew of the ids in its path, and what the call says."""
        known: Known = {}
        for value in placeholders.values():
            known |= self._known_of.get(value, {})
        known |= {("path", name): value for name, value in placeholders.items()}
        try:
            given = orjson.loads(body) if body else {}
        except orjson.JSONDecodeError:
            given = {}
        return known | {("body", name): value for name, value in (given.items() if isinstance(given, dict) else ())}

    def _remember(self, known: Known) -> None:
        """Let whoever asks with an id that was made here find what this exchange knew."""
        for (source, _), value in known.items():
            if source == "new":
                self._known_of[value] = known
        _bound(self._known_of, self._scene.settings.runs_max)

    def _filled(self, value: Any, known: Known) -> Any:  # noqa: ANN401  # any JSON
        """Put what is known in place of the placeholders, making the ids that are new."""
        if isinstance(value, dict):
            return {name: self._filled(inner, known) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._filled(inner, known) for inner in value]
        if not isinstance(value, str):
            return value
        whole = PLACEHOLDER.fullmatch(value)
        if whole is not None:
            return self._value(whole, known)
        return PLACEHOLDER.sub(lambda found: str(self._value(found, known)), value)

    def _value(self, found: re.Match[str], known: Known) -> Any:  # noqa: ANN401  # as above
        key = (found[1], found[2])
        if found[1] == "new" and key not in known:
            known[key] = draws.new_id(self._scene.source)
        return known.get(key)


def _bytes(exchange: Exchange, body: object) -> bytes:
    if exchange.text is not None:
        return exchange.text.encode()
    return b"" if body is None else orjson.dumps(body)


def _bound(held: dict[Any, Any], size_max: int) -> None:
    """Forget the oldest when there is too much."""
    while len(held) > size_max:
        del held[next(iter(held))]
