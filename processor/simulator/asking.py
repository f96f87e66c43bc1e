"""Reading what a start asks for: ids that exist, of the version that is spoken, for a definition of the right sort."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson

from processor.simulator.contents import Contents
from processor.simulator.model import Asked, Call, Execution, Generation, LinkKind, Refused
from processor.simulator.reading import (
    address_in,
    definition_in,
    object_at,
    object_in,
    optional_text_in,
    optional_uuid_in,
    text_in,
    uuid_in,
)
from processor.simulator.scene import Scene

EXPIRY_MIN = timedelta(minutes=30)
EXPIRY_MAX = timedelta(days=30)


class Asking:
    """Turns the body of a start into what it asks for, or refuses it with 400 or 404."""

    def __init__(self, scene: Scene, contents: Contents) -> None:
        self._scene = scene
        self._settings = scene.settings
        self._contents = contents

    def run(self, call: Call) -> Asked:
        """Read a run of version 1 or 2; 400 on a definition that needs an end user."""
        given = object_in(call.body)
        definition_id = definition_in(given, self._settings.definitions)
        if definition_id in self._settings.user_definitions:
            raise Refused(400, "NEEDS_USER", "the definition needs an end user; ask for a link or a token")
        return self._asked(given, definition_id, call.generation)

    def link(self, call: Call, kind: LinkKind) -> Asked:
        """Read a token, a link or a mail of version 1 or 2; 400 on a definition without an end user."""
        given = object_in(call.body)
        definition_id = definition_in(given, self._settings.definitions)
        if self._settings.user_definitions and definition_id not in self._settings.user_definitions:
            raise Refused(400, "NEEDS_NO_USER", "the definition has no step for an end user; run it")
        optional_text_in(given, "lang")
        asked = self._asked(given, definition_id, call.generation)
        if kind is LinkKind.MAIL:
            self._need_address(given, asked)
        return asked

    def workflow(self, call: Call) -> tuple[Asked, Execution]:
        """Read a start of version 3."""
        given = object_in(call.body)
        definition_id = definition_in(given, self._settings.definitions)
        values = object_at(given, "parameters")
        expires = optional_text_in(given, "expiresAt")
        execution = Execution(
            locale=text_in(given, "locale"),
            expires=expires,
            expires_at=None if expires is None else _expiry(expires, call.at),
            has_user=definition_id in self._settings.user_definitions,
        )
        record_id = optional_uuid_in(given, "recordId")
        return self._with_content(definition_id, None, record_id, None, orjson.dumps(values)), execution

    def again(self, line: Mapping[str, Any]) -> Asked:
        """Read what a line of the ledger file asked for; its contents are those restored before it."""
        ids = (line["definitionId"], line["caseId"], line["recordId"], line["parametersId"])
        if "columns" in line:
            return Asked(*ids, orjson.dumps(line["columns"]), orjson.dumps(line["parameters"]))
        subject = self._contents.held("case", ids[1]) or self._contents.held("record", ids[2])
        parameters = self._contents.held("parameters", ids[3])
        return Asked(*ids, subject.body if subject else b"null", parameters.body if parameters else b"null")

    def _asked(self, given: Mapping[str, Any], definition_id: str, generation: Generation) -> Asked:
        """Read the ids that the version has: a case in the first, else a record or nothing."""
        is_g1 = generation is Generation.G1
        if self._settings.strict and given.get("recordId" if is_g1 else "caseId") is not None:
            raise Refused(400, "WRONG_VERSION", f"version {generation} does not know this id of a subject")
        case_id = uuid_in(given, "caseId") if is_g1 else None
        record_id = None if is_g1 else optional_uuid_in(given, "recordId")
        return self._with_content(definition_id, case_id, record_id, optional_text_in(given, "parametersId"), None)

    def _with_content(
        self,
        definition_id: str,
        case_id: str | None,
        record_id: str | None,
        parameters_id: str | None,
        values: bytes | None,
    ) -> Asked:
        """Find what the ids stand for; 404 on foreign ones where that is set, 400 on marked content."""
        subject = self._contents.held("case", case_id) or self._contents.held("record", record_id)
        parameters = self._contents.held("parameters", parameters_id)
        if self._settings.unknown_ids_refused:
            is_foreign = (case_id or record_id) is not None and subject is None
            if is_foreign or (parameters_id is not None and parameters is None):
                raise Refused(404, "NOT_FOUND", "no such case, record or parameters")
        columns = b"null" if subject is None else subject.body
        if values is None:
            values = b"null" if parameters is None else parameters.body
        self._scene.refuse_if_marked(self._scene.faults.refused_run_marker, columns, values)
        return Asked(definition_id, case_id, record_id, parameters_id, columns, values)

    def _need_address(self, given: Mapping[str, Any], asked: Asked) -> None:
        """Refuse a mail to nobody: version 2 names the address, version 1 takes the one of the case."""
        if asked.case_id is None:
            address_in(given)
        elif (case := self._contents.held("case", asked.case_id)) is not None:
            address_in(orjson.loads(case.body))


def _expiry(text: str, now: int) -> int:
    """Read an expiresAt that lies in the documented window; 400 otherwise."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(400, "BAD_EXPIRY", "expiresAt is not ISO 8601") from None
    if moment.tzinfo is None:
        raise Refused(400, "BAD_EXPIRY", "expiresAt has no offset")
    at = int(moment.timestamp() * 1000)
    if not EXPIRY_MIN <= timedelta(milliseconds=at - now) <= EXPIRY_MAX:
        raise Refused(400, "BAD_EXPIRY", "expiresAt must lie 30 minutes to 30 days ahead")
    return at
