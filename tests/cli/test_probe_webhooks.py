"""Which webhooks a probe takes for its own, and what it does with the others."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import pytest

from processor.cli.probe_talk import Heard
from processor.cli.probe_webhooks import HEARD_MAX, WebhookEar, listening, owners_in
from processor.cli.starting import now
from processor.core.messages import WebhookReceived
from processor.errors import SettingsInvalid
from processor.settings import DEFAULT_PROFILE, Settings
from tests.support.ports import free_port

RECORD, WORKFLOW, OTHER = "record-0001", "workflow-0001", "something-0002"


def heard(body: Any, workflow_id: str | None = None) -> Heard:  # noqa: ANN401  # any JSON
    """Return a webhook in which the settings' paths find this workflow id."""
    read = None
    if workflow_id is not None:
        read = WebhookReceived(workflow_id, 1, None, None, None, None, None, "k", b"")
    return Heard(1, body, read)


@pytest.mark.parametrize(
    "webhook,ids,owners",
    [
        (heard({"a": {"b": WORKFLOW.upper()}}), {"workflow": WORKFLOW}, [WORKFLOW]),
        (heard({"a": OTHER}), {"workflow": WORKFLOW}, []),
        (heard({"id": WORKFLOW, "on": RECORD}), {"record": RECORD}, [WORKFLOW]),
        (heard({"id": WORKFLOW, "on": RECORD, "x": OTHER}, OTHER), {"record": RECORD}, [OTHER, WORKFLOW]),
        (heard({"id": WORKFLOW, "state": "COMPLETED", "on": RECORD}), {"case": RECORD}, [WORKFLOW]),
        (heard({"id": WORKFLOW}), {"record": RECORD}, []),
        (heard([RECORD]), {"record": RECORD}, []),
        (heard({"id": WORKFLOW}), {}, []),
    ],
)
def test_a_webhook_is_ours_by_workflow_record_or_case(
    webhook: Heard, ids: Mapping[str, str], owners: Sequence[str]
) -> None:
    """Of one that only names our record or case, what the settings find comes first, then what looks like an id."""
    assert list(owners_in(webhook, ids)) == owners


def test_what_is_heard_is_bounded() -> None:
    """The oldest go first."""
    ear = WebhookEar()
    for number in range(HEARD_MAX + 5):
        ear.keep(heard(number))
    assert (len(ear.heard), ear.heard[0].body) == (HEARD_MAX, 5)


def test_what_nobody_signed_is_refused_and_counted() -> None:
    """A probe believes what the ingestor would believe."""

    async def forged() -> tuple[int, int, int]:
        settings = Settings.model_validate(
            {"webhook": {"host": "127.0.0.1"}, "api": {"base_url": "http://127.0.0.1:9"}}
        )
        port = free_port()
        async with listening(settings, DEFAULT_PROFILE, settings.api, port, now) as ear:
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.post(f"http://127.0.0.1:{port}/webhooks", json={"workflowId": WORKFLOW})
            with pytest.raises(SettingsInvalid, match="--webhook-port"):
                async with listening(settings, DEFAULT_PROFILE, settings.api, port, now):
                    pass
            return answer.status_code, ear.refused, len(ear.heard)

    assert asyncio.run(forged()) == (401, 1, 0)
