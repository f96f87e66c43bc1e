"""What is made before a run: records, cases and parameter sets. Held in memory, bounded, and in the ledger."""

from collections.abc import Mapping
from typing import Any

import orjson

from processor.simulator import draws
from processor.simulator.bodies import placed, record_body
from processor.simulator.ledger import Ledger
from processor.simulator.model import Answer, Call, Content, Refused
from processor.simulator.reading import case_in, definition_in, object_at, object_in, on_one_line
from processor.simulator.scene import Scene


class Contents:
    """Everything that a start can refer to."""

    def __init__(self, scene: Scene, ledger: Ledger) -> None:
        self._scene = scene
        self._ledger = ledger
        self._held: Mapping[str, dict[str, Content]] = {"record": {}, "case": {}, "parameters": {}}

    def create_record(self, call: Call) -> Answer:
        """Make a record in a table of any columns: 201."""
        return Answer(201, record_body(self._create("record", call.args[0], call, object_in(call.body))))

    def read_record(self, call: Call) -> Answer:
        """Show a record: 200, or 404."""
        record = self.held("record", call.args[1])
        if record is None or record.owner != call.args[0]:
            raise Refused(404, "NOT_FOUND", "no such record")
        return Answer(200, record_body(record))

    def create_case(self, call: Call) -> Content:
        """Make a case (version 1); 400 on members that it does not have."""
        given = object_in(call.body)
        if self._scene.settings.strict:
            case_in(given)
        return self._create("case", draws.new_id(self._scene.source), call, given)

    def set_parameters(self, call: Call) -> Answer:
        """Keep a parameter set for a definition: 201; 404 when the definition does not exist."""
        given = object_in(call.body)
        settings = self._scene.settings
        definition_id = definition_in(given, settings.definitions, settings.parameters_definition_member)
        values = object_at(given, settings.parameters_values_member)
        parameters = Content(draws.new_id(self._scene.source), definition_id, orjson.dumps(values), call.at)
        self._keep("parameters", parameters)
        self._ledger.created("parameters", parameters)
        return Answer(201, orjson.dumps(placed({}, settings.parameters_id_path, parameters.id)))

    def held(self, kind: str, content_id: str | None) -> Content | None:
        """Return a content that is still kept."""
        return None if content_id is None else self._held[kind].get(content_id.lower())

    def counts(self) -> dict[str, int]:
        """Count what is held, by kind."""
        return {kind: len(held) for kind, held in self._held.items()}

    def restore(self, kind: str, line: Mapping[str, Any]) -> bool:
        """Take up a line of the ledger file; False when it tells of something else."""
        if kind not in self._held:
            return False
        self._keep(kind, Content(line["id"], line["owner"], orjson.dumps(line["body"]), line["at"]))
        return True

    def _create(self, kind: str, owner: str, call: Call, given: Mapping[str, Any]) -> Content:
        """Keep a record or a case, unless its content holds the marker that refuses it."""
        body = on_one_line(call.body, given)
        self._scene.refuse_if_marked(self._scene.faults.refused_record_marker, body)
        content = Content(draws.new_id(self._scene.source), owner, body, call.at)
        self._keep(kind, content)
        self._ledger.created(kind, content)
        return content

    def _keep(self, kind: str, content: Content) -> None:
        """Hold a content in memory; the oldest goes when there are too many."""
        held = self._held[kind]
        held[content.id] = content
        if len(held) > self._scene.settings.contents_max:
            del held[next(iter(held))]
