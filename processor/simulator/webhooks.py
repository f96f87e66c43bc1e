"""The body of a webhook: the provider documents three kinds and no shape, so the shape is ours."""

import orjson

from processor.simulator.model import Run, WebhookKind


def webhook_body(run: Run, kind: WebhookKind) -> bytes:
    """Build the webhook that tells how a run stands now."""
    return orjson.dumps(
        {
            "type": kind,
            "workflowId": run.workflow_id,
            "caseId": run.case_id,
            "recordId": run.record_id,
            "status": run.status,
        }
    )
