"""The whole ingestor on loopback: two provider profiles, their key endpoints, and what reaches which topic."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import structlog
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from prometheus_client import CollectorRegistry

from processor.adapters.acked_producer import AckedProducer
from processor.adapters.codec import Codec
from processor.core.messages import WebhookReceived
from processor.roles.ingestor import Ingestor, path_of
from processor.settings import Settings
from processor.telemetry import Metrics
from tests.adapters.fake_producer import FakeProducer
from tests.adapters.webhook_support import (
    BODY,
    HEADER,
    KEY_ID,
    OTHER_KEY_ID,
    der_base64,
    exchange,
    pem,
    private_key,
    request_bytes,
    sign,
)

NOW = 1_767_225_600_000
DEFAULT, SECOND = private_key(), private_key("second")


@dataclass
class Provider:
    """A workspace at the provider: the keys it knows, whether it asks who we are, and what it was asked."""

    keys: dict[str, bytes]
    token: str | None = None  # Shown as it is, as an organisation token, or obtained by key and secret.
    asked: list[str] = field(default_factory=list)
    url: str = ""

    async def key(self, request: web.Request) -> web.Response:
        shown = request.headers.get("Authorization")
        self.asked.append(f"{request.match_info['key_id']} {shown}")
        if self.token is not None and shown not in {self.token, f"Bearer {self.token}"}:
            return web.Response(status=401)
        found = self.keys.get(request.match_info["key_id"])
        return web.Response(status=404) if found is None else web.Response(body=found)

    async def authorize(self, request: web.Request) -> web.Response:
        self.asked.append(f"authorize {(await request.json())['key']}")
        return web.json_response({"accessToken": self.token, "refreshToken": "r", "expiryDuration": 3600})


@asynccontextmanager
async def _running(provider: Provider) -> AsyncIterator[Provider]:
    app = web.Application()
    app.router.add_get("/auth/webhooks/key/{key_id}", provider.key)
    app.router.add_post("/auth/authorize", provider.authorize)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    provider.url = f"http://127.0.0.1:{site.port}"
    try:
        yield provider
    finally:
        await runner.cleanup()


@dataclass
class Running:
    """An ingestor that listens, the broker behind it, and its metrics."""

    ingestor: Ingestor
    broker: FakeProducer
    registry: CollectorRegistry

    async def post(
        self, path: str, key: RSAPrivateKey, *, key_id: str = KEY_ID, body: bytes = BODY, signature: str | None = None
    ) -> int:
        made = sign(body, {**HEADER, "kid": key_id}, key) if signature is None else signature
        return (await exchange(self.ingestor.port, request_bytes(body, signature=made, path=path)))[0]

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"onboarding_{name}_total", labels) or 0.0


@asynccontextmanager
async def _ingesting(**sections: object) -> AsyncIterator[Running]:
    given = {"webhook": {"host": "127.0.0.1", "port": 0, "path": "/webhooks"}} | sections
    settings, registry, broker = Settings.model_validate(given), CollectorRegistry(), FakeProducer()
    producer = AckedProducer({}, make_producer=lambda _: broker)
    ingestor = Ingestor(settings, producer, Metrics(registry), clock=lambda: NOW, version="1")
    await ingestor.start()
    try:
        yield Running(ingestor, broker, registry)
    finally:
        await ingestor.stop()
        await asyncio.to_thread(producer.close, 0.0)


async def test_each_profile_is_a_provider_of_its_own() -> None:
    """What one profile's key signs counts under its path alone, and what is published names the profile."""
    first, second = Provider({KEY_ID: pem(DEFAULT)}), Provider({OTHER_KEY_ID: der_base64(SECOND)})
    async with _running(first), _running(second):
        sections = {"api": {"base_url": first.url}, "providers": {"eu-2": {"base_url": second.url}}}
        async with _ingesting(**sections) as running:
            assert await running.post("/webhooks", DEFAULT) == 202
            assert await running.post("/webhooks/eu-2", SECOND, key_id=OTHER_KEY_ID) == 202
            assert await running.post("/webhooks/eu-2", DEFAULT, key_id=KEY_ID) in {401, 503}
            assert await running.post("/webhooks", SECOND, key_id=KEY_ID) == 401
            assert await running.post("/webhooks/eu-3", DEFAULT) == 404
            read = [Codec().decode(value or b"") for _, _, value, _ in running.broker.records]
            assert [(webhook.provider, webhook.key_id) for webhook in read] == [
                ("default", KEY_ID),
                ("eu-2", OTHER_KEY_ID),
            ]
            assert all(isinstance(webhook, WebhookReceived) and webhook.body == BODY for webhook in read)
    assert first.asked == [f"{KEY_ID} None"]
    assert second.asked == [f"{OTHER_KEY_ID} None", f"{KEY_ID} None"]


async def test_the_address_of_keys_can_be_another_one_for_each_profile() -> None:
    """Where keys come from elsewhere, the API's address is not asked, and its own credential not shown."""
    api, keys = Provider({}), Provider({KEY_ID: pem(DEFAULT)}, token="right")
    async with _running(api), _running(keys):
        webhook = {"host": "127.0.0.1", "port": 0, "key_base_url": keys.url, "key_base_urls": f"eu={keys.url}"}
        profile = {"base_url": api.url, "token": "right"}
        own = profile | {"credentials": {"keys": {"token": "right"}}}
        async with _ingesting(webhook=webhook, api=profile, providers={"eu": own}) as running:
            assert await running.post("/webhooks", DEFAULT) == 503
            assert await running.post("/webhooks/eu", DEFAULT) == 202
    assert api.asked == []
    assert keys.asked == [f"{KEY_ID} None", f"{KEY_ID} None", f"{KEY_ID} right"]


@pytest.mark.parametrize(
    "given, authorized",
    [
        ({"token": "right"}, []),
        ({"key": "ours", "secret": "s"}, ["authorize ours"]),
        ({"token": "wrong", "credentials": {"keys": {"key": "for-keys", "secret": "s"}}}, ["authorize for-keys"]),
    ],
)
async def test_an_endpoint_that_asks_who_we_are_is_told(given: dict[str, object], authorized: list[str]) -> None:
    """The credential for keys, else the profile's, is shown after a refusal; a token is obtained once, not before."""
    provider = Provider({KEY_ID: pem(DEFAULT), OTHER_KEY_ID: pem(SECOND)}, token="right")
    async with _running(provider), _ingesting(api={"base_url": provider.url, **given}) as running:
        assert provider.asked == []
        assert await running.post("/webhooks", DEFAULT) == 202
        assert await running.post("/webhooks", SECOND, key_id=OTHER_KEY_ID) == 202
        shown = "Bearer right" if authorized else "right"
        assert provider.asked == [
            f"{KEY_ID} None",
            *authorized,
            f"{KEY_ID} {shown}",
            f"{OTHER_KEY_ID} None",
            f"{OTHER_KEY_ID} {shown}",
        ]
        assert running.count("webhook_key_fetches", outcome="found") == 2


async def test_a_genuine_webhook_of_unknown_shape_is_kept_and_alarmed() -> None:
    """Its raw bytes lie in the dead letters with the reason and the path it came by; a metric and a log line say so."""
    provider = Provider({KEY_ID: pem(DEFAULT)})
    async with _running(provider):
        sections = {"api": {"base_url": provider.url}, "providers": {"eu": {"base_url": provider.url}}}
        async with _ingesting(**sections) as running:
            shapes = {
                b"\xff" * 8: "webhook-not-json",
                b"[" * 100_000: "webhook-not-json",
                b'{"name": "canary"}': "webhook-no-workflow-id",
                b'{"id":"\\ud800"}': "webhook-no-workflow-id",
            }
            with structlog.testing.capture_logs() as lines:
                for body in shapes:
                    assert await running.post("/webhooks", DEFAULT, body=body) == 202
                assert await running.post("/webhooks/eu", DEFAULT, body=b"[]") == 202
            assert [(topic, key, value) for topic, key, value, _ in running.broker.records] == [
                ("onboarding.dead-letters", None, body) for body in (*shapes, b"[]")
            ]
            headers = [headers for _, _, _, headers in running.broker.records]
            assert [header["dlq.reason"] for header in headers][:4] == [reason.encode() for reason in shapes.values()]
            assert [header["dlq.source.topic"] for header in headers][3:] == [b"webhook", b"webhook/eu"]
            assert "canary" not in str(headers)
            told = [line for line in lines if line["event"] == "webhook.unreadable"]
            assert [(line["log_level"], line["provider"]) for line in told] == [("error", "default")] * 4 + [
                ("error", "eu")
            ]
            assert "canary" not in str(lines)
            assert running.count("webhooks", status="202", reason="webhook-not-json") == 3
            assert running.count("dead_letters", source="webhook", reason="webhook-not-json") == 2
            assert running.count("dead_letters", source="webhook", reason="webhook-no-workflow-id") == 2
            assert running.count("dead_letters", source="webhook/eu", reason="webhook-not-json") == 1


async def test_a_flood_of_forgeries_is_counted_and_hardly_logged() -> None:
    """Every refusal is in the metric; of each kind the log tells the first ones only, and never what was sent."""
    provider = Provider({KEY_ID: pem(DEFAULT)})
    async with _running(provider), _ingesting(api={"base_url": provider.url}) as running:
        with structlog.testing.capture_logs() as lines:
            for _ in range(30):
                assert await running.post("/webhooks", DEFAULT, signature="canary-4711") == 401
            assert await running.post("/webhooks", SECOND) == 401
        reasons = [line["reason"] for line in lines if line["event"] == "webhook.refused"]
        assert reasons == ["signature-malformed"] * 10 + ["signature-wrong"]
        assert running.count("webhooks", status="401", reason="signature-malformed") == 30
        assert "canary" not in str(lines)


async def test_trouble_of_ours_is_told_to_the_log_alone() -> None:
    """Why a key cannot be had stands in our log; the sender hears that it should come again."""
    provider = Provider({KEY_ID: b"no key"})
    async with _running(provider), _ingesting(api={"base_url": provider.url}) as running:
        with structlog.testing.capture_logs() as lines:
            assert await running.post("/webhooks", DEFAULT) == 503
    refused = [line for line in lines if line["event"] == "webhook.refused"]
    assert [(line["reason"], "no public key" in line["why"]) for line in refused] == [("key-unavailable", True)]


@pytest.mark.parametrize(
    "path, name, expected",
    [
        ("/webhooks", "default", "/webhooks"),
        ("/webhooks", "eu", "/webhooks/eu"),
        ("/", "eu", "/eu"),
        ("/a/", "eu", "/a/eu"),
    ],
)
def test_the_path_of_a_profile(path: str, name: str, expected: str) -> None:
    """The default has the configured path, another profile its name below it."""
    assert path_of(path, name) == expected
