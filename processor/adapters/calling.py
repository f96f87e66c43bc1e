"""Calls of the provider's API as they pass from a decider to the provider and back; plain values and two protocols.

Which calls may be made at once is `gate.py`'s to say, how one is made the provider adapter's.
"""

from typing import Protocol, TypeAlias

from processor.core.messages import (
    CallAnswered,
    CaseRead,
    Create,
    ReadCase,
    ReadResult,
    ReadStatus,
    ResultRead,
    StartWorkflow,
    StatusRead,
)
from processor.core.proof import Operation, Proof

ApiCall: TypeAlias = Create | StartWorkflow | ReadStatus | ReadResult | ReadCase
ApiFact: TypeAlias = CallAnswered | StatusRead | ResultRead | CaseRead


class Api(Protocol):
    """The API of one provider profile, for one event loop."""

    async def perform(self, call: ApiCall) -> ApiFact:
        """Make one call and say what it proved; raises nothing but `CancelledError`.

        It has deadlines of its own, and renews the token once on 401.
        """
        ...

    def is_ready(self) -> bool:
        """Whether a call made now would find a valid token."""
        ...

    async def ready(self) -> None:
        """Wait until there is a valid token."""
        ...


class Provider(Protocol):
    """The API of one provider profile, and whether anything answers there."""

    @property
    def has_token(self) -> bool:
        """Whether a call made now would find a valid token."""
        ...

    @property
    def is_away(self) -> bool:
        """Whether the provider counts as away: then no call is begun, and probes go out."""
        ...

    async def perform(self, call: ApiCall) -> ApiFact:
        """Make one call; as in `Api`."""
        ...

    async def ready(self) -> None:
        """Wait until the provider is there and has a valid token for us."""
        ...


class CallListener(Protocol):
    """Told what becomes of calls and pauses, on the event loop's thread; must not raise or block."""

    def answered(self, call: ApiCall, fact: ApiFact, seconds: float) -> None:
        """A call ended; how long it took, without its wait at the gate."""
        ...

    def throttled(self, seconds: float) -> None:
        """The provider asks us to wait so long; from now on nothing of the profile begins until then."""
        ...

    def paused(self, workflow: str, reason: str, why: str) -> None:
        """A workflow is held now: nothing of it is started."""
        ...

    def resumed(self, workflow: str) -> None:
        """A workflow that was held goes on."""
        ...


def operation_of(call: ApiCall) -> Operation:
    """Return the kind of a call."""
    match call:
        case Create() | StartWorkflow():
            return call.operation
        case ReadStatus():
            return Operation.READ_STATUS
        case ReadResult():
            return Operation.READ_RESULT
        case ReadCase():
            return Operation.READ_CASE


def is_read(call: ApiCall) -> bool:
    """Whether a call changes nothing at the provider, so that it may be cut at any time."""
    return isinstance(call, ReadStatus | ReadResult | ReadCase)


def unanswered(call: ApiCall, proof: Proof, why: str) -> ApiFact:
    """Return the fact of a call without an answer that could be read."""
    match call:
        case StartWorkflow() | Create():
            return CallAnswered(call.operation, call.attempt, proof, None, None, None, why, call.request_id)
        case ReadStatus():
            return StatusRead(call.attempt, proof, None, None, None, None, why)
        case ReadResult():
            return ResultRead(call.attempt, proof, None, 0, None, None, why)
        case ReadCase():
            return CaseRead(call.request_id, call.attempt, proof, None, None, None, why)
