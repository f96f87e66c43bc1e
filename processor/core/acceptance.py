"""What is made of a request when it is accepted: what its result needs, and what must be sent for it.

The ids that upstream gives are used where the workflow's generation of the API has a use for them; what was made
before is never made again.
"""

import re

from processor.core.catalogue import Catalogue, Mode, Workflow
from processor.core.lane import subject_name
from processor.core.messages import RequestArrived
from processor.core.model import (
    DEFAULT_PROVIDER,
    ApiVersion,
    Instant,
    OnboardingRequest,
    Origin,
    StartInputs,
    deadline_from,
)
from processor.core.paths import REFERENCE
from processor.core.reference import PREFIX, references_in
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
    api, provider = ApiVersion.RECORDS, DEFAULT_PROVIDER
    if workflow is not None:
        deadline_ms, api, provider = workflow.deadline_ms, workflow.api, workflow.provider
    return Origin(
        request_id=request.request_id,
        workflow=request.workflow,
        key=fact.key,
        results_topic=catalogue.results_topic_of(request.workflow),
        requested_at=request.requested_at,
        accepted_at=now,
        deadline_at=deadline_from(request.deadline_at, deadline_ms, now),
        subject_reference=request.subject.reference if request.subject else None,
        tenant=request.tenant,
        source_system=request.source_system,
        correlation_id=request.correlation_id,
        attributes=request.attributes,
        traceparent=fact.traceparent,
        api=api,
        provider=provider,
    )


def pending_of(
    workflow: Workflow, templates: Templates, request: OnboardingRequest, origin: Origin
) -> tuple[PendingRequest, str | None]:
    """Return a request with what must be made or sent for it, and why it cannot be served, if so.

    The reason names members and paths of the request, and no value.
    """
    is_of_cases = workflow.api is ApiVersion.CASES
    record_id = None if is_of_cases else _given(request.record_id)
    case_id = _given(request.case_id) if is_of_cases else None
    if not (record_id or "").isprintable() or not (case_id or "").isprintable():
        return bare_of(origin, None, None), "the record or case id holds control characters"
    fault = _missing_id(workflow, record_id, case_id) or _unusable(workflow, templates, request, case_id)
    if fault is not None:
        return bare_of(origin, record_id, case_id), fault
    try:
        pending = _rendered(workflow, templates, request, (origin, record_id, case_id))
    except UNRENDERABLE:
        return bare_of(origin, record_id, case_id), "a value cannot be written as JSON"
    fault = _foreign_reference(workflow, pending)
    return (pending, None) if fault is None else (bare_of(origin, record_id, case_id), fault)


def bare_of(origin: Origin, record_id: str | None, case_id: str | None) -> PendingRequest:
    """Return a request for which nothing is to be made: it ends at once."""
    return PendingRequest(origin, None, None, None, record_id, case_id, is_own=False, timer=None)


def _missing_id(workflow: Workflow, record_id: str | None, case_id: str | None) -> str | None:
    """Say which id a request must bring and does not."""
    if workflow.is_record_given and record_id is None:
        return "recordId is missing: the workflow is for a record that each request names"
    if workflow.api is ApiVersion.CASES and case_id is None and workflow.case is None:
        return "caseId is missing: the workflow is for a case that each request names"
    return None


def _unusable(workflow: Workflow, templates: Templates, request: OnboardingRequest, case_id: str | None) -> str | None:
    """Say what of a request the start could not be sent with; a plain run of version 1 or 2 sends nothing of it."""
    if not _has_inputs(workflow):
        return None
    if not is_locale(_locale_of(workflow, request)):
        return "locale is no language tag: 2 to 35 of A-Z a-z 0-9 -"
    if templates.email is not None and case_id is None and _email(templates, request) is None:
        return f"link-send mails to an address, and there is none at {templates.email_path}"
    return None


def _rendered(
    workflow: Workflow,
    templates: Templates,
    request: OnboardingRequest,
    of: tuple[Origin, str | None, str | None],
) -> PendingRequest:
    """Return a request of this origin, record and case with all that is to be sent for it.

    Raises one of `UNRENDERABLE`.
    """
    origin, record_id, case_id = of
    is_without = record_id is None and case_id is None
    parameters = templates.parameters(request) if templates.parameters else None
    subject_part = _subject_part(workflow, templates, request) if workflow.reuse_ms and is_without else None
    return PendingRequest(
        origin=origin,
        record_body=templates.record(request) if templates.record and is_without else None,
        case_body=templates.case(request) if templates.case and is_without else None,
        parameters_body=None if workflow.api is ApiVersion.TABLES else parameters,  # Version 3 has no parameter sets.
        record_id=record_id,
        case_id=case_id,
        is_own=False,
        timer=None,
        inputs=_inputs(workflow, templates, request, parameters) if _has_inputs(workflow) else None,
        is_for_link=workflow.mode is not Mode.RUN,
        subject_part=subject_part,
        reuse_ms=(workflow.reuse_ms or 0) if subject_part else 0,
    )


def _foreign_reference(workflow: Workflow, pending: PendingRequest) -> str | None:
    """Say which part of a request holds a reference of ours that we did not plant: it would name another request."""
    inline = pending.inputs.parameters if pending.inputs else None
    planted = sum(path == REFERENCE for path in (workflow.parameters or {}).values())
    parts = (
        ("column of the record", pending.record_body, 0),
        ("member of the case", pending.case_body, 0),
        ("parameter", pending.parameters_body or inline, planted),
    )
    for part, body, planted_here in parts:
        if body is not None and references_in(body) > planted_here:
            return f"a {part} holds a reference of ours ({PREFIX}:), which only this service may write"
    return None


def _has_inputs(workflow: Workflow) -> bool:
    return workflow.api is ApiVersion.TABLES or workflow.mode is not Mode.RUN


def _inputs(
    workflow: Workflow, templates: Templates, request: OnboardingRequest, parameters: bytes | None
) -> StartInputs:
    is_inline, is_of_cases = workflow.api is ApiVersion.TABLES, workflow.api is ApiVersion.CASES
    return StartInputs(
        parameters=(parameters or b"{}") if is_inline else None,
        locale=_locale_of(workflow, request),
        email=None if is_of_cases else _email(templates, request),  # Version 1 mails to the case's own address.
    )


def _locale_of(workflow: Workflow, request: OnboardingRequest) -> str:
    return (request.locale or "").strip() or workflow.locale


def _email(templates: Templates, request: OnboardingRequest) -> str | None:
    """Return the address that a link is mailed to; None where there is none, or no text."""
    email = templates.email(request) if templates.email else None
    return (email.strip() or None) if isinstance(email, str) else None


def _subject_part(workflow: Workflow, templates: Templates, request: OnboardingRequest) -> str | None:
    """Return the name of the part that knows the subject's record or case; None for a subject without reference."""
    reference = request.subject.reference if request.subject else None
    if not reference or not reference.strip():
        return None
    kind = ["record", workflow.record.table] if workflow.record else ["case"]
    if workflow.api is ApiVersion.CASES and workflow.mode is Mode.LINK_SEND:
        kind.append(_email(templates, request) or "")  # It mails to the case's address, so that must be the same.
    return subject_name([workflow.provider, *kind], request.tenant, reference)


def _given(made_before_id: str | None) -> str | None:
    return (made_before_id or "").strip() or None
