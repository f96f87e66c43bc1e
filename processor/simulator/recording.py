"""A recorded conversation: which call gets which answer and webhooks, as JSON lines.

Each line is one exchange:

    {"request": {"method": "POST", "path": "/workflows/run", "accept": "application/json;version=2"},
     "response": {"status": 200, "headers": {}, "body": {"id": "{new.workflow}", "recordId": "{body.recordId}"}},
     "webhooks": [{"afterMs": 50, "body": {"workflowId": "{new.workflow}", "status": "COMPLETED"}}]}
    {"request": {"method": "GET", "path": "/workflows/{id}"},
     "response": {"status": 200, "body": {"id": "{path.id}", "recordId": "{body.recordId}", "status": "COMPLETED"}}}

(Each on one line.) `accept`, `headers`, `body` and `webhooks` may be left out; an `accept` matches by the version that
it asks for. Webhooks come in their order, each so long after the answer. A response that is no JSON has `text` in place
of `body`; a request may have a `body` for readers, which is not looked at. Recorded ids may stay as they are. Where
they must follow the caller, the texts of bodies may hold

- `{path.NAME}`: what stood in the placeholder NAME of the path,
- `{body.NAME}`: a member of the request's body, null where it has none,
- `{new.NAME}`: a UUID made for this exchange, the same in its response and its webhooks.

Whoever asks with a made id in the path finds what its exchange knew: above, the status tells the record of the run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from processor.simulator.model import JSON, Generation, Refused
from processor.simulator.reading import generation_in

# What belongs to the recorded connection and not to the answer.
HOP_HEADERS = frozenset({"connection", "content-encoding", "content-length", "date", "server", "transfer-encoding"})
MEMBERS = {
    "request": frozenset({"method", "path", "accept", "body"}),
    "response": frozenset({"status", "headers", "body", "text"}),
}
PARTS = frozenset({*MEMBERS, "webhooks"})
WEBHOOK_MEMBERS = frozenset({"afterMs", "body"})
STATUS_MIN, STATUS_MAX = 200, 599


@dataclass(frozen=True, slots=True)
class RecordedWebhook:
    """A webhook that follows an answer."""

    after_ms: int
    body: Any


@dataclass(frozen=True, slots=True)
class Exchange:
    """One call and what came of it; its webhooks in order."""

    status: int
    media_type: str
    headers: tuple[tuple[str, str], ...]
    body: Any  # JSON; None where `text` is given.
    text: str | None
    webhooks: tuple[RecordedWebhook, ...]


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which calls an exchange answers; without a generation, those of any."""

    method: str
    segments: tuple[str, ...]
    generation: Generation | None

    @property
    def name(self) -> str:
        """The method and the path with its placeholders."""
        return f"{self.method} /{'/'.join(self.segments)}"

    def matched(self, method: str, segments: list[str], generation: Generation | None) -> dict[str, str] | None:
        """Return what stands in the placeholders of a call that fits, None for another one."""
        if (method, len(segments)) != (self.method, len(self.segments)):
            return None
        if self.generation is not None and self.generation is not (generation or Generation.G1):
            return None
        found = {}
        for mine, theirs in zip(self.segments, segments, strict=True):
            if mine.startswith("{") and mine.endswith("}"):
                found[mine[1:-1]] = theirs
            elif mine != theirs:
                return None
        return found


Recording = Mapping[Pattern, list[Exchange]]


def recording_in(path: Path) -> Recording:
    """Read a recording, the exchanges of each pattern in order, the plainest patterns first.

    Raises OSError when the file cannot be read, ValueError that names the line that is wrong.
    """
    exchanges: dict[Pattern, list[Exchange]] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            pattern, exchange = _exchange(orjson.loads(line))
        except (ValueError, Refused) as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        exchanges.setdefault(pattern, []).append(exchange)
    if not exchanges:
        raise ValueError(f"{path}: it holds no exchange")
    plainest = sorted(exchanges, key=lambda pattern: sum(segment.startswith("{") for segment in pattern.segments))
    return {pattern: exchanges[pattern] for pattern in plainest}


def _exchange(given: object) -> tuple[Pattern, Exchange]:
    if not isinstance(given, dict) or not {"request", "response"} <= set(given) <= PARTS:
        raise ValueError("an exchange has `request`, `response` and perhaps `webhooks`")
    request, response = (_members(name, given[name], known) for name, known in MEMBERS.items())
    return _pattern(request), _answer(response, _webhooks(given.get("webhooks", [])))


def _members(name: str, part: object, known: frozenset[str]) -> Mapping[str, Any]:
    if not isinstance(part, dict) or not known.issuperset(part):
        raise ValueError(f"`{name}` must be an object of {', '.join(sorted(known))}")
    return part


def _pattern(request: Mapping[str, Any]) -> Pattern:
    method, path = request.get("method"), request.get("path")
    if not isinstance(method, str) or not isinstance(path, str) or not path.startswith("/"):
        raise ValueError("`request` needs a `method` and a `path` that begins with /")
    accept = request.get("accept")
    if accept is not None and not isinstance(accept, str):
        raise ValueError("`request.accept` must be a text")
    generation = None if accept is None else generation_in(accept) or Generation.G1
    return Pattern(method.upper(), tuple(path.partition("?")[0][1:].split("/")), generation)


def _answer(response: Mapping[str, Any], webhooks: tuple[RecordedWebhook, ...]) -> Exchange:
    status, headers, text = response.get("status"), response.get("headers", {}), response.get("text")
    if not isinstance(status, int) or not STATUS_MIN <= status <= STATUS_MAX:
        raise ValueError(f"`response.status` must be a number, {STATUS_MIN} to {STATUS_MAX}")
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise ValueError("`response.headers` must be an object of texts")
    if text is not None and not isinstance(text, str):
        raise ValueError("`response.text` must be a text")
    lower = {name.lower(): value for name, value in headers.items()}
    kept = tuple((name, value) for name, value in lower.items() if name not in HOP_HEADERS | {"content-type"})
    return Exchange(status, lower.get("content-type", JSON), kept, response.get("body"), text, webhooks)


def _webhooks(given: object) -> tuple[RecordedWebhook, ...]:
    """Read the webhooks; the soonest first, those of one instant as they are written."""
    if not isinstance(given, list):
        raise ValueError("`webhooks` must be a list")  # noqa: TRY004  # a value of JSON, not a type
    webhooks = [_webhook(_members("webhooks", each, WEBHOOK_MEMBERS)) for each in given]
    return tuple(sorted(webhooks, key=lambda webhook: webhook.after_ms))


def _webhook(given: Mapping[str, Any]) -> RecordedWebhook:
    after_ms = given.get("afterMs", 0)
    if isinstance(after_ms, bool) or not isinstance(after_ms, int) or after_ms < 0 or "body" not in given:
        raise ValueError("one of `webhooks` needs a `body`, and `afterMs` is a whole number of milliseconds")
    return RecordedWebhook(after_ms, given["body"])
