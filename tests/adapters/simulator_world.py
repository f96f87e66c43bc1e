"""A simulated provider without sockets, and a clock that a test moves by hand."""

from typing import Any

import orjson

from processor.simulator.api import Api, Request
from processor.simulator.model import Answer, Counters, Refused
from processor.simulator.provider import Provider
from processor.simulator.schedule import Schedule
from processor.simulator.settings import settings_from
from processor.simulator.signing import Keys

G1 = "application/json"
G2 = "application/json;version=2"
DEFINITION = "3b2d8a4f-579f-4e2e-a51c-f859e532fe8c"
FOREIGN_ID = "7c8c1b52-0000-4000-8000-00000000000a"
START = 1_700_000_000_000


class World:
    """A provider, its API and a clock that a test moves by hand."""

    def __init__(self, **given: object) -> None:
        settings = settings_from({"auth_required": False, "completion_ms": 100, **given})
        self.webhooks: list[Any] = []
        self.counters = Counters()
        self.now = START
        self.schedule = Schedule()
        self.provider = Provider(settings, self.schedule, self.counters, self._sent)
        self.api = Api(self.provider, Keys(), START)

    def _sent(self, body: bytes) -> None:
        self.webhooks.append((self.now - START, orjson.loads(body)))

    def ask(
        self,
        line: str,
        body: object = None,
        *,
        accept: str = G2,
        authorization: str = "",
        content_type: str = "application/json",
    ) -> Answer:
        """Make one call, given as `METHOD /path`."""
        method, path = line.split(" ")
        sent = body if isinstance(body, bytes) else orjson.dumps(body)
        return self.api.answer(Request(method, path, "", accept, authorization, content_type, sent, self.now))[1]

    def walk(self, **named: object) -> tuple[int, str]:
        """Let an end user come; returns the status of the simulator's route, and the workflow id."""
        try:
            return 200, self.provider.links.walk(named, self.now).workflow_id
        except Refused as refused:
            return refused.status, ""

    def told(self, line: str, body: object = None, *, accept: str = G2) -> dict[str, Any]:
        """Make one call that succeeds, and read its answer."""
        answer = self.ask(line, body, accept=accept)
        assert 200 <= answer.status < 300, answer
        said: dict[str, Any] = orjson.loads(answer.body)
        return said

    def run(self, **members: object) -> Answer:
        """Run the definition."""
        return self.ask("POST /workflows/run", {"workflowDefinitionId": DEFINITION, **members})

    def later(self, milliseconds: int) -> None:
        """Let time pass, and everything happen that becomes due, each at its own instant."""
        end = self.now + milliseconds
        while (due_at := self.schedule.next_at) is not None and due_at <= end:
            self.now = due_at
            self.schedule.do_due(due_at)
        self.now = end
