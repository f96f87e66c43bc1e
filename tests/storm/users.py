"""The end users of a storm: they hold what the links topic brings and what is mailed, and come soon, late or never.

A link that was made and never handed out is nobody's, so the simulated provider lets none of them come by itself.
"""

import heapq
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx

from tests.storm.kinds import KINDS
from tests.support.events import decoded
from tests.support.provider import Provider
from tests.support.reading import Follower

ABSENT_RATE = 0.1
WALKS_S_MIN, WALKS_S_MAX = 0.3, 9.0
LOOKS_S = 0.1  # So often they look for what came.
AGAIN_S = 1.0  # The provider is away.


@dataclass(frozen=True, slots=True, order=True)
class Visit:
    """One user, coming with something at a moment of the storm."""

    at_s: float
    number: int
    provider: str = field(compare=False)
    given: Mapping[str, str] = field(compare=False)
    request_id: str | None = field(compare=False, default=None)
    attempt: int = field(compare=False, default=1)


class Users:
    """Reads the links topic as whoever delivers links does, and the ledgers for mails, which the provider sends."""

    def __init__(self, links: Follower, providers: Mapping[str, Provider], seed: int) -> None:
        self._links = links
        self._providers = providers
        self._seed = seed
        self._read: dict[str, int] = dict.fromkeys(providers, 0)  # How far each ledger was read, in bytes.
        self._visits: list[Visit] = []
        self._newest: dict[str, int] = {}  # Request id -> number of its newest link.
        self._looked_s = 0.0
        self._visits_count = 0

    @property
    def are_coming(self) -> bool:
        """Whether anybody is on their way."""
        return bool(self._visits)

    def live(self, now_s: float) -> None:
        """Look for what came, and let those come whose time it is; the newest of what a user holds is used."""
        if now_s < self._looked_s + LOOKS_S:
            return
        self._looked_s = now_s
        for record in self._links.poll(0):
            self._receive(decoded("OnboardingLinkIssued", record.value or b""), now_s)
        for name, provider in self._providers.items():
            for line in self._mailed(name, provider.ledger_file):
                subject = {"caseId": line["caseId"]} if line["caseId"] else {"recordId": line["recordId"]}
                given = {**subject, "workflowDefinitionId": line["definitionId"]}
                self._plan(Random(f"{self._seed}/{line['id']}"), now_s, name, given)
        while self._visits and self._visits[0].at_s <= now_s:
            self._come(heapq.heappop(self._visits), now_s)

    def _receive(self, event: Mapping[str, Any], now_s: float) -> None:
        request_id, attempt = event["requestId"], event["attempt"]
        self._newest[request_id] = max(attempt, self._newest.get(request_id, 1))
        given = {name: event[name] for name in ("link", "token") if event[name]}
        if given:
            provider = KINDS[event["workflow"]].terms.provider
            self._plan(Random(f"{self._seed}/{request_id}/{attempt}"), now_s, provider, given, (request_id, attempt))

    def _mailed(self, name: str, ledger_file: Path) -> Iterator[dict[str, Any]]:
        with ledger_file.open("rb") as file:
            file.seek(self._read[name])
            for line in file:
                if not line.endswith(b"\n"):
                    return  # Half written; it is whole the next time, or cut off.
                self._read[name] += len(line)
                if line.startswith(b'{"kind":"mail"'):
                    yield json.loads(line)

    def _plan(
        self,
        source: Random,
        now_s: float,
        provider: str,
        given: Mapping[str, str],
        of: tuple[str | None, int] = (None, 1),
    ) -> None:
        if source.random() >= ABSENT_RATE:
            self._visits_count += 1
            at_s = now_s + source.uniform(WALKS_S_MIN, WALKS_S_MAX)
            heapq.heappush(self._visits, Visit(at_s, self._visits_count, provider, given, *of))

    def _come(self, visit: Visit, now_s: float) -> None:
        """Walk; what was used or has ended leads nowhere."""
        if visit.request_id is not None and self._newest[visit.request_id] > visit.attempt:
            return
        try:
            self._providers[visit.provider].walk(**visit.given)
        except httpx.HTTPStatusError as refused:
            if refused.response.status_code != httpx.codes.NOT_FOUND:
                raise
        except httpx.TransportError:
            again = Visit(now_s + AGAIN_S, visit.number, visit.provider, visit.given, visit.request_id, visit.attempt)
            heapq.heappush(self._visits, again)
