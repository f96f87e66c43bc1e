"""What becomes of one webhook: genuine or refused, published or set aside, and only then answered.

Nothing here knows HTTP beyond the status that tells the sender what to do: 2xx, the broker has it; 401, it will
never be believed; 503, our own trouble, send it again. Never 410: it could end the provider's subscription.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from http import HTTPStatus

from processor.core.messages import WebhookReceived
from processor.core.model import DEFAULT_PROVIDER, MINUTE_MS, Instant
from processor.core.webhook import BodyPaths, read_body
from processor.errors import ApiUnavailable, BrokerUnavailable, UndecodableMessage, UntrustedWebhook


class Trouble(StrEnum):
    """Our own reasons not to take a webhook now."""

    KEY_UNAVAILABLE = "key-unavailable"
    BROKER_UNAVAILABLE = "broker-unavailable"
    FAULT = "fault"


REPEATED = "repeated"

_DETAILS = {
    Trouble.KEY_UNAVAILABLE: "the key of this signature cannot be had now",
    Trouble.BROKER_UNAVAILABLE: "the webhook cannot be stored now",
    Trouble.FAULT: "a fault of the receiver",
}


@dataclass(frozen=True, slots=True)
class Handled:
    """How one request was answered, for the answer itself, the log and the metrics; holds no personal data.

    `reason` is "accepted", "repeated" or a word of a closed list, `detail` a sentence for the sender, `why` one for
    our log; `error` is set for a fault of our own only.
    """

    status: HTTPStatus
    reason: str
    detail: str
    body_bytes: int
    key_id: str | None = None
    workflow_id: str | None = None
    provider: str | None = None
    why: str | None = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Ports:
    """What the intake needs from outside.

    `verify` gives the id of the key that signed a body, or raises `UntrustedWebhook` or `ApiUnavailable`. Both
    publishers return once the broker has the record, and raise `BrokerUnavailable` otherwise. `clock` gives
    milliseconds since the epoch.
    """

    verify: Callable[[Sequence[str], bytes], Awaitable[str]]
    publish: Callable[[WebhookReceived], Awaitable[None]]
    publish_unreadable: Callable[[bytes, UndecodableMessage, Instant], Awaitable[None]]
    clock: Callable[[], Instant]


class Repeats:
    """Counts how often the broker took the same bytes within a while: a captured webhook must not fill our topics.

    The signature holds no time, so a copy stays genuine for ever. A few copies are stored, for a provider may say the
    same again and mean something new; of one more the broker has enough already.
    """

    def __init__(self, *, times_max: int = 10, window_ms: int = MINUTE_MS, bodies_max: int = 8_192) -> None:
        self._times_max = times_max
        self._window_ms = window_ms
        self._bodies_max = bodies_max
        self._seen: dict[bytes, tuple[Instant, int]] = {}

    def is_enough(self, body: bytes, now: Instant) -> bool:
        """Say whether these bytes were stored so often since their window began that a copy adds nothing."""
        began_at, times = self._seen.get(_digest(body), (now, 0))
        return times >= self._times_max and 0 <= now - began_at < self._window_ms

    def stored(self, body: bytes, now: Instant) -> None:
        """Note that the broker took these bytes, received at `now`, once more."""
        digest = _digest(body)
        began_at, times = self._seen.pop(digest, (now, 0))
        if not 0 <= now - began_at < self._window_ms:
            began_at, times = now, 0
        self._seen[digest] = (began_at, times + 1)
        if len(self._seen) > self._bodies_max:
            del self._seen[next(iter(self._seen))]  # The one that did not come for longest.


class WebhookIntake:
    """Takes in the webhooks of one provider profile, one call each."""

    def __init__(
        self, ports: Ports, paths: BodyPaths, *, provider: str = DEFAULT_PROVIDER, repeats: Repeats | None = None
    ) -> None:
        self._ports = ports
        self._paths = paths
        self._provider = provider
        self._repeats = repeats or Repeats()

    async def accept(self, signatures: Sequence[str], body: bytes) -> Handled:
        """Judge one raw body by its signature, make it durable, and say how to answer; never raises.

        The content is not looked at before the signature holds.
        """
        try:
            received_at = self._ports.clock()
            key_id = await self._ports.verify(signatures, body)
            if self._repeats.is_enough(body, received_at):
                return Handled(HTTPStatus.ACCEPTED, REPEATED, "", len(body), key_id, provider=self._provider)
            handled = await self._publish(body, key_id, received_at)
            self._repeats.stored(body, received_at)
            return handled  # noqa: TRY300 - stored only when it was published
        except UntrustedWebhook as refused:
            status = HTTPStatus.UNAUTHORIZED
            return Handled(status, refused.reason, str(refused), len(body), provider=self._provider)
        except ApiUnavailable as why:
            return self._later(Trouble.KEY_UNAVAILABLE, body, why=str(why))
        except BrokerUnavailable as why:
            return self._later(Trouble.BROKER_UNAVAILABLE, body, why=str(why))
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not cost the webhook: the sender tries again.
            return self._later(Trouble.FAULT, body, error=fault)

    def _later(
        self, trouble: Trouble, body: bytes, *, why: str | None = None, error: Exception | None = None
    ) -> Handled:
        """Ask the sender to come again; what is wrong on our side is for our log only."""
        status, detail = HTTPStatus.SERVICE_UNAVAILABLE, _DETAILS[trouble]
        return Handled(status, trouble, detail, len(body), provider=self._provider, why=why, error=error)

    async def _publish(self, body: bytes, key_id: str, received_at: Instant) -> Handled:
        try:
            webhook = read_body(body, self._paths, key_id=key_id, received_at=received_at, provider=self._provider)
        except UndecodableMessage as unreadable:
            await self._ports.publish_unreadable(body, unreadable, received_at)
            reason, detail = unreadable.reason, str(unreadable)
            return Handled(HTTPStatus.ACCEPTED, reason, detail, len(body), key_id, provider=self._provider)
        await self._ports.publish(webhook)
        workflow_id = webhook.workflow_id
        return Handled(HTTPStatus.ACCEPTED, "accepted", "", len(body), key_id, workflow_id, self._provider)


def _digest(body: bytes) -> bytes:
    return blake2b(body, digest_size=16).digest()
