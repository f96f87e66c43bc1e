"""Tokens: obtained once for all who ask, renewed ahead of time, and mended without a restart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import orjson
import pytest
from pydantic import SecretStr

from processor.adapters.access_token import AccessToken, TokenOutcome, TokenPolicy, credential, credentials
from processor.adapters.credential import KIND_OF, Credential, OrganisationToken
from processor.adapters.http import HttpAnswer, HttpFailure, HttpSettings, Reason
from processor.adapters.http_httpx import HttpxClient
from processor.core.proof import Operation
from processor.errors import SettingsInvalid
from processor.settings import ApiSettings, CredentialSettings, CredentialsSettings
from processor.simulator.server import Simulator
from processor.simulator.settings import settings_from
from tests.adapters.fake_http import Answer, FakeHttp, json_answer
from tests.support.waiting import eventually

BASE_URL = "http://provider.test"
API = ApiSettings(base_url=BASE_URL, key=SecretStr("key-1"), secret=SecretStr("secret-1"))
QUICK = TokenPolicy(refused_s=0.02, failed_ms_first=10, failed_ms_max=20, forced_s=0.0)
UNREACHABLE = HttpFailure(Reason.CONNECT)
REFUSED = json_answer(401, {"fingerprint": "f1", "errors": [{"code": "BAD_CREDENTIALS", "message": "Ada"}]})

AUTHORIZE, REFRESH = "/auth/authorize", "/auth/refresh"


def tokens(number: int, *, life_s: float | None = 3600, refresh: bool = True) -> HttpAnswer:
    """Answer with the tokens of this number."""
    body: dict[str, object] = {"accessToken": f"access-{number}", "tokenType": "Bearer"}
    if life_s is not None:
        body["expiryDuration"] = life_s
    return json_answer(200, body | ({"refreshToken": f"refresh-{number}"} if refresh else {}))


def bearer(number: int) -> tuple[str, str]:
    """Return the header of the token of this number."""
    return ("authorization", f"Bearer access-{number}")


class Obtaining:
    """A token over these answers, and what its listener was told."""

    def __init__(self, *answers: Answer, policy: TokenPolicy = QUICK, gate: asyncio.Event | None = None) -> None:
        self.http = FakeHttp(*answers, gate=gate)
        self.told: list[tuple[str, str]] = []
        self.was_ready: list[bool] = []  # At each outcome; who waits for it may be late on a busy machine.
        self.news = asyncio.Event()
        self.token = AccessToken(API, self.http, self._tell, policy)

    def _tell(self, outcome: TokenOutcome, why: str) -> None:
        self.told.append((outcome.value, why))
        self.was_ready.append(self.token.is_ready())
        self.news.set()

    async def told_times(self, count: int) -> list[str]:
        """Wait for so many outcomes, and return them."""
        async with asyncio.timeout(10):
            while len(self.told) < count:
                self.news.clear()
                await self.news.wait()
        return [outcome for outcome, _ in self.told[:count]]


@asynccontextmanager
async def started(
    *answers: Answer, policy: TokenPolicy = QUICK, gate: asyncio.Event | None = None
) -> AsyncIterator[Obtaining]:
    """Start a token over these answers, and stop it."""
    obtaining = Obtaining(*answers, policy=policy, gate=gate)
    obtaining.token.start()
    try:
        yield obtaining
    finally:
        await obtaining.token.close()


async def test_key_and_secret_bring_a_token() -> None:
    """Both go in the body of authorize, in the version of the settings; the token goes into the header."""
    async with started(tokens(1)) as it:
        assert (it.token.is_ready(), it.token.why_not()) == (False, "no token was obtained yet")
        await it.token.ready()
        assert (it.token.header, it.token.why_not()) == (bearer(1), None)
        (request,) = it.http.requests
        assert (request.method, request.url) == ("POST", f"{BASE_URL}{AUTHORIZE}")
        assert orjson.loads(request.body or b"") == {"key": "key-1", "secret": "secret-1"}
        assert ("accept", "application/json;version=2") in request.headers
        assert it.told == [("renewed", "")]


async def test_a_token_is_refreshed_before_it_ends() -> None:
    """After its share of the life, by the refresh token; the newest refresh token counts, or the old one stays."""
    async with started(tokens(1, life_s=0.02), tokens(2, life_s=0.02, refresh=False), tokens(3)) as it:
        await it.told_times(3)
        assert it.http.paths == [AUTHORIZE, REFRESH, REFRESH]
        bodies = [orjson.loads(request.body or b"") for request in it.http.requests[1:]]
        assert bodies == [{"refreshToken": "refresh-1"}] * 2
        assert it.token.header == bearer(3)


async def test_a_refresh_that_fails_becomes_an_authorize() -> None:
    """In the same attempt, so that nobody waits for it."""
    async with started(tokens(1, life_s=0.02), REFUSED, tokens(2)) as it:
        assert await it.told_times(2) == ["renewed", "renewed"]
        assert it.http.paths == [AUTHORIZE, REFRESH, AUTHORIZE]
        assert it.token.header == bearer(2)


async def test_the_old_token_serves_to_its_end_while_renewals_fail() -> None:
    """It is dropped only when a try after its end fails too."""
    early = replace(QUICK, renew_share=0.01)
    async with started(tokens(1, life_s=1), UNREACHABLE, policy=early) as it:
        await it.told_times(2)
        assert it.was_ready == [True, True]
        failures = 1
        while it.token.is_ready():
            failures += 1
            await it.told_times(failures)
        assert it.token.why_not() == "token failed: connect"


async def test_a_token_whose_renewal_was_refused_ends_at_its_end() -> None:
    """However long refused credentials are left alone: its end is worth a try of its own."""
    early = TokenPolicy(renew_share=0.01, refused_s=30)
    async with started(tokens(1, life_s=1), REFUSED, policy=early) as it:
        assert await it.told_times(3) == ["renewed", "refused", "refused"]
        assert it.was_ready == [True, True, False]


REFUSALS: dict[str, tuple[HttpAnswer, str]] = {
    "400": (json_answer(400, {}), "HTTP 400"),
    "401": (REFUSED, "HTTP 401, codes BAD_CREDENTIALS, fingerprint f1"),
    "403": (HttpAnswer(403, {}, b"<html>"), "HTTP 403"),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_refused_credentials_are_said_and_tried_again(case: str) -> None:
    """Not ready while the provider refuses them; mended there, the work goes on without a restart."""
    refusal, why = REFUSALS[case]
    async with started(refusal, tokens(1)) as it:
        await it.told_times(1)
        assert (it.told, it.token.is_ready()) == ([("refused", why)], False)
        assert it.token.why_not() == f"token refused: {why}"
        await it.token.ready()
        assert it.http.paths == [AUTHORIZE, AUTHORIZE]


FAILURES: dict[str, tuple[Answer, str]] = {
    "unreachable": (UNREACHABLE, "connect"),
    "no answer": (HttpFailure(Reason.TIMEOUT), "timeout"),
    "server error": (HttpAnswer(502, {}, b"no"), "HTTP 502"),
    "wrong address": (json_answer(404, {}), "HTTP 404"),
    "no JSON": (HttpAnswer(200, {}, b"<html>"), "HTTP 200, no access token"),
    "no token": (json_answer(200, {"refreshToken": "r"}), "HTTP 200, no access token"),
    "no text": (json_answer(200, {"accessToken": 7}), "HTTP 200, no access token"),
    "fit for no header": (json_answer(200, {"accessToken": "a\r\nb"}), "HTTP 200, no access token"),
}


@pytest.mark.parametrize("case", FAILURES)
async def test_a_failure_is_tried_again_after_a_wait(case: str) -> None:
    """Whatever came instead of a token, the next one is taken."""
    failure, why = FAILURES[case]
    async with started(failure, failure, tokens(1)) as it:
        await it.token.ready()
        assert it.told == [("failed", why), ("failed", why), ("renewed", "")]


@pytest.mark.parametrize("life_s", [None, 0, -1, True, "3600"])
async def test_a_life_that_means_nothing_counts_as_five_minutes(life_s: float | None) -> None:
    """The token is used all the same."""
    async with started(tokens(1, life_s=life_s)) as it:
        await it.token.ready()
        assert it.token.header == bearer(1)
        await asyncio.sleep(0.01)
        assert it.http.paths == [AUTHORIZE]


async def test_all_who_met_401_wait_for_one_renewal() -> None:
    """It authorizes, for a refresh token may be as dead as its access token; the gate is closed meanwhile."""
    gate = asyncio.Event()
    gate.set()
    async with started(tokens(1), tokens(2), gate=gate) as it:
        await it.token.ready()
        gate.clear()
        asked = [asyncio.ensure_future(it.token.renew(bearer(1))) for _ in range(50)]
        await asyncio.sleep(0)
        assert not it.token.is_ready()
        asked[0].cancel()
        gate.set()
        assert await asyncio.gather(*asked[1:]) == [bearer(2)] * 49
        assert await it.token.renew(bearer(1)) == bearer(2)
        assert it.http.paths == [AUTHORIZE, AUTHORIZE]


async def test_401_joins_a_renewal_that_is_under_way() -> None:
    """There is one attempt at a time; what it brings is newer than what met 401."""
    gate = asyncio.Event()
    gate.set()
    async with started(tokens(1, life_s=0.02), tokens(2), gate=gate) as it:
        await it.token.ready()
        gate.clear()
        await eventually(lambda: it.http.paths == [AUTHORIZE, REFRESH])
        renewing = asyncio.ensure_future(it.token.renew(bearer(1)))
        await asyncio.sleep(0.002)
        gate.set()
        assert await renewing == bearer(2)
        assert it.http.paths == [AUTHORIZE, REFRESH]


async def test_a_renewal_that_fails_leaves_no_token() -> None:
    """Who comes later with the same stale token gets none at once, and causes no further attempt."""
    slow = TokenPolicy(refused_s=30, forced_s=0)
    async with started(tokens(1), REFUSED, policy=slow) as it:
        await it.token.ready()
        assert await it.token.renew(bearer(1)) is None
        assert await it.token.renew(bearer(1)) is None
        assert it.http.paths == [AUTHORIZE, AUTHORIZE]


async def test_renewals_after_401_keep_a_distance() -> None:
    """A provider that answers 401 to everything is not asked for tokens in a circle."""
    async with started(tokens(1), tokens(2), tokens(3), policy=TokenPolicy(forced_s=0.05)) as it:
        await it.token.ready()
        assert await it.token.renew(bearer(1)) == bearer(2)
        begun_s = asyncio.get_running_loop().time()
        assert await it.token.renew(bearer(2)) == bearer(3)
        assert asyncio.get_running_loop().time() - begun_s >= 0.045


async def test_nothing_shows_a_secret() -> None:
    """Neither the token's text forms nor what the listener is told."""
    async with started(tokens(1, life_s=0.02), REFUSED) as it:
        await it.told_times(3)
        shown = f"{it.token!r} {it.told} {it.http.requests!r} {it.token.why_not()}"
        assert not any(secret in shown for secret in ("key-1", "secret-1", "access-1", "refresh-1", "Ada"))


async def test_an_organisation_token_is_sent_bare() -> None:
    """Without `Bearer`, and without any call of its own; a 401 finds the same one."""
    http = FakeHttp(UNREACHABLE)
    held: Credential = credential(ApiSettings(token=SecretStr(" tot_abc\n")), http, lambda *_: None)
    held.start()
    await held.ready()
    header = ("authorization", "tot_abc")
    assert (held.header, held.is_ready(), held.why_not()) == (header, True, None)
    assert await held.renew(header) == header
    await held.close()
    assert http.requests == []


def test_credentials_that_cannot_work_stop_the_start() -> None:
    """None at all, or a token that no header can carry; the text does not repeat it."""
    with pytest.raises(SettingsInvalid, match="PROCESSOR_API__KEY"):
        credential(ApiSettings(), FakeHttp(UNREACHABLE), lambda *_: None)
    with pytest.raises(SettingsInvalid, match="organisation token") as refused:
        OrganisationToken("tot_a b")
    assert "tot_a" not in str(refused.value)


async def test_kinds_of_calls_with_the_same_credential_share_one_token() -> None:
    """Two settings, two tokens, each asked for once; without the one for reads nothing begins, and it says so."""
    own = CredentialsSettings(read=CredentialSettings(key=SecretStr("key-2"), secret=SecretStr("secret-2")))
    http = FakeHttp(tokens(1), REFUSED)
    told = asyncio.Event()
    held = credentials(
        API.model_copy(update={"credentials": own}),
        http,
        lambda outcome, _: told.set() if outcome is TokenOutcome.REFUSED else None,
    )
    assert held.of(Operation.RUN) is held.of(Operation.CREATE_RECORD) is not held.of(Operation.READ_STATUS)
    held.start()
    async with asyncio.timeout(2):
        await told.wait()
    await asyncio.sleep(0)
    assert [orjson.loads(request.body or b"")["key"] for request in http.requests] == ["key-1", "key-2"]
    assert held.of(Operation.RUN).header == bearer(1)
    assert (held.is_ready(), held.why_not()) == (
        False,
        "read: token refused: HTTP 401, codes BAD_CREDENTIALS, fingerprint f1",
    )
    await held.close()


async def test_every_operation_has_a_kind_of_credential() -> None:
    """A new one must be sorted in."""
    assert KIND_OF.keys() == set(Operation)


async def test_the_simulator_gives_and_takes_tokens() -> None:
    """Over real sockets: authorize, refresh ahead of time, refusal, and mending."""
    simulator = Simulator(settings_from({"token_s": 1}))
    api = API.model_copy(
        update={
            "base_url": await simulator.start(),
            "key": SecretStr("simulator-key"),
            "secret": SecretStr("simulator-secret"),
        }
    )
    client = HttpxClient(HttpSettings())
    told: list[str] = []
    policy = TokenPolicy(renew_share=0.02, refused_s=0.02)
    held = AccessToken(api, client, lambda outcome, _: told.append(outcome.value), policy)
    try:
        held.start()
        await held.ready()
        first = held.header
        assert first is not None
        await eventually(lambda: held.header != first)
        simulator.change_faults(credentials_refused=True)
        assert held.header is not None
        assert await held.renew(held.header) is None
        simulator.change_faults(credentials_refused=False)
        await held.ready()
        assert {"renewed", "refused"} == set(told)
    finally:
        await held.close()
        await client.close()
        await simulator.stop()
