"""The provider's side of a process: several profiles, what they share, and what readiness and metrics say of them."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import structlog
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from processor.adapters.acked_producer import AckedProducer
from processor.adapters.gate import HeldBy
from processor.adapters.pauses import PauseReason, Standing
from processor.core.catalogue import Catalogue, RecordTemplate, Workflow
from processor.core.messages import CallAnswered, Create, ReadStatus
from processor.core.proof import Operation, Proof
from processor.engine.ports import Answer, Owned, Ticket
from processor.roles.provider import ProviderSide
from processor.roles.surroundings import Surroundings
from processor.settings import Settings
from processor.simulator.server import Simulator
from processor.simulator.settings import settings_from
from processor.telemetry import Metrics
from tests.support.waiting import eventually

FIRST = Owned(0, 1)
ALL = {"preparation": range(12), "launch": range(12), "completion": range(12)}
COUNTS = dict.fromkeys(ALL, 12)
KEY = {"key": "simulator-key", "secret": "simulator-secret"}
NOWHERE = "http://127.0.0.1:1"


class Side:
    """A provider side without Kafka: what the control topic would say, a test says."""

    def __init__(self, profiles: Mapping[str, Mapping[str, Any]], contacts: Collection[str] = ()) -> None:
        self.registry = CollectorRegistry()
        people = RecordTemplate("people", {})
        workflows = {name: Workflow(name, "definition", provider=name, record=people) for name in profiles}
        default, others = (
            profiles.get("default", {}),
            {name: one for name, one in profiles.items() if name != "default"},
        )
        self.settings = Settings.model_validate({"api": default, "providers": others})
        around = Surroundings(
            settings=self.settings,
            catalogue=Catalogue(workflows),
            metrics=Metrics(self.registry),
            start_id="start",
            version="1",
            contacts=contacts,
        )
        self.side = ProviderSide(
            around, cast("AckedProducer", None), "launch"
        )  # It would speak on the control topic only.
        self.caller = self.side.caller("completion")
        self.answers: asyncio.Queue[Answer] = asyncio.Queue()
        self.caller.bind(self.answers.put_nowait)

    def begin(self) -> None:
        """Start, but for the control topic."""
        for side in self.side._sides:  # noqa: SLF001  # all but the thread that reads Kafka
            side.start()
        self.side.profiles.open()
        self.side.count(COUNTS)
        self.side.share(ALL)

    async def answered(self, key: str, call: Create) -> Any:  # noqa: ANN401  # any answer
        self.caller.start([(Ticket(FIRST, key), call)], [])
        async with asyncio.timeout(5):
            answer = await self.answers.get()
        assert answer.ticket.key == key
        return answer.fact

    def metric(self, name: str, **labels: str) -> float | None:
        self.side.measure()
        return self.registry.get_sample_value(f"onboarding_{name}", labels)


@asynccontextmanager
async def running(**profiles: Mapping[str, Any]) -> AsyncIterator[Side]:
    """Give a side of these profiles, started."""
    side = Side(profiles)
    side.begin()
    try:
        yield side
    finally:
        await side.side.close()


@asynccontextmanager
async def simulators(*names: str) -> AsyncIterator[dict[str, tuple[Simulator, dict[str, Any]]]]:
    """Start a provider for each name; gives each with the settings that reach it."""
    started: dict[str, tuple[Simulator, dict[str, Any]]] = {}
    try:
        for name in names:
            simulator = Simulator(settings_from({"key": f"{name}-key"}))
            started[name] = (simulator, {**KEY, "base_url": await simulator.start(), "key": f"{name}-key"})
        yield started
    finally:
        for simulator, _ in started.values():
            await simulator.stop()


def create(provider: str, workflow: str | None = None) -> Create:
    return Create(Operation.CREATE_RECORD, workflow or provider, "request-1", 1, b"{}", provider)


async def test_each_profile_has_a_client_and_a_token_of_its_own() -> None:
    """A call reaches the provider that it names, with what that one knows us by; one that is away holds up no other."""
    async with simulators("default", "bank") as started:
        profiles = {name: settings for name, (_, settings) in started.items()}
        async with running(**profiles, gone={"base_url": NOWHERE, "token": "tot_x"}) as side:
            assert (await side.answered("a", create("gone"))).proof is Proof.NOT_SENT
            assert (await side.answered("b", create("bank"))).proof is Proof.DONE
            assert (await side.answered("c", create("default"))).proof is Proof.DONE
            assert [*side.side.unready()] == ["provider gone, breaker: it is away, connect"]
            assert [*side.side.degraded()] == []
            assert not side.side.is_away
            held = {name: side.metric("calls_held_back", provider=name, by="breaker") for name in ("bank", "gone")}
            assert held == {"bank": 0, "gone": 1}
            assert side.side.holding() == {"gone": (HeldBy.BREAKER,)}


async def test_readiness_says_what_is_missing_here() -> None:
    """Pauses unread, no token yet, a profile that is not there; a paused workflow (once) is outside."""
    side = Side({"default": {"base_url": NOWHERE, **KEY}, "bank": {"base_url": NOWHERE, "token": "tot_x"}})
    told = [*side.side.unready()]
    assert told == [
        "onboarding.control, pauses-unread: it is not read yet, no call starts before",
        "provider default, token: no token was obtained yet",
    ]
    assert side.side.holding() == {"default": ("token", "pauses-unread"), "bank": ("pauses-unread",)}
    side.begin()
    pause = Standing("bank", 0, is_paused=True, at=0, reason=PauseReason.OPERATOR, why="maintenance")
    side.side.profiles.heard("bank", pause)
    side.caller.start([(Ticket(FIRST, "a"), create("never"))], [])
    await eventually(lambda: len([*side.side.unready()]) == 2 and [*side.side.degraded()] != [])
    told = [*side.side.unready()]
    assert told[0].startswith("provider default, token: ")
    assert told[1:] == ["provider never is not configured: its calls wait until it is"]
    assert [*side.side.degraded()] == ["workflow bank, pause: operator, maintenance"]
    assert side.metric("paused_workflows", workflow="bank") == 1
    assert side.metric("calls_held_back", provider="bank", by="pause") == 1
    await side.side.close()


def standing(side: Side) -> tuple[list[str], list[str]]:
    """Return what is missing here, and what outside holds calls back."""
    return [*side.side.unready()], [*side.side.degraded()]


async def test_a_provider_that_goes_away_after_first_contact_is_no_lack_of_ours() -> None:
    """It took a token or a call of ours before: what is wrong now is not how this process was set up."""
    second = Simulator(settings_from({"organisation_tokens": ["tot_bank"]}))
    async with simulators("default") as started:
        first, default = started["default"]
        async with running(default=default, bank={"base_url": await second.start(), "token": "tot_bank"}) as side:
            await eventually(lambda: side.side.contacts == {"default"})
            assert (await side.answered("a", create("bank"))).proof is Proof.DONE
            assert side.side.contacts == {"default", "bank"}
            await first.stop()
            await second.stop()
            for name in ("default", "bank"):
                assert (await side.answered(name, create(name))).proof is Proof.NOT_SENT
            away = [f"provider {name}, breaker: it is away, connect" for name in ("default", "bank")]
            assert standing(side) == ([], away)


async def test_a_token_that_was_never_accepted_keeps_us_out_of_service() -> None:
    """A rollout with a wrong secret stops, although the workflow that met it is paused for everyone who sends it."""
    simulator = Simulator(settings_from({}))
    async with running(default={"base_url": await simulator.start(), "token": "tot_wrong"}) as side:
        await eventually(lambda: standing(side) == ([], []))
        assert (await side.answered("a", create("default"))).proof is Proof.OUR_FAULT
        unready, degraded = standing(side)
        assert unready == ["provider default, token: HTTP 401, it was never accepted"]
        assert [reason.split(",")[0] for reason in degraded] == ["workflow default"]
    await simulator.stop()


async def test_a_long_wait_is_told_and_changes_no_readiness() -> None:
    """The provider asks for it, so it has answered us."""
    simulator = Simulator(settings_from({"calls_per_second_max": 1, "retry_after_s": 90}))
    async with running(default={**KEY, "base_url": await simulator.start()}) as side:
        while (await side.answered("a", create("default"))).proof is not Proof.WAIT:
            pass
        unready, [reason] = standing(side)
        assert unready == []
        assert reason.startswith("provider default, retry-after: it asks to wait for ")
    await simulator.stop()


async def test_who_was_taken_before_its_deciders_were_renewed_is_known() -> None:
    """Everything is made anew then, and an outage in that moment proves no more than at another."""
    side = Side({"default": {"base_url": NOWHERE, **KEY}}, contacts=["default"])
    side.begin()
    await eventually(lambda: standing(side) == ([], ["provider default, token: token failed: connect"]))
    await side.side.close()


async def test_first_contact_outlasts_the_credentials_that_made_it() -> None:
    """A wrong secret that is put in place of one that ran out takes nobody out of service; its alert tells of it."""
    async with simulators("default") as started, running(default=started["default"][1]) as side:
        simulator = started["default"][0]
        assert (await side.answered("a", create("default"))).proof is Proof.DONE
        simulator.rotate_credentials("default-key", "new")
        simulator.revoke_former_tokens()
        side.caller.start([(Ticket(FIRST, "b"), create("default"))], [])
        await eventually(lambda: side.side.holding() == {"default": (HeldBy.TOKEN,)})
        await renewal(side, "wrong")
        await eventually(lambda: "HTTP 401" in str(standing(side)))
        unready, [reason] = standing(side)
        assert unready == []
        assert reason.startswith("provider default, token: token refused: HTTP 401")


async def test_first_contact_by_a_call_outlasts_its_token_too() -> None:
    """A token that is sent as it is was taken by a call; the next one meets an outage."""
    simulator = Simulator(settings_from({"organisation_tokens": ["tot_first"]}))
    async with running(default={"base_url": await simulator.start(), "token": "tot_first"}) as side:
        assert (await side.answered("a", create("default"))).proof is Proof.DONE
        await simulator.stop()
        await side.side.renewal("default", side.settings.api.model_copy(update={"token": SecretStr("tot_second")}))
        assert (await side.answered("b", create("default"))).proof is Proof.NOT_SENT
        assert standing(side) == ([], ["provider default, breaker: it is away, connect"])


async def test_a_provider_that_asks_to_wait_is_told_though_it_is_normal_operation() -> None:
    """What holds calls back says it, in the metric's word; a short wait makes nobody unready."""
    simulator = Simulator(settings_from({"calls_per_second_max": 1, "retry_after_s": 4}))
    async with running(default={**KEY, "base_url": await simulator.start()}) as side:
        with structlog.testing.capture_logs() as lines:
            while (await side.answered("a", create("default"))).proof is not Proof.WAIT:
                pass
        assert side.side.holding() == {"default": ("retry-after",)}
        assert side.metric("calls_held_back", provider="default", by="retry-after") == 1
        assert [*side.side.unready()] == []
        assert [line["provider"] for line in lines if line["event"] == "provider.throttled"] == ["default"]
    await simulator.stop()


async def test_slots_follow_the_partitions_that_are_ours() -> None:
    """None without partitions, all of them in one process, a decider's share of them in one that runs it alone."""
    async with running(default={"base_url": NOWHERE, "token": "tot_x", "calls_in_flight_max": 120}) as side:
        assert side.metric("call_slots", provider="default") == 120
        side.side.share({"completion": range(6)})
        assert side.metric("call_slots", provider="default") == 30
        side.side.share({"completion": ()})
        assert side.metric("call_slots", provider="default") == 0


async def test_two_instances_together_keep_the_limit_of_the_deployment() -> None:
    """Each has the slots that its partitions carry; the provider never sees more at once."""
    slots = 16
    simulator = Simulator(settings_from({"latency_ms": 10}))
    api = {**KEY, "base_url": await simulator.start(), "calls_in_flight_max": slots}
    async with running(default=api) as one, running(default=api) as other:
        for side, numbers in ((one, range(0, 12, 2)), (other, range(1, 12, 2))):
            side.side.share(dict.fromkeys(ALL, numbers))
            calls = [(Ticket(FIRST, str(number)), ReadStatus("default", str(number), 1)) for number in range(60)]
            side.caller.start(calls, [])
        async with asyncio.timeout(5):
            answers = [await side.answers.get() for side in (one, other) for _ in range(60)]
    assert {answer.fact.proof for answer in answers} == {Proof.REFUSED}
    assert slots // 2 < simulator.counters.peak <= slots
    await simulator.stop()


async def test_the_only_provider_that_is_needed_is_away() -> None:
    """Then preparation takes nothing more in; a profile that no workflow uses makes no difference."""
    async with running(default={"base_url": NOWHERE, "token": "tot_x"}) as side:
        assert not side.side.is_away
        assert (await side.answered("a", create("default"))).proof is Proof.NOT_SENT
        assert side.side.is_away


async def renewal(side: Side, secret: str) -> None:
    """Call the profile `default` with another secret."""
    await side.side.renewal("default", side.settings.api.model_copy(update={"secret": SecretStr(secret)}))


async def test_a_new_secret_serves_once_it_has_a_token() -> None:
    """Until then calls go out with the token of before; what is given up leaves everything as it was."""
    async with simulators("default") as started, running(default=started["default"][1]) as side:
        assert (await side.answered("a", create("default"))).proof is Proof.DONE
        with structlog.testing.capture_logs() as lines:
            renewing = asyncio.create_task(renewal(side, "new"))
            while not any(line["event"] == "token.refused" for line in lines):  # noqa: ASYNC110  # the simulator answers
                await asyncio.sleep(0.01)
            assert (await side.answered("b", create("default"))).proof is Proof.DONE
            renewing.cancel()
            await asyncio.wait([renewing])
            started["default"][0].rotate_credentials("default-key", "new")
            assert (await side.answered("c", create("default"))).proof is Proof.DONE
            await renewal(side, "new")
        started["default"][0].revoke_former_tokens()
        assert (await side.answered("d", create("default"))).proof is Proof.DONE
        assert [*side.side.unready()] == []


@pytest.mark.parametrize("http_client", ["pyreqwest", "httpx"])
async def test_a_call_that_is_open_ends_with_the_credentials_that_it_began_with(http_client: str) -> None:
    """Its client is closed only when it cannot be waiting any more."""
    async with simulators("default") as started:
        simulator, settings = started["default"]
        simulator.change_faults(latency_ms=500)
        async with running(default={**settings, "http_client": http_client}) as side:
            side.caller.start([(Ticket(FIRST, "a"), create("default"))], [])
            while not simulator.counters.peaks.get("POST /tables/{tableId}/records"):  # noqa: ASYNC110  # over HTTP
                await asyncio.sleep(0.01)
            simulator.change_faults(latency_ms=0)
            simulator.rotate_credentials("default-key", "new")
            await renewal(side, "new")
            assert side.answers.empty()
            async with asyncio.timeout(5):
                answer = await side.answers.get()
    assert isinstance(answer.fact, CallAnswered)
    assert answer.fact.proof is Proof.DONE


async def test_what_has_no_token_is_replaced_at_once() -> None:
    """Readiness then says what is wrong with the new credentials, not with those that nobody uses any more."""
    async with simulators("default") as started:
        gone = {**started["default"][1], "base_url": NOWHERE}
        async with running(default=gone) as side:
            async with asyncio.timeout(5):
                await renewal(side, "new")


def test_what_may_hold_calls_back_is_a_closed_list() -> None:
    """The metric's help names every word of it."""
    registry = CollectorRegistry()
    Metrics(registry)
    [sentence] = [family.documentation for family in registry.collect() if family.name == "onboarding_calls_held_back"]
    assert [by for by in HeldBy if by not in sentence] == []
