"""What is sent for each call of the provider's API: address, headers and body, made ready once per workflow.

Nothing of a request's content reaches a header or an address, except ids that the provider made.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

import orjson

from processor.adapters.calling import ApiCall
from processor.adapters.credential import Header
from processor.adapters.http import HttpRequest
from processor.core.catalogue import Catalogue, Workflow
from processor.core.messages import Create, ReadCase, ReadResult, ReadStatus, StartWorkflow
from processor.core.model import ApiVersion
from processor.core.proof import Operation, Proof
from processor.errors import SettingsInvalid
from processor.settings import ApiSettings

ID_CHARS_MAX: Final = 200
DEFINITION_MEMBER: Final = "workflowDefinitionId"
SUBJECT_MEMBERS: Final = MappingProxyType({ApiVersion.CASES: "caseId", ApiVersion.RECORDS: "recordId"})

_KEY_BYTES = 16
_PATH_BREAKERS = frozenset("/\\?#%")  # Some servers decode before they split, so not even quoted ones are sent.


@dataclass(frozen=True, slots=True)
class Unsendable:
    """Why nothing is sent for a call, and what that proves."""

    proof: Proof
    why: str


@dataclass(frozen=True, slots=True)
class _Plan:
    """What all calls of one workflow share."""

    definition: str
    is_case: bool
    write_headers: tuple[Header, ...]
    read_headers: tuple[Header, ...]
    creations: Mapping[Operation, tuple[str, bytes, bytes]]  # Address, and what stands before and after the body.


class Requests:
    """Builds the request of any call.

    Raises SettingsInvalid for a workflow of an API version that this build does not speak.
    """

    def __init__(self, catalogue: Catalogue, api: ApiSettings) -> None:
        self._plans = {name: _plan(workflow, api) for name, workflow in catalogue.workflows.items()}
        self._read_headers = (_accept(api.version),)
        self._run_url = f"{api.base_url}/workflows/run"
        self._workflow_url = f"{api.base_url}/workflows/"

    def build(self, call: ApiCall, authorization: Header, deadline_s: float) -> HttpRequest | Unsendable:
        """Return the request of a call; a workflow that left the catalogue meanwhile is not sent but may come back."""
        match call:
            case StartWorkflow():
                return self._run(call, authorization, deadline_s)
            case Create():
                return self._create(call, authorization, deadline_s)
            case ReadStatus():
                return self._read(call, "", authorization, deadline_s)
            case ReadResult():
                return self._read(call, "/result", authorization, deadline_s)
            case ReadCase():
                return _NO_CREATION

    def _run(self, call: StartWorkflow, authorization: Header, deadline_s: float) -> HttpRequest | Unsendable:
        plan = self._plans.get(call.workflow)
        if plan is None:
            return _NO_WORKFLOW
        body = {DEFINITION_MEMBER: plan.definition}
        if plan.is_case and call.case_id is not None:
            body["caseId"] = call.case_id
        elif not plan.is_case and call.record_id is not None:
            body["recordId"] = call.record_id
        if call.parameters_id is not None:
            body["parametersId"] = call.parameters_id
        key = _idempotency_key(f"{call.request_id}\n{Operation.RUN}\n{call.attempt}")
        headers = (*plan.write_headers, authorization, key)
        return HttpRequest("POST", self._run_url, headers, orjson.dumps(body), deadline_s)

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
        headers = (*plan.write_headers, authorization, key)
        return HttpRequest("POST", url, headers, before + call.body + after, deadline_s)

    def _read(
        self, call: ReadStatus | ReadResult, tail: str, authorization: Header, deadline_s: float
    ) -> HttpRequest | Unsendable:
        segment = path_segment(call.workflow_id)
        if segment is None:
            return _ODD_ID
        plan = self._plans.get(call.workflow) if call.workflow is not None else None
        headers = self._read_headers if plan is None else plan.read_headers
        return HttpRequest("GET", f"{self._workflow_url}{segment}{tail}", (*headers, authorization), None, deadline_s)


def path_segment(text: str) -> str | None:
    """Return an id quoted as one segment of a path, None for one that could lead elsewhere.

    Ids come from answers and webhooks; refused are dot segments (RFC 3986, 3.3), separators and control characters.
    """
    if not 0 < len(text) <= ID_CHARS_MAX or text in {".", ".."}:
        return None
    if not text.isprintable() or not _PATH_BREAKERS.isdisjoint(text):
        return None
    return quote(text, safe="")


_NO_WORKFLOW = Unsendable(Proof.NOT_SENT, "the workflow is not in the catalogue")
_NO_CREATION = Unsendable(Proof.NOT_SENT, "the workflow makes no such thing by the catalogue")
_ODD_ID = Unsendable(Proof.REFUSED, "the workflow id fits in no address")


def _plan(workflow: Workflow, api: ApiSettings) -> _Plan:
    if workflow.api not in SUBJECT_MEMBERS:
        raise SettingsInvalid(f"workflow {workflow.name}: API version {workflow.api} is not available; write 1 or 2")
    accept = _accept(workflow.api)
    definition_member = orjson.dumps(api.parameters_definition_member)
    parameters_member = orjson.dumps(api.parameters_member)
    definition = orjson.dumps(workflow.definition)
    before = b"{%b:%b,%b:" % (definition_member, definition, parameters_member)
    creations = {Operation.SET_PARAMETERS: (f"{api.base_url}{api.parameters_path}", before, b"}")}
    creations[Operation.CREATE_CASE] = (f"{api.base_url}/cases", b"", b"")
    if workflow.record is not None:
        table = quote(workflow.record.table, safe="")
        creations[Operation.CREATE_RECORD] = (f"{api.base_url}/tables/{table}/records", b"", b"")
    return _Plan(
        definition=workflow.definition,
        is_case=workflow.api == ApiVersion.CASES,
        write_headers=(accept, ("content-type", api.content_type)),
        read_headers=(accept,),
        creations=creations,
    )


def _accept(version: int) -> Header:
    """Return the header without which the provider silently speaks version 1."""
    return ("accept", f"application/json;version={int(version)}")


def _idempotency_key(text: str) -> Header:
    """Return a key that proves nothing, as the provider documents none; hashed, because request ids may be any text."""
    return ("idempotency-key", blake2b(text.encode(errors="surrogatepass"), digest_size=_KEY_BYTES).hexdigest())
