"""What keys cost and how long they count, on a clock of the test's own; and what the endpoint's answers mean."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import httpx
import pytest
from aiohttp import web

from processor.adapters.credential import Credential, Header
from processor.adapters.jws import read_key
from processor.adapters.webhook_keys import KeyEndpoint, KeyPolicy, WebhookKeys, check_url_template, key_client
from processor.errors import ApiUnavailable, SettingsInvalid
from tests.adapters.webhook_support import KEY_ID, OTHER_KEY_ID, der_base64, elliptic_pem, pem, private_key, short_pem

DAY_S = 86_400.0
MINUTE_S = 60.0


@dataclass
class FakeEndpoint:
    """A key endpoint by hand: what it knows, whether it answers, and what it was asked."""

    known: dict[str, str] = field(default_factory=dict)
    is_down: bool = False
    trouble: Exception = field(default_factory=lambda: ApiUnavailable("down"))
    gate: asyncio.Event | None = None
    asked: list[str] = field(default_factory=list)
    now_s: float = 0.0

    async def fetch(self, key_id: str) -> str | None:
        self.asked.append(key_id)
        if self.gate is not None:
            await self.gate.wait()
        if self.is_down:
            raise self.trouble
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


@pytest.mark.parametrize("trouble", [ApiUnavailable("down"), RuntimeError("a bug"), TimeoutError()])
async def test_one_failed_fetch_takes_no_key_away(trouble: Exception) -> None:
    """Whatever goes wrong with a fetch, the key that we hold serves on, and the endpoint is left alone for a minute."""
    endpoint = FakeEndpoint({KEY_ID: "key"}, trouble=trouble)
    keys = endpoint.keys()
    assert await _finds(keys) == "key"
    endpoint.is_down, endpoint.now_s = True, 601
    assert [await _finds(keys) for _ in range(10)] == ["key"] * 10
    assert len(endpoint.asked) == 2


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
    assert len(endpoint.asked) == 1 + 10
    assert verdicts.count("later") == 589
    endpoint.now_s = 605
    assert await _finds(keys, OTHER_KEY_ID) == "other"


async def test_a_start_amid_a_rotation_refuses_nobody() -> None:
    """A key that is found leaves the minute's fetch to the next: after a start two keys in use are there at once."""
    endpoint = FakeEndpoint({KEY_ID: "old", OTHER_KEY_ID: "new"})
    keys = endpoint.keys()
    assert [await _finds(keys, key_id) for key_id in (KEY_ID, OTHER_KEY_ID)] == ["old", "new"]
    assert await _finds(keys, str(UUID(int=1))) is None
    assert await _finds(keys, str(UUID(int=2))) == "later"


async def test_foreign_keys_cannot_be_fetched_without_end() -> None:
    """Ids of keys that do exist, but sign nothing of ours, cost one fetch a minute once the memory is full."""
    endpoint = FakeEndpoint({str(UUID(int=number)): "foreign" for number in range(100)})
    keys = endpoint.keys(KeyPolicy(keys_max=8))
    for number in range(100):
        await _finds(keys, str(UUID(int=number)))
    assert len(endpoint.asked) == 9


async def test_two_new_keys_at_the_same_time_are_fetched_one_after_the_other() -> None:
    """While the fetch of an unknown id is under way, another one is told to come later."""
    endpoint = FakeEndpoint({KEY_ID: "old", OTHER_KEY_ID: "new"}, gate=asyncio.Event())
    keys = endpoint.keys()
    first = asyncio.create_task(_finds(keys))
    await asyncio.sleep(0)
    assert await _finds(keys, OTHER_KEY_ID) == "later"
    assert endpoint.gate is not None
    endpoint.gate.set()
    assert await first == "old"
    assert await _finds(keys, OTHER_KEY_ID) == "new"


async def test_a_key_that_is_held_is_asked_for_in_spite_of_a_flood() -> None:
    """The minute's fetch of unknown ids is no limit for keys that we hold: each is asked for again in its time."""
    endpoint = FakeEndpoint({KEY_ID: "key"})
    keys = endpoint.keys()
    assert await _finds(keys) == "key"
    endpoint.now_s = 601
    assert await _finds(keys, str(UUID(int=1))) is None
    endpoint.known[KEY_ID] = "renewed"
    assert await _finds(keys) == "renewed"


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


async def test_what_changed_on_our_side_lets_an_unknown_key_be_asked_for_at_once() -> None:
    """The fetch in vain was our fault: a new authority or credential may have the key now."""
    endpoint = FakeEndpoint({KEY_ID: "key"})
    keys = endpoint.keys()
    endpoint.is_down = True
    assert [await _finds(keys) for _ in range(2)] == ["later"] * 2
    endpoint.is_down = False
    assert await _finds(keys) == "later"
    keys.renew()
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

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


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
        async with key_client(is_plain_http=True) as client:
            yield f"http://127.0.0.1:{site.port}/auth/webhooks/key/{{keyId}}?pem=true", client
    finally:
        await runner.cleanup()


async def _fetch(answer: Answer, credential: Credential | None = None, timeout_s: float = 2.0) -> str:
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
        (200, elliptic_pem(), "the key endpoint sent something unfit: the key is no RSA key"),
        (200, short_pem(), "the key endpoint sent something unfit: the key must have 2048 to 8192 bits"),
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
    async with key_client(is_plain_http=True) as client:
        endpoint = KeyEndpoint(client, template, read_key=read_key, is_plain_http_allowed=True)
        with pytest.raises(ApiUnavailable, match="cannot be reached: connect"):
            await endpoint.fetch(KEY_ID)


async def test_a_redirect_is_followed_nowhere() -> None:
    """Wherever the endpoint points to, the key is not fetched there: not on another path, host or port either."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=307, headers={"Location": str(request.url.with_path("/elsewhere"))})

    assert await _fetch(answer) == "the key endpoint answered 307"
    assert asked == [f"/auth/webhooks/key/{KEY_ID}"]


@pytest.mark.parametrize("piece, pause_s", [(b"-", 0.02), (b"x" * 4_096, 0.0)])
async def test_a_body_without_end_is_left(piece: bytes, pause_s: float) -> None:
    """A key that comes byte by byte meets the deadline, one that never ends meets the cap."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while request.transport is not None:
            await response.write(piece)
            await asyncio.sleep(pause_s)
        return response

    told = await _fetch(answer, timeout_s=0.2)
    assert told == f"the key endpoint {'did not answer in time' if pause_s else 'sent more than 16384 bytes'}"


async def test_a_compressed_key_is_not_unpacked() -> None:
    """The endpoint is asked for plain text; what it packs all the same is no key, however small."""

    async def answer(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        return web.Response(body=gzip.compress(pem(private_key())), headers={"Content-Encoding": "gzip"})

    assert await _fetch(answer) == "the key endpoint sent something unfit: the text is no public key"


@dataclass
class FakeCredential:
    """A credential by hand, told by its headers, newest last."""

    tokens: list[str]
    obtained: int = 0
    is_closed: bool = False

    @property
    def header(self) -> Header | None:
        return ("authorization", self.tokens[self.obtained - 1]) if self.obtained else None

    def is_ready(self) -> bool:
        return self.obtained > 0

    def why_not(self) -> str | None:
        return None if self.obtained else "not asked for"

    async def ready(self) -> None:
        assert self.obtained

    async def renew(self, stale: Header) -> Header | None:
        assert stale == self.header
        self.obtained = min(self.obtained + 1, len(self.tokens))
        return self.header

    def start(self) -> None:
        assert not self.obtained
        self.obtained = 1

    async def close(self) -> None:
        self.is_closed = True


@dataclass
class Guarded:
    """A key endpoint that lets in whoever shows the right token."""

    status: int
    right: str
    shown: list[str | None] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        assert request.path_qs == f"/auth/webhooks/key/{KEY_ID}?pem=true"
        self.shown.append(request.headers.get("Authorization"))
        is_right = self.shown[-1] == self.right
        return web.Response(body=pem(private_key())) if is_right else web.Response(status=self.status)


@pytest.mark.parametrize(
    "status, tokens, outcome, shown",
    [
        (401, ["right"], "key", [None, "right"]),
        (403, ["right"], "key", [None, "right"]),
        (401, ["wrong"], "the key endpoint answered 401", [None, "wrong"]),
        (403, ["wrong", "right"], "the key endpoint answered 403", [None, "wrong"]),
        (401, ["old", "right"], "key", [None, "old", "right"]),
        (401, ["old", "older"], "the key endpoint answered 401", [None, "old", "older"]),
        (500, ["right"], "the key endpoint answered 500", [None]),
    ],
)
async def test_the_credential_is_shown_only_when_asked_for(
    status: int, tokens: list[str], outcome: str, shown: list[str | None]
) -> None:
    """The first try carries none; 401 or 403 brings one more with ours, a 401 to that one with a renewed token."""
    guarded = Guarded(status, "right")
    assert await _fetch(guarded.answer, FakeCredential(tokens)) == outcome
    assert guarded.shown == shown


async def test_a_credential_is_obtained_only_when_asked_for() -> None:
    """An endpoint that asks for nothing costs no token; where it asked once, the same one serves from then on."""
    unasked, asked = FakeCredential(["right"]), FakeCredential(["right"])
    assert await _fetch(_text(200, pem(private_key())), unasked) == "key"
    assert (unasked.obtained, unasked.is_closed) == (0, False)
    guarded = Guarded(401, "right")
    async with _served(guarded.answer) as (template, client):
        endpoint = KeyEndpoint(
            client, template, read_key=read_key, credential=asked, timeout_s=2.0, is_plain_http_allowed=True
        )
        assert await endpoint.fetch(KEY_ID)
        assert await endpoint.fetch(KEY_ID)
        await endpoint.close()
    assert (asked.obtained, asked.is_closed) == (1, True)
    assert guarded.shown == [None, "right"] * 2


async def test_a_token_that_does_not_come_ends_in_time() -> None:
    """Obtaining the credential counts towards the one deadline of the question."""

    class Never(FakeCredential):
        async def ready(self) -> None:
            await asyncio.Event().wait()

        def start(self) -> None:
            """Obtain nothing."""

    assert await _fetch(_text(401), Never(["right"]), timeout_s=0.1) == "the key endpoint did not answer in time"


@pytest.mark.parametrize(
    "template, is_fit",
    [
        ("https://api.example/auth/webhooks/key/{keyId}?pem=true", True),
        ("https://api.example/{keyId}", True),
        ("https://10.0.0.8:8443/keys/{keyId}", True),
        ("https://169.254.169.254@{keyId}/", False),
        ("http://10.0.0.8/keys/{keyId}", False),
        ("https:///{keyId}", False),
        ("https://api.example/#{keyId}", False),
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
    """Only https with a fixed host and the id once in the path is taken; a private host is the operator's choice."""
    if is_fit:
        check_url_template(template, is_plain_http_allowed=False)
    else:
        with pytest.raises(SettingsInvalid):
            check_url_template(template, is_plain_http_allowed=False)
