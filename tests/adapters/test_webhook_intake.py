"""What becomes of one webhook, and in which order."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import pytest

from processor.adapters.webhook_intake import REPEATED, Handled, Ports, Repeats, Trouble, WebhookIntake
from processor.core.messages import WebhookReceived
from processor.core.model import Instant
from processor.core.webhook import BodyPaths, Refusal, Unreadable, read_body
from processor.errors import ApiUnavailable, BrokerUnavailable, UndecodableMessage, UntrustedWebhook
from tests.adapters.webhook_support import BODY, KEY_ID, WORKFLOW_ID

NOW = 1_767_225_600_000


@dataclass
class FakePorts:
    """Everything outside the intake, by hand: what it does is told, what it was asked is kept."""

    trust: Exception | None = None
    broker: Exception | None = None
    published: list[WebhookReceived] = field(default_factory=list)
    set_aside: list[tuple[bytes, str, Instant]] = field(default_factory=list)

    async def verify(self, signatures: Sequence[str], body: bytes) -> str:
        assert signatures == ["signature"]
        assert isinstance(body, bytes)
        if self.trust is not None:
            raise self.trust
        return KEY_ID

    async def publish(self, webhook: WebhookReceived) -> None:
        if self.broker is not None:
            raise self.broker
        self.published.append(webhook)

    async def publish_unreadable(self, body: bytes, why: UndecodableMessage, received_at: Instant) -> None:
        if self.broker is not None:
            raise self.broker
        self.set_aside.append((body, why.reason, received_at))

    def intake(self, provider: str = "second") -> WebhookIntake:
        ports = Ports(self.verify, self.publish, self.publish_unreadable, lambda: NOW)
        return WebhookIntake(ports, BodyPaths(), provider=provider)

    async def accept(self, body: bytes = BODY) -> Handled:
        return await self.intake().accept(["signature"], body)


async def test_a_genuine_webhook_is_published_then_accepted() -> None:
    """What was read is published with arrival and provider profile, and what is told names key and workflow."""
    ports = FakePorts()
    told = Handled(HTTPStatus.ACCEPTED, "accepted", "", len(BODY), KEY_ID, WORKFLOW_ID, "second")
    assert await ports.accept() == told
    assert ports.published == [read_body(BODY, BodyPaths(), key_id=KEY_ID, received_at=NOW, provider="second")]
    assert ports.set_aside == []


@pytest.mark.parametrize(
    "body, reason",
    [(b"not json", Unreadable.NOT_JSON), (b'{"hello": "world"}', Unreadable.NO_WORKFLOW_ID)],
)
async def test_a_genuine_webhook_that_says_nothing_is_set_aside_then_accepted(body: bytes, reason: Unreadable) -> None:
    """Its bytes reach the dead letters before the answer; the provider did its part and is not asked to repeat."""
    ports = FakePorts()
    handled = await ports.accept(body)
    assert handled == Handled(HTTPStatus.ACCEPTED, reason, handled.detail, len(body), KEY_ID, provider="second")
    assert ports.set_aside[0] == (body, reason, NOW)
    assert ports.published == []


@pytest.mark.parametrize(
    "trust, broker, status, reason",
    [
        (UntrustedWebhook(Refusal.SIGNATURE_WRONG, "no"), None, 401, Refusal.SIGNATURE_WRONG),
        (UntrustedWebhook(Refusal.KEY_UNKNOWN, "no"), None, 401, Refusal.KEY_UNKNOWN),
        (ApiUnavailable("down"), None, 503, Trouble.KEY_UNAVAILABLE),
        (None, BrokerUnavailable("down"), 503, Trouble.BROKER_UNAVAILABLE),
        (None, RuntimeError("a bug"), 503, Trouble.FAULT),
        (RuntimeError("a bug"), None, 503, Trouble.FAULT),
    ],
)
@pytest.mark.parametrize("body", [BODY, b"not json"])
async def test_what_is_not_durable_is_never_accepted(
    trust: Exception | None, broker: Exception | None, status: int, reason: str, body: bytes
) -> None:
    """A forgery is refused, our own trouble asks for another try, and nothing is published either way."""
    ports = FakePorts(trust, broker)
    handled = await ports.accept(body)
    assert (handled.status, handled.reason, handled.provider) == (status, reason, "second")
    assert "down" not in handled.detail, "what is wrong with us is for our log, not for a stranger"
    assert ports.published == []
    assert ports.set_aside == []


async def test_content_is_irrelevant_before_the_signature() -> None:
    """A forged body is refused as forged whatever it holds: it is not even parsed."""
    ports = FakePorts(trust=UntrustedWebhook(Refusal.SIGNATURE_WRONG, "no"))
    verdicts = [(await ports.accept(body)).reason for body in (BODY, b"", b"\x00" * 1_000, b"[" * 100_000)]
    assert verdicts == [Refusal.SIGNATURE_WRONG] * 4


async def test_a_captured_webhook_fills_no_topic() -> None:
    """Of the same genuine bytes ten a minute are stored; the broker has enough of the rest; others do not suffer."""
    ports = FakePorts()
    intake = ports.intake()
    handled = [await intake.accept(["signature"], BODY) for _ in range(100)]
    assert [one.reason for one in handled] == ["accepted"] * 10 + [REPEATED] * 90
    assert {one.status for one in handled} == {HTTPStatus.ACCEPTED}
    assert len(ports.published) == 10
    assert (await intake.accept(["signature"], BODY + b" ")).reason == "accepted"


async def test_a_forgery_counts_as_no_repetition() -> None:
    """Who cannot sign a body cannot keep the provider from sending it."""
    ports = FakePorts(trust=UntrustedWebhook(Refusal.SIGNATURE_WRONG, "no"))
    intake = ports.intake()
    for _ in range(100):
        assert (await intake.accept(["signature"], BODY)).status == HTTPStatus.UNAUTHORIZED
    ports.trust = None
    assert (await intake.accept(["signature"], BODY)).reason == "accepted"


def test_repetitions_are_counted_in_bounds() -> None:
    """A window begins anew after its time, or when the clock goes back; the body that is longest away is forgotten."""
    repeats = Repeats(times_max=1, window_ms=1_000, bodies_max=2)
    repeats.stored(b"a", NOW)
    assert [repeats.is_enough(b"a", NOW + at) for at in (0, 999, 1_000, -1)] == [True, True, False, False]
    repeats.stored(b"a", NOW + 1_000)
    assert [repeats.is_enough(b"a", NOW + at) for at in (999, 1_000, 1_999, 2_000)] == [False, True, True, False]
    repeats.stored(b"b", NOW + 1_000)
    repeats.stored(b"c", NOW + 1_000)
    assert [repeats.is_enough(body, NOW + 1_000) for body in (b"a", b"b", b"c")] == [False, True, True]


async def test_what_the_broker_did_not_take_is_no_repetition() -> None:
    """Only what is stored may be answered with a 2xx: an outage does not turn repeats into thanks."""
    ports = FakePorts(broker=BrokerUnavailable("away"))
    intake = ports.intake()
    statuses = {(await intake.accept(["signature"], BODY)).status for _ in range(30)}
    assert statuses == {HTTPStatus.SERVICE_UNAVAILABLE}
