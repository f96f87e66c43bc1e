"""A right that is granted while a process runs: what needed it works then, without a restart."""

from pathlib import Path

import pytest

from processor.adapters.acls import Acl, Grantee, Operation, Resource, ResourceKind
from processor.adapters.topic_specs import TopicSpec, Use
from processor.adapters.topics import TopicAdmin, TopicRefused
from processor.kafka_config import client_config
from processor.settings_loading import Need, load_settings
from tests.security.guarded import guarded
from tests.support.secure_broker import SecureBroker, Way
from tests.support.topics import make_topic

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


def test_state_is_made_once_the_topic_that_it_follows_may_be_seen(secure: SecureBroker, topic_prefix: str) -> None:
    """It is there and its count is not to be had: the right that is missing is named, and no state made by guess."""
    requests, state = f"{topic_prefix}requests", f"{topic_prefix}state"
    make_topic(secure.bootstrap_servers, requests, 5)
    access = secure.admit(Way.SCRAM, topic_prefix.rstrip("."))
    resources = [Resource(ResourceKind.TOPIC, name) for name in (requests, state)]
    secure.grant(access, [Acl(resource, (Operation.CREATE,)) for resource in resources])
    specs = [TopicSpec(requests, Use.REQUESTS, 3, 1, {}), TopicSpec(state, Use.STATE, 3, 1, {}, counts_as=requests)]
    settings = load_settings(access.environ, needs=frozenset({Need.KAFKA}))
    admin = TopicAdmin(client_config(settings, "command"), 2.0)
    with pytest.raises(TopicRefused, match=f"{requests}: it exists.*grant Describe"):
        admin.create(specs, {})
    secure.grant(access, [Acl(resource, (Operation.DESCRIBE,)) for resource in resources])
    assert [topic.partitions for topic in admin.create(specs, {})] == [5]
