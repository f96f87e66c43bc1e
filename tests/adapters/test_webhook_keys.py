"""What keys cost and how long they count, on a clock of the test's own; and what the endpoint's answers mean."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import httpx
import pytest
from aiohttp import web

from processor.adapters.jws import read_key
from processor.adapters.webhook_keys import KeyEndpoint, KeyPolicy, WebhookKeys, check_url_template, key_client
from processor.errors import ApiUnavailable, SettingsInvalid
from tests.adapters.webhook_support import KEY_ID, OTHER_KEY_ID, der_base64, pem, private_key

DAY_S = 86_400.0
MINUTE_S = 60.0


@dataclass
class FakeEndpoint:
    """A key endpoint by hand: what it knows, whether it answers, and what it was asked."""

    known: dict[str, str] = field(default_factory=dict)
    is_down: bool = False
    gate: asyncio.Event | None = None
    asked: list[str] = field(default_factory=list)
    now_s: float = 0.0

    async def fetch(self, key_id: str) -> str | None:
        self.asked.append(key_id)
        if self.gate is not None:
            await self.gate.wait()
        if self.is_down:
            raise ApiUnavailable("down")
        return self.known.get(key_id)

    def keys(self, policy: KeyPolicy | None = None) -> WebhookKeys[str]:
        return WebhookKeys(self.fetch, policy=policy or KeyPolicy(), clock=lambda: self.now_s)


async def _finds(keys: WebhookKeys[str], key_id: str = KEY_ID) -> str | None:
    """Give the key, None for "no such key", or "later"."""
    try:
        return await keys.find(key_id)
    except ApiUnavailable:
        return "later"


async def test_a_key_is_fetched_once_in_its_lifetime() -> None:
    """Within ten minutes one fetch serves every webhook; then the provider is asked again."""
    endpoint = FakeEndpoint({KEY_ID: "key"})
    keys = endpoint.keys()
    for endpoint.now_s in (0, 1, 599):
        assert await _finds(keys) == "key"
    assert endpoint.asked == [KEY_ID]
    endpoint.now_s = 601
    endpoint.known[KEY_ID] = "renewed"
    assert await _finds(keys) == "renewed"


async def test_a_hundred_webhooks_cause_one_fetch() -> None:
    """Callers that come while a fetch is under way wait for its answer; one that leaves does not end it."""
    endpoint = FakeEndpoint({KEY_ID: "key"}, gate=asyncio.Event())
    keys = endpoint.keys()
    first = asyncio.create_task(_finds(keys))
    waiting = [asyncio.create_task(_finds(keys)) for _ in range(99)]
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    assert endpoint.gate is not None
    endpoint.gate.set()
    assert await asyncio.gather(*waiting) == ["key"] * 99
    assert endpoint.asked == [KEY_ID]


async def test_a_key_outlives_a_failing_endpoint_by_a_day() -> None:
    """While the endpoint is down, its last good word counts for 24 h, and it is asked once a minute at most."""
    endpoint = FakeEndpoint({KEY_ID: "key"})
    keys = endpoint.keys()
    assert await _finds(keys) == "key"
    endpoint.is_down = True
    for minute in range(1, 24 * 60):
        endpoint.now_s = minute * MINUTE_S
        assert await _finds(keys) == "key"
        assert await _finds(keys) == "key"
    assert len(endpoint.asked) <= 24 * 60
    endpoint.now_s = DAY_S + 1
    assert await _finds(keys) == "later"
    endpoint.is_down, endpoint.now_s = False, DAY_S + MINUTE_S + 2
    assert await _finds(keys) == "key"


async def test_a_revoked_key_ends_with_the_endpoint_s_word() -> None:
    """When the endpoint answers that a key is gone, no cached copy counts."""
    endpoint = FakeEndpoint({KEY_ID: "key"})
    keys = endpoint.keys()
    assert await _finds(keys) == "key"
    endpoint.known.clear()
    endpoint.now_s = 601
    assert await _finds(keys) is None
    endpoint.is_down, endpoint.now_s = True, 700
    assert await _finds(keys) == "later"


async def test_no_such_key_is_remembered_for_a_short_while() -> None:
    """An unknown id costs one fetch; a key that is announced late is found after a minute."""
    endpoint = FakeEndpoint()
    keys = endpoint.keys()
    assert [await _finds(keys) for _ in range(3)] == [None] * 3
    assert endpoint.asked == [KEY_ID]
    endpoint.known[KEY_ID] = "key"
    endpoint.now_s = 61
    assert await _finds(keys) == "key"


async def test_random_ids_cost_the_provider_one_fetch_a_minute() -> None:
    """A flood of invented ids is answered "later", so that a genuine new key among them is tried again."""
    endpoint = FakeEndpoint({KEY_ID: "key", OTHER_KEY_ID: "other"})
    keys = endpoint.keys()
    assert await _finds(keys) == "key"
    verdicts = []
    for second in range(1, 600):
        endpoint.now_s = float(second)
        verdicts.append(await _finds(keys, str(UUID(int=second))))
        assert await _finds(keys) == "key", "keys that are held do not suffer"
    assert len(endpoint.asked) == 10
    assert verdicts.count("later") == 590
    endpoint.now_s = 605
    assert await _finds(keys, OTHER_KEY_ID) == "other"


async def test_rotation_refuses_nobody() -> None:
    """Old and new key count side by side while webhooks of both arrive."""
    endpoint = FakeEndpoint({KEY_ID: "old"})
    keys = endpoint.keys()
    assert await _finds(keys) == "old"
    endpoint.known = {KEY_ID: "old", OTHER_KEY_ID: "new"}
    for second in range(120, 2_000, 10):
        endpoint.now_s = float(second)
        assert await _finds(keys) == "old"
        assert await _finds(keys, OTHER_KEY_ID) == "new"


async def test_a_failed_fetch_of_an_unknown_key_means_later() -> None:
    """Without a key and without the endpoint nothing can be said; the next try is a minute away."""
    endpoint = FakeEndpoint({KEY_ID: "key"}, is_down=True)
    keys = endpoint.keys()
    assert [await _finds(keys) for _ in range(3)] == ["later"] * 3
    assert len(endpoint.asked) == 1
    endpoint.is_down, endpoint.now_s = False, 61
    assert await _finds(keys) == "key"


async def test_the_memory_of_keys_is_bounded() -> None:
    """The oldest answer gives way, found and missing ones apart."""
    endpoint = FakeEndpoint({str(UUID(int=number)): "key" for number in range(3)})
    keys = endpoint.keys(KeyPolicy(unknown_interval_s=0.0, keys_max=2, missing_max=2))
    for number in (*range(6), *range(6)):
        await _finds(keys, str(UUID(int=number)))
    assert len(endpoint.asked) == 12, "with two of three remembered, going round asks each time"
    endpoint.asked.clear()
    for number in (1, 2, 4, 5):
        await _finds(keys, str(UUID(int=number)))
    assert endpoint.asked == []


# --- the endpoint ------------------------------------------------------------------------------------------------

Answer = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def _served(answer: Answer) -> AsyncIterator[tuple[str, httpx.AsyncClient]]:
    """Serve key requests on loopback; gives the URL template and a client."""
    app = web.Application()
    app.router.add_get("/auth/webhooks/key/{key_id}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        # No certificates are needed on loopback, and loading them takes longer than the test.
        async with key_client(verify=False) as client:
            yield f"http://127.0.0.1:{site.port}/auth/webhooks/key/{{keyId}}?pem=true", client
    finally:
        await runner.cleanup()


async def _fetch(answer: Answer, credential: Callable[[], Awaitable[str]] | None = None, timeout_s: float = 2.0) -> str:
    """Give "key", "none", or the text of the error."""
    async with _served(answer) as (template, client):
        endpoint = KeyEndpoint(
            client,
            template,
            read_key=read_key,
            credential=credential,
            timeout_s=timeout_s,
            is_plain_http_allowed=True,
        )
        try:
            key = await endpoint.fetch(KEY_ID)
        except ApiUnavailable as why:
            return str(why)
        if key is None:
            return "none"
        assert key.public_numbers() == private_key().public_key().public_numbers()
        return "key"


def _text(status: int, body: bytes = b"") -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body, headers={"Location": "/elsewhere"})

    return answer


@pytest.mark.parametrize(
    "status, body, outcome",
    [
        (200, pem(private_key()), "key"),
        (200, der_base64(private_key()), "key"),
        (404, b"", "none"),
        (400, b"", "none"),
        (200, b"<html>hello</html>", "the key endpoint sent something unfit: the text is no public key"),
        (200, b"", "the key endpoint sent something unfit: the text is no public key"),
        (200, b"x" * 20_000, "the key endpoint sent more than 16384 bytes"),
        (302, b"", "the key endpoint answered 302"),
        (401, b"", "the key endpoint answered 401"),
        (429, b"", "the key endpoint answered 429"),
        (500, b"", "the key endpoint answered 500"),
        (502, b"", "the key endpoint answered 502"),
    ],
)
async def test_only_a_key_or_no_such_key_is_an_answer(status: int, body: bytes, outcome: str) -> None:
    """200 with a fit key is one, 404 and 400 say that there is none; all else, redirects too, is trouble."""
    assert await _fetch(_text(status, body)) == outcome


async def test_a_silent_endpoint_is_left_in_time() -> None:
    """The whole question has one deadline."""

    async def answer(_: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    began_at_s = asyncio.get_running_loop().time()
    assert await _fetch(answer, timeout_s=0.1) == "the key endpoint did not answer in time"
    assert asyncio.get_running_loop().time() - began_at_s < 1.0


async def test_an_unreachable_endpoint_is_trouble() -> None:
    """A refused connection is told by its kind."""
    async with _served(_text(200)) as (template, _):
        pass
    async with key_client(verify=False) as client:
        endpoint = KeyEndpoint(client, template, read_key=read_key, is_plain_http_allowed=True)
        with pytest.raises(ApiUnavailable, match="ConnectError"):
            await endpoint.fetch(KEY_ID)


@pytest.mark.parametrize("status", [401, 403])
async def test_the_credential_is_shown_only_when_asked_for(status: int) -> None:
    """The first try carries no credential; 401 or 403 brings exactly one more try with ours."""
    shown: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        shown.append(request.headers.get("Authorization"))
        assert request.path_qs == f"/auth/webhooks/key/{KEY_ID}?pem=true"
        return web.Response(body=pem(private_key())) if shown[-1] else web.Response(status=status)

    async def credential() -> str:
        return "Bearer token"

    assert await _fetch(answer, credential) == "key"
    assert shown == [None, "Bearer token"]
    shown.clear()
    assert await _fetch(_text(403), credential) == "the key endpoint answered 403"


@pytest.mark.parametrize(
    "template, is_fit",
    [
        ("https://api.example/auth/webhooks/key/{keyId}?pem=true", True),
        ("https://api.example/{keyId}", True),
        ("http://api.example/{keyId}", False),
        ("https://{keyId}.example/", False),
        ("https://api.example/key", False),
        ("https://api.example/key?id={keyId}", False),
        ("https://api.example/{keyId}/{keyId}", False),
        ("file:///keys/{keyId}", False),
        ("/auth/webhooks/key/{keyId}", False),
    ],
)
def test_the_address_of_keys_is_pinned(template: str, is_fit: bool) -> None:  # noqa: FBT001 - a column of the table.
    """Only https with a fixed host and the id once in the path is taken."""
    if is_fit:
        check_url_template(template, is_plain_http_allowed=False)
    else:
        with pytest.raises(SettingsInvalid):
            check_url_template(template, is_plain_http_allowed=False)
