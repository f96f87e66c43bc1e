"""The provider of the toy's calls, and its memory of what it really executed."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from processor.engine.ports import Ticket
from tests.engine.toy import CALL_MS, Answered, Create, Permit, Run

CREATED, NOT_SENT = "created", "not-sent"


class Ledger:
    """The provider: answers calls, and remembers what it executed."""

    def __init__(self, rng: Random, proofs: Mapping[str, float], say: Callable[[str], None]) -> None:
        self.executed: list[int] = []
        self.sent: list[tuple[int, int]] = []
        self._rng = rng
        self._proofs = proofs
        self._say = say

    def call(self, ticket: Ticket, call: Create | Run, now: int) -> tuple[int, Any]:
        """Answer after a while; a run is executed or not at once."""
        answered_at = now + self._rng.choice((1, 20, 200, CALL_MS - 1))
        if isinstance(call, Create):
            return answered_at, Answered(call.id, call.attempt, CREATED)
        [proof] = self._rng.choices(list(self._proofs), list(self._proofs.values()))
        self.sent.append((call.id, call.attempt))
        self._say(f"{call} {ticket.key}: {proof} at +{answered_at - now}")
        if proof in {"done", "unknown, executed"}:
            self.executed.append(call.id)
        return answered_at, Answered(call.id, call.attempt, proof.partition(",")[0])

    def permit(self, until: int) -> Permit:
        """Return the fact."""
        return Permit(until)

    def needs_permit(self, call: Create | Run) -> bool:
        """Say whether it is a run."""
        return isinstance(call, Run)

    def not_sent(self, call: Create | Run) -> Answered:
        """Return the answer."""
        return Answered(call.id, call.attempt, NOT_SENT)
