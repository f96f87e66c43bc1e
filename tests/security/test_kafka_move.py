"""A deployment is moved on the broker that trusts nobody, by somebody who may do that and nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest

from processor.adapters.acls import Grantee, acls_of
from tests.security.guarded import guarded
from tests.support.onboarding import Request
from tests.support.secure_broker import SecureBroker, Way, was_asked

pytestmark = pytest.mark.broker


def test_the_documented_rights_are_enough_to_move(secure: SecureBroker, tmp_path: Path) -> None:
    """At both ends, with those to make topics at the new one; each is asked for at one end or the other."""
    with guarded(secure, Way.SCRAM, tmp_path) as made:
        old = made.installation
        topics = old.settings.topics
        for topic in (topics.requests, topics.launches, topics.workflows, topics.control):
            made.world.publish_to(topic, Request("unread", "key"))
        moved_id = f"{old.settings.application_id}-b"
        internal = {name: f"{moved_id}.{name.replace('_', '-')}" for name in ("launches", "workflows", "control")}
        internal |= {f"{name}_state": f"{moved_id}.{name}-state" for name in ("preparation", "launch", "completion")}
        moved = {"application_id": moved_id, "topics": topics.model_copy(update=internal)}
        new = replace(old, settings=old.settings.model_copy(update=moved))
        access = made.user(Grantee.MOVER)
        secure.grant(access, acls_of([Grantee.MOVER, Grantee.SETUP], new))
        made.command(Grantee.MOVER, "backup", str(tmp_path / "deployment.snapshot"))
        made.command(Grantee.MOVER, "topics", "migrate", "--to-application-id", moved_id, "--partitions", "3")
        asked = secure.asked(access)
        assert [one for one in asked if not one.is_allowed] == []
        ends = zip(made.rights(Grantee.MOVER), acls_of([Grantee.MOVER], new), strict=True)
        never_asked = [
            (here.resource.name, operation)
            for here, there in ends
            for operation in here.operations
            if not was_asked(here, operation, asked) and not was_asked(there, operation, asked)
        ]
        assert never_asked == []
