"""What was said in one probe: calls and their answers as they came, webhooks, ids, and how it ended.

It holds personal data and bearer links while the probe runs, and never leaves this process: what is written of it is
made by `probe_report.py`, `probe_record.py` and `probe_learn.py`.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from processor.adapters.api_answers import UNREADABLE, parsed
from processor.adapters.http import HttpAnswer, HttpClient, HttpFailure, HttpRequest
from processor.core.catalogue import Workflow
from processor.core.messages import WebhookReceived
from processor.core.model import Instant


class End(StrEnum):
    """How a probe ended."""

    NOT_STARTED = "not started"
    UNKNOWN = "the outcome of the start is unknown"
    NO_WORKFLOW_ID = "started, and nothing told the workflow id"
    RUNNING = "still running when the wait was over"
    COMPLETED = "ended well"
    FAILED = "ended badly"


class Stage(StrEnum):
    """When a call was made: what an answer looks like may depend on it."""

    START = "start"
    RUNNING = "while it runs"
    ENDED = "after its end"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One call that is no authorization, and its answer; `status` is None where none came."""

    step: str
    stage: Stage
    method: str
    path: str = field(repr=False)
    accept: str
    sent: Any = field(repr=False)  # JSON, None for a read.
    status: int | None
    why: str  # Where no answer came.
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    at: Instant
    seconds: float

    @property
    def value(self) -> Any:  # noqa: ANN401  # any JSON
        """The answer's JSON, None where it holds none."""
        value = parsed(self.body)
        return None if value is UNREADABLE else value


@dataclass(frozen=True, slots=True)
class Heard:
    """A genuine webhook; `read` is what the settings' paths find in it, None where they find no workflow id."""

    at: Instant
    body: Any = field(repr=False)
    read: WebhookReceived | None = field(repr=False)


@dataclass(slots=True)
class Talk:
    """A probe so far."""

    workflow: Workflow
    request_id: str
    end: End = End.NOT_STARTED
    why: str = ""
    exchanges: list[Exchange] = field(default_factory=list, repr=False)
    heard: list[Heard] = field(default_factory=list, repr=False)  # Those of this workflow.
    refused: int = 0  # Webhooks that were not believed.
    foreign: int = 0  # Webhooks of other workflows.
    ids: dict[str, str] = field(default_factory=dict, repr=False)  # workflow, record, case, parameters -> id.
    words: dict[str, Instant] = field(default_factory=dict)  # Status word -> when it was first read.
    is_record_shown: bool | None = None
    is_result_available: bool | None = None

    def saw(self, word: str | None, at: Instant) -> None:
        """Note a status word."""
        if word is not None:
            self.words.setdefault(word, at)

    def is_over(self) -> bool:
        """Whether a word that ends the workflow was read last."""
        last = next(reversed(self.words), "").upper()
        return last in self.workflow.success | self.workflow.failure


class Recorder:
    """An `HttpClient` that keeps every exchange; calls are made one at a time."""

    def __init__(self, client: HttpClient, talk: Talk, base_url: str, clock: Callable[[], Instant]) -> None:
        self._client = client
        self._talk = talk
        self._base_url = base_url
        self._clock = clock
        self.step = ""
        self.stage = Stage.START

    async def send(self, request: HttpRequest) -> HttpAnswer | HttpFailure:
        """Send once, and keep what was said."""
        at, began_s = self._clock(), time.monotonic()
        answer = await self._client.send(request)
        self._talk.exchanges.append(
            Exchange(
                step=self.step,
                stage=self.stage,
                method=request.method,
                path=request.url.removeprefix(self._base_url),
                accept=dict(request.headers).get("accept", ""),
                sent=None if request.body is None else parsed(request.body),
                status=answer.status,
                why=answer.reason if isinstance(answer, HttpFailure) else "",
                headers=answer.headers if isinstance(answer, HttpAnswer) else {},
                body=answer.body if isinstance(answer, HttpAnswer) else b"",
                at=at,
                seconds=time.monotonic() - began_s,
            )
        )
        return answer

    async def close(self) -> None:
        """Close the client."""
        await self._client.close()
