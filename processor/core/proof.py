"""What an answer or a failure proves about a call: the one table that keeps workflows from running twice.

Source: the provider's documented statuses (docs/provider-api.md) and measurements of HTTP clients
(docs/kafka-rules.md). Whatever is new is UNKNOWN.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Operation(StrEnum):
    """A kind of call at the provider's API."""

    CREATE_RECORD = "create-record"
    CREATE_CASE = "create-case"
    SET_PARAMETERS = "set-parameters"
    RUN = "run"
    ISSUE_TOKEN = "issue-token"  # noqa: S105  # no secret
    ISSUE_LINK = "issue-link"
    SEND_LINK = "send-link"
    READ_STATUS = "read-status"
    READ_RESULT = "read-result"
    READ_CASE = "read-case"


class Proof(StrEnum):
    """What is known about a call after it."""

    DONE = "DONE"  # Executed, and we hold its answer.
    REFUSED = "REFUSED"  # Not executed, and it never will be in this form.
    OUR_FAULT = "OUR_FAULT"  # Not executed: credentials, permission or definition are wrong.
    NOT_SENT = "NOT_SENT"  # Known not to have reached the server.
    WAIT = "WAIT"  # Not executed: the server asks us to come later.
    UNKNOWN = "UNKNOWN"  # Executed, executing later, or not: nobody can tell.


class Ending(StrEnum):
    """How a call ended on the wire, as far as that proves something."""

    NO_ADDRESS = "no-address"  # Its id fits in no address, so it can never be sent.
    NOT_SENT = "not-sent"  # No byte of it can have reached the server.
    NO_TOKEN = "no-token"  # noqa: S105  # Answered 401, and no other token can be had for now.
    LOST = "lost"  # Sent, perhaps in part, and no complete answer came.
    TOO_LARGE = "too-large"  # Answered with a body above the limit, which was not read.
    ODD = "odd"  # Answered with a complete body that is not what the operation's success looks like.
    WHOLE = "whole"  # Answered with a complete body as expected; of a refusal any complete body is.


NOT_FOUND: Final = 404
SERVICE_UNAVAILABLE: Final = 503

STARTS: Final = frozenset({Operation.RUN, Operation.ISSUE_TOKEN, Operation.ISSUE_LINK, Operation.SEND_LINK})

# Without an answer, whatever the operation.
WITHOUT_ANSWER: Final[Mapping[Ending, Proof]] = MappingProxyType(
    {
        Ending.NO_ADDRESS: Proof.REFUSED,
        Ending.NOT_SENT: Proof.NOT_SENT,
        Ending.NO_TOKEN: Proof.WAIT,  # A 401 comes before any execution.
        Ending.LOST: Proof.UNKNOWN,
    }
)

# Answered with a 2xx.
SUCCESS: Final[Mapping[Ending, Proof]] = MappingProxyType(
    {
        Ending.WHOLE: Proof.DONE,
        Ending.ODD: Proof.UNKNOWN,  # It was executed, and what it made is lost.
        Ending.TOO_LARGE: Proof.UNKNOWN,
    }
)
# A result may be any JSON: one above the limit is there and is left out, what is no JSON is no result.
SUCCESS_OF_RESULT: Final[Mapping[Ending, Proof]] = MappingProxyType(
    {Ending.WHOLE: Proof.DONE, Ending.ODD: Proof.REFUSED, Ending.TOO_LARGE: Proof.DONE}
)

# Answered 404. Of a creation or a start it is the table or the definition that is missing, and no request's content
# can be the reason; of a read it is the thing itself.
MISSING: Final[Mapping[Operation, Proof]] = MappingProxyType(
    {
        Operation.CREATE_RECORD: Proof.OUR_FAULT,
        Operation.CREATE_CASE: Proof.OUR_FAULT,
        Operation.SET_PARAMETERS: Proof.OUR_FAULT,
        Operation.RUN: Proof.OUR_FAULT,
        Operation.ISSUE_TOKEN: Proof.OUR_FAULT,
        Operation.ISSUE_LINK: Proof.OUR_FAULT,
        Operation.SEND_LINK: Proof.OUR_FAULT,
        Operation.READ_STATUS: Proof.REFUSED,
        Operation.READ_RESULT: Proof.REFUSED,
        Operation.READ_CASE: Proof.REFUSED,
    }
)

# Answered with any other status, whatever the operation; 401 after the token was renewed once.
STATUSES: Final[Mapping[int, Proof]] = MappingProxyType(
    {
        400: Proof.REFUSED,
        401: Proof.OUR_FAULT,
        403: Proof.OUR_FAULT,
        405: Proof.REFUSED,
        406: Proof.OUR_FAULT,
        413: Proof.REFUSED,
        415: Proof.OUR_FAULT,
        422: Proof.REFUSED,
        429: Proof.WAIT,
    }
)


def proof_of(
    operation: Operation,
    ending: Ending,
    status: int | None = None,
    *,
    is_named_upstream: bool = False,
    is_503_not_executed: bool = False,
) -> Proof:
    """Say what the end of a call proves; `status` is the final HTTP status, where an answer came.

    `is_named_upstream`: a start for a record or case that the request named, which may be what a 404 misses.
    `is_503_not_executed`: the provider promises that it executed nothing that it answers with 503.
    """
    if ending in WITHOUT_ANSWER:
        return WITHOUT_ANSWER[ending]
    assert status is not None, "an answer has a status"
    if 200 <= status < 300:  # noqa: PLR2004  # RFC 9110, 15.3
        return (SUCCESS_OF_RESULT if operation is Operation.READ_RESULT else SUCCESS)[ending]
    if ending is Ending.TOO_LARGE:  # Only a complete refusal is one.
        return Proof.UNKNOWN
    if status == NOT_FOUND:
        return Proof.REFUSED if is_named_upstream else MISSING[operation]
    if status == SERVICE_UNAVAILABLE and is_503_not_executed:
        return Proof.WAIT
    return STATUSES.get(status, Proof.UNKNOWN)
