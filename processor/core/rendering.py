"""What of a request is sent to the provider, as JSON, and what makes two requests with one id differ.

Bodies are rendered once, at arrival: later changes of the catalogue do not touch a request that was accepted.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeAlias

from processor.core.catalogue import Mode, Workflow
from processor.core.keys import canonical_id
from processor.core.model import ApiVersion, JsonValue, OnboardingRequest
from processor.core.paths import RequestPath, compile_parameter_path, compile_path, subject_json

# Made once: `json.dumps` with options makes an encoder for each call.
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_plain = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


Render: TypeAlias = Callable[[OnboardingRequest], bytes]

DIGEST_BYTES = 16
UNRENDERABLE = (ValueError, OverflowError, RecursionError)  # NaN, an instant beyond the calendar, nested too deeply.


@dataclass(frozen=True, slots=True)
class Templates:
    """The compiled templates of one workflow; None where it makes or needs no such thing."""

    record: Render | None
    case: Render | None
    parameters: Render | None
    email: RequestPath | None = None  # Reads the address that a link is mailed to.
    email_path: str | None = None  # The same as a path, to name it.


def compile_templates(workflow: Workflow) -> Templates:
    """Compile what a workflow makes before its start; raises ValueError for a path that no request can have."""
    parameters = workflow.parameters
    email_path = _email_path(workflow)
    return Templates(
        record=compile_body(workflow.record.columns) if workflow.record else None,
        case=compile_body(workflow.case.fields) if workflow.case else None,
        parameters=None if parameters is None else compile_body(parameters, compile_parameter_path),
        email=None if email_path is None else compile_path(email_path),
        email_path=email_path,
    )


def compile_body(paths: Mapping[str, str], compiled: Callable[[str], RequestPath] = compile_path) -> Render:
    """Return the function that renders a JSON object of those members; what a request lacks is left out.

    It raises one of `UNRENDERABLE` for a value that JSON cannot hold.
    """
    readers = tuple((name, compiled(path)) for name, path in paths.items())

    def render(request: OnboardingRequest) -> bytes:
        return _json_bytes({name: value for name, read in readers if (value := read(request)) is not None})

    return render


def content_digest(request: OnboardingRequest) -> bytes | None:
    """Return the digest of what a repeated request must repeat: workflow, subject, parameters, columns and ids.

    None for values that are nested too deeply to be written.
    """
    content: JsonValue = [
        request.workflow,
        subject_json(request.subject) if request.subject else None,
        request.parameters,
        request.columns,
        canonical_id(request.record_id or ""),
        canonical_id(request.case_id or ""),
    ]
    try:
        text = _canonical(content)
    except RecursionError:
        return None
    return sha256(text.encode()).digest()[:DIGEST_BYTES]


def _email_path(workflow: Workflow) -> str | None:
    """Return where the address stands that the provider mails to: in version 1 it is that of the case we make."""
    if workflow.mode is not Mode.LINK_SEND:
        return None
    if workflow.api is ApiVersion.CASES:
        return workflow.case.fields.get("email") if workflow.case else None
    return workflow.email_path


def _json_bytes(value: JsonValue) -> bytes:
    return _plain(value).encode()
