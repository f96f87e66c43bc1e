"""A right that is granted while a process runs: what needed it works then, without a restart."""

from pathlib import Path

import pytest

from processor.adapters.acls import Acl, Grantee, Operation, Resource, ResourceKind
from tests.security.guarded import guarded
from tests.support.secure_broker import SecureBroker, Way

pytestmark = pytest.mark.broker


def test_webhooks_are_taken_as_soon_as_they_may_be_written(secure: SecureBroker, tmp_path: Path) -> None:
    """An ingestor that sees its topic and may write nothing asks for them again, and needs no restart for the rest."""
    with guarded(secure, Way.SCRAM, tmp_path) as made:
        ingestor = made.worker(Grantee.INGESTOR, is_granted=False)
        seen = Acl(Resource(ResourceKind.TOPIC, made.world.topic("workflows")), (Operation.DESCRIBE,))
        secure.grant(made.users[Grantee.INGESTOR], [seen])
        ingestor.start()
        made.world.wait_until(ingestor.is_ready, "the ingestor ready", 40)
        workflow_id = made.world.provider.run_foreign()
        made.world.wait_until(lambda: "luster authorization" in ingestor.log_tail(50_000), "a refusal in the log", 30)
        assert made.world.provider.send_webhook(workflow_id) == 503
        secure.grant(made.users[Grantee.INGESTOR], made.rights(Grantee.INGESTOR))
        made.world.wait_until(lambda: made.world.provider.send_webhook(workflow_id) == 202, "a webhook taken", 40)
