"""What an answer or a failure proves about a call: the one table that keeps workflows from running twice.

Source: the provider's documented statuses (docs/provider-api.md) and measurements of HTTP clients
(docs/kafka-rules.md). Whatever is new is UNKNOWN.
"""

from enum import StrEnum


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


OUR_FAULTS = frozenset({401, 403, 406, 415})
REFUSALS = frozenset({400, 404, 405, 413, 422})
TOO_MANY_REQUESTS = 429
SERVICE_UNAVAILABLE = 503


def proof_in(status: int, *, is_body_whole: bool, is_503_not_executed: bool = False) -> Proof:
    """Say what a final HTTP status proves; 401 counts as final, after the token was renewed once.

    `is_body_whole`: the body was complete, within the cap and of the expected shape.
    """
    if status == TOO_MANY_REQUESTS:
        return Proof.WAIT
    if status == SERVICE_UNAVAILABLE and is_503_not_executed:
        return Proof.WAIT
    if not is_body_whole:
        return Proof.UNKNOWN
    if status in OUR_FAULTS:
        return Proof.OUR_FAULT
    if status in REFUSALS:
        return Proof.REFUSED
    return Proof.DONE if 200 <= status < 300 else Proof.UNKNOWN  # noqa: PLR2004  # 408, 409, 5xx and anything new
