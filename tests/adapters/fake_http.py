"""The HTTP port and the credential by hand: answers as told, and every request kept."""

import asyncio
from collections.abc import Mapping

import orjson

from processor.adapters.credential import Credential, Credentials
from processor.adapters.http import HttpAnswer, HttpFailure, HttpRequest
from processor.settings import CredentialKind

Answer = HttpAnswer | HttpFailure
Header = tuple[str, str]


class FakeHttp:
    """Gives its answers in turn, the last one for ever; `gate` holds every answer back until it is set."""

    def __init__(self, *answers: Answer, gate: asyncio.Event | None = None) -> None:
        self.answers = list(answers)
        self.requests: list[HttpRequest] = []
        self._gate = gate

    async def send(self, request: HttpRequest) -> Answer:
        self.requests.append(request)
        if self._gate is not None:
            await self._gate.wait()
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def close(self) -> None:
        pass

    @property
    def paths(self) -> list[str]:
        """The path of each request so far."""
        return ["/" + request.url.split("/", 3)[3] for request in self.requests]


class FakeCredential:
    """Has these headers in turn: each renewal brings the next, None means that there is none now."""

    def __init__(self, *headers: Header | None) -> None:
        self._headers = list(headers)
        self._is_there = asyncio.Event()
        self.renewals: list[Header] = []

    @property
    def header(self) -> Header | None:
        return self._headers[0]

    def is_ready(self) -> bool:
        return self.header is not None

    def why_not(self) -> str | None:
        return None if self.is_ready() else "told so"

    async def ready(self) -> None:
        while not self.is_ready():
            await self._is_there.wait()

    async def renew(self, stale: Header) -> Header | None:
        self.renewals.append(stale)
        if len(self._headers) > 1:
            del self._headers[0]
            self._is_there.set()
        return self.header

    def start(self) -> None:
        pass

    async def close(self) -> None:
        pass


def one_for_all(credential: Credential) -> Credentials:
    """Let one credential serve every kind of calls."""
    return Credentials(dict.fromkeys((CredentialKind.CREATE, CredentialKind.START, CredentialKind.READ), credential))


def json_answer(status: int, value: object, **headers: str) -> HttpAnswer:
    """Make an answer with a JSON body; `retry_after` becomes `retry-after`."""
    named: Mapping[str, str] = {name.replace("_", "-"): text for name, text in headers.items()}
    return HttpAnswer(status, named, orjson.dumps(value))
