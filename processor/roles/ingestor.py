"""The ingestor: genuine webhooks into Kafka, and nothing else. It needs no state, no API budget and no group."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from ipaddress import ip_network

import structlog
from aiohttp import web

from processor.adapters.acked_producer import AckedProducer
from processor.adapters.codec import Codec
from processor.adapters.dead_letters import Coordinates, Fault, dead_letter_headers
from processor.adapters.jws import SignatureVerifier
from processor.adapters.web_listener import ListenerLimits, WebListener
from processor.adapters.webhook_intake import REPEATED, Handled, Ports, WebhookIntake
from processor.adapters.webserver import Accept, WebhookLimits, webhook_app
from processor.core.keys import canonical_id
from processor.core.messages import WebhookReceived
from processor.core.model import DEFAULT_PROVIDER, Instant
from processor.core.webhook import BodyPaths
from processor.errors import UndecodableMessage
from processor.logs import LineWindow
from processor.roles.listening import listen
from processor.roles.profile_keys import ProfileKeys
from processor.settings import ApiSettings, Settings, WebhookSettings
from processor.telemetry import Metrics

log = structlog.stdlib.get_logger()

SOURCE = "webhook"  # A webhook comes from no topic.


class Ingestor:
    """The webhook server of one process, for every provider profile.

    The profile `default` has the configured path, each other one a path of its name below it.
    Raises SettingsInvalid where the webhook settings do not fit the profiles.
    """

    def __init__(
        self,
        settings: Settings,
        producer: AckedProducer,
        metrics: Metrics,
        *,
        clock: Callable[[], Instant],
        version: str,
    ) -> None:
        self._settings = settings
        self._producer = producer
        self._metrics = metrics.webhooks
        self._dead_letters = metrics.requests.dead_letters
        self._codec = Codec(write_format=settings.state.write_format)
        self._clock = clock
        self._version = version
        self._windows: dict[str, LineWindow] = {}
        webhook, profiles = settings.webhook, settings.profiles()
        self._keys = {name: ProfileKeys(name, api, webhook, metrics.webhooks) for name, api in profiles.items()}
        self._listener = WebListener(self._app(), _listener_limits(webhook))
        self.port = webhook.port

    async def start(self) -> None:
        """Listen; `port` tells where. Raises SettingsInvalid when the address cannot be had."""
        webhook = self._settings.webhook
        self.port = await listen(self._listener, "webhook", webhook.host, webhook.port)

    def renew(self, name: str, api: ApiSettings) -> None:
        """Fetch the keys of a profile with these credentials and authorities; the port stays open."""
        self._keys[name].renew(api)

    async def stop(self) -> None:
        """Take no more, answer what was taken."""
        await self._listener.stop()
        for keys in self._keys.values():
            await keys.close()

    def _app(self) -> web.Application:
        webhook = self._settings.webhook
        return webhook_app(
            {path_of(webhook.path, name): self._accepting(name, keys) for name, keys in self._keys.items()},
            observe=self._observe,
            limits=WebhookLimits(body_bytes_max=webhook.body_bytes_max, read_timeout_s=webhook.read_timeout_s),
            networks=[ip_network(network) for network in webhook.networks],
        )

    def _accepting(self, provider: str, keys: ProfileKeys) -> Accept:
        verify, set_aside = SignatureVerifier(keys.find).verify, partial(self._publish_unreadable, provider)
        ports = Ports(verify, self._publish, set_aside, self._clock)
        return WebhookIntake(ports, body_paths(self._settings.webhook), provider=provider).accept

    async def _publish(self, webhook: WebhookReceived) -> None:
        key = canonical_id(webhook.workflow_id).encode()
        await self._producer.send(self._settings.topics.workflows, key, self._codec.encode(webhook))

    async def _publish_unreadable(
        self, provider: str, body: bytes, error: UndecodableMessage, received_at: Instant
    ) -> None:
        fault = Fault(error.reason, type(error).__name__, str(error))
        source = SOURCE if provider == DEFAULT_PROVIDER else f"{SOURCE}/{provider}"
        place = Coordinates(source, -1, -1)
        headers = dead_letter_headers((), fault, place, failed_at=received_at, version=self._version)
        await self._producer.send(self._settings.topics.dead_letters, None, body, headers)
        self._dead_letters.labels(source, error.reason).inc()

    def _observe(self, handled: Handled, seconds: float) -> None:
        self._metrics.handled.labels(str(handled.status.value), handled.reason).inc()
        self._metrics.seconds.observe(seconds)
        facts = {
            "http_status": handled.status.value,
            "body_bytes": handled.body_bytes,
            "key_id": handled.key_id,
            "provider": handled.provider,
        }
        if handled.status is not HTTPStatus.ACCEPTED:
            self._log_refusal(handled, facts)
        elif handled.reason == REPEATED:
            pass  # Whoever replays it decides how often: the metric counts them.
        elif handled.workflow_id is not None:
            log.info("webhook.accepted", workflow_id=handled.workflow_id, **facts)
        else:
            log.error("webhook.unreadable", reason=handled.reason, **facts)

    def _log_refusal(self, handled: Handled, facts: Mapping[str, object]) -> None:
        """Tell the first refusals of each kind: strangers decide how many there are, the metric counts them all."""
        now_s = time.monotonic()
        suppressed = self._windows.setdefault(handled.reason, LineWindow(now_s)).admit(now_s)
        if suppressed is None:
            return
        more = {"suppressed": suppressed} if suppressed else {}
        log.warning("webhook.refused", reason=handled.reason, why=handled.why, exc_info=handled.error, **facts, **more)


def path_of(path: str, provider: str) -> str:
    """Return the path that takes the webhooks of a provider profile."""
    return path if provider == DEFAULT_PROVIDER else f"{path.rstrip('/')}/{provider}"


def body_paths(webhook: WebhookSettings) -> BodyPaths:
    """Return where webhooks say what, by the settings."""
    return BodyPaths(
        workflow_id=webhook.workflow_id_paths,
        status=webhook.status_paths,
        kind=webhook.kind_paths,
        record_id=webhook.record_id_paths,
        case_id=webhook.case_id_paths,
        definition_id=webhook.definition_id_paths,
    )


def _listener_limits(webhook: WebhookSettings) -> ListenerLimits:
    return ListenerLimits(keepalive_timeout_s=webhook.keepalive_s, connections_max=webhook.connections_max)
