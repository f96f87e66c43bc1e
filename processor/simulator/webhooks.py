"""The body of a webhook: the provider documents three kinds and no shape, so names and kinds are settings."""

from collections.abc import Mapping

import orjson

from processor.simulator.bodies import placed
from processor.simulator.model import Run, WebhookKind

# Our name of each member, and its path where nothing else is set; an empty path leaves it out.
MEMBERS: Mapping[str, str] = {
    "kind": "type",
    "workflowId": "workflowId",
    "caseId": "caseId",
    "recordId": "recordId",
    "status": "status",
    "definitionId": "",
}
KINDS: Mapping[str, str] = {kind.value: kind.value for kind in WebhookKind}


class WebhookShape:
    """How the webhooks of one simulator look."""

    def __init__(self, members: Mapping[str, str], kinds: Mapping[str, str]) -> None:
        self._members = tuple((name, path) for name, path in {**MEMBERS, **members}.items() if path)
        self._is_flat = not any("." in path for _, path in self._members)
        self._kinds = {**KINDS, **kinds}

    def body(self, run: Run, kind: WebhookKind) -> bytes:
        """Build the webhook that tells how a run stands now."""
        values = {
            "kind": self._kinds[kind],
            "workflowId": run.workflow_id,
            "caseId": run.case_id,
            "recordId": run.record_id,
            "status": run.status,
            "definitionId": run.definition_id,
        }
        if self._is_flat:  # As by default, and faster.
            return orjson.dumps({path: values[name] for name, path in self._members})
        body: dict[str, object] = {}
        for name, path in self._members:
            placed(body, path, values[name])
        return orjson.dumps(body)
