"""The webhook port of a probe: believes what the ingestor would believe, and keeps it in memory while the probe runs.

The provider has one address for all webhooks of a workspace, so those of other workflows come here too. They are
answered as if they were stored, for the provider would repeat them in vain; nothing of them is kept but their number.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry

from processor.adapters.api_answers import parsed
from processor.adapters.jws import SignatureVerifier
from processor.adapters.shapes import leaves_of
from processor.adapters.web_listener import ListenerLimits, WebListener
from processor.adapters.webhook_intake import Handled, Ports, WebhookIntake
from processor.adapters.webserver import WebhookLimits, webhook_app
from processor.cli.probe_talk import Heard
from processor.core.keys import canonical_id
from processor.core.messages import WebhookReceived
from processor.core.model import Instant
from processor.errors import SettingsInvalid, UndecodableMessage
from processor.roles.ingestor import body_paths, path_of
from processor.roles.profile_keys import ProfileKeys
from processor.settings import ApiSettings, Settings
from processor.telemetry import WebhookMetrics

HEARD_MAX: Final = 256  # The oldest go first.
CANDIDATES_MAX: Final = 8  # Texts of one webhook that may be the id of its workflow.
ID_CHARS_MIN: Final = 8


class WebhookEar:
    """What was heard so far, on one event loop."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.refused = 0
        self._came = asyncio.Event()

    def keep(self, heard: Heard) -> None:
        """Keep one genuine webhook."""
        self.heard = [*self.heard, heard][-HEARD_MAX:]
        self._came.set()

    def handled(self, handled: Handled, _seconds: float) -> None:
        """Count what was not believed."""
        self.refused += not 200 <= handled.status < 300  # noqa: PLR2004  # RFC 9110, 15.3

    async def until(self, is_so: Callable[[], bool], timeout_s: float) -> None:
        """Wait until something is so about what was heard, or the time is over."""
        try:
            async with asyncio.timeout(timeout_s):
                while not is_so():
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            return


def owners_in(heard: Heard, ids: Mapping[str, str]) -> Sequence[str]:
    """Return the ids that may be that of the workflow which a webhook tells of, if it tells of ours.

    `ids` are those we know by what they are of: the workflow's own settles it; else the record or case makes it ours.
    """
    texts = [text for _, text in leaves_of(heard.body)]
    spelt = {canonical_id(text) for text in texts}
    if (workflow_id := ids.get("workflow")) is not None:
        return [workflow_id] if canonical_id(workflow_id) in spelt else []
    ours = {canonical_id(text) for role in ("record", "case") if (text := ids.get(role))}
    if not ours & spelt:
        return []
    found = [] if heard.read is None else [heard.read.workflow_id]
    others = [text for text in texts if canonical_id(text) not in ours and _may_be_id(text)]
    return list(dict.fromkeys([*found, *others]))[:CANDIDATES_MAX]


@asynccontextmanager
async def listening(
    settings: Settings, provider: str, api: ApiSettings, port: int, clock: Callable[[], Instant]
) -> AsyncIterator[WebhookEar]:
    """Listen as the ingestor does, for one provider profile; raises SettingsInvalid where that cannot be."""
    ear = WebhookEar()
    keys = ProfileKeys(provider, api, settings.webhook, WebhookMetrics(CollectorRegistry()))
    listener = WebListener(_app(settings, provider, keys, ear, clock), ListenerLimits(drain_s=1.0))
    try:
        await listener.start(settings.webhook.host, port)
    except OSError as error:
        await keys.close()
        raise SettingsInvalid(f"--webhook-port: {port} cannot be had ({error.strerror}); choose another") from error
    try:
        yield ear
    finally:
        await listener.stop()
        await keys.close()


def _app(
    settings: Settings, provider: str, keys: ProfileKeys, ear: WebhookEar, clock: Callable[[], Instant]
) -> web.Application:
    webhook = settings.webhook

    async def publish(received: WebhookReceived) -> None:
        ear.keep(Heard(received.received_at, parsed(received.body), received))

    async def set_aside(body: bytes, _: UndecodableMessage, received_at: Instant) -> None:
        ear.keep(Heard(received_at, parsed(body), None))

    ports = Ports(SignatureVerifier(keys.find).verify, publish, set_aside, clock)
    intake = WebhookIntake(ports, body_paths(webhook), provider=provider)
    limits = WebhookLimits(body_bytes_max=webhook.body_bytes_max, read_timeout_s=webhook.read_timeout_s)
    return webhook_app({path_of(webhook.path, provider): intake.accept}, observe=ear.handled, limits=limits)


def _may_be_id(text: str) -> bool:
    has_digit = any(letter.isdigit() for letter in text)
    return has_digit and len(text) >= ID_CHARS_MIN and all(letter.isalnum() or letter in "-_" for letter in text)
