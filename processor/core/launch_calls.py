"""The calls of launch, and what each of them may be: which call starts a workflow is the catalogue's to say.

A link or token whose answer was lost is issued again: nobody holds the lost one, and a newer one ends it anyway. A run
and a mail are not.
"""

from collections.abc import Mapping
from dataclasses import replace

from processor.core.catalogue import Mode, Workflow
from processor.core.launch_parts import request_of
from processor.core.messages import AwaitEvidence, Judge, Prepared, ReadCase, StartWorkflow
from processor.core.model import DAY_MS, MINUTE_MS, ApiVersion, Instant, StartInputs
from processor.core.proof import Operation
from processor.core.state import Issued, Launching

EXPIRY_MS_MIN = 30 * MINUTE_MS  # The provider refuses an expiry that is nearer, or further away.
EXPIRY_MS_MAX = 30 * DAY_MS
EXPIRY_MARGIN_MS = MINUTE_MS  # For clocks that differ, and for the time until the call arrives.

REPEATABLE = frozenset({Operation.ISSUE_LINK, Operation.ISSUE_TOKEN})

_OPERATIONS: Mapping[Mode, Operation] = {
    Mode.RUN: Operation.RUN,
    Mode.LINK: Operation.ISSUE_LINK,
    Mode.LINK_SEND: Operation.SEND_LINK,
    Mode.TOKEN: Operation.ISSUE_TOKEN,
}


def operation_of(workflow: Workflow | None, api: ApiVersion) -> Operation:
    """Return the call that starts a workflow; in version 3 one call runs it and brings its link and token."""
    if workflow is None or api is ApiVersion.TABLES:
        return Operation.RUN
    return _OPERATIONS[workflow.mode]


def is_mail_without_address(prepared: Prepared, workflow: Workflow | None) -> bool:
    """Whether the provider is to mail a link and was given no address; version 1 mails to that of the case."""
    api, inputs = prepared.origin.api, prepared.inputs
    is_mail = api is not ApiVersion.CASES and operation_of(workflow, api) is Operation.SEND_LINK
    return is_mail and (inputs is None or inputs.email is None)


def start_call(intent: Launching, workflow: Workflow | None, now: Instant) -> StartWorkflow:
    """Return the call of an intent."""
    prepared = intent.prepared
    assert intent.send_before is not None, "an intent says until when its call may be sent"
    assert intent.call_deadline_at is not None, "an intent says when its call has ended"
    is_version_3 = prepared.origin.api is ApiVersion.TABLES
    return StartWorkflow(
        workflow=prepared.origin.workflow,
        request_id=prepared.origin.request_id,
        attempt=intent.attempt,
        record_id=prepared.record_id,
        case_id=prepared.case_id,
        parameters_id=prepared.parameters_id,
        send_before=intent.send_before,
        deadline_at=intent.call_deadline_at,
        is_own=prepared.is_own,
        operation=intent.operation,
        provider=prepared.origin.provider,
        api=prepared.origin.api,
        inputs=_inputs(intent, workflow),
        expires_at=expires_at(prepared.origin.deadline_at, now) if is_version_3 else None,
    )


def expires_at(deadline_at: Instant, now: Instant) -> Instant:
    """Return when the provider is to end a workflow by itself: at the deadline, as near as its window allows."""
    earliest_at = now + EXPIRY_MS_MIN + EXPIRY_MARGIN_MS
    latest_at = now + EXPIRY_MS_MAX - EXPIRY_MARGIN_MS
    return min(max(deadline_at, earliest_at), latest_at)


def judge_call(head: Launching) -> Judge:
    """Return the question whether a refusal is genuine."""
    origin = head.prepared.origin
    return Judge(head.operation, origin.workflow, origin.request_id, head.attempt, origin.provider)


def evidence_call(head: Launching) -> AwaitEvidence:
    """Return the wait until all evidence of an attempt is judged that came before the head's `closes_at`."""
    assert head.closes_at is not None, "who gathers evidence knows until when"
    return AwaitEvidence(request_of(head), head.attempt, head.closes_at)


def case_call(part: Launching | Issued) -> ReadCase:
    """Return the read of the case of a request: it may show the workflow."""
    origin, case_id = part.prepared.origin, part.prepared.case_id
    assert case_id is not None, "only a request with a case can be seen in it"
    attempt = part.attempt if isinstance(part, Launching) else part.attempts
    return ReadCase(origin.workflow, origin.request_id, case_id, attempt, origin.provider)


def _inputs(intent: Launching, workflow: Workflow | None) -> StartInputs | None:
    """Return what the call carries of the request, with the workflow's locale where the call names one."""
    inputs = intent.prepared.inputs
    is_plain = intent.operation is Operation.RUN and intent.prepared.origin.api is not ApiVersion.TABLES
    if is_plain or workflow is None or (inputs is not None and inputs.locale is not None):
        return inputs
    return replace(inputs or StartInputs(), locale=workflow.locale)
