"""What is sent for each call of the provider's API: address, headers and body, made ready once per workflow.

A call speaks the API version that it was pinned to when its request was accepted; the definition is the one that the
catalogue names now. Nothing of a request's content reaches a header or an address, except ids that the provider made.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from types import MappingProxyType
from typing import Final, TypeAlias
from urllib.parse import quote

import orjson

from processor.adapters.calling import ApiCall
from processor.adapters.credential import Header
from processor.adapters.http import HttpRequest
from processor.core.catalogue import Catalogue, Workflow
from processor.core.messages import Create, ReadCase, ReadResult, ReadStatus, StartWorkflow
from processor.core.model import ApiVersion, Instant, StartInputs
from processor.core.proof import Ending, Operation
from processor.settings import ApiSettings

ID_CHARS_MAX: Final = 200
DEFINITION_MEMBER: Final = "workflowDefinitionId"

# Where versions 1 and 2 start a workflow, by hand of its end user or without one.
START_PATHS: Final = MappingProxyType(
    {
        Operation.RUN: "/workflows/run",
        Operation.ISSUE_TOKEN: "/token",
        Operation.ISSUE_LINK: "/link",
        Operation.SEND_LINK: "/link/send",
    }
)

_KEY_BYTES = 16
_PATH_BREAKERS = frozenset("/\\?#%")  # Some servers decode before they split, so not even quoted ones are sent.
_NO_INPUTS = StartInputs()

_Read: TypeAlias = ReadStatus | ReadResult | ReadCase


@dataclass(frozen=True, slots=True)
class Unsendable:
    """Why nothing is sent for a call."""

    ending: Ending
    why: str


@dataclass(frozen=True, slots=True)
class _Plan:
    """What all calls of one workflow share."""

    definition: str
    locale: str
    creations: Mapping[Operation, tuple[str, bytes, bytes]]  # Address, and what stands before and after the body.


class Requests:
    """Builds the request of any call."""

    def __init__(self, catalogue: Catalogue, api: ApiSettings) -> None:
        self._base_url = api.base_url
        self._plans = {name: _plan(workflow, api) for name, workflow in catalogue.workflows.items()}
        self._read_headers = {version: (_accept(version),) for version in ApiVersion}
        content_type = ("content-type", api.content_type)
        self._write_headers = {version: (_accept(version), content_type) for version in ApiVersion}
        self._start_urls = {operation: f"{api.base_url}{path}" for operation, path in START_PATHS.items()}

    def build(self, call: ApiCall, authorization: Header, deadline_s: float) -> HttpRequest | Unsendable:
        """Return the request of a call; a workflow that left the catalogue meanwhile is not sent but may come back."""
        match call:
            case StartWorkflow():
                return self._start(call, authorization, deadline_s)
            case Create():
                return self._create(call, authorization, deadline_s)
            case ReadStatus() | ReadResult() | ReadCase():
                return self._read(call, authorization, deadline_s)

    def _start(self, call: StartWorkflow, authorization: Header, deadline_s: float) -> HttpRequest | Unsendable:
        plan = self._plans.get(call.workflow)
        if plan is None:
            return _NO_WORKFLOW
        if call.api != ApiVersion.TABLES:
            url, body = self._start_urls[call.operation], _start_body(call, plan)
        elif call.operation == Operation.RUN:
            url, body = f"{self._base_url}/workflows", _start_body_of_version_3(call, plan)
        else:
            return _NO_SUCH_START
        key = _idempotency_key(f"{call.request_id}\n{call.operation}\n{call.attempt}")
        headers = (*self._write_headers[call.api], authorization, key)
        return HttpRequest("POST", url, headers, orjson.dumps(body), deadline_s)

    def _create(self, call: Create, authorization: Header, deadline_s: float) -> HttpRequest | Unsendable:
        plan = self._plans.get(call.workflow)
        if plan is None:
            return _NO_WORKFLOW
        creation = plan.creations.get(call.operation)
        if creation is None:
            return _NO_CREATION
        url, before, after = creation
        # Without the attempt: a repeat means the same record, should the provider ever honour the key.
        key = _idempotency_key(f"{call.request_id}\n{call.operation}")
        headers = (*self._write_headers[call.api], authorization, key)
        return HttpRequest("POST", url, headers, before + call.body + after, deadline_s)

    def _read(self, call: _Read, authorization: Header, deadline_s: float) -> HttpRequest | Unsendable:
        if isinstance(call, ReadCase) and call.workflow not in self._plans:
            return _NO_WORKFLOW
        folder, name, tail, version = self._place(call)
        segment = path_segment(name)
        if segment is None:
            return _ODD_ID
        headers = (*self._read_headers[version], authorization)
        return HttpRequest("GET", f"{self._base_url}{folder}{segment}{tail}", headers, None, deadline_s)

    @staticmethod
    def _place(call: _Read) -> tuple[str, str, str, ApiVersion]:
        """Return what stands before, in and after the segment of the id, and the version that is spoken."""
        match call:
            case ReadStatus():
                return "/workflows/", call.workflow_id, "", call.api
            case ReadResult(case_id=None):
                return "/workflows/", call.workflow_id, "/result", call.api
            case ReadResult():
                return "/cases/", call.case_id or "", "", call.api
            case ReadCase():
                return "/cases/", call.case_id, "", ApiVersion.CASES


def path_segment(text: str) -> str | None:
    """Return an id quoted as one segment of a path, None for one that could lead elsewhere.

    Ids come from answers and webhooks; refused are dot segments (RFC 3986, 3.3), separators and control characters.
    """
    if not 0 < len(text) <= ID_CHARS_MAX or text in {".", ".."}:
        return None
    if not text.isprintable() or not _PATH_BREAKERS.isdisjoint(text):
        return None
    return quote(text, safe="")


_NO_WORKFLOW = Unsendable(Ending.NOT_SENT, "the workflow is not in the catalogue")
_NO_CREATION = Unsendable(Ending.NOT_SENT, "the workflow makes no such thing by the catalogue")
_NO_SUCH_START = Unsendable(Ending.NOT_SENT, "version 3 has no such call: its run answers with link and token")
_ODD_ID = Unsendable(Ending.NO_ADDRESS, "the id fits in no address")


def _start_body(call: StartWorkflow, plan: _Plan) -> Mapping[str, object]:
    """Return the body of a run, a token, a link or a mail of versions 1 and 2; ids that were not made are left out."""
    body: dict[str, object] = {DEFINITION_MEMBER: plan.definition}
    is_case = call.api == ApiVersion.CASES
    if is_case and call.case_id is not None:
        body["caseId"] = call.case_id
    elif not is_case and call.record_id is not None:
        body["recordId"] = call.record_id
    if call.parameters_id is not None:
        body["parametersId"] = call.parameters_id
    if call.operation == Operation.RUN or call.inputs is None:
        return body
    if call.inputs.locale is not None:
        body["lang"] = call.inputs.locale
    if call.operation == Operation.SEND_LINK and not is_case and call.inputs.email is not None:
        body["email"] = call.inputs.email  # Version 1 mails to the case's address.
    return body


def _start_body_of_version_3(call: StartWorkflow, plan: _Plan) -> Mapping[str, object]:
    """Return the body of a start of version 3, which takes all members, parameters among them."""
    inputs = call.inputs or _NO_INPUTS
    return {
        DEFINITION_MEMBER: plan.definition,
        "locale": inputs.locale or plan.locale,
        "parameters": orjson.Fragment(inputs.parameters or b"{}"),
        "expiresAt": None if call.expires_at is None else _iso(call.expires_at),
        "recordId": call.record_id,
    }


def _iso(instant: Instant) -> str:
    """Return an instant as ISO 8601 in UTC, in whole seconds as the provider's samples have it."""
    return f"{datetime.fromtimestamp(instant // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _plan(workflow: Workflow, api: ApiSettings) -> _Plan:
    definition_member = orjson.dumps(api.parameters_definition_member)
    parameters_member = orjson.dumps(api.parameters_member)
    definition = orjson.dumps(workflow.definition)
    before = b"{%b:%b,%b:" % (definition_member, definition, parameters_member)
    creations = {Operation.SET_PARAMETERS: (f"{api.base_url}{api.parameters_path}", before, b"}")}
    creations[Operation.CREATE_CASE] = (f"{api.base_url}/cases", b"", b"")
    if workflow.record is not None:
        table = quote(workflow.record.table, safe="")
        creations[Operation.CREATE_RECORD] = (f"{api.base_url}/tables/{table}/records", b"", b"")
    return _Plan(definition=workflow.definition, locale=workflow.locale, creations=creations)


def _accept(version: ApiVersion) -> Header:
    """Return the header without which the provider silently speaks version 1; version 3 is told by its paths."""
    media_type = "application/json"
    return ("accept", media_type if version is ApiVersion.TABLES else f"{media_type};version={int(version)}")


def _idempotency_key(text: str) -> Header:
    """Return a key that proves nothing, as the provider documents none; hashed, because request ids may be any text."""
    return ("idempotency-key", blake2b(text.encode(errors="surrogatepass"), digest_size=_KEY_BYTES).hexdigest())
