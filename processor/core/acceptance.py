"""What is made of a request when it is accepted: what its result needs, and what must be sent for it.

The ids that upstream gives are used where the workflow's generation of the API has a use for them; what was made
before is never made again.
"""

import re
from dataclasses import replace

from processor.core.catalogue import Catalogue, Workflow
from processor.core.messages import RequestArrived
from processor.core.model import ApiVersion, Instant, OnboardingRequest, Origin
from processor.core.rendering import UNRENDERABLE, Templates
from processor.core.state import PendingRequest

ID_CHARS_MAX = 256
_LOCALE = re.compile(r"[A-Za-z0-9-]{2,35}")  # RFC 5646, 4.4.1: longer tags need not be supported.


def id_fault(request_id: str) -> str | None:
    """Say what is wrong with a request id, None where nothing is."""
    if not request_id.strip():
        return "the request id is empty"
    if len(request_id) > ID_CHARS_MAX:
        return f"the request id is longer than {ID_CHARS_MAX} characters"
    if not request_id.isprintable():
        return "the request id holds control characters"
    return None


def is_locale(text: str) -> bool:
    """Whether a text looks like a language tag (BCP 47), as far as that keeps harm out of a call."""
    return _LOCALE.fullmatch(text) is not None


def origin_of(fact: RequestArrived, catalogue: Catalogue, deadline_ms: int, now: Instant) -> Origin:
    """Return what of a request accepted now must come back on its result.

    `deadline_ms` counts from now, where neither the request nor its workflow says a deadline.
    """
    request = fact.request
    workflow = catalogue.find(request.workflow)
    if workflow is not None:
        deadline_ms = workflow.deadline_ms
    return Origin(
        request_id=request.request_id,
        workflow=request.workflow,
        key=fact.key,
        results_topic=catalogue.results_topic_of(request.workflow),
        requested_at=request.requested_at,
        accepted_at=now,
        deadline_at=now + deadline_ms if request.deadline_at is None else request.deadline_at,
        subject_reference=request.subject.reference if request.subject else None,
        tenant=request.tenant,
        source_system=request.source_system,
        correlation_id=request.correlation_id,
        attributes=request.attributes,
        traceparent=fact.traceparent,
    )


def pending_of(
    workflow: Workflow, templates: Templates, request: OnboardingRequest, origin: Origin
) -> tuple[PendingRequest, str | None]:
    """Return a request with the bodies of what must be made for it, and why it cannot be served, if so."""
    is_of_cases = workflow.api is ApiVersion.CASES
    record_id = None if is_of_cases else _given(request.record_id)
    case_id = _given(request.case_id) if is_of_cases or templates.case else None
    bare = PendingRequest(origin, None, None, None, record_id, case_id, is_own=False, timer=None)
    if not (record_id or "").isprintable() or not (case_id or "").isprintable():
        return replace(bare, record_id=None, case_id=None), "the record or case id holds control characters"
    try:
        pending = replace(
            bare,
            record_body=templates.record(request) if templates.record and record_id is None else None,
            case_body=templates.case(request) if templates.case and case_id is None else None,
            parameters_body=templates.parameters(request) if templates.parameters else None,
        )
    except UNRENDERABLE:
        return bare, "a value cannot be written as JSON"
    if is_of_cases and case_id is None and pending.case_body is None:
        return bare, "the workflow needs a case: the request must give its id, or the catalogue say how to make one"
    return pending, None


def _given(made_before_id: str | None) -> str | None:
    return (made_before_id or "").strip() or None
