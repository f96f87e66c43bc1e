"""Whether the provider is there: when it counts as away, what may then be sent, and what brings it back."""

import asyncio
from dataclasses import dataclass, field

import pytest

from processor.adapters.http import HttpAnswer, HttpFailure, HttpRequest, Reason
from processor.adapters.reach import TROUBLES_MAX, Contact, Reach, ReachableProvider
from tests.adapters.fake_http import Answer, FakeCredential, FakeHttp

TOKEN = ("authorization", "Bearer t")
CALL = HttpRequest("POST", "http://provider.test/workflows/run", (), b"{}", 3.0)
GOOD = HttpAnswer(200, {}, b"{}")
REFUSED = HttpAnswer(401, {}, b"{}")
BROKEN = HttpAnswer(503, {}, b"")
UNCONNECTED = HttpFailure(Reason.CONNECT)


@dataclass
class Told:
    """What was told, and how long was slept."""

    words: list[str | None] = field(default_factory=list)
    sleeps_s: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.sleeps_s.append(seconds)


def reach_over(*answers: Answer) -> tuple[Reach, FakeHttp, Told]:
    """Give a reach over a client with these answers."""
    http, told = FakeHttp(*answers), Told()
    made = Reach(
        http,
        "http://provider.test",
        probe_deadline_s=2.0,
        authorization=lambda: TOKEN,
        tell=told.words.append,
        sleep=told.sleep,
        chance=lambda: 0.5,
    )
    return made, http, told


@pytest.mark.parametrize("reason", [Reason.DNS, Reason.CONNECT, Reason.CONNECT_TIMEOUT, Reason.TLS, Reason.PROXY])
async def test_a_connection_that_does_not_come_about_is_enough(reason: Reason) -> None:
    """Nothing was sent, and nothing will be: the next attempt would be spent for the same."""
    reach, _, told = reach_over(HttpFailure(reason))
    assert await reach.send(CALL) == HttpFailure(reason)
    assert (reach.is_there, told.words) == (False, [reason.value])


@pytest.mark.parametrize(
    "trouble,word",
    [
        (BROKEN, "HTTP 503"),
        (HttpFailure(Reason.TIMEOUT), "timeout"),
        (HttpFailure(Reason.DISCONNECTED), "disconnected"),
    ],
)
async def test_several_troubles_in_a_row_are_needed(trouble: Answer, word: str) -> None:
    """One 5xx says little about the next call; only the last of a row counts the provider as away, told once."""
    reach, _, told = reach_over(trouble)
    for _ in range(TROUBLES_MAX - 1):
        await reach.send(CALL)
    assert reach.is_there
    await reach.send(CALL)
    await reach.send(CALL)
    assert (reach.is_there, told.words) == (False, [word])


@pytest.mark.parametrize("life", [GOOD, REFUSED])
async def test_any_answer_between_begins_the_row_anew(life: HttpAnswer) -> None:
    """A provider that refuses is there."""
    row = [BROKEN] * (TROUBLES_MAX - 1)
    reach, _, told = reach_over(*row, life, *row, life)
    for _ in range(2 * TROUBLES_MAX):
        await reach.send(CALL)
    assert (reach.is_there, told.words) == (True, [])


@pytest.mark.parametrize("reason", [Reason.POOL, Reason.CLOSED, Reason.INVALID_REQUEST, Reason.MALFORMED])
async def test_what_is_our_own_or_not_about_reach_says_nothing(reason: Reason) -> None:
    """A slot that did not come free, or a request of which no HTTP can be made, is not the provider's absence."""
    reach, _, told = reach_over(HttpFailure(reason))
    for _ in range(2 * TROUBLES_MAX):
        await reach.send(CALL)
    assert (reach.is_there, told.words) == (True, [])


async def test_only_reads_probe_and_the_first_answer_brings_it_back() -> None:
    """Each comes at a random moment of a wait that doubles; a refusal is an answer."""
    reach, http, told = reach_over(UNCONNECTED, UNCONNECTED, BROKEN, UNCONNECTED, REFUSED)
    await reach.send(CALL)
    await reach.back()
    assert (reach.is_there, told.words) == (True, ["connect", None])
    probes = http.requests[1:]
    assert {(probe.method, probe.body) for probe in probes} == {("GET", None)}
    assert {probe.headers for probe in probes} == {(("accept", "application/json"), TOKEN)}
    assert (len(probes), told.sleeps_s) == (4, [0.125, 0.25, 0.5, 1.0])


async def test_the_wait_between_probes_has_a_limit() -> None:
    """After an outage of hours the provider is found again within seconds."""
    reach, _, told = reach_over(*[UNCONNECTED] * 12, GOOD)
    await reach.send(CALL)
    await reach.back()
    assert told.sleeps_s[-1] == max(told.sleeps_s) == 2.5


async def test_a_late_answer_of_before_does_not_bring_it_back() -> None:
    """What was open when it went away proves only that it was there then."""
    reach, _, told = reach_over(UNCONNECTED, GOOD)
    await reach.send(CALL)
    await reach.send(CALL)
    assert (reach.is_there, told.words) == (False, ["connect"])


async def test_there_is_nothing_to_wait_for_while_it_is_there() -> None:
    """Nobody probes a provider that answers."""
    reach, http, _ = reach_over(GOOD)
    await reach.back()
    assert http.requests == []


@pytest.mark.parametrize(
    "answers,contact",
    [
        ([UNCONNECTED, BROKEN, HttpFailure(Reason.TIMEOUT)], Contact.NONE),
        ([BROKEN, REFUSED, BROKEN], Contact.REFUSED),
        ([REFUSED, GOOD, REFUSED, BROKEN], Contact.MADE),
        ([HttpAnswer(404, {}, b"")], Contact.MADE),
    ],
)
async def test_the_best_that_ever_came_of_a_call_is_remembered(answers: list[HttpAnswer], contact: Contact) -> None:
    """Once it took a call of ours no outage, and no refusal, says that it never did."""
    reach, _, _ = reach_over(*answers)
    for _ in answers:
        await reach.send(CALL)
    assert reach.contact is contact


@pytest.mark.parametrize("life,contact", [(GOOD, Contact.MADE), (REFUSED, Contact.REFUSED)])
async def test_a_probe_is_a_call_of_ours_too(life: HttpAnswer, contact: Contact) -> None:
    """What it was answered counts as much."""
    reach, _, _ = reach_over(UNCONNECTED, life)
    await reach.send(CALL)
    await reach.back()
    assert reach.contact is contact


class FakeApi(FakeCredential):
    """Ready while it has a token; makes no calls."""

    async def perform(self, call: object) -> None:
        raise AssertionError(call)


async def test_a_provider_that_is_away_is_waited_for_with_and_without_a_token() -> None:
    """While there is no token its renewal is the probe; a read comes only after it."""
    reach, http, _ = reach_over(UNCONNECTED, GOOD)
    await reach.send(CALL)
    api = FakeApi(None, TOKEN)
    provider = ReachableProvider(api, reach)  # type: ignore[arg-type]  # it is never called
    assert (provider.has_token, provider.is_away) == (False, True)
    waiting = asyncio.create_task(provider.ready())
    await asyncio.sleep(0)
    assert (waiting.done(), len(http.requests)) == (False, 1)
    await api.renew(TOKEN)
    async with asyncio.timeout(1):
        await waiting
    assert (provider.has_token, provider.is_away, len(http.requests)) == (True, False, 2)
