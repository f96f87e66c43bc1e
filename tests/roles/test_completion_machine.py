"""What the machine of completion learns from the workflows that pass through it."""

from dataclasses import replace
from typing import Any

from processor.adapters.avro import EventEncoder
from processor.adapters.codec import Codec
from processor.adapters.registry import registry_client
from processor.core.completion import Completion
from processor.core.model import MINUTE_MS
from processor.core.polling import ENDS_LEAST
from processor.roles.machines import CompletionMachine, Writing
from processor.settings import Settings
from tests.core.workflows import CATALOGUE, STARTED, result, status, webhook

SETTINGS = Settings()
CLIENT = registry_client("http://127.0.0.1:1")  # Nothing here asks it.
WRITING = Writing(SETTINGS.topics, Codec(), EventEncoder(CLIENT, source="urn:test", definitions={}), "0")


def first_wait_ms(machine: CompletionMachine, number: int) -> int:
    """Let a run pass that a webhook ends after two minutes; return after what time it was to be polled first."""
    begun_at = STARTED.started_at + number
    ended_at = begun_at + 2 * MINUTE_MS
    start = replace(STARTED, workflow_id=f"w-{number}", started_at=begun_at)
    state: dict[str, Any] = {}
    polls_at = []
    for fact, now in (
        (start, begun_at),
        (webhook(ended_at), ended_at),
        (status("COMPLETED"), ended_at),
        (result(), ended_at),
    ):
        state.update(machine.decide(state, fact, now).changes)
        polls_at.append(state["head"].poll_at)
    return int(polls_at[0]) - begun_at


def test_a_process_polls_seldom_once_enough_webhooks_came() -> None:
    """At first after five seconds, then when the webhook is overdue; another process begins anew."""
    machine = CompletionMachine(Completion(CATALOGUE), WRITING)
    waits = [first_wait_ms(machine, number) for number in range(ENDS_LEAST + 1)]
    assert max(waits[:ENDS_LEAST]) <= 5_000
    assert waits[ENDS_LEAST] > 100_000
    assert first_wait_ms(CompletionMachine(Completion(CATALOGUE), WRITING), 0) <= 5_000
