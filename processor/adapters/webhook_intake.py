"""What becomes of one webhook: genuine or refused, published or set aside, and only then answered.

Nothing here knows HTTP beyond the status that tells the sender what to do: 2xx, the broker has it; 401, it will
never be believed; 503, our own trouble, send it again. Never 410: it could end the provider's subscription.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

from processor.core.messages import WebhookReceived
from processor.core.model import Instant
from processor.core.webhook import BodyPaths, read_body
from processor.errors import ApiUnavailable, BrokerUnavailable, UndecodableMessage, UntrustedWebhook


class Trouble(StrEnum):
    """Our own reasons not to take a webhook now."""

    KEY_UNAVAILABLE = "key-unavailable"
    BROKER_UNAVAILABLE = "broker-unavailable"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Handled:
    """How one request was answered, for the answer itself, the log and the metrics; holds no personal data.

    `reason` is "accepted" or a word of a closed list; `error` is set for a fault of our own only.
    """

    status: HTTPStatus
    reason: str
    detail: str
    body_bytes: int
    key_id: str | None = None
    workflow_id: str | None = None
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


class WebhookIntake:
    """Takes webhooks in, one call each; holds nothing between calls."""

    def __init__(self, ports: Ports, paths: BodyPaths) -> None:
        self._ports = ports
        self._paths = paths

    async def accept(self, signatures: Sequence[str], body: bytes) -> Handled:
        """Judge one raw body by its signature, make it durable, and say how to answer; never raises.

        The content is not looked at before the signature holds.
        """
        size = len(body)
        try:
            received_at = self._ports.clock()
            key_id = await self._ports.verify(signatures, body)
            return await self._publish(body, key_id, received_at)
        except UntrustedWebhook as refused:
            return Handled(HTTPStatus.UNAUTHORIZED, refused.reason, str(refused), size)
        except ApiUnavailable as why:
            return Handled(HTTPStatus.SERVICE_UNAVAILABLE, Trouble.KEY_UNAVAILABLE, str(why), size)
        except BrokerUnavailable as why:
            return Handled(HTTPStatus.SERVICE_UNAVAILABLE, Trouble.BROKER_UNAVAILABLE, str(why), size)
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not cost the webhook: the sender tries again.
            detail = "a fault of the receiver"
            return Handled(HTTPStatus.SERVICE_UNAVAILABLE, Trouble.FAULT, detail, size, error=fault)

    async def _publish(self, body: bytes, key_id: str, received_at: Instant) -> Handled:
        try:
            webhook = read_body(body, self._paths, key_id=key_id, received_at=received_at)
        except UndecodableMessage as unreadable:
            await self._ports.publish_unreadable(body, unreadable, received_at)
            return Handled(HTTPStatus.ACCEPTED, unreadable.reason, str(unreadable), len(body), key_id)
        await self._ports.publish(webhook)
        return Handled(HTTPStatus.ACCEPTED, "accepted", "", len(body), key_id, webhook.workflow_id)
