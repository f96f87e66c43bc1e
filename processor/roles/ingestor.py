"""The ingestor: genuine webhooks into Kafka, and nothing else. It needs no state, no API budget and no group."""

import time
from collections.abc import Callable
from http import HTTPStatus
from ipaddress import ip_network

import structlog
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from processor.adapters.acked_producer import AckedProducer
from processor.adapters.codec import Codec
from processor.adapters.dead_letters import Coordinates, Fault, dead_letter_headers
from processor.adapters.jws import SignatureVerifier, read_key
from processor.adapters.web_listener import ListenerLimits, WebListener
from processor.adapters.webhook_intake import Handled, Ports, WebhookIntake
from processor.adapters.webhook_keys import KeyEndpoint, KeyPolicy, WebhookKeys, key_client
from processor.adapters.webserver import WebhookLimits, webhook_app
from processor.core.keys import canonical_id
from processor.core.messages import WebhookReceived
from processor.core.model import Instant
from processor.core.webhook import BodyPaths
from processor.errors import ApiUnavailable, UndecodableMessage
from processor.settings import Settings, WebhookSettings
from processor.telemetry import WebhookMetrics

log = structlog.stdlib.get_logger()

SECONDS_A_MINUTE = 60
NO_COORDINATES = Coordinates("webhook", -1, -1)  # A webhook comes from no topic.


class Ingestor:
    """The webhook server of one process."""

    def __init__(
        self,
        settings: Settings,
        producer: AckedProducer,
        metrics: WebhookMetrics,
        *,
        clock: Callable[[], Instant],
        version: str,
    ) -> None:
        self._settings = settings
        self._producer = producer
        self._metrics = metrics
        self._codec = Codec(write_format=settings.state.write_format)
        self._clock = clock
        self._version = version
        self._keys_client = key_client()
        self._listener = WebListener(self._app(), _listener_limits(settings.webhook))
        self.port = settings.webhook.port

    async def start(self) -> None:
        """Listen; `port` tells where. Raises OSError when the address cannot be had."""
        webhook = self._settings.webhook
        self.port = await self._listener.start(webhook.host, webhook.port)

    async def stop(self) -> None:
        """Take no more, answer what was taken."""
        await self._listener.stop()
        await self._keys_client.aclose()

    def _app(self) -> web.Application:
        webhook = self._settings.webhook
        base_url = webhook.key_base_url or self._settings.api.base_url
        endpoint: KeyEndpoint[RSAPublicKey] = KeyEndpoint(
            self._keys_client,
            base_url + webhook.key_path,
            read_key=read_key,
            timeout_s=webhook.key_timeout_s,
            is_plain_http_allowed=base_url.startswith("http://"),
        )
        policy = KeyPolicy(
            lifetime_s=webhook.key_cache_s,
            stale_s=webhook.key_stale_s,
            missing_s=webhook.key_unknown_s,
            unknown_interval_s=SECONDS_A_MINUTE / webhook.key_fetches_per_minute_max,
        )

        async def fetch(key_id: str) -> RSAPublicKey | None:
            try:
                key = await endpoint.fetch(key_id)
            except ApiUnavailable:
                self._metrics.key_fetches.labels("failed").inc()
                raise
            self._metrics.key_fetches.labels("missing" if key is None else "found").inc()
            return key

        keys = WebhookKeys(fetch, policy=policy, clock=time.monotonic)
        ports = Ports(SignatureVerifier(keys.find).verify, self._publish, self._publish_unreadable, self._clock)
        return webhook_app(
            WebhookIntake(ports, _body_paths(webhook)).accept,
            path=webhook.path,
            observe=self._observe,
            limits=WebhookLimits(body_bytes_max=webhook.body_bytes_max, read_timeout_s=webhook.read_timeout_s),
            networks=[ip_network(network) for network in webhook.networks],
        )

    async def _publish(self, webhook: WebhookReceived) -> None:
        key = canonical_id(webhook.workflow_id).encode()
        await self._producer.send(self._settings.topics.workflows, key, self._codec.encode(webhook))

    async def _publish_unreadable(self, body: bytes, error: UndecodableMessage, received_at: Instant) -> None:
        fault = Fault(error.reason, type(error).__name__, str(error))
        headers = dead_letter_headers((), fault, NO_COORDINATES, failed_at=received_at, version=self._version)
        await self._producer.send(self._settings.topics.dead_letters, None, body, headers)

    def _observe(self, handled: Handled, seconds: float) -> None:
        self._metrics.handled.labels(str(handled.status.value), handled.reason).inc()
        self._metrics.seconds.observe(seconds)
        facts = {"http_status": handled.status.value, "body_bytes": handled.body_bytes, "key_id": handled.key_id}
        if handled.status is HTTPStatus.ACCEPTED and handled.workflow_id is not None:
            log.info("webhook.accepted", workflow_id=handled.workflow_id, **facts)
        elif handled.status is HTTPStatus.ACCEPTED:
            log.error("webhook.unreadable", reason=handled.reason, **facts)
        else:
            log.warning("webhook.refused", reason=handled.reason, exc_info=handled.error, **facts)


def _body_paths(webhook: WebhookSettings) -> BodyPaths:
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
